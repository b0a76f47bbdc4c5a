"""OCI layouts and `docker save` archives: a directory, or a tar file that is read in place.

Both are a set of named files, some of them JSON, the others layers. Nothing is unpacked to disk: a layer is a range of
the archive. Sources: OCI image layout specification 1.1; what engine 28.5 writes (index.json beside manifest.json) and
what older graph drivers wrote (manifest.json and layer.tar files alone).
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from orchestrator.errors import UsageError
from orchestrator.image.code.forward import CutOffError
from orchestrator.image.layers.checked import WrongDigestError, require_digest
from orchestrator.image.layers.parallel import Layer
from orchestrator.image.layers.tar import Type, members
from orchestrator.image.sources.base import (
    BrokenImageError,
    Contents,
    choose,
    configured,
    require_image,
    require_platform,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import IO

MAX_JSON = 16 << 20
_INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")


class Range(Struct, frozen=True, kw_only=True):
    """A named file of a layout: where its bytes lie, and whether that file is gone afterwards."""

    path: Path
    offset: int
    size: int
    temporary: bool = False


class Seeking:
    """A file that is hopped through: `tar.Reader` over a seekable stream."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.offset = 0

    def read(self, count: int) -> bytes:
        """The next `count` bytes, fewer only at the end."""
        data = self._stream.read(count)
        self.offset += len(data)
        return data

    def exactly(self, count: int) -> bytes:
        """The next `count` bytes.

        Raises:
            CutOffError: There are fewer.
        """
        data = self.read(count)
        if len(data) < count:
            raise CutOffError("the archive is cut off")
        return data

    def skip(self, count: int) -> None:
        """Hop over `count` bytes."""
        self.offset += count
        self._stream.seek(self.offset)


def archive_files(path: Path) -> dict[str, Range]:
    """The files of an uncompressed tar archive: name -> place. Links of `docker save` (one layer twice) are followed.

    Raises:
        DamagedArchiveError: It is not a tar archive.
        BrokenImageError: It ends early.
    """
    size = path.stat().st_size
    found: dict[str, Range] = {}
    with path.open("rb") as stream:
        reader = Seeking(stream)
        try:
            for member in members(reader):
                if member.type is Type.FILE:
                    found[member.path] = Range(path=path, offset=reader.offset, size=member.size)
                elif member.type in (Type.HARD_LINK, Type.SYMLINK):
                    target = _beside(member.path, member.target) if member.type is Type.SYMLINK else member.target
                    if target in found:
                        found[member.path] = found[target]
        except CutOffError as error:
            raise BrokenImageError(f"{path}: the archive is cut off") from error
    if any(part.offset + part.size > size for part in found.values()):
        raise BrokenImageError(f"{path}: the archive is cut off")
    return found


def _beside(path: str, target: str) -> str:
    from posixpath import dirname, normpath

    return normpath(f"{dirname(path)}/{target}")


def directory_files(path: Path) -> dict[str, Range]:
    """The files of a layout that is a directory: name -> place."""
    return {
        file.relative_to(path).as_posix(): Range(path=file, offset=0, size=file.stat().st_size)
        for file in sorted(path.rglob("*"))
        if file.is_file()
    }


def open_layout(files: Mapping[str, Range], name: str, *, platform: str = "", which: str = "") -> Contents:
    """The image in a layout.

    Args:
        files: Name -> place of every file of the layout.
        name: Of the image, for messages.
        platform: Which one of several, "linux/arm64".
        which: Name, tag, digest or "@N" of one of several images.

    Raises:
        UsageError: The layout holds several images, or not the wanted one.
        BrokenImageError: Its manifests contradict themselves, or files are missing.
        WrongDigestError: A manifest or configuration is not what its digest names.
    """
    try:
        if "index.json" in files:
            contents = _from_index(files, name, platform, which)
        else:
            contents = _from_docker_manifest(files, name, which)
    except (KeyError, TypeError, AttributeError, IndexError, ValueError, RecursionError) as error:
        raise BrokenImageError(f"{name}: its manifests are damaged: {error!r}") from error
    require_platform(platform, contents.platform, name)
    return contents


