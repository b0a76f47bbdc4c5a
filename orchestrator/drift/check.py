"""`orchestrate check`: finds every place that contradicts the matrix, with its line and the difference in words.

Joins claims, places and expectations. Reads files and never writes one (fix.py does).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field

from orchestrator.dockerfile.predefined import predefined
from orchestrator.dockerfile.spans import Style, write
from orchestrator.drift import claims as claimed
from orchestrator.drift.arguments import arguments
from orchestrator.drift.expect import ClaimError, Expectations, parse_archs
from orchestrator.drift.files import Files, UnreadableError, outside
from orchestrator.drift.mentions import mentioned
from orchestrator.drift.readers import regex
from orchestrator.drift.readers.errors import ReadError
from orchestrator.drift.readers.tree import split_pointer
from orchestrator.drift.report import Disagreement, Edit, Report
from orchestrator.drift.words import difference, text_difference
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

_DIGEST = "@sha256:"


def check(
    matrix: Matrix,
    root: Path | None = None,
    *,
    overlay: Mapping[str, str] | None = None,
    buildx: Buildx | None = None,
) -> Report:
    """Compare every claimed place with the matrix, and Dockerfiles with what `headers:` promises and arguments need.

    Args:
        matrix: A loaded matrix.
        root: The directory that paths of claims start from, by default the directory of the matrix.
        overlay: Texts in place of files on disk, by name below the root.
        buildx: Evaluates claimed expressions of bake files and resolves targets; without it such expressions are
            reported as they are written, and Dockerfiles are not checked.

    Raises:
        MatrixError: Invalid claims, all together, each with its line; or buildx refuses the bake files.
    """
    files = Files(root=root or matrix.root, overlay=overlay or {}, buildx=buildx)
    variants = _Variants(matrix)
    expectations = Expectations(matrix, variants)
    problems: list[Problem] = []
    found: list[Disagreement] = []
    checker = _Checker(files=files)
    for index, spec in enumerate(matrix.spec.claims):
        try:
            _well_formed(spec)
            expected = None if spec.build_args else expectations.of(spec)
        except ClaimError as error:
            at: tuple[str | int, ...] = ("claims", index, error.key)
            problems.append(matrix.positions.problem(at, str(error), hint=error.hint))
            continue
        found += checker.compare(_Claim(index=index, spec=spec, expected=expected))
    if problems:
        raise invalid(matrix.positions.file, problems)
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    parts = [arguments(matrix, files, buildx, variants)]
    named = mentioned(matrix.bake_files, files)
    sections = (matrix.spec.headers, matrix.spec.wheels, matrix.spec.compile_cache)
    if any(section is not None for section in sections) or named:
        from orchestrator.drift import guard

        guards = (guard.headers, guard.wheels, guard.compile_cache)
        parts += [look(matrix, files, buildx) for look in guards]
    for part in parts:
        found += part.disagreements
        skipped += part.skipped
        notes += part.notes
    return Report(
        disagreements=tuple(dict.fromkeys(sorted(found, key=_order))),
        claims=len(matrix.spec.claims),
        files=tuple(sorted(checker.names)),
        places=checker.places,
        skipped=skipped,
        notes=notes,
    )


def _order(one: Disagreement) -> tuple[str, int, int, int]:
    return one.file, one.line, one.column, -1 if one.claim is None else one.claim


class _Variants:
    """The variants of the matrix, expanded when a claim first needs them."""

    def __init__(self, matrix: Matrix) -> None:
        self._matrix = matrix
        self._variants: Sequence[Variant] | None = None

    def __call__(self) -> Sequence[Variant]:
        if self._variants is None:  # no placeholder of a claim names a commit: git is not asked
            from orchestrator.matrix.expand import plan

            self._variants = plan(self._matrix, fact=lambda _: "0" * 12).variants
        return self._variants


def _well_formed(claim: ClaimSpec) -> None:
    """Refuse a claim that is invalid by itself.

    Raises:
        ClaimError: A path that leads out of the repository, an invalid pattern or pointer.
    """
    if outside(claim.file):
        raise ClaimError(f"{claim.file} is outside of the repository", key="file")
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


class _Claim(Struct, frozen=True, kw_only=True):
    """A claim: its index in the matrix, and what its places must say (None: that arguments are declared)."""

    index: int
    spec: ClaimSpec
    expected: Expected | None

    def gone(self, name: str, what: str, *, line: int = 1, column: int = 1) -> Disagreement:
        """A place that was not found: drift, never a pass."""
        return Disagreement(
            claim=self.index,
            file=name,
            line=line,
            column=column,
            end_column=column,
            place=claimed.describe(self.spec),
            says=None,
            expected="",
            words=(what,),
            why=self.spec.why,
            unfixable="there is nothing to edit",
        )


class _Checker(Struct, kw_only=True):
    """Compares claims with files, and counts what was read.

    Attributes:
        files: The files of the repository.
        names: The files that claims named.
        places: How many places were read.
        arguments: The ARGs of Dockerfiles that commands name.
    """

    files: Files
    names: set[str] = field(default_factory=set)
    places: int = 0
    arguments: dict[str, frozenset[str] | None] = field(default_factory=dict)

    def compare(self, claim: _Claim) -> Iterator[Disagreement]:
        """What one claim finds in every file that it names."""
        names = self.files.names(claim.spec.file)
        if not names:
            yield claim.gone(claim.spec.file, "the file was not found")
        before = self.places
        without: list[str] = []
        for name in names:
            self.names.add(name)
            found = self._in_file(claim, name)
            if found is None:
                without.append(name)
            else:
                yield from found
        if len(names) == 1 or self.places == before:  # of the files of a glob, one that has the place is enough
            yield from (claim.gone(name, "not found") for name in without)

    def _in_file(self, claim: _Claim, name: str) -> Sequence[Disagreement] | None:
        """What one claim finds in one file, None if the place is not in it."""
        try:
            file = self.files.read(name)
        except UnreadableError as error:
            return [claim.gone(name, str(error))]
        try:
            if claim.expected is None:
                return self._undeclared(claim, file)
            return self._compared(claim, claim.expected, file)
        except ReadError as error:
            line, column = error.place(file.lines)
            return [claim.gone(name, error.what, line=line, column=column)]
        except ValueError as error:
            return [claim.gone(name, str(error))]

    def _compared(self, claim: _Claim, expected: Expected, file: File) -> Sequence[Disagreement] | None:
        """The places of a file that do not say what is expected."""
        spec = claim.spec
        found = claimed.places(spec, file, self.files.buildx)
        empty = [part for part in claimed.parts(spec, file) if not any(part[0] <= one.start < part[1] for one in found)]
        wrong = [claim.gone(file.name, "not found in this part", line=file.lines.place(start)[0]) for start, _ in empty]
        if not found:
            return wrong or None
        if spec.places is not None and len(found) != spec.places:
            wrong.append(claim.gone(file.name, f"expected in {spec.places} places, found in {len(found)}"))
        for place in found if spec.all else found[:1]:
            self.places += 1
            if not expected.agrees(place.value) and not (place.written and expected.agrees(place.written)):
                wrong.append(_disagreement(claim, expected, file, place))
        return wrong

    def _undeclared(self, claim: _Claim, file: File) -> Sequence[Disagreement] | None:
        """Build arguments that the Dockerfile of their command does not declare: docker ignores them silently."""
        wrong = []
        before = self.places
        for given in claimed.build_args(claim.spec, file):
            name = given.command.option("-f", "--file") or "Dockerfile"
            if not given.command.builds or "$" in name or "$" in given.name:
                continue
            if name not in self.arguments:
                self.arguments[name] = self._declared(name)
            declared = self.arguments[name]
            if declared is None:
                continue
            self.places += 1
            if given.name in declared or predefined(given.name):
                continue
            line, column = file.lines.place(given.start)
            wrong.append(
                Disagreement(
                    claim=claim.index,
                    file=file.name,
                    line=line,
                    column=column,
                    end_column=column + len(given.name),
                    place=f"--build-arg {given.name}",
                    says=None,
                    expected="",
                    words=(f"{name} declares no such ARG: docker ignores it silently",),
                    why=claim.spec.why,
                    unfixable="either the option or an ARG is wrong",
                    hint=f"remove the option, or declare ARG {given.name} in {name}",
                )
            )
        return wrong if self.places > before else None

    def _declared(self, name: str) -> frozenset[str] | None:
        """The ARGs of a Dockerfile, None if the repository has no such file."""
        if outside(name) or not self.files.names(name):
            return None
        try:
            return frozenset(one.name for one in self.files.read(name).declared if one.kind == "ARG")
        except UnreadableError:
            return None


def _disagreement(claim: _Claim, expected: Expected, file: File, place: Found) -> Disagreement:
    text = expected.for_place(place.value)
    line, column = file.lines.place(place.start)
    end_line, end_column = file.lines.place(place.end)
    edit, unfixable = _edit(claim.spec, file, place, text)
    named = claimed.describe(claim.spec)
    where = f" ({place.where})" if place.where and place.where not in named else ""
    return Disagreement(
        claim=claim.index,
        file=file.name,
        line=line,
        column=column,
        end_column=end_column if end_line == line else column + 1,
        place=named + where,
        says=_said(expected, place),
        expected=text if text is not None else " or ".join(expected.choices),
        words=_words(expected, place),
        why=claim.spec.why,
        edit=edit,
        unfixable=unfixable,
    )


def _said(expected: Expected, place: Found) -> str:
    """What a place says; as it is written, with its variables, where the claim has them too."""
    written = any("$" in one for one in expected.choices or (expected.text,))
    return place.written if place.written and written else place.value


def _words(expected: Expected, place: Found) -> tuple[str, ...]:
    via = (place.via,) if place.via else ()
    if expected.archs is None:
        said = _said(expected, place)
        differs = (text_difference(said, expected.choices or (expected.text,)),)
        return differs if said != place.value else via or differs
    try:
        found = parse_archs(place.value, expected.dialect)
    except ValueError as error:
        return (f"not an arch list in the {expected.dialect} dialect: {error}", *via)
    words = difference(found, expected.archs, expected.toolkits, expected.forbidden)
    return (*(words or ("written differently",)), *via)


def _edit(claim: ClaimSpec, file: File, place: Found, text: str | None) -> tuple[Edit | None, str]:
    """The edit that repairs a place, or why there is none."""
    if not claim.fix:
        return None, "the claim says fix: false"
    if place.via:
        return None, place.via
    if _DIGEST in place.value or file.text.startswith(_DIGEST, place.end):
        return None, "a digest follows the tag: replace both"
    if text is None:
        return None, "more than one value agrees with the matrix"
    written = write(text, place.styles)
    there = file.text[place.start : place.end]
    if written is None or (place.styles == (Style.RAW,) and "\n" in text):
        return None, "the quotes around it cannot hold the value"
    if "\n" in there and "#" in there:
        return None, "the value contains a comment"
    reader = claimed.reader_of(claim, file.name)
    return Edit(file=file.name, start=place.start, end=place.end, text=written, reader=reader), ""
