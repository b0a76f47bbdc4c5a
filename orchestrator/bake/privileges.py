"""Finds what a resolved target reads and writes outside of the project, for explicit `--allow` options."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.bake.entries import read_entry
from orchestrator.engine import buildx
from orchestrator.reference import layout_directory

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


def local_paths(root: Path, targets: Iterable[Mapping[str, Any]]) -> tuple[Sequence[str], Sequence[str]]:
    """Return the directories outside `root` that targets read and write.

    With `--progress rawjson` buildx skips its own file-system check (measured twice, buildx 0.29.1), so the list is
    computed here and passed whole: nothing but what the variant names is allowed.

    Returns:
        (read, write): absolute paths, sorted, each once.
    """
    reads: list[str] = []
    writes: list[str] = []
    for target in targets:
        reads += [str(target.get("context") or "."), *(target.get("contexts") or {}).values()]
        dockerfile = buildx.dockerfile_path(root, target)
        reads += [str(dockerfile.parent)] if dockerfile is not None else []
        reads += [entry.get("src", "") for entry in _entries(target, "cache-from") if entry.get("type") == "local"]
        reads += [entry.get("src", "") for entry in _entries(target, "secret") if entry.get("src")]
        dests = [entry.get("dest", "") for entry in (*_entries(target, "cache-to"), *_entries(target, "output"))]
        writes += [str(Path(path).parent) for path in dests if path]
    return _outside(root, reads), _outside(root, writes)


def _entries(target: Mapping[str, Any], name: str) -> list[dict[str, str]]:
    return [read_entry(entry) for entry in target.get(name) or []]


def _outside(root: Path, paths: Sequence[str]) -> list[str]:
    base = root.resolve()
    outside: set[str] = set()
    for path in paths:
        if path.startswith("oci-layout://"):
            place = layout_directory(path)
        elif not path or "://" in path or path.startswith(("git@", "target:")):
            continue
        else:
            place = path
        absolute = Path(base, place).resolve()
        if not absolute.is_relative_to(base):
            outside.add(str(absolute))
    return sorted(outside)
