"""Shows what the caches hold: a line for each thing, the total, and what of it can go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator.durations import duration
from orchestrator.sizes import size_text
from orchestrator.untrusted import clean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from orchestrator.cache.holdings import Holding

SCHEMA = 1
_DAY = 86400
_COLUMNS = ("where", "kind", "name", "variants", "used", "size", "reclaimable")
_RIGHT = ("used", "size", "reclaimable")
_MOST_VARIANTS = 2


def plain(found: Sequence[Holding], *, now: datetime) -> str:
    """Return the holdings as a table."""
    rows = [_COLUMNS, *(_cells(one, now) for one in found)]
    total, free = sum(one.size for one in found), sum(one.reclaimable for one in found)
    rows.append(("total", "", "", "", "", size_text(total), size_text(free)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    aligned = [
        [
            cell.rjust(width) if name in _RIGHT else cell.ljust(width)
            for name, cell, width in zip(_COLUMNS, row, widths, strict=True)
        ]
        for row in rows
    ]
    return "\n".join("  ".join(row).rstrip() for row in aligned)


def _cells(one: Holding, now: datetime) -> tuple[str, ...]:
    more = len(one.variants) - _MOST_VARIANTS
    variants = ", ".join(one.variants[:_MOST_VARIANTS]) + (f" and {more} more" if more > 0 else "")
    free = size_text(one.reclaimable) if one.reclaimable else ""
    return (one.where, one.kind, clean(one.name), variants, _age(one.used, now), size_text(one.size), free)


def _age(used: datetime | None, now: datetime) -> str:
    if used is None:
        return ""
    seconds = max(0.0, (now - used).total_seconds())
    return f"{int(seconds // _DAY)}d ago" if seconds >= _DAY else f"{duration(seconds)} ago"


def as_json(found: Sequence[Holding], missing: Mapping[str, str]) -> dict[str, Any]:
    """Return the same for scripts (docs/cache.md).

    Args:
        found: What the caches hold.
        missing: Each place that did not answer, and why.
    """
    return {
        "schema": SCHEMA,
        "total": sum(one.size for one in found),
        "reclaimable": sum(one.reclaimable for one in found),
        "holdings": [
            {
                "where": one.where.value,
                "kind": one.kind,
                "name": one.name,
                "variants": list(one.variants),
                "size": one.size,
                "reclaimable": one.reclaimable,
                "used": one.used.isoformat(timespec="seconds") if one.used is not None else None,
            }
            for one in found
        ],
        "left_out": [{"place": place, "why": why} for place, why in missing.items()],
    }
