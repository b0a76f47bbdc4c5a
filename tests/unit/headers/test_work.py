"""Where the wheel of a FlashInfer version comes from: kept, or downloaded by a pip that is there."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orchestrator import process
from orchestrator.errors import NetworkError
from orchestrator.headers import work
from orchestrator.headers.store import Store

if TYPE_CHECKING:
    from collections.abc import Sequence

WHEEL = "flashinfer_python-0.6.13-py3-none-any.whl"


class Machine:
    """An environment without pip of its own, as uv makes them, and the programs on its PATH."""

    def __init__(self, *, stderr: str = "") -> None:
        self.stderr = stderr
        self.started: list[list[str]] = []

    def run(self, argv: Sequence[str], **_: float) -> process.Completed:
        self.started.append(list(argv))
        if argv[0] == sys.executable:
            return self.ended(argv, f"{sys.executable}: No module named pip")
        if self.stderr:
            return self.ended(argv, self.stderr)
        Path(argv[argv.index("--dest") + 1]).mkdir(parents=True)
        Path(argv[argv.index("--dest") + 1], WHEEL).write_bytes(b"wheel")
        return self.ended(argv, "")

    @staticmethod
    def ended(argv: Sequence[str], stderr: str) -> process.Completed:
        return process.Completed(argv=tuple(argv), returncode=int(bool(stderr)), stdout="", stderr=stderr)


def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machine: Machine, *programs: str) -> Store:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr(process, "run", machine.run)
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in programs:
        (tmp_path / name).touch(mode=0o755)
    return Store(tmp_path / "store")


@pytest.mark.parametrize(
    ("program", "start"), [("pip3", ["pip3"]), ("pip", ["pip"]), ("uv", ["uv", "tool", "run", "pip"])]
)
def test_an_environment_without_pip_downloads_with_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, start: list[str]
) -> None:
    machine = Machine()
    store = prepared(tmp_path, monkeypatch, machine, program)
    found = work.package("0.6.13", store)
    assert (found.name, found.read_bytes()) == (WHEEL, b"wheel")
    (argv,) = machine.started
    assert argv[: len(start)] == [str(tmp_path / start[0]), *start[1:]]
    assert argv[len(start)] == "download"
    assert argv[-1] == "flashinfer-python==0.6.13"
    assert {"--no-deps", "--only-binary"} <= set(argv)  # code of the package is not run
    assert work.package("0.6.13", store) == found
    assert len(machine.started) == 1  # kept


def test_a_download_that_fails_says_why_in_pips_last_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(stderr="WARNING: Retrying\nERROR: No matching distribution found\n")
    store = prepared(tmp_path, monkeypatch, machine, "pip")
    with pytest.raises(
        NetworkError, match=r"pip could not download flashinfer-python 0\.6\.13: ERROR: No matching"
    ) as caught:
        work.package("0.6.13", store)
    assert "Retrying" not in str(caught.value)
    assert "--from WHEEL" in caught.value.hint
