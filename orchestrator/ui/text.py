"""Text for terminals: shortened, and in signs that the encoding of the stream has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import astuple

if TYPE_CHECKING:
    from typing import IO


class Signs(Struct, frozen=True, kw_only=True):
    """The signs of a display."""

    built: str
    failed: str
    cancelled: str
    skipped: str
    waiting: str
    spinner: str  # its frames, a character each
    ellipsis: str
    bar: str  # a full place of a bar, and an empty one


UNICODE = Signs(
    built="✓", failed="✗", cancelled="⊘", skipped="↷", waiting="·", spinner="⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏", ellipsis="…", bar="█░"
)
ASCII = Signs(built="+", failed="x", cancelled="-", skipped="=", waiting=".", spinner="|/-\\", ellipsis="...", bar="#.")


def signs(stream: IO[str]) -> Signs:
    """Return the signs that a stream's encoding has."""
    try:
        "".join(astuple(UNICODE)).encode(getattr(stream, "encoding", None) or "ascii")
    except (UnicodeError, LookupError):
        return ASCII
    return UNICODE


def short_digest(digest: str | None) -> str:
    """`sha256:` and 12 digits, as docker itself shortens; "" for None."""
    if digest is None:
        return ""
    algorithm, _, value = digest.partition(":")
    return f"{algorithm}:{value[:12]}"


def middle(text: str, width: int, ellipsis: str) -> str:
    """At most `width` characters, a piece of the middle left out: of variants' names both ends tell them apart."""
    if len(text) <= width:
        return text
    kept = max(2, width - len(ellipsis))
    return f"{text[: kept // 2]}{ellipsis}{text[len(text) - (kept - kept // 2) :]}"


def shorten(text: str, width: int, ellipsis: str) -> str:
    """Return at most `width` characters, the end left out."""
    return text if len(text) <= width else text[: max(0, width - len(ellipsis))] + ellipsis
