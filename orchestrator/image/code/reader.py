"""Device code of a file that can be read at any place: what `stream` says of the same file as it passes."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from orchestrator.image.code import cubin
from orchestrator.image.code.elf import DamagedFileError, Section, Window, read_header, read_sections
from orchestrator.image.code.fatbin import EXECUTABLE, KEY, Kind, read_container, read_containers, read_section
from orchestrator.image.code.library import (
    AR_MAGIC,
    NO_TABLE,
    FileCode,
    Folder,
    Opened,
    archive_member,
    bare_code,
    carried,
    open_image,
    section_at,
)
from orchestrator.image.code.needle import Needle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from orchestrator.image.code.elf import Source
    from orchestrator.image.code.fatbin import Container, DeviceImage

_KEY = Needle(KEY)


def read_code(source: Source, *, deep: bool = False) -> FileCode | None:
    """The device code of a file that can be read at any place; None when it holds none.

    ELF files, `ar` archives of them, `.fatbin` files and cubins; anything else holds none.

    Args:
        source: The file.
        deep: Open every cubin for the names of its kernels.

    Raises:
        DamagedFileError: The file contradicts itself.
    """
    if source.read_at(0, len(AR_MAGIC)) == AR_MAGIC:
        folder = Folder(deep=deep)
        for part in _archive_members(source):
            if read_header(part.read_at(0, 64)) is not None:
                _fold(part, read_containers(part, read_sections(part)), folder)
        return folder.result(source.size)
    folder = Folder(deep=deep)
    if source.read_at(0, len(KEY)) == KEY:
        whole = Section(name=EXECUTABLE, type=1, offset=0, size=source.size)
        _fold(source, read_section(source, whole), folder)
        return folder.result(source.size)
    bare = cubin.bare_architecture(source)
    if bare is not None:
        return bare_code(f"{bare[0]}{bare[1]}", source)
    try:
        sections = read_sections(source)
    except DamagedFileError:
        if not _has_key(source):  # test data of debuggers and linkers: damaged, but nothing to do with GPUs
            return None
        raise
    if not sections and read_header(source.read_at(0, 64)) is not None and _has_key(source):
        raise DamagedFileError(NO_TABLE)
    _fold(source, read_containers(source, sections), folder)
    return folder.result(source.size) or _as_data(source, sections)


def _as_data(source: Source, sections: tuple[Section, ...]) -> FileCode | None:
    counts: Counter[str] = Counter()
    at = 0
    while sections and (at := _next_key(source, at)) >= 0:
        try:
            end = read_container(source, at, source.size - at).end
        except DamagedFileError:
            at += 1
            continue
        counts[section_at(sections, at)] += 1
        at = end
    return carried(counts, source.size)


def _next_key(source: Source, start: int) -> int:
    step = 1 << 20
    for at in range(start, source.size, step):
        data = source.read_at(at, step + len(KEY) - 1)
        found = _KEY.find(data, 0, len(data))
        if found >= 0:
            return at + found
    return -1


def _has_key(source: Source) -> bool:
    return _next_key(source, 0) >= 0


def _fold(source: Source, containers: Iterable[Container], folder: Folder) -> None:
    for container in containers:
        opened = {}
        for image in container.images if container.section == EXECUTABLE else ():
            if folder.wants(image):
                opened[image.payload] = _open_at(source, image, folder)
        folder.add(container, opened)


def _open_at(source: Source, image: DeviceImage, folder: Folder) -> Opened:
    """As `open_image`; of a cubin that is not compressed only the tables are read."""
    if image.kind is not Kind.SASS or image.compression or folder.deep:
        return open_image(image, source.read_at(image.payload, image.stored), folder)
    try:
        return Opened(cubin.holds_kernel(_Part(source, image.payload, image.stored)))
    except DamagedFileError as error:
        return Opened(kernel=False, damage=error.message)


class _Part:
    """A part of another source."""

    __slots__ = ("_start", "_whole", "size")

    def __init__(self, whole: Source, start: int, size: int) -> None:
        self._whole = whole
        self._start = start
        self.size = size

    def read_at(self, offset: int, count: int) -> bytes:
        return self._whole.read_at(self._start + offset, max(0, min(count, self.size - offset)))


def _archive_members(source: Source) -> Iterator[Source]:
    at = len(AR_MAGIC)
    while at < source.size:
        size = archive_member(source.read_at(at, 60))
        at += 60
        if at + size > source.size:
            raise DamagedFileError("ar archive is cut off")
        yield _Part(source, at, size)
        at += size + size % 2


def read_file(buffer: Any, *, deep: bool = False) -> FileCode | None:
    """As `read_code`, for bytes or a memory map; a contradiction becomes the result's `damage`."""
    source = Window(buffer)
    return guarded(lambda: read_code(source, deep=deep), source.size)


def guarded(read: Callable[[], FileCode | None], size: int) -> FileCode | None:
    """What `read` returns, or, when the file contradicts itself, a value that says why."""
    try:
        return read()
    except DamagedFileError as error:
        return FileCode(size=size, damage=error.message)
