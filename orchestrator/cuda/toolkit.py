"""What each CUDA toolkit release compiles.

Read from `ptxas --help` (the allowed values of --gpu-name) of one release of every row, 11.8 to 13.5; `nvcc
--list-gpu-code` prints no suffixes and is not a source. tests/differential/test_cuda_tables.py repeats the reading. A
release that is not in the table is an error: guessing would promise machine code that nobody has seen a toolkit make.

One GPU changed its name: Jetson Thor is 10.1 for CUDA 12.8 and 12.9 and 11.0 from 13.0 on ("SM101 has been renumbered
as SM110", CUDA Features Archive, 13.0); each toolkit refuses the other's name.
"""

from __future__ import annotations

import re
from types import MappingProxyType

from msgspec import Struct

from orchestrator.cuda.arch import Arch

Target = tuple[int, str]
"""A target as SM number and suffix: sm_90a is (90, "a")."""

_OLD = "50 52 53 60 61 62 70 72"
_COMMON = "75 80 86 87 89 90"
_TARGETS_BY_FIRST_RELEASE = (
    ((11, 8), f"35 37 {_OLD} {_COMMON}"),
    ((12, 0), f"{_OLD} {_COMMON} 90a"),
    ((12, 8), f"{_OLD} {_COMMON} 90a 100 100a 101 101a 120 120a"),
    (
        (12, 9),
        f"{_OLD} {_COMMON} 90a 100 100a 100f 101 101a 101f 103 103a 103f 120 120a 120f 121 121a 121f",
    ),
    (
        (13, 0),
        f"{_COMMON} 88 90a 100 100a 100f 103 103a 103f 110 110a 110f 120 120a 120f 121 121a 121f",
    ),
    (
        (13, 4),
        f"{_COMMON} 88 90a 100 100a 100f 103 103a 103f 107 107a 107f 110 110a 110f 120 120a 120f 121 121a 121f",
    ),
)
# There is no 12.7 on the package index, so it is in no row.
_RELEASES = (
    *((11, 8), (12, 0), (12, 1), (12, 2), (12, 3), (12, 4), (12, 5), (12, 6), (12, 8), (12, 9)),
    *((13, 0), (13, 1), (13, 2), (13, 3), (13, 4), (13, 5)),
)
_RENAMED = MappingProxyType({(10, 1): (11, 0), (11, 0): (10, 1)})


class UnknownToolkitError(ValueError):
    """A text names no CUDA release of the table.

    Attributes:
        version: What was asked for.
        why: What is wrong with it, one line, with the known releases.
    """

    def __init__(self, version: str, why: str) -> None:
        super().__init__(f"CUDA {version!r}: {why}")
        self.version = version
        self.why = why


class Toolkit(Struct, frozen=True, order=True):
    """A CUDA toolkit release; patch releases of one minor release compile the same targets.

    Attributes:
        major: 13 of 13.0.
        minor: 0 of 13.0.

    Raises:
        UnknownToolkitError: The release is not in the table.
    """

    major: int
    minor: int

    def __post_init__(self) -> None:
        if (self.major, self.minor) not in _RELEASES:
            raise UnknownToolkitError(self.name, _unknown())

    @property
    def name(self) -> str:
        """The release, "13.0"."""
        return f"{self.major}.{self.minor}"

    @property
    def targets(self) -> frozenset[Target]:
        """Every target it compiles, as SM number and suffix."""
        return _TARGETS[(self.major, self.minor)]

    def supports(self, arch: Arch) -> bool:
        """Whether it compiles the architecture under that very name, suffix included (PTX comes with it)."""
        return (arch.sm, arch.suffix) in self.targets

    def __str__(self) -> str:
        return self.name


def toolkits() -> tuple[Toolkit, ...]:
    """Every release of the table, oldest first."""
    return tuple(Toolkit(major, minor) for major, minor in _RELEASES)


def toolkit_for(version: str) -> Toolkit:
    """The toolkit of a version as Dockerfiles write it.

    Args:
        version: "13.0.2", "13.0" or "12.9.1"; anything after the minor number is a patch release.

    Raises:
        UnknownToolkitError: No version, or a release that the table does not hold.
    """
    match = re.fullmatch(r"([0-9]{1,3})\.([0-9]{1,3})(\.[0-9]+)*", version)
    if not match:
        why = "write major.minor or major.minor.patch, as in 13.0.2"
        raise UnknownToolkitError(version, f"{why}; {_known()}")
    major, minor = int(match[1]), int(match[2])
    if (major, minor) not in _RELEASES:
        raise UnknownToolkitError(version, _unknown())
    return Toolkit(major, minor)


def toolkits_with(arch: Arch) -> tuple[Toolkit, ...]:
    """The releases that compile the architecture under this name, oldest first; empty when none does."""
    return tuple(toolkit for toolkit in toolkits() if toolkit.supports(arch))


def first_toolkit(arch: Arch) -> Toolkit | None:
    """The first release that compiles it (11.8 means "11.8 or earlier"), None when none does."""
    found = toolkits_with(arch)
    return found[0] if found else None


def last_toolkit(arch: Arch) -> Toolkit | None:
    """The last release that compiles it (the newest of the table means "still does"), None when none does."""
    found = toolkits_with(arch)
    return found[-1] if found else None


def other_name(arch: Arch) -> Arch | None:
    """The other name of the same GPU: 11.0a for 10.1a and back; None for every architecture with one name."""
    renamed = _RENAMED.get((arch.major, arch.minor))
    return Arch(*renamed, arch.suffix, ptx=arch.ptx) if renamed else None


def _unknown() -> str:
    return f"it is not known what this release compiles; {_known()}"


def _known() -> str:
    names = ", ".join(f"{major}.{minor}" for major, minor in _RELEASES)
    return f"known releases: {names}"


def _target(word: str) -> Target:
    return int(word.rstrip("af")), word.lstrip("0123456789")


def _table() -> dict[tuple[int, int], frozenset[Target]]:
    rows = {}
    for release in _RELEASES:
        _, words = max((first, words) for first, words in _TARGETS_BY_FIRST_RELEASE if first <= release)
        rows[release] = frozenset(_target(word) for word in words.split())
    return rows


_TARGETS = MappingProxyType(_table())
