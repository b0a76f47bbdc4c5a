"""What a wheelhouse is asked to hold: requirement files with what they include, and single requirements."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from packaging.requirements import Requirement

_INCLUDED = re.compile(r"^[ \t]*(?:(?P<limits>-c|--constraint)|-r|--requirement)[ \t=]*(?P<file>[^\s#]+)", re.MULTILINE)
_CONTINUED = re.compile(r"\\\r?\n")
_END = re.compile(r"(?:^|[ \t])#|[ \t]--hash\b")
_MOST_FILES = 200
_MOST_BYTES = 8 << 20


class Asked(Struct, frozen=True, kw_only=True):
    """Requirements of one wheelhouse.

    Attributes:
        files: Requirement files that pip is given.
        packages: Single requirements, as in `setuptools>=77`.
        texts: Text of every file, those that the files include among them.
        limits: Text of every constraint file: it limits versions and asks for nothing.
    """

    files: tuple[Path, ...]
    packages: tuple[str, ...]
    texts: tuple[str, ...]
    limits: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """sha256 over everything that is asked for, as bare hex: whether a lock is stale."""
        digest = hashlib.sha256()
        for text in (*self.packages, "", *self.texts, "", *self.limits):
            digest.update(hashlib.sha256(text.encode()).digest())
        return digest.hexdigest()

    def requirements(self) -> Iterator[Requirement]:
        """The requirements that are named by package; paths, URLs and options of pip are left out."""
        from packaging.requirements import InvalidRequirement, Requirement

        lines = [line for text in self.texts for line in _CONTINUED.sub(" ", text).splitlines()]
        for line in (*self.packages, *lines):
            bare = _END.split(line)[0].strip()
            if bare and not bare.startswith("-"):
                try:
                    yield Requirement(bare)
                except InvalidRequirement:
                    continue


def read(root: Path, files: Sequence[str], packages: Sequence[str]) -> Asked:
    """Read the requirement files of a matrix.

    Args:
        root: Where relative paths start.
        files: Requirement files.
        packages: Single requirements.

    Raises:
        UsageError: A file is missing or cannot be read, or a requirement is not one.
    """
    from packaging.requirements import InvalidRequirement, Requirement

    for package in packages:
        try:
            Requirement(package)
        except InvalidRequirement as error:
            raise UsageError(
                f"wheels.packages: {package!r} is invalid: expected a form like setuptools>=77",
                hint="requirement files belong into wheels.requirements",
            ) from error
    found = _Files()
    for file in files:
        found.include(Path(os.path.normpath(root / file)), f"wheels.requirements: {file}")
    return Asked(
        files=tuple(root / file for file in files),
        packages=tuple(packages),
        texts=tuple(found.texts.values()),
        limits=tuple(text for path, text in found.limits.items() if path not in found.texts),
    )


class _Files:
    """The files that are read, each once: requirements, and constraints."""

    def __init__(self) -> None:
        self.texts: dict[Path, str] = {}
        self.limits: dict[Path, str] = {}

    def include(self, path: Path, place: str) -> None:
        """Read a file and those that it includes."""
        pending = [(path, place, self.texts)]
        while pending:
            path, place, known = pending.pop(0)
            if path in known:
                continue
            if len(self.texts) + len(self.limits) >= _MOST_FILES:
                raise UsageError(f"{place}: more than {_MOST_FILES} requirement files include each other")
            text = known[path] = _read(path, place)
            for match in _INCLUDED.finditer(text):
                if "://" not in match["file"]:
                    # what a constraint file includes limits as well
                    into = self.limits if match["limits"] or known is self.limits else self.texts
                    below = Path(os.path.normpath(path.parent / match["file"]))
                    pending.append((below, f"{path}: {match['file']}", into))


def _read(path: Path, place: str) -> str:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise UsageError(f"{place}: a requirement file has more than {_MOST_BYTES >> 20} MiB")
        return path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:  # a name with a null character, bytes that are not UTF-8
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"{place}: the requirement file cannot be read: {reason}") from error
