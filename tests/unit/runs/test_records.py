"""Journal, disk, report, exit status: what a run leaves behind."""

from __future__ import annotations

import json
import signal
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from orchestrator.bake.events import Steps
from orchestrator.bake.imports import CacheSource, SourceState
from orchestrator.errors import FailureClass
from orchestrator.runs.journal import Entry, Journal
from orchestrator.runs.outcome import ErrorInfo, Outcome, Status, exit_code
from orchestrator.runs.report import report, write_report
from orchestrator.runs.signals import stop_on_signals
from tests.support.generated import examples
from tests.unit.matrix.support import planned
from tests.unit.runs.support import DIGEST

if TYPE_CHECKING:
    from pathlib import Path

GIB = 1 << 30
BUILT = Outcome(id="a", status=Status.BUILT, digest=DIGEST, tags=("r:a",), attempts=2, seconds=1.23456)


def failed(name: str) -> Outcome:
    return Outcome(id=name, status=Status.FAILED, error=ErrorInfo(failure=FailureClass(name), message="no"))


def test_the_journal_loses_nothing_of_an_entry(tmp_path: Path) -> None:
    image = {"uri": "pkg:docker/r.example/base@1?platform=linux%2Famd64", "digest": {"sha256": "b" * 64}}
    full = replace(
        BUILT, steps=Steps(total=3, cached=1, done=3), size=7, mtime_ns=8, sha256="c" * 64, first_ran="[2/3] RUN make",
        cache="an argument changed", changes=("x: 1 -> 2",), inputs="d" * 64, builder="far",
        cache_sources=(CacheSource(ref="r.example/cache:a", state=SourceState.EMPTY),),
        metadata={"buildx.build.provenance": {"materials": [image]}},
    )  # fmt: skip
    path = tmp_path / "journal"
    journal = Journal(path)
    journal.add(full, key="k", peak=9)
    written = journal.last("a")
    assert written is not None
    assert Journal(path).last("a") == written
    assert all(getattr(written, name) not in ("", 0, (), {}, None) for name in Entry.__struct_fields__)


def test_the_journal_remembers_the_last_outcome_of_the_same_inputs(tmp_path: Path) -> None:
    path = tmp_path / "state" / "journal.jsonl"
    journal = Journal(path)
    journal.add(BUILT, key="k", peak=5 * GIB)
    entry = Journal(path).built("a", "k")
    assert entry is not None
    assert (entry.digest, entry.tags, entry.seconds) == (DIGEST, ("r:a",), 1.235)
    assert Journal(path).built("a", "other") is None
    assert Journal(path).built("b", "k") is None
    journal.add(failed("run"), key="k")
    assert Journal(path).built("a", "k") is not None
    journal.add(Outcome(id="a", status=Status.FAILED), key="k")
    assert journal.built("a", "k") is None
    assert Journal(path).built("a", "k") is None


