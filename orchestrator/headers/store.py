"""Artifacts by their sha256, shared by every process of a user.

    <root>/blobs/aa/<sha256>      a whole, verified file, mode 0444
    <root>/partial/<sha256>       the beginning of a download, kept for a resume
    <root>/locks/<sha256>         who is downloading it

A blob appears by an atomic rename of a file that was hashed while it was written and flushed to the disk, so a reader
sees all of it or nothing, whatever process is killed when. Locks are advisory locks of the kernel (filelock): they end
with their process.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from orchestrator.errors import EnvironmentLacksError, VerificationError
from orchestrator.files import move_whole, writing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_CHUNK = 1024 * 1024
_HEX64 = re.compile(r"[0-9a-f]{64}")
ABANDONED_SECONDS = 24 * 3600


class Swept(Struct, frozen=True, kw_only=True):
    """What a collection removed: number of blobs and partial files, and their bytes."""

    files: int
    bytes: int


class _RejectedError(Exception):
    """The bytes are not what the digest says: the file that is being written is dropped."""


class Store:
    """A content-addressed store in one directory.

    Args:
        root: Created on the first write.
        command: The command that fills it, for hints: `headers` or `wheels`.
    """

    __slots__ = ("command", "root")

    def __init__(self, root: Path, command: str = "headers") -> None:
        self.root = root
        self.command = command

    def path(self, sha256: str) -> Path:
        """Return where the blob lies or would lie."""
        return self.root / "blobs" / sha256[:2] / sha256

    def partial(self, sha256: str) -> Path:
        """Return where the beginning of a download of it is kept; only for the holder of `lock(sha256)`."""
        return self.root / "partial" / sha256

    def has(self, sha256: str, size: int | None = None) -> bool:
        """Return whether the blob is there (and of that size, if one is given). Its bytes are not read."""
        try:
            status = self.path(sha256).stat()
        except OSError:
            return False
        return size is None or status.st_size == size

    def size(self, sha256: str) -> int:
        """Size of a blob that is there, in bytes."""
        return self.path(sha256).stat().st_size

    def read(self, sha256: str) -> bytes:
        """Return the verified bytes of a small blob.

        Raises:
            VerificationError: It is missing or damaged.
        """
        try:
            data = self.path(sha256).read_bytes()
        except OSError as error:
            raise self._missing(sha256) from error
        if hashlib.sha256(data).hexdigest() != sha256:
            raise self._damaged(sha256)
        return data

    def copy(self, sha256: str, target: Path) -> None:
        """Write a blob to a new file, verifying it on the way.

        Raises:
            VerificationError: It is missing or damaged; the target is then removed.
        """
        digest = hashlib.sha256()
        try:
            source = self.path(sha256).open("rb")
        except OSError as error:
            raise self._missing(sha256) from error
        with source, target.open("xb") as sink:
            while chunk := source.read(_CHUNK):
                digest.update(chunk)
                sink.write(chunk)
        if digest.hexdigest() != sha256:
            target.unlink()
            raise self._damaged(sha256)

    @contextlib.contextmanager
    def lock(self, sha256: str, *, timeout: float = -1) -> Iterator[None]:
        """Hold the right to download one digest. Ask `has` again after acquiring: another process may have been faster.

        Args:
            sha256: The digest.
            timeout: Seconds to wait, negative for ever.

        Raises:
            TimeoutError: It was held by another process all the while.
        """
        from filelock import FileLock, Timeout

        folder = self._folder("locks")
        held = FileLock(folder / sha256, timeout=timeout, mode=0o600)
        try:
            held.acquire()
        except Timeout as error:
            raise TimeoutError(sha256) from error
        try:
            yield
        finally:
            held.release()

    def add(self, chunks: Iterable[bytes], sha256: str, *, limit: int | None = None) -> bool:
        """Put bytes into the store if they are what the digest says.

        Args:
            chunks: The bytes.
            sha256: What they must be.
            limit: Greatest number of bytes to take.

        Returns:
            False if they were not, and nothing was stored.
        """
        self._folder("blobs", sha256[:2])
        stored = False
        with contextlib.suppress(_RejectedError), writing(self.path(sha256), mode=0o444) as sink:
            digest, size = hashlib.sha256(), 0
            for chunk in chunks:
                size += len(chunk)
                if limit is not None and size > limit:
                    raise _RejectedError
                digest.update(chunk)
                sink.write(chunk)
            if digest.hexdigest() != sha256:
                raise _RejectedError
            stored = True
        return stored

    def adopt(self, partial: Path, sha256: str) -> None:
        """Publish a file whose bytes the caller has already verified; it is moved, not copied."""
        self._folder("blobs", sha256[:2])
        move_whole(partial, self.path(sha256), mode=0o444)

    def verify(self, sha256s: Iterable[str] | None = None) -> Iterator[tuple[str, str]]:
        """Read blobs and name the bad ones.

        Args:
            sha256s: Which; None for every blob of the store.

        Yields:
            (sha256, "missing" or "damaged").
        """
        for sha256 in sorted(set(self.blobs() if sha256s is None else sha256s)):
            try:
                with self.path(sha256).open("rb") as stream:
                    actual = hashlib.file_digest(stream, "sha256").hexdigest()
            except FileNotFoundError:
                yield sha256, "missing"
                continue
            except OSError:
                actual = ""
            if actual != sha256:
                yield sha256, "damaged"

    def bad(self, sha256s: Iterable[str], *, repair: bool) -> dict[str, str]:
        """Read blobs and return what is wrong with them, digest -> "missing" or "damaged".

        Args:
            sha256s: Which.
            repair: Remove damaged ones, so that the next fetch brings them again.
        """
        found = dict(self.verify(sha256s))
        for sha256, what in found.items():
            if repair and what == "damaged":
                self.discard(sha256)
        return found

    def discard(self, sha256: str) -> None:
        """Remove a blob, so that the next fetch brings it again."""
        with self.lock(sha256):
            self.path(sha256).unlink(missing_ok=True)

    def blobs(self) -> Iterator[str]:
        """Yield the digest of every blob that is there."""
        for path in (self.root / "blobs").glob("??/*"):
            if _HEX64.fullmatch(path.name):
                yield path.name

    def collect(self, keep: Iterable[str], *, now: float | None = None) -> Swept:
        """Remove every blob that is not kept, and temporary and partial files older than a day.

        Args:
            keep: Digests to keep.
            now: Seconds since the epoch, for tests.
        """
        wanted, files, size = set(keep), 0, 0
        edge = (time.time() if now is None else now) - ABANDONED_SECONDS
        doomed = [self.path(sha256) for sha256 in self.blobs() if sha256 not in wanted]
        old = [*(self.root / "blobs").glob("??/.*"), *(self.root / "partial").glob("*")]
        for path in doomed + [path for path in old if _mtime(path) < edge]:
            with contextlib.suppress(FileNotFoundError):
                length = path.stat().st_size
                path.unlink()
                files, size = files + 1, size + length
        for path in (self.root / "locks").glob("*"):
            if path.name not in wanted:
                with contextlib.suppress(TimeoutError, FileNotFoundError), self.lock(path.name, timeout=0):
                    path.unlink()  # filelock looks at the link count after acquiring, so a waiter notices
        return Swept(files=files, bytes=size)

    def _folder(self, *parts: str) -> Path:
        folder = self.root.joinpath(*parts)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EnvironmentLacksError(
                f"cannot write the store {self.root}: {error.strerror}",
                hint=f"name another place with --store or {variable(self.command)}",
            ) from error
        return folder

    def _missing(self, sha256: str) -> VerificationError:
        return VerificationError(
            f"sha256:{sha256} is not in the store {self.root}", hint=f"orchestrate {self.command} fetch"
        )

    def _damaged(self, sha256: str) -> VerificationError:
        return VerificationError(
            f"sha256:{sha256} in the store {self.root} is damaged", hint=f"orchestrate {self.command} verify --repair"
        )


def variable(command: str = "headers") -> str:
    """Return the variable that names another place for a store."""
    return f"ORCHESTRATE_{command.upper()}_STORE"


def default_root(command: str = "headers") -> Path:
    """Return what the variable says, else `orchestrate/<command>` below the user's cache directory."""
    told = os.environ.get(variable(command))
    if told:
        return Path(told)
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "orchestrate" / command


def _mtime(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return float("inf")
