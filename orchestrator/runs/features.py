"""What other features add to a build: the FlashInfer bundle before it, verification and tags after it.

It joins rooms that do not know each other (headers, image, bake); the scheduler sees only extras and a hook.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from orchestrator import process
from orchestrator.bake.events import StepKind
from orchestrator.bake.file import Extras, repositories
from orchestrator.bake.progress import Failure
from orchestrator.engine import buildx
from orchestrator.errors import (
    EnvironmentLacksError,
    InterruptedRunError,
    OrchestrateError,
    Problem,
    VerificationError,
)
from orchestrator.labels import FLASHINFER
from orchestrator.runs.outcome import ErrorInfo, Outcome, Status
from orchestrator.runs.retry import Kind, RetryPolicy, attempts, classify
from orchestrator.runs.variant import error_info

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from orchestrator.headers.lock import Lock
    from orchestrator.matrix.variants import Plan, Variant

_TAG_TIMEOUT = 300.0
_TELL_EVERY = 5.0  # seconds between two words on a fetch


def header_extras(plan: Plan, *, fetch: bool, tell: Callable[[str], None]) -> dict[str, Extras]:
    """The named context and arguments of the FlashInfer bundle, for the variants that carry it.

    Args:
        plan: The plan.
        fetch: Whether files that the store lacks may be fetched.
        tell: Told every few seconds how far the fetch is; not at all if nothing is missing.

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
        work.obtain_lock(lock, store, sources.chain(named), progress=_Told(tell))

    found = injection(spec, store, directory=root, obtain=obtain if fetch else None)
    if found is None:
        return {}
    extras = Extras(
        args=found.args,
        contexts={found.context_name: str(found.context_dir.absolute())},
        labels={FLASHINFER: found.args[spec.digest_arg]},
    )
    return dict.fromkeys(carriers, extras)


class _Told:
    """Progress of a fetch as a sentence now and then."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._next = 0.0

    def __call__(self, done: int, total: int, received: int) -> None:
        if time.monotonic() >= self._next or done == total:
            self._next = time.monotonic() + _TELL_EVERY
            self._tell(f"FlashInfer headers: {done} of {total} files fetched, {received / 1e6:.1f} MB")


def bundles(plan: Plan, extras: Mapping[str, Extras]) -> dict[str, str]:
    """The digest of the FlashInfer bundle that each variant was given, for the variants that were given one."""
    spec = plan.matrix.spec.headers
    if spec is None:
        return {}
    return {id_: found.args[spec.digest_arg] for id_, found in extras.items() if spec.digest_arg in found.args}


@dataclass(frozen=True, kw_only=True, slots=True)
class AfterBuild:
    """The hook of the scheduler: verify what was pushed by digest, and only then give it its tags.

    Attributes:
        plan: The plan.
        docker: The docker client's argv.
        stop: Ends the waiting between two attempts at setting a tag.
        held: Whether the image is in a registry without its tags.
        loaded: Whether it is in the engine's image store.
        directory: Where OCI archives were written; None for nowhere.
        bundles: Variant id -> digest of the FlashInfer bundle that its image must hold.
        policy: How often and how soon a tag is tried again.
    """

    plan: Plan
    docker: tuple[str, ...]
    stop: threading.Event
    held: bool = False
    loaded: bool = False
    directory: Path | None = None
    bundles: Mapping[str, str] = field(default_factory=dict)
    policy: RetryPolicy = field(default_factory=RetryPolicy)

    def __call__(self, variant: Variant, outcome: Outcome) -> Outcome:
        """Look at one variant that was built; gives the outcome back, as it is or failed.

        Raises:
            InterruptedRunError: A stop was asked for.
        """
        if self.held and not outcome.digest:
            return _failed(outcome, "internal", "buildx told no digest of what it pushed: no tag was moved")
        try:
            checked = self._verified(variant, outcome)
        except InterruptedRunError:
            raise
        except OrchestrateError as error:
            found = error_info(error, "verification")
            return self._untagged(variant, _failed(outcome, found.class_, found.message))
        if not self.held:
            return checked
        failure = self._tag(variant, checked)
        return self._untagged(variant, replace(checked, status=Status.FAILED, error=failure)) if failure else checked

    def _untagged(self, variant: Variant, outcome: Outcome) -> Outcome:
        """The outcome with a note on where the image lies whose tags were not moved."""
        if not self.held or not variant.tags:
            return outcome
        place = f"{repositories(self.plan.image, variant)[0]}@{outcome.digest}"
        return replace(outcome, notes=(*outcome.notes, f"pushed as {place}; its tags were not moved"))

    def _source(self, variant: Variant, outcome: Outcome) -> str:
        """What to verify, as `orchestrate verify` takes it; "" where nothing was kept that could be read."""
        if self.held:
            return f"{repositories(self.plan.image, variant)[0]}@{outcome.digest}"
        if self.directory is not None:
            return str(self.directory / f"{variant.id}.tar")
        return variant.tags[0].text if self.loaded and variant.tags else ""

    def _verified(self, variant: Variant, outcome: Outcome) -> Outcome:
        from orchestrator.image.verdict.policy import from_spec
        from orchestrator.image.verdict.verify import verify_image

        source = self._source(variant, outcome)
        if not source:
            note = "not verified: nothing was kept that could be read (use --push, --load or --output)"
            return replace(outcome, notes=(*outcome.notes, note))
        verdict = verify_image(
            source,
            variant.archs.effective,
            from_spec(self.plan.matrix.spec.verify),
            promised_by=variant.id,
            platform=variant.platform,
            bundle=self.bundles.get(variant.id, ""),
        )
        if not verdict.ok:
            headers = verdict.headers.problems if verdict.headers else ()
            what = "its FlashInfer headers" if len(headers) == len(verdict.problems) else "what was promised"
            raise VerificationError(
                f"the image does not hold {what}", problems=verdict.problems, hint=f"orchestrate verify {source}"
            )
        notes = (f"verification: {text}" for text in verdict.warnings)
        return replace(outcome, notes=(*outcome.notes, *notes))

    def _tag(self, variant: Variant, outcome: Outcome) -> ErrorInfo | None:
        """Point the variant's tags at the digest: a carbon copy of the index, so that the digest stays the same."""
        if not variant.tags:
            return None
        for repository in repositories(self.plan.image, variant):
            tags = [tag.text for tag in variant.tags if tag.text.rpartition(":")[0] == repository]
            words = tuple(word for tag in tags for word in ("--tag", tag))
            create = (*self.docker, "buildx", "imagetools", "create", "--prefer-index=false", *words)
            source = f"{repository}@{outcome.digest}"
            done = attempts(
                partial(_create, (*create, source)),
                again=lambda done: not done.ok and _kind(done) is Kind.TRANSIENT,
                policy=self.policy,
                stop=self.stop,
                before_wait=lambda *_: None,
            )
            if not done.ok:
                message = f"verified, but its tags could not be set: {buildx.last_error(done.stderr)}"
                kind = _kind(done)
                class_ = "network" if kind is Kind.OTHER else kind.error_class
                return ErrorInfo(class_=class_, message=message, step=f"tag {', '.join(tags)}")
        return None


