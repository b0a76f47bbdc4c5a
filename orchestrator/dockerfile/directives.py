"""Parser directives: the `# name=value` lines at the top of a Dockerfile."""

from __future__ import annotations

import re

from msgspec import Struct

BOM = "\ufeff"
"""A byte-order mark as text; BuildKit skips one at the start of the file."""

_DIRECTIVE = re.compile(r"(?P<comment>#|//)[ \t]*(?P<name>[A-Za-z][A-Za-z0-9]*)[ \t]*=[ \t]*(?P<value>\S[^\n]*)")
_NAMES = frozenset({"syntax", "escape", "check"})
_DOCKERS = frozenset({"dockerfile", "dockerfile-upstream"})


class Directive(Struct, frozen=True, kw_only=True):
    """One parser directive.

    Attributes:
        name: Its name in lower case: `syntax`, `escape` or `check`.
        value: Its value, blanks stripped.
        start: Offset of its line.
        end: Offset after its line end.
    """

    name: str
    value: str
    start: int
    end: int


def directives(text: str, comment: str = "#") -> list[Directive]:
    """The directives at the top of a file; the first other line ends them, an unknown name does not.

    Args:
        text: The Dockerfile.
        comment: What begins them. BuildKit also looks for `// syntax=`, for frontends of other languages.
    """
    found: list[Directive] = []
    start = len(BOM) if text.startswith(BOM) else 0
    while start < len(text):
        end = text.find("\n", start) + 1 or len(text)
        match = _DIRECTIVE.fullmatch(text[start:end].strip())
        if match is None or match["comment"] != comment:
            break
        if match["name"].lower() in _NAMES:
            found.append(Directive(name=match["name"].lower(), value=match["value"].strip(), start=start, end=end))
        start = end
    return found


def escape_character(text: str) -> str:
    """The escape character that the directives choose: a backslash, or a backtick."""
    chosen = [one.value for one in directives(text) if one.name == "escape" and one.value in {"\\", "`"}]
    return chosen[0] if chosen else "\\"


def syntax(text: str) -> str:
    """The image of the frontend that the file asks for, "" for the builder's own."""
    text = text.removeprefix(BOM)
    if text.startswith("#!"):  # BuildKit looks for the syntax after a first line that starts an interpreter
        text = text[text.find("\n") + 1 or len(text) :]
    for comment in ("#", "//"):
        for one in directives(text, comment):
            if one.name == "syntax":
                return one.value.split()[0]
    return ""


def is_docker_frontend(image: str) -> bool:
    """Return whether a frontend is Docker's own, from a mirror perhaps: what others make of a file is not known.

    Args:
        image: Its reference, as in `docker/dockerfile:1.7`.
    """
    name = image.partition("@")[0].rpartition("/")[2].partition(":")[0]
    return name in _DOCKERS
