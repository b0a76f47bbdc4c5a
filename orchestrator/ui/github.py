"""Writes workflow commands of GitHub Actions, with places and escapes that the runner accepts.

They go to standard error, which the runner reads as well, so that standard output stays the result alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from orchestrator.untrusted import clean_lines

if TYPE_CHECKING:
    from collections.abc import Mapping


class Place(Struct, frozen=True, kw_only=True):
    """Where an annotation stands.

    Attributes:
        file: Path below the root of the repository, "" for none.
        line: 1-based line, 0 if unknown.
        column: 1-based column, 0 if unknown.
        end_column: 1-based column behind the last character, 0 if unknown.
    """

    file: str = ""
    line: int = 0
    column: int = 0
    end_column: int = 0


def running(env: Mapping[str, str]) -> bool:
    """Return whether this process runs in a workflow."""
    return env.get("GITHUB_ACTIONS") == "true"


def command(name: str, text: str = "", *, place: Place | None = None, title: str = "") -> str:
    """Return one workflow command, one line.

    Args:
        name: Its name: error, warning, notice, group, endgroup, stop-commands or a token of that.
        text: What follows; control sequences are removed, several lines are escaped.
        place: Where an annotation stands; unknown numbers are left out, because the runner refuses 0.
        title: The title of an annotation.
    """
    where = place or Place()
    numbered = bool(where.file) and where.line > 0
    fields = {
        "file": where.file,
        "line": str(where.line) if numbered else "",
        "col": str(where.column) if numbered and where.column > 0 else "",
        "endColumn": str(where.end_column) if numbered and where.column > 0 and where.end_column > 0 else "",
        "title": title,
    }
    shown = ",".join(f"{key}={_property(value)}" for key, value in fields.items() if value)
    return f"::{name}{' ' + shown if shown else ''}::{_data(text)}"


def _data(text: str) -> str:
    cleaned = clean_lines(text.replace("\r\n", "\n"))
    return cleaned.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
