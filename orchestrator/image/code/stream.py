"""Device code of a file that is met in a stream: the same answer as `reader.read_code`, without going back.

The section table of an ELF file stands at its end, its device code in the middle. So a stream is searched for the eight
bytes that begin every container, each container is read and hopped over, and the table says at the end which of them
lay where it counts. Does not depend on where a stream comes from.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from msgspec import Struct

from orchestrator.image.code import library as code
from orchestrator.image.code import programs
from orchestrator.image.code.elf import (
    HEADER_BYTES,
    MACHINE_CUDA,
    DamagedFileError,
    FarNamesError,
    Window,
    read_header,
    sections_of,
    table_range,
)
from orchestrator.image.code.elf import MAGIC as ELF
from orchestrator.image.code.fatbin import (
    CONTAINER_BYTES,
    ENTRY_BYTES,
    EXECUTABLE,
    KEY,
    MAX_GAP,
    MAX_IMAGES,
    RELOCATABLE,
    Container,
    container_size,
    device_sections,
    read_entry,
    require_images,
)
from orchestrator.image.code.forward import Tap
from orchestrator.image.code.needle import Needle
from orchestrator.image.code.opened import Opened

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.image.code.elf import Section
    from orchestrator.image.code.fatbin import DeviceImage
    from orchestrator.image.code.forward import Forward
    from orchestrator.image.code.library import FileCode, Folder

MAX_LATER = 128 << 20  # packed bytes of one file that are kept until its sections are known; NCCL's take 114 MB
MAX_MISSED_BYTES = 64 << 20  # of names that a second reading of one stream keeps
_KEY = Needle(KEY)


class _Met(Struct, frozen=True):
    """One container as it passed, not yet assigned to a section."""

    container: Container
    zeros: int
    opened: dict[int, Opened]


class _Later:
    """Large images whose first piece shows no kernel, kept packed until it is known whether their section counts.

    What NCCL's device libraries hold for a device link counts nowhere, and unpacks to 0.7 GB: a quarter of the
    processor time that reading the layer took.

    Args:
        room: Bytes that are kept at most; what goes beyond is opened at once.
    """

    __slots__ = ("_kept", "_room")

    def __init__(self, room: int) -> None:
        self._room = room
        self._kept: dict[int, bytes] = {}

    def open(self, stream: Forward, image: DeviceImage, folder: Folder) -> Opened | None:
        """What the image that the stream stands at holds, None if it is kept; the stream stands behind it then."""
        end = stream.offset + image.stored
        if not self._room or not folder.opener.is_large(image):
            found = folder.opener.open(image, stream.read)
            stream.skip(end - stream.offset)
            return found
        seen: list[bytes] = []

        def read(count: int) -> bytes:
            seen.append(stream.read(count))
            return seen[-1]

        if folder.opener.shows_kernel(image, read):
            stream.skip(end - stream.offset)
            return Opened(kernel=True)
        stored = b"".join((*seen, stream.exactly(end - stream.offset)))
        if image.stored > self._room:
            return folder.opener.open(image, io.BytesIO(stored).read)
        self._room -= image.stored
        self._kept[image.payload] = stored
        return None

    def opened(self, container: Container, folder: Folder) -> dict[int, Opened]:
        """Payload offset -> what the kept images of a container hold."""
        return {
            image.payload: folder.opener.open(image, io.BytesIO(self._kept.pop(image.payload)).read)
            for image in container.images
            if image.payload in self._kept
        }


class _Watch(programs.Words):
    """Looks for words in a range of a stream."""

    __slots__ = ("end", "start")

    def __init__(self, start: int, end: int) -> None:
        super().__init__()
        self.start = start
        self.end = end


class _Kept:
    """The ranges of a file that were kept, as a source that knows nothing else of it."""

    __slots__ = ("_start", "_taps", "size")

    def __init__(self, taps: Sequence[Tap], start: int, size: int) -> None:
        self._taps = taps
        self._start = start
        self.size = size

    def read_at(self, offset: int, count: int) -> bytes:
        for tap in self._taps:
            first = self._start + offset - tap.start
            if first >= 0 and first + count <= len(tap.data):
                return bytes(tap.data[first : first + count])
        return b""


def scan(stream: Forward, size: int, *, deep: bool = False) -> FileCode | None:
    """The device code of the next `size` bytes of a stream; None when they hold none.

    Consumes at most these bytes. A file that contradicts itself gives a value with `damage`.

    Args:
        stream: Stands at the file's first byte.
        size: Of the file, in bytes.
        deep: Open every cubin for the names of its kernels.

    Raises:
        CutOffError: The stream ends before the file does.
    """
    end = stream.offset + size
    head = stream.peek(min(HEADER_BYTES, size))
    if not head.startswith((ELF, code.AR_MAGIC, KEY)):
        return None
    folder = code.Folder(deep=deep)
    alone = None
    try:
        if head.startswith(ELF):
            alone = _elf(stream, size, folder)
        elif head.startswith(KEY):
            _fatbin(stream, size, folder)
        else:
            _archive(stream, size, folder)
    except DamagedFileError as error:
        stream.tap()
        stream.skip(end - stream.offset)
        return code.FileCode(size=size, damage=error.message)
    return folder.result(size) or alone


def _fatbin(stream: Forward, size: int, folder: Folder) -> None:
    """A file that is nothing but containers."""
    start = stream.offset
    later = _Later(0)  # all of them count
    while stream.offset < start + size:
        met = _container(stream, start, size, folder, later)
        inside = met.container
        folder.add(Container(EXECUTABLE, inside.offset, inside.end, inside.images), met.opened)


def _archive(stream: Forward, size: int, folder: Folder) -> None:
    """The objects of a static library."""
    end = stream.offset + size
    stream.skip(len(code.AR_MAGIC))
    far: FarNamesError | None = None
    while stream.offset < end:
        member = code.archive_member(stream.read(min(60, end - stream.offset)))
        last = stream.offset + member
        if last > end:
            raise DamagedFileError("ar archive is cut off")
        if stream.peek(min(4, member)) == ELF:
            try:
                _elf(stream, member, folder)
            except FarNamesError as error:  # the others may lie as far apart, and one more reading must do for all
                far = error
        stream.skip(min(last + member % 2, end) - stream.offset)
    if far:
        raise far


def _elf(stream: Forward, size: int, folder: Folder) -> FileCode | None:
    """Fold an ELF file; a value where it is a cubin that stands alone."""
    start = stream.offset
    head = stream.peek(min(programs.BEGINNING, size))
    header = read_header(head[:HEADER_BYTES])
    if header is None:
        if stream.find(_KEY, size):
            folder.carries(programs.OTHER_ELF)
        return None
    if header.machine == MACHINE_CUDA:
        code.require_bare_size(size)
        return code.bare_code(Window(stream.exactly(size)))
    asked = [Tap(first, last) for first, last in stream.asked if start <= first and last <= start + size]
    first, last = table_range(header, size)
    near, ending = Tap(start + first, start + last), Tap(start + max(size - programs.AT_END, 0), start + size)
    taps = [near, *asked]
    words = _Watch(start, start + size)
    stream.tap(*taps, ending, *[words] * programs.is_program(head))
    later = _Later(MAX_LATER)
    met, broken = _search(stream, start, size, folder, later)
    stream.tap()
    table = header.table - first if header.table <= size else 0
    ends = bytes(near.data[max(table - programs.BEFORE_TABLE, 0) : table]), bytes(ending.data)
    rows = bytes(near.data[table : table + programs.table_bytes(header)]) if table else b""
    folder.carries(programs.carried(head, size, ends, words.found, rows))
    if not (met or broken or any(name.encode() in tap.data for tap in taps for name in (EXECUTABLE, RELOCATABLE))):
        return None  # most files of an image hold no device code: their tables need not be read
    try:
        sections = sections_of(header, _Kept(taps, start, size))
    except DamagedFileError as error:
        if not (met or broken):  # test data of debuggers and linkers: damaged, but nothing to do with GPUs
            return None
        if isinstance(error, FarNamesError):
            _miss(stream, start + error.start, start + error.end)
        raise
    if not sections and (met or broken):
        raise DamagedFileError(code.NO_TABLE)
    _assign(sections, met, broken, folder, later)
    folder.carry(sections, [one.container.offset for one in met])
    return None


def _miss(stream: Forward, start: int, end: int) -> None:
    """Note a range for a second reading, if what is kept then stays within bounds."""
    if end - start + sum(last - first for first, last in stream.missed) <= MAX_MISSED_BYTES:
        stream.missed.append((start, end))


def _search(stream: Forward, start: int, size: int, folder: Folder, later: _Later) -> tuple[list[_Met], dict[int, str]]:
    """Every container of a file, and offset -> reason of what begins like one and is none."""
    met: list[_Met] = []
    broken: dict[int, str] = {}
    images = 0
    while stream.find(_KEY, start + size - stream.offset):
        at = stream.offset - start
        try:
            met.append(_container(stream, start, size, folder, later))
            images += len(met[-1].container.images) + 1
        except DamagedFileError as error:
            if len(broken) < MAX_IMAGES:
                broken[at] = error.message
            if stream.offset - start == at:
                stream.skip(1)
        if images > MAX_IMAGES:
            raise DamagedFileError(f"over {MAX_IMAGES} images of device code")
    return met, broken


def _container(stream: Forward, start: int, size: int, folder: Folder, later: _Later) -> _Met:
    """Read the container that the stream stands at, and the zero bytes behind it."""
    offset = stream.offset - start
    room = size - offset
    length = container_size(stream.peek(min(CONTAINER_BYTES, room)))
    if length > room - CONTAINER_BYTES:
        raise DamagedFileError(f"fatbin container at {offset} claims {length} bytes, {room - CONTAINER_BYTES} are left")
    stream.skip(CONTAINER_BYTES)
    end = offset + CONTAINER_BYTES + length
    images: list[DeviceImage] = []
    opened: dict[int, Opened] = {}
    while (at := stream.offset - start) < end:
        image = read_entry(stream.peek(min(ENTRY_BYTES, end - at)), at, end - at)
        stream.skip(image.payload - at)
        images.append(image)
        if not folder.wants(image):
            stream.skip(image.stored)
        elif (found := later.open(stream, image, folder)) is not None:
            opened[image.payload] = found
        require_images(len(images), offset)
    ahead = stream.peek(min(MAX_GAP - 1, size - end))  # the section may end before these bytes do: _assign judges
    zeros = len(ahead) - len(ahead.lstrip(b"\0"))
    stream.skip(zeros)
    return _Met(Container("", offset, end, tuple(images)), zeros, opened)


def _assign(
    sections: tuple[Section, ...], met: list[_Met], broken: dict[int, str], folder: Folder, later: _Later
) -> None:
    """Give the containers to the sections that they lay in, and check that nothing else lay there.

    Raises:
        DamagedFileError: A section for device code holds something else.
    """
    places = sorted(met, key=lambda one: one.container.offset)
    for section in device_sections(sections):
        for at, why in broken.items():
            if section.offset <= at < section.end:
                raise DamagedFileError(why)
        expected, slack = section.offset, 0
        for one in places:
            inside = one.container
            if not section.offset <= inside.offset < section.end:
                continue
            if not expected <= inside.offset <= expected + slack or inside.end > section.end:
                raise DamagedFileError(f"no fatbin container where one must be, at {expected} of {section.name}")
            opened = one.opened | later.opened(inside, folder) if section.name == EXECUTABLE else {}
            folder.add(Container(section.name, inside.offset, inside.end, inside.images), opened)
            expected, slack = inside.end, one.zeros
        if expected + slack < section.end:
            raise DamagedFileError(f"no fatbin container where one must be, at {expected} of {section.name}")
