"""Lists what a build context holds, as BuildKit transfers it: through `.dockerignore`, each file by its content.

A listing is equal on every machine and in every checkout: times and owners are not in it, and of the mode bits its
digest takes the executable one alone, so that clones under different umasks agree. `.git`, empty directories and this
tool's own files are not in the digest either; what BuildKit sees beyond it is kept for `cache explain`.
"""

from __future__ import annotations

import hashlib
import os
import stat
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct, field

from orchestrator.cache import ignore
from orchestrator.cache.ignore import Ignore, UnknownPatternError
from orchestrator.state import STATE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from orchestrator.cache.ignore import Matched
    from orchestrator.cache.statcache import StatCache

_GIT = ".git"
_OWN_NS = 10_000_000  # nanoseconds between a write and its inode's change, where nobody set the time afterwards
_MOST_ENTRIES = 2_000_000


class Kind(StrEnum):
    """What an entry of a context is."""

    FILE = "file"
    LINK = "link"
    DIRECTORY = "directory"
    OTHER = "other"  # a pipe or a device; BuildKit leaves sockets out


class Entry(Struct, frozen=True):
    """One path of a context.

    Attributes:
        path: Relative to the context, with `/`; bytes that are not UTF-8 are surrogate escapes.
        kind: What it is.
        mode: Permission bits.
        content: SHA-256 of a file, target of a link, "" for others.
    """

    path: str
    kind: Kind
    mode: int
    content: str = ""

    @property
    def executable(self) -> bool:
        """Whether its owner may execute it, the one mode bit that git keeps."""
        return self.kind is Kind.FILE and bool(self.mode & stat.S_IXUSR)


class Listing(Struct, frozen=True, kw_only=True):
    """What a context holds.

    Attributes:
        entries: Sorted by path; directories too, without `.git` and this tool's own files.
        git: Stands for the content of `.git` if it is transferred, "" if not.
        state: Whether files of this tool are transferred: they change with every run.
        ignored_by: The `.dockerignore` that applies, relative to the context or absolute; "" for none.
        rules: Digest of the patterns, "" for none.
        restored: Stands for path and content of the files whose times do not tell that they changed; "" for none.
        unknown: Why the content is not known; "" where it is.
    """

    entries: tuple[Entry, ...] = ()
    git: str = ""
    state: bool = False
    ignored_by: str = ""
    rules: str = ""
    restored: str = ""
    unknown: str = ""

    @property
    def digest(self) -> str:
        """Stands for path, kind, executable bit and content of everything but directories; "" where unknown."""
        if self.unknown:
            return ""
        whole = hashlib.sha256()
        for entry in self.entries:
            if entry.kind is not Kind.DIRECTORY:
                row = (entry.path, entry.kind.value, "x" if entry.executable else "", entry.content)
                whole.update(b"\0".join(os.fsencode(text) for text in row) + b"\n")
        return whole.hexdigest()


class Contents(Struct, kw_only=True):
    """The contexts of a run; each directory is listed once for each set of patterns.

    Attributes:
        root: What relative contexts start from.
        cache: Digests of files that were read before.
        ours: Files and directories that a run writes itself (its report, archives, caches): in no listing.
    """

    root: Path
    cache: StatCache
    ours: Sequence[Path] = ()
    _known: dict[tuple[str, str], Listing] = field(default_factory=dict)

    def of(self, context: str, *, dockerfile: str = "") -> Listing:
        """List a local directory.

        Args:
            context: The directory, relative to the root or absolute.
            dockerfile: For the main context its Dockerfile, absolute: a `.dockerignore` beside it replaces the one of
                the context.
        """
        try:
            top = os.path.realpath(self.root / context, strict=True)
        except (OSError, ValueError) as error:  # missing, a loop of links, a null character
            return Listing(unknown=f"{context}: {getattr(error, 'strerror', None) or error}")
        if not Path(top).is_dir():
            return Listing(unknown=f"{context}: is not a directory")
        try:
            name, data = _ignore_file(top, dockerfile)
        except OSError as error:
            return Listing(unknown=f"{error.filename}: {error.strerror}")
        key = (top, hashlib.sha256(data).hexdigest() if name else "")
        if key not in self._known:
            self._known[key] = self._list(top, name, data)
        return self._known[key]

    def _list(self, top: str, name: str, data: bytes) -> Listing:
        rules = hashlib.sha256(data).hexdigest() if name else ""
        ours = frozenset(os.path.realpath(path) for path in (*self.ours, self.root / STATE))
        try:
            walk = _Walk(top=top, patterns=Ignore(ignore.read(data)), ours=ours, cache=self.cache)
            entries = tuple(sorted(walk.entries(), key=lambda entry: entry.path))
        except UnknownPatternError as error:
            return Listing(unknown=f"{name}: {error}")
        except OSError as error:
            return Listing(unknown=f"{error.filename}: {error.strerror}")
        except _TooManyError:
            return Listing(unknown=f"{top}: more than {_MOST_ENTRIES:,} files")
        git = walk.git.hexdigest() if walk.git is not None else ""
        return Listing(
            entries=entries, git=git, state=walk.state, ignored_by=name, rules=rules, restored=_together(walk.restored)
        )


