"""An archive that comes as a stream (`docker save`, a compressed archive), laid down as files next to each other.

The manifests of such an archive may come after the layers, so nothing can be scanned before the end. Layers whose scan
is kept are hopped over. Disk needed: the packed size of the layers that are new.
"""

from __future__ import annotations

import errno
import re
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.errors import EnvironmentLacksError
from orchestrator.image.code.forward import CutOffError, Forward
from orchestrator.image.layers.checked import Checked, WrongDigestError
from orchestrator.image.layers.tar import Type, members
from orchestrator.image.sources.base import BrokenImageError
from orchestrator.image.sources.oci import Range

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_BLOB = re.compile(r"blobs/(sha256)/([0-9a-f]{64})")
_STEP = 1 << 20


def spool(
    chunks: Iterator[bytes], directory: Path, known: Callable[[str], bool], name: str, *, trusted: bool = False
) -> tuple[dict[str, Range], int]:
    """Write the files of a streamed archive to a directory.

    Args:
        chunks: The archive.
        directory: Empty; the files get numbers for names, whatever the archive calls them.
        known: Whether a layer need not be written, by its digest.
        name: Of the image, for messages.
        trusted: Whether layers that need not be written are what their digest says: an engine's are, a file's are
            hashed as they pass.

    Returns:
        Name -> place, as `oci.archive_files` gives it, and the bytes written.

    Raises:
        BrokenImageError: The archive ends early.
        DamagedArchiveError: It is not a tar archive.
        EnvironmentLacksError: The disk is full.
        WrongDigestError: A layer that need not be written is not what its digest says.
    """
    reader = Forward(chunks)
    found: dict[str, Range] = {}
    written = 0
    try:
        for member in members(reader):
            if member.type in (Type.HARD_LINK, Type.SYMLINK):
                target = member.target.rpartition("../")[2] if member.type is Type.SYMLINK else member.target
                if target in found:
                    found[member.path] = found[target]
                continue
            if member.type is not Type.FILE:
                continue
            blob = _BLOB.fullmatch(member.path)
            if blob and known(f"{blob[1]}:{blob[2]}"):
                if not trusted:
                    _check(reader, member.size, f"{blob[1]}:{blob[2]}", name)
                found[member.path] = Range(path=Path("/dev/null"), offset=0, size=member.size, temporary=True)
                continue
            place = directory / str(len(found))
            _write(reader, member.size, place)
            written += member.size
            found[member.path] = Range(path=place, offset=0, size=member.size, temporary=True)
    except CutOffError as error:
        raise BrokenImageError(f"{name}: the archive is cut off") from error
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise EnvironmentLacksError(
            f"{name}: no space left in {directory} for its layers",
            hint="set XDG_CACHE_HOME to a larger disk, or verify the image where it is pushed: docker://NAME",
        ) from error
    return found, written


def _check(reader: Forward, size: int, digest: str, name: str) -> None:
    checked = Checked(digest)
    while size:
        piece = reader.exactly(min(size, _STEP))
        checked.update(piece)
        size -= len(piece)
    try:
        checked.require()
    except WrongDigestError as error:
        raise WrongDigestError(f"{name}: layer {digest[:19]}: {error.message}") from error


def _write(reader: Forward, size: int, place: Path) -> None:
    with place.open("wb") as stream:
        while size:
            piece = reader.exactly(min(size, _STEP))
            stream.write(piece)
            size -= len(piece)
