"""Layout: where under the cubin directory each FlashInfer generation looks for the files.

Read in FlashInfer's source at every final tag from 0.6.0 to 0.7.2.post1; measured with the real loader for L1 to L4.
Five generations came in one year; a version outside the known range is an error that says what to check, because a
wrong guess fails on the user's machine. This module is pure: versions and paths in, paths out.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec import Struct

from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

# Where the 0.6.5 to 0.6.7 JIT includes the batched GEMM headers from, relative to the cubin directory.
FLAT_BMM = "flashinfer/trtllm/batched_gemm/trtllmGen_bmm_export"


class Layout(Struct, frozen=True, kw_only=True):
    """One generation.

    Attributes:
        name: `L0` to `L4`.
        versions: The range in words, for messages.
        flat: Whether the batched GEMM headers must also lie flat, beside an `.artifact_hash`.
        env_first: Whether FLASHINFER_CUBIN_DIR wins over an installed flashinfer_cubin package.
        writes: The directory below the cubin directory that FlashInfer writes into at run time, "" for none.
    """

    name: str
    versions: str
    flat: bool
    env_first: bool
    writes: str


L0 = Layout(name="L0", versions="0.6.0 to 0.6.4", flat=False, env_first=False, writes="")
L1 = Layout(name="L1", versions="0.6.5 to 0.6.7", flat=True, env_first=False, writes="flashinfer")
L2 = Layout(name="L2", versions="0.6.7.post1 to 0.6.15.post1", flat=False, env_first=False, writes="flashinfer")
L3 = Layout(name="L3", versions="0.6.16 to 0.6.18.post1", flat=False, env_first=True, writes="")
L4 = Layout(name="L4", versions="0.7.0 to 0.7.2.post1", flat=False, env_first=True, writes="flashinfer")

# First version of each generation; the last entry is the first version that nobody has looked at.
_STARTS: tuple[tuple[tuple[int, int, int, int], Layout | None], ...] = (
    ((0, 6, 0, 0), L0),
    ((0, 6, 5, 0), L1),
    ((0, 6, 7, 1), L2),
    ((0, 6, 16, 0), L3),
    ((0, 7, 0, 0), L4),
    ((0, 7, 2, 2), None),
)
_EARLY = re.compile(r"\.dev\d")
_VERSION = re.compile(r"v?(\d+)\.(\d+)\.(\d+)((?:a|b|rc|\.dev)\d+)?(?:\.post(\d+))?((?:\+|\.dev).*)?")


def key(version: str) -> tuple[int, int, int, int]:
    """Return a FlashInfer version as (major, minor, patch, post); a pre-release counts as the release it leads to.

    Raises:
        UsageError: It is not a version of the form that FlashInfer uses.
    """
    found = _VERSION.fullmatch(version.strip())
    if not found:
        raise UsageError(f"{version!r} is not a FlashInfer version", hint="write it like 0.6.13 or 0.6.8.post1")
    major, minor, patch, _, post, _ = found.groups()
    return int(major), int(minor), int(patch), int(post or 0)


def of(version: str) -> Layout:
    """Return the layout generation of a version.

    Raises:
        UsageError: The version is older or newer than every one whose loader was read, or a nightly of which only its
            commit tells the generation; the message says what to check.
    """
    wanted = key(version)
    found = _at(wanted, version)
    if _EARLY.search(version):  # cut from the code between the release before and its own
        major, minor, patch, _ = wanted
        started = [start for start, one in _STARTS if one and (major, minor, patch - 1, 0) < start <= wanted]
        if started and (earlier := _at(_before(started[0]), version)) is not found:
            raise UsageError(
                f"FlashInfer {version} is not a release: its code may have layout {earlier.name} or {found.name}",
                hint=f"look at jit/env.py and jit/fused_moe.py of its commit, then name it: --layout {found.name}",
            )
    return found


def _before(start: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    """Return the last version of the generation before, for `_at`."""
    return max((one for one, _ in _STARTS if one < start), default=start)


def _at(wanted: tuple[int, int, int, int], version: str) -> Layout:
    chosen: Layout | None = None
    known = False
    for start, layout in _STARTS:
        if wanted >= start:
            chosen, known = layout, True
    if chosen is not None:
        return chosen
    if not known:
        raise UsageError(f"FlashInfer {version} is older than 0.6.0, before headers were downloaded at run time")
    raise UsageError(
        f"FlashInfer {version} is newer than 0.7.2.post1, the last version whose header layout is known",
        hint=(
            "check in that version: jit/env.py:_get_cubin_dir (which directory wins), "
            "jit/fused_moe.py and jit/gemm/core.py (where the headers are included from, what is written at run time), "
            "artifacts.py (ArtifactPath, CheckSumHash); if nothing moved, name the generation: --layout L4"
        ),
    )


def named(name: str) -> Layout:
    """Return a generation by its name.

    Raises:
        UsageError: There is no such generation.
    """
    for layout in (L0, L1, L2, L3, L4):
        if layout.name == name.upper():
            return layout
    raise UsageError(f"unknown layout {name!r}", hint="known: L0, L1, L2, L3, L4")


def asks_for(layout: Layout, path: str) -> bool:
    """Return whether a generation reads a header of a manifest from the artifact server.

    Up to 0.6.4 the exported headers are in FlashInfer's own package, whatever the manifests list beside them.
    """
    return layout is not L0 or path.rsplit("/", 1)[-1].lower() == "flashinfermetainfo.h"


def placed(layout: Layout, keys: Iterable[str], *, bmm: str) -> dict[str, str]:
    """Return where each artifact must lie, relative to the cubin directory.

    Args:
        layout: The generation.
        keys: Artifact paths relative to the repository (`<pin>/include/…`).
        bmm: The path of the batched GEMM pin, "" if there is none.

    Returns:
        Placed path -> key, sorted; one key may be placed twice (L1).
    """
    tree = {}
    flat_root = f"{bmm}/include/trtllmGen_bmm_export/"
    for item in keys:
        tree[item] = item
        if layout.flat and bmm and item.startswith(flat_root):
            tree[f"{FLAT_BMM}/{item.removeprefix(flat_root)}"] = item
    return dict(sorted(tree.items()))
