"""Shell: assignments, the branch of a `case` or `if` that they stand in, and the build arguments of docker build lines.

`NAME+=…` and `NAME="$NAME …"` extend a value: the place is then the whole value, which no single edit can change. An
array is its words, joined by blanks. `: "${NAME:=…}"` assigns as `NAME=…` does. What a script takes from its arguments
(`NAME="$2"`) or from a command says nothing, beside a place that does.


A reader of scripts, not a shell: it skips what it cannot follow, and refuses only a script that is nested too deeply.
It works on a `Source`, so that the same code reads a script, a command in a pipeline's YAML and a page's code block.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec import Struct, field
from msgspec.structs import replace

from orchestrator.dockerfile.spans import Style
from orchestrator.dockerfile.words import place
from orchestrator.drift.readers import shell_words
from orchestrator.drift.readers.errors import MAX_DEPTH, TOO_DEEP, ReadError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from orchestrator.dockerfile.spans import Found, Source
    from orchestrator.drift.readers.shell_words import Token

_TESTS = frozenset({"[[", "[", "test"})
_COMPARED = re.compile(r"(?:==?|=~)\s+(\"[^\"]*\"|'[^']*'|[^\s\"']+)\s*(?:\]|$)")
_DECLARING = frozenset({"export", "declare", "typeset", "local", "readonly", "env"})
_BUILDERS = frozenset({"docker", "podman", "nerdctl", "buildah", "depot"})
_BUILD_VERBS = frozenset({"build", "b", "bud"})
_OPENING = frozenset({"then", "do", "{", "!", "while", "until", "time", "$"})  # $: the prompt of a page's example


class Command(Struct, frozen=True, kw_only=True):
    """A simple command.

    Attributes:
        tokens: Its words in order.
        branches: For each `if` or `case` around it, outermost first, the names of the branch it is in.
        text: The command as it is written, lines joined.
    """

    tokens: tuple[Token, ...]
    branches: tuple[tuple[str, ...], ...]
    text: str

    @property
    def assigned(self) -> Iterator[Token]:
        """Its assignments: those before its first word, those that `export` and its like take, and `: "${NAME:=…}"`."""
        if self.tokens and self.tokens[0].word.text == ":" and not self.tokens[0].name:
            for token in self.tokens[1:]:
                variables = token.word.variables
                if len(variables) == 1 and variables[0].name and variables[0].operator in {":=", "="}:
                    yield replace(token, name=variables[0].name)
            return
        declaring = False
        for token in self.tokens:
            if token.name and not token.flag:
                yield token
            else:
                declaring = declaring or token.word.text in _DECLARING
                if not declaring:
                    return

    @property
    def defined(self) -> Iterator[Token]:
        """The variables that it gives to CMake: -DNAME=value."""
        return (token for token in self.tokens if token.flag == "-D")

    @property
    def builds(self) -> bool:
        """Whether it builds an image: docker build, docker buildx build, podman build."""
        words = [token.word.text for token in self.tokens if not token.name]
        for index, word in enumerate(words):
            if word.rsplit("/", 1)[-1] in _BUILDERS:
                rest = [other for other in words[index + 1 : index + 4] if not other.startswith("-")]
                return bool(_BUILD_VERBS.intersection(rest))
        return False

    def option(self, *names: str) -> str:
        """The value of an option (`-f x`, `--file x`, `--file=x`), or ""."""
        words = [token.word.text for token in self.tokens]
        for index, word in enumerate(words):
            if word in names and index + 1 < len(words):
                return words[index + 1]
            for name in names:
                if name.startswith("--") and word.startswith(f"{name}="):
                    return word[len(name) + 1 :]
        return ""


class BuildArg(Struct, frozen=True, kw_only=True):
    """One --build-arg of a command: its name and, where a value is written, its place."""

    name: str
    start: int
    end: int
    found: Found | None
    command: Command


class Assigned(Struct, frozen=True, kw_only=True):
    """What a script assigns to a variable at one place.

    Attributes:
        name: The variable.
        found: The place of its value.
        branches: As in `Command`.
        known: Whether the value can be told without running the script.
        own: Whether the value is written at its place, though in several words or lines.
    """

    name: str
    found: Found
    branches: tuple[tuple[str, ...], ...]
    known: bool = True
    own: bool = False


def pick(assigned: Iterable[Assigned], wanted: str, branch: str | None = None) -> list[Found]:
    """Every value that scripts assign to a variable.

    Args:
        assigned: The result of `assignments`.
        wanted: The variable.
        branch: Only in this branch: the pattern of its `case` or `==` test as it is written there, or `else`.
    """
    places = [
        one
        for one in assigned
        if one.name == wanted and (branch is None or any(branch in level for level in one.branches))
    ]
    known = [one.found for one in places if one.known]
    return known or [one.found for one in places]


def assignments(source: Source) -> list[Assigned]:
    """Every assignment of a script; one that is extended in its own branch is the whole value, at the last part."""
    values = _Values(text=source.text)
    places: list[Assigned] = []
    latest: dict[tuple[str, tuple[tuple[str, ...], ...]], int] = {}
    dropped: set[int] = set()
    for command in commands(source):
        label = command.branches[-1][0] if command.branches else ""
        where = f"branch {label}" if label else ""
        for token in (*command.assigned, *command.defined):
            found = _assigned(source, token, values, where)
            key = token.name, command.branches
            extends = token.adds or any(part.name == token.name and not part.operator for part in token.word.variables)
            if extends and key in latest:
                dropped.add(latest[key])
            latest[key] = len(places)
            known = not found.via or values.followed(token) is not None
            own = known and (token.adds or token.array) and not token.word.variables
            places.append(Assigned(name=token.name, found=found, branches=command.branches, known=known, own=own))
            if not token.flag:
                values.learn(token, command)
    return [one for index, one in enumerate(places) if index not in dropped]


def _assigned(source: Source, token: Token, values: _Values, where: str) -> Found:
    """The place of one assignment."""
    if not token.adds and not token.array:
        return place(source, token.word, values.get, where=where)
    written = source.text[token.word.start : token.word.end]
    value = values.followed(token)
    found = source.found(
        token.word.text if value is None else value,
        token.word.start,
        token.word.end,
        Style.RAW,
        where=where,
        written=written,
    )
    return replace(found, via=f"{token.name}+= extends it" if token.adds else "it is an array")


def build_args(source: Source, environment: Mapping[str, str] | None = None) -> Iterator[BuildArg]:
    """Every --build-arg of every command, and every `--set TARGET.args.NAME=value` of `docker buildx bake`.

    Args:
        source: The script, or a part of a file that is one.
        environment: Variables that are set around it, such as the `env:` of a pipeline.
    """
    values = _Values(text=source.text, known=dict(environment or {}))
    for command in commands(source):
        for token in command.assigned:
            values.learn(token, command)
        tokens = command.tokens
        for index, token in enumerate(tokens):
            given = token
            set_ = token.word.text == "--set"
            if token.flag != "--build-arg=" and not token.flag.startswith("--set="):
                if not (set_ or token.word.text == "--build-arg") or index + 1 == len(tokens):
                    continue
                given = tokens[index + 1]
            named = given if given.name else shell_words.split(source.text, given)
            if set_ and (named is None or not named.flag):  # another attribute of a target
                continue
            if named is None:  # --build-arg NAME: the value comes from the environment
                name, found = given.word.text, None
            else:
                name, found = named.name, place(source, named.word, values.get)
            start, end = source.span(given.start, given.word.end)
            yield BuildArg(name=name, start=start, end=end, found=found, command=command)


class _Values(Struct, frozen=True, kw_only=True):
    """What the variables of a script hold, as far as can be told without running it."""

    text: str
    known: dict[str, str | None] = field(default_factory=dict)

    def get(self, name: str) -> str | None:
        return self.known.get(name)

    def followed(self, token: Token) -> str | None:
        """The value after an assignment, None if it cannot be told."""
        value = token.word.expand(self.text, self.get)
        if not token.adds or value is None:
            return value
        before = self.get(token.name)
        return None if before is None else f"{before} {value}" if token.array else before + value

    def learn(self, token: Token, command: Command) -> None:
        """An assignment; two branches that assign different values leave the variable unknown."""
        value = self.followed(token)
        agreed = token.name not in self.known or not command.branches or self.known[token.name] == value
        self.known[token.name] = value if agreed else None


def commands(source: Source) -> Iterator[Command]:
    """The simple commands of a script, each with the branches around it.

    Raises:
        ReadError: Its `if` and `case` are nested too deeply.
    """
    text = source.text
    current: list[Token] = []
    stack: list[_Frame] = []
    tested: tuple[str, ...] = ()
    for item in shell_words.tokens(text):
        if isinstance(item, str):
            finished = list(current)
            current.clear()
            frame = stack[-1] if stack else None
            if frame and frame.state == "patterns" and item in {")", "|", "("}:
                frame.take(item, finished, text)
                continue
            if frame and frame.state == "condition":
                frame.gather(finished, text)
            if finished:
                yield _command(finished, stack, text, tested)
            tested = _after(item, finished, tested, text)
            if item == ";;" and frame and frame.kind == "case":
                frame.state, frame.labels, frame.alternatives = "patterns", (), []
            continue
        if not current and not item.name and _reserved(item, stack, text):
            if len(stack) > MAX_DEPTH:  # every command carries the branches around it
                raise ReadError(TOO_DEEP, offset=source.span(item.start, item.start)[0])
            continue
        current.append(item)
        frame = stack[-1] if stack else None
        if frame and frame.kind == "case" and frame.state == "subject" and item.word.text == "in":
            frame.state = "patterns"
            current.clear()
    if current:
        yield _command(current, stack, text, tested)


def _after(operator: str, tokens: list[Token], tested: tuple[str, ...], text: str) -> tuple[str, ...]:
    """The names of the branch behind an operator: `[[ … == x ]] &&` begins one, `&&` keeps it, all else ends it."""
    if operator not in {"&&", "||"}:
        return ()
    if not tokens or tokens[0].word.text not in _TESTS:
        return tested if operator == "&&" else ()
    condition = text[tokens[0].start : tokens[-1].word.end]
    return _labels(condition) if operator == "&&" else ("else",)


def _labels(condition: str) -> tuple[str, ...]:
    """The names of the branch of a condition: what it compares with, if it compares once, and the condition."""
    compared = _COMPARED.findall(condition)
    return (*([compared[0].strip("\"'")] if len(compared) == 1 else []), condition)


class _Frame(Struct, kw_only=True):
    """An `if` or a `case` that is open."""

    kind: str
    state: str
    labels: tuple[str, ...] = ()
    condition: list[str]
    alternatives: list[str]

    def take(self, operator: str, tokens: list[Token], text: str) -> None:
        """A part of a case pattern: `a|b)`."""
        self.alternatives += [text[token.start : token.word.end].strip("\"'") for token in tokens]
        if operator == ")":
            whole = "|".join(self.alternatives)
            self.labels = tuple(dict.fromkeys([whole, *self.alternatives]))
            self.alternatives, self.state = [], "body"

    def gather(self, tokens: list[Token], text: str) -> None:
        """A part of the condition of an `if`."""
        if tokens:
            self.condition.append(text[tokens[0].start : tokens[-1].word.end])

    def decide(self) -> None:
        """The condition is whole: name the branch after what it compares with, if it compares once."""
        self.labels = _labels(" ".join(self.condition))
        self.state, self.condition = "body", []


def _reserved(token: Token, stack: list[_Frame], text: str) -> bool:
    """Whether a word at the start of a command is one of the shell's own, and what it opens or closes."""
    word = text[token.start : token.word.end]
    frame = stack[-1] if stack else None
    if frame and frame.state == "patterns" and word != "esac":
        return False
    match word:
        case "if":
            stack.append(_Frame(kind="if", state="condition", condition=[], alternatives=[]))
        case "case":
            stack.append(_Frame(kind="case", state="subject", condition=[], alternatives=[]))
        case "then" if frame and frame.kind == "if":
            frame.decide()
        case "elif" if frame and frame.kind == "if":
            frame.state, frame.labels = "condition", ()
        case "else" if frame and frame.kind == "if":
            frame.labels = ("else",)
        case "fi" if frame and frame.kind == "if":
            stack.pop()
        case "esac" if frame and frame.kind == "case":
            stack.pop()
        case _:
            return word in _OPENING
    return True


def _command(tokens: list[Token], stack: list[_Frame], text: str, tested: tuple[str, ...]) -> Command:
    written = text[tokens[0].start : tokens[-1].word.end].replace("\\\r\n", " ").replace("\\\n", " ")
    branches = tuple(labels for labels in (*(frame.labels for frame in stack), tested) if labels)
    return Command(tokens=tuple(tokens), branches=branches, text=written)