def _json(files: Mapping[str, Range], file: str, name: str, digest: str = "") -> Any:
    place = files.get(file)
    if place is None:
        raise BrokenImageError(f"{name}: {file} is missing")
    if place.size > MAX_JSON:
        raise BrokenImageError(f"{name}: {file} has {place.size} bytes")
    with place.path.open("rb") as stream:
        stream.seek(place.offset)
        data = stream.read(place.size)
    try:
        require_digest(data, digest)
    except WrongDigestError as error:
        raise WrongDigestError(f"{name}: {file}: {error.message}") from error
    return json.loads(data)


def _blob(files: Mapping[str, Range], digest: str, name: str) -> Any:
    return _json(files, blob_name(digest), name, digest)


def blob_name(digest: str) -> str:
    """The name of a blob in a layout: `blobs/sha256/…`.

    Raises:
        BrokenImageError: The digest is invalid.
    """
    algorithm, _, value = digest.partition(":")
    if not value.isalnum() or not algorithm.isalnum():
        raise BrokenImageError(f"a digest is invalid: found {digest[:80]!r}")
    return f"blobs/{algorithm}/{value}"


def _from_index(files: Mapping[str, Range], name: str, platform: str, which: str) -> Contents:
    index = _json(files, "index.json", name)
    for _ in range(4):  # an index may name another index, but not for ever
        present = [one for one in index["manifests"] if blob_name(one["digest"]) in files]
        chosen = choose(present if which else _distinct(present), platform, name, which)
        which = ""  # of the images in the index that was named, the platform decides
        manifest = _blob(files, chosen["digest"], name)
        if "layers" in manifest:
            break
        index = manifest
    else:
        raise BrokenImageError(f"{name}: its index leads to no image")
    require_image(manifest, name)
    config = _blob(files, manifest["config"]["digest"], name)
    layers = [_layer(files, one["digest"], name) for one in manifest["layers"]]
    return Contents(name=name, digest=chosen["digest"], layers=tuple(layers), **configured(config))


def _distinct(manifests: list[Any]) -> list[Any]:
    """One descriptor a digest: `docker save` of an image with two tags names it twice."""
    return list({one["digest"]: one for one in manifests}.values())


def _layer(files: Mapping[str, Range], digest: str, name: str) -> Layer:
    place = files.get(blob_name(digest))
    if place is None:
        raise BrokenImageError(f"{name}: layer {digest} is missing")
    return Layer(digest=digest, size=place.size, path=place.path, offset=place.offset, temporary=place.temporary)


def _from_docker_manifest(files: Mapping[str, Range], name: str, which: str) -> Contents:
    entries = _json(files, "manifest.json", name)
    if not entries:
        raise BrokenImageError(f"{name}: its manifest.json names no image")
    chosen = [
        entry
        for number, entry in enumerate(entries)
        if not which or which in (f"@{number}", *(word for tag in entry.get("RepoTags") or () for word in _words(tag)))
    ]
    if len(chosen) != 1:
        known = [(entry.get("RepoTags") or [f"@{number}"])[0] for number, entry in enumerate(entries)]
        found = f"holds {len(chosen)} images" if chosen else f"no image {which} was found"
        found += f" called {which}" if chosen and which else ""
        raise UsageError(f"{name}: {found}", hint=f"choose one: {', '.join(f'{name}:{one}' for one in known)}")
    config = _json(files, chosen[0]["Config"], name, _named(chosen[0]["Config"]))
    plain = config["rootfs"]["diff_ids"]
    layers = []
    for file, diff in zip(chosen[0]["Layers"], plain, strict=True):
        place = files.get(file)
        if place is None:
            raise BrokenImageError(f"{name}: layer {file} is missing")
        layers.append(
            Layer(
                digest=diff, size=place.size, content=True, path=place.path, offset=place.offset,
                temporary=place.temporary,
            )
        )  # fmt: skip
    return Contents(name=name, layers=tuple(layers), **configured(config))


def _words(tag: str) -> tuple[str, str]:
    return tag, tag.rpartition(":")[2]


def _named(file: str) -> str:
    """The digest that a configuration's name says (`blobs/sha256/…`, `….json`, `sha256:…`), "" where it says none."""
    found = re.fullmatch(r"(?:blobs/sha256/|sha256:)?([0-9a-f]{64})(?:\.json)?", file)
    return f"sha256:{found[1]}" if found else ""
