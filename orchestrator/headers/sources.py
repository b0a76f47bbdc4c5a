"""The places an artifact can come from, tried in order.

A source is a URL, a directory (an unpacked flashinfer-cubin package, a materialised bundle, a plain copy of the
artifact server), or a flashinfer-cubin wheel. All of them are untrusted: the fetcher hashes whatever comes. Names of
sources are shown to people and hold no credentials.
"""

from __future__ import annotations

import os
import re
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from msgspec import Struct
from msgspec.structs import replace

from orchestrator.errors import UsageError
from orchestrator.flashinfer import REPOSITORY
from orchestrator.redact import redact_url

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# FlashInfer's own default (flashinfer/jit/cubin_loader.py, the same from 0.6.0 to 0.7.2.post1).
DEFAULT_REPOSITORY = "https://edge.urm.nvidia.com/artifactory/sw-kernelinferencelibrary-public-generic-local/"
_CHUNK = 1024 * 1024
_INSIDE = ("", "cubins/", "flashinfer_cubin/cubins/")


class HttpSource(Struct, frozen=True, kw_only=True):
    """A server that has `<url>/<path>` for every artifact. `name` is the URL without credentials."""

    url: str
    name: str

    def address(self, path: str) -> str:
        """Return the URL of one artifact: single slashes, and a query (a signature) behind the path."""
        parts = urlsplit(self.url)
        return urlunsplit((parts.scheme, parts.netloc, f"{parts.path.rstrip('/')}/{path}", parts.query, ""))


class DirectorySource(Struct, frozen=True, kw_only=True):
    """A directory. `name` is its path."""

    path: Path
    name: str

    def open(self, path: str) -> Iterator[bytes] | None:
        """Return the bytes of one artifact in chunks, None if it is not there."""
        for inside in _INSIDE:
            candidate = self.path / f"{inside}{path}"
            if candidate.is_file():
                return _file_chunks(candidate)
        return None


class WheelSource(Struct, frozen=True, kw_only=True):
    """A wheel, opened once: reading the directory of its 16,000 members costs 0.1 s. `name` is its path."""

    archive: zipfile.ZipFile
    name: str

    def open(self, path: str) -> Iterator[bytes] | None:
        """Return the bytes of one artifact in chunks, None if it is not there."""
        for inside in _INSIDE:
            if inside + path in self.archive.NameToInfo:
                return _wheel_chunks(self.archive, inside + path)
        return None


LocalSource = DirectorySource | WheelSource
Source = HttpSource | LocalSource


def chain(
    mirrors: Sequence[str], *, environment: dict[str, str] | None = None, default: bool = True
) -> tuple[Source, ...]:
    """Return the sources in the order in which they are tried.

    Args:
        mirrors: What the user named: `https://…`, `http://…`, `file:///…`, a directory, a wheel.
        environment: The process environment; FLASHINFER_CUBINS_REPOSITORY in it comes after the mirrors, and replaces
            FlashInfer's default repository, as it does for FlashInfer.
        default: Whether that one, or FlashInfer's default repository, is asked at all.

    Raises:
        UsageError: A mirror is neither a URL nor there, or no source is left.
    """
    variables = dict(os.environ) if environment is None else environment
    told = variables.get(REPOSITORY) or DEFAULT_REPOSITORY
    found: list[Source] = []
    for text in [*mirrors, *([told] if default else [])]:
        source = source_of(text)
        same = [one for one in found if one.name == source.name]
        if source in same:
            continue
        if same and isinstance(source, HttpSource):  # they differ in what is not shown: a user, a signature
            source = replace(source, name=f"{source.name} ({len(same) + 1})")
        found.append(source)
    if not found:
        raise UsageError(
            "no source is left to fetch from: expected a mirror, found --no-default-repository alone",
            hint="name one: --mirror PLACE, or headers.mirrors in matrix.yaml",
        )
    return tuple(found)


def source_of(text: str) -> Source:
    """Return one source from what a user wrote.

    Raises:
        UsageError: It is neither an http(s) URL nor an existing directory or wheel.
    """
    if re.match(r"(?i)https?://", text):
        try:
            parts = urlsplit(text)
            host = parts.hostname if parts.port != 0 else None
        except ValueError as error:
            raise UsageError(f"mirror {redact_url(text)}: the address is invalid: {error}") from error
        if not host or any(char.isspace() or ord(char) < 0x20 for char in text):
            what = f"mirror {redact_url(text)}: the address is invalid: expected https://HOST[:PORT]/PATH"
            raise UsageError(what)
        return HttpSource(url=text, name=redact_url(text))
    path = Path(text.removeprefix("file://"))
    if not text:
        raise UsageError(
            "a mirror is empty: expected a URL, a directory or a wheel",
            hint="set the variable that it is taken from, or leave --mirror out",
        )
    if "://" in text and not text.startswith("file://"):
        raise UsageError(f"mirror {redact_url(text)}: only http, https and file are known")
    if not path.exists():
        if re.match(r"(?i)https?:|[^/]*@|//", text):  # https:/host: it may hold a password all the same
            shown = text.split("?", maxsplit=1)[0].rpartition("@")[2]
            raise UsageError(f"mirror …{shown}: the address is invalid: expected https://HOST[:PORT]/PATH")
        raise UsageError(f"mirror {path}: no such directory or wheel")
    if path.is_dir():
        return DirectorySource(path=path, name=str(path))
    try:
        return WheelSource(archive=zipfile.ZipFile(path), name=str(path))
    except (zipfile.BadZipFile, OSError) as error:
        raise UsageError(f"mirror {path}: not a directory and not a wheel ({error})") from error


def _file_chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            yield chunk


def _wheel_chunks(wheel: zipfile.ZipFile, member: str) -> Iterator[bytes]:
    with wheel.open(member) as stream:
        while chunk := stream.read(_CHUNK):
            yield chunk
