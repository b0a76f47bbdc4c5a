"""The files of a repository: named, walked and read, every byte kept.

Skips what is never a project's own: version control, virtual environments, build trees, caches.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from orchestrator.dockerfile import declared as dockerfile
from orchestrator.dockerfile.spans import Lines
from orchestrator.drift.readers import data

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from orchestrator.dockerfile.declared import Declaration
    from orchestrator.dockerfile.images import StageImage
    from orchestrator.drift.evaluate import Buildx
    from orchestrator.drift.readers import shell
    from orchestrator.drift.readers.bake import BakeFile
    from orchestrator.drift.readers.tree import Node

_MAX_BYTES = 20_000_000
_FOREIGN = frozenset(
    {".git", ".hg", ".svn", ".tox", ".nox", "node_modules", "__pycache__", "site-packages", ".mypy_cache",
     ".ruff_cache", ".pytest_cache", ".cache", ".orchestrate"}
)  # fmt: skip
_MADE = frozenset({"pyvenv.cfg", "CMakeCache.txt"})  # the files beside these are generated
_TEMPLATE = re.compile(r"\{[%{][-+~]?[ \t]*(?:(?P<end>end(?:if|for)?)\b|(?:if|for|range|with)\b)(?=[^\n]*[%}]\})")
_GLOB = re.compile(r"\*\*/|\*\*|\*|\?|\[!?\]?[^\]/]*\]")


class UnreadableError(ValueError):
    """A file cannot be read."""


class File:
    """A file of the repository; it is read once, and parsed once in each format that a reader asks for.

    Args:
        name: Its path below the root, with slashes.
        text: Its text; bytes that are not UTF-8 are kept (as surrogates), so that they can be written back.
    """

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.text = text
        self._trees: dict[data.Format, list[Node]] = {}
        self._given: dict[tuple[str, str], list[shell.BuildArg]] = {}
        self._assigned: dict[tuple[str, str, str], list[shell.Assigned]] = {}

    @cached_property
    def lines(self) -> Lines:
        """Where its lines begin."""
        return Lines.of(self.text)

    @cached_property
    def conditional(self) -> list[range]:
        """The lines of a template (Jinja, Go) that a condition or a loop may leave out."""
        starts: list[int] = []
        found: list[range] = []
        for match in _TEMPLATE.finditer(self.text):
            line, _ = self.lines.place(match.start())
            if match["end"] and starts:
                found.append(range(starts.pop(), line + 1))
            elif not match["end"]:
                starts.append(line)
        return found

    @cached_property
    def declared(self) -> list[Declaration]:
        """The ARG and ENV instructions of the file, read as a Dockerfile."""
        return dockerfile.declarations(self.text)

    @cached_property
    def defined(self) -> BakeFile:
        """What the file defines, read as a bake file: JSON by its name, else HCL; of a Compose file buildx knows it.

        Raises:
            ReadError: It is not.
        """
        from orchestrator.drift.readers import bake

        if self.name.endswith((".yaml", ".yml")):
            return bake.BakeFile(text=self.text, partial=True)
        return bake.parse(self.text, json=self.name.endswith(".json"))

    @cached_property
    def images(self) -> list[StageImage]:
        """The images that its stages are FROM, read as a Dockerfile."""
        from orchestrator.dockerfile.images import images

        return images(self.text)

    def parsed(self, format_: data.Format) -> list[Node]:
        """The trees of the file in a format.

        Raises:
            ReadError: It is not in that format.
        """
        if format_ not in self._trees:
            self._trees[format_] = data.parse(self.text, format_)
        return self._trees[format_]

    def given(self, reader: str, pointer: str, read: Callable[[], list[shell.BuildArg]]) -> list[shell.BuildArg]:
        """The --build-arg options below a pointer, which `read` reads the first time."""
        key = reader, pointer
        if key not in self._given:
            self._given[key] = read()
        return self._given[key]

    def assigned(self, key: tuple[str, str, str], read: Callable[[], list[shell.Assigned]]) -> list[shell.Assigned]:
        """The assignments of its scripts, which `read` reads the first time that a reader, pointer and needle ask."""
        if key not in self._assigned:
            self._assigned[key] = read()
        return self._assigned[key]


class Files:
    """The files of a repository.

    Args:
        root: The directory that paths of claims start from.
        overlay: Texts in place of those on disk, by name: a fix is checked before it is written.
        buildx: Evaluates expressions of bake files, None if only the files may be read.
    """

    def __init__(self, root: Path, overlay: Mapping[str, str] | None = None, buildx: Buildx | None = None) -> None:
        self.root = root
        self.overlay: Mapping[str, str] = overlay or {}
        self.buildx = buildx
        self._known: dict[str, File] = {}

    def names(self, pattern: str) -> list[str]:
        """The files that match a path or a glob, as paths below the root."""
        if not re.search(r"[*?\[]", pattern):
            return [pattern] if (self.root / pattern).is_file() else []
        fixed = PurePosixPath(re.split(r"[*?\[]", pattern)[0] + "x").parent
        wanted = re.compile(_translated(pattern))
        found = (path.relative_to(self.root).as_posix() for path in walk(self.root / fixed))
        return sorted(name for name in found if wanted.fullmatch(name))

    def read(self, name: str) -> File:
        """Read a file.

        Raises:
            UnreadableError: It cannot be read, or is too large.
        """
        if name not in self._known:
            text = self.overlay.get(name)
            self._known[name] = File(name, read_text(self.root / name) if text is None else text)
        return self._known[name]


def _translated(pattern: str) -> str:
    """A glob as a regular expression: `**/` is any number of directories, `*` and `?` stay within one name."""
    pieces = []
    end = 0
    for match in _GLOB.finditer(pattern):
        pieces.append(re.escape(pattern[end : match.start()]))
        match match[0]:
            case "**/":
                pieces.append("(?:[^/]+/)*")
            case "**":
                pieces.append(".*")
            case "*":
                pieces.append("[^/]*")
            case "?":
                pieces.append("[^/]")
            case characters:
                inside = re.sub(r"([\\\[&~|])", r"\\\1", characters[1:-1])
                pieces.append(f"[^{inside[1:]}]" if inside.startswith("!") else f"[{inside}]")
        end = match.end()
    return "".join([*pieces, re.escape(pattern[end:])])


def walk(root: Path) -> Iterator[Path]:
    """Every regular file below a directory in order, without links and without what is never a project's own."""
    for folder, folders, names in os.walk(root):
        if _MADE.intersection(names):
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if name not in _FOREIGN and not name.endswith(".egg-info"))
        for name in sorted(names):
            path = Path(folder, name)
            with contextlib.suppress(OSError):  # a pipe has no end to read to; a file may be gone
                if stat.S_ISREG(path.lstat().st_mode):
                    yield path


def read_text(path: Path) -> str:
    """A file's text, every byte of it kept: line ends, a byte-order mark, bytes that are not UTF-8.

    Raises:
        UnreadableError: It cannot be read, is too large, or is no text.
    """
    try:
        size = path.stat().st_size
        if size > _MAX_BYTES:
            raise UnreadableError(f"the file is too large: expected at most {_MAX_BYTES:,} bytes, found {size:,}")
        content = path.read_bytes()
    except OSError as error:
        raise UnreadableError(f"the file cannot be read: {error.strerror}") from error
    if b"\0" in content:  # a longer value moves whatever follows it, which only a text survives
        raise UnreadableError("the file is binary: expected a text, found a NUL byte")
    return content.decode("utf-8", "surrogateescape")


def outside(pattern: str) -> bool:
    """Whether a path leads out of the repository."""
    return pattern.startswith("/") or ".." in pattern.split("/") or "\0" in pattern
