"""Dockerfile: its stages and steps, as far as the guard and the air gap need them.

A reading, not an evaluation: stages with their bases expanded from the given arguments, every step with its flags and
its here-documents, and which stages a target is made of. Comments are gone, those inside here-documents too, so that
nothing is found in a sentence about it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_SYNTAX = re.compile(r"#\s*syntax\s*=\s*(\S+)", re.IGNORECASE)
_DIRECTIVE = re.compile(r"#\s*\w+\s*=")
_HEREDOC = re.compile(r"<<-?\s*([\"']?)(\w+)\1")
_VARIABLE = re.compile(r"\$(?:\{(\w+)(?::?([-+])([^{}]*))?\}|(\w+))")
_FROM_FLAG = re.compile(r"--from=[\"']?([^\s\"']+)")
_MOUNT = re.compile(r"--mount=(\S+)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One instruction.

    Attributes:
        keyword: In capitals.
        text: What follows it, continuation lines joined by spaces.
        body: Its here-documents, without comment lines.
        line: 1-based line that it begins on.
    """

    keyword: str
    text: str
    body: str
    line: int

    @property
    def sources(self) -> tuple[str, ...]:
        """Stages, contexts or images that it takes files from."""
        if self.keyword in ("COPY", "ADD"):
            return tuple(_FROM_FLAG.findall(self.text))
        if self.keyword == "RUN":
            options = [dict(_pairs(mount)) for mount in _MOUNT.findall(self.text)]
            return tuple(option["from"] for option in options if "from" in option)
        return ()

    @property
    def network(self) -> str:
        """The value of RUN's --network, "" where it has none."""
        found = re.search(r"--network=(\S+)", self.text)
        return found.group(1) if found and self.keyword == "RUN" else ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """One FROM and what follows it. `name` is its lower-case name or its number; `base` has its variables filled in."""

    name: str
    base: str
    line: int
    steps: tuple[Step, ...]

    def calls(self, step: Step, scripts: Mapping[str, str]) -> str:
        """Everything that a step runs: its own text, its here-documents, and every known script that it names."""
        named = [text for path, text in scripts.items() if path.rsplit("/", 1)[-1] in step.text]
        return "\n".join([step.text, step.body, *named])


@dataclass(frozen=True, kw_only=True, slots=True)
class Dockerfile:
    """A Dockerfile.

    Attributes:
        syntax: The remote frontend that it asks for, "" for the builder's own.
        stages: In order.
        scripts: Path -> text of every file that a COPY makes out of a here-document.
        preamble: The global ARG steps.
    """

    syntax: str
    stages: tuple[Stage, ...]
    scripts: Mapping[str, str] = field(default_factory=dict)
    preamble: tuple[Step, ...] = ()

    def stage(self, name: str) -> Stage | None:
        """A stage by name; "" is the last one."""
        if not name:
            return self.stages[-1] if self.stages else None
        return next((stage for stage in self.stages if stage.name == name.lower()), None)

    def line_of(self, target: str) -> tuple[Stage, ...]:
        """A target and the stages that it is FROM, the first one first."""
        found: list[Stage] = []
        stage = self.stage(target)
        while stage is not None and stage not in found:
            found.append(stage)
            stage = self.stage(stage.base) if stage.base else None
        return tuple(reversed(found))

    def needed(self, target: str, *, replaced: frozenset[str] = frozenset()) -> tuple[Stage, ...]:
        """Every stage that building a target runs, in the file's order.

        Args:
            target: Stage name, "" for the last.
            replaced: Names of named contexts: a stage of that name is not run.
        """
        wanted: list[str] = []
        first = self.stage(target)
        open_stages = [first] if first is not None else []
        while open_stages:
            stage = open_stages.pop()
            if stage.name in wanted:
                continue
            wanted.append(stage.name)
            for name in [stage.base, *(source for step in stage.steps for source in step.sources)]:
                following = self.stage(name) if name and name.lower() not in replaced else None
                if following is not None:
                    open_stages.append(following)
        return tuple(stage for stage in self.stages if stage.name in wanted)


def parse(text: str, args: Mapping[str, str] | None = None) -> Dockerfile:
    """Read a Dockerfile.

    Args:
        text: The file.
        args: Build arguments that will be passed; they fill the variables of FROM before the file's own defaults.
    """
    values: dict[str, str] = {}
    stages: list[tuple[str, str, int, list[Step]]] = []
    preamble: list[Step] = []
    scripts: dict[str, str] = {}
    for step in _steps(text):
        if step.keyword == "FROM":
            words = [word for word in step.text.split() if not word.startswith("--")]
            base = expand(words[0].strip("\"'"), {**values, **(args or {})}) if words else ""
            named = len(words) == 3 and words[1].upper() == "AS"
            stages.append((words[2].lower() if named else str(len(stages)), base, step.line, []))
        elif stages:
            stages[-1][3].append(step)
            if step.keyword == "COPY" and step.body:
                scripts[step.text.split()[-1]] = step.body
        elif step.keyword == "ARG":
            preamble.append(step)
            for name, value in _pairs_of_arg(step.text):
                values[name] = expand(value, {**values, **(args or {})})
    syntax = ""
    for line in text.splitlines():
        found = _SYNTAX.match(line.strip())
        if found:
            syntax = found.group(1)
        if not _DIRECTIVE.match(line.strip()):
            break
    made = tuple(Stage(name=name, base=base, line=line, steps=tuple(steps)) for name, base, line, steps in stages)
    return Dockerfile(syntax=syntax, stages=made, scripts=scripts, preamble=tuple(preamble))


def expand(text: str, values: Mapping[str, str]) -> str:
    """Text with its variables filled in; one without a value becomes nothing, as in BuildKit."""

    def fill(match: re.Match[str]) -> str:
        name = match.group(1) or match.group(4)
        value = values.get(name, "")
        operator, word = match.group(2), match.group(3) or ""
        if operator == "-":
            return value or word
        if operator == "+":
            return word if value else ""
        return value

    for _ in range(5):
        if "$" not in text:
            break
        text = _VARIABLE.sub(fill, text)
    return text


def _steps(text: str) -> Iterator[Step]:
    lines = text.splitlines()
    index = 0
    while index < len(lines):
        start = index
        parts: list[str] = []
        while index < len(lines):
            bare = lines[index].strip()
            index += 1
            if bare.startswith("#") or (not bare and parts):
                continue
            parts.append(bare.removesuffix("\\").rstrip() if bare.endswith("\\") else bare)
            if not bare.endswith("\\"):
                break
            if not parts[0] or index == len(lines):
                break
        joined = " ".join(part for part in parts if part)
        keyword, _, rest = joined.partition(" ")
        if not keyword:
            continue
        body: list[str] = []
        for _, word in _HEREDOC.findall(rest) if keyword.upper() in ("RUN", "COPY", "ADD") else ():
            while index < len(lines) and lines[index].strip() != word:
                if not lines[index].lstrip().startswith("#"):
                    body.append(lines[index])
                index += 1
            index += 1
        first = next((n for n in range(start, index) if lines[n].strip() and lines[n].strip()[0] != "#"), start)
        yield Step(keyword=keyword.upper(), text=rest.strip(), body="\n".join(body), line=first + 1)


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    for part in text.split(","):
        name, _, value = part.partition("=")
        yield name, value.strip("\"'")


def _pairs_of_arg(text: str) -> Iterator[tuple[str, str]]:
    for match in re.finditer(r"(\w+)=(\"[^\"]*\"|'[^']*'|\S*)", text):
        yield match.group(1), match.group(2).strip("\"'")
