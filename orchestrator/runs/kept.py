"""Keeps the report of each run beside its logs, with what the report for scripts leaves out, and reads the last ones.

`run.json` of a run's directory is the build report and, for each variant, when it began, its attempts with the times of
their steps, and the sizes of the image. A file that is not of this shape is skipped.
"""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from orchestrator import files
from orchestrator.bake.events import StepKind
from orchestrator.bake.moved import Moved, StepTime
from orchestrator.cache import compile_statistics
from orchestrator.entries import read_entry
from orchestrator.errors import FailureClass
from orchestrator.runs import weights
from orchestrator.runs.outcome import ErrorInfo, Outcome, Status, Steps, Try
from orchestrator.untrusted import json_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from orchestrator.bake.file import Output

NAME = "run.json"

_SCHEMA = 1
_MOST = 256 << 20  # bytes; 1,000 variants of 100 steps take about 20 MB


class Run(Struct, frozen=True, kw_only=True):
    """A run that has ended.

    Attributes:
        directory: Where its logs are.
        started: When it began, in seconds of the wall clock.
        seconds: How long it took.
        matrix: Digest of its matrix, "" where unknown.
        outcomes: One for each variant, in the order of the plan.
    """

    directory: Path
    started: float
    seconds: float
    matrix: str = ""
    outcomes: tuple[Outcome, ...] = field(default=())

    @property
    def when(self) -> str:
        """When it began, as it is shown."""
        return datetime.fromtimestamp(self.started, UTC).isoformat(sep=" ", timespec="seconds")


def keep(directory: Path, report: Mapping[str, Any], outcomes: Sequence[Outcome], *, seconds: float) -> None:
    """Write a run's record.

    Args:
        directory: The directory of the run.
        report: Its build report.
        outcomes: How its variants ended.
        seconds: How long it took.

    Raises:
        OSError: It cannot be written.
    """
    by_id = {outcome.id: outcome for outcome in outcomes}
    rows = [{**row, **_more(by_id[row["id"]])} for row in report["variants"] if row["id"] in by_id]
    content = {**report, "seconds": round(seconds, 3), "variants": rows}
    files.write_whole(directory / NAME, json_text(content, indent=None) + "\n", mode=files.PRIVATE)


def last(state: Path, count: int = 1) -> list[Run]:
    """Return the last runs that have a record, the newest first.

    Args:
        state: The state directory.
        count: How many.
    """
    return list(itertools.islice(_runs(state), count))


def unbuilt(state: Path, ids: Sequence[str], output: Output) -> tuple[str, ...] | None:
    """Return the variants that their last runs did not build: they failed, the run ended before, or none had them.

    A result that went elsewhere than this output counts as none: what a run kept in the build cache was not pushed.

    Args:
        state: The state directory.
        ids: The variants that are asked for.
        output: Where their results are to go.

    Returns:
        Those of the ids, None where no run has ended.
    """
    last: dict[str, Outcome] = {}
    missing, none = set(ids), True
    for run in _runs(state):
        none = False
        last |= {one.id: one for one in run.outcomes if one.id in missing}
        missing -= last.keys()
        if not missing:
            break
    return None if none else tuple(id_ for id_ in ids if id_ not in last or not _gave(last[id_], output))


def _gave(outcome: Outcome, output: Output) -> bool:
    """Whether the result of a variant is where it is to be."""
    if outcome.status is not Status.BUILT:
        return outcome.status is Status.SKIPPED  # it was there
    went = read_entry(outcome.output)
    if output.push:
        return went.get("push") == "true"
    if output.load:
        return went.get("type") == "docker"
    return output.directory is None or went.get("dest") == str(output.part(outcome.id))


def _runs(state: Path) -> Iterator[Run]:
    """The runs that have a record, the newest first."""
    try:
        directories = sorted((path for path in (state / "runs").iterdir() if path.is_dir()), reverse=True)
    except OSError:
        return
    for directory in directories:
        run = _read(directory)
        if run is not None:
            yield run


def _more(outcome: Outcome) -> dict[str, Any]:
    return {
        "began": round(outcome.began, 3),
        "tries": [
            {
                "began": round(one.began, 3),
                "seconds": round(one.seconds, 3),
                "reason": one.reason,
                "steps": [[step.name, step.kind.value, step.began, step.seconds, step.state] for step in one.steps],
            }
            for one in outcome.tries
        ],
        "layers": [list(layer) for layer in outcome.layers],
        "weights": outcome.weights.to_json(),
    }


def _read(directory: Path) -> Run | None:
    try:
        with (directory / NAME).open("rb") as stream:
            content: Any = json.loads(stream.read(_MOST))
        if content["schema"] != _SCHEMA:
            return None
        return Run(
            directory=directory,
            started=datetime.fromisoformat(content["started"]).timestamp(),
            seconds=float(content["seconds"]),
            matrix=str(content["matrix"] or ""),
            outcomes=tuple(map(_outcome, content["variants"])),
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        return None


def _outcome(row: Any) -> Outcome:
    error, steps, moved = row["error"], row["steps"], row["bytes"]
    return Outcome(
        id=str(row["id"]),
        status=Status(row["status"]),
        digest=None if row["digest"] is None else str(row["digest"]),
        tags=tuple(map(str, row["tags"])),
        output=str(row.get("output") or ""),
        builder=str(row.get("builder") or ""),
        attempts=int(row["attempts"]),
        seconds=float(row["seconds"]),
        steps=Steps(total=int(steps["total"]), cached=int(steps["cached"])),
        log=None if row["log"] is None else Path(row["log"]),
        error=None if error is None else _error(error),
        verified=row["verified"] is True,
        cache=str(row["cache"] or ""),
        compile_cache=compile_statistics.from_json(row["compile_cache"]) if row["compile_cache"] else None,
        notes=tuple(map(str, row["notes"])),
        began=float(row["began"]),
        tries=tuple(map(_try, row["tries"])),
        moved=Moved(pulled=int(moved["pulled"]), sent=int(moved["sent"]), pushed=int(moved["pushed"])),
        layers=tuple((str(digest), int(size)) for digest, size in row["layers"]),
        weights=weights.from_json(row["weights"]),
    )


def _error(row: Any) -> ErrorInfo:
    return ErrorInfo(
        failure=FailureClass(row["class"]),
        message=str(row["message"]),
        step=str(row["step"]),
        file=str(row.get("file", "")),
        line=int(row.get("line", 0)),
    )


def _try(row: Any) -> Try:
    return Try(
        began=float(row["began"]),
        seconds=float(row["seconds"]),
        reason=str(row["reason"]),
        steps=tuple(
            StepTime(name=str(name), kind=StepKind(kind), began=float(began), seconds=float(seconds), state=str(state))
            for name, kind, began, seconds, state in row["steps"]
        ),
    )
