"""Renames the attribute `output` in the text of bake files, so that it can be read without being opened (buildx.py)."""

from __future__ import annotations

import contextlib
import json
import re
from typing import Any

_RENAMED = {"output": "cache-to", "cache-to": "x-cache-to"}
_HCL = re.compile(
    r"""(?<![\w-])(?:output|cache-to)(?=[^\S\n]*=(?![=>]))|(?<=\.)output(?![\w-])|(?<=\[")output(?="\])"""
)
_COMPOSE = re.compile(
    r"""^(?P<indent> *)["']?x-bake["']?[^\S\n]*:.*\n?(?:(?:(?P=indent) .*|[^\S\n]*)\n?)*""", re.MULTILINE
)
_COMPOSE_KEY = re.compile(r"""(?<![\w-])(?:output|cache-to)(?=["']?[^\S\n]*:)""")


def renamed(file: str, text: str) -> tuple[str, int]:
    """Return a bake file in which outputs have the name of caches, and how many there are."""
    count = 0

    def new(found: re.Match[str]) -> str:
        nonlocal count
        count += found.group() == "output"
        return _RENAMED[found.group()]

    if file.endswith((".yml", ".yaml")):
        return _COMPOSE.sub(lambda found: _COMPOSE_KEY.sub(new, found.group()), text), count
    if not text.lstrip().startswith("{"):
        return _HCL.sub(new, text), count

    def within(value: Any, depth: int) -> Any:
        """The targets of a file in JSON, whose blocks may be lists of blocks."""
        if isinstance(value, list):
            return [within(one, depth) for one in value]
        if not isinstance(value, dict):
            return value
        if depth:
            inner = {"target"} if depth == 2 else value.keys()
            return {name: within(one, depth - 1) if name in inner else one for name, one in value.items()}
        return {_HCL.sub(new, f"{name}=").removesuffix("="): one for name, one in value.items()}

    with contextlib.suppress(ValueError, RecursionError):  # buildx says that it is invalid
        return json.dumps(within(json.loads(text), 2)), count
    return text, 0
