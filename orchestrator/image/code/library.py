"""The device code of one file, folded: how many translation units hold which set of architectures.

A library has hundreds of containers but a dozen different sets, and judging needs no more. This is the value that is
cached, sent between processes and judged; it does not depend on which devices are promised.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from orchestrator.image.code import cubin
from orchestrator.image.code.elf import NOBITS, DamagedFileError, Section
from orchestrator.image.code.fatbin import (
    MAX_IMAGES,
    RELOCATABLE,
    Kind,
    device_sections,
)
from orchestrator.image.code.opened import Opener

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from orchestrator.image.code.elf import Source
    from orchestrator.image.code.fatbin import Container, DeviceImage
    from orchestrator.image.code.opened import Opened

Profile = tuple[str, ...]
"""The tags of one container's images that hold kernels, sorted: ("100f", "90a", "p80")."""

AR_MAGIC = b"!<arch>\n"
NO_TABLE = "it has no section table, so what its fatbins belong to is not known"
MAX_KERNEL_HOLES = 1000  # of one file, in deep mode: enough to see what is wrong
MAX_BARE = 64 * 1024 * 1024
"""A cubin or PTX that stands alone is kept whole to be read; the largest of flashinfer-cubin has under 2 MB."""


class Hole(Struct, frozen=True, kw_only=True):
    """A kernel that one image of a container holds and another image of the same container does not.

    Attributes:
        kernel: Mangled name.
        present: Tags of the images that hold it.
        absent: Tags of the images that hold other kernels but not this one.
    """

    kernel: str
    present: Profile
    absent: Profile


class FileCode(Struct, frozen=True, kw_only=True):
    """The device code of one file.

    Attributes:
        size: Of the file, in bytes.
        profiles: Profile -> number of executable containers; containers without a kernel are left out.
        empty: Executable containers whose images hold no kernel.
        relocatable: Profile -> number of relocatable containers (left from `-rdc` objects): they serve no device.
        images: Tag -> number of images in executable containers, empty ones included.
        stored: Tag -> bytes that these images take in the file.
        isa: Tag of PTX -> newest PTX ISA, as (major, minor).
        bare: Tag of the cubin or PTX that the whole file is (a `.cubin`, a `.ptx`), or "".
        holes: Deep mode: kernels missing in one image of their container.
        kernels: Deep mode: tag -> number of kernels; None when not asked for.
        damage: Why nothing may be concluded from the file, or "".
        doubt: Deep mode: why it may hold less than `profiles` says, or "".
        unread: Why device code may be in the file that was not looked at, or "": said, never judged.
        inside: Path in the archive that the file is -> device code of what lies there.
        archive: Path of the archive that the file lies in, the outermost one, or "": it is not installed.
    """

    size: int
    profiles: Mapping[Profile, int] = field(default_factory=dict)
    empty: int = 0
    relocatable: Mapping[Profile, int] = field(default_factory=dict)
    images: Mapping[str, int] = field(default_factory=dict)
    stored: Mapping[str, int] = field(default_factory=dict)
    isa: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    bare: str = ""
    holes: tuple[Hole, ...] = ()
    kernels: Mapping[str, int] | None = None
    damage: str = ""
    doubt: str = ""
    unread: str = ""
    inside: Mapping[str, FileCode] = field(default_factory=dict)
    archive: str = ""

    @property
    def containers(self) -> int:
        """Executable containers that hold kernels."""
        return sum(self.profiles.values())

    def to_json(self) -> dict[str, Any]:
        """A value for `json.dumps`; `from_json` reads it."""
        data: dict[str, Any] = {"size": self.size}
        data |= {
            name: value for name in ("empty", "bare", "damage", "doubt", "unread") if (value := getattr(self, name))
        }
        for name in ("profiles", "relocatable"):
            if folded := getattr(self, name):
                data[name] = {" ".join(profile): count for profile, count in folded.items()}
        data |= {name: dict(value) for name in ("images", "stored", "isa", "kernels") if (value := getattr(self, name))}
        if self.inside:
            data["inside"] = {path: one.to_json() for path, one in self.inside.items()}
        if self.kernels is not None:
            data["kernels"] = dict(self.kernels)
            data["holes"] = [[hole.kernel, list(hole.present), list(hole.absent)] for hole in self.holes]
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> FileCode:
        """What `to_json` wrote."""
        values = dict(data)
        for name in ("profiles", "relocatable"):
            values[name] = {tuple(key.split()): count for key, count in values.get(name, {}).items()}
        values["inside"] = {path: cls.from_json(one) for path, one in values.get("inside", {}).items()}
        values["isa"] = {tag: (isa[0], isa[1]) for tag, isa in values.get("isa", {}).items()}
        values["holes"] = tuple(
            Hole(kernel=name, present=tuple(present), absent=tuple(absent))
            for name, present, absent in values.get("holes", [])
        )
        return cls(**values)


