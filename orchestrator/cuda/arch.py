"""One CUDA architecture as a value, and the one spelling of it that matrix.yaml speaks.

The matrix dialect is `X.Y[a|f][+PTX]`, items separated by spaces or semicolons: the common ground of every reader that
builds meet (torch's Python and CMake readers, FlashInfer; the other dialects are in `dialects`). Names such as Hopper
are refused, because one torch release gives them two meanings (torch 2.15.0: Blackwell+Tegra is 11.0 in its Python
reader and 10.1 in its CMake reader). Which toolkit compiles what is in `toolkit`.
"""

from __future__ import annotations

import re
from typing import Literal, cast

from msgspec import Struct

Suffix = Literal["", "a", "f"]

_ITEM = re.compile(r"([1-9][0-9]?)\.([0-9])([af]?)(\+PTX)?")
_TOKEN = re.compile(r"[^\s;]+")

_NAMES = {
    "kepler": "3.5 3.7",
    "maxwell": "5.0 5.2",
    "pascal": "6.0 6.1",
    "volta": "7.0",
    "turing": "7.5",
    "ampere": "8.0 8.6",
    "orin": "8.7",
    "ada": "8.9",
    "hopper": "9.0",
    "blackwell": "10.0 10.3 12.0",
    "thor": "11.0",
    "rubin": "10.7",
}
_WHOLE_RANGES = {
    "all": "it means everything that the selected toolkit compiles",
    "all-major": "it means everything that the selected toolkit compiles",
    "common": "torch decides what it means, release by release",
    "auto": "it means the GPUs of the machine that builds",
    # Without a GPU, nvcc -arch=native and CMake 3.31 and later quietly compile sm_75 (measured, nvcc 13.0.88).
    "native": "it means the GPUs of the machine that builds, and sm_75 where there is none",
}


class ArchSyntaxError(ValueError):
    """A text is not an architecture, or not a list of them.

    Attributes:
        item: The offending item as written ("sm_90").
        why: What is wrong with it and what to write instead, one line.
        offset: 0-based offset, in characters, of the item in the text that was parsed.
    """

    def __init__(self, *, item: str, why: str, offset: int) -> None:
        super().__init__(f"{item!r}: {why}" if item else why)
        self.item = item
        self.why = why
        self.offset = offset


class Arch(Struct, frozen=True, order=True):
    """One architecture that a build asks for; sorts by number, then plain, `a`, `f`, then without PTX first.

    Attributes:
        major: The X of X.Y, 1 to 99.
        minor: The Y of X.Y, 0 to 9.
        suffix: "" plain; "a" that compute capability alone; "f" its family.
        ptx: Whether PTX is embedded beside the machine code (SASS).
    """

    major: int
    minor: int
    suffix: Suffix = ""
    ptx: bool = False

    def __post_init__(self) -> None:
        if not (1 <= self.major <= 99 and 0 <= self.minor <= 9 and self.suffix in {"", "a", "f"}):
            msg = f"no architecture: {self.major}.{self.minor}{self.suffix}"
            raise ValueError(msg)

    @property
    def cc(self) -> str:
        """The compute capability, "11.0"."""
        return f"{self.major}.{self.minor}"

    @property
    def sm(self) -> int:
        """The number nvcc uses, 110."""
        return self.major * 10 + self.minor

    @property
    def target(self) -> str:
        """The target as the toolchain names it: "sm_90a"."""
        return f"sm_{self.sm}{self.suffix}"

    def without_ptx(self) -> Arch:
        """The same architecture, machine code only."""
        return Arch(self.major, self.minor, self.suffix)

    def with_ptx(self) -> Arch:
        """The same architecture, machine code and PTX."""
        return Arch(self.major, self.minor, self.suffix, ptx=True)

    def plain(self) -> Arch:
        """The same compute capability, no suffix, no PTX."""
        return Arch(self.major, self.minor)

    def __str__(self) -> str:
        return f"{self.cc}{self.suffix}{'+PTX' if self.ptx else ''}"


