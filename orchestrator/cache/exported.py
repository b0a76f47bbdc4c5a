"""Remembers which manifests the exports of layer caches left in registries, to find those that were superseded.

An export moves its tag and leaves the manifest before untagged. No registry lists those, so this machine keeps what it
pushed itself, outside of the journal, whose digests are never removed.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from orchestrator import files
from orchestrator.entries import read_entry
from orchestrator.reference import InvalidReferenceError, parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from orchestrator.reference import Repository

NAME = "exports.jsonl"
_SCHEMA = 1


class Exported:
    """What was exported from here.

    Args:
        path: The file; it need not exist, and lines that are torn are skipped.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, entries: Iterable[str], metadata: Mapping[str, Any] | None) -> None:
        """Remember what a build exported, as BuildKit says it (`cache.manifest` of the metadata).

        Args:
            entries: Its `cache-to` entries.
            metadata: What `--metadata-file` holds for the target.

        Raises:
            OSError: The file cannot be written.
        """
        found = (metadata or {}).get("cache.manifest")
        try:
            digest = str(json.loads(found)["digest"]) if isinstance(found, str) else ""
        except (ValueError, KeyError, TypeError, RecursionError):
            return
        fields = [read_entry(entry) for entry in entries]
        refs = [one["ref"] for one in fields if one.get("type") == "registry" and one.get("ref")]
        if digest.startswith("sha256:") and refs:
            files.make_private(self._path.parent)
            line = json.dumps({"schema": _SCHEMA, "digest": digest, "refs": refs}, separators=(",", ":"))
            files.append(self._path, f"\n{line}\n")

    def of(self, repository: Repository) -> frozenset[str]:
        """Return the digests that were exported to a repository."""
        try:
            lines = self._path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return frozenset()
        found = set()
        for line in lines:
            try:
                row: Any = json.loads(line)
                if row["schema"] == _SCHEMA and any(parse(ref).repository == repository for ref in row["refs"]):
                    found.add(str(row["digest"]))
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError, InvalidReferenceError):
                continue
        return frozenset(found)
