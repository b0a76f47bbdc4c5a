"""Instructions of a Dockerfile: keyword, text, span in the file and here-documents, as BuildKit's parser cuts them.

A hand-written reader, because `check --fix` needs spans; tests/differential compares it with BuildKit. Any text can be
read: what BuildKit refuses (a here-document without an end) never hides the instructions behind it. Time is linear.
"""

from __future__ import annotations

import functools
import re
from bisect import bisect_left
from typing import TYPE_CHECKING

from msgspec import Struct

from orchestrator.dockerfile.directives import BOM, escape_character
from orchestrator.dockerfile.heredoc import openings
from orchestrator.dockerfile.options import json_form, leading
from orchestrator.dockerfile.spans import Source

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.dockerfile.heredoc import Opening

_LINE = re.compile(r"[^\n]*\n|[^\n]+$")
_KEYWORD = re.compile(r"\s*(?P<word>[A-Za-z]+)(?:[ \t\v\f\r]+|\Z)")
_KEPT = 8  # Dockerfiles: a command asks several questions about each
_WITH_DOCUMENTS = frozenset({"RUN", "COPY", "ADD"})


class HereDocument(Struct, frozen=True, kw_only=True):
    """A here-document of an instruction.

    Attributes:
        name: The line that ends it.
        body: Its lines as the file has them; `content` is what the step gets.
        chomp: Whether leading tabs are removed (`<<-`).
        expand: Whether variables in it are expanded (the name is not quoted).
        start: Offset of its first line in the file.
    """

    name: str
    body: str
    chomp: bool
    expand: bool
    start: int

    @property
    def content(self) -> str:
        """The text that the step gets."""
        return re.sub(r"(?m)^\t+", "", self.body) if self.chomp else self.body


class Instruction(Struct, frozen=True, kw_only=True):
    """One instruction.

    Attributes:
        keyword: "FROM", "ARG", … in capitals.
        text: The logical line, continuations joined and comments left out.
        at: Offset in `text` of what follows the keyword.
        line: 1-based line that it begins on.
        pieces: The spans of the file that `text` is joined from, at least one.
        documents: Its here-documents.
    """

    keyword: str
    text: str
    at: int
    line: int
    pieces: tuple[tuple[int, int], ...]
    documents: tuple[HereDocument, ...] = ()

    @property
    def rest(self) -> str:
        """What follows the keyword, blanks stripped."""
        return self.text[self.at :].strip()

    @property
    def start(self) -> int:
        """Offset of its first character in the file."""
        return self.pieces[0][0]

    @property
    def end(self) -> int:
        """Offset after its last character, without the line end and here-documents."""
        return self.pieces[-1][1]

    @property
    def source(self) -> Source:
        """The logical line with the place of each character in the file."""
        if len(self.pieces) == 1:
            return Source(text=self.text, base=self.start)
        starts = [offset for start, end in self.pieces for offset in range(start, end)]
        return Source(text=self.text, starts=starts, ends=[offset + 1 for offset in starts], base=self.start)


@functools.lru_cache(maxsize=_KEPT)
def instructions(text: str) -> tuple[Instruction, ...]:
    """Every instruction of a Dockerfile, in order; a line that begins with no word is left out."""
    return tuple(_instructions(text))


def _instructions(text: str) -> Iterator[Instruction]:
    lines = _Lines(text)
    escape = escape_character(text)
    while (read := lines.logical(escape)) is not None:
        number, pieces = read
        line = "".join(text[start:end] for start, end in pieces)
        head = _KEYWORD.match(line)
        if head is None:
            continue
        keyword = head["word"].upper()
        opened = openings(line) if "<<" in line and _takes_documents(keyword, line, head.end()) else []
        documents = lines.documents(opened)
        yield Instruction(
            keyword=keyword, text=line, at=head.end(), line=number, pieces=tuple(pieces), documents=documents
        )


def _takes_documents(keyword: str, line: str, at: int) -> bool:
    if keyword == "ONBUILD":
        inner = _KEYWORD.match(line, at)
        if inner is None:
            return False
        keyword, at = inner["word"].upper(), inner.end()
    return keyword in _WITH_DOCUMENTS and json_form(line, leading(line, at)[1]) is None


class _Lines:
    """The lines of a file and the place that reading has reached."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.spans = [match.span() for match in _LINE.finditer(text)]
        if text.startswith(BOM):
            self.spans[0] = (len(BOM), self.spans[0][1])
        self.next = 0
        self._ends: dict[bool, dict[str, list[int]]] = {}

    def logical(self, escape: str) -> tuple[int, list[tuple[int, int]]] | None:
        """The next logical line: its number and the spans that it is joined from; None at the end."""
        pieces: list[tuple[int, int]] = []
        number = 0
        while self.next < len(self.spans):
            start, end = self.spans[self.next]
            self.next += 1
            line = self.text[start:end].rstrip("\r\n")
            bare = line.lstrip()
            if not bare or bare[0] == "#":  # inside a continuation BuildKit steps over both as well
                continue
            if not pieces:
                number = self.next
                start += len(line) - len(bare)
                line = bare
            stripped = line.rstrip(" \t")
            goes_on = stripped.endswith(escape) and stripped[-2:-1] != escape  # a doubled one escapes itself
            pieces.append((start, start + (len(stripped) - 1 if goes_on else len(line))))
            if not goes_on:
                break
        return (number, pieces) if pieces else None

    def documents(self, opened: list[Opening]) -> tuple[HereDocument, ...]:
        """The here-documents that follow; one without an end is none."""
        found = []
        for opening in opened:
            ends = self._endings(chomp=opening.chomp).get(opening.name, [])
            at = bisect_left(ends, self.next)
            if at == len(ends):
                continue
            start = self.spans[self.next][0]
            body = self.text[start : self.spans[ends[at]][0]]
            found.append(
                HereDocument(name=opening.name, body=body, chomp=opening.chomp, expand=opening.expand, start=start)
            )
            self.next = ends[at] + 1
        return tuple(found)

    def _endings(self, *, chomp: bool) -> dict[str, list[int]]:
        """The indices of lines by their text, made once: each unclosed here-document costs one look-up."""
        if chomp not in self._ends:
            ends: dict[str, list[int]] = {}
            for index, (start, end) in enumerate(self.spans):
                line = self.text[start:end].rstrip("\r\n")
                ends.setdefault(line.lstrip("\t") if chomp else line, []).append(index)
            self._ends[chomp] = ends
        return self._ends[chomp]
