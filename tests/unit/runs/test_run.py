"""Around a run: the place of its report, logs that are not there, what it tidies."""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.bake import preflight
from orchestrator.bake.file import Output
from orchestrator.engine import buildx
from orchestrator.errors import EnvironmentLacksError, MatrixError, UsageError
from orchestrator.matrix import git, load
from orchestrator.matrix.expand import plan as expand
from orchestrator.runs import jobs, run
from orchestrator.runs.outcome import Outcome, Status
from orchestrator.runs.signals import interrupting

MATRIX = """\
version: 1
image: registry.lan/app
bake: {files: [docker-bake.json], targets: [app]}
arch_lists: {release: 9.0}
cuda: {"13.0": {version: 13.0.2}}
platforms: {linux/amd64: {}}
variants: {arch_list: release, args: {CUDA_VERSION: "{cuda.version}"}, tags: ["{image}:x"]}
cache: {backend: "off"}
"""
TARGET: dict[str, Any] = {"context": ".", "dockerfile": "Dockerfile", "args": {"A": "1"}}

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.matrix.variants import Plan


def planned(root: Path) -> Plan:
    if not (root / "Dockerfile").exists():
        (root / "Dockerfile").write_text("FROM scratch\nARG CUDA_VERSION\n")
    return expand(load.parse(MATRIX.encode(), path=root / "matrix.yaml", shown="matrix.yaml"))


@pytest.fixture
def resolved(monkeypatch: pytest.MonkeyPatch) -> dict[str, Mapping[str, Any]]:
    """What buildx would say of the variant; a test changes it."""
    targets: dict[str, Mapping[str, Any]] = {"app-cu130-amd64": TARGET}
    monkeypatch.setattr(buildx, "resolve", lambda *_: targets)
    monkeypatch.setattr(git, "fact", lambda *_: "0" * 40)
    return targets


def key(root: Path, **options: Any) -> str:
    (job,) = jobs.prepare(planned(root), jobs.Options(docker=("docker",), run="r", **options)).jobs
    return job.key


def test_a_key_stands_for_all_that_goes_in(tmp_path: Path, resolved: dict[str, Mapping[str, Any]]) -> None:
    report = tmp_path / "report.json"
    first = key(tmp_path, report=report)
    report.write_text("{}")
    assert key(tmp_path, report=report) == first != ""
    assert key(tmp_path, report=report, output=Output(push=True)) != first

    resolved["app-cu130-amd64"] = {**TARGET, "args": {"A": "2"}}  # inherited from a bake file that may lie anywhere
    assert key(tmp_path, report=report) != first

    outside = tmp_path.with_name(f"{tmp_path.name}.Dockerfile")
    outside.write_text("FROM scratch\n")
    resolved["app-cu130-amd64"] = {**TARGET, "dockerfile": str(outside)}
    before = key(tmp_path, report=report)
    outside.write_text("FROM scratch\nENV A=1\n")
    assert key(tmp_path, report=report) != before


def test_what_cannot_be_seen_has_no_key(tmp_path: Path, resolved: dict[str, Mapping[str, Any]]) -> None:
    for unseen in ({"context": "https://github.com/a/b.git"}, {"contexts": {"x": "target:y"}}, {"dockerfile": "none"}):
        resolved["app-cu130-amd64"] = {**TARGET, **unseen}
        assert key(tmp_path) == ""


def test_a_state_directory_that_cannot_be_made(tmp_path: Path, resolved: dict[str, Mapping[str, Any]]) -> None:
    assert resolved
    (tmp_path / ".orchestrate").write_text("")
    with pytest.raises(EnvironmentLacksError, match=r"\.orchestrate.*cannot be written"):
        key(tmp_path)


def test_a_preflight_that_fails_is_in_the_log(tmp_path: Path, resolved: dict[str, Mapping[str, Any]]) -> None:
    resolved["app-cu130-amd64"] = {**TARGET, "dockerfile": "none"}
    (job,) = jobs.prepare(planned(tmp_path), jobs.Options(docker=("docker",), run="r")).jobs
    with pytest.raises(MatrixError) as error:
        job.prepare()
    assert job.log is not None
    assert job.log.read_text() == f"=== app-cu130-amd64: preflight failed\n{error.value}\n"


def test_a_run_directory_that_vanished(
    tmp_path: Path, resolved: dict[str, Mapping[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert resolved
    (job,) = jobs.prepare(planned(tmp_path), jobs.Options(docker=("docker",), run="r")).jobs
    found = preflight.Arrival(checked=False, why_not="remote")
    monkeypatch.setattr(preflight, "arrival", lambda *_: found)
    (tmp_path / ".orchestrate" / "runs" / "r").rmdir()
    with pytest.raises(EnvironmentLacksError, match=r"app-cu130-amd64\.json: cannot be written: No such file"):
        job.prepare()


def test_the_place_of_the_report(tmp_path: Path) -> None:
    run._require_writable(tmp_path / "new" / "report.json")
    assert list((tmp_path / "new").iterdir()) == []
    run._require_writable(Path(os.devnull))
    with pytest.raises(UsageError, match="is a directory"):
        run._require_writable(tmp_path)
    (tmp_path / "file").write_text("kept")
    run._require_writable(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "kept"
    with pytest.raises(EnvironmentLacksError, match="cannot be written"):
        run._require_writable(tmp_path / "file" / "report.json")


def test_a_log_that_was_never_begun_is_not_named(tmp_path: Path) -> None:
    outcome = Outcome(id="a", status=Status.CANCELLED, log=tmp_path / "a.log")
    assert run._with_log(outcome) == replace(outcome, log=None)
    (tmp_path / "a.log").write_text("")
    assert run._with_log(outcome) == outcome


def test_old_runs_are_tidied(tmp_path: Path) -> None:
    for number in range(25):
        folder = tmp_path / f"2026{number:02d}"
        folder.mkdir()
        (folder / "a.log").write_text("")
        if number != 1:
            os.utime(folder, (1, time.time() - 30 * 86400))
    run._tidy(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["202601", *(f"2026{n:02d}" for n in range(5, 25))]


def test_a_local_cache_is_swapped_whole(tmp_path: Path) -> None:
    new, final = tmp_path / "c.new", tmp_path / "c"
    for folder, text in ((new, "new"), (final, "old")):
        folder.mkdir()
        (folder / "index.json").write_text(json.dumps(text))
    jobs._swap(new, final)
    assert json.loads((final / "index.json").read_text()) == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c"]
    jobs._swap(new, final)  # nothing was written this time
    assert final.is_dir()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_before_the_first_variant_every_signal_is_an_interruption(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), interrupting():
        signal.raise_signal(number)
    assert signal.getsignal(number) is before


def test_what_was_told_to_be_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interrupting():
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
