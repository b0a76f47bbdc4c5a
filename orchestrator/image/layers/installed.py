"""What pip installed where: the RECORD files of an image, which say whose library a file is.

A directory named `torch` may be anybody's; that a file is PyTorch's is what the RECORD beside it says. The scan of a
layer notes them beside the device code, so that one pass is enough; they judge nothing.
"""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

MAX_RECORD = 32 << 20
"""Bytes of the RECORD files that are read of one layer; that of torch 2.9.0 has 1.4 MB. Their lists are kept, and take
many times the bytes. What is not read says nothing, as if pip had written none."""

_RECORD = re.compile(r"(?:^|/)([^/]+)-([^/-]+)\.dist-info/RECORD$")
_LIBRARY = re.compile(r"\.(?:so(?:\.[\w.]+)?|a|o|cubin|fatbin|ptx)$")


class Distribution(Struct, frozen=True, kw_only=True):
    """One installed distribution.

    Attributes:
        name: As the package index compares it: `nvidia-cublas`.
        version: "13.0.2".
        folders: First parts of its files' paths, below the directory that it is installed in.
        files: Its files that may hold device code, below that directory.
    """

    name: str
    version: str
    folders: tuple[str, ...] = ()
    files: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.name} {self.version}"

    def to_json(self) -> list[Any]:
        """A value for `json.dumps`; `from_json` reads it."""
        return [self.name, self.version, list(self.folders), list(self.files)]

    @classmethod
    def from_json(cls, data: list[Any]) -> Distribution:
        """What `to_json` wrote."""
        name, version, folders, files = data
        return cls(name=name, version=version, folders=tuple(folders), files=tuple(files))


def is_record(path: str, size: int) -> bool:
    """Whether a file is the RECORD of a distribution, and small enough to be read.

    Args:
        path: In the image.
        size: Bytes.
    """
    return path.endswith("/RECORD") and size <= MAX_RECORD and _RECORD.search(path) is not None


def distribution(path: str, text: bytes) -> Distribution:
    """What a RECORD says, up to the first line that csv refuses.

    Args:
        path: Of the RECORD, for which `is_record` holds.
        text: Its content.
    """
    match = _RECORD.search(path)
    assert match is not None  # noqa: S101 - the caller asked `is_record`; this tells mypy
    import csv

    folders: dict[str, None] = {}
    files: dict[str, None] = {}
    try:
        lines = io.TextIOWrapper(io.BytesIO(text), encoding="utf-8", errors="replace", newline="")
        for row in csv.reader(lines):
            name = row[0] if row else ""
            parts = name.split("/")
            if name.startswith("/") or "\0" in name or ".." in parts or len(parts) < 2:
                continue  # outside of the directory, which it cannot claim; or not in a package
            folders[parts[0]] = None
            if _LIBRARY.search(name):
                files[name] = None
    except csv.Error:  # a field beyond csv's limit: no file has such a name
        pass
    name = re.sub(r"[-_.]+", "-", match[1]).lower()
    return Distribution(name=name, version=match[2], folders=tuple(folders), files=tuple(files))


class Installed(Struct, frozen=True, kw_only=True):
    """Everything that pip installed in an image.

    Attributes:
        owners: Path in the image -> distributions that list it.
        folders: Directories of packages that some distribution installed.
    """

    owners: Mapping[str, Sequence[Distribution]] = field(default_factory=dict)
    folders: frozenset[str] = frozenset()

    def owner(self, path: str) -> Distribution | None:
        """Whose a file is, None if no RECORD lists it; of several the one whose RECORD was met last."""
        return self.owners[path][-1] if path in self.owners else None

    def recorded(self, path: str) -> bool:
        """Whether a file lies in a directory whose files a RECORD lists; one that it does not list is nobody's."""
        at = path.find("/")
        while at > 0:
            if path[:at] in self.folders:
                return True
            at = path.find("/", at + 1)
        return False


def installed(records: Iterable[tuple[str, Distribution]]) -> Installed:
    """What the RECORD files of an image say together.

    Args:
        records: Path of each RECORD, and what it says.
    """
    owners: dict[str, list[Distribution]] = {}
    folders: set[str] = set()
    for path, one in records:
        site = "".join(path.rpartition("/")[0].rpartition("/")[:2])
        for name in one.files:
            owners.setdefault(site + name, []).append(one)
        folders.update(site + name for name in one.folders)
    return Installed(owners=owners, folders=frozenset(folders))
