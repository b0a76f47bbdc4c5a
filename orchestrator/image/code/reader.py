"""Device code of a file that can be read at any place: what `stream` says of the same file as it passes."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from orchestrator.image.code import cubin, programs
from orchestrator.image.code.elf import (
    HEADER_BYTES,
    MACHINE_CUDA,
    MAGIC,
    DamagedFileError,
    FileSource,
    Section,
    Window,
    names_are_near,
    read_header,
    sections_of,
)
from orchestrator.image.code.fatbin import (
    EXECUTABLE,
    KEY,
    BrokenContainerError,
    Kind,
    device_sections,
    read_container,
    read_containers,
    read_section,
)
from orchestrator.image.code.library import (
    AR_MAGIC,
    NO_TABLE,
    FileCode,
    Folder,
    archive_member,
    bare_code,
    guarded,
    require_bare_size,
)
from orchestrator.image.code.needle import Needle
from orchestrator.image.code.opened import Opened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from orchestrator.image.code.elf import Header, Source
    from orchestrator.image.code.fatbin import Container, DeviceImage

_KEY = Needle(KEY)
_FIRST_STEP = 1 << 16  # bytes looked at after a container, because the next one may follow it
_STEP = 1 << 20
_ASIDE = 16 << 20  # bytes outside of the sections for device code from which on a thread searches them


def read_code(source: Source, *, deep: bool = False) -> FileCode | None:
    """The device code of a file that can be read at any place; None when it holds none.

    ELF files, `ar` archives of them, `.fatbin` files and cubins; anything else holds none.

    Args:
        source: The file.
        deep: Open every cubin for the names of its kernels.

    Raises:
        DamagedFileError: The file contradicts itself.
    """
    folder = Folder(deep=deep)
    alone = None
    head = source.read_at(0, len(AR_MAGIC))
    if head == AR_MAGIC:
        for part in _archive_members(source):
            _elf(part, folder)
    elif head == KEY:
        whole = Section(name=EXECUTABLE, type=1, offset=0, size=source.size)
        _fold(source, read_section(source, whole), folder)
    else:
        alone = _elf(source, folder)
    return folder.result(source.size) or alone


def _elf(source: Source, folder: Folder) -> FileCode | None:
    """Fold an ELF file; a value where it is a cubin that stands alone."""
    head = source.read_at(0, programs.BEGINNING)
    header = read_header(head[:HEADER_BYTES])
    if header is None:
        if head.startswith(MAGIC) and _has_key(source):
            folder.carries(programs.OTHER_ELF)
        return None
    if header.machine == MACHINE_CUDA:
        require_bare_size(source.size)
        return bare_code(source)
    folder.carries(_carried(source, head, header))
    try:
        sections = sections_of(header, source)
    except DamagedFileError:
        if not _has_key(source):  # test data of debuggers and linkers: damaged, but nothing to do with GPUs
            return None
        raise
    if not sections and _has_key(source):
        raise DamagedFileError(NO_TABLE)
    device = device_sections(sections)
    with _searched(source, device) as outside:
        try:
            _fold(source, read_containers(source, sections), folder)
        except DamagedFileError:
            if not names_are_near(header, source) and not _has_key(source):  # a stream does not see such a name
                return None
            raise
        folder.carry(sections, outside())
    return None


def _carried(source: Source, head: bytes, header: Header) -> str:
    """What a program carries, as `programs.carried` says it."""
    table = header.table if header.table <= source.size else 0
    before, ending = max(table - programs.BEFORE_TABLE, 0), max(source.size - programs.AT_END, 0)
    ends = source.read_at(before, table - before), source.read_at(ending, programs.AT_END)
    rows = source.read_at(table, programs.table_bytes(header)) if table else b""
    words = programs.Words()
    for at in range(0, source.size if programs.is_program(head) else 0, _STEP):
        words.take(source.read_at(at, _STEP))
    return programs.carried(head, source.size, ends, words.found, rows)


@contextmanager
def _searched(source: Source, device: list[Section]) -> Iterator[Callable[[], list[int]]]:
    """A function that returns what `_outside` finds; in a large file a thread searches while the caller reads on.

    Of libcublasLt.so.13 these are 410 MB, a third of the whole work, nearly all of it in C.
    """
    if not device or not isinstance(source, FileSource) or source.size - sum(one.size for one in device) < _ASIDE:
        yield lambda: list(_outside(source, device))
        return
    found: list[int] = []
    failed: list[BaseException] = []

    def search(own: Source) -> None:
        try:
            found.extend(_outside(own, device))
        except BaseException as error:  # noqa: BLE001 - handed to the caller, who raises it
            failed.append(error)

    def answer() -> list[int]:
        thread.join()
        if failed:
            raise failed[0]
        return found

    thread = threading.Thread(target=search, args=(source.twin(),), name="search", daemon=True)
    thread.start()
    try:
        yield answer
    finally:
        thread.join()


def _outside(source: Source, device: list[Section]) -> Iterator[int]:
    """Where containers stand outside of the sections for device code.

    Raises:
        DamagedFileError: One of them reaches into such a section.
    """
    at = 0
    for start, end in [*sorted((one.offset, one.end) for one in device if one.size), (source.size, source.size)]:
        while (found := _next_key(source, at, start)) >= 0:
            try:
                at = read_container(source, found, source.size - found).end
            except BrokenContainerError as error:
                at = max(error.reached, found + 1)
            else:
                yield found
            if at > start:
                raise DamagedFileError(f"fatbin container at {found} reaches into a section for device code")
        at = max(at, end)


def _next_key(source: Source, start: int, end: int) -> int:
    """The first offset of a key that begins and ends between two offsets, -1 if there is none."""
    step = _FIRST_STEP
    while start < end:
        data = source.read_at(start, min(step + len(KEY) - 1, end - start))
        found = _KEY.find(data, 0, len(data))
        if found >= 0:
            return start + found
        start += step
        step = min(2 * step, _STEP)
    return -1


def _has_key(source: Source) -> bool:
    return _next_key(source, 0, source.size) >= 0


def _fold(source: Source, containers: Iterable[Container], folder: Folder) -> None:
    for container in containers:
        opened = {}
        for image in container.images if container.section == EXECUTABLE else ():
            if folder.wants(image):
                opened[image.payload] = _open_at(source, image, folder)
        folder.add(container, opened)


def _open_at(source: Source, image: DeviceImage, folder: Folder) -> Opened:
    """As `Opener.open`; of a cubin that is not compressed only the tables are read."""
    if image.kind is not Kind.SASS or image.compression or folder.deep:
        return folder.opener.open(image, _reading(source, image.payload))
    part = _Part(source, image.payload, image.stored)
    try:
        cubin.require_architecture(part.read_at(0, HEADER_BYTES), image)
        return Opened(cubin.holds_kernel(part))
    except DamagedFileError as error:
        return Opened(kernel=False, damage=error.message)


def _reading(source: Source, at: int) -> Callable[[int], bytes]:
    """Reads a source on from an offset."""

    def read(count: int) -> bytes:
        nonlocal at
        data = source.read_at(at, count)
        at += len(data)
        return data

    return read


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
