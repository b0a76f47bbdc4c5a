"""What a place must say: the `says:` of a claim with its placeholders filled in from the matrix.

Placeholders of `says` (and no others):

| placeholder | stands for |
| --- | --- |
| `{arch_lists.NAME}` | a named arch list; with `cuda:` cut to what that release (or all of a range) compiles |
| `{cuda[13.0].version}` | of one CUDA release: version, major, minor, short, tag_suffix; `{cuda[13.0]}` is its key |
| `{cuda[*].version}` | of the CUDA release of the matrix that the place itself names |
| `{args.NAME}` | a build argument of the variants that `when` selects, which must all agree |
| `{archs.torch}`, `{archs.flashinfer}`, `{archs.cmake}` | the effective architectures of those variants |
| `{cuda}`, `{cuda.version}`, `{platform}`, `{platform.machine}`, `{target}`, `{AXIS}` | of those variants |
| `{image}`, `{headers.version}` | of the matrix |
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from msgspec import Struct, field

from orchestrator.cuda.arch import parse_list
from orchestrator.cuda.dialects import (
    DialectError,
    parse_cmake,
    parse_flashinfer,
    parse_torch,
    render_cmake,
    render_flashinfer,
    render_torch,
)
from orchestrator.cuda.select import select
from orchestrator.cuda.toolkit import UnknownToolkitError, toolkit_for, toolkits
from orchestrator.errors import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from orchestrator.cuda.arch import Arch
    from orchestrator.cuda.toolkit import Toolkit
    from orchestrator.matrix.model import Matrix
    from orchestrator.matrix.schema import ClaimSpec
    from orchestrator.matrix.variants import Variant

Dialect = Literal["torch", "flashinfer", "cmake"]

_PLACEHOLDER = re.compile(r"(?P<foreign>[$%]\{)|\{(?P<name>[A-Za-z_][\w.-]*(?:\[[^\]{}]*\][\w.]*)?)\}", re.ASCII)
_INDEXED = re.compile(r"cuda\[(?P<key>[^\]]*)\](?:\.(?P<field>\w+))?")
_RANGE = re.compile(r"(>=|<=|>|<|==)?\s*([0-9]+\.[0-9]+)(?:\.[0-9]+)?")
_RELEASE = re.compile(r"(?<![\d.])([0-9]{2}\.[0-9]{1,2})(?:\.[0-9]+)*(?![\d])")
_TORCH_REFUSES = re.compile(r"[^\S ]|[ ;]{2}|\A[ ;]|[ ;]\Z")  # torch 2.15.0, utils/cpp_extension.py
_CUDA_FIELDS = ("version", "major", "minor", "short", "tag_suffix")
_KNOWN = (
    "arch_lists", "args", "archs.torch", "archs.flashinfer", "archs.cmake", "cuda", "cuda.version", "platform",
    "platform.machine", "target", "image", "headers.version",
)  # fmt: skip


class ClaimError(ValueError):
    """A claim asks for something that the matrix does not have.

    Attributes:
        key: The key of the claim that is wrong: says, cuda, when.
        hint: What would be right, or "".
    """

    def __init__(self, what: str, *, key: str = "says", hint: str = "") -> None:
        super().__init__(what)
        self.key = key
        self.hint = hint


class Expected(Struct, frozen=True, kw_only=True):
    """What must stand at the places of one claim.

    Attributes:
        text: The text; "" where `choices` has more than one.
        choices: Every text that would be right (`{cuda[*].version}` has one for each release).
        archs: The architectures where an arch list is meant, else None.
        dialect: How that list is written.
        toolkits: The CUDA releases that the place is for, for the words of a report.
        forbidden: Architectures that must never enter the list, each with its reason.
    """

    text: str
    choices: tuple[str, ...] = ()
    archs: tuple[Arch, ...] | None = None
    dialect: Dialect = "torch"
    toolkits: tuple[Toolkit, ...] = ()
    forbidden: dict[str, str] = field(default_factory=dict)

    def agrees(self, value: str) -> bool:
        """Whether a place that says `value` is right: the same text, or the same set of architectures."""
        if value == self.text or value in self.choices:
            return True
        if self.archs is None:
            return False
        try:
            return set(parse_archs(value, self.dialect)) == set(self.archs)
        except ValueError:
            return False

    def for_place(self, value: str) -> str | None:
        """The text that a place which says `value` should say, or None if more than one is right."""
        if self.archs is not None:
            items = self.text.split(" ")
            semicolons = self.dialect == "torch" and ";" in value and " " not in value.strip()
            return ";".join(items) if semicolons else self.text
        if not self.choices:
            return self.text
        releases = [{match[1] for match in _RELEASE.finditer(choice)} for choice in self.choices]
        common = set.intersection(*releases) if len(releases) > 1 else set()  # the 24.04 of -devel-ubuntu24.04
        named = {match[1] for match in _RELEASE.finditer(value)} - common
        fitting = [choice for choice, names in zip(self.choices, releases, strict=True) if named & names]
        return fitting[0] if len(fitting) == 1 else None


def parse_archs(text: str, dialect: Dialect) -> tuple[Arch, ...]:
    """The architectures of a list as a file writes it.

    Raises:
        ValueError: It is not a list in that dialect.
    """
    if dialect == "cmake":
        return parse_cmake(text)
    if dialect == "flashinfer":
        return parse_flashinfer(text)
    if _TORCH_REFUSES.search(text):
        raise ValueError("torch takes one space or semicolon between items, and none at the ends")
    return parse_torch(text)


def render_archs(archs: Sequence[Arch], dialect: Dialect) -> str:
    """An arch list as files of a dialect write it.

    Raises:
        ClaimError: The dialect cannot say it.
    """
    try:
        if dialect == "cmake":
            return render_cmake(archs)
        return render_flashinfer(archs, drop_ptx=True) if dialect == "flashinfer" else render_torch(archs)
    except DialectError as error:
        raise ClaimError(str(error), hint="set dialect: flashinfer, or use a list without such targets") from error


def release_range(text: str) -> tuple[Toolkit, ...]:
    """The known CUDA releases that `cuda:` of a claim means: one release (13.0), or a range (>=12.8,<13.0).

    Raises:
        ClaimError: It is neither, or no known release is in it.
    """
    conditions = []
    for part in text.split(","):
        match = _RANGE.fullmatch(part.strip())
        if match is None:
            raise ClaimError(
                f"expected a CUDA release or a range, found {text!r}", key="cuda", hint="write 13.0, or >=12.8,<13.0"
            )
        conditions.append((match[1] or "==", match[2]))
    if len(conditions) == 1 and conditions[0][0] == "==":
        try:
            return (toolkit_for(conditions[0][1]),)
        except UnknownToolkitError as error:
            raise ClaimError(str(error), key="cuda") from error
    chosen = tuple(toolkit for toolkit in toolkits() if all(_within(toolkit, *one) for one in conditions))
    if not chosen:
        known = ", ".join(toolkit.name for toolkit in toolkits())
        raise ClaimError(f"no known CUDA release is {text}", key="cuda", hint=f"known: {known}")
    return chosen


def _within(toolkit: Toolkit, operator: str, release: str) -> bool:
    major, minor = (int(number) for number in release.split("."))
    here, there = (toolkit.major, toolkit.minor), (major, minor)
    return {
        ">=": here >= there,
        "<=": here <= there,
        ">": here > there,
        "<": here < there,
        "==": here == there,
    }[operator]


class Expectations:
    """Fills in the `says` of claims from one matrix; its plan is made when a claim first needs it."""

    def __init__(self, matrix: Matrix, variants: Callable[[], Sequence[Variant]]) -> None:
        self._matrix = matrix
        self._spec = matrix.spec
        self._variants = variants

    def of(self, claim: ClaimSpec) -> Expected:
        """What the places of a claim must say.

        Raises:
            ClaimError: The claim asks for something that the matrix does not have.
        """
        says = claim.says or ""
        whole = _PLACEHOLDER.fullmatch(says)
        if whole and whole["name"]:
            archs = self._archs(whole["name"], claim)
            if archs is not None:
                return archs
        if claim.dialect is not None:
            raise ClaimError("dialect goes with an arch list alone: {arch_lists.NAME} or {archs.torch}", key="dialect")
        if "{cuda[*]" in says:
            texts = tuple(self._fill(says, claim, key) for key in self._spec.cuda)
            return Expected(text="", choices=texts)
        if claim.cuda is not None:
            raise ClaimError("cuda goes with {arch_lists.NAME} alone", key="cuda")
        return Expected(text=self._fill(says, claim, ""))

    def _archs(self, name: str, claim: ClaimSpec) -> Expected | None:
        """The expectation of a claim that is one arch list."""
        section, _, rest = name.partition(".")
        if section == "archs":
            dialect: Dialect = claim.dialect or ("cmake" if rest == "cmake" else "torch")
            if rest not in {"torch", "flashinfer", "cmake"}:
                raise self._unknown(name)
            if claim.dialect is None and rest == "flashinfer":
                dialect = "flashinfer"
            chosen = self._chosen(claim)
            lists = {variant.archs.effective: variant for variant in chosen}
            if len(lists) > 1:
                raise self._differ(name, {render_archs(archs, dialect): one.id for archs, one in lists.items()})
            (effective,) = lists
            used = tuple(sorted({variant.toolkit for variant in chosen}))
            names = {variant.arch_list.text for variant in chosen}
            return self._expected(effective, dialect, used, names)
        if section != "arch_lists":
            return None
        if rest not in self._spec.arch_lists:
            raise ClaimError(f"unknown arch list {rest}", hint=did_you_mean(rest, self._spec.arch_lists))
        listed = parse_list(self._spec.arch_lists[rest].archs)
        if claim.cuda is None:
            used = tuple(sorted({toolkit_for(entry.version) for entry in self._spec.cuda.values()}))
        else:
            used = release_range(claim.cuda)
            for toolkit in used:
                kept = set(select(listed, toolkit).effective)
                listed = tuple(arch for arch in listed if arch in kept)
            if not listed:
                raise ClaimError(f"CUDA {claim.cuda} compiles nothing of the arch list {rest}", key="cuda")
        return self._expected(listed, claim.dialect or "torch", used, {rest})

    def _expected(
        self, archs: tuple[Arch, ...], dialect: Dialect, used: tuple[Toolkit, ...], names: set[str]
    ) -> Expected:
        forbidden = {
            rule.arch: rule.why
            for name in sorted(names)
            if name in self._spec.arch_lists
            for rule in self._spec.arch_lists[name].forbid
        }
        if dialect == "flashinfer":
            archs = tuple(dict.fromkeys(arch.without_ptx() for arch in archs))
        text = render_archs(archs, dialect)
        return Expected(text=text, archs=archs, dialect=dialect, toolkits=used, forbidden=forbidden)

    def _fill(self, says: str, claim: ClaimSpec, star: str) -> str:
        """The text with every placeholder filled in; `star` is the release that `cuda[*]` stands for."""
        pieces: list[str] = []
        end = 0
        for match in _PLACEHOLDER.finditer(says):
            pieces.append(says[end : match.start()])
            pieces.append(match["foreign"] or self._value(match["name"], claim, star))
            end = match.end()
        return "".join([*pieces, says[end:]])

    def _value(self, name: str, claim: ClaimSpec, star: str) -> str:
        indexed = _INDEXED.fullmatch(name)
        if indexed:
            return self._release(indexed["key"], indexed["field"] or "", star)
        if name.partition(".")[0] in {"arch_lists", "archs"}:
            archs = self._archs(name, claim)
            if archs is not None:
                return archs.text
        if name == "image":
            return self._spec.image
        if name == "headers.version":
            headers = self._spec.headers
            if headers is None or headers.version is None:
                raise ClaimError("the matrix has no headers.version")
            return headers.version
        values = {self._of_variant(name, variant): variant.id for variant in self._chosen(claim)}
        if len(values) > 1:
            raise self._differ(name, values)
        return next(iter(values))

    def _release(self, key: str, field_: str, star: str) -> str:
        key = star if key == "*" else key
        if key not in self._spec.cuda:
            raise ClaimError(f"the matrix has no CUDA release {key}", hint=did_you_mean(key, self._spec.cuda))
        entry = self._spec.cuda[key]
        toolkit = toolkit_for(entry.version)
        values = {
            "": key,
            "version": entry.version,
            "major": str(toolkit.major),
            "minor": str(toolkit.minor),
            "short": re.sub(r"\D", "", key),
            "tag_suffix": entry.tag_suffix,
        }
        if field_ not in values:
            raise ClaimError(f"cuda[{key}] has no {field_}", hint=did_you_mean(field_, _CUDA_FIELDS))
        return values[field_]

    def _of_variant(self, name: str, variant: Variant) -> str:
        section, _, rest = name.partition(".")
        if section == "args":
            if rest not in variant.args:
                known = {arg for other in self._variants() for arg in other.args}
                hint = did_you_mean(rest, known) if rest not in known else "narrow the claim with when"
                raise ClaimError(f"{variant.id} has no argument {rest}", hint=hint)
            return variant.args[rest].text
        if name in variant.axes:
            return variant.axes[name]
        values = {
            "cuda": variant.cuda,
            "cuda.version": variant.cuda_version,
            "platform": variant.platform,
            "platform.machine": variant.machine,
            "target": variant.target,
        }
        if name not in values:
            raise self._unknown(name)
        return values[name]

    def _chosen(self, claim: ClaimSpec) -> list[Variant]:
        """The variants that `when` of a claim selects."""
        when = claim.when or {}
        chosen = [
            variant
            for variant in self._variants()
            if all(variant.coordinates().get(name) in values for name, values in when.items())
        ]
        if not chosen:
            raise ClaimError("when selects no variant", key="when")
        return chosen

    def _unknown(self, name: str) -> ClaimError:
        known = (*_KNOWN, *self._spec.axes)
        return ClaimError(f"unknown placeholder {{{name}}}", hint=did_you_mean(name, known))

    def _differ(self, name: str, values: dict[str, str]) -> ClaimError:
        shown = ", ".join(f"{text!r} ({variant})" for text, variant in list(values.items())[:3])
        return ClaimError(
            f"{{{name}}} differs between the variants: {shown}", hint="narrow the claim with when, or name one list"
        )
