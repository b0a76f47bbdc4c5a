"""Limits of a run: the matrix, and the command line over it."""

from __future__ import annotations

import pytest

from orchestrator.errors import UsageError
from orchestrator.matrix.schema_limits import LimitsSpec
from orchestrator.runs.limits import limits


def test_the_command_line_replaces_single_limits_of_the_matrix() -> None:
    spec = LimitsSpec(variant="6h", step="off", silence="10m")
    found = limits(spec, ["step=90s", "silence=off"], parallel=3, fail_fast=True)
    assert (found.variant_s, found.bounds.step_s, found.bounds.silence_s) == (6 * 3600, 90, None)
    assert (found.parallel, found.fail_fast) == (3, True)


def test_a_silent_builder_is_asked_after_ten_minutes_where_nothing_is_said() -> None:
    found = limits(LimitsSpec(), [], parallel=1, fail_fast=False)
    assert (found.variant_s, found.bounds.step_s, found.bounds.silence_s) == (None, None, 600)


@pytest.mark.parametrize("text", ["step", "step=", "step=3", "step=-3m", "step=0m", "silence=never", "silence=\u0661m"])
def test_a_span_that_is_none_is_refused_with_the_form(text: str) -> None:
    with pytest.raises(UsageError, match="expected a number and s, m, h, d or w, as in 90s or 7d, or off"):
        limits(LimitsSpec(), [text], parallel=1, fail_fast=False)


def test_a_limit_that_is_none_is_refused_with_the_near_one() -> None:
    with pytest.raises(UsageError, match="silense is not a limit") as caught:
        limits(LimitsSpec(), ["silense=3m"], parallel=1, fail_fast=False)
    assert caught.value.hint == "did you mean silence?"


def test_the_matrix_is_held_to_the_same_form() -> None:
    assert LimitsSpec(silence="off", step="3h").broken_rule() == ""
    assert LimitsSpec(step="3 hours").broken_rule().startswith("step: 3 hours is invalid: expected a number")
