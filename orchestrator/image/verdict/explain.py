"""A verdict in words: what is missing, what a user of that GPU will meet, and what else should be looked at.

Does not depend on how libraries were read or how a report looks.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from orchestrator.cuda.arch import parse_arch
from orchestrator.cuda.coverage import How, serve
from orchestrator.cuda.devices import device_names
from orchestrator.cuda.promise import promised_ccs
from orchestrator.errors import Problem
from orchestrator.image.verdict import findings, kernels
from orchestrator.image.verdict.kernels import Status

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orchestrator.cuda.arch import Arch
    from orchestrator.image.layers.merge import Files
    from orchestrator.image.verdict.findings import Compiler
    from orchestrator.image.verdict.kernels import Cell, Library

NO_KERNEL = "no kernel image is available for execution on the device"


def devices_of(cc: str) -> str:
    """`11.0 (Jetson Thor, Jetson T5000)`; the bare number where no GPU is known."""
    names = device_names(cc)
    return f"{cc} ({', '.join(names[:3])})" if names else cc


def problem(library: Library, ccs: Sequence[str]) -> Problem | None:
    """Why a required library does not pass, one problem with every device that it does not serve; None if it passes.

    Args:
        library: The library, judged.
        ccs: Promised compute capabilities.
    """
    failed = [cell for cell in library.cells if cell.status is Status.FAIL]
    if library.code.damage and failed:
        return Problem(file=library.path, what=failed[0].why)
    reasons: dict[str, list[Cell]] = {}
    for cell in failed:
        reasons.setdefault(cell.why, []).append(cell)
    found = [
        f"{_listed([devices_of(cell.cc) for cell in cells])} {'is' if len(cells) == 1 else 'are'} not served: {why}"
        for why, cells in reasons.items()
    ]
    found += [*_missing(library, ccs), *filter(None, [library.code.doubt])]
    if not found:
        return None
    return Problem(file=library.path, what="; ".join(found), hint=_consequence(library, failed) if failed else "")


def _consequence(library: Library, failed: Sequence[Cell]) -> str:
    """What users of these GPUs will meet, and the cure."""
    kinds: dict[str, list[Cell]] = {}
    for cell in failed:
        kinds.setdefault(_fate(cell), []).append(cell)
    fates = [
        f"{'there' if len(kinds) == 1 else f'on {_listed([cell.cc for cell in cells])}'} {fate}"
        for fate, cells in kinds.items()
    ]
    return "; ".join([*fates, cure(library, [cell.cc for cell in failed])])


def _fate(cell: Cell) -> str:
    needs = f"a driver that knows PTX {cell.isa[0]}.{cell.isa[1]}" if cell.isa else "a new enough driver"
    if not cell.ptx:
        return f"{'all other kernels fail' if cell.direct else 'it fails'} with '{NO_KERNEL}'"
    if cell.ptx == cell.total:
        return f"it runs only by compiling PTX at first use, with {needs}; --allow-ptx accepts that"
    jit = f"those with PTX are compiled at first use, with {needs}"
    return f"all other kernels fail with '{NO_KERNEL}', {jit}"


def cure(library: Library, ccs: Sequence[str]) -> str:
    """What gives a library code for devices that it does not serve.

    Args:
        library: The library.
        ccs: Compute capabilities of the devices.
    """
    archs = " ".join(ccs)
    if library.owner is not None and not library.required:
        return f"install a build of {library.owner.name} that holds code for {archs} (this is {library.owner.version})"
    return f"add {archs} to its arch list (nvcc {_flags(ccs)})"


def _flags(ccs: Sequence[str]) -> str:
    return " ".join(f"-gencode arch=compute_{sm},code=sm_{sm}" for sm in map(_number, ccs))


def _listed(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else "".join(words)


def _compared(
    library: Library, ccs: Sequence[str]
) -> tuple[dict[tuple[str, str], list[str]], dict[tuple[str, str], int]]:
    """Deep mode: what one translation unit holds for some promised devices and not for another.

    Guards in the source leave such differences in every real library: kernels that begin with 8.0, variants for old
    devices alone. So it is a problem only where most devices have the kernel and an older one does: nobody writes a
    guard that takes a kernel from 11.0 and leaves it to 10.0 and 12.0.

    Returns:
        (lacking, having) -> kernels that are missing; (having, lacking) -> how many are guarded.
    """
    missing: dict[tuple[str, str], list[str]] = {}
    guarded: dict[tuple[str, str], int] = {}
    for hole in library.code.holes:
        present = kernels.images_of(hole.present, library.code.isa)
        absent = kernels.images_of(hole.absent, library.code.isa)
        have = [cc for cc in ccs if serve(present, cc).direct]
        lack = [cc for cc in ccs if cc not in have and serve(absent, cc).direct]
        if not have or not lack:
            continue
        where = " ".join(have)
        for cc in lack:
            if len(have) > len(lack) and min(map(_number, have)) < _number(cc):
                missing.setdefault((cc, where), []).append(hole.kernel)
        if min(map(_number, have)) > max(map(_number, lack)) or len(have) <= len(lack):
            guarded[(where, " ".join(lack))] = guarded.get((where, " ".join(lack)), 0) + 1
    return missing, guarded


def _missing(library: Library, ccs: Sequence[str]) -> list[str]:
    return [
        f"{_kernels(len(names))} missing for {devices_of(cc)}, though the same translation units hold "
        f"{'it' if len(names) == 1 else 'them'} for {where}: {_shortened(names)}"
        for (cc, where), names in _compared(library, ccs)[0].items()
    ]


def guards(library: Library, ccs: Sequence[str]) -> list[Problem]:
    """Deep mode: kernels that the source gives to some promised devices alone."""
    return [
        Problem(
            file=library.path, what=f"{_kernels(count)} for {where} and not for {lack}, in the same translation units"
        )
        for (where, lack), count in _compared(library, ccs)[1].items()
    ]


def _kernels(count: int) -> str:
    return f"{count} kernel{'s' if count != 1 else ''}"


def _number(cc: str) -> int:
    return parse_arch(cc).sm


def _shortened(names: Sequence[str]) -> str:
    return shortened([name if len(name) <= 80 else f"{name[:77]}..." for name in names])


def shortened(names: Sequence[str], most: int = 3) -> str:
    """Names, the first few of them, and how many more there are."""
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def warnings(
    files: Files,
    environment: Mapping[str, str],
    table: Sequence[Library],
    promised: Sequence[Arch],
    compilers: Sequence[Compiler],
) -> list[Problem]:
    """What should be looked at and fails nothing.

    Args:
        files: What the runtime sees.
        environment: Of the image.
        table: The judged libraries.
        promised: Architectures, as promised.
        compilers: Every ptxas and nvcc in the image.
    """
    found = [one for library in table for one in _looked_at(library)]
    found += [
        Problem(file=library.path, what=f"not read: {library.code.damage}")
        for library in table
        if library.code.damage and not library.required
    ]
    found += [
        Problem(file=library.path, what=library.code.doubt)
        for library in table
        if library.code.doubt and not library.required
    ]
    ccs = promised_ccs(promised)
    for library in table:
        if library.required and not any(cell.status is Status.FAIL for cell in library.cells):
            found += _odd_units(library, ccs)
    found += _ptx_promises([library for library in table if library.required], promised)
    found += [
        Problem(what=f"{one.path} is of CUDA {one.release}, which cannot target {' '.join(one.cannot)}")
        for one in compilers
        if one.cannot
    ]
    problem = findings.environment_problem(environment, files)
    return [*found, Problem(what=problem)] if problem else found


def _looked_at(library: Library) -> list[Problem]:
    """The devices of a library that it serves so that somebody should look, those of one reason together."""
    reasons: dict[str, list[str]] = {}
    for cell in library.cells:
        if cell.status is Status.WARN:
            reasons.setdefault(cell.why, []).append(cell.cc)
    return [
        Problem(file=library.path, what=f"{_listed([devices_of(cc) for cc in ccs])}: {why}")
        for why, ccs in reasons.items()
    ]


def unserved(table: Sequence[Library]) -> list[Problem]:
    """Asked of one device ("will it run on mine"): the other libraries that do not serve it.

    A package may hold a library for each GPU or CUDA release; where one of them serves the device, the package does.
    """
    served = {
        (_variants(library.path), cell.cc)
        for library in table
        for cell in library.cells
        if cell.direct or (cell.ptx and cell.ptx == cell.total)
    }
    found = []
    for library in table:
        lacking = [
            cell.cc
            for cell in library.cells
            if cell.status is Status.INFO
            and cell.total
            and not cell.direct
            and (_variants(library.path), cell.cc) not in served
        ]
        if lacking:
            what = (
                f"{_listed(list(map(devices_of, lacking)))} {'is' if len(lacking) == 1 else 'are'} not served, so "
                f"whatever calls it fails with '{NO_KERNEL}'"
            )
            found.append(Problem(file=library.path, what=what, hint=cure(library, lacking)))
    return found


def _variants(path: str) -> str:
    """A library's path without what tells its variants apart: `libbitsandbytes_cuda130.so`, `sgl_kernel/sm90/x.so`."""
    folder, _, name = path.rpartition("/")
    folder = re.sub(r"(?<=/)(?:sm|compute|cuda|cu)_?\d+[af]?(?=/|$)", "#", folder)
    return f"{folder}/{re.sub(r'(?:sm|compute|cuda|cu|fa)_?[0-9]+[af]?', '#', name)}"


