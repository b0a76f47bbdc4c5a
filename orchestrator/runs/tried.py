"""What one attempt of a variant gave, and why it failed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from orchestrator.errors import FailureClass
from orchestrator.runs.outcome import ErrorInfo
from orchestrator.runs.retry import judge

if TYPE_CHECKING:
    from orchestrator.bake.process import BakeResult
    from orchestrator.bake.watch import Overrun


class Tried(Struct, frozen=True, kw_only=True):
    """What one attempt gave: a result of bake, or the error that came before it."""

    result: BakeResult | None = None
    error: ErrorInfo | None = None
    again: bool = False
    host: str = ""
    after_s: float = 0.0
    lost: str = ""

    @property
    def overrun(self) -> Overrun | None:
        """Why bake was ended though nobody asked."""
        return self.result.overrun if self.result is not None else None

    @property
    def reason(self) -> str:
        """Why it failed, in one line."""
        if self.lost:
            return self.lost
        if self.error is not None:
            return self.error.message
        if (overrun := self.overrun) is not None:
            return f"{overrun.step}: {overrun.message}" if overrun.step else overrun.message
        failure = self.result.failure if self.result is not None else None
        if failure is None:
            return ""
        return f"{failure.step}: {failure.message}" if failure.step else failure.message

    @property
    def problem(self) -> ErrorInfo:
        """Why it failed, as the report says it; of an attempt that failed alone."""
        failure = self.result.failure if self.result is not None else None
        if self.error is not None or failure is None:
            return self.error or ErrorInfo(failure=FailureClass.INTERNAL, message="the attempt did not fail")
        if (overrun := self.overrun) is not None:
            return ErrorInfo(failure=overrun.failure, message=overrun.message, step=overrun.step)
        if self.lost:
            return ErrorInfo(failure=FailureClass.NETWORK, message=self.lost, step=failure.step)
        return ErrorInfo(failure=judge(failure).failure, message=failure.message, step=failure.step)
