"""Shows what `plan --diff` found: as text, as Markdown for a job summary, and as JSON.

Variants with the same changes stand together: one architecture that is added is one line, not one for each variant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator.ui.plan_view import words
from orchestrator.ui.summary import append_text, code_span
from orchestrator.untrusted import clean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.matrix.difference import Changed, Difference

SCHEMA = 1


def plain(found: Difference, base: str) -> str:
    """Return the changes as text.

    Args:
        found: The changes.
        base: What the plan is compared with.
    """
    lines = [f"{_counts(found)} against {clean(base)}"]
    for variant in found.added:
        lines += [f"{variant.id}  added", f"    archs: {words(variant.archs.effective)}"]
        lines += [f"    tag: {clean(tag.text)}" for tag in variant.tags]
    for one in found.removed:
        lines.append(f"{one.id}  removed" + (f": {clean(one.why)}" if one.why else ""))
    for names, changes in _grouped(found).items():
        lines.append(f"{', '.join(names)}  changed")
        lines += [f"    {clean(line)}" for line in changes]
    return "\n".join(lines)


def markdown(found: Difference, base: str) -> str:
    """Return the same as Markdown; `base` as for `plain`."""
    lines = [f"### Plan: {_counts(found)} against {code_span(base)}", ""]
    rows = [
        (code_span(variant.id), "added", f"archs: {code_span(words(variant.archs.effective))}")
        for variant in found.added
    ]
    rows += [(code_span(one.id), "removed", code_span(one.why) if one.why else "") for one in found.removed]
    rows += [
        ("<br>".join(map(code_span, names)), "changed", "<br>".join(map(code_span, changes)))
        for names, changes in _grouped(found).items()
    ]
    if rows:
        lines += ["| variants | | what |", "| --- | --- | --- |", *(f"| {' | '.join(row)} |" for row in rows), ""]
    return "\n".join(lines) + "\n"


def append(found: Difference, base: str, *, env: Mapping[str, str]) -> str:
    """Append the Markdown to the job summary; why that failed, "" where it did not or nobody asks for one."""
    return append_text(markdown(found, base), env=env)


def as_json(found: Difference, base: str, commit: str) -> dict[str, Any]:
    """Return the same for scripts (docs/build.md).

    Args:
        found: The changes.
        base: What the plan is compared with, as it was given.
        commit: The commit that this is.
    """
    return {
        "schema": SCHEMA,
        "base": {"ref": base, "commit": commit},
        "added": [
            {"id": one.id, "archs": [str(arch) for arch in one.archs.effective], "tags": [tag.text for tag in one.tags]}
            for one in found.added
        ],
        "removed": [{"id": one.id, "why": one.why} for one in found.removed],
        "changed": [
            {
                "id": one.id,
                **{
                    each.what.replace(" ", "_"): {"gained": list(each.gained), "lost": list(each.lost)}
                    for each in one.lists
                },
                "values": [{"what": edit.what, "before": edit.before, "after": edit.after} for edit in one.edits],
            }
            for one in found.changed
        ],
        "same": found.same,
    }


def _counts(found: Difference) -> str:
    parts = {"added": len(found.added), "removed": len(found.removed), "changed": len(found.changed)}
    said = [f"{count} {what}" for what, count in parts.items() if count]
    return ", ".join([*said, f"{found.same} the same"] if said or found.same else ["no variants"])


def _grouped(found: Difference) -> dict[tuple[str, ...], list[str]]:
    """Return the changes by the variants that have them, in the plan's order."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for one in found.changed:
        groups.setdefault(tuple(_lines(one)), []).append(one.id)
    return {tuple(names): list(changes) for changes, names in groups.items()}


def _lines(one: Changed) -> list[str]:
    lines = []
    for each in one.lists:
        signed = [f"+{word}" for word in each.gained] + [f"-{word}" for word in each.lost]
        lines.append(f"{each.what}: {' '.join(signed)}")
    return [*lines, *(f"{edit.what}: {_side(edit.before)} -> {_side(edit.after)}" for edit in one.edits)]


def _side(value: str | None) -> str:
    return "(none)" if value is None else repr(value) if not value or " " in value else value