def only_specific(table: Sequence[Library], promised: Sequence[Arch]) -> list[Problem]:
    """A plain promise that is kept by `a` code alone, which no other device of the generation runs."""
    plain = {arch.cc for arch in promised if not arch.suffix}
    found = []
    for library in table:
        ccs = [
            cell.cc
            for cell in library.cells
            if library.required and cell.cc in plain and cell.direct and cell.direct == cell.how.get(How.ARCH, 0)
        ]
        if ccs:
            code = " ".join(f"sm_{parse_arch(cc).sm}a" for cc in ccs)
            what = (
                f"{_listed(list(map(devices_of, ccs)))} {'is' if len(ccs) == 1 else 'are'} served by "
                f"architecture-specific code alone ({code}), which runs on no other GPU"
            )
            found.append(Problem(file=library.path, what=what))
    return found


def _odd_units(library: Library, ccs: Sequence[str]) -> list[Problem]:
    """Translation units that serve some promised devices and hold nothing for later ones.

    Of units that lack one device this is said whatever they hold: of nine real wheels one container has that shape, the
    fused GDN kernel of vLLM 0.33.0 for aarch64, whose list has 8.6 where 8.7 was meant (compare vLLM #53462). Where
    several are missing, units of `a` and `f` code alone are specialised by design.
    """
    found: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    for tags in library.code.profiles:
        images = kernels.images_of(tags, library.code.isa)
        how = {cc: serve(images, cc) for cc in ccs}
        have = [cc for cc in ccs if how[cc].direct]
        lack = tuple(cc for cc in ccs if not (how[cc].direct or how[cc] is How.PTX))
        generic = any(one.kind == "sass" and not one.suffix for one in images)
        one = len(lack) == 1 and len(have) >= 2 and len(have) + 1 == len(ccs)
        if have and lack and (one or generic) and min(map(_number, have)) < max(map(_number, lack)):
            found.setdefault(lack, []).append(tuple(sorted(tags, key=kernels.by_number)))
    return [
        Problem(
            file=library.path,
            what=f"{_units(library, sets)} of {library.code.containers} translation units hold nothing for "
            f"{', '.join(map(devices_of, lack))}: {_sets(library, sets)}",
            hint=f"add {' '.join(lack)} to the arch list of their source files (nvcc {_flags(lack)})",
        )
        for lack, sets in found.items()
    ]