class _TooManyError(Exception):
    """A context has more entries than are listed."""


class _Walk(Struct, kw_only=True):
    """One walk over a context."""

    top: str
    patterns: Ignore
    ours: frozenset[str]
    cache: StatCache
    git: hashlib._Hash | None = None
    state: bool = False
    count: int = 0
    restored: list[tuple[str, str]] = field(default_factory=list)

    def entries(self) -> Iterator[Entry]:
        """What is transferred; a directory that is left out is there if something below it is not."""
        yield from self._below(self.top, "", None)

    def _below(self, directory: str, prefix: str, parent: Matched | None) -> Iterator[Entry]:
        with os.scandir(directory) as found:
            children = list(found)
        for child in children:
            path = prefix + child.name
            matched = self.patterns.match(path, parent)
            if child.is_dir(follow_symlinks=False):
                if not matched.ignored or self.patterns.negations:
                    yield from self._directory(child, path, matched)
            elif not matched.ignored:
                yield from self._file(child, path)

    def _directory(self, child: os.DirEntry[str], path: str, matched: Matched) -> Iterator[Entry]:
        if child.path in self.ours:
            self.state = self.state or not matched.ignored
            return
        if child.name == _GIT:
            if not matched.ignored:
                self.git = self.git or hashlib.sha256()
                self._git(child.path, self.git)
            return
        below = list(self._below(child.path, f"{path}/", matched))
        if below or not matched.ignored:
            yield self._counted(Entry(path, Kind.DIRECTORY, stat.S_IMODE(child.stat(follow_symlinks=False).st_mode)))
            yield from below

    def _file(self, child: os.DirEntry[str], path: str) -> Iterator[Entry]:
        if child.path in self.ours:
            self.state = True
            return
        found = child.stat(follow_symlinks=False)
        mode = stat.S_IMODE(found.st_mode)
        if stat.S_ISREG(found.st_mode):
            if child.name != _GIT:  # of a worktree or a submodule
                content = self.cache.digest(child.path, found)
                if _time_was_set(found):
                    self.restored.append((path, content))
                yield self._counted(Entry(path, Kind.FILE, mode, content))
        elif stat.S_ISLNK(found.st_mode):
            yield self._counted(Entry(path, Kind.LINK, 0o777, str(Path(child.path).readlink())))
        elif not stat.S_ISSOCK(found.st_mode):
            yield self._counted(Entry(path, Kind.OTHER, mode, oct(stat.S_IFMT(found.st_mode))))

    def _counted(self, entry: Entry) -> Entry:
        self.count += 1
        if self.count > _MOST_ENTRIES:
            raise _TooManyError
        return entry

    def _git(self, directory: str, into: hashlib._Hash) -> None:
        """Add names, sizes and times of `.git` to its digest: its content changes with every commit."""
        with os.scandir(directory) as found:
            children = sorted(found, key=lambda child: child.name)
        for child in children:
            if child.is_dir(follow_symlinks=False):
                self._git(child.path, into)
            else:
                stats = child.stat(follow_symlinks=False)
                into.update(os.fsencode(f"{child.path}\0{stats.st_size}\0{stats.st_mtime_ns}\n"))


def _time_was_set(found: os.stat_result) -> bool:
    """Whether a later write may have left a file with the same time.

    It may where the time was set (`touch -d`, `tar -x`, `cp -p`), which moves the inode's own time
    alone, and where the file system keeps whole seconds.
    """
    return found.st_mtime_ns % 1_000_000_000 == 0 or abs(found.st_ctime_ns - found.st_mtime_ns) > _OWN_NS


def _together(rows: list[tuple[str, str]]) -> str:
    whole = hashlib.sha256()
    for row in sorted(rows):
        whole.update(b"\0".join(map(os.fsencode, row)) + b"\n")
    return whole.hexdigest() if rows else ""


def _ignore_file(top: str, dockerfile: str) -> tuple[str, bytes]:
    """The `.dockerignore` that applies and its content; of a link its target, as long as that is below the context.

    Raises:
        OSError: It is there and cannot be read.
    """
    for name, base in ((f"{dockerfile}{ignore.NAME}", dockerfile), (f"{top}/{ignore.NAME}", top)):
        if not base:
            continue
        try:
            with open(name, "rb") as stream:  # noqa: PTH123 - a name that is not UTF-8
                return name.removeprefix(f"{top}/"), stream.read()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            continue
    return "", b""
