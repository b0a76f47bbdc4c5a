"""What an image or a build is called cannot move the cursor of whoever looks at it."""

from __future__ import annotations

import pytest
from rich.table import Table
from rich.text import Text

from orchestrator.ui import console

HOSTILE = "a\x1b[31mred\x9b2Jb\u202ec\x1b]0;title\x07"


@pytest.mark.parametrize("force", ["", "1"], ids=["plain", "colours"])
def test_control_sequences_are_removed_and_styles_kept(
    force: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if force:
        monkeypatch.setenv("FORCE_COLOR", force)
    table = Table(HOSTILE)
    table.add_row(Text(HOSTILE, style="bold"))
    for screen in (console.out(), console.err()):
        screen.print(table)
        screen.print(f"{HOSTILE}\nsecond", markup=False, soft_wrap=True)
    for shown in capsys.readouterr():
        assert shown.count("aredbc") == 3
        assert shown.endswith("aredbc\nsecond\n")
        for part in ("\x1b[31m", "\x1b]", "\x07", "\x9b", "\u202e"):
            assert part not in shown
        assert ("\x1b[1m" in shown) == bool(force)
