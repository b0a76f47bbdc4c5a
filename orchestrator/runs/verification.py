"""Verifies what was built: the image must hold the kernels and the headers that its variant promises."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from orchestrator.errors import VerificationError
from orchestrator.runs.weights import weigh

if TYPE_CHECKING:
    from orchestrator.matrix.schema import VerifySpec
    from orchestrator.matrix.variants import Variant
    from orchestrator.runs.outcome import Outcome


def verified(variant: Variant, outcome: Outcome, source: str, *, spec: VerifySpec, bundle: str = "") -> Outcome:
    """Return the outcome of a variant whose image was verified, with the warnings as notes.

    Args:
        variant: What promises the architectures.
        outcome: How it was built.
        source: The image as `orchestrate verify` takes it; "" where nothing was kept that can be read.
        spec: The section `verify` of the matrix.
        bundle: Digest of the FlashInfer bundle that the image must hold, "" for none.

    Raises:
        VerificationError: The image does not hold what was promised.
        NetworkError, EnvironmentLacksError, InterruptedRunError: It could not be read.
    """
    from orchestrator.image.verdict import verify
    from orchestrator.image.verdict.policy import from_spec

    if not source:
        note = "not verified: this build keeps no image (use --push, --load or --output)"
        return replace(outcome, notes=(*outcome.notes, note))
    verdict = verify.verify_image(
        source,
        variant.archs.effective,
        from_spec(spec),
        promised_by=variant.id,
        platform=variant.platform,
        bundle=bundle,
    )
    outcome = replace(outcome, layers=verdict.scanned.layers, weights=weigh(verdict))
    if not verdict.ok:
        headers = verdict.headers.problems if verdict.headers else ()
        what = "its FlashInfer headers" if len(headers) == len(verdict.problems) else "what was promised"
        raise VerificationError(
            f"the image does not hold {what}", problems=verdict.problems, hint=f"orchestrate verify {source}"
        )
    notes = (f"verification: {text}" for text in verdict.warnings)
    return replace(outcome, verified=True, notes=(*outcome.notes, *notes))
