"""The difference between two arch lists in words, with the devices and CUDA releases that it concerns."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from orchestrator.cuda.arch import ArchSyntaxError, parse_list
from orchestrator.cuda.devices import device_names
from orchestrator.cuda.toolkit import first_toolkit, other_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orchestrator.cuda.arch import Arch
    from orchestrator.cuda.toolkit import Toolkit

_RELEASE = re.compile(r"(?<![\d.])\d{1,2}\.\d{1,2}(?:\.\d+)*(?![\d.]*\d)")


def difference(
    found: Sequence[Arch],
    expected: Sequence[Arch],
    toolkits: Sequence[Toolkit] = (),
    forbidden: Mapping[str, str] | None = None,
) -> tuple[str, ...]:
    """What is missing in `found`, and what it adds.

    Args:
        found: What a file lists.
        expected: What the matrix says.
        toolkits: The CUDA releases that compile the file's list, as far as is known.
        forbidden: Architecture -> why it must never be listed.

    Returns:
        One phrase for each difference: "missing 12.0 (RTX 50, RTX PRO 6000 Blackwell)", "adds 7.0, which CUDA 13.0
        cannot compile".
    """
    here = {arch.without_ptx(): arch for arch in found}
    there = {arch.without_ptx(): arch for arch in expected}
    words = []
    for arch in there:
        if arch in here:
            continue
        others = [str(other) for other in here if other.cc == arch.cc and other not in there]
        renamed = other_name(arch)
        if renamed in here and renamed not in there and _unknown(renamed, toolkits):
            continue  # reported below: the file has it under the name that another toolkit uses
        words.append(f"missing {arch}{_devices(arch)}" + (f", has {', '.join(others)} instead" if others else ""))
    added = [
        arch
        for arch in here
        if arch not in there and not any(arch.cc == other.cc and other not in here for other in there)
    ]
    words += [_added(arch, there, toolkits, forbidden or {}) for arch in added]
    words += [
        f"missing +PTX on {arch}" if there[arch].ptx else f"adds +PTX to {arch}"
        for arch, listed in here.items()
        if arch in there and listed.ptx != there[arch].ptx
    ]
    return tuple(words)


def text_difference(found: str, expected: Sequence[str]) -> str:
    """How a text differs from every one that is right: by the CUDA release, by its patch number, or in general."""
    if not found:
        return "empty"
    lists = [_listed(text) for text in (found, *expected)]
    if len(lists) == 2 and lists[0] and lists[1] and len(lists[0]) + len(lists[1]) > 2:  # that of an argument
        return "; ".join(difference(lists[0], lists[1])) or "written differently"
    named, wanted = _RELEASE.findall(found), [release for text in expected for release in _RELEASE.findall(text)]
    new = [release for release in named if release not in wanted]
    if len(new) == 1 and wanted:
        minor = _minor(new[0])
        same = next((release for release in wanted if _minor(release) == minor), "")
        if same and same.count(".") != new[0].count("."):
            return f"names the release {new[0]}, not the version {same}" if same.count(".") > 1 else f"names {new[0]}"
        return f"another patch of {minor}" if same else f"names {new[0]}"
    if found.strip() in expected:
        return "spaces around it"
    return "another value"


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _added(arch: Arch, there: Mapping[Arch, Arch], toolkits: Sequence[Toolkit], forbidden: Mapping[str, str]) -> str:
    unable = _unknown(arch, toolkits)
    renamed = other_name(arch)
    if renamed is not None and unable:
        old, new = ("10.1", "11.0") if arch.cc == "10.1" else ("11.0", "10.1")
        which = "12 gives Jetson Thor; CUDA 13 calls it" if old == "10.1" else "13 gives Jetson Thor; CUDA 12 calls it"
        missing = "" if renamed in there else ", and the matrix lists neither"
        return f"lists {arch}, the name that CUDA {which} {new}{arch.suffix}{missing}"
    reasons = []
    if unable:
        reasons.append(f"which CUDA {' and '.join(toolkit.name for toolkit in unable)} cannot compile")
    if str(arch) in forbidden or arch.cc in forbidden:
        reasons.append(f"which the matrix forbids ({forbidden.get(str(arch)) or forbidden[arch.cc]})")
    return f"adds {arch}{_devices(arch)}" + (f", {', and '.join(reasons)}" if reasons else "")


def _unknown(arch: Arch, toolkits: Sequence[Toolkit]) -> list[Toolkit]:
    """The releases among `toolkits` that do not compile an architecture."""
    return [toolkit for toolkit in toolkits if not toolkit.supports(arch.without_ptx())]


def _devices(arch: Arch) -> str:
    """Two GPUs of an architecture, in brackets: the shortest of the best known names, which are product lines."""
    names = sorted(device_names(arch.cc)[:4], key=len)[:2]
    return f" ({', '.join(names)})" if names else ""


def _listed(text: str) -> tuple[Arch, ...]:
    """The architectures of a text that is a list of them, else nothing; 12.8 is none that a toolkit compiles."""
    try:
        found = parse_list(text)
    except ArchSyntaxError:
        return ()
    return found if all(map(first_toolkit, found)) else ()
