"""What vLLM's own build makes of an arch list, before an hour is spent on building it.

vLLM's CMake filters TORCH_CUDA_ARCH_LIST twice with one function, `cuda_archs_loose_intersection`: first by the list
that it supports under the CUDA release of the build, which gives CUDA_ARCHS, then by each kernel's own list. It does
not answer as `select` does: it drops silently, folds an architecture into a smaller one of the same major number
(10.1 on CUDA 13 becomes 10.0, another GPU), and its rules for suffixes changed twice. Three behaviours shipped, named
by the release that they were read from: vllm-0.20 (0.19.1 to 0.26.0 agree), vllm-0.29, vllm-0.33.

tests/differential/test_cmake_loose_intersection.py runs the real function of each release beside this one.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from orchestrator.cuda.arch import Arch, parse_list
from orchestrator.cuda.coverage import How, Image, serve
from orchestrator.cuda.devices import device_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from orchestrator.cuda.toolkit import Toolkit

Behaviour = Literal["vllm-0.20", "vllm-0.29", "vllm-0.33"]

_SUPPORTED = (
    # (first CUDA release, what vLLM 0.20.0 to 0.33.0 support from it on), the newest first
    ((13, 0), parse_list("7.5 8.0 8.6 8.7 8.9 9.0 10.0 11.0 12.0")),
    ((12, 8), parse_list("7.5 8.0 8.6 8.7 8.9 9.0 10.0 10.1 10.3 12.0 12.1")),
    ((0, 0), parse_list("7.0 7.5 8.0 8.6 8.7 8.9 9.0")),
)
_RUBIN = ((13, 4), parse_list("7.5 8.0 8.6 8.7 8.9 9.0 10.0 10.7 11.0 12.0"))  # since vLLM 0.29.0
_SUPPORTED_BY = MappingProxyType(
    {
        "vllm-0.20": _SUPPORTED,
        "vllm-0.29": (_RUBIN, *_SUPPORTED),
        "vllm-0.33": (_RUBIN, *_SUPPORTED),
    }
)


def supported_archs(cuda: Toolkit, behaviour: Behaviour) -> tuple[Arch, ...]:
    """The architectures that vLLM is willing to build for (its CUDA_SUPPORTED_ARCHS)."""
    release = (cuda.major, cuda.minor)
    return next(archs for first, archs in _SUPPORTED_BY[behaviour] if release >= first)


def effective_archs(archs: Iterable[Arch], cuda: Toolkit, behaviour: Behaviour) -> tuple[Arch, ...]:
    """What is left of an arch list after vLLM's first filter (its CUDA_ARCHS), in vLLM's order.

    `+PTX` is lost here: vLLM reads the list back from nvcc flags and keeps the numbers alone.

    Args:
        archs: The arch list as the build gets it.
        cuda: The toolkit of the build.
        behaviour: Which vLLM.

    Returns:
        Empty where a vLLM up to 0.26 builds a wheel without kernels and a later one refuses to configure.
    """
    targets = sorted({arch.without_ptx() for arch in archs})
    return kernel_archs(supported_archs(cuda, behaviour), targets, behaviour)


def kernel_archs(kernel_list: Sequence[Arch], cuda_archs: Sequence[Arch], behaviour: Behaviour) -> tuple[Arch, ...]:
    """Which of its architectures a kernel is built for: `cuda_archs_loose_intersection`, in its order.

    Args:
        kernel_list: The architectures that the kernel's sources are made for (SRC), as in `9.0a` or `8.0+PTX`; an item
            with +PTX serves later major numbers too.
        cuda_archs: What `effective_archs` gave (TGT); without +PTX.
        behaviour: Which vLLM.
    """
    with_ptx = {arch.without_ptx() for arch in kernel_list if arch.ptx}
    sources = _without_ptx(kernel_list)
    targets = list(cuda_archs)
    found = _match_suffixed_sources(sources, targets, behaviour)
    found += _match_suffixed_targets(sources, targets, behaviour)
    found += _match_plain(sorted(sources), targets, with_ptx)
    return tuple(arch.with_ptx() if arch in with_ptx else arch for arch in dict.fromkeys(found))


def _without_ptx(archs: Sequence[Arch]) -> list[Arch]:
    """Each item once; those with +PTX come after the others."""
    items = [arch for arch in archs if not arch.ptx] + [arch.without_ptx() for arch in archs if arch.ptx]
    return list(dict.fromkeys(items))


def _match_suffixed_sources(sources: list[Arch], targets: list[Arch], behaviour: Behaviour) -> list[Arch]:
    """The kernel's items with a suffix find targets; all of them leave `sources`, what they find leaves `targets`."""
    suffixed = [source for source in sources if source.suffix]
    sources[:] = [source for source in sources if not source.suffix]
    if behaviour == "vllm-0.20":
        asked = frozenset(targets)  # this release looks for the base in the list as given: two items may claim one base
        found: list[Arch] = []
        for source in suffixed:
            found += _claim_base(source, asked, targets) or _claim_other_suffix(source, targets)
        return found
    found, left = [], []
    for source in suffixed:
        claimed = _claim_base(source, targets, targets)
        found += claimed
        if not claimed:
            left.append(source)
        elif behaviour == "vllm-0.33":
            _remove(targets, _with_suffix(source, "a"), _with_suffix(source, "f"))
    for source in left:
        found += _claim_other_suffix(source, targets)
    return found


