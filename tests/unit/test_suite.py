"""How the tests themselves are handed out: the longest files first, and a message only where it says something."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.support import order
from tests.support.messages import is_news

TESTS = Path(__file__).resolve().parents[1]


def test_long_files_begin_and_unit_tests_end() -> None:
    long, other = TESTS / "e2e/test_vllm_kernels.py", TESTS / "e2e/test_start.py"
    small, large = TESTS / "unit/test_state.py", TESTS / "unit/cli/test_options.py"
    files = [*[large] * 873, small, *[other] * 22, long]
    rank = order.longest_first(files)
    assert sorted(rank, key=lambda file: rank[file]) == [long, other, large, small]


def test_the_files_that_are_called_long_exist() -> None:
    assert [name for name in order.SECONDS if not (TESTS / name).is_file()] == []


def report(when: str = "call", outcome: str = "passed", duration: float = 0.001, **more: Any) -> dict[str, Any]:
    made = {"when": when, "outcome": outcome, "duration": duration, "sections": [], "user_properties": []}
    return {"data": made | more}


@pytest.mark.parametrize(
    ("name", "data", "news"),
    [
        ("logstart", {}, False),
        ("logfinish", {}, False),
        ("testreport", report(), True),
        ("testreport", report("setup"), False),
        ("testreport", report("teardown"), False),
        ("testreport", report("teardown", "failed"), True),
        ("testreport", report("setup", "skipped"), True),
        ("testreport", report("setup", duration=0.006), True),
        ("testreport", report("setup", sections=[("Captured stdout setup", "said")]), True),
        ("testreport", report("setup", user_properties=[("key", "value")]), True),
        ("runtest_protocol_complete", {}, True),
        ("workerfinished", {}, True),
    ],
)
def test_what_a_worker_tells(name: str, data: dict[str, Any], news: bool) -> None:
    assert is_news(name, data) is news


def test_the_environment_of_the_machine_is_not_seen() -> None:
    assert not {"GITHUB_ACTIONS", "GITHUB_OUTPUT", "NO_COLOR", "BUILDX_BUILDER"} & os.environ.keys()


def test_a_directory_is_new_and_ones_own(tmp_path: Path) -> None:
    assert list(tmp_path.iterdir()) == []
    assert tmp_path.stat().st_mode & 0o777 == 0o700
