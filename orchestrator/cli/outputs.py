"""Whether a result can be written: never over a file of another kind (a matrix, a Dockerfile, a source)."""

from __future__ import annotations

import json
import tempfile
from typing import TYPE_CHECKING

from msgspec import Struct

from orchestrator.errors import EnvironmentLacksError, UsageError
from orchestrator.flashinfer import LOCK_NAME

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_READ = 64 << 20  # bytes: a report of 1,000 variants with their last lines has under 10 MB


class Kind(Struct, frozen=True, kw_only=True):
    """A kind of result that a command writes.

    Attributes:
        name: What it is called in messages.
        suffix: What its files usually end with.
        example: A name for one.
        recognises: Whether bytes are a result of this kind.
    """

    name: str
    suffix: str
    example: str
    recognises: Callable[[bytes], bool]


def require_replaceable(path: Path, option: str, kind: Kind) -> None:
    """Refuse a file that is not an earlier result of the same kind; an empty file or a pipe is none.

    Args:
        path: What the option names.
        option: The option.
        kind: What is going to be written.

    Raises:
        UsageError: Something else is there, or a directory.
    """
    if path.is_dir():
        raise UsageError(f"{option} {path}: is a directory", hint=f"{option} {path / kind.example}")
    try:
        if not path.is_file() or not path.stat().st_size:
            return
        with path.open("rb") as stream:
            known = kind.recognises(stream.read(_READ))
    except OSError:
        return  # writing it says why it cannot be used
    if not known:
        raise UsageError(
            f"{option} {path}: the file exists and is not {kind.name}",
            hint=f"name another file, as in {option} {path.stem}{kind.suffix}, or remove this one",
        )


def require_writable(path: Path, option: str) -> None:
    """Find out before work of an hour that its result can be written; missing directories are made.

    Args:
        path: What the option names; a pipe is not tried.
        option: The option.

    Raises:
        EnvironmentLacksError: The directory cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.is_file():
            with tempfile.TemporaryFile(dir=path.parent):
                pass
    except OSError as error:
        raise EnvironmentLacksError(
            f"{option} {path}: the directory {path.parent} cannot be written: {error.strerror}",
            hint="name a file in a directory that you may write to",
        ) from error


def _object_with(data: bytes, *keys: str) -> bool:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and all(key in found for key in keys)


REPORT = Kind(
    name="a build report",
    suffix=".report.json",
    example="report.json",
    recognises=lambda data: _object_with(data, "schema", "variants"),
)
PAGE = Kind(
    name="an HTML page",
    suffix=".html",
    example="report.html",
    recognises=lambda data: data[:200].lstrip().lower().startswith(b"<!doctype html"),
)
LOCK = Kind(
    name="a lock file",
    suffix=".lock.json",
    example=LOCK_NAME,
    recognises=lambda data: _object_with(data, "flashinfer", "bundle"),
)
WHEELS = Kind(
    name="a lock of wheelhouses",
    suffix=".lock.json",
    example="wheels.lock.json",
    recognises=lambda data: _object_with(data, "schema", "wheelhouses"),
)
