"""Writes to standard output and standard error: the way of every text that is not a table of rich.

Results go to standard output, everything else to standard error. What is written may hold untrusted text, so every line
is cleaned; JSON is escaped instead, so that its values stay.
"""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any

from orchestrator.untrusted import clean_lines, json_text

if TYPE_CHECKING:
    from collections.abc import Iterable


def say(text: str) -> None:
    """Write lines of the result."""
    sys.stdout.write(f"{_encodable(clean_lines(text))}\n")


def tell(text: str) -> None:
    """Write lines that are not a result: progress, hints, warnings."""
    flush_results()
    sys.stderr.write(f"{clean_lines(text)}\n")


def flush_results() -> None:
    """Let the results so far come first, where both streams lead to one file."""
    with contextlib.suppress(OSError, ValueError):  # full or closed: the end of the program says so
        sys.stdout.flush()


def write_json(value: Any, *, indent: int | None = 2) -> None:
    """Write a result as JSON; `indent` as for `json_text`."""
    sys.stdout.write(f"{json_text(value, indent=indent)}\n")


def write_exact(text: str) -> None:
    """Write a result whose bytes matter to the program that reads it: a diff for `patch`."""
    sys.stdout.write(_encodable(text))


def write_commands(lines: Iterable[str], *, result: bool = False) -> None:
    """Write workflow commands that `ui.github.command` made.

    Args:
        lines: The commands.
        result: Whether they are the result itself (`--format github`), and not said beside it.
    """
    (sys.stdout if result else sys.stderr).write("".join(f"{line}\n" for line in lines))


def _encodable(text: str) -> str:
    """Bytes of a file that are not UTF-8 are shown as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()
