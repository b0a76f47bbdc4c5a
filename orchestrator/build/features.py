"""What other features add to a build: the FlashInfer bundle before it, verification and tags after it.

It joins rooms that do not know each other (headers, image, bake); the scheduler sees only extras and a hook.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from orchestrator import process
from orchestrator.bake.file import Extras
from orchestrator.build.outcome import ErrorInfo, Outcome, Status
from orchestrator.errors import NetworkError, OrchestrateError, VerificationError

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.headers.lock import Lock
    from orchestrator.matrix.variants import Plan, Variant

_TAG_TIMEOUT = 300.0


def header_extras(plan: Plan, *, fetch: bool) -> dict[str, Extras]:
    """The named context and arguments of the FlashInfer bundle, for the variants that carry it.

    Args:
        plan: The plan.
        fetch: Whether files that the store lacks may be fetched.

    Raises:
        UsageError, VerificationError, DriftError, NetworkError: The bundle cannot be had; before any build starts.
    """
    spec = plan.matrix.spec.headers
    carriers = [variant.id for variant in plan.variants if variant.headers]
    if spec is None or not carriers:
        return {}
    from orchestrator.headers import sources, work
    from orchestrator.headers.inject import injection
    from orchestrator.headers.store import Store, default_root

    store = Store(default_root())
    root = plan.matrix.root

    def obtain(lock: Lock) -> None:
        named = [str(root / item) if (root / item).exists() else item for item in spec.mirrors]
        work.obtain_lock(lock, store, sources.chain(named))

    found = injection(spec, store, directory=root, obtain=obtain if fetch else None)
    if found is None:
        return {}
    extras = Extras(args=found.args, contexts={found.context_name: str(found.context_dir.absolute())})
    return dict.fromkeys(carriers, extras)


@dataclass(frozen=True, kw_only=True, slots=True)
class AfterBuild:
    """The hook of the scheduler: verify what was pushed by digest, and only then give it its tags.

    Attributes:
        plan: The plan.
        docker: The docker client's argv.
        verify: Whether to verify.
        pushed: Whether the image is in a registry, by digest alone.
        loaded: Whether it is in the engine's image store.
        directory: Where OCI archives were written; None for nowhere.
    """

    plan: Plan
    docker: tuple[str, ...]
    verify: bool
    pushed: bool = False
    loaded: bool = False
    directory: Path | None = None

    def __call__(self, variant: Variant, outcome: Outcome) -> Outcome:
        """Look at one variant that was built; gives the outcome back, as it is or failed."""
        try:
            if self.verify:
                outcome = self._verified(variant, outcome)
            if self.pushed and outcome.status is Status.BUILT:
                self._tag(variant, outcome)
        except NetworkError as error:
            return _failed(outcome, "network", str(error))
        except OrchestrateError as error:
            return _failed(outcome, "verification", str(error))
        return outcome

    def _source(self, variant: Variant, outcome: Outcome) -> str:
        """What to verify, as `orchestrate verify` takes it; "" where nothing was kept that could be read."""
        if self.pushed and outcome.digest:
            return f"{repositories(self.plan, variant)[0]}@{outcome.digest}"
        if self.directory is not None:
            return str(self.directory / f"{variant.id}.tar")
        return variant.tags[0].text if self.loaded and variant.tags else ""

    def _verified(self, variant: Variant, outcome: Outcome) -> Outcome:
        from orchestrator.image.policy import policy_of
        from orchestrator.image.verify import verify_image

        source = self._source(variant, outcome)
        if not source:
            note = "not verified: nothing was kept that could be read (use --push, --load or --output)"
            return replace(outcome, notes=(*outcome.notes, note))
        policy = policy_of(self.plan.matrix.spec.verify)
        verdict = verify_image(source, variant.archs.effective, policy)
        if verdict.ok:
            return outcome
        raise VerificationError("; ".join(verdict.problems))

    def _tag(self, variant: Variant, outcome: Outcome) -> None:
        """Point the variant's tags at the digest: a carbon copy of the index, so that the digest stays the same."""
        if not variant.tags or not outcome.digest:
            return
        for repository in repositories(self.plan, variant):
            tags = [tag.text for tag in variant.tags if tag.text.rpartition(":")[0] == repository]
            words = [word for tag in tags for word in ("--tag", tag)]
            argv = (*self.docker, "buildx", "imagetools", "create", "--prefer-index=false", *words)
            done = process.run((*argv, f"{repository}@{outcome.digest}"), timeout=_TAG_TIMEOUT)
            if not done.ok:
                last = (done.stderr.strip().splitlines() or ["no output"])[-1]
                raise NetworkError(f"{variant.id}: built and pushed, but its tags could not be set: {last}")


def repositories(plan: Plan, variant: Variant) -> list[str]:
    """The repositories that a variant is pushed to: those of its tags, else the plan's image."""
    return list(dict.fromkeys(tag.text.rpartition(":")[0] for tag in variant.tags)) or [plan.image]


def _failed(outcome: Outcome, class_: str, message: str) -> Outcome:
    return replace(outcome, status=Status.FAILED, error=ErrorInfo(class_=class_, message=message))
