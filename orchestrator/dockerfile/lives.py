"""How far the value of a build argument lives in the stages of a target: what reads it, and what takes it away.

BuildKit's outline lists every argument that a stage declares, whether anything reads it or not. Measured with BuildKit
of engine 28.5: of ARG and ENV the later one counts, a RUN sees both; a stage that is FROM another sees the arguments of
that stage, except those whose name an ENV of it or of its base image has; an ARG before the first FROM counts in FROM
alone.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING

from msgspec import Struct, field
from msgspec.structs import replace

from orchestrator.dockerfile.commands import SHELLS, commands, own_values, settled
from orchestrator.dockerfile.directives import escape_character
from orchestrator.dockerfile.predefined import predefined
from orchestrator.dockerfile.read import instructions
from orchestrator.dockerfile.stages import assignments, parse
from orchestrator.dockerfile.words import read_word

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from orchestrator.dockerfile.stages import Step

_EXPANDED = frozenset({"ADD", "COPY", "EXPOSE", "LABEL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR"})
_WORD = re.compile(r"\w+", re.ASCII)
_REFERENCE = re.compile(r"(?<!\\)\$(?:\{[#!]?)?([A-Za-z_]\w*)", re.ASCII)


class Loss(Enum):
    """Why something that names an argument does not see its value."""

    ENV = "env"
    BASE = "base"
    ABOVE = "above"
    UNDECLARED = "undeclared"
    UNREAD = "unread"
    OWN = "own"


class Lost(Struct, frozen=True, kw_only=True):
    """An argument whose value does not get where it is named.

    Attributes:
        name: The argument.
        loss: Why.
        line: 1-based line of the ENV, of the FROM whose image has the ENV, or of what names the argument; of its ARG
            where nothing does.
        declared: 1-based line of its ARG, 0 where the stage has none.
        certain: Whether nothing at all in the target's stages can see the value. Otherwise a RUN that does not name it
            may still read it from its environment, or another stage does.
    """

    name: str
    loss: Loss
    line: int
    declared: int = 0
    certain: bool = False

    @property
    def text(self) -> str:
        """One line that says what happens, without the name of the file."""
        match self.loss:
            case Loss.ENV:
                return f"ENV {self.name} at line {self.line} replaces the value of its ARG at line {self.declared}"
            case Loss.BASE:
                env = f"ENV {self.name} of the image of FROM at line {self.line}"
                return f"{env} replaces the value of its ARG at line {self.declared} in a later stage"
            case Loss.ABOVE:
                return f"line {self.line} reads {self.name} above its ARG at line {self.declared}"
            case Loss.UNDECLARED:
                return f"line {self.line} reads {self.name}, which its stage does not declare with ARG"
            case Loss.UNREAD:
                return f"nothing reads {self.name} below its ARG at line {self.declared}"
            case Loss.OWN:
                return f"RUN at line {self.line} sets {self.name} itself"

    @property
    def hint(self) -> str:
        """The edit that mends it."""
        match self.loss:
            case Loss.ENV:
                return f"write ENV {self.name}=${{{self.name}}}, or remove the ENV"
            case Loss.BASE:
                return f"write ARG {self.name} again in the stage that reads it"
            case Loss.ABOVE:
                return f"move ARG {self.name} above line {self.line}"
            case Loss.UNDECLARED:
                return f"add ARG {self.name} to the stage, above line {self.line}"
            case Loss.UNREAD:
                return f"read {self.name} in a step below it, or remove it from the matrix"
            case Loss.OWN:
                return f"remove the value from the RUN, or write {self.name}=${{{self.name}}}"


def lost(
    text: str,
    values: Mapping[str, str],
    *,
    target: str = "",
    contexts: Collection[str] = (),
    args: Mapping[str, str] | None = None,
    bases: Mapping[int, Mapping[str, str]] | None = None,
) -> tuple[Lost, ...]:
    """Return the arguments whose value does not reach what names them, at most one finding for each.

    Args:
        text: The Dockerfile.
        values: Injected arguments with their values; others are not looked at.
        target: Stage that is built, "" for the last.
        contexts: Named contexts.
        args: All build arguments, to tell which stage a FROM with a variable means.
        bases: Number of a stage -> the ENV of the image that it is FROM.
    """
    replaced = {name.lower() for name in contexts}
    escape = escape_character(text)
    file = parse(text, {**(args or {}), **values}, replaced=replaced)
    needed = file.needed(target, replaced=replaced)
    from_image = _named_before_from(text, values)
    states: dict[int, dict[str, _State]] = {}
    names = frozenset(values)
    lives = {name: _Life(name=name, base=name in from_image) for name in values if not predefined(name)}
    for stage in needed:
        if stage.parent is None:
            env = (bases or {}).get(stage.index, {})
            states[stage.index] = {name: _State.of_image(stage.line, env.get(name), values[name]) for name in lives}
        else:
            before = states.get(stage.parent, {})
            states[stage.index] = {name: before.get(name, _State()).inherited() for name in lives}
        steps = [_Read.of(step, names, escape) for step in stage.steps]
        for name, life in lives.items():
            _walk(steps, life, states[stage.index][name], values)
    return tuple(one for life in lives.values() for one in life.verdict())


def doubtful(
    text: str,
    values: Mapping[str, str],
    *,
    target: str = "",
    contexts: Collection[str] = (),
    args: Mapping[str, str] | None = None,
    known: bool = False,
) -> frozenset[str]:
    """Return the arguments whose value an ENV of a base image may replace, where its ENV is not known.

    Args:
        text: The Dockerfile.
        values: Injected arguments with their values.
        target: Stage that is built, "" for the last.
        contexts: Named contexts.
        args: All build arguments.
        known: Whether the ENV of images is known, and only that of named contexts is not.
    """
    replaced = {name.lower() for name in contexts}
    stages = parse(text, {**(args or {}), **values}, replaced=replaced).stages
    env = {name: f"not {value}" for name, value in values.items()}
    worst = {
        stage.index: env
        for stage in stages
        if stage.base.lower() in replaced or not (known or stage.base.lower() == "scratch")
    }
    found = lost(text, values, target=target, contexts=contexts, args=args, bases=worst)
    return frozenset(one.name for one in found if one.loss is Loss.BASE)


class _Read(Struct, frozen=True, kw_only=True):
    """One step, and the arguments that stand in it.

    Attributes:
        step: The step.
        words: Of a RUN or an ONBUILD: those that it mentions in any way.
        variables: Those that it reads as variables.
        declares: Of an ARG: those that it declares.
        given: Of an ENV: each name that it sets, with the value as it is written.
        kept: Of an ENV: the names that it sets to a text with their own value.
    """

    step: Step
    words: frozenset[str]
    variables: frozenset[str]
    declares: frozenset[str]
    given: tuple[tuple[str, str], ...] = ()
    kept: frozenset[str] = frozenset()

    @classmethod
    def of(cls, step: Step, names: frozenset[str], escape: str) -> _Read:
        """Read a step once for all arguments."""
        keyword, declares = step.keyword, frozenset[str]()
        given: tuple[tuple[str, str], ...] = ()
        words, kept = set[str](), set[str]()
        options = [option.value for option in step.options]
        if keyword in {"RUN", "ONBUILD"}:  # scripts, whose quotes may be those of another script in them
            texts = [step.text, *step.documents, *options]
            words, variables = _words(texts), _mentioned(texts)
        elif keyword == "ARG":
            found = list(assignments(step.text, escape))
            declares = names.intersection(key for key, _ in found)
            defaults = [default for key, default in found if default is not None and key not in names]
            variables = {name for text in defaults for name, _ in references(text, escape)}
        elif keyword == "ENV":
            given = tuple(_env_pairs(step.text, escape))
            read = [(key, name, put) for key, value in given for name, put in references(value, escape)]
            variables = {name for key, name, put in read if put or name != key}
            kept = {name for key, name, put in read if put and name == key}
        elif keyword in _EXPANDED:
            variables = {name for name, _ in references(step.text, escape)}
            variables |= _mentioned([*step.expanded, *options])
        else:
            variables = set()
        return cls(
            step=step, words=names & words, variables=names & variables, declares=declares, given=given,
            kept=frozenset(kept),
        )  # fmt: skip

    def names(self, name: str) -> bool:
        """Whether the value of the argument is put in here, or a script may read it by its name."""
        return name in (self.words if self.step.keyword == "RUN" else self.variables)


def references(text: str, escape: str) -> Iterator[tuple[str, bool]]:
    """Yield the variables that BuildKit puts into a text of a Dockerfile: not into '…', and not behind an escape.

    Args:
        text: The text.
        escape: The escape character.

    Yields:
        The name, and whether its value is put in; `${NAME:+text}` only asks whether there is one.
    """
    waiting = [text] if "$" in text else []
    while waiting:
        one = waiting.pop()
        for variable in read_word(one, 0, escape=escape, stop=frozenset(), shell=False).variables:
            if not variable.name:  # ${NAME#pattern} and its like
                yield from ((name, True) for name in _REFERENCE.findall(one[variable.start : variable.end]))
                continue
            yield variable.name, variable.operator not in {"+", ":+"}
            inner = one[variable.default_start : variable.default_end]
            if "$" in inner:
                waiting.append(inner)


def _mentioned(texts: Iterable[str]) -> set[str]:
    return {name for text in texts for name in _REFERENCE.findall(text)}


def _words(texts: Iterable[str]) -> set[str]:
    return {word for text in texts for word in _WORD.findall(text)}


class _State(Struct, kw_only=True):
    """An argument at one point of a stage."""

    alive: bool = False
    declared: int = 0
    env: int = 0  # line of an ENV of its name that does not carry its value
    image: bool = False  # that ENV is one of the base image, the line that of the FROM

    def inherited(self) -> _State:
        return _State(alive=self.alive and not self.env, declared=self.declared, env=self.env, image=self.image)

    @classmethod
    def of_image(cls, line: int, env: str | None, value: str) -> _State:
        """Where a stage begins that is FROM an image with this ENV of the name."""
        return cls() if env is None or env == value else cls(env=line, image=True)

    @property
    def loss(self) -> Loss:
        return Loss.BASE if self.image else Loss.ENV


class _Life(Struct, kw_only=True):
    """What the stages do with one argument."""

    name: str
    base: bool = False  # a FROM reads it
    used: bool = False  # a step of a stage names it where it has its value
    seen: bool = False  # a RUN has it in its environment
    declared: int = 0
    own: int = 0  # line of a RUN that gives it another value
    misses: list[Lost] = field(default_factory=list)
    unsure: bool = False

    def verdict(self) -> Iterator[Lost]:
        if self.unsure:
            return
        if self.misses and not self.used:
            yield replace(self.misses[0], certain=not (self.seen or self.base))
        elif by_env := [miss for miss in self.misses if miss.loss in {Loss.ENV, Loss.BASE}]:
            yield by_env[0]
        elif self.own and not self.used:
            yield Lost(name=self.name, loss=Loss.OWN, line=self.own, declared=self.declared)
        elif self.declared and not (self.used or self.seen or self.base):
            yield Lost(name=self.name, loss=Loss.UNREAD, line=self.declared, declared=self.declared)


def _walk(steps: Iterable[_Read], life: _Life, state: _State, values: Mapping[str, str]) -> None:
    """Follow one argument through one stage."""
    name = life.name
    early: list[int] = []  # lines that name it before the stage has it
    for read in steps:
        step = read.step
        if step.keyword == "ONBUILD":  # runs in a stage that is FROM this one
            life.unsure = life.unsure or name in read.words
            continue
        named = read.names(name)
        if named and state.alive:
            if step.keyword == "RUN" and _replaces(name, read, values[name]):
                life.own = life.own or step.line
            else:
                life.used = True
        elif named and state.env and state.declared:
            life.misses.append(Lost(name=name, loss=state.loss, line=state.env, declared=state.declared))
        elif named and not _own(name, read):
            early.append(step.line)
        if step.keyword == "RUN" and state.alive:
            life.seen = True
        elif name in read.declares:
            state.alive, state.declared = True, step.line
            life.declared = life.declared or step.line
        elif step.keyword == "ENV":
            _env(read, life, state, values)
    if state.env > state.declared > 0 and not life.used:  # though nothing below names it
        life.misses.append(Lost(name=name, loss=Loss.ENV, line=state.env, declared=state.declared))
    if early:
        loss = Loss.ABOVE if state.declared > early[-1] else Loss.UNDECLARED
        life.misses.append(Lost(name=name, loss=loss, line=early[-1], declared=state.declared))


def _env(read: _Read, life: _Life, state: _State, values: Mapping[str, str]) -> None:
    """What an ENV does with an argument of its name."""
    for key, value in read.given:
        if key != life.name:
            continue
        state.image = False
        if value.strip("\"'") == values[key] or (state.alive and key in read.kept):
            state.env = 0
        else:
            state.alive, state.env = False, read.step.line


def _env_pairs(text: str, escape: str) -> Iterable[tuple[str, str]]:
    pairs = list(assignments(text, escape))
    if pairs and pairs[0][1] is None:  # the old form: ENV NAME the rest of the line
        name, _, value = text.partition(" ")
        return [(name, value.strip())]
    return [(name, value or "") for name, value in pairs]


def _own(name: str, read: _Read) -> bool:
    """Whether a RUN gives a shell variable of this name a value, or names it without reading a variable."""
    if read.step.keyword != "RUN":
        return False
    word = re.escape(name)
    own = re.compile(rf"(?:^|[\s;&|(]){word}=|\bfor\s+{word}\s|\bread\s[^;|&]*\b{word}\b")
    return name not in read.variables or any(own.search(text) for text in (read.step.text, *read.step.documents))


def _replaces(name: str, read: _Read, value: str) -> bool:
    """Whether a RUN gives a variable of this name another value, before it reads the one that it has."""
    step = read.step
    # A here-document is a script where a shell reads it, and BuildKit's shell does where nothing stands before it.
    alone = step.text.startswith("<<")
    run = alone or any(one.name in SHELLS for one in commands(step.text))
    scripts = [step.text, *(step.documents if run else ())]
    if name in read.variables:
        script = "".join(step.documents) if alone else step.text
        if not settled(script, name) or (not alone and name in _mentioned(step.documents)):
            return False
    given = [own for script in scripts for key, own in own_values(script) if key == name]
    return bool(given) and value not in given


def _named_before_from(text: str, values: Mapping[str, str]) -> set[str]:
    """The arguments that some FROM reads, through defaults of others as well."""
    escape = escape_character(text)
    behind: dict[str, set[str]] = {}
    found: set[str] = set()
    first = True
    for one in instructions(text):
        if one.keyword == "FROM":
            first = False
            for name, _ in references(one.rest, escape):
                found |= {name} | behind.get(name, set())
        elif one.keyword == "ARG" and first:
            for name, default in assignments(one.rest, escape):
                names = {one for one, _ in references(default or "", escape)} if name not in values else set()
                behind[name] = names | {deep for other in names for deep in behind.get(other, set())}
    return found
