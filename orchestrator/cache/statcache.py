"""Remembers the digests of files by what `stat` says of them, in the manner of git's index.

A file is read again if its size, times, inode or device changed, or if it changed so shortly before it was read that a
later write might carry the same time (git's racy-clean rule): such a digest is used once and not kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import time
from typing import TYPE_CHECKING

from orchestrator import files

if TYPE_CHECKING:
    from pathlib import Path

_SCHEMA = 1
_SETTLED_NS = 2_000_000_000
"""Nanoseconds after which a file's time can no longer be that of a later write: the coarsest file systems keep 2 s."""


class StatCache:
    """Digests of files; a damaged or missing file counts as empty.

    Args:
        path: Where they are kept between runs; its directory need not exist.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, list[int | str]] = {}
        self._used: dict[str, list[int | str]] = {}
        self._before_ns: int | None = None
        self._learned = False
        self.read = 0  # files whose content was read
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
            found = json.loads(path.read_bytes())
            if found["schema"] == _SCHEMA and isinstance(found["files"], dict):
                self._known = found["files"]

    def digest(self, path: str, found: os.stat_result) -> str:
        """Return the SHA-256 of a regular file, in hexadecimal digits.

        Args:
            path: The file, absolute.
            found: What `lstat` gave for it.

        Raises:
            OSError: It cannot be read.
        """
        signature = [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev]
        known = self._used.get(path) or self._known.get(path)
        if isinstance(known, list) and len(known) == 6 and known[:5] == signature and isinstance(known[5], str):
            self._used[path] = known
            return known[5]
        before = self._clock() - _SETTLED_NS
        self.read += 1
        with open(path, "rb") as stream:  # noqa: PTH123 - a name that is not UTF-8
            value = hashlib.file_digest(stream, "sha256").hexdigest()
            after = os.fstat(stream.fileno())
        same = (after.st_size, after.st_mtime_ns, after.st_ctime_ns) == tuple(signature[:3])
        if same and max(found.st_mtime_ns, found.st_ctime_ns) < before:
            self._used[path] = [*signature, value]
            self._learned = True
        return value

    def save(self) -> None:
        """Keep what this run learned; on a full or read-only disk nothing is kept."""
        if not self._learned:
            return
        with contextlib.suppress(OSError):
            files.make_private(self._path.parent)
            text = json.dumps({"schema": _SCHEMA, "files": {**self._known_elsewhere(), **self._used}})
            files.write_whole(self._path, text, mode=files.PRIVATE)

    def _known_elsewhere(self) -> dict[str, list[int | str]]:
        """Entries of contexts that this run did not look at, as far as their files are still there."""
        tops = {path.rpartition("/")[0] for path in self._used}
        return {
            path: entry
            for path, entry in self._known.items()
            if path not in self._used and path.rpartition("/")[0] not in tops and os.path.lexists(path)
        }

    def _clock(self) -> int:
        """The time of the file system that holds the cache, at or before now; its clock may not be this machine's."""
        if self._before_ns is None:
            self._before_ns = time.time_ns()
            with contextlib.suppress(OSError):
                files.make_private(self._path.parent)
                with tempfile.TemporaryFile(dir=self._path.parent) as probe:
                    self._before_ns = min(self._before_ns, os.fstat(probe.fileno()).st_mtime_ns)
        return self._before_ns
