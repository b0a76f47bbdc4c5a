"""A bundle as one file that crosses an air gap.

A `.tar.zst` of regular files only, first `flashinfer.lock.json`, then `SHA256SUMS`, then the artifacts by their path.
Two exports of one lock are byte-identical. An archive is untrusted: an import reads the stream once, takes a
member only if the lock names it with that size, hashes it, and stores nothing before the last byte is verified.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path
from typing import IO, TYPE_CHECKING

from orchestrator.errors import EnvironmentLacksError, UsageError, VerificationError
from orchestrator.files import FULL, scratch, writing
from orchestrator.flashinfer import LOCK_NAME
from orchestrator.headers import lock as locks
from orchestrator.headers.bundle import write_lock
from orchestrator.headers.manifests import contradictions

if TYPE_CHECKING:
    from orchestrator.headers.lock import Lock
    from orchestrator.headers.store import Store

_LEVEL = 10  # 1.2 MB for 0.6.13 in 0.2 s; 19 saves 0.3 MB and takes 30 times as long
_LOCK_LIMIT = 64 * 1024 * 1024  # a lock of 43,000 files has 8 MB
_HEADERS_PER_MEMBER = 8 * 1024  # a member's own header, a long name's two blocks, padding
_CHUNK = 1024 * 1024
_WINDOW_LOG = 27  # refuse a frame that asks for more than 128 MiB of memory


def export(lock: Lock, store: Store, target: Path, *, level: int = _LEVEL) -> int:
    """Write a bundle's archive.

    Args:
        lock: What to carry.
        store: Holds every file of it.
        target: The `.tar.zst`; replaced if it is there.
        level: zstd compression level, 1 to 19.

    Returns:
        The archive's size in bytes.

    Raises:
        VerificationError: A file is missing from the store or damaged there.
        EnvironmentLacksError: The file cannot be written.
    """
    import zstandard

    compressor = zstandard.ZstdCompressor(level=level, write_checksum=True, threads=0)
    try:
        with (
            writing(target) as raw,
            compressor.stream_writer(raw, closefd=False) as packed,
            tarfile.open(fileobj=packed, mode="w|", format=tarfile.GNU_FORMAT) as tar,
        ):
            _member(tar, LOCK_NAME, locks.dumps(lock).encode())
            _member(tar, locks.SUMS_NAME, locks.sums(lock).encode())
            for file in lock.files:
                _stored(tar, store, file)
        return target.stat().st_size
    except OSError as error:
        raise EnvironmentLacksError(f"cannot write {target}: {error.strerror or error}") from error


def _info(name: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)  # owner 0, group 0, time 0, mode 0644: nothing of this machine
    info.size = size
    return info


def _member(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    tar.addfile(_info(name, len(data)), io.BytesIO(data))


def _stored(tar: tarfile.TarFile, store: Store, file: locks.LockedFile) -> None:
    found = next(store.verify([file.sha256]), None)
    if found is not None or not store.has(file.sha256, file.size):
        reason = found[1] if found else "of another size"
        raise VerificationError(
            f"{file.path} is {reason} in the store {store.root}", hint="orchestrate headers fetch, or verify --repair"
        )
    with store.path(file.sha256).open("rb") as stream:
        tar.addfile(_info(file.path, file.size), stream)


def load(archive: Path, store: Store, lock_path: Path | None = None, *, expected: str = "") -> Lock:
    """Import a bundle: verify all of an archive, then put its files into the store and write its lock.

    Args:
        archive: A `.tar.zst` of `export`.
        store: Gets the files once all of them are verified.
        lock_path: Where the lock is written to, None for nowhere.
        expected: Bundle digest (`sha256:…`) that the archive must have, "" for any.

    Returns:
        The bundle's lock.

    Raises:
        UsageError: There is no such file.
        VerificationError: Anything in it is not exactly what its lock says.
    """
    import zstandard

    try:
        with scratch(store.root / "import") as folder, archive.open("rb") as raw:
            packed = zstandard.ZstdDecompressor(max_window_size=1 << _WINDOW_LOG).stream_reader(raw)
            lock = _unpack(_Limited(packed, _LOCK_LIMIT), folder, str(archive))
            if expected and locks.bundle_digest(lock) != expected:
                raise VerificationError(f"{archive}: bundle {locks.bundle_digest(lock)}, the lock file says {expected}")
            unpacked = {file.path: folder / file.sha256 for file in lock.files}
            if problems := contradictions(lock, lambda path, _: unpacked[path].read_bytes()):
                raise VerificationError(f"{archive}: its lock is not what its manifests say", problems=problems)
            for file in lock.files:
                source = folder / file.sha256
                with store.lock(file.sha256):
                    # a damaged one is replaced too: a machine without a network has no other way to repair it
                    if source.exists() and next(store.verify([file.sha256]), None) is not None:
                        store.adopt(source, file.sha256)
        if lock_path is not None:
            write_lock(lock, lock_path)
    except FileNotFoundError as error:
        raise UsageError(f"{archive}: no such file") from error
    except (zstandard.ZstdError, tarfile.TarError, EOFError, ValueError) as error:
        raise VerificationError(f"{archive}: not a bundle of orchestrate headers export ({error})") from error
    except OSError as error:
        ours = error.errno in FULL or (error.filename and Path(error.filename).is_relative_to(store.root))
        where = f"cannot write the header store {store.root}: " if ours else ""
        raise EnvironmentLacksError(f"cannot import {archive}: {where}{error.strerror or error}") from error
    return lock


def _unpack(stream: _Limited, folder: Path, where: str) -> Lock:
    with tarfile.open(fileobj=stream, mode="r|") as tar:
        text = _text(tar, LOCK_NAME, where, _LOCK_LIMIT)
        lock = locks.loads(text, where=f"{where}: {LOCK_NAME}")
        stream.left += lock.bytes + (len(lock.files) + 8) * _HEADERS_PER_MEMBER
        if _text(tar, locks.SUMS_NAME, where, _LOCK_LIMIT) != locks.sums(lock):
            raise VerificationError(f"{where}: {locks.SUMS_NAME} is not the one of the lock")
        waiting = {file.path: file for file in lock.files}
        while (info := tar.next()) is not None:  # iterating would begin again with the lock
            _refuse(info, where)
            file = waiting.pop(info.name, None)
            if file is None:
                told = "appears twice" if any(f.path == info.name for f in lock.files) else "is not in the lock"
                raise VerificationError(f"{where}: {info.name!r} {told}")
            if info.size != file.size:
                raise VerificationError(f"{where}: {info.name} has {info.size} bytes, the lock says {file.size}")
            member = tar.extractfile(info)
            if member is None or _take(member, folder / file.sha256) != file.sha256:
                raise VerificationError(f"{where}: {info.name} has another sha256 than the lock says")
        if waiting:
            raise VerificationError(f"{where}: {len(waiting)} files are missing, the first is {min(waiting)}")
    while rest := stream.read(_CHUNK):  # tar pads with zeros to a full record; anything else was put there
        if rest.strip(b"\0"):
            raise VerificationError(f"{where}: data follows the last member")
    return lock


def _text(tar: tarfile.TarFile, name: str, where: str, limit: int) -> str:
    info = tar.next()
    if info is None or info.name != name:
        found = "nothing" if info is None else repr(info.name)
        raise VerificationError(f"{where}: expected {name}, found {found}")
    _refuse(info, where)
    if info.size > limit:
        raise VerificationError(f"{where}: {name} has {info.size} bytes, at most {limit} are read")
    member = tar.extractfile(info)
    return "" if member is None else member.read().decode("utf-8")


def _refuse(info: tarfile.TarInfo, where: str) -> None:
    """Anything but a plain file under a plain name, with plain permissions."""
    try:
        locks.clean_path(info.name)
    except ValueError as error:
        raise VerificationError(f"{where}: unsafe member name {info.name!r}: {error}") from error
    if not info.isreg() or info.issparse():
        kinds = {"1": "a hard link", "2": "a symbolic link", "3": "a device", "4": "a device", "5": "a directory"}
        kind = kinds.get(info.type.decode("ascii", "replace"), "not a regular file")
        raise VerificationError(f"{where}: {info.name} is {kind}; a bundle holds regular files only")
    if info.mode & ~0o777:
        raise VerificationError(f"{where}: {info.name} has mode {info.mode:o}")


def _take(member: IO[bytes], target: Path) -> str:
    digest = hashlib.sha256()
    with target.open("wb") as sink:
        while chunk := member.read(_CHUNK):
            digest.update(chunk)
            sink.write(chunk)
    return digest.hexdigest()


class _Limited(io.RawIOBase):
    """A stream that ends with an error instead of unpacking without an end."""

    def __init__(self, source: IO[bytes], left: int) -> None:
        super().__init__()
        self.source = source
        self.left = left

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        wanted = self.left + 1 if size < 0 else min(size, self.left + 1)
        data = self.source.read(wanted)
        self.left -= len(data)
        if self.left < 0:
            raise VerificationError("the archive unpacks to more than its lock says")
        return data
