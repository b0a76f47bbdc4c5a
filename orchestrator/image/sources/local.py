"""Wheels, directories and single files: the same reading, without layers."""

from __future__ import annotations

import errno
import hashlib
import lzma
import os
import zipfile
import zlib
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from orchestrator.errors import EnvironmentLacksError, VerificationError
from orchestrator.image.code import library as code
from orchestrator.image.code.elf import MAGIC as ELF
from orchestrator.image.code.elf import FileSource
from orchestrator.image.code.fatbin import KEY
from orchestrator.image.code.forward import CutOffError, Forward
from orchestrator.image.code.reader import read_code
from orchestrator.image.layers import inside, scan
from orchestrator.image.layers.installed import distribution
from orchestrator.image.layers.merge import HASHED, Held, LayerScan
from orchestrator.image.layers.tar import BLOCK, Member, Type, normalise
from orchestrator.image.layers.unpack import ALWAYS_ALLOWED, CHUNK, MAX_GROWTH, ahead
from orchestrator.image.sources.base import Contents

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import IO

    from orchestrator.image.layers.budget import Budget


def open_directory(path: Path, *, deep: bool = False) -> Contents:
    """The files below a directory, links as they stand.

    Args:
        path: The directory: an unpacked image, or any tree.
        deep: Open every cubin for the names of its kernels.
    """
    result = LayerScan()
    for folder, _, names in os.walk(path, followlinks=False):
        for name in names:
            _add(result, Path(folder) / name, path, deep=deep)
        for entry in Path(folder).iterdir():
            if entry.is_symlink():
                result.links[entry.relative_to(path).as_posix()] = str(entry.readlink())
    return Contents(name=str(path), files=result)


def open_file(path: Path, *, deep: bool = False) -> Contents:
    """A shared object, object file, archive, fatbin or cubin; what lies in an archive is what was asked about.

    Args:
        path: The file.
        deep: Open every cubin for the names of its kernels.
    """
    result = LayerScan()
    found = _read(path, path.name, result.budget, deep=deep)
    if found is not None and found.inside:
        result.code.update(found.inside)
        found = replace(found, inside={}) if found.unread else None
    if found is None:
        result.plain.add(path.name)
    elif found.bare and not found.empty:  # among other files a cubin is counted; alone it is what was asked about
        tag = {found.bare: 1}
        result.code[path.name] = replace(
            found, profiles={(found.bare,): 1}, images=tag, stored={found.bare: found.size}
        )
    else:
        result.code[path.name] = found
    return Contents(name=str(path), files=result)


def _read(file: Path, name: str, budget: Budget, *, deep: bool) -> code.FileCode | None:
    size = file.stat().st_size
    with file.open("rb") as stream:
        head = stream.read(BLOCK)
        if not head.startswith((ELF, KEY)) and (not head.startswith(code.AR_MAGIC) or inside.is_archive(name, head)):
            reader = Forward(chain((head,), _chunks(stream)))
            return inside.code_of(name, reader, size, deep=deep, budget=budget) if head else None
        source = FileSource(stream.fileno())
        if hasattr(os, "posix_fadvise"):  # headers lie far apart: read-ahead would pull in the payloads between
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        return code.guarded(lambda: read_code(source, deep=deep), source.size)


def _add(result: LayerScan, file: Path, root: Path, *, deep: bool) -> None:
    name = file.relative_to(root).as_posix()
    if file.is_symlink() or not file.is_file():
        return
    try:
        if scan.takes_record(result, name, file.stat().st_size):
            result.records[name] = distribution(name, file.read_bytes())
        release = scan.release_of(name, file)
        found = _read(file, name, result.budget, deep=deep)
        if deep and (size := file.stat().st_size) >= HASHED:
            with file.open("rb") as stream:
                result.held[name] = Held(hashlib.file_digest(stream, "sha256").hexdigest(), size)
    except PermissionError as error:
        raise EnvironmentLacksError(f"{file}: {error.strerror}") from error
    scan.note(result, name, found, release)


def is_zip(path: Path) -> bool:
    """Whether a file is a zip archive, whatever it begins with."""
    return zipfile.is_zipfile(path)


_DAMAGED = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, CutOffError, NotImplementedError, RuntimeError, EOFError,
    ValueError, IndexError, OverflowError,
)  # fmt: skip
"""What zipfile raises for zip files that no writer makes: an empty name, other compressed bytes, sizes beyond all."""


def open_wheel(path: Path, *, deep: bool = False) -> Contents:
    """A wheel, or any zip file.

    Args:
        path: The file.
        deep: Open every cubin for the names of its kernels.

    Raises:
        VerificationError: It is damaged, or claims to unpack to more than its size could hold.
    """
    result = LayerScan()
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
            _bound(infos, path)
            for info in infos:
                if not info.is_dir():
                    _add_member(result, archive, info, deep=deep)
    except _DAMAGED as error:
        raise VerificationError(f"{path}: the zip file is damaged: {error}") from error
    except OSError as error:
        if error.errno not in (None, errno.EINVAL):  # bz2 names none; a directory may lead before the file's start
            raise
        raise VerificationError(f"{path}: the zip file is damaged: {error}") from error
    return Contents(name=str(path), files=result)


def _bound(infos: list[zipfile.ZipInfo], path: Path) -> None:
    """Refuse a bomb by what its directory claims: it is bounded as a layer is."""
    size = path.stat().st_size
    claimed = sum(info.file_size for info in infos)
    if claimed > max(ALWAYS_ALLOWED, MAX_GROWTH * size):
        raise VerificationError(f"{path}: the zip file of {size} bytes claims to hold {claimed}")


def _add_member(result: LayerScan, archive: zipfile.ZipFile, info: zipfile.ZipInfo, *, deep: bool) -> None:
    name = normalise(info.filename)
    missed: Sequence[tuple[int, int]] = ()
    for _ in range(2):  # the second time only for section names that lie far from their table
        with archive.open(info) as stream:
            chunks = ahead(_chunks(stream)) if info.file_size > 4 * CHUNK else _chunks(stream)
            reader = Forward(chunks, missed)
            member = Member(name, Type.FILE, info.file_size, "")
            scan.add_member(result, member, reader, deep=deep)
            for _ in chunks:  # to the end, where the checksum is compared
                pass
            missed = reader.missed
        if not missed:
            return


def _chunks(stream: IO[bytes]) -> Iterator[bytes]:
    while chunk := stream.read(CHUNK):
        yield chunk
