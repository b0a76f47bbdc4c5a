"""What follows a build that succeeded: the image is verified, only then tagged, and the tag that held it removed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field
from msgspec.structs import replace

from orchestrator.bake.file import Output, repositories
from orchestrator.errors import FailureClass, InterruptedRunError, OrchestrateError
from orchestrator.runs.outcome import ErrorInfo, Outcome, Status, error_info
from orchestrator.runs.proof import promise
from orchestrator.runs.verification import verified

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orchestrator.matrix.variants import Plan, Variant
    from orchestrator.process import Stop
    from orchestrator.runs.reporter import Reporter
    from orchestrator.runs.tagging import Tagging


class AfterBuild(Struct, frozen=True, kw_only=True):
    """Verifies a variant that was built and sets its tags if they were held back.

    Attributes:
        plan: The plan.
        output: Where the result is.
        tagging: How held tags are set.
        bundles: Variant id -> digest of the FlashInfer bundle that its image must hold.
        attest: Says in the registry that an image (repository, digest) was verified for a promise; returns what went
            wrong. None says nothing.
        verify: Whether images are verified; else the hook only removes tags that hold variants without tags.
    """

    plan: Plan
    output: Output
    tagging: Tagging
    bundles: Mapping[str, str] = field(default_factory=dict)
    attest: Callable[[str, str, str], str] | None = None
    verify: bool = True

    def __call__(self, variant: Variant, outcome: Outcome, *, stop: Stop, reporter: Reporter) -> Outcome:
        """Look at one variant that was built; return the outcome as it is or failed.

        Raises:
            InterruptedRunError: A stop was asked for.
        """
        if not self.verify:
            return self._released(variant, outcome)
        held = bool(self.output.hold)
        if held and not outcome.digest:
            error = ErrorInfo(
                failure=FailureClass.INTERNAL, message="buildx printed no digest of what it pushed: no tag was set"
            )
            return replace(outcome, status=Status.FAILED, error=error)
        try:
            checked = verified(
                variant,
                outcome,
                self._source(variant, outcome),
                spec=self.plan.matrix.spec.verify,
                bundle=self.bundles.get(variant.id, ""),
            )
        except InterruptedRunError:
            raise
        except OrchestrateError as error:
            return self._untagged(variant, outcome, error_info(error))
        if not held or outcome.digest is None:
            return checked
        checked = self._attested(variant, checked, outcome.digest)
        if variant.tags:
            tags = repositories(self.plan.image, variant)
            failure = self.tagging.set(variant.id, tags, outcome.digest, stop=stop, reporter=reporter)
            if failure is not None:
                failure = replace(failure, message=f"verified, but {failure.message}")
                return self._untagged(variant, checked, failure)
        return self._released(variant, checked)

    def promised(self, variant: Variant) -> str:
        """Return the digest of what the image of a variant is verified for, "" where it is not verified."""
        if not self.verify:
            return ""
        return promise(variant, self.plan.matrix.spec.verify, self.bundles.get(variant.id, ""))

    def _attested(self, variant: Variant, outcome: Outcome, digest: str) -> Outcome:
        """The outcome, once every registry says that the image was verified; one that does not is no failure."""
        if self.attest is None:
            return outcome
        notes = [self.attest(name, digest, self.promised(variant)) for name in repositories(self.plan.image, variant)]
        return replace(outcome, notes=(*outcome.notes, *filter(None, notes)))

    def _released(self, variant: Variant, outcome: Outcome) -> Outcome:
        """The outcome, once the tags that held the image are gone; a registry that keeps one is no failure."""
        notes = [self.tagging.release(reference) for reference in self.output.holding(self.plan.image, variant)]
        return replace(outcome, notes=(*outcome.notes, *filter(None, notes)))

    def _untagged(self, variant: Variant, outcome: Outcome, error: ErrorInfo) -> Outcome:
        """The failed outcome, with a note on where the image is whose tags were not set."""
        failed = replace(outcome, status=Status.FAILED, error=error)
        if not self.output.hold or not variant.tags:
            return failed
        note = f"pushed as {self._pushed(variant, outcome)}; its tags were not moved"
        return replace(failed, notes=(*outcome.notes, note))

    def _source(self, variant: Variant, outcome: Outcome) -> str:
        """What to verify, as `orchestrate verify` takes it; "" where nothing was kept that can be read."""
        if self.output.hold:
            return self._pushed(variant, outcome)
        archive = self.output.archive(variant.id)
        if archive is not None:
            return str(archive)
        return variant.tags[0].text if self.output.load and variant.tags else ""

    def _pushed(self, variant: Variant, outcome: Outcome) -> str:
        return f"{next(iter(repositories(self.plan.image, variant)))}@{outcome.digest}"
