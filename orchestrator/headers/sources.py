"""The places an artifact can come from, tried in order.

A source is a URL, a directory (an unpacked flashinfer-cubin package, a materialised bundle, a plain copy of the
artifact server), or a flashinfer-cubin wheel. All of them are untrusted: the fetcher hashes whatever comes. Names of
sources are shown to people and hold no credentials.
"""

from __future__ import annotations

import os
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from orchestrator.errors import UsageError
from orchestrator.flashinfer import REPOSITORY
from orchestrator.redact import redact_url

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# FlashInfer's own default (flashinfer/jit/cubin_loader.py, the same from 0.6.0 to 0.7.2.post1).
DEFAULT_REPOSITORY = "https://edge.urm.nvidia.com/artifactory/sw-kernelinferencelibrary-public-generic-local/"
_CHUNK = 1024 * 1024
_INSIDE = ("", "cubins/", "flashinfer_cubin/cubins/")


@dataclass(frozen=True, kw_only=True, slots=True)
class HttpSource:
    """A server that has `<url>/<path>` for every artifact. `name` is the URL without credentials."""

    url: str
    name: str

    def address(self, path: str) -> str:
        """The URL of one artifact; always with single slashes."""
        return f"{self.url.rstrip('/')}/{path}"


@dataclass(frozen=True, kw_only=True, slots=True)
class DirectorySource:
    """A directory. `name` is its path."""

    path: Path
    name: str

    def open(self, path: str) -> Iterator[bytes] | None:
        """The bytes of one artifact in chunks, None if it is not there."""
        for inside in _INSIDE:
            candidate = self.path / f"{inside}{path}"
            if candidate.is_file():
                return _file_chunks(candidate)
        return None


@dataclass(frozen=True, kw_only=True, slots=True)
class WheelSource:
    """A wheel, opened once: reading the directory of its 16,000 members costs 0.1 s. `name` is its path."""

    archive: zipfile.ZipFile
    name: str

    def open(self, path: str) -> Iterator[bytes] | None:
        """The bytes of one artifact in chunks, None if it is not there."""
        for inside in _INSIDE:
            if inside + path in self.archive.NameToInfo:
                return _wheel_chunks(self.archive, inside + path)
        return None


LocalSource = DirectorySource | WheelSource
Source = HttpSource | LocalSource


def chain(mirrors: Sequence[str], *, environment: dict[str, str] | None = None) -> tuple[Source, ...]:
    """The sources in the order in which they are tried.

    Args:
        mirrors: What the user named: `https://…`, `http://…`, `file:///…`, a directory, a wheel.
        environment: The process environment; FLASHINFER_CUBINS_REPOSITORY in it comes after the mirrors, and replaces
            FlashInfer's default repository, as it does for FlashInfer.

    Raises:
        UsageError: A mirror is neither a URL nor there.
    """
    variables = dict(os.environ) if environment is None else environment
    told = variables.get(REPOSITORY) or DEFAULT_REPOSITORY
    found: list[Source] = []
    for text in [*mirrors, told]:
        source = source_of(text)
        if source not in found:
            found.append(source)
    return tuple(found)


def source_of(text: str) -> Source:
    """One source from what a user wrote.

    Raises:
        UsageError: It is neither an http(s) URL nor an existing directory or wheel.
    """
    if re.match(r"https?://", text):
        try:
            urlsplit(text).port  # noqa: B018 - reading it is the check: a bad port raises here, with a place
        except ValueError as error:
            raise UsageError(f"mirror {redact_url(text)}: {error}") from error
        return HttpSource(url=text, name=redact_url(text))
    path = Path(text.removeprefix("file://"))
    if "://" in str(text) and not text.startswith("file://"):
        raise UsageError(f"mirror {redact_url(text)}: only http, https and file are known")
    if not path.exists():
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
