"""Which of the requested architectures a toolkit will really compile, and why the others not.

Nothing is left out silently: every architecture that was asked for is either in `effective` or in `dropped` with its
reason, and whatever was changed on the way is a note. An architecture that the toolkit knows under another name is
dropped too, so that a matrix which adds 11.0 for CUDA 13 leaves its CUDA 12 builds as they were.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from orchestrator.cuda.toolkit import first_toolkit, last_toolkit, other_name, toolkits, toolkits_with

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from orchestrator.cuda.arch import Arch
    from orchestrator.cuda.toolkit import Toolkit


class DroppedArch(Struct, frozen=True, kw_only=True):
    """An architecture that a toolkit does not compile.

    Attributes:
        arch: As requested.
        why: One line, no full stop: "sm_107 needs CUDA 13.4 or later".
    """

    arch: Arch
    why: str


class Selection(Struct, frozen=True, kw_only=True):
    """The result of filtering an arch list for one toolkit.

    Attributes:
        requested: The list as given, in its order.
        effective: What the toolkit compiles, in the order requested, each target once.
        dropped: What it does not, each with its reason, in the order requested.
        notes: What was changed on the way (a repetition folded) and what may clash later, one line each.
    """

    requested: tuple[Arch, ...]
    effective: tuple[Arch, ...]
    dropped: tuple[DroppedArch, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether nothing is left to compile: a build of it would hold no GPU code at all."""
        return not self.effective


def select(requested: Sequence[Arch], toolkit: Toolkit) -> Selection:
    """Filter an arch list by what a toolkit compiles.

    Args:
        requested: The arch list, in any order; repetitions are folded with a note.
        toolkit: The CUDA release that will compile it.
    """
    archs = list(dict.fromkeys(requested))
    effective, folds = _fold([arch for arch in archs if toolkit.supports(arch)])
    return Selection(
        requested=tuple(requested),
        effective=effective,
        dropped=tuple(
            DroppedArch(arch=arch, why=why_dropped(arch, toolkit)) for arch in archs if not toolkit.supports(arch)
        ),
        notes=(*_repetitions(requested), *folds, *_clashes(effective)),
    )


def why_dropped(arch: Arch, toolkit: Toolkit) -> str:
    """Why a toolkit does not compile an architecture, one line.

    Args:
        arch: One that the toolkit does not support.
        toolkit: The CUDA release.
    """
    if arch.cc == "10.1" and (other := other_name(arch)) and first_toolkit(arch):
        if toolkit >= toolkits_with(other)[0]:
            return f"{arch.cc} is the name CUDA 12.8/12.9 give Jetson Thor; CUDA 13.0 and later call it {other.cc}"
        return f"{_needs(arch)}; CUDA 13.0 and later call the same GPU {other.cc}"
    if arch.cc == "11.0" and first_toolkit(arch):
        return f"{_needs(arch)}; CUDA 12.8/12.9 name the same GPU 10.1"
    first, last = first_toolkit(arch), last_toolkit(arch)
    if first is None or last is None:
        return _never(arch)
    if toolkit > last:
        after = next(release for release in toolkits() if release > last)
        return f"{arch.target} was dropped by CUDA {after}; the last toolkit that compiles it is {last}"
    plain = toolkit.supports(arch.plain())
    return f"{_needs(arch)}; CUDA {toolkit} compiles {arch.plain().target}" if plain else _needs(arch)


def _needs(arch: Arch) -> str:
    releases = toolkits_with(arch)
    if releases[-1] == toolkits()[-1]:
        return f"{arch.target} needs CUDA {releases[0]} or later"
    return f"{arch.target} needs CUDA {' or '.join(str(release) for release in releases)}"


def _never(arch: Arch) -> str:
    newest = toolkits()[-1]
    if not first_toolkit(arch.plain()):
        return f"no CUDA release up to {newest} compiles {arch.target}"
    begins = {"a": "sm_90", "f": "sm_100"}[arch.suffix]
    return f"no CUDA release up to {newest} compiles {arch.target}: targets with {arch.suffix} begin at {begins}"


def _repetitions(requested: Iterable[Arch]) -> tuple[str, ...]:
    archs = list(requested)
    return tuple(
        f"{arch} is listed {archs.count(arch)} times, kept once"
        for arch in dict.fromkeys(archs)
        if archs.count(arch) > 1
    )


def _fold(archs: Sequence[Arch]) -> tuple[tuple[Arch, ...], tuple[str, ...]]:
    """Each target once: 8.0 beside 8.0+PTX is 8.0+PTX."""
    folded: dict[tuple[int, str], Arch] = {}
    notes = []
    for arch in archs:
        key = (arch.sm, arch.suffix)
        if key in folded and folded[key] != arch:
            notes.append(f"{arch.without_ptx()} and {arch.with_ptx()} are both listed, kept as {arch.with_ptx()}")
            folded[key] = arch.with_ptx()
        else:
            folded[key] = arch
    return tuple(folded.values()), tuple(notes)


def _clashes(effective: Sequence[Arch]) -> tuple[str, ...]:
    """Measured with nvcc 13.0 and 13.5; 10.0 beside 10.0a, or 10.0a beside 10.0f, is accepted."""
    plain = {arch.plain() for arch in effective if not arch.suffix}
    return tuple(
        f"{arch.plain()} and {arch.without_ptx()} are both listed: nvcc refuses them in one compilation"
        for arch in effective
        if arch.suffix == "f" and arch.plain() in plain
    )
