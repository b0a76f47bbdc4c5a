"""The files of a repository: named, walked and read, every byte of them kept.

It knows the disk and what is never a project's own (version control, virtual environments); it must not know claims.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from orchestrator.dockerfile import read as dockerfile
from orchestrator.dockerfile.spans import Lines
from orchestrator.drift.readers import data, shell

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from orchestrator.dockerfile.read import Declaration
    from orchestrator.drift.evaluate import Buildx
    from orchestrator.drift.readers.tree import Node

_MAX_BYTES = 20_000_000
_FOREIGN = frozenset(
    {".git", ".hg", ".svn", ".tox", ".nox", "node_modules", "__pycache__", "site-packages", ".mypy_cache",
     ".ruff_cache", ".pytest_cache", ".cache", ".orchestrate"}
)  # fmt: skip
_MADE = frozenset({"pyvenv.cfg", "CMakeCache.txt"})  # what lies beside these was made, not written
_GLOB = re.compile(r"\*\*/|\*\*|\*|\?|\[!?\]?[^\]/]*\]")


class UnreadableError(ValueError):
    """A file cannot be read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class File:
    """A file of the repository, read once.

    Attributes:
        name: Its path below the root, with slashes.
        text: Its text; bytes that are not UTF-8 are kept as they are (surrogates), so that they can be written back.
        lines: Where its lines begin.
        trees: Its parsed trees by format, filled as readers ask.
        instructions: What a Dockerfile declares, filled likewise (one list, or none yet).
        given: The --build-arg options below each pointer, filled likewise.
    """

    name: str
    text: str
    lines: Lines
    trees: dict[data.Format, list[Node]] = field(default_factory=dict)
    instructions: list[list[Declaration]] = field(default_factory=list)
    given: dict[str, list[shell.BuildArg]] = field(default_factory=dict)

    @classmethod
    def of(cls, name: str, text: str) -> File:
        """A file with this text."""
        return cls(name=name, text=text, lines=Lines.of(text))

    def parsed(self, format_: data.Format) -> list[Node]:
        """The trees of the file in a format.

        Raises:
            ValueError: It is not of that format.
        """
        if format_ not in self.trees:
            self.trees[format_] = data.parse(self.text, format_)
        return self.trees[format_]

    def declared(self) -> list[Declaration]:
        """The ARG and ENV instructions of the file, taken as a Dockerfile."""
        if not self.instructions:
            self.instructions.append(dockerfile.declarations(self.text))
        return self.instructions[0]


@dataclass(frozen=True, kw_only=True, slots=True)
class Files:
    """The files of a repository.

    Attributes:
        root: The directory that claims' paths start from.
        overlay: Texts that stand for those on disk, by name: a fix is checked before it is written.
        buildx: Evaluates expressions of bake files, None where only the files may be asked.
        known: Files read so far.
    """

    root: Path
    overlay: Mapping[str, str] = field(default_factory=dict)
    buildx: Buildx | None = None
    known: dict[str, File] = field(default_factory=dict)

    def names(self, pattern: str) -> list[str]:
        """The files that a path or a glob means, as paths below the root; empty where there is none."""
        if not re.search(r"[*?\[]", pattern):
            return [pattern] if (self.root / pattern).is_file() else []
        fixed = PurePosixPath(re.split(r"[*?\[]", pattern)[0] + "x").parent
        wanted = re.compile(_translated(pattern))
        found = (path.relative_to(self.root).as_posix() for path in walk(self.root / fixed))
        return sorted(name for name in found if wanted.fullmatch(name))

    def read(self, name: str) -> File:
        """A file.

        Raises:
            UnreadableError: It cannot be read, or is absurdly large.
        """
        if name not in self.known:
            text = self.overlay.get(name)
            self.known[name] = File.of(name, read_text(self.root / name) if text is None else text)
        return self.known[name]


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
    """Every file below a directory in order, without links and without what is no project's own."""
    for folder, folders, names in os.walk(root):
        if _MADE.intersection(names):
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if name not in _FOREIGN and not name.endswith(".egg-info"))
        for name in sorted(names):
            path = Path(folder, name)
            if not path.is_symlink():
                yield path


def read_text(path: Path) -> str:
    """A file's text, every byte of it kept: line ends, a byte-order mark, bytes that are not UTF-8.

    Raises:
        UnreadableError: It cannot be read, or is absurdly large.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise UnreadableError(f"it is larger than {_MAX_BYTES:,} bytes")
        return path.read_bytes().decode("utf-8", "surrogateescape")
    except OSError as error:
        raise UnreadableError(f"it cannot be read: {error.strerror}") from error


def outside(pattern: str) -> bool:
    """Whether a path leads out of the repository."""
    path = PurePosixPath(pattern)
    return path.is_absolute() or ".." in path.parts or "\0" in pattern