def from_sm(sm: int, suffix: Suffix = "", *, ptx: bool = False) -> Arch:
    """The architecture of nvcc's number: 110 is 11.0.

    Raises:
        ValueError: The number is not an architecture.
    """
    return Arch(sm // 10, sm % 10, suffix, ptx=ptx)


def parse_arch(text: str) -> Arch:
    """One architecture in the matrix dialect, `X.Y[a|f][+PTX]`.

    Args:
        text: "12.0+PTX"; no spaces around it.

    Raises:
        ArchSyntaxError: It is something else; `offset` is 0.
    """
    return _item(text, 0)


def parse_list(text: str) -> tuple[Arch, ...]:
    """A list in the matrix dialect: items separated by spaces, line ends or semicolons, in any number.

    Order and repetitions are kept as written: `select.select` folds repetitions and says so.

    Args:
        text: "7.5 8.0 12.0+PTX".

    Returns:
        At least one architecture.

    Raises:
        ArchSyntaxError: The first bad item, with its offset; also when the list is empty (torch reads an empty list as
            "detect the GPUs of this machine", which no image should depend on).
    """
    archs = tuple(_item(token.group(), token.start()) for token in _TOKEN.finditer(text))
    if not archs:
        raise ArchSyntaxError(item="", why="the list names no architecture", offset=0)
    return archs


def _item(item: str, offset: int) -> Arch:
    match = _ITEM.fullmatch(item)
    if not match:
        raise ArchSyntaxError(item=item, why=_why_not(item), offset=offset)
    major, minor, suffix, ptx = match.groups()
    return Arch(int(major), int(minor), cast("Suffix", suffix), ptx=bool(ptx))


def _why_not(item: str) -> str:
    """The reason that helps most; `item` is known not to be in the matrix dialect."""
    if not item:
        return "an architecture is missing; write it like 9.0"
    for reason in (_why_not_separators, _why_not_a_word, _why_not_a_number):
        if why := reason(item):
            return why
    return "write an architecture like 9.0, 9.0a, 10.0f or 12.0+PTX"


def _why_not_separators(item: str) -> str:
    if "," in item:
        return "separate architectures with spaces, not commas"
    if item.upper() == "+PTX":
        return "+PTX belongs to the architecture before it, without a space: 12.0+PTX"
    if "(" in item:
        return "a second architecture in parentheses is torch's own notation; write each as an item of its own"
    return ""


def _why_not_a_word(item: str) -> str:
    word = item.lower().removesuffix("+ptx")
    if word in _WHOLE_RANGES:
        return f"{_WHOLE_RANGES[word]}; write the numbers, as in 8.0 9.0 12.0+PTX"
    # Combined names (Ampere+Tegra) are torch's as well.
    if numbers := _NAMES.get(word.split("+")[0]):
        return f"names mean different architectures to different readers; write the numbers, as in {numbers}"
    return ""


def _why_not_a_number(item: str) -> str:
    if match := re.fullmatch(
        r"(?:sm|compute)?_?([1-9][0-9]{1,2})([af]?)(-real|-virtual)?(\+PTX)?", item, re.IGNORECASE
    ):
        digits, suffix, cmake, ptx = match.groups()
        meant = f"{digits[:-1]}.{digits[-1]}{suffix.lower()}{'+PTX' if ptx else ''}"
        whose = "CMake's" if cmake else "nvcc's"
        return f"write the compute capability, {meant}, not {whose} name of it"
    if _ITEM.fullmatch(_capitals(item)):
        return f"write {_capitals(item)}: suffixes are lowercase, +PTX is uppercase"
    if re.fullmatch(r"[1-9][0-9]?[af]?(\+PTX)?", item, re.IGNORECASE):
        meant = re.sub(r"^([0-9]+)", r"\1.0", _capitals(item))
        return f"the minor number is missing; write {meant}"
    if match := re.fullmatch(r"([0-9]+)\.([0-9]+)([a-z]*)(.*)", item, re.IGNORECASE):
        major, minor, suffix, rest = match.groups()
        if len(minor) > 1 or len(major) > 2 or major.startswith("0"):
            return "a compute capability is one or two digits, a dot and one digit, as in 12.0"
        if suffix and suffix not in {"a", "f"}:
            return f"the suffix {suffix!r} does not exist; a (that GPU alone) and f (its family) do"
        if rest:
            return f"{rest!r} after the architecture is invalid; only +PTX can follow"
    return ""


def _capitals(item: str) -> str:
    """The item with +PTX in capitals and everything else small."""
    return re.sub(r"\+ptx$", "+PTX", item.lower())
