"""Shell: assignments, the branch of a `case` or `if` that they stand in, and the build arguments of docker build lines.

A reader of scripts, not a shell: it skips what it cannot follow, and refuses only a script that is nested too deeply.
It works on a `Source`, so that the same code reads a script, a command in a pipeline's YAML and a page's code block.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from orchestrator.dockerfile.words import SHELL_STOP, Variable, Word, place, read_word
from orchestrator.drift.readers.errors import MAX_DEPTH, TOO_DEEP, ReadError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from orchestrator.dockerfile.spans import Found, Source

_ASSIGNMENT = re.compile(r"(?P<flag>--build-arg=)?(?P<name>[A-Za-z_]\w*)(?P<add>\+?)=", re.ASCII)
_BLANKS = re.compile(r"[ \t\r\ufeff]+")
_HEREDOC = re.compile(r"<<-?[ \t]*([\"'\\]?)([A-Za-z_]\w*)\1?")
_COMPARED = re.compile(r"(?:==?|=~)\s+(\"[^\"]*\"|'[^']*'|[^\s\"']+)\s*(?:\]|$)")
_DECLARING = frozenset({"export", "declare", "typeset", "local", "readonly", "env"})
_BUILDERS = frozenset({"docker", "podman", "nerdctl", "buildah", "depot"})
_BUILD_VERBS = frozenset({"build", "b", "bud"})
_OPENING = frozenset({"then", "do", "{", "!", "while", "until", "time", "$"})  # $: the prompt of a page's example


@dataclass(frozen=True, kw_only=True, slots=True)
class Token:
    """A word of a command; `name` where it is spelled NAME=value, and `word` is then the value alone."""

    word: Word
    name: str = ""
    flagged: bool = False  # --build-arg=NAME=value in one word
    start: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Command:
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
        """Its assignments: those before its first word, and those that `export` and its like take."""
        declaring = False
        for token in self.tokens:
            if token.name and not token.flagged:
                yield token
            else:
                declaring = declaring or token.word.text in _DECLARING
                if not declaring:
                    return

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


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildArg:
    """One --build-arg of a command: its name and, where a value is written, its place."""

    name: str
    start: int
    end: int
    found: Found | None
    command: Command


Assigned = tuple[str, "Found", tuple[tuple[str, ...], ...]]
"""The variable of an assignment, the place of its value, and the branches it is in."""


def pick(assigned: Iterable[Assigned], wanted: str, branch: str | None = None) -> list[Found]:
    """Every value that scripts assign to a variable.

    Args:
        assigned: The result of `assignments`.
        wanted: The variable.
        branch: Only in this branch: the pattern of its `case` or `==` test as it is written there, or `else`.
    """
    return [
        found
        for name, found, branches in assigned
        if name == wanted and (branch is None or any(branch in level for level in branches))
    ]


def assignments(source: Source) -> Iterator[Assigned]:
    """Every assignment of a script, or of a part of a file that is one."""
    values = _Values(text=source.text)
    for command in commands(source):
        label = command.branches[-1][0] if command.branches else ""
        where = f"branch {label}" if label else ""
        for token in command.assigned:
            yield token.name, place(source, token.word, values.get, where=where), command.branches
            values.learn(token, command)


def build_args(source: Source, environment: Mapping[str, str] | None = None) -> Iterator[BuildArg]:
    """Every --build-arg of every command.

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
            if not token.flagged:
                if token.word.text != "--build-arg" or index + 1 == len(tokens):
                    continue
                given = tokens[index + 1]
            named = given if given.name else _split(source.text, given)
            if named is None:  # --build-arg NAME: the value comes from the environment
                name, found = given.word.text, None
            else:
                name, found = named.name, place(source, named.word, values.get)
            start, end = source.span(given.start, given.word.end)
            yield BuildArg(name=name, start=start, end=end, found=found, command=command)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Values:
    """What the variables of a script hold, as far as can be told without running it."""

    text: str
    known: dict[str, str | None] = field(default_factory=dict)

    def get(self, name: str) -> str | None:
        return self.known.get(name)

    def learn(self, token: Token, command: Command) -> None:
        """An assignment; two branches that assign different values leave the variable unknown."""
        value = token.word.expand(self.text, self.get)
        agreed = token.name not in self.known or not command.branches or self.known[token.name] == value
        self.known[token.name] = value if agreed else None


