"""How many generated inputs a test tries: all of them in `make test`, a tenth in `make unit`, to stay quick."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

QUICK = os.environ.get("ORCHESTRATE_TESTS") == "quick"
"""Whether a tenth is enough (`make unit`)."""

_FEW = 10
_USUAL = 100  # hypothesis' own


def examples(most: int = _USUAL, *, shared_fixtures: bool = False) -> settings:
    """Return the settings of a test with generated inputs.

    How fast a machine is says nothing of the code: no test is judged by the clock. The first input of a new or busy
    machine takes seconds.

    Args:
        most: Inputs that `make test` tries.
        shared_fixtures: Its inputs share the fixtures of one test, and do not mind.
    """
    unminded = [HealthCheck.too_slow, *([HealthCheck.function_scoped_fixture] if shared_fixtures else [])]
    return settings(
        max_examples=most if not QUICK else max(1, most // _FEW), deadline=None, suppress_health_check=unminded
    )


def stride(step: int) -> int:
    """Return the step with which a test walks through all cases: every one of `step`, ten times as long when quick."""
    return step * _FEW if QUICK else step
