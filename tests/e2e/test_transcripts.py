"""What the pages show is what a fresh run prints, on a real engine and registry."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
PROGRAM = TOP / "scripts/transcripts"
KNOWN = runpy.run_path(str(PROGRAM))
PAGES = [
    pytest.param(page, marks=[pytest.mark.download] if page in KNOWN["DOWNLOADS"] else [])
    for page in (str(one.relative_to(TOP)) for one in KNOWN["PAGES"])
]
# The pages call the installed command by its name.
ENVIRONMENT = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def check(page: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(PROGRAM), "--check", str(page)]
    return subprocess.run(command, cwd=TOP, env=ENVIRONMENT, capture_output=True, text=True, timeout=900)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_shows_what_a_fresh_run_prints(engine: str, registry: str, page: str) -> None:
    done = check(page)
    assert done.returncode == 0, done.stderr


def test_a_page_that_shows_something_else_is_found(engine: str, registry: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        '```sh\ncd "$(mktemp -d)"\n```\n```console\n$ orchestrate help exit-codes | head -1\n  0    fine\n```\n'
    )
    done = check(page)
    assert done.returncode == 3
    assert "-  0    fine\n+  0    done\n" in done.stderr
    page.write_text("```sh\nfalse\n```\n")
    assert check(page).returncode not in (0, 3)
    page.write_text("```console\n$ true\n$ echo the cause >&2; false\n```\n```sh\nfalse\n```\n")
    assert "\n$ echo the cause >&2; false\nthe cause\n" in check(page).stderr
