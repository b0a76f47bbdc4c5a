"""Stages of a Dockerfile: what each is built from, and which ones a target needs."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from msgspec import Struct, field

from orchestrator.dockerfile.directives import escape_character, syntax
from orchestrator.dockerfile.options import leading
from orchestrator.dockerfile.predefined import GLOBAL_ARGS
from orchestrator.dockerfile.read import instructions
from orchestrator.dockerfile.words import DOCKERFILE_STOP, read_word, substitute

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from orchestrator.dockerfile.options import Option
    from orchestrator.dockerfile.read import Instruction


class Step(Struct, frozen=True, kw_only=True):
    """One instruction of a stage, its flags apart.

    Attributes:
        keyword: In capitals.
        text: Its words, without keyword and flags.
        options: Its flags.
        documents: The content of its here-documents.
        expanded: Of COPY and ADD: those of them that BuildKit puts values into (the name is not quoted).
        line: 1-based line that it begins on.
    """

    keyword: str
    text: str
    options: tuple[Option, ...]
    documents: tuple[str, ...]
    expanded: tuple[str, ...]
    line: int

    @property
    def sources(self) -> tuple[str, ...]:
        """Stages, contexts or images that it takes files from."""
        if self.keyword in {"COPY", "ADD"}:
            return tuple(option.value for option in self.options if option.name == "from")
        if self.keyword == "RUN":
            mounts = [option.fields for option in self.options if option.name == "mount"]
            return tuple(mount["from"] for mount in mounts if mount.get("from"))
        return ()

    @property
    def network(self) -> str:
        """The value of RUN's --network, "" where it has none."""
        values = [option.value for option in self.options if option.name == "network"]
        return values[-1] if values and self.keyword == "RUN" else ""

    @property
    def words(self) -> tuple[str, ...]:
        """Its words with quotes undone; variables stay as they are written."""
        return tuple(_split(self.text))


class Stage(Struct, frozen=True, kw_only=True):
    """One FROM and what follows it.

    Attributes:
        index: Its number from 0.
        name: Its name in lower case, its number where it has none.
        base: What it is FROM, variables filled in.
        parent: The number of the earlier stage that `base` names, None for an image or a context.
        platform: The value of its --platform, variables filled in, "" where it has none.
        line: 1-based line of the FROM.
        steps: The instructions after it.
    """

    index: int
    name: str
    base: str
    parent: int | None
    platform: str
    line: int
    steps: tuple[Step, ...]


class Dockerfile(Struct, frozen=True, kw_only=True):
    """A Dockerfile.

    Attributes:
        syntax: The image of the frontend that it asks for, "" for the builder's own.
        stages: In order.
        arguments: What ARGs before the first FROM declare.
        scripts: Path -> text of every file that a COPY makes out of a here-document.
    """

    syntax: str
    stages: tuple[Stage, ...]
    arguments: frozenset[str] = frozenset()
    scripts: Mapping[str, str] = field(default_factory=dict)

    def stage(self, name: str) -> Stage | None:
        """A stage by name or number; "" is the last one. Of two with one name it is the later one, as for BuildKit."""
        if not name:
            return self.stages[-1] if self.stages else None
        named = next((stage for stage in reversed(self.stages) if stage.name == name.lower()), None)
        return named or self._numbered(name)

    def _numbered(self, text: str) -> Stage | None:
        number = int(text) if text.isdecimal() and len(text) < _DIGITS else len(self.stages)
        return self.stages[number] if number < len(self.stages) else None

    def ancestry(self, target: str) -> tuple[Stage, ...]:
        """A target and the stages that it is FROM, the first one first."""
        found: list[Stage] = []
        stage = self.stage(target)
        while stage is not None:
            found.append(stage)
            stage = None if stage.parent is None else self.stages[stage.parent]  # always an earlier one
        return tuple(reversed(found))

    def needed(self, target: str, *, replaced: Collection[str] = frozenset()) -> tuple[Stage, ...]:
        """Every stage that building a target runs, in the file's order.

        Args:
            target: Stage name, "" for the last.
            replaced: Names of named contexts: a stage of that name is not run.
        """
        by_name = {stage.name: stage for stage in self.stages}
        first = self.stage(target)
        waiting = [] if first is None else [first]
        wanted: set[int] = set()
        while waiting:
            stage = waiting.pop()
            if stage.index in wanted or stage.name in replaced:
                continue
            wanted.add(stage.index)
            if stage.parent is not None:
                waiting.append(self.stages[stage.parent])
            for name in {source.lower() for step in stage.steps for source in step.sources}:
                found = by_name.get(name) or self._numbered(name)
                if found is not None:
                    waiting.append(found)
        return tuple(stage for stage in self.stages if stage.index in wanted)

    def images(self, stage: Stage, *, replaced: Collection[str] = frozenset()) -> Iterator[tuple[str, int]]:
        """Yield the images of registries that a stage takes: the one that it is FROM, and those of its steps.

        Args:
            stage: One of this file.
            replaced: Names of named contexts, in lower case.

        Yields:
            The image as it is written, variables of a FROM filled in, and its 1-based line.
        """
        if stage.parent is None and stage.base.lower() not in {*replaced, "scratch", ""}:
            yield stage.base, stage.line
        known = {*replaced, "scratch", "context", ""}
        for step in stage.steps:
            for source in step.sources:
                if source.lower() not in known and self.stage(source) is None:
                    yield source, step.line