def _split(text: str, token: Token) -> Token | None:
    """The token of a word that is quoted as a whole, `"NAME=value"`, as name and value."""
    word = token.word
    named = _ASSIGNMENT.match(text, word.inner_start, word.inner_end)
    if named is None or named["add"] or named["flag"] or word.inner_start == word.start:
        return None
    prefix = named[0]
    length = len(prefix)
    kept: list[str | Variable] = []
    for part in word.parts:
        if isinstance(part, str):
            kept.append(part[length:])
            length = max(length - len(part), 0)
        else:
            kept.append(part)
    value = replace(word, text=word.text[len(prefix) :], parts=tuple(kept), inner_start=named.end())
    return replace(token, word=value, name=named["name"])


def commands(source: Source) -> Iterator[Command]:
    """The simple commands of a script, each with the branches around it.

    Raises:
        ReadError: Its `if` and `case` are nested too deeply.
    """
    text = source.text
    current: list[Token] = []
    stack: list[_Frame] = []
    for item in _tokens(text):
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
                yield _command(finished, stack, text)
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
        yield _command(current, stack, text)


@dataclass(kw_only=True, slots=True)
class _Frame:
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
        condition = " ".join(self.condition)
        compared = _COMPARED.findall(condition)
        pattern = [compared[0].strip("\"'")] if len(compared) == 1 else []
        self.labels = (*pattern, condition)
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


def _command(tokens: list[Token], stack: list[_Frame], text: str) -> Command:
    written = text[tokens[0].start : tokens[-1].word.end].replace("\\\r\n", " ").replace("\\\n", " ")
    return Command(tokens=tuple(tokens), branches=tuple(frame.labels for frame in stack if frame.labels), text=written)


def _tokens(text: str) -> Iterator[Token | str]:
    """Words, and operators as strings; comments, continuations and here-documents are skipped."""
    pos = 0
    heredocs: list[str] = []
    while (pos := _blanks_end(text, pos)) < len(text):
        char = text[pos]
        if char == "\n":
            yield "\n"
            pos += 1
            for word in heredocs:
                pos = _after_heredoc(text, pos, word)
            heredocs.clear()
        elif char == "\\" and text[pos + 1 : pos + 3].startswith(("\n", "\r\n")):
            pos = text.index("\n", pos) + 1
        elif char == "#":
            end = text.find("\n", pos)
            pos = len(text) if end < 0 else end
        elif char in SHELL_STOP:
            opened = _HEREDOC.match(text, pos)
            if opened and not text.startswith("<<<", pos):
                heredocs.append(opened[2])
                pos = opened.end()
            elif char in "<>" or (char == "&" and text[pos - 1 : pos] in {"<", ">"}):
                pos += 1  # a redirection separates words, not commands
            else:
                operator = ";;" if text.startswith(";;", pos) else char
                yield operator
                pos += len(operator)
        else:
            token = _token(text, pos)
            yield token
            pos = max(token.word.end, pos + 1)


def _blanks_end(text: str, pos: int) -> int:
    blanks = _BLANKS.match(text, pos)
    return blanks.end() if blanks else pos


def _token(text: str, pos: int) -> Token:
    named = _ASSIGNMENT.match(text, pos)
    if named and not named["add"] and text[named.end() : named.end() + 1] != "(":
        word = read_word(text, named.end())
        return Token(word=word, name=named["name"], flagged=bool(named["flag"]), start=pos)
    return Token(word=read_word(text, pos), start=pos)


def _after_heredoc(text: str, pos: int, word: str) -> int:
    """The offset after a here-document's last line; where it never ends, the offset it began at."""
    end = re.compile(rf"^[ \t]*{re.escape(word)}[ \t\r]*$", re.MULTILINE).search(text, pos)
    return pos if end is None else end.end()