def _claim_base(source: Arch, asked: Iterable[Arch], targets: list[Arch]) -> list[Arch]:
    """9.0a finds 9.0 and is built as 9.0a."""
    if source.plain() not in asked:
        return []
    _remove(targets, source.plain())
    return [source]


def _claim_other_suffix(source: Arch, targets: list[Arch]) -> list[Arch]:
    """10.0f finds 10.0a, 10.0f, or else the first target of its major number, and is built as the target says."""
    wanted = [_with_suffix(source, "a"), _with_suffix(source, "f")]
    if source.suffix == "f":
        wanted += [target for target in targets if target.major == source.major]
    target = next((target for target in wanted if target in targets), None)
    if target is None:
        return []
    _remove(targets, target)
    return [target]


def _match_suffixed_targets(sources: list[Arch], targets: list[Arch], behaviour: Behaviour) -> list[Arch]:
    """A target 9.0a finds a plain 9.0 in the kernel's list and is built as 9.0a."""
    found = []
    for target in [target for target in targets if target.suffix]:
        if target.plain() not in sources:
            continue
        found.append(target)
        _remove(targets, target)
        if behaviour != "vllm-0.33" or target.plain() not in targets:
            _remove(sources, target.plain())
    return found


def _match_plain(sources: Sequence[Arch], targets: Sequence[Arch], with_ptx: set[Arch]) -> list[Arch]:
    """Each remaining target finds the highest item not above it that has its major number, or has PTX."""
    found = []
    for target in targets:
        below = [
            source
            for source in sources
            if source.sm <= target.sm and (source.major == target.major or source in with_ptx)
        ]
        found += below[-1:]
    return found


def _with_suffix(arch: Arch, suffix: Literal["a", "f"]) -> Arch:
    return Arch(arch.major, arch.minor, suffix)


def _remove(archs: list[Arch], *unwanted: Arch) -> None:
    archs[:] = [arch for arch in archs if arch not in unwanted]


def warnings_for(archs: Sequence[Arch], cuda: Toolkit, behaviour: Behaviour) -> tuple[str, ...]:
    """What an arch list loses in vLLM's filter, one line each, in the order of the list.

    Args:
        archs: The arch list as the build gets it.
        cuda: The toolkit of the build.
        behaviour: Which vLLM.
    """
    kept = effective_archs(archs, cuda, behaviour)
    if not kept:
        outcome = "builds a wheel without any kernel" if behaviour == "vllm-0.20" else "refuses to configure"
        return (f"vLLM supports none of {' '.join(map(str, archs))} under CUDA {cuda} and {outcome}",)
    lines = [_lost(arch, kept, cuda, behaviour) for arch in dict.fromkeys(arch.without_ptx() for arch in archs)]
    lines += [
        f"the +PTX of {arch.without_ptx()} is lost: vLLM embeds PTX by its own list of each kernel"
        for arch in dict.fromkeys(archs)
        if arch.ptx
    ]
    return tuple(line for line in lines if line)


def _lost(arch: Arch, kept: Sequence[Arch], cuda: Toolkit, behaviour: Behaviour) -> str:
    """What happens to one item that vLLM's first filter does not keep as it is; "" when it does."""
    if arch in kept:
        return ""
    alone = effective_archs([arch], cuda, behaviour)
    if not alone:
        return f"{arch} is left out silently: vLLM does not support it under CUDA {cuda}"
    if alone == (arch,):
        twins = [other for other in kept if other.plain() == arch.plain()]
        beside = f" beside {twins[0]}" if twins else ""
        until = "" if arch.suffix else " (vLLM #56548, until 0.33)"
        return f"{arch} is lost{beside}: vLLM keeps one of them{until}"
    (folded,) = alone
    if serve([Image("sass", folded.sm, folded.suffix)], arch.cc) is How.NONE:
        names = device_names(arch.cc)
        whose = f" ({names[0]})" if names else ""
        return f"{arch}{whose} becomes {folded}, the wrong GPU: its code does not run on {arch.cc}"
    return f"{arch} becomes {folded}, whose code runs on {arch.cc}"
