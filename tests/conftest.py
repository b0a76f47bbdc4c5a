"""What every kind of test shares. The engine's fixtures are in tests/support/engine.py; unit tests may not use them."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests.support.artifacts import NOT_DOWNLOADED, downloads
from tests.support.generated import examples

if TYPE_CHECKING:
    from collections.abc import Iterator

MEASURED = Path(__file__).resolve().parents[1] / ".cache" / "coverage"
"""Where `make test` keeps what it covered; scripts/coverage does not judge what is incomplete."""

pytest_plugins = ["tests.support.engine", "tests.support.emulation"]

settings.register_profile("any machine", examples())
settings.load_profile("any machine")

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


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Tell the downloads which test asks for them."""
    downloads.item = item
    try:
        return (yield)
    finally:
        downloads.item = None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was not downloaded, and how many tests did not run for it."""
    missing: Counter[str] = Counter()
    for report in terminalreporter.stats.get("skipped", []):
        _, found, what = str(report.longrepr).partition(NOT_DOWNLOADED)
        if found:
            missing[what.rstrip("')")] += 1
    if missing:
        terminalreporter.section("not downloaded, no network")
        for what, tests in sorted(missing.items()):
            terminalreporter.write_line(f"{what}: {tests} tests skipped")
        if MEASURED.is_dir():
            (MEASURED / "incomplete").touch()
