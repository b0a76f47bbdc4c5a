"""How a variant ended: the value that the scheduler returns and that tables, reports and hooks read.

Does not depend on how a variant is built.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field
from msgspec.structs import force_setattr, replace

from orchestrator.bake.events import Steps
from orchestrator.bake.moved import Moved
from orchestrator.errors import FailureClass, OrchestrateError
from orchestrator.files import FULL
from orchestrator.redact import redact
from orchestrator.runs.weights import Weights
from orchestrator.untrusted import clean, clean_lines

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from orchestrator.bake.imports import CacheSource
    from orchestrator.bake.moved import StepTime
    from orchestrator.bake.origin import Origin
    from orchestrator.cache.compile_statistics import CompileStatistics

__all__ = ["ErrorInfo", "Outcome", "Status", "Steps", "Try", "error_info", "exit_code", "internal_error", "located"]


class Status(StrEnum):
    """How a variant ended."""

    BUILT = "built"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"


class ErrorInfo(Struct, frozen=True, kw_only=True):
    """Why a variant was not built. Control sequences, commands to CI runners and credentials are taken out at once.

    Attributes:
        failure: The class, `error.class` of the report.
        message: The reason, one line as a rule.
        step: The failed step as BuildKit names it, or "" when no step failed.
        file, line: Where its instruction stands in a Dockerfile; "" and 0 where that is not known.
    """

    failure: FailureClass
    message: str
    step: str = ""
    file: str = ""
    line: int = 0

    @property
    def place(self) -> str:
        """`docker/Dockerfile:12`, "" where it is not known."""
        return f"{self.file}:{self.line}" if self.file else ""

    def __post_init__(self) -> None:
        """Clean untrusted text, so that no writer can forget to."""
        force_setattr(self, "message", redact(clean_lines(self.message)))
        force_setattr(self, "file", redact(clean(self.file)))
        force_setattr(self, "step", redact(clean(self.step)))


class Try(Struct, frozen=True, kw_only=True):
    """One attempt of a variant.

    Attributes:
        began: In seconds of the wall clock.
        seconds: How long it took.
        reason: Why it failed, "" where it did not.
        steps: When each step ran, counted from the attempt's first step.
    """

    began: float
    seconds: float
    reason: str = ""
    steps: Sequence[StepTime] = ()

    def __post_init__(self) -> None:
        """Clean untrusted text, so that no writer can forget to."""
        force_setattr(self, "reason", redact(clean(self.reason)))


class Outcome(Struct, frozen=True, kw_only=True):
    """How one variant ended. Notes and last lines are cleaned, and credentials taken out of them, when it is made.

    Attributes:
        id: The variant.
        status: How it ended.
        digest: `sha256:…` of what was built (with a push: of what the registry holds), None if nothing was.
        tags: The references that were asked for.
        references: What to pull or run of a variant that is there: with the digest in a registry, a tag in the engine.
        attempts: How often bake was started; 0 if it never was.
        seconds: From the start of preflight to the end, waits between attempts included.
        steps: Dockerfile steps of the last attempt.
        log: The variant's log file, None if none was written.
        error: None unless the status is failed or cancelled.
        last_lines: The last lines of the failed step's output.
        metadata: What `--metadata-file` holds for the target.
        size, mtime_ns, sha256: Of the archive that was written; 0, 0 and "" where none was.
        first_ran: The first step that did not come from the cache, "" where all did.
        cache: One sentence on why that step ran; changes are what it is taken from, inputs names the record of them.
        verified: Whether its image was read and holds what was promised.
        cache_sources: The cache references that were read, and what was found there.
        key: The content key that it was built from, "" where that is not known.
        builder: The builder of its last attempt, "" where that is not known.
        output: Where the result went and how it was written, as bake's `output` says it; "" where nothing was built.
        compile_cache: What the compile cache did, None where no step printed it.
        notes: What a user should know though nothing failed (cache not found, log clipped).
        began: When it was started, in seconds of the wall clock; 0 if it never was.
        tries: Its attempts.
        moved: The bytes that all attempts moved.
        layers: Digest and stored bytes of each layer of the image, the lowest first, where it was read.
        weights: What its device code weighs, where it was read.
    """

    id: str
    status: Status
    digest: str | None = None
    tags: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    attempts: int = 0
    seconds: float = 0.0
    steps: Steps = field(default_factory=Steps)
    log: Path | None = None
    error: ErrorInfo | None = None
    last_lines: tuple[str, ...] = ()
    metadata: Mapping[str, Any] | None = None
    builder: str = ""
    output: str = ""
    size: int = 0
    mtime_ns: int = 0
    sha256: str = ""
    verified: bool = False
    key: str = ""
    first_ran: str = ""
    cache: str = ""
    cache_sources: tuple[CacheSource, ...] = ()
    changes: tuple[str, ...] = ()
    inputs: str = ""
    compile_cache: CompileStatistics | None = None
    notes: tuple[str, ...] = ()
    began: float = 0.0
    tries: tuple[Try, ...] = ()
    moved: Moved = field(default_factory=Moved)
    layers: tuple[tuple[str, int], ...] = ()
    weights: Weights = field(default_factory=Weights)

    def __post_init__(self) -> None:
        """Clean untrusted text, so that no writer can forget to."""
        force_setattr(self, "notes", tuple(redact(clean(note)) for note in self.notes))
        force_setattr(self, "last_lines", tuple(redact(clean(line)) for line in self.last_lines))


def error_info(error: OrchestrateError | OSError) -> ErrorInfo:
    """Return the report's form of an error that was raised; an OSError is the machine's."""
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        failure = FailureClass.DISK if error.errno in FULL else FailureClass.ENVIRONMENT
        return ErrorInfo(failure=failure, message=f"{where}{error.strerror or error}")
    return ErrorInfo(failure=error.failure, message=str(error) if error.problems else _one_line(error))


def _one_line(error: OrchestrateError) -> str:
    """Message and hint as the one line that tables and annotations have room for."""
    lines = [*error.message.splitlines(), error.hint]
    return "; ".join(line.strip() for line in lines if line.strip())


def located(error: ErrorInfo, origin: Origin | None) -> ErrorInfo:
    """Return the error with the place of the failed instruction, where that is known."""
    return error if origin is None else replace(error, file=origin.file, line=origin.line)


def internal_error(error: BaseException) -> ErrorInfo:
    """Return the report's form of an unexpected exception."""
    text = " ".join(str(error).split())
    name = type(error).__name__
    return ErrorInfo(failure=FailureClass.INTERNAL, message=f"{name}: {text}" if text else name)


