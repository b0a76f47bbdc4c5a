"""What is found in a repository: places with what they say, lines that no reader understands, and files left out."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from msgspec import Struct, field

if TYPE_CHECKING:
    from orchestrator.drift.locator import Locator
    from orchestrator.drift.loose import Mention
    from orchestrator.errors import Problem


class Kind(StrEnum):
    """What a matrix owns, as `check --find` names it."""

    ARCH_LIST = "arch list"
    CUDA = "CUDA"
    ARGUMENT = "argument"


class Subject(Struct, frozen=True, kw_only=True):
    """What several places say something about: the arch lists, one CUDA release, one argument.

    Attributes:
        kind: Which of the three.
        name: The release (13.0) or the argument in lowercase letters; "" for arch lists.
    """

    kind: Kind
    name: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}".strip()


class Sight(Struct, frozen=True, kw_only=True):
    """One place that holds something that a matrix owns.

    Attributes:
        subject: What it is about.
        name: The variable, argument or key that it stands under.
        value: Its value.
        line: 1-based line.
        locator: Where it is.
        whole: The text around a CUDA version: nvidia/cuda:13.0.2-devel-ubuntu22.04.
        dockerfile: The Dockerfile that a --build-arg is for, "" if the command does not say.
        within: Pointer to the step of a pipeline that it is in, empty outside of one.
        written: The value as the file spells it, where `value` spells it otherwise.
        command: The command that it is an argument of, "" where it is none.
        mapping: Pointer to the mapping of a data file that it stands in.
        arguments: The bake targets and Compose services that it is an argument of, each with the argument's name.
        conditional: Whether the file is a template, and a condition of it decides whether the place is there.
    """

    subject: Subject
    name: str
    value: str
    line: int
    locator: Locator
    whole: str = ""
    dockerfile: str = ""
    within: tuple[str, ...] = ()
    written: str = ""
    command: str = ""
    mapping: tuple[str, ...] = ()
    arguments: tuple[tuple[str, str], ...] = ()
    conditional: bool = False

    @property
    def file(self) -> str:
        """Path of its file below the root."""
        return self.locator.file


def normal(value: str) -> str:
    """A value as it is compared: separators of lists do not count."""
    return " ".join(value.replace(";", " ").split()) if ";" in value else value.strip()


class Seen(Struct, kw_only=True):
    """What was found so far.

    Attributes:
        sights: Every place.
        followed: Places that take what they say from another one; a claim that means one beside them means them too.
        cuda_dockerfiles: The Dockerfiles that hold an arch list or a CUDA version.
        mentions: Lists and versions in lines that no reader understands: prose, comments, other languages.
        skipped: Files that could not be read, each with its place.
    """

    sights: list[Sight] = field(default_factory=list)
    followed: list[Sight] = field(default_factory=list)
    mentions: list[Mention] = field(default_factory=list)
    cuda_dockerfiles: set[str] = field(default_factory=set)
    skipped: list[Problem] = field(default_factory=list)
