"""`orchestrate check`: every place that contradicts the matrix, with its line and the difference in words.

It joins claims, places and expectations. It reads files and never writes one (fix.py does).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orchestrator.dockerfile.spans import Style, write
from orchestrator.drift import claims as claimed
from orchestrator.drift.expect import ClaimError, Expectations, parse_archs
from orchestrator.drift.files import Files, UnreadableError, outside
from orchestrator.drift.readers import regex
from orchestrator.drift.readers.tree import split_pointer
from orchestrator.drift.words import difference
from orchestrator.matrix.positions import invalid

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from orchestrator.dockerfile.spans import Found
    from orchestrator.drift.evaluate import Buildx
    from orchestrator.drift.expect import Expected
    from orchestrator.drift.files import File
    from orchestrator.errors import Problem
    from orchestrator.matrix.model import Matrix
    from orchestrator.matrix.schema import ClaimSpec
    from orchestrator.matrix.variants import Variant


_NOT_THERE = ("it is not there",)


@dataclass(frozen=True, kw_only=True, slots=True)
class Edit:
    """Characters of a file that a fix replaces: those from `start` up to `end`, by `text`."""

    file: str
    start: int
    end: int
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Disagreement:
    """One place that contradicts the matrix.

    Attributes:
        claim: Index of the claim in matrix.yaml, from 0.
        file: Path below the root.
        line: 1-based line; 1 where the place is gone.
        column: 1-based column.
        end_column: Column after the last character, on the same line.
        place: What the claim names: "ARG torch_cuda_arch_list", and the stage or branch it was found in.
        says: What stands there, None where the place is gone.
        expected: What the matrix says, "" where only a person can tell.
        words: The difference in words, or why the place is drift.
        why: What the claim says about the place's importance.
        edit: The edit that repairs it, None where it cannot be done safely.
        unfixable: Why there is no edit, or "".
    """

    claim: int
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

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}"
        words = "; ".join(self.words)
        if self.says is None:
            return f"{where}: {self.place}: {words}"
        matrix = f", the matrix says {self.expected}" if self.expected else ""
        return f"{where}: {self.place}: says {self.says or 'nothing'}{matrix}" + (f": {words}" if words else "")


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What a check found.

    Attributes:
        disagreements: In the order of files and lines.
        claims: How many claims were checked.
        files: The files they name, each once.
        places: How many places were read.
    """

    disagreements: tuple[Disagreement, ...]
    claims: int
    files: tuple[str, ...]
    places: int

    @property
    def clean(self) -> bool:
        """Whether every place agrees with the matrix."""
        return not self.disagreements


def check(
    matrix: Matrix,
    root: Path | None = None,
    *,
    overlay: Mapping[str, str] | None = None,
    buildx: Buildx | None = None,
) -> Report:
    """Compare every claimed place with the matrix.

    Args:
        matrix: A loaded matrix.
        root: The directory that claims' paths start from, by default the matrix's own.
        overlay: Texts that stand for files on disk, by name below the root.
        buildx: Evaluates claimed expressions of bake files; without it they are reported as what they are.

    Raises:
        MatrixError: Claims that cannot be understood, all together, each with its line.
    """
    files = Files(root=root or matrix.root, overlay=overlay or {}, buildx=buildx)
    expectations = Expectations(matrix, _Variants(matrix))
    problems: list[Problem] = []
    found: list[Disagreement] = []
    tally = _Tally()
    for index, claim in enumerate(matrix.spec.claims):
        try:
            _well_formed(claim)
            expected = None if claim.build_args else expectations.of(claim)
        except ClaimError as error:
            at: tuple[str | int, ...] = ("claims", index, error.key)
            problems.append(matrix.positions.problem(at, str(error), hint=error.hint))
            continue
        found += _checked(index, claim, expected, files, tally)
    if problems:
        raise invalid(matrix.positions.file, problems)
    unique = dict.fromkeys(sorted(found, key=lambda one: (one.file, one.line, one.column, one.claim)))
    names = tuple(sorted(tally.files))
    return Report(disagreements=tuple(unique), claims=len(matrix.spec.claims), files=names, places=tally.places)


@dataclass(kw_only=True, slots=True)
class _Tally:
    """What was looked at."""

    files: set[str] = field(default_factory=set)
    places: int = 0


class _Variants:
    """The matrix's variants, expanded when a claim first asks for them."""

    def __init__(self, matrix: Matrix) -> None:
        self._matrix = matrix
        self._variants: Sequence[Variant] | None = None

    def __call__(self) -> Sequence[Variant]:
        if self._variants is None:  # no claim speaks of commits: git is not asked
            from orchestrator.matrix.expand import plan

            self._variants = plan(self._matrix, fact=lambda _: "0" * 12).variants
        return self._variants


def _well_formed(claim: ClaimSpec) -> None:
    """Refuse what only the claim itself shows.

    Raises:
        ClaimError: A path that leads out of the repository, a pattern or a pointer that is none.
    """
    if outside(claim.file):
        raise ClaimError(f"{claim.file} leads out of the repository", key="file")
    checks = (
        ("regex", claim.regex, regex.compile_pattern),
        ("where", claim.where, regex.compile_any),
        ("pointer", claim.pointer, split_pointer),
    )
    for key, value, understood in checks:
        if value is not None:
            try:
                understood(value)
            except ValueError as error:
                raise ClaimError(str(error), key=key) from error


