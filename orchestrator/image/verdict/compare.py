"""Two images side by side: which architectures each library gained and lost, and what that costs in bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct

from orchestrator.errors import Problem
from orchestrator.image.verdict.kernels import by_number

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.image.code.library import FileCode
    from orchestrator.image.verdict.scanned import Scanned

SCHEMA = 1


class Change(Struct, frozen=True, kw_only=True):
    """One library in two images.

    Attributes:
        path: In both images.
        state: "added", "removed", "changed" or "same".
        gained: Tags that only the new one holds.
        lost: Tags that only the old one holds.
        containers: Tag -> containers that hold it, old and new, where the number differs.
        bytes: Of the file, old and new; 0 where there is none.
    """

    path: str
    state: str
    gained: tuple[str, ...]
    lost: tuple[str, ...]
    containers: Mapping[str, tuple[int, int]]
    bytes: tuple[int, int]


class Comparison(Struct, frozen=True, kw_only=True):
    """Two images.

    Attributes:
        old: Name of the old one.
        new: Name of the new one.
        changes: One for each library of either, by path.
        bytes: Tag -> bytes of device code, old and new.
    """

    old: str
    new: str
    changes: tuple[Change, ...]
    bytes: Mapping[str, tuple[int, int]]

    @property
    def lost(self) -> tuple[Problem, ...]:
        """What the old one holds and the new one does not: architectures, units that hold one, whole libraries."""
        found = []
        for change in self.changes:
            fewer = {tag: pair for tag, pair in change.containers.items() if pair[1] < pair[0]}
            if change.state == "removed":
                found.append(Problem(file=change.path, what="the library was removed"))
            elif fewer:
                tags = ", ".join(f"{tag} in {new} of {old} translation units" for tag, (old, new) in fewer.items())
                found.append(Problem(file=change.path, what=f"it lost code: {tags}"))
        return tuple(found)

    def to_json(self) -> dict[str, Any]:
        """The comparison as `--format json` prints it."""
        return {
            "schema": SCHEMA,
            "old": self.old,
            "new": self.new,
            "libraries": [
                {
                    "path": change.path,
                    "state": change.state,
                    "gained": list(change.gained),
                    "lost": list(change.lost),
                    "containers": {tag: list(pair) for tag, pair in change.containers.items()},
                    "bytes": list(change.bytes),
                }
                for change in self.changes
            ],
            "bytes": {tag: list(pair) for tag, pair in self.bytes.items()},
        }


def compare(old: Scanned, new: Scanned) -> Comparison:
    """Lay two sources side by side, library by library.

    Args:
        old: The earlier one.
        new: The later one.
    """
    before = {path: code for path, code in old.files.code.items() if code.images and not code.archive}
    after = {path: code for path, code in new.files.code.items() if code.images and not code.archive}
    return Comparison(
        old=old.source,
        new=new.source,
        changes=tuple(
            _change(path, before.get(path), after.get(path)) for path in sorted(before.keys() | after.keys())
        ),
        bytes=_bytes(before, after),
    )


def _change(path: str, old: FileCode | None, new: FileCode | None) -> Change:
    tags_old, tags_new = _tags(old), _tags(new)
    differing = {
        tag: pair
        for tag in sorted(tags_old.keys() | tags_new.keys(), key=by_number)
        if (pair := (tags_old.get(tag, 0), tags_new.get(tag, 0)))[0] != pair[1]
    }
    state = "added" if old is None else "removed" if new is None else "changed" if differing else "same"
    return Change(
        path=path,
        state=state,
        gained=tuple(sorted(tags_new.keys() - tags_old.keys(), key=by_number)),
        lost=tuple(sorted(tags_old.keys() - tags_new.keys(), key=by_number)),
        containers=differing,
        bytes=(old.size if old else 0, new.size if new else 0),
    )


def _tags(code: FileCode | None) -> dict[str, int]:
    """Tag -> containers with kernels that hold it."""
    counts: dict[str, int] = {}
    for tags, count in code.profiles.items() if code else ():
        for tag in tags:
            counts[tag] = counts.get(tag, 0) + count
    return counts


def _bytes(before: Mapping[str, FileCode], after: Mapping[str, FileCode]) -> dict[str, tuple[int, int]]:
    sums: tuple[dict[str, int], dict[str, int]] = ({}, {})
    for total, codes in zip(sums, (before, after), strict=True):
        for code in codes.values():
            for tag, size in code.stored.items():
                total[tag] = total.get(tag, 0) + size
    tags = sorted(sums[0].keys() | sums[1].keys(), key=by_number)
    return {tag: (sums[0].get(tag, 0), sums[1].get(tag, 0)) for tag in tags}
