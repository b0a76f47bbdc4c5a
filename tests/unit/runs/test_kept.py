"""What a run keeps of itself, read back: every value, and nothing of a file that is not of its shape."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orchestrator.bake.events import StepKind
from orchestrator.bake.file import Output
from orchestrator.bake.moved import Moved, StepTime
from orchestrator.cache.compile_statistics import CompileStatistics, Counts
from orchestrator.errors import FailureClass
from orchestrator.runs import kept
from orchestrator.runs.outcome import ErrorInfo, Outcome, Status, Steps, Try
from orchestrator.runs.report import report
from orchestrator.runs.weights import Weights
from tests.unit.runs.test_run import planned

if TYPE_CHECKING:
    from orchestrator.matrix.variants import Plan

DIGEST = f"sha256:{'d' * 64}"
STARTED = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
ROW: dict[str, object] = {
    "digest": None, "tags": [], "attempts": 1, "seconds": 1, "steps": {"total": 1, "cached": 0}, "log": None,
    "error": None, "verified": False, "cache": "", "compile_cache": None, "notes": [],
    "bytes": {"pulled": 0, "sent": 0, "pushed": 0},
}  # fmt: skip
STEP = StepTime(name="[a 1/2] RUN make", kind=StepKind.RUN, began=0.5, seconds=61.25, state="failed")


def outcomes(plan: Plan) -> list[Outcome]:
    first, *rest = (variant.id for variant in plan.variants)
    whole = Outcome(
        id=first,
        status=Status.FAILED,
        digest=DIGEST,
        tags=("r:a",),
        attempts=2,
        builder="far",
        seconds=70.5,
        steps=Steps(total=4, cached=1),
        log=Path("a.log"),
        error=ErrorInfo(failure=FailureClass.RUN, message="exit code: 1", step="RUN make", file="d/Dockerfile", line=7),
        verified=True,
        cache="x changed",
        compile_cache=CompileStatistics(
            tool="sccache", on=True, ptx=Counts(hits=1, misses=2), cubin=Counts(hits=3), units=Counts(misses=4),
            requests=9, writes=2, fallbacks=1, read_s=0.5, write_s=0.25, seconds=12.5, cpu_s=50.0,
        ),
        notes=("a note",),
        began=STARTED.timestamp() + 1,
        tries=(Try(began=STARTED.timestamp() + 2, seconds=61.5, reason="reset", steps=(STEP,)),),
        moved=Moved(pulled=30, sent=4, pushed=5),
        layers=((DIGEST, 100), (DIGEST, 7)),
        weights=Weights(
            archs=(("90", 12), ("p90", 3)),
            libraries=(("opt/lib.so", 15),),
            shorter=(("9.0", 12, 0),),
            copies=(("opt/lib.so", 2, 30),),
        ),
    )  # fmt: skip
    return [whole, *(Outcome(id=id_, status=Status.CANCELLED) for id_ in rest)]


def keep(state: Path, name: str, plan: Plan) -> list[Outcome]:
    directory = state / "runs" / name
    directory.mkdir(parents=True)
    made = outcomes(plan)
    kept.keep(directory, report(plan.variants, made, started=STARTED, matrix="sha256:m"), made, seconds=71.5)
    return made


def test_a_run_is_read_back_whole(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    made = keep(tmp_path, "20261126T120000-1", plan)
    (found,) = kept.last(tmp_path, 5)
    assert found.outcomes == tuple(made)
    assert (found.started, found.seconds, found.matrix) == (STARTED.timestamp(), 71.5, "sha256:m")
    assert found.when == "2026-11-26 12:00:00+00:00"
    assert kept.unbuilt(tmp_path, [one.id for one in made], Output()) == tuple(outcome.id for outcome in made)
    assert (found.directory / kept.NAME).stat().st_mode & 0o777 == 0o600


def test_the_newest_runs_come_first_and_those_without_a_record_not_at_all(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    for name in ("20261126T120000-1", "20261126T130000-1", "20261126T140000-1"):
        keep(tmp_path, name, plan)
    (tmp_path / "runs" / "20261126T150000-9").mkdir()
    assert [run.directory.name for run in kept.last(tmp_path, 2)] == ["20261126T140000-1", "20261126T130000-1"]
    assert kept.last(tmp_path / "elsewhere") == []


PUSHED, LOADED = "type=image,push=true", "type=docker"


@pytest.mark.parametrize(
    ("runs", "output", "left"),
    [
        ([], Output(), None),
        ([{"a": ("built", PUSHED), "b": ("failed", "")}], Output(push=True), "b"),
        ([{"a": ("built", PUSHED), "b": ("failed", "")}, {"a": ("built", PUSHED)}], Output(push=True), "b"),
        ([{"a": ("failed", "")}, {"a": ("built", PUSHED), "b": ("cancelled", "")}], Output(push=True), "b"),
        ([{"a": ("built", PUSHED), "b": ("built", PUSHED)}, {"b": ("failed", "")}], Output(push=True), "b"),
        ([{"a": ("built", PUSHED)}], Output(push=True), "b"),  # no run had it
        ([{"a": ("skipped", ""), "b": ("built", PUSHED)}], Output(push=True), ""),
        ([{"a": ("built", PUSHED), "b": ("built", "type=cacheonly")}], Output(push=True), "b"),
        ([{"a": ("built", LOADED), "b": ("built", PUSHED)}], Output(load=True), "b"),
        ([{"a": ("built", "type=oci,dest=/o/a.tar.part"), "b": ("built", "type=oci,dest=/p/b.tar.part")}],
         Output(directory=Path("/o")), "b"),
        ([{"a": ("built", PUSHED), "b": ("built", "type=cacheonly")}], Output(), ""),
    ],
)  # fmt: skip
def test_what_is_left_to_build(
    tmp_path: Path, runs: list[dict[str, tuple[str, str]]], output: Output, left: str | None
) -> None:
    """A run of one variant, or one that pushed nothing, made all others count as built."""
    for number, run in enumerate(runs):
        directory = tmp_path / "runs" / f"20261126T12000{number}-1"
        directory.mkdir(parents=True)
        made = [Outcome(id=name, status=Status(status), output=went) for name, (status, went) in run.items()]
        rows = [{**ROW, "id": one.id, "status": one.status.value, "output": one.output} for one in made]
        content = {"schema": 1, "started": STARTED.isoformat(), "matrix": "", "variants": rows}
        kept.keep(directory, content, made, seconds=1)
    assert kept.unbuilt(tmp_path, ["a", "b"], output) == (None if left is None else tuple(left))


@pytest.mark.parametrize("path", [(), ("variants",), ("variants", 0), ("variants", 0, "tries", 0, "steps", 0)])
@pytest.mark.parametrize("value", [None, [], {}, "x", 7, [[1]]])
def test_a_record_of_another_shape_is_skipped(tmp_path: Path, path: tuple[str | int, ...], value: object) -> None:
    keep(tmp_path, "20261126T120000-1", planned(tmp_path))
    file = tmp_path / "runs" / "20261126T120000-1" / kept.NAME
    content = json.loads(file.read_text())
    if path:
        *outer, key = path
        inner = content
        for one in outer:
            inner = inner[one]
        inner[key] = value
    else:
        content = value
    file.write_text(json.dumps(content))
    found = kept.last(tmp_path)
    assert found == [] or (path == ("variants",) and value in ([], {}))


def test_an_interrupted_write_is_no_record(tmp_path: Path) -> None:
    keep(tmp_path, "20261126T120000-1", planned(tmp_path))
    file = tmp_path / "runs" / "20261126T120000-1" / kept.NAME
    data = file.read_bytes()
    for size in (0, 1, len(data) // 2, len(data) - 2):
        file.write_bytes(data[:size])
        assert kept.last(tmp_path) == []
    file.write_text("[" * 100_000)
    assert kept.last(tmp_path) == []
