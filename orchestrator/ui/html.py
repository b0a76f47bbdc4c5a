"""What the HTML pages share: the template with its style, and text that is safe to stand in them.

A page needs nothing else and fetches nothing: its Content-Security-Policy allows styles that stand in it, and no more.
"""

from __future__ import annotations

from html import escape
from importlib.resources import files
from string import Template


def filled(name: str, *, title: str, **parts: str) -> str:
    """Return a page.

    Args:
        name: File of its template in this package; `$head` in it is what all pages begin with.
        title: Of the page, as HTML.
        parts: What stands in it, as HTML.
    """
    package = files("orchestrator.ui")
    head, page, style = (package.joinpath(one).read_text(encoding="utf-8") for one in ("head.html", name, "page.css"))
    return Template(page).substitute(head=Template(head).substitute(title=title, style=style), **parts)


def escaped(untrusted: str) -> str:
    """Escape untrusted text for HTML; what prints nothing or turns the line around is written as its code."""
    shown = "".join(one if one.isprintable() else f"\\u{{{ord(one):x}}}" for one in untrusted)
    return escape(shown).replace("##", "#&#35;")  # `##[` is a command in the log of a workflow that prints the page
