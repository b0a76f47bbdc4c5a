"""Shows what `plan --preflight` found: a line for each variant, then what is wrong with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator.sizes import counted
from orchestrator.untrusted import clean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.runs.preflight import Checked

SCHEMA = 1


def status(one: Checked) -> str:
    """Return one word or two for a variant."""
    if one.error is not None:
        return "refused"
    return "checked" if one.arrival is not None and one.arrival.checked else "not checked"


def plain(checked: Mapping[str, Checked]) -> str:
    """Return the findings as text; of a variant that is refused the whole error."""
    width = max(map(len, checked), default=0)
    lines: list[str] = []
    for name, one in checked.items():
        consumed = (
            f"  {counted(len(one.arrival.consumed), 'argument')} consumed" if one.error is None and one.arrival else ""
        )
        lines.append(f"{name:<{width}}  {status(one)}{consumed}".rstrip())
        lines += [f"    note: {clean(note)}" for note in one.notes]
        lines += [f"    {clean(line)}" for line in str(one.error).splitlines()] if one.error is not None else []
    refused = sum(one.error is not None for one in checked.values())
    total = f"{len(checked)} variant{'s' if len(checked) != 1 else ''}"
    lines.append(f"{total}, {refused} refused" if refused else f"{total}, nothing refused")
    return "\n".join(lines)


def as_json(checked: Mapping[str, Checked]) -> dict[str, Any]:
    """Return the findings for scripts (docs/build.md)."""
    return {"schema": SCHEMA, "variants": [_row(name, one) for name, one in checked.items()]}


def _row(name: str, one: Checked) -> dict[str, Any]:
    error = one.error
    return {
        "id": name,
        "status": status(one),
        "notes": list(one.notes),
        "consumes": sorted(one.arrival.consumed) if one.arrival is not None else [],
        "error": None
        if error is None
        else {
            "class": str(error.failure),
            "message": error.message,
            "hint": error.hint,
            "problems": [str(problem) for problem in error.problems],
        },
    }
