"""Both streams in one file (`orchestrate check >log 2>&1`): results come before what is told of them."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from orchestrator.cli.app import show
from orchestrator.errors import UsageError
from orchestrator.ui import streams

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.mark.parametrize(
    ("tell", "told"), [(lambda: streams.tell("note"), "note\n"), (lambda: show(UsageError("wrong")), "error: wrong\n")]
)
def test_a_result_comes_before_what_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tell: Callable[[], None], told: str
) -> None:
    with (tmp_path / "log").open("w") as out, os.fdopen(os.dup(out.fileno()), "w", buffering=1) as err:
        monkeypatch.setattr(sys, "stdout", out)
        monkeypatch.setattr(sys, "stderr", err)
        streams.say("result")
        tell()
    assert (tmp_path / "log").read_text() == f"result\n{told}"
