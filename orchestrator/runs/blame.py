"""Says which arguments of the matrix a failed instruction uses, and where they are written.

A base image that does not exist, a version that no index has: the Dockerfile names the argument, the matrix its value.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.dockerfile.directives import escape_character
from orchestrator.dockerfile.read import instructions
from orchestrator.dockerfile.words import substitute

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.matrix.layers import Value
    from orchestrator.runs.outcome import ErrorInfo

_MOST = 4  # arguments that are named
_WIDTH = 60  # characters of a value


def blamed(error: ErrorInfo, args: Mapping[str, Value]) -> tuple[str, ...]:
    """Return a note on the arguments that the failed instruction names; () where it names none or is not known.

    Args:
        error: Why the variant failed.
        args: The arguments that the matrix gives it.
    """
    try:
        text = Path(error.file).read_text(encoding="utf-8") if error.line else ""
    except (OSError, UnicodeDecodeError):  # inline, or changed meanwhile
        return ()
    found = next((one.text for one in instructions(text) if one.line == error.line), "")
    named: dict[str, None] = {}

    def note(name: str) -> None:
        named[name] = None

    substitute(found, note, escape=escape_character(text))
    used = [(name, args[name]) for name in named if name in args]
    if not used:
        return ()
    shown = ", ".join(f"{name}={_short(value.text)} from {value.origin}" for name, value in used[:_MOST])
    more = f" and {len(used) - _MOST} more" if len(used) > _MOST else ""
    return (f"the instruction uses {shown}{more}",)


def _short(text: str) -> str:
    shown = text if re.fullmatch(r"[\w.:/+-]+", text) else repr(text)
    return shown if len(shown) <= _WIDTH else shown[: _WIDTH - 3] + "..."