def test_without_a_key_nothing_is_ever_the_same(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j")
    journal.add(BUILT, key="")
    assert journal.built("a", "") is None


def test_the_peak_is_the_largest_of_all_runs(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j")
    for peak in (2 * GIB, 5 * GIB, 0):
        journal.add(BUILT, key="k", peak=peak)
    assert (Journal(tmp_path / "j").peak("a"), journal.peak("a"), journal.peak("b")) == (5 * GIB, 5 * GIB, 0)


@pytest.mark.parametrize("cut", [1, 10, 60])
def test_a_torn_line_costs_itself_alone(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "j"
    Journal(path).add(BUILT, key="one")
    whole = path.read_bytes()
    Journal(path).add(BUILT, key="two")
    path.write_bytes(path.read_bytes()[: len(whole) + cut])
    journal = Journal(path)
    journal.add(BUILT, key="three")
    for read in (journal, Journal(path)):
        assert [read.built("a", key) is not None for key in ("one", "two", "three")] == [True, False, True]


OLD = {
    "schema": 1, "id": "a", "key": "k", "status": "built", "digest": DIGEST, "tags": ["r:a"], "attempts": 1,
    "seconds": 7, "steps": {"total": 3, "cached": 1}, "peak": 0, "at": "2025-01-02T03:04:05+00:00",
}  # fmt: skip


def test_a_line_of_an_older_or_newer_release_is_read(tmp_path: Path) -> None:
    path = tmp_path / "j"
    path.write_text("\n".join(json.dumps(row) for row in (OLD, OLD | {"key": "new", "later": {"more": [1]}})))
    for key in ("k", "new"):
        entry = Journal(path).built("a", key)
        assert entry is not None
        assert (entry.seconds, entry.steps, entry.sources) == (7.0, Steps(total=3, cached=1, done=3), {})


@pytest.mark.parametrize(
    "line", [b"[" * 100_000, b'{"id": "\xff"}', b'{"schema":1,"later":' + b"[" * 5_000 + b"]" * 5_000]
)
def test_a_hostile_line_costs_itself_alone(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "j"
    path.write_bytes(line + b"\n" + json.dumps(OLD).encode())
    assert Journal(path).built("a", "k") is not None


@examples(80)
@given(st.binary(max_size=120))
def test_any_bytes_in_the_journal_are_passed_over(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any-journal"
    path.write_bytes(data)
    journal = Journal(path)
    journal.add(BUILT, key="k")
    assert Journal(path).built("a", "k") is not None


@pytest.mark.parametrize(
    "row", [{}, {"schema": 2}, [], {"schema": 1, "id": "a", "key": "k", "status": "odd"}, {"schema": 1, "steps": 3}]
)
def test_foreign_rows_are_passed_over(tmp_path: Path, row: object) -> None:
    path = tmp_path / "j"
    path.write_text(json.dumps(row))
    assert Journal(path).built("a", "k") is None


MATRIX = """\
version: 1
image: registry.lan/app
bake: {files: [docker-bake.json], targets: [openai]}
arch_lists: {release: 9.0 11.0}
cuda: {"12.9": {version: 12.9.1}, "13.0": {version: 13.0.2}}
platforms: {linux/amd64: {}}
variants: {arch_list: release, tags: ["{image}:{cuda.short}"]}
"""


def test_the_report_has_the_documented_shape(tmp_path: Path) -> None:
    variants = planned(MATRIX).variants
    first, other = (replace(variant, id=name) for variant, name in zip(variants, "ab", strict=True))
    outcomes = [
        Outcome(
            id="b",
            status=Status.FAILED,
            attempts=1,
            log=tmp_path / "b.log",
            error=ErrorInfo(failure=FailureClass.RUN, message="exit code: 1", step="[b 1/1] RUN false"),
        ),
        Outcome(
            id="a",
            status=Status.BUILT,
            digest=DIGEST,
            tags=("r:a",),
            output="type=image,push=true",
            builder="farm",
            attempts=2,
            seconds=1.23456,
            verified=True,
            steps=Steps(total=5, cached=2, done=5),
            notes=("clipped",),
        ),
    ]
    content = report(
        [first, other], outcomes, started=datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC), matrix=DIGEST, revision="c0ffee"
    )
    path = tmp_path / "out" / "report.json"
    write_report(path, content)
    assert json.loads(path.read_text()) == {
        "schema": 1,
        "started": "2026-01-02T03:04:05+00:00",
        "matrix": DIGEST,
        "variants": [
            {
                "id": "a",
                "target": "openai",
                "cuda": "12.9",
                "platform": "linux/amd64",
                "archs": {
                    "requested": ["9.0", "11.0"],
                    "effective": ["9.0"],
                    "dropped": [
                        {
                            "arch": "11.0",
                            "why": "sm_110 needs CUDA 13.0 or later; CUDA 12.8/12.9 name the same GPU 10.1",
                        }
                    ],
                },
                "status": "built",
                "digest": DIGEST,
                "revision": "c0ffee",
                "verified": True,
                "tags": ["r:a"],
                "output": "type=image,push=true",
                "builder": "farm",
                "attempts": 2,
                "seconds": 1.235,
                "steps": {"total": 5, "cached": 2},
                "key": None,
                "cache": None,
                "cache_sources": [],
                "log": None,
                "compile_cache": None,
                "notes": ["clipped"],
                "bytes": {"pulled": 0, "sent": 0, "pushed": 0},
                "error": None,
            },
            {
                "id": "b",
                "target": "openai",
                "cuda": "13.0",
                "platform": "linux/amd64",
                "archs": {"requested": ["9.0", "11.0"], "effective": ["9.0", "11.0"], "dropped": []},
                "status": "failed",
                "digest": None,
                "revision": None,
                "verified": False,
                "tags": [],
                "output": None,
                "builder": None,
                "attempts": 1,
                "seconds": 0.0,
                "steps": {"total": 0, "cached": 0},
                "key": None,
                "cache": None,
                "cache_sources": [],
                "log": str(tmp_path / "b.log"),
                "compile_cache": None,
                "notes": [],
                "bytes": {"pulled": 0, "sent": 0, "pushed": 0},
                "error": {"class": "run", "message": "exit code: 1", "step": "[b 1/1] RUN false"},
            },
        ],
    }
    assert list(path.parent.iterdir()) == [path]


def test_a_report_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    write_report(path, {"schema": 1})
    with pytest.raises(TypeError):
        write_report(path, {"schema": object()})
    assert json.loads(path.read_text()) == {"schema": 1}
    assert list(tmp_path.iterdir()) == [path]


CANCELLED = Outcome(id="c", status=Status.CANCELLED)
SKIPPED = Outcome(id="s", status=Status.SKIPPED)


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [
        ([], 0),
        ([BUILT, SKIPPED], 0),
        ([BUILT, failed("run")], 1),
        ([failed("auth")], 6),
        ([failed("cancelled")], 1),
        ([failed("matrix")], 2),
        ([failed("internal")], 1),
        ([failed("arrived"), failed("arrived"), CANCELLED], 2),
        ([failed("verification")], 4),
        ([failed("disk"), failed("environment")], 5),
        ([failed("network")], 6),
        ([failed("network"), failed("run")], 1),
        ([CANCELLED], 1),
    ],
)
def test_exit_status(outcomes: list[Outcome], code: int) -> None:
    assert exit_code(outcomes) == code
    assert exit_code(outcomes, interrupted=True) == 130


@pytest.mark.usefixtures("hangup")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_asks_and_the_second_insists(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with stop_on_signals() as stop:
        assert not stop.is_set()
        signal.raise_signal(number)
        assert (stop.is_set(), stop.immediate) == (True, False)
        signal.raise_signal(number)
        assert stop.immediate
    assert signal.getsignal(number) is before


def test_an_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_on_signals() as stop:
            signal.raise_signal(signal.SIGHUP)
            assert not stop.is_set()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_outside_the_main_thread_there_is_an_event_all_the_same() -> None:
    seen: list[bool] = []

    def elsewhere() -> None:
        with stop_on_signals() as stop:
            seen.append(stop.is_set())

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert seen == [False]