class Folder:
    """Folds the containers of one file as they are met.

    Args:
        deep: Note the names of the kernels of every cubin.
    """

    def __init__(self, *, deep: bool = False) -> None:
        self.deep = deep
        self.opener = Opener(deep=deep)
        self._profiles: Counter[Profile] = Counter()
        self._relocatable: Counter[Profile] = Counter()
        self._empty = 0
        self._met = 0
        self._images: Counter[str] = Counter()
        self._stored: Counter[str] = Counter()
        self._isa: dict[str, tuple[int, int]] = {}
        self._kernels: Counter[str] = Counter()
        self._holes: list[Hole] = []
        self._doubts: dict[str, set[str]] = {}
        self._carried: Counter[str] = Counter()
        self._program = ""

    def wants(self, image: DeviceImage) -> bool:
        """Whether `add` asks what this image holds.

        Raises:
            DamagedFileError: It is larger than any real one.
        """
        if max(image.size, image.stored) > cubin.MAX_OPENED:
            raise DamagedFileError(f"an image of {max(image.size, image.stored)} bytes is too large to be opened")
        return image.kind in (Kind.SASS, Kind.PTX)

    def add(self, container: Container, opened: Mapping[int, Opened]) -> None:
        """Fold one container.

        Args:
            container: As it was read.
            opened: Payload offset -> what the image holds, of those that `wants` named.

        Raises:
            DamagedFileError: The file holds more images than any library would.
        """
        self._met += len(container.images) + 1
        if self._met > MAX_IMAGES:
            raise DamagedFileError(f"over {MAX_IMAGES} images of device code")
        if container.section == RELOCATABLE:
            self._relocatable[_profile(container.images)] += 1
            return
        for told in opened.values():
            if told.damage:
                raise DamagedFileError(told.damage)
        full: list[DeviceImage] = []
        tags: set[str] = set()
        for image in container.images:
            tag = image.tag
            self._images[tag] += 1
            self._stored[tag] += image.stored
            if image.kind is Kind.PTX:
                self._isa[tag] = max(image.isa, self._isa.get(tag, (0, 0)))
            if image.payload not in opened or opened[image.payload].kernel:
                full.append(image)
                tags.add(tag)
            if image.payload in opened and (doubt := opened[image.payload].doubt):
                self._doubts.setdefault(doubt, set()).add(tag)
        if not full:
            self._empty += 1
            return
        self._profiles[tuple(sorted(tags))] += 1
        if self.deep:
            self._compare(full, opened)

    def carry(self, sections: Sequence[Section], offsets: Iterable[int]) -> None:
        """Note the containers that the program carries as data: those outside of the sections for device code.

        Args:
            sections: Of one ELF file.
            offsets: Of containers anywhere in it.
        """
        device = device_sections(sections)
        for offset in offsets:
            if not any(one.offset <= offset < one.end for one in device):
                self._carried[section_at(sections, offset)] += 1

    def carries(self, program: str) -> None:
        """Note that the file is a program that carries packed ones.

        Args:
            program: As `programs.carried` says it.
        """
        self._program = program

    def _compare(self, full: list[DeviceImage], opened: Mapping[int, Opened]) -> None:
        """Note the kernels that one cubin of a container holds and another does not."""
        named = {image.tag: opened[image.payload].names for image in full if image.kind is Kind.SASS}
        for tag, names in named.items():
            self._kernels[tag] += len(names)
        if len(set(named.values())) < 2:
            return
        everywhere = frozenset.intersection(*named.values())
        for kernel in sorted(frozenset.union(*named.values()) - everywhere):
            if len(self._holes) >= MAX_KERNEL_HOLES:
                return
            present = tuple(sorted(tag for tag, names in named.items() if kernel in names))
            absent = tuple(sorted(tag for tag, names in named.items() if kernel not in names))
            self._holes.append(Hole(kernel=kernel, present=present, absent=absent))

    def result(self, size: int) -> FileCode | None:
        """The folded code; None when no container was met.

        Args:
            size: Of the file, in bytes.
        """
        places = ", ".join(f"{count} in {name or 'no section'}" for name, count in sorted(self._carried.items()))
        carried = f"fatbins that the program carries as data and loads itself: {places}" if places else ""
        unread = "; ".join(filter(None, (carried, self._program)))
        if not self._met:
            return FileCode(size=size, unread=unread) if unread else None
        return FileCode(
            size=size,
            profiles=dict(self._profiles),
            empty=self._empty,
            relocatable=dict(self._relocatable),
            images=dict(self._images),
            stored=dict(self._stored),
            isa=dict(self._isa),
            holes=tuple(self._holes),
            kernels=dict(self._kernels) if self.deep else None,
            doubt="; ".join(f"sm_{' sm_'.join(sorted(tags))}: {why}" for why, tags in sorted(self._doubts.items())),
            unread=unread,
        )


