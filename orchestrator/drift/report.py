"""What `orchestrate check` reports: every place that contradicts the matrix, and the edit that repairs it."""

from __future__ import annotations

from msgspec import Struct


class Edit(Struct, frozen=True, kw_only=True):
    """Characters of a file that a fix replaces: those from `start` up to `end`, by `text`.

    `reader` is how the claim reads the file: another reader of that format judges the edit.
    """

    file: str
    start: int
    end: int
    text: str
    reader: str = ""


class Disagreement(Struct, frozen=True, kw_only=True):
    """One place that contradicts the matrix.

    Attributes:
        claim: Index of the claim in matrix.yaml, from 0; None for what the matrix demands without a claim.
        file: Path below the root.
        line: 1-based line; 1 if the place was not found.
        column: 1-based column.
        end_column: Column after the last character, on the same line.
        place: What the claim names: "ARG torch_cuda_arch_list", and the stage or branch it was found in.
        says: The value there, None if the place was not found.
        expected: The value that the matrix demands, "" if there is more than one.
        words: The difference in words, or why the place is drift.
        why: What the claim says about the importance of the place.
        edit: The edit that repairs it, None if no edit is safe.
        unfixable: Why there is no edit, or "".
        hint: What to change by hand, or "".
    """

    claim: int | None
    file: str
    line: int
    column: int
    end_column: int
    place: str
    says: str | None
    expected: str
    words: tuple[str, ...] = ()
    why: str = ""
    edit: Edit | None = None
    unfixable: str = ""
    hint: str = ""

    @property
    def message(self) -> str:
        """The disagreement without its file and line."""
        words = "; ".join(self.words)
        if self.says is None:
            return f"{self.place}: {words}"
        matrix = f", the matrix says {self.expected}" if self.expected else ""
        return f"{self.place}: says {self.says or 'nothing'}{matrix}" + (f": {words}" if words else "")

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}"


class Guarded(Struct, frozen=True, kw_only=True):
    """What one part of a check found without claims, and what could not be looked at."""

    disagreements: tuple[Disagreement, ...] = ()
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class Report(Struct, frozen=True, kw_only=True):
    """The result of a check.

    Attributes:
        disagreements: In the order of files and lines.
        claims: How many claims were checked.
        files: The files that the claims name, each once.
        places: How many places were read.
        skipped: What was not checked, each with its reason.
        notes: What the matrix says nothing about and somebody should decide; no disagreement.
    """

    disagreements: tuple[Disagreement, ...]
    claims: int
    files: tuple[str, ...]
    places: int
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def clean(self) -> bool:
        """Whether every place agrees with the matrix."""
        return not self.disagreements
