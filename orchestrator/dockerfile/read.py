"""ARG and ENV of a Dockerfile: every occurrence, in every stage, with the exact characters of each value.

Our own small reader, because a fix needs spans that dockerfile-parse does not give; the differential tests hold it
beside BuildKit's own. It knows instructions, stages, line continuations, here-documents and the scope of variables; it
must not know which ARG matters.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orchestrator.dockerfile.spans import Source
from orchestrator.dockerfile.words import DOCKERFILE_STOP, place, read_word

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.dockerfile.spans import Found

GLOBAL = "global"
"""The name of the part before the first FROM."""

_DECLARING = frozenset({"FROM", "ARG", "ENV"})
_DIRECTIVE = re.compile(r"#[ \t]*(\w+)[ \t]*=[ \t]*(\S+)[ \t]*\r?$")
_INSTRUCTION = re.compile(r"[ \t]*([A-Za-z]+)[ \t]+")
_HEREDOC = re.compile(r"<<-?[ \t]*([\"']?)([A-Za-z0-9_]+)\1")
_FROM = re.compile(r"(?:--\S+[ \t]+)*(?P<base>\S+)(?:[ \t]+as[ \t]+(?P<name>\S+))?", re.IGNORECASE)
_KEY = re.compile(r"[A-Za-z_][\w.-]*", re.ASCII)


@dataclass(frozen=True, kw_only=True, slots=True)
class Declaration:
    """One name of one ARG or ENV instruction.

    Attributes:
        kind: "ARG" or "ENV".
        name: The variable's name.
        stage: The stage's name, its number from 0 where it has none, or `global`.
        found: The place of its value; None for an ARG without default.
    """

    kind: str
    name: str
    stage: str
    found: Found | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Instruction:
    """One logical line: its keyword in capitals, the text after it (continuations joined), and its span in the file.

    Attributes:
        keyword: "FROM", "ARG", …
        rest: What follows the keyword, blanks stripped.
        start: Offset of its first character in the file's text.
        end: Offset after its last one, the line end and here-documents not counted.
    """

    keyword: str
    rest: str
    start: int
    end: int


@dataclass(kw_only=True, slots=True)
class _Scope:
    """What variables hold at one point of a stage."""

    name: str
    values: dict[str, str | None] = field(default_factory=dict)


def read(text: str, kind: str, name: str, stage: str | None = None) -> list[Found]:
    """Every value that ARG or ENV instructions give to a name; see `pick`."""
    return pick(declarations(text), kind, name, stage)


def pick(declared: list[Declaration], kind: str, name: str, stage: str | None = None) -> list[Found]:
    """Every value that ARG or ENV instructions give to a name.

    Args:
        declared: What `declarations` gave.
        kind: "ARG" or "ENV".
        name: The variable; case matters, as it does in BuildKit.
        stage: Only in this stage (its name, its number, or `global`); None takes all.
    """
    return [
        declaration.found
        for declaration in declared
        if declaration.found is not None
        and declaration.kind == kind
        and declaration.name == name
        and (stage is None or declaration.stage.lower() == stage.lower())
    ]


def instructions(text: str) -> list[Instruction]:
    """Every instruction of a Dockerfile, in order; comments and here-documents are stepped over.

    `bake.bases` reads Dockerfiles with it too.
    """
    found: list[Instruction] = []
    for source in _instructions(text, _escape_character(text), None):
        head = _INSTRUCTION.match(source.text)
        if head is not None:
            end = source.ends[-1] if source.ends else source.base + len(source.text)
            rest = source.text[head.end() :].strip()
            found.append(Instruction(keyword=head[1].upper(), rest=rest, start=source.base, end=end))
    return found


def declarations(text: str) -> list[Declaration]:
    """Every ARG and ENV of a Dockerfile, in order."""
    escape = _escape_character(text)
    globals_ = _Scope(name=GLOBAL)
    scope = globals_
    stages: dict[str, _Scope] = {}
    count = 0
    found: list[Declaration] = []
    for source in _instructions(text, escape, _DECLARING):
        head = _INSTRUCTION.match(source.text)
        if head is None:
            continue
        match head[1].upper():
            case "FROM":
                named = _FROM.match(source.text, head.end())
                base = stages.get(named["base"].lower()) if named else None
                name = (named["name"] if named else None) or str(count)
                scope = _Scope(name=name, values=dict(base.values) if base else {})
                stages[name.lower()] = stages[str(count)] = scope
                count += 1
            case kind:
                found += _variables(source, head.end(), kind, scope, globals_, escape)
    return found


def _variables(
    source: Source, at: int, kind: str, scope: _Scope, globals_: _Scope, escape: str
) -> Iterator[Declaration]:
    """The names that one ARG or ENV instruction declares; `scope` learns their values."""
    text = source.text
    while at < len(text):
        if text[at] in DOCKERFILE_STOP:
            at += 1
            continue
        key = _KEY.match(text, at)
        if key is None:  # not a name: step over the word, BuildKit would refuse the file anyway
            at = max(read_word(text, at, escape=escape, stop=DOCKERFILE_STOP, shell=False).end, at + 1)
            continue
        if text[key.end() : key.end() + 1] == "=":
            word = read_word(text, key.end() + 1, escape=escape, stop=DOCKERFILE_STOP, shell=False)
        elif kind == "ENV":  # the old form: ENV NAME the rest of the line
            yield _old_env(source, key[0], key.end(), scope)
            return
        else:
            inherited = globals_.values.get(key[0]) if scope is not globals_ else None
            scope.values.setdefault(key[0], inherited)
            if inherited is not None:
                scope.values[key[0]] = inherited
            yield Declaration(kind=kind, name=key[0], stage=scope.name, found=None)
            at = key.end()
            continue
        where = f"stage {scope.name}" if scope is not globals_ else "before the first FROM"
        found = place(source, word, scope.values.get, where=where)
        scope.values[key[0]] = word.expand(text, scope.values.get)
        yield Declaration(kind=kind, name=key[0], stage=scope.name, found=found)
        at = max(word.end, key.end() + 1)


def _old_env(source: Source, name: str, at: int, scope: _Scope) -> Declaration:
    text = source.text
    while at < len(text) and text[at] in " \t":
        at += 1
    end = len(text.rstrip())
    word = read_word(text[:end], at, stop=frozenset(), shell=False)
    found = place(source, word, scope.values.get, where=f"stage {scope.name}")
    scope.values[name] = word.expand(text, scope.values.get)
    return Declaration(kind="ENV", name=name, stage=scope.name, found=found)


def _escape_character(text: str) -> str:
    """The escape character that the parser directives at the top choose."""
    for line in text.removeprefix("\ufeff").split("\n"):
        directive = _DIRECTIVE.match(line.strip())
        if directive is None:
            break
        if directive[1].lower() == "escape" and directive[2] in {"\\", "`"}:
            return directive[2]
    return "\\"


def _instructions(text: str, escape: str, keywords: frozenset[str] | None) -> Iterator[Source]:
    """The logical lines of a Dockerfile (those of some keywords alone), comments and here-documents stepped over."""
    spans = [match.span() for match in re.finditer(r"[^\n]*\n|[^\n]+$", text)]
    index = 0
    while index < len(spans):
        pieces: list[tuple[int, int]] = []
        goes_on = True
        while goes_on and index < len(spans):
            start, end = spans[index]
            index += 1
            if start == 0 and text.startswith("\ufeff"):
                start = 1
            line = text[start:end].rstrip("\r\n")
            bare = line.strip()
            if bare.startswith("#"):
                goes_on = bool(pieces)
                continue
            if not bare:
                goes_on = bool(pieces)  # BuildKit warns about an empty line there, and goes on
                continue
            stripped = line.rstrip(" \t")
            goes_on = stripped.endswith(escape)
            pieces.append((start, start + (len(stripped) - 1 if goes_on else len(line))))
        if not pieces:
            continue
        head = _INSTRUCTION.match(text, *pieces[0])
        word = head[1].upper() if head else ""
        if word in {"RUN", "COPY", "ADD"}:
            index = _after_heredocs(text, spans, index, " ".join(text[start:end] for start, end in pieces))
        if keywords is None or word in keywords:
            yield _joined(text, pieces)


def _joined(text: str, pieces: list[tuple[int, int]]) -> Source:
    if len(pieces) == 1:
        ((start, end),) = pieces
        return Source(text=text[start:end], base=start)
    starts = [offset for start, end in pieces for offset in range(start, end)]
    return Source(
        text="".join(text[start:end] for start, end in pieces),
        starts=starts,
        ends=[offset + 1 for offset in starts],
        base=pieces[0][0],
    )


def _after_heredocs(text: str, spans: list[tuple[int, int]], index: int, instruction: str) -> int:
    """The index of the line after the here-documents that an instruction opens."""
    for heredoc in _HEREDOC.finditer(instruction):
        end = index
        while end < len(spans) and text[slice(*spans[end])].strip("\t\r\n") != heredoc[2]:
            end += 1
        if end < len(spans):  # never closed: no here-document (a shift, `1 <<N`)
            index = end + 1
    return index
