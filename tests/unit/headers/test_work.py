"""Where the wheel of a FlashInfer version comes from: kept, or downloaded by a pip that is there."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orchestrator import process
from orchestrator.errors import NetworkError, UsageError, VerificationError
from orchestrator.headers import work
from orchestrator.headers.sources import source_of
from orchestrator.headers.store import Store
from tests.unit.headers import samples

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


def test_a_package_that_is_named_says_its_version_or_is_told_it(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    named = samples.wheel(tmp_path / "a.whl")
    assert work.read_pins(named, "", store).version == "0.6.13"
    assert work.read_pins(named, "0.6.13", store).version == "0.6.13"
    with pytest.raises(UsageError) as caught:
        work.read_pins(named, "0.6.14", store)
    assert caught.value.message == f"{named} does not match: expected FlashInfer 0.6.14, found 0.6.13"
    files = {name: text for name, text in samples.source().items() if "dist-info" not in name and "meta" not in name}
    silent = samples.wheel(tmp_path / "b.whl", files)
    assert work.read_pins(silent, "0.6.14", store).version == "0.6.14"
    with pytest.raises(UsageError) as caught:
        work.make_lock(work.read_pins(silent, "", store), store, [])
    assert caught.value.message == "the package does not say its version"
    assert caught.value.hint == "name it: --flashinfer 0.6.13"
    with pytest.raises(UsageError, match="the version of FlashInfer") as caught:
        work.read_pins(None, "", store)
    assert caught.value.hint == "orchestrate headers lock --flashinfer 0.6.13"


def test_a_lock_counts_what_was_fetched_for_it(tmp_path: Path) -> None:
    store, folder = Store(tmp_path / "store"), tmp_path / "mirror"
    for path, data in samples.artifacts().items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    source, known = source_of(str(folder)), samples.known(tmp_path)
    lock, report = work.make_lock(known, store, [source])
    assert (lock.tier, lock.layout, lock.sm) == ("headers", "L2", ())
    assert (report.fetched, report.present, report.absent) == (len(lock.files) + 1, 3, ())  # DeepGEMM has no header
    assert report.bytes == sum(store.size(one) for one in {file.sha256 for file in lock.files} | {
        pin.sha256 for pin in known.pins
    })  # fmt: skip
    with pytest.raises(VerificationError, match=r"layout is L3, FlashInfer 0\.6\.13 has L2"):
        work.make_lock(known, store, [source], coverage=work.Coverage(layout="l3"))
    narrow, again = work.make_lock(known, store, [source], coverage=work.Coverage(tier="cubins", sm=("10.3",)))
    assert (narrow.tier, narrow.layout, narrow.sm) == ("cubins", "L2", ("10.3",))
    assert again.fetched == 5
    done = work.obtain_lock(lock, store, [])
    assert (done.fetched, done.present) == (0, len({file.sha256 for file in lock.files}))
    work.require_complete(lock, store)
