"""Where the program begins."""

from __future__ import annotations

import gc
import sys
from types import ModuleType

import pytest

from orchestrator import __main__ as begin


def test_it_runs_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    threshold = gc.get_threshold()
    asked: list[str] = []
    stand_in = ModuleType("orchestrator.cli.app")
    stand_in.main = lambda: asked.append("main")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "orchestrator.cli.app", stand_in)
    try:
        begin.main()
        assert asked == ["main"]
        assert gc.get_threshold()[0] == 50_000
    finally:
        gc.set_threshold(*threshold)


def test_ctrl_c_while_it_is_read_ends_quietly(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted(ModuleType):
        def __getattr__(self, name: str) -> object:
            raise KeyboardInterrupt

    threshold = gc.get_threshold()
    monkeypatch.setitem(sys.modules, "orchestrator.cli.app", Interrupted("orchestrator.cli.app"))
    try:
        with pytest.raises(SystemExit) as ended:
            begin.main()
    finally:
        gc.set_threshold(*threshold)
    assert ended.value.code == 130
