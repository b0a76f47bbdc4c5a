"""Whether FlashInfer is named in a Dockerfile at all: only then is it asked what the targets build."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from orchestrator.drift.files import UnreadableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.drift.files import Files

# A hint where to look, not a reader of bake files: what a target builds is buildx's answer.
_NAMED = re.compile(r"""["']?dockerfile["']?\s*[=:]\s*["']([^"'$]+)["']""")


def mentioned(bake_files: Sequence[str], files: Files) -> bool:
    """Whether a Dockerfile that a bake file names, or its own text, has the word FlashInfer.

    Args:
        bake_files: Names below the root.
        files: The files of the repository.
    """
    names = {"Dockerfile"}
    for name in bake_files:
        text = _text(files, name)
        if "flashinfer" in text.lower():
            return True
        names |= set(_NAMED.findall(text))
    return any("flashinfer" in _text(files, name).lower() for name in sorted(names))


def _text(files: Files, name: str) -> str:
    try:
        return files.read(name).text
    except UnreadableError:
        return ""