def _profile(images: Iterable[DeviceImage]) -> Profile:
    return tuple(sorted({image.tag for image in images}))


def bare_code(cubin_file: Source) -> FileCode:
    """The code of a cubin that stands alone; `empty` says that it holds no kernel.

    Raises:
        DamagedFileError: It contradicts itself.
    """
    sm, suffix = cubin.bare_architecture(cubin_file)
    holds = cubin.holds_kernel(cubin_file)
    return FileCode(size=cubin_file.size, bare=f"{sm}{suffix}", empty=0 if holds else 1)


def require_bare_size(size: int) -> None:
    """Refuse a cubin or PTX that is larger than any real one.

    Raises:
        DamagedFileError: It is.
    """
    if size > MAX_BARE:
        raise DamagedFileError(f"it stands alone with {size} bytes, more than the {MAX_BARE} that are read")


def bare_ptx(text: bytes) -> FileCode | None:
    """The code of PTX that stands alone; None for what says no version and target."""
    version = re.search(rb"^\s*\.version\s+(\d+)\.(\d+)", text, re.MULTILINE)
    target = re.search(rb"^\s*\.target\s+sm_(\d+)([af]?)\b", text, re.MULTILINE)
    if not version or not target:
        return None
    tag = f"p{int(target[1])}{target[2].decode()}"
    isa = {tag: (int(version[1]), int(version[2]))}
    return FileCode(size=len(text), bare=tag, isa=isa, empty=0 if cubin.holds_entry(text) else 1)


def section_at(sections: Iterable[Section], offset: int) -> str:
    """The name of the section that holds an offset of the file, "" for none."""
    for one in sections:  # static libraries have tens of thousands
        start = one.offset
        if start <= offset < start + one.size and one.type not in (0, NOBITS):
            return one.name
    return ""


def archive_member(header: bytes) -> int:
    """The size in bytes of the `ar` member behind a header of 60 bytes.

    Raises:
        DamagedFileError: It is not such a header.
    """
    digits = header[48:58].rstrip(b" ")
    if len(header) < 60 or header[58:60] != b"`\n" or not digits.isdigit():
        raise DamagedFileError("ar archive is damaged")
    return int(digits)


def guarded(read: Callable[[], FileCode | None], size: int) -> FileCode | None:
    """What `read` returns, or, when the file contradicts itself, a value that says why."""
    try:
        return read()
    except DamagedFileError as error:
        return FileCode(size=size, damage=error.message)
