"""Fatbin containers: which device code a file holds, read from headers alone.

The layout is undocumented by NVIDIA except for the wrapper; it was measured on 23,008 entries of 67 libraries and on
every target of nvcc 13.0, and agrees with `cuobjdump` entry for entry (tests/differential). One container is one
translation unit, or one device link. Which device an image serves is not
decided here.

Strict on purpose: an unknown kind, a gap that is not zero, a size that does not add up raise `DamagedFileError`. Of
such a file nothing is claimed, instead of claiming that it holds nothing.
"""

from __future__ import annotations

import struct
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from orchestrator.image.code.elf import NOBITS, DamagedFileError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from orchestrator.image.code.elf import Section, Source

MAGIC = b"\x50\xed\x55\xba"
KEY = MAGIC + b"\x01\x00\x10\x00"  # with version 1 and header size 16: what a stream is searched for
EXECUTABLE = ".nv_fatbin"
RELOCATABLE = "__nv_relfatbin"
CONTAINER_BYTES = 16
ENTRY_BYTES = 64
MAX_ENTRY_HEADER = 65_536  # 120 is the largest seen; ptxas options could make it longer
MAX_GAP = 4096  # zero bytes between containers; alignment needs at most a few hundred
MAX_IMAGES = 200_000  # of one file; libcublasLt has 5,666

_CONTAINER = struct.Struct("<4sHHQ")
_ENTRY = struct.Struct("<HHIQIIHHIIIQQQ")

_ARCH_SPECIFIC = 0x100000
_FAMILY = 0x200000
_LZ4 = 0x2000
_ZSTD = 0x8000


class Kind(Enum):
    """What an image is made of."""

    SASS = "sass"
    PTX = "ptx"
    LTO = "lto"
    OTHER = "other"  # tile IR and a second kind of ELF: known by name only, they serve no device


_KINDS = {1: Kind.PTX, 2: Kind.SASS, 8: Kind.LTO, 16: Kind.OTHER, 64: Kind.OTHER}


class DeviceImage(NamedTuple):
    """One image of a container: the code of one translation unit for one architecture.

    A tuple, because a library has thousands and a frozen dataclass takes five times as long to make.

    Attributes:
        kind: SASS (a cubin), PTX, LTO IR, or something that serves no device.
        sm: The SM as a number: 90, 103, 110.
        suffix: "", "a" (that compute capability alone) or "f" (its family).
        compression: "", "lz4" or "zstd".
        stored: Bytes that it takes in the file, without its header.
        size: Bytes when unpacked.
        isa: PTX ISA as (major, minor); for SASS a format version that means nothing to users.
        payload: Offset of the stored bytes in the file.
        padding: How many of the stored bytes are padding behind what is packed.
    """

    kind: Kind
    sm: int
    suffix: str
    compression: str
    stored: int
    size: int
    isa: tuple[int, int]
    payload: int
    padding: int = 0

    @property
    def tag(self) -> str:
        """`90a`, `p120`, `lto90`, `other100`: kind and architecture in one short word."""
        if self.kind is Kind.SASS:  # nearly all; a dictionary of the members takes ten times as long
            return f"{self.sm}{self.suffix}"
        return f"{'p' if self.kind is Kind.PTX else self.kind.value}{self.sm}{self.suffix}"


class Container(NamedTuple):
    """One fatbin container: the images of one translation unit, or of one device link.

    Attributes:
        section: Name of the ELF section that it lies in, "" where it lies elsewhere.
        offset: Of its header in the file, in bytes.
        end: First byte behind its last image.
        images: In the order of the file.
    """

    section: str
    offset: int
    end: int
    images: tuple[DeviceImage, ...]


class BrokenContainerError(DamagedFileError):
    """What begins like a container is none.

    Attributes:
        reached: Offset in the file up to which it was one.
    """

    def __init__(self, message: str, reached: int) -> None:
        super().__init__(message)
        self.reached = reached


def container_size(header: bytes) -> int:
    """Bytes of all entries behind a container's header.

    Args:
        header: The 16 bytes of the header.

    Raises:
        DamagedFileError: It is not the header of a container.
    """
    if len(header) < CONTAINER_BYTES or header[:8] != KEY:
        raise DamagedFileError(f"no fatbin container where one must be: {header[:8].hex() or 'end of file'}")
    size: int = _CONTAINER.unpack(header)[3]
    return size