def isolated(plan: Plan, extras: Mapping[str, Extras], registries: Sequence[str]) -> dict[str, Extras]:
    """The extras of an air-gapped build: no network for any RUN, and no cache that lies outside.

    Args:
        plan: The plan.
        extras: What other features add already.
        registries: Registry hosts that may be reached.
    """
    backend = plan.matrix.spec.cache.backend
    return {
        variant.id: replace(
            extras.get(variant.id, Extras()),
            network="none",
            no_cache=backend == "gha" or (backend == "registry" and _host(variant.cache_ref) not in registries),
        )
        for variant in plan.variants
    }


def require_inputs(
    plan: Plan,
    targets: Mapping[str, Mapping[str, Any]],
    extras: Mapping[str, Extras],
    registries: Sequence[str],
    docker: tuple[str, ...],
) -> None:
    """Everything that an air-gapped build would fetch must be there before it starts.

    Args:
        plan: The plan.
        targets: Variant id -> resolved bake target.
        extras: What was added to each variant.
        registries: Registry hosts that may be reached.
        docker: The docker client's argv.

    Raises:
        EnvironmentLacksError: Something is missing; each with the command that prepares it.
    """
    from orchestrator.headers import airgap

    known: dict[str, bool] = {}

    def present(reference: str) -> bool:
        if reference not in known:
            known[reference] = process.run((*docker, "image", "inspect", reference), timeout=60).ok
        return known[reference]

    lines: dict[str, list[str]] = {}
    spec = plan.matrix.spec.headers
    for variant in plan.variants:
        target = targets[variant.id]
        text, why = buildx.dockerfile(plan.matrix.root, target)
        if text is None:
            lines.setdefault(f"Dockerfile: {why}", []).append(variant.id)
            continue
        digest = extras[variant.id].args.get(spec.digest_arg, "") if spec is not None else ""
        place = str(target.get("dockerfile") or "Dockerfile")
        found = airgap.needs(
            target, text, root=plan.matrix.root, place=place, image_present=present, registries=registries,
            bundle=digest, bundle_wanted=variant.headers,
        )  # fmt: skip
        for need in airgap.missing(found):
            cure = f"; {need.cure}" if need.cure else ""
            lines.setdefault(f"{need.kind} {need.name} ({need.place}): {need.why}{cure}", []).append(variant.id)
    if lines:
        problems = [Problem(what=f"{line} [{', '.join(ids)}]") for line, ids in lines.items()]
        raise EnvironmentLacksError(
            f"--air-gapped: {len(problems)} input{'s are' if len(problems) > 1 else ' is'} missing",
            problems=problems,
            hint="prepare them where there is a network; docs/air-gapped.md shows every step",
        )


def _host(reference: str) -> str:
    """The registry of an image reference, "docker.io" where none is written."""
    first = reference.split("/", 1)[0]
    return first if "/" in reference and (set(first) & set(".:") or first == "localhost") else "docker.io"


def _create(argv: Sequence[str], _attempt: int) -> process.Completed:
    return process.run(argv, timeout=_TAG_TIMEOUT)


def _kind(done: process.Completed) -> Kind:
    """What sort of failure a registry's answer is, judged as that of a push."""
    text = buildx.last_error(done.stderr)
    return classify(Failure(step="tag", kind=StepKind.EXPORT, message=text, returncode=done.returncode))


def _failed(outcome: Outcome, class_: str, message: str) -> Outcome:
    return replace(outcome, status=Status.FAILED, error=ErrorInfo(class_=class_, message=message))