def _count(library: Library, tags: tuple[str, ...]) -> int:
    return next((count for held, count in library.code.profiles.items() if set(held) == set(tags)), 0)


def _units(library: Library, sets: Sequence[tuple[str, ...]]) -> int:
    return sum(_count(library, tags) for tags in sets)


def _sets(library: Library, sets: Sequence[tuple[str, ...]]) -> str:
    ordered = sorted(sets, key=lambda tags: (-_count(library, tags), [kernels.by_number(tag) for tag in tags]))
    shown = "; ".join(f"{_count(library, tags)} x {' '.join(tags)}" for tags in ordered[:4])
    return f"{shown} and {len(sets) - 4} more sets" if len(sets) > 4 else shown


def _ptx_promises(libraries: Sequence[Library], promised: Sequence[Arch]) -> list[Problem]:
    """`12.0+PTX` promises PTX as well: whether it is there is said, not judged (vLLM's own CMake drops it)."""
    found = []
    for arch in promised:
        tag = f"p{arch.sm}{arch.suffix}"
        lacking = [one.path for one in libraries if not any(tag in tags for tags in one.code.profiles)]
        if arch.ptx and lacking:
            what = (
                f"{arch} was promised, but no translation unit of {shortened(lacking)} holds PTX of it: "
                f"GPUs of later generations are not served by it"
            )
            found.append(Problem(file=lacking[0] if len(lacking) == 1 else "", what=what))
    return found
