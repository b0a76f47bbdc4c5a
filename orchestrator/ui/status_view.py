"""Shows what `plan --status` found: a line for each variant."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from orchestrator.untrusted import clean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.runs.status import VariantStatus

SCHEMA = 1


def plain(found: Sequence[VariantStatus]) -> str:
    """Return a line for each variant, and how many there are of each kind."""
    width = max((len(one.id) for one in found), default=0)
    lines = []
    for one in found:
        words = [one.digest] if one.digest else []
        words += [f"({one.why})" if one.digest else one.why] if one.why else []
        lines.append(f"{one.id:<{width}}  {one.state:<7}  {clean('  '.join(words))}".rstrip())
    counted = Counter(one.state for one in found)
    lines.append(", ".join(f"{count} {state}" for state, count in counted.items()) or "no variants")
    return "\n".join(lines)


def as_json(found: Sequence[VariantStatus]) -> dict[str, Any]:
    """Return the same for scripts (docs/cache.md)."""
    return {
        "schema": SCHEMA,
        "variants": [
            {
                "id": one.id,
                "status": one.state.value,
                "why": one.why,
                "digest": one.digest or None,
                "key": one.key,
                "tags": list(one.tags),
            }
            for one in found
        ],
    }