def _checked(
    index: int, claim: ClaimSpec, expected: Expected | None, files: Files, tally: _Tally
) -> Iterator[Disagreement]:
    """What one claim finds in every file that it names."""
    names = files.names(claim.file)
    if not names:
        yield _gone(index, claim, claim.file, "no such file")
    before = tally.places
    lacking: list[Disagreement] = []
    for name in names:
        tally.files.add(name)
        try:
            file = files.read(name)
            if expected is None:
                found = list(_undeclared(index, claim, file, files, tally))
            else:
                found = list(_compared(index, claim, expected, file, files, tally))
        except ValueError as error:
            found = [_gone(index, claim, name, str(error))]
        nowhere = [one for one in found if one.words == _NOT_THERE]
        lacking += nowhere
        yield from (one for one in found if one not in nowhere)
    if len(names) == 1 or tally.places == before:  # of the files of a glob, one that has the place is enough
        yield from lacking


def _compared(
    index: int, claim: ClaimSpec, expected: Expected, file: File, files: Files, tally: _Tally
) -> Iterator[Disagreement]:
    """The places of one file that say something else than expected."""
    found = claimed.places(claim, file, files.buildx)
    empty = [part for part in claimed.parts(claim, file) if not any(part[0] <= one.start < part[1] for one in found)]
    for start, _ in empty:
        yield _gone(index, claim, file.name, "it is missing there", line=file.lines.place(start)[0])
    if not found:
        if not empty:
            yield _gone(index, claim, file.name, *_NOT_THERE)
        return
    if claim.places is not None and len(found) != claim.places:
        yield _gone(index, claim, file.name, f"expected in {claim.places} places, found in {len(found)}")
    for place in found if claim.all else found[:1]:
        tally.places += 1
        if not expected.agrees(place.value) and not (place.written and expected.agrees(place.written)):
            yield _disagreement(index, claim, expected, file, place)


def _gone(index: int, claim: ClaimSpec, name: str, what: str, *, line: int = 1) -> Disagreement:
    """A place that is not there: drift, never a pass."""
    return Disagreement(
        claim=index,
        file=name,
        line=line,
        column=1,
        end_column=1,
        place=claimed.describe(claim),
        says=None,
        expected="",
        words=(what,),
        why=claim.why,
        unfixable="there is nothing to edit",
    )


def _disagreement(index: int, claim: ClaimSpec, expected: Expected, file: File, place: Found) -> Disagreement:
    text = expected.for_place(place.value)
    line, column = file.lines.place(place.start)
    end_line, end_column = file.lines.place(place.end)
    edit, unfixable = _edit(claim, file, place, text)
    named = claimed.describe(claim)
    where = f" ({place.where})" if place.where and place.where not in named else ""
    return Disagreement(
        claim=index,
        file=file.name,
        line=line,
        column=column,
        end_column=end_column if end_line == line else column + 1,
        place=named + where,
        says=place.value,
        expected=text if text is not None else " or ".join(expected.choices),
        words=_words(expected, place),
        why=claim.why,
        edit=edit,
        unfixable=unfixable,
    )


def _words(expected: Expected, place: Found) -> tuple[str, ...]:
    via = (place.via,) if place.via else ()
    if expected.archs is None:
        return via
    try:
        found = parse_archs(place.value, expected.dialect)
    except ValueError as error:
        return (f"it is no arch list in the {expected.dialect} dialect: {error}", *via)
    return (*difference(found, expected.archs, expected.toolkits, expected.forbidden), *via)


def _edit(claim: ClaimSpec, file: File, place: Found, text: str | None) -> tuple[Edit | None, str]:
    """The edit that repairs a place, or why there is none."""
    if not claim.fix:
        return None, "the claim says fix: false"
    if place.via:
        return None, place.via
    if text is None:
        return None, "more than one value would be right"
    written = write(text, place.styles)
    there = file.text[place.start : place.end]
    if written is None or (place.styles == (Style.RAW,) and "\n" in text):
        return None, "its quoting cannot hold the value"
    if "\n" in there and "#" in there:
        return None, "a comment stands inside the value"
    return Edit(file=file.name, start=place.start, end=place.end, text=written), ""


def _undeclared(index: int, claim: ClaimSpec, file: File, files: Files, tally: _Tally) -> Iterator[Disagreement]:
    """Build arguments that the Dockerfile of their command does not declare: docker ignores them silently."""
    given_any = False
    for given in claimed.build_args(claim, file):
        name = given.command.option("-f", "--file") or "Dockerfile"
        if not given.command.builds or "$" in name or "$" in given.name:
            continue
        declared = _declared(name, files)
        if declared is None:
            continue
        given_any = True
        tally.places += 1
        if given.name in declared or given.name in claimed.PREDEFINED_ARGS or given.name.startswith("BUILDKIT_"):
            continue
        line, column = file.lines.place(given.start)
        yield Disagreement(
            claim=index,
            file=file.name,
            line=line,
            column=column,
            end_column=column + len(given.name),
            place=f"--build-arg {given.name}",
            says=None,
            expected="",
            words=(f"{name} declares no such ARG: docker ignores it silently",),
            why=claim.why,
            unfixable="whether to remove it or to declare the ARG is for a person to say",
        )
    if not given_any:
        yield _gone(index, claim, file.name, *_NOT_THERE)


def _declared(name: str, files: Files) -> frozenset[str] | None:
    """The ARGs of a Dockerfile, None where the repository has no such file."""
    if outside(name) or not files.names(name):
        return None
    try:
        return frozenset(one.name for one in files.read(name).declared() if one.kind == "ARG")
    except UnreadableError:
        return None
