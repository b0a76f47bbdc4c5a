"""Finds the Dockerfile instruction behind a failed step: its file and line.

BuildKit prints an excerpt (`Dockerfile:12` above a line of dashes) for most failures and names the file without its
directory. For the rest (a step over its limit, a builder that went silent) the step's name is looked for.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from orchestrator.dockerfile import stages
from orchestrator.engine import buildx
from orchestrator.errors import OrchestrateError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_EXCERPT = re.compile(r"(?P<file>[^\s:][^:]{0,400}):(?P<line>\d{1,7})")
_RULE = re.compile(r"-{10,}")
_STEP = re.compile(r"\[(?:\S+/\S+ )?(?P<stage>\S+) \d+/\d+\] (?P<keyword>[A-Za-z]+) (?P<rest>.*)", re.DOTALL)
_INLINE = "dockerfile-inline"


class Origin(Struct, frozen=True, kw_only=True):
    """Where an instruction stands: a path, relative to the working directory where it is below it, and a line."""

    file: str
    line: int


class Excerpt:
    """Reads the head of BuildKit's excerpt in what buildx prints after a failure."""

    def __init__(self) -> None:
        self._before = ""
        self.found: Origin | None = None

    def add(self, line: str) -> None:
        """Follow one line."""
        if self.found is None and _RULE.fullmatch(line):
            head = _EXCERPT.fullmatch(self._before)
            self.found = Origin(file=head["file"], line=int(head["line"])) if head else None
        self._before = line


def origin(root: Path, members: Mapping[str, Mapping[str, Any]], step: str, excerpt: Origin | None) -> Origin | None:
    """Return where the instruction of a failed step stands, None where that is not known.

    Args:
        root: The directory that paths of the targets are relative to.
        members: The targets of the bake file.
        step: The failed step, as BuildKit names it.
        excerpt: What buildx printed.
    """
    found = [(file, _line(text, step)) for file, text in _dockerfiles(root, members)]
    if excerpt is not None:
        named = [one for one in found if one[0] == _INLINE or Path(one[0]).name == Path(excerpt.file).name]
        file = next((file for file, line in named if line), named[0][0] if named else excerpt.file)
        return Origin(file=file, line=excerpt.line)
    return next((Origin(file=file, line=line) for file, line in found if line), None)


def _dockerfiles(root: Path, members: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """The Dockerfiles that can be read here, as they are shown, with their texts."""
    for member in members.values():
        with contextlib.suppress(OrchestrateError):
            text, _ = buildx.dockerfile(root, member)
            if text is not None:
                path = buildx.dockerfile_path(root, member)
                yield (_INLINE if path is None else _shown(path)), text


def _line(text: str, step: str) -> int:
    """The line of a step, 0 where no instruction of the Dockerfile is the step's."""
    match = _STEP.fullmatch(step)
    if match is None:
        return 0
    stage = stages.parse(text).stage(re.sub(r"^stage-(?=\d+$)", "", match["stage"]))
    words = match["rest"].split()
    for one in stage.steps if stage is not None else ():
        own = one.text.split()
        if own and one.keyword == match["keyword"].upper() and words[-len(own) :] == own:
            return one.line
    return 0


def _shown(path: Path) -> str:
    here = os.path.relpath(path)
    return str(path) if here.startswith("..") else here
