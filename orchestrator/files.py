"""Files and directories written whole: a reader finds the old content or the new one, also after a crash."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PRIVATE = 0o600
"""Mode of files that may hold what others must not read."""

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
"""What the system says of a full disk, or of a quota."""

LEFTOVER = ".*.tmp"
"""The names of directories that a killed process may leave (`scratch`, `making`), as a glob."""


@contextlib.contextmanager
def writing(path: Path, *, mode: int | None = None) -> Iterator[BinaryIO]:
    """A stream whose bytes appear under `path` when the block ends, all at once; an exception leaves `path` as it was.

    A symbolic link is kept and its target replaced, but with `mode=PRIVATE` the link itself: what is private does not
    leave its directory. What is no regular file (`/dev/stdout`) is written in place.

    Args:
        path: The file; its directory must exist.
        mode: Permission bits; None keeps those of the file that stands there, else the umask decides.

    Raises:
        OSError: It cannot be written.
    """
    if mode == PRIVATE and path.is_symlink():
        final = path
    elif path.exists() and not path.is_file():  # asked of the path itself: a pipe's /dev/fd entry leads to no name
        with path.open("wb") as direct:
            yield direct
        return
    else:
        final = Path(os.path.realpath(path)) if path.is_symlink() else path
    try:
        descriptor, name = tempfile.mkstemp(dir=final.parent, prefix=f".{final.name[:100]}.")
    except OSError as error:
        error.filename = str(path)  # the name that the caller knows
        raise
    temporary = Path(name)
    try:
        with named(path), os.fdopen(descriptor, "wb") as stream:
            yield cast("BinaryIO", stream)
            stream.flush()
            os.fchmod(stream.fileno(), _mode(final) if mode is None else mode)
            os.fsync(stream.fileno())
        temporary.replace(final)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    _sync(final.parent)


@contextlib.contextmanager
def scratch(beside: Path) -> Iterator[Path]:
    """An empty directory in the one that holds `beside`, for its owner alone; it is removed when the block ends.

    Args:
        beside: What the directory is named after; missing directories above it are made.

    Raises:
        OSError: It cannot be made.
    """
    beside.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=beside.parent, prefix=f".{beside.name[:100]}.", suffix=".tmp"))
    try:
        yield temporary
    finally:
        _remove(temporary)


@contextlib.contextmanager
def making(target: Path) -> Iterator[Path]:
    """A directory that appears as `target` when the block ends, all at once; an exception leaves no `target`.

    Args:
        target: The directory; one that is there must be empty.

    Raises:
        OSError: It cannot be made, or another process was faster.
    """
    with scratch(target) as temporary:
        yield temporary
        temporary.rename(target)
        _sync(target.parent)


def swap(new: Path, final: Path) -> None:
    """Let a directory take the place of another one; where that fails, or nothing is new, the old one stays."""
    if not new.is_dir():
        return
    old = final.with_name(f"{final.name}.old")
    with contextlib.suppress(OSError):
        _remove(old)
        if final.exists():
            final.rename(old)
        try:
            new.rename(final)
        except OSError:
            old.rename(final)
        _remove(old)


def _remove(directory: Path) -> None:
    import shutil

    shutil.rmtree(directory, ignore_errors=True)


def make_private(directory: Path) -> None:
    """Make a directory, and the missing ones above it, for its owner alone; existing ones are left as they are.

    Raises:
        OSError: It cannot be made.
    """
    if os.path.isdir(directory):  # noqa: PTH112 - asked some times a second of each build: half of Path.is_dir
        return
    make_private(directory.parent)
    directory.mkdir(mode=0o700, exist_ok=True)


def close_tree(directory: Path) -> None:
    """Take a directory, and all that is in it, from everybody but its owner.

    Raises:
        OSError: A mode cannot be set.
    """
    directory.chmod(0o700)
    for folder, directories, names in os.walk(directory):
        for name, mode in (*((name, 0o700) for name in directories), *((name, PRIVATE) for name in names)):
            path = Path(folder, name)
            if not path.is_symlink():
                path.chmod(mode)


def append(path: Path, data: str, *, mode: int = PRIVATE) -> None:
    """Append text with one write and an fsync: a process that is killed costs at most its own last line.

    Raises:
        OSError: It cannot be written, or it is a symbolic link.
    """
    descriptor = open_append(path, mode=mode)
    try:
        with named(path):
            os.write(descriptor, data.encode(errors="replace"))
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_append(path: Path, *, mode: int = PRIVATE) -> int:
    """Open a file to append to it, made if it is missing; return its descriptor.

    Raises:
        OSError: It cannot be opened, or it is a symbolic link.
    """
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, mode)


@contextlib.contextmanager
def named(path: Path) -> Iterator[None]:
    """Put the path into the OSError of a full disk, which does not say where it happened."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL and not error.filename:
            error.filename = str(path)
        raise


