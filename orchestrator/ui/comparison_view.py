"""Shows what `verify --compare` found as Markdown for a job summary: what each library gained and lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.sizes import size_text
from orchestrator.ui.summary import append_text, code_span

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orchestrator.image.verdict.compare import Change, Comparison

MAX_LIBRARIES = 50
"""Rows of the table; --format json lists all."""


def append(found: Comparison, *, env: Mapping[str, str]) -> str:
    """Append the Markdown to the job summary; why that failed, "" where it did not or nobody asks for one."""
    return append_text(markdown(found), env=env)


def markdown(found: Comparison) -> str:
    """Return what changed: the libraries that lost code first."""
    lines = [f"### Device code: {code_span(found.old)} -> {code_span(found.new)}", ""]
    lost = {problem.file: problem.what for problem in found.lost}
    changed = [one for one in found.changes if one.path in lost or one.state != "same" or one.bytes[0] != one.bytes[1]]
    changed.sort(key=lambda one: one.path not in lost)
    if changed:
        lines += ["| library | gained | lost | size |", "| --- | --- | --- | --- |"]
        lines += [_row(one, lost.get(one.path, "")) for one in changed[:MAX_LIBRARIES]]
        more = len(changed) - MAX_LIBRARIES
        lines += [f"| {more} more | | | |"] if more > 0 else []
    else:
        lines.append("Every library holds the same architectures.")
    sizes = [f"{code_span(tag)} {_sizes(pair)}" for tag, pair in found.bytes.items() if pair[0] != pair[1]]
    if sizes:
        lines += ["", f"Bytes by architecture: {', '.join(sizes)}"]
    return "\n".join(lines) + "\n\n"


def _row(one: Change, lost: str) -> str:
    name = code_span(one.path) + (f" ({one.state})" if one.state in ("added", "removed") else "")
    less = f"**{_tags(one.lost)}**" if one.lost else f"**{code_span(lost)}**" if lost else ""
    return f"| {name} | {_tags(one.gained)} | {less} | {_sizes(one.bytes)} |"


def _tags(tags: Sequence[str]) -> str:
    return " ".join(code_span(tag) for tag in tags)


def _sizes(pair: tuple[int, int]) -> str:
    change = pair[1] - pair[0]
    return f"{size_text(pair[1])} ({'+' if change >= 0 else '-'}{size_text(abs(change))})"
