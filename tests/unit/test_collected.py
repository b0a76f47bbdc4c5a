"""Every test file on disk is one that `pytest tests` collects: a folder named `build` was passed over for months."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

TESTS = Path(__file__).resolve().parents[1]


def ignored(path: Path, config: pytest.Config, root: Path = TESTS) -> bool:
    """Whether pytest passes over a file below a folder, or over one that it lies in; pytest itself is asked."""
    between = [path, *path.parents][: len(path.relative_to(root).parts)]
    return any(config.hook.pytest_ignore_collect(collection_path=part, config=config) for part in between)


def holds_tests(path: Path) -> bool:
    """Whether a file defines a test, at its top or in a class."""
    return bool(re.search(r"^[ \t]*(async )?def test_", path.read_text(encoding="utf-8"), re.MULTILINE))


def test_every_test_file_is_collected(pytestconfig: pytest.Config) -> None:
    files = sorted(TESTS.rglob("*.py"))
    assert len(files) > 100
    patterns = pytestconfig.getini("python_files")
    passed_over = [
        str(path.relative_to(TESTS))
        for path in files
        if holds_tests(path) and (ignored(path, pytestconfig) or not any(path.match(pattern) for pattern in patterns))
    ]
    assert not passed_over, f"pytest collects nothing of {', '.join(passed_over)}"


def test_a_folder_that_pytest_passes_over_is_noticed(pytestconfig: pytest.Config, tmp_path: Path) -> None:
    for name in ("build", "runs"):
        (tmp_path / name).mkdir()
    assert ignored(tmp_path / "build" / "test_x.py", pytestconfig, tmp_path)
    assert not ignored(tmp_path / "runs" / "test_x.py", pytestconfig, tmp_path)