def read_entry(header: bytes, offset: int, room: int) -> DeviceImage:
    """The image behind one entry header.

    Args:
        header: The entry's first 64 bytes.
        offset: Of the header in the file, in bytes.
        room: Bytes from there to the end of the container.

    Raises:
        DamagedFileError: The header contradicts itself or its container.
    """
    if len(header) < ENTRY_BYTES or room < ENTRY_BYTES:
        raise DamagedFileError(f"fatbin entry at {offset} is cut off")
    number, version, head, stored, packed, _, minor, major, sm, _, _, flags, _, unpacked = _ENTRY.unpack(header)
    kind = _KINDS.get(number)
    if kind is None or version != 0x0101:
        raise DamagedFileError(f"fatbin entry at {offset} of unknown kind {number} (version {version:#x})")
    if not ENTRY_BYTES <= head <= MAX_ENTRY_HEADER or head + stored > room:
        raise DamagedFileError(f"fatbin entry at {offset} claims {head}+{stored} bytes, {room} are left")
    if not 10 <= sm <= 999 or (flags & _ARCH_SPECIFIC and flags & _FAMILY):
        raise DamagedFileError(f"fatbin entry at {offset} names architecture {sm} with flags {flags:#x}")
    compression = "lz4" if flags & _LZ4 else "zstd" if flags & _ZSTD else ""
    if packed > stored:
        raise DamagedFileError(f"fatbin entry at {offset} claims {packed} packed bytes in {stored}")
    return DeviceImage(
        kind,
        sm,
        "a" if flags & _ARCH_SPECIFIC else "f" if flags & _FAMILY else "",
        compression,
        stored,
        unpacked if compression else stored,
        (major, minor),
        offset + head,
        stored - packed if compression and packed else 0,
    )


def read_container(source: Source, offset: int, room: int, section: str = "") -> Container:
    """The container at an offset.

    Args:
        source: The file.
        offset: Of the container's header in the file, in bytes.
        room: Bytes that it may take at most, its header included.
        section: Name of the section that it lies in.

    Raises:
        BrokenContainerError: There is none, or its sizes do not add up.
    """
    images: list[DeviceImage] = []
    try:
        end = _container_end(source, offset, room)
        at = offset + CONTAINER_BYTES
        while at < end:
            image = read_entry(source.read_at(at, ENTRY_BYTES), at, end - at)
            images.append(image)
            require_images(len(images), offset)
            at = image.payload + image.stored
    except DamagedFileError as error:
        reached = images[-1].payload + images[-1].stored if images else offset
        raise BrokenContainerError(error.message, reached) from error
    return Container(section, offset, end, tuple(images))


def _container_end(source: Source, offset: int, room: int) -> int:
    size = container_size(source.read_at(offset, CONTAINER_BYTES))
    if size > room - CONTAINER_BYTES:
        raise DamagedFileError(f"fatbin container at {offset} claims {size} bytes, {room - CONTAINER_BYTES} are left")
    return offset + CONTAINER_BYTES + size


def require_images(count: int, offset: int) -> None:
    """Refuse a container with more images than any library has.

    Args:
        count: Of images met.
        offset: Of the container in the file, in bytes.

    Raises:
        DamagedFileError: It is.
    """
    if count > MAX_IMAGES:
        raise DamagedFileError(f"fatbin container at {offset} holds over {MAX_IMAGES} images")


def read_section(source: Source, section: Section) -> Iterator[Container]:
    """The containers of one section, which must hold nothing but containers and zero padding.

    Raises:
        DamagedFileError: It holds something else.
    """
    at = section.offset
    while at < section.end:
        container = read_container(source, at, section.end - at, section.name)
        yield container
        at = container.end + gap(source.read_at(container.end, min(MAX_GAP, section.end - container.end)))


def gap(after: bytes) -> int:
    """How many zero bytes follow a container.

    Args:
        after: What follows it in its section, up to `MAX_GAP` bytes.

    Raises:
        DamagedFileError: More padding than alignment could need.
    """
    zeros = len(after) - len(after.lstrip(b"\0"))
    if zeros == MAX_GAP:
        raise DamagedFileError(f"{MAX_GAP} zero bytes and more between fatbin containers")
    return zeros


def read_containers(source: Source, sections: Iterable[Section]) -> Iterator[Container]:
    """Every container of the two sections for device code of an ELF file, in the order of the file's section table.

    Args:
        source: The file.
        sections: All its sections.

    Raises:
        DamagedFileError: The containers contradict themselves.
    """
    for section in device_sections(sections):
        yield from read_section(source, section)


def device_sections(sections: Iterable[Section]) -> list[Section]:
    """The sections for device code that have bytes in the file, in their order."""
    return [one for one in sections if one.name in (EXECUTABLE, RELOCATABLE) and one.type != NOBITS]