def write_whole(path: Path, data: bytes | str, *, mode: int | None = None) -> None:
    """Replace a file's content in one step.

    Args:
        path: The file; its directory must exist.
        data: The whole content; text is written as UTF-8.
        mode: As for `writing`.

    Raises:
        OSError: It cannot be written; what stood there stands there still.
    """
    with writing(path, mode=mode) as stream:
        stream.write(data.encode() if isinstance(data, str) else data)


def write_all(contents: Mapping[Path, bytes]) -> dict[Path, OSError]:
    """Replace the contents of files: of all that can be prepared beside their targets, or of none.

    A file that cannot be prepared costs no other. One that cannot take its place after that, or an interrupt, puts back
    those that have taken theirs.

    Args:
        contents: The whole new content of each file, which exists; permissions stay.

    Returns:
        The files that are as they were, each with its error.
    """
    failed: dict[Path, OSError] = {}
    before: dict[Path, bytes] = {}
    try:
        with contextlib.ExitStack() as stack:
            for path, content in contents.items():
                try:
                    stack.enter_context(_replacing(path, content, before))
                except OSError as error:
                    failed[path] = error
    except BaseException as error:
        put_back = [path for path, content in before.items() if _restored(path, content)]
        if not isinstance(error, OSError):
            raise
        waiting = [path for path in contents if path not in failed and path not in before]
        failed[waiting[-1]] = error  # the last one goes first
        why = f"{waiting[-1]} cannot be replaced ({error.strerror}), so that all stay as they were"
        failed |= {path: OSError(error.errno, why) for path in (*waiting[:-1], *put_back)}
    return failed


@contextlib.contextmanager
def _replacing(path: Path, content: bytes, before: dict[Path, bytes]) -> Iterator[None]:
    """Prepare a file's new content; it takes its place when the block ends, and the old one is kept in `before`."""
    old = path.read_bytes()
    with writing(path) as stream:
        stream.write(content)
        stream.flush()
        yield
    before[path] = old


def _restored(path: Path, content: bytes) -> bool:
    """Whether a file could be given back its content."""
    try:
        write_whole(path, content)
    except OSError:
        return False
    return True


def move_whole(source: Path, target: Path, *, mode: int) -> None:
    """Let a finished file appear under another name of the same file system, all at once and after a crash as well.

    Args:
        source: The file; it is gone afterwards.
        target: Its new name; a file that stands there is replaced.
        mode: Permission bits.

    Raises:
        OSError: It cannot be flushed or renamed.
    """
    with source.open("rb+") as stream:
        os.fchmod(stream.fileno(), mode)
        os.fsync(stream.fileno())
    source.replace(target)
    _sync(target.parent)


def _mode(path: Path) -> int:
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return 0o666 & ~_umask()


def _umask() -> int:
    """The process's umask, which can only be read by setting it; /proc tells it without."""
    try:
        for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    except OSError:
        pass
    return 0o022


def _sync(directory: Path) -> None:
    """Make a rename last; a file system that cannot do it is not an error."""
    with contextlib.suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
