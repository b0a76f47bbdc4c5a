"""A directory that holds exactly a list of files, and its comparison with that list.

FlashInfer bundles and wheelhouses are such directories: a build gets one as a named context. Bytes, names, modes and
times depend on the list alone, so a build cache keys on nothing else.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from typing import TYPE_CHECKING

from msgspec import Struct

from orchestrator.errors import EnvironmentLacksError, Problem, VerificationError
from orchestrator.files import making

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from orchestrator.headers.store import Store

_EPOCH = 315532800  # 1980-01-01: the earliest time that a zip can hold, so no tool further on has to change it


class Placed(Struct, frozen=True, kw_only=True):
    """One file of a placed tree.

    Attributes:
        path: Relative to the directory.
        sha256: Bare hex.
        size: Bytes.
        content: The bytes of a file that is generated, None for one that comes from the store.
    """

    path: str
    sha256: str
    size: int
    content: bytes | None = None


def written(path: str, text: str) -> Placed:
    """Return a file of generated text."""
    data = text.encode()
    return Placed(path=path, sha256=hashlib.sha256(data).hexdigest(), size=len(data), content=data)


def materialise(
    entries: Iterable[Placed], store: Store, target: Path, *, verify: Callable[[Path], tuple[Problem, ...]]
) -> None:
    """Write a placed tree; it appears at once and whole.

    Args:
        entries: Its files.
        store: Holds every file that has no content; each is hashed again on the way.
        target: The directory; if it is there it must already be this tree, and is left alone.
        verify: Compares a directory with the tree.

    Raises:
        VerificationError: A file is missing from the store or damaged there, or the target holds something else.
        EnvironmentLacksError: The directory cannot be written.
    """
    if target.exists():
        if verify(target):
            raise VerificationError(
                f"{target} exists and does not have exactly these files", hint=f"remove it: rm -r {target}"
            )
        return
    try:
        with making(target) as folder:
            _write(entries, store, folder)
    except OSError as error:
        if target.is_dir() and not verify(target):  # another process was faster
            return
        raise EnvironmentLacksError(f"cannot write {target}: {error.strerror or error}") from error


def ensure(
    entries: Iterable[Placed], store: Store, target: Path, *, verify: Callable[[Path], tuple[Problem, ...]]
) -> None:
    """As `materialise`, for a directory of our own: it is made again if anything in it was changed."""
    if target.exists() and verify(target):
        shutil.rmtree(target, ignore_errors=True)
    materialise(entries, store, target, verify=verify)


def _write(entries: Iterable[Placed], store: Store, root: Path) -> None:
    for entry in entries:
        path = root / entry.path
        path.parent.mkdir(parents=True, exist_ok=True)
        if entry.content is None:
            store.copy(entry.sha256, path)
        else:
            path.write_bytes(entry.content)
    for folder, _, names in os.walk(root, topdown=False):
        for name in names:
            _normalise(os.path.join(folder, name), 0o644)  # noqa: PTH118 - 16,000 files: os is four times faster here
        _normalise(folder, 0o755)


def _normalise(path: str, mode: int) -> None:
    os.chmod(path, mode)  # noqa: PTH101 - as above
    os.utime(path, (_EPOCH, _EPOCH))


def problems(entries: Iterable[Placed], root: Path) -> list[Problem]:
    """Return one problem for every file that is missing or damaged in a directory."""
    found = []
    for entry in entries:
        what = difference(root / entry.path, entry.sha256, entry.size)
        if what:
            found.append(Problem(file=str(root / entry.path), what=what))
    return found


def difference(path: Path, sha256: str, size: int) -> str:
    """Return how a file differs from what is expected, "" where it does not."""
    try:
        if path.is_symlink():
            return "is a link, expected a file"
        with path.open("rb") as stream:
            if os.fstat(stream.fileno()).st_size != size:
                return f"has {os.fstat(stream.fileno()).st_size} bytes, expected {size}"
            actual = hashlib.file_digest(stream, "sha256").hexdigest()
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return "" if actual == sha256 else f"has sha256 {actual[:12]}…, expected {sha256[:12]}…"
