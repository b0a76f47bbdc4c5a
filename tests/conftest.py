"""What every kind of test shares. The engine's fixtures are in tests/support/engine.py; unit tests may not use them."""

from __future__ import annotations

import os

import pytest

pytest_plugins = ["tests.support.engine"]

# What a user's or a runner's environment holds must not change what tests see.
_FOREIGN = (
    "BUILDX_BUILDER",
    "BUILDX_BAKE_FILE",
    "BUILDX_BAKE_ENTITLEMENTS_FS",
    "BUILDX_NO_DEFAULT_ATTESTATIONS",
    "BUILDX_METADATA_PROVENANCE",
    "BUILDX_METADATA_WARNINGS",
    "DOCKER_DEFAULT_PLATFORM",
    "GITHUB_ACTIONS",
    "GITHUB_OUTPUT",
    "GITHUB_STEP_SUMMARY",
    "ORCHESTRATE_DOCKER",
    "FORCE_COLOR",
    "NO_COLOR",
)


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away what would change the results of a test from outside."""
    for name in _FOREIGN:
        if name in os.environ:
            monkeypatch.delenv(name)