_DIGITS = 6  # of a stage's number; a longer one is no stage and costs int() nothing


def parse(text: str, args: Mapping[str, str] | None = None, *, replaced: Collection[str] = frozenset()) -> Dockerfile:
    """Read the stages of a Dockerfile.

    Args:
        text: The file.
        args: Build arguments that are passed, and TARGET… arguments of the global scope. A FROM sees those that an ARG
            before the first FROM declares, and the global scope's own.
        replaced: Names of named contexts, in lower case: a FROM of that name is no stage.
    """
    given = dict(args or {})
    values = {name: value for name, value in given.items() if name in GLOBAL_ARGS}
    escape = escape_character(text)
    heads: list[tuple[str, str, int | None, str, int]] = []
    steps: list[list[Step]] = []
    names: dict[str, int] = {}
    scripts: dict[str, str] = {}
    declared: set[str] = set()
    for one, step in _steps(text):
        if one.keyword == "FROM":
            words = list(_split(step.text, escape))
            base = substitute(words[0], values.get, escape=escape) if words else ""
            named = len(words) == 3 and words[1].upper() == "AS"
            name = words[2].lower() if named else str(len(heads))
            parent = None if base.lower() in replaced else names.get(base.lower())
            platforms = [option.value for option in step.options if option.name == "platform"]
            platform = substitute(platforms[-1], values.get, escape=escape) if platforms else ""
            heads.append((name, base, parent, platform, step.line))
            steps.append([])
            if named:
                names[name] = len(heads) - 1
        elif heads:
            steps[-1].append(step)
            if one.keyword == "COPY" and step.documents and step.words:
                scripts[step.words[-1]] = "\n".join(step.documents)
        elif one.keyword == "ARG":
            for name, value in assignments(step.text, escape):
                declared.add(name)
                if name in given:
                    values[name] = given[name]
                elif value is not None:
                    values[name] = substitute(value, values.get, escape=escape)
    made = [
        Stage(index=index, name=name, base=base, parent=parent, platform=platform, line=line, steps=tuple(steps[index]))
        for index, (name, base, parent, platform, line) in enumerate(heads)
    ]
    return Dockerfile(syntax=syntax(text), stages=tuple(made), arguments=frozenset(declared), scripts=scripts)


def assignments(text: str, escape: str = "\\") -> Iterator[tuple[str, str | None]]:
    """The names that an ARG declares, each with its default as it is written, None where it has none.

    Args:
        text: The words after the keyword.
        escape: The escape character.
    """
    for word in _split(text, escape, raw=True):
        name, equals, value = word.partition("=")
        yield name, value if equals else None


@functools.lru_cache(maxsize=8)
def _steps(text: str) -> tuple[tuple[Instruction, Step], ...]:
    """The instructions of a Dockerfile as steps, made once: `check` reads the stages of one file three times."""
    return tuple((one, _step(one)) for one in instructions(text))


def _step(one: Instruction) -> Step:
    options, at = leading(one.text, one.at)
    return Step(
        keyword=one.keyword,
        text=one.text[at:].strip(),
        options=tuple(options),
        documents=tuple(document.content for document in one.documents),
        expanded=tuple(document.content for document in one.documents if document.expand and one.keyword != "RUN"),
        line=one.line,
    )


def _split(text: str, escape: str = "\\", *, raw: bool = False) -> Iterator[str]:
    at = 0
    while at < len(text):
        if text[at] in DOCKERFILE_STOP:
            at += 1
            continue
        word = read_word(text, at, escape=escape, stop=DOCKERFILE_STOP, shell=False)
        yield text[word.start : word.end] if raw else word.text
        at = max(word.end, at + 1)
