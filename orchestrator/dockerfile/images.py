"""The images that stages are FROM: repository and tag, with the exact characters of the tag."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from orchestrator.dockerfile.declared import GLOBAL, declarations
from orchestrator.dockerfile.directives import escape_character
from orchestrator.dockerfile.options import leading
from orchestrator.dockerfile.read import instructions
from orchestrator.dockerfile.spans import Style
from orchestrator.dockerfile.words import DOCKERFILE_STOP, read_word, substitute

if TYPE_CHECKING:
    from orchestrator.dockerfile.spans import Found


class StageImage(Struct, frozen=True, kw_only=True):
    """The image of one FROM instruction.

    Attributes:
        written: The image as it is written: nvidia/cuda:${CUDA_VERSION}-devel-ubuntu24.04.
        repository: The part before the tag, variables followed: nvidia/cuda.
        stage: The stage's name, or its number from 0 where it has none.
        tag: The place of the tag; None where there is none. One with variables comes from elsewhere (`via`).
    """

    written: str
    repository: str
    stage: str
    tag: Found | None


def images(text: str) -> list[StageImage]:
    """The image of every stage that is FROM one, in order; stages FROM another stage are left out.

    Args:
        text: The Dockerfile.
    """
    escape = escape_character(text)
    defaults = {
        one.name: one.found.value
        for one in declarations(text)
        if one.kind == "ARG" and one.stage == GLOBAL and one.found is not None
    }
    stages: set[str] = set()
    found = []
    for number, one in enumerate(step for step in instructions(text) if step.keyword == "FROM"):
        _, at = leading(one.text, one.at)
        image = read_word(one.text, at, escape=escape, stop=DOCKERFILE_STOP, shell=False)
        rest = one.text[image.end :].split()
        name = rest[1] if len(rest) > 1 and rest[0].lower() == "as" else str(number)
        whole = substitute(one.text[image.start : image.end], defaults.get, escape=escape)
        if whole and whole.lower() not in stages:
            repository, _, tag = whole.partition("@")[0].rpartition(":")
            repository, tag = (repository, tag) if repository and "/" not in tag else (whole.partition("@")[0], "")
            place = None
            if tag:
                name_and_tag = one.text[image.start : image.end].partition("@")[0]
                end = image.start + len(name_and_tag)
                start = image.start + name_and_tag.rfind(":") + 1
                plain = one.text[start:end] == tag and all(variable.end < start for variable in image.variables)
                place = one.source.found(tag, start, end, Style.TAG)
                if not plain:
                    as_is = name_and_tag.removeprefix(f"{repository}:")
                    there = as_is if as_is != name_and_tag else ""
                    place = replace(place, via=f"it comes from {one.text[image.start : image.end]}", written=there)
            found.append(StageImage(written=image.text, repository=repository, stage=name, tag=place))
        stages.add(name.lower())
    return found
