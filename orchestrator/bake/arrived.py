"""Remembers what preflight learned in earlier runs: an outline depends on its Dockerfile and arguments alone.

A fully cached build takes about a second; asking buildx again what it answered before is a third of it. The memory is
a small file in the state directory, rewritten whole; a damaged one counts as empty.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field
from msgspec.structs import asdict

from orchestrator import files

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_KEPT = 2000


class Outline(Struct, frozen=True, kw_only=True):
    """What the stages of a target consume, as `--call=outline` says it.

    Attributes:
        args: Argument -> value.
        secrets: Ids of secrets.
    """

    args: dict[str, str] = field(default_factory=dict)
    secrets: list[str] = field(default_factory=list)


class Outlines:
    """Outlines by the digest of what they were made from.

    Args:
        path: The file; None remembers nothing.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._known: dict[str, Outline] = {}
        if path is not None:
            with contextlib.suppress(OSError, ValueError, RecursionError):
                found = json.loads(path.read_text(encoding="utf-8"))
                if isinstance(found, dict):
                    self._known = {key: Outline(**value) for key, value in found.items() if _is_outline(value)}

    @staticmethod
    def key(content: Mapping[str, Any], argv: tuple[str, ...]) -> str:
        """Return the digest of what an outline depends on."""
        text = json.dumps([content, argv], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def get(self, key: str) -> Outline | None:
        """Return what the target consumes, if buildx answered before."""
        with self._lock:
            return self._known.get(key)

    def put_all(self, found: Mapping[str, Outline | str]) -> None:
        """Remember outlines; on a full or read-only disk nothing is remembered and the build goes on.

        Args:
            found: Key -> outline; a text, which says why there is none, is left out.
        """
        new = {key: outline for key, outline in found.items() if isinstance(outline, Outline)}
        if not new:
            return
        with self._lock:
            self._known = {key: known for key, known in self._known.items() if key not in new} | new
            kept = {name: asdict(one) for name, one in list(self._known.items())[-_KEPT:]}
            if self._path is not None:
                with contextlib.suppress(OSError):
                    files.make_private(self._path.parent)
                    files.write_whole(self._path, json.dumps(kept), mode=files.PRIVATE)


def _is_outline(value: Any) -> bool:
    if not isinstance(value, dict) or value.keys() != {"args", "secrets"}:
        return False
    args, secrets = value["args"], value["secrets"]
    texts = [*args.values(), *secrets] if isinstance(args, dict) and isinstance(secrets, list) else [None]
    return all(isinstance(text, str) for text in texts)
