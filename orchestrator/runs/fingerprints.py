"""Makes fingerprints of build contexts, so that `--resume` can tell whether a variant's inputs have changed.

Does not depend on what is built from them.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

STATE = ".orchestrate"
"""Directory beside matrix.yaml for logs, bake files, the journal and what preflight learned."""

_SKIPPED = frozenset({".git", STATE, ".venv", "__pycache__"})
_MOST_FILES = 200_000


class Fingerprints:
    """Digests of build contexts by name, size and time of every file; each directory is walked once.

    Args:
        root: What relative contexts start from.
        ours: Files and directories that a run writes itself (its report, archives, caches): skipped.
    """

    def __init__(self, root: Path, *, ours: Sequence[Path] = ()) -> None:
        self._root = root
        self._ours = frozenset(os.path.realpath(path) for path in ours)
        self._known: dict[Path, str] = {}

    def of(self, context: str) -> str:
        """Return the fingerprint of a context as bake names it.

        Args:
            context: A directory, `docker-image://…`, `oci-layout://…`, `target:…`, a URL.

        Returns:
            "" where its content cannot be seen: it is remote, another target, too large to walk, or missing.
        """
        if context.startswith("docker-image://"):
            return context  # named by its reference; whether a tag moved is not looked at
        if context.startswith("oci-layout://"):
            return self._layout(context)
        if "://" in context or context.startswith(("git@", "target:")):
            return ""
        return self._directory(self._root / context)

    def _layout(self, context: str) -> str:
        place = context.removeprefix("oci-layout://")
        if "@sha256:" in place:
            return context
        path = self._root / place
        return self._directory(path if path.is_dir() else path.with_name(path.name.rpartition(":")[0] or path.name))

    def _directory(self, path: Path) -> str:
        try:
            path = path.resolve()
            if not path.is_dir():
                return ""
        except (OSError, ValueError, RuntimeError):  # a loop of links, a null character
            return ""
        if path not in self._known:
            self._known[path] = _walk(path, self._ours)
        return self._known[path]


def _walk(top: Path, ours: frozenset[str]) -> str:
    digest = hashlib.sha256()
    count = 0
    for directory, names, files in os.walk(top):
        names[:] = sorted(name for name in names if name not in _SKIPPED and f"{directory}/{name}" not in ours)
        for path, found in _stats(directory, [*names, *sorted(files)]):
            if path in ours:
                continue
            count += 1
            if count > _MOST_FILES:
                return ""
            # The time of a directory changes with what is skipped in it.
            rest = "" if stat.S_ISDIR(found.st_mode) else f"{found.st_size}\0{found.st_mtime_ns}"
            digest.update(os.fsencode(path) + f"\0{found.st_mode}\0{rest}\n".encode())
    return digest.hexdigest()


def _stats(directory: str, names: Sequence[str]) -> Iterator[tuple[str, os.stat_result]]:
    for name in names:
        path = f"{directory}/{name}"
        with contextlib.suppress(OSError):
            yield path, os.lstat(path)
