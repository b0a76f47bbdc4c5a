"""What every kind of test shares. The engine's fixtures are in tests/support/engine.py; unit tests may not use them."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests.support.artifacts import NOT_DOWNLOADED, downloads
from tests.support.generated import examples
from tests.support.messages import spare_messages
from tests.support.order import longest_first

if TYPE_CHECKING:
    from collections.abc import Iterator

MEASURED = Path(__file__).resolve().parents[1] / ".cache" / "coverage"
"""Where `make test` keeps what it covered; scripts/coverage does not judge what is incomplete."""

LONG_FILES, LONG_S = 40, 15
"""How many files are listed at the end as those that took longest, and from how many seconds."""

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


def pytest_configure(config: pytest.Config) -> None:
    """Take away what would change the results of tests from outside, in this process and in those that it starts."""
    for name in _FOREIGN:
        os.environ.pop(name, None)
    spare_messages(config)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest; pytest-xdist hands files out as they come (--no-loadscope-reorder)."""
    rank = longest_first(item.path for item in items)
    items.sort(key=lambda item: rank[item.path])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Tell the downloads which test asks for them."""
    downloads.item = item
    try:
        return (yield)
    finally:
        downloads.item = None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which files took long, what was not downloaded, and how many tests did not run for it."""
    _long_files(terminalreporter)
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


def _long_files(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the files that took longest, for tests/support/order.py."""
    took: defaultdict[str, float] = defaultdict(float)
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                took[report.location[0]] += report.duration
    ordered = sorted(took.items(), key=lambda one: one[1], reverse=True)
    long = [(file, seconds) for file, seconds in ordered[:LONG_FILES] if seconds >= LONG_S]
    if long:
        terminalreporter.section(f"the {len(long)} longest files, seconds of {sum(took.values()):.0f}")
        for file, seconds in long:
            terminalreporter.write_line(f"{seconds:6.0f}  {file}")
