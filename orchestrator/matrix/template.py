"""Placeholders in the values of matrix.yaml: `{cuda.version}`.

`${NAME}` and `%{…}` are not placeholders: they belong to bake's HCL templates and to shells, and arrive
as written. `{{name}}` stands for a literal `{name}`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_PLACEHOLDER = re.compile(
    r"\{\{(?P<literal>[A-Za-z_][\w.-]*)\}\}|(?P<foreign>[$%]\{)|\{(?P<name>[A-Za-z_][\w.-]*)\}", re.ASCII
)

PLACEHOLDERS: dict[str, str] = {
    "image": "image of matrix.yaml",
    "cuda": "key of the CUDA release, as in 13.0",
    "cuda.version": "full version, as in 13.0.2",
    "cuda.major": "as in 13",
    "cuda.minor": "as in 0",
    "cuda.short": "digits of the key alone, as in 130",
    "cuda.tag_suffix": "tag_suffix of the CUDA release",
    "platform": "as in linux/amd64",
    "platform.os": "as in linux",
    "platform.arch": "as in amd64",
    "platform.machine": "as uname -m says it: x86_64, aarch64",
    "platform.runner": "runner of the platform; several labels with commas between them",
    "platform.tag_suffix": "tag_suffix of the platform",
    "target": "bake target",
    "target.tag_suffix": "tag_suffix of the target",
    "arch_list": "name of the arch list",
    "archs.torch": "effective archs for TORCH_CUDA_ARCH_LIST, as in 8.0 9.0 12.0+PTX",
    "archs.flashinfer": "effective archs for FLASHINFER_CUDA_ARCH_LIST (without +PTX, which it mangles)",
    "archs.cmake": "effective archs for CMAKE_CUDA_ARCHITECTURES",
    "archs.gencode": "effective archs as nvcc -gencode options",
    "variant.id": "as in openai-cu130-amd64",
    "variant.tag": "the id, cut to 100 characters with a digest where it is longer",
    "git.sha": "commit, 40 hex digits",
    "git.short": "commit, 12 hex digits",
    "git.branch": "branch as part of a tag: others than A-Z a-z 0-9 _ . - become -, at most 63 characters",
    "git.dirty": "-dirty if files that git tracks differ from the commit, else empty",
    "git.tag": "tag that points at the commit",
    "matrix.digest": "sha256 of matrix.yaml, 12 hex digits",
}
"""Every placeholder and its meaning; an axis adds `{axis}` and `{axis.field}`."""


class Template(Struct, frozen=True):
    """A text taken apart once, filled in many times.

    Attributes:
        parts: Literal text (False, text) and placeholders (True, name) in order.
    """

    parts: tuple[tuple[bool, str], ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The placeholders in it, in order."""
        return tuple(text for is_name, text in self.parts if is_name)

    def render(self, values: Mapping[str, str]) -> str:
        """The text with every placeholder replaced.

        Raises:
            KeyError: A placeholder has no value.
        """
        return "".join([values[text] if is_name else text for is_name, text in self.parts])


def parse(text: str) -> Template:
    """Split a text into literals and placeholders; every text is valid, `unknown` finds names that do not exist."""
    parts: list[tuple[bool, str]] = []
    end = 0
    for match in _PLACEHOLDER.finditer(text):
        literal = text[end : match.start()]
        if match["name"]:
            parts += [(False, literal), (True, match["name"])]
        elif match["literal"]:
            parts.append((False, f"{literal}{{{match['literal']}}}"))
        else:
            parts.append((False, literal + match["foreign"]))
        end = match.end()
    parts.append((False, text[end:]))
    return Template(tuple(part for part in parts if part[0] or part[1]))


def unknown(text: str, known: Iterable[str]) -> list[tuple[int, str]]:
    """The placeholders in `text` that do not exist, each with its 0-based offset in characters."""
    names = set(known)
    return [
        (match.start(), match["name"])
        for match in _PLACEHOLDER.finditer(text)
        if match["name"] and match["name"] not in names
    ]
