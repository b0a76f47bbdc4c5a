"""Release notes as Markdown: for the release page, and for the job summary of GitHub Actions.

Names and versions come from images, which are untrusted: what is not in a code span is escaped.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.cuda.devices import device_names
from orchestrator.sizes import size_text
from orchestrator.ui.summary import VARIABLE, code_span

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from orchestrator.publish.notes import FamilyNotes, PlatformNotes

_TAG = re.compile(r"(p|lto)?(\d+)(\d)([af]?)")
_MOST_NAMES = 3
_MOST_LAYERS = 12


def markdown(families: Sequence[FamilyNotes]) -> str:
    """Return the notes of all families."""
    return "\n".join(line for family in families for line in _family(family)) + "\n"


def append_notes(text: str, *, env: Mapping[str, str]) -> str:
    """Append notes to the job summary where the environment asks for one; return why they could not be, or ""."""
    place = env.get(VARIABLE, "")
    if not place or not text.strip():
        return ""
    try:
        with Path(place).open("a", encoding="utf-8", errors="replace") as file:
            file.write(text)
    except OSError as error:
        return f"{VARIABLE}: {place}: {error.strerror}"
    return ""


def _family(family: FamilyNotes) -> Iterator[str]:
    yield f"### {code_span(family.family)}"
    yield ""
    if family.old is None:
        yield f"First release, {code_span(str(family.new))}."
    else:
        yield f"Since {code_span(family.tag)} named {code_span(str(family.old))}; now {code_span(str(family.new))}."
    yield ""
    for one in family.platforms:
        yield from _platform(one, first=family.old is None)


def _platform(one: PlatformNotes, *, first: bool) -> Iterator[str]:
    yield f"**{code_span(one.platform)}**"
    yield ""
    if one.problem:
        yield f"- not compared: {code_span(one.problem)}"
        yield ""
        return
    new = first or one.size[0] == 0
    if one.gained:
        yield f"- {'runs on' if new else 'gained'}: {'; '.join(map(architecture, one.gained))}"
    if one.lost:
        yield f"- **lost**: {'; '.join(map(architecture, one.lost))}"
    if not new and not one.gained and not one.lost:
        yield "- the same architectures"
    for name, (before, now) in one.facts.items():
        if before == now or new:
            yield f"- {name}: {code_span(now)}"
        else:
            yield f"- {name}: {code_span(before or 'none')} -> {code_span(now or 'none')}"
    if new:
        yield f"- {size_text(one.size[1])} to pull"
    else:
        yield f"- {size_text(one.size[0])} -> {size_text(one.size[1])}, of which {size_text(one.pulled)} is new to pull"
    yield from _sizes(one, first=new)
    yield ""


def _sizes(one: PlatformNotes, *, first: bool) -> Iterator[str]:
    """What it weighs, by architecture and by layer; the largest layers are named."""
    if one.archs:
        sizes = (
            f"{architecture(tag).partition(' (')[0]} "
            + (size_text(now) if first or before == now else f"{size_text(before)} -> {size_text(now)}")
            for tag, (before, now) in one.archs.items()
        )
        yield f"- device code: {', '.join(sizes)}"
    largest = sorted(enumerate(one.layers, start=1), key=lambda each: -each[1][1])[:_MOST_LAYERS]
    if largest:
        rest = len(one.layers) - len(largest)
        names = ", ".join(
            f"{number} {code_span(digest[:19])} {size_text(size)}{'' if first or not new else ' (new)'}"
            for number, (digest, size, new) in sorted(largest)
        )
        yield f"- layers: {names}{f', and {rest} smaller ones' if rest else ''}"


def architecture(tag: str) -> str:
    """Return a tag of device code as people know it: `11.0 (Jetson AGX Thor)`, `12.0 PTX`."""
    match = _TAG.fullmatch(tag)
    if match is None:
        return code_span(tag)
    kind, major, minor, suffix = match.groups()
    capability = f"{major}.{minor}"
    names = device_names(capability)[:_MOST_NAMES]
    shown = f" ({', '.join(names)})" if names and not kind else ""
    return f"{capability}{suffix}{' PTX' if kind == 'p' else ' LTO' if kind else ''}{shown}"
