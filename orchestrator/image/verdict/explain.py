"""A verdict in words: what is missing, what a user of that GPU will meet, and what else should be looked at.

Does not depend on how libraries were read or how a report looks.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from orchestrator.cuda.arch import parse_arch
from orchestrator.cuda.coverage import How, serve
from orchestrator.cuda.devices import device_names
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


def problems(library: Library) -> list[Problem]:
    """Why a library does not pass, a problem for each device that it does not serve."""
    failed = [cell for cell in library.cells if cell.status is Status.FAIL]
    if library.code.damage and failed:
        return [Problem(file=library.path, what=failed[0].why)]
    return [
        Problem(
            file=library.path,
            what=f"{devices_of(cell.cc)} is not served: {cell.why}",
            hint=_consequence(cell),
        )
        for cell in failed
    ]


def _consequence(cell: Cell) -> str:
    """What a user of that GPU will meet, and the cure."""
    sm = parse_arch(cell.cc).sm
    cure = f"add {cell.cc} to its arch list (nvcc -gencode arch=compute_{sm},code=sm_{sm})"
    if not cell.ptx:
        return f"there it fails with '{NO_KERNEL}'; {cure}"
    needs = f"a driver that knows PTX {cell.isa[0]}.{cell.isa[1]}" if cell.isa else "a new enough driver"
    if cell.ptx == cell.total:
        return f"there it runs only by compiling PTX at first use, with {needs}; --allow-ptx accepts that"
    jit = f"those with PTX are compiled at first use, with {needs}"
    return f"there all other kernels fail with '{NO_KERNEL}', {jit}; {cure}"


def holes(library: Library, ccs: Sequence[str]) -> tuple[list[Problem], list[str]]:
    """Deep mode: what one translation unit holds for some promised devices and lacks for another.

    Guards in the source leave such differences in every real library: kernels that begin with 8.0, variants for old
    devices alone. So it is a problem only where most devices have the kernel and an older one does: nobody writes a
    guard that takes a kernel from 11.0 and leaves it to 10.0 and 12.0.
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
    problems = [
        Problem(
            file=library.path,
            what=(
                f"{_kernels(len(names))} missing for {devices_of(cc)}, though the same translation units hold "
                f"{'it' if len(names) == 1 else 'them'} for {where}: {_shortened(names)}"
            ),
        )
        for (cc, where), names in missing.items()
    ]
    notes = [
        f"{library.path}: {_kernels(count)} for {where} and not for {lack}, in the same translation units"
        for (where, lack), count in guarded.items()
    ]
    return problems, notes


def _kernels(count: int) -> str:
    return f"{count} kernel{'s' if count != 1 else ''}"


def _number(cc: str) -> int:
    return parse_arch(cc).sm


def _shortened(names: Sequence[str]) -> str:
    shown = ", ".join(name if len(name) <= 80 else f"{name[:77]}..." for name in names[:3])
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown


def warnings(
    files: Files,
    environment: Mapping[str, str],
    table: Sequence[Library],
    promised: Sequence[Arch],
    compilers: Sequence[Compiler],
) -> list[str]:
    """What should be looked at and fails nothing.

    Args:
        files: What the runtime sees.
        environment: Of the image.
        table: The judged libraries.
        promised: Architectures, as promised.
        compilers: Every ptxas and nvcc in the image.
    """
    found = [
        f"{library.path}: {devices_of(cell.cc)}: {cell.why}"
        for library in table
        for cell in library.cells
        if cell.status is Status.WARN
    ]
    found += [
        f"{library.path}: not read: {library.code.damage}"
        for library in table
        if library.code.damage and not library.required
    ]
    ccs = kernels.promised_ccs(promised)
    for library in table:
        if library.required and not any(cell.status is Status.FAIL for cell in library.cells):
            found += _odd_units(library, ccs)
    found += _ptx_promises([library for library in table if library.required], promised)
    found += [
        f"{one.path} is of CUDA {one.release}, which cannot target {' '.join(one.cannot)}"
        for one in compilers
        if one.cannot
    ]
    problem = findings.environment_problem(environment, files)
    return [*found, problem] if problem else found


def unserved(table: Sequence[Library]) -> list[str]:
    """Asked of one device ("will it run on mine"): the other libraries that do not serve it.

    A package may hold a library for each GPU or CUDA release; where one of them serves the device, the package does.
    """
    served = {
        (_variants(library.path), cell.cc)
        for library in table
        for cell in library.cells
        if cell.direct or (cell.ptx and cell.ptx == cell.total)
    }
    return [
        f"{library.path}: {devices_of(cell.cc)} is not served, so whatever calls it fails with '{NO_KERNEL}'"
        for library in table
        for cell in library.cells
        if cell.status is Status.INFO
        and cell.total
        and not cell.direct
        and (_variants(library.path), cell.cc) not in served
    ]


def _variants(path: str) -> str:
    """A library's path without what tells its variants apart: `libbitsandbytes_cuda130.so`, `sgl_kernel/sm90/x.so`."""
    folder, _, name = path.rpartition("/")
    folder = re.sub(r"(?<=/)(?:sm|compute|cuda|cu)_?\d+[af]?(?=/|$)", "#", folder)
    return f"{folder}/{re.sub(r'(?:sm|compute|cuda|cu|fa)_?[0-9]+[af]?', '#', name)}"


def only_specific(table: Sequence[Library], promised: Sequence[Arch]) -> list[str]:
    """A plain promise that is kept by `a` code alone, which no other device of the generation runs."""
    plain = {arch.cc for arch in promised if not arch.suffix}
    return [
        f"{library.path}: {devices_of(cell.cc)} is served by architecture-specific code alone (sm_"
        f"{parse_arch(cell.cc).sm}a), which runs on no other GPU"
        for library in table
        for cell in library.cells
        if library.required and cell.cc in plain and cell.direct and cell.direct == cell.how.get(How.ARCH, 0)
    ]


def _odd_units(library: Library, ccs: Sequence[str]) -> list[str]:
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
        f"{library.path}: {_units(library, sets)} of {library.code.containers} translation units hold nothing for "
        f"{', '.join(map(devices_of, lack))}: {_sets(library, sets)}"
        for lack, sets in found.items()
    ]


def _count(library: Library, tags: tuple[str, ...]) -> int:
    return next((count for held, count in library.code.profiles.items() if set(held) == set(tags)), 0)


def _units(library: Library, sets: Sequence[tuple[str, ...]]) -> int:
    return sum(_count(library, tags) for tags in sets)


def _sets(library: Library, sets: Sequence[tuple[str, ...]]) -> str:
    ordered = sorted(sets, key=lambda tags: (-_count(library, tags), tags))
    shown = "; ".join(f"{_count(library, tags)} x {' '.join(tags)}" for tags in ordered[:4])
    return f"{shown} and {len(sets) - 4} more sets" if len(sets) > 4 else shown


def _ptx_promises(libraries: Sequence[Library], promised: Sequence[Arch]) -> list[str]:
    """`12.0+PTX` promises PTX as well: whether it is there is said, not judged (vLLM's own CMake drops it)."""
    found = []
    for arch in promised:
        tag = f"p{arch.sm}{arch.suffix}"
        lacking = [one.path for one in libraries if not any(tag in tags for tags in one.code.profiles)]
        if arch.ptx and lacking:
            found.append(
                f"{arch} was promised, but no translation unit of {', '.join(lacking)} holds PTX of it: "
                f"GPUs of later generations are not served by it"
            )
    return found