def of_target(metadata: Mapping[str, Any] | None, target: str) -> Mapping[str, Any] | None:
    """Return what `--metadata-file` holds for a target; None where it holds nothing."""
    found = metadata.get(target) if metadata is not None else None
    return found if isinstance(found, dict) else None


def digest_of(metadata: Mapping[str, Any] | None) -> str | None:
    """Return the digest of what was built, as the metadata of its target says."""
    digest = metadata.get("containerimage.digest") if metadata is not None else None
    return digest if isinstance(digest, str) else None


def exit_code(outcomes: Sequence[Outcome], *, interrupted: bool = False) -> int:
    """Return the exit code of a run, as documented in `orchestrator.errors`.

    The code of a failure class is given only when every failed variant shares it; otherwise 1.

    Args:
        outcomes: All outcomes of the run.
        interrupted: Whether a signal ended it, which always gives 130.
    """
    if interrupted:
        return FailureClass.INTERRUPTED.exit_code
    failed = [outcome for outcome in outcomes if outcome.status is Status.FAILED]
    codes = {(outcome.error.failure if outcome.error else FailureClass.RUN).exit_code for outcome in failed}
    if not codes:
        cancelled = any(outcome.status is Status.CANCELLED for outcome in outcomes)
        return FailureClass.CANCELLED.exit_code if cancelled else 0
    return codes.pop() if len(codes) == 1 else FailureClass.RUN.exit_code
