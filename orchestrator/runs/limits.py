"""How long a run may take for what, from the matrix and the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator import durations
from orchestrator.bake.watch import Bounds
from orchestrator.errors import UsageError, did_you_mean
from orchestrator.matrix.schema_limits import OFF, LimitsSpec
from orchestrator.runs.wishes import Limits

if TYPE_CHECKING:
    from collections.abc import Iterable


def limits(spec: LimitsSpec, given: Iterable[str], *, parallel: int, fail_fast: bool) -> Limits:
    """Return the limits of a run.

    Args:
        spec: What the matrix says.
        given: `NAME=SPAN` of the command line, which wins.
        parallel: How many variants run at once.
        fail_fast: Whether the first failed variant cancels the others.

    Raises:
        UsageError: A text is no limit.
    """
    found = {name: spec.seconds(name) for name in LimitsSpec.section_keys}
    for text in given:
        name, _, value = text.partition("=")
        if name not in found:
            raise UsageError(f"--limit {text}: {name} is not a limit", hint=did_you_mean(name, found))
        found[name] = durations.parse(value)
        if not found[name] and value != OFF:
            raise UsageError(f"--limit {text}: the span is invalid: expected {durations.FORM}, or {OFF}")
    return Limits(
        parallel=parallel,
        fail_fast=fail_fast,
        variant_s=found["variant"],
        bounds=Bounds(step_s=found["step"], silence_s=found["silence"]),
    )
