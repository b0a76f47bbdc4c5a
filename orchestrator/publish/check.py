"""Checks a family before anything of it moves: every planned platform, built from this plan's inputs, and verified.

A family with a problem is not published; the others are. Each problem is one sentence that says which digest and why.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field

from orchestrator.errors import InterruptedRunError, OrchestrateError, Problem, VerificationError
from orchestrator.image.verdict.policy import from_spec
from orchestrator.image.verdict.verify import verify_image
from orchestrator.publish.compose import compose
from orchestrator.publish.family import source
from orchestrator.publish.pushed import pushed
from orchestrator.registry.clients import Clients, each
from orchestrator.registry.errors import NotFoundError
from orchestrator.runs import proof

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from orchestrator.matrix.variants import Plan, Variant
    from orchestrator.publish.candidates import Candidates
    from orchestrator.publish.family import Family
    from orchestrator.publish.pushed import Pushed
    from orchestrator.reference import Digest
    from orchestrator.registry.manifests import Manifest
    from orchestrator.runs.planned import Planned


class Checked(Struct, frozen=True, kw_only=True):
    """A family that was checked.

    Attributes:
        family: The family.
        images: Variant id -> what was pushed.
        index: The index of its images, None where it has problems.
        revision: The commit that the index stands for, "" where not known.
        problems: Why it is not published: which variant or digest, expected and found, and what to do.
        notes: What a user should know though nothing is refused.
    """

    family: Family
    images: Mapping[str, Pushed] = field(default_factory=dict)
    index: Manifest | None = None
    revision: str = ""
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()


class Checker(Struct, frozen=True, kw_only=True):
    """Checks families.

    Attributes:
        plan: The whole plan.
        planned: The content keys of its variants.
        candidates: What was built.
        clients: The registries.
        commit: The commit that is checked out, "" where there is none.
        look_only: Whether nothing is written: an image that still must be verified is not, and a note says so.
    """

    plan: Plan
    planned: Planned
    candidates: Candidates
    clients: Clients
    commit: str = ""
    look_only: bool = False

    def check(self, family: Family) -> Checked:
        """Check one family.

        Raises:
            InterruptedRunError: A stop was asked for.
        """
        problems = list(self._unplanned(family))
        variants = list(family.members.values())
        images: dict[str, Pushed] = {}
        notes: list[str] = []
        for variant, found in zip(variants, each(self._image, variants), strict=True):
            if isinstance(found, OrchestrateError):
                problems.append(Problem(what=f"{variant.id}: {found.message}", hint=found.hint))
            elif isinstance(found, Problem):
                problems.append(found)
            else:
                images[variant.id] = found
                if not self.planned.inputs[variant.id].key:
                    unknown = self.planned.inputs[variant.id].unknown
                    notes.append(f"{variant.id}: its content key was not compared: {unknown}")
        revisions = {id_: image.revision for id_, image in images.items()}
        problems += self._commits(family, revisions, notes)
        if not problems:
            problems += self._unverified(variants, images, notes)
        named = set(revisions.values())
        revision = named.pop() if len(named) == 1 else self.commit
        return Checked(
            family=family,
            images=images,
            index=None if problems else compose([images[one.id] for one in variants], revision=revision),
            revision=revision,
            problems=tuple(problems),
            notes=tuple(notes),
        )

    def _unplanned(self, family: Family) -> Iterator[Problem]:
        """Platforms that are required or named and that the plan does not have."""
        for platform in family.required:
            if platform not in family.members:
                row = family.dropped.get(platform)
                why = f"{row.id} is excluded: {row.why}" if row is not None else "the plan does not have it"
                yield Problem(what=f"{platform} is missing: publish.require_platforms names it, and {why}")
        for platform, row in family.dropped.items():
            for digest, where in self.candidates.digests.get(row.id, {}).items():
                yield Problem(
                    what=f"{row.id}: {where} names {digest} for {platform}, which the plan leaves out: {row.why}",
                    hint="remove it from the reports, or the row from exclude",
                )

    def _image(self, variant: Variant) -> Pushed | Problem:
        """What was pushed for a variant, or why it is refused.

        Raises:
            NetworkError, DamagedAnswerError: The registry denies access, does not answer, or answers falsely.
        """
        digests = self.candidates.digests.get(variant.id, {})
        if not digests:
            why = self.candidates.reasons.get(variant.id, f"not found in {self.candidates.origin}")
            return Problem(
                what=f"{variant.platform} is missing: {variant.id}: {why}",
                hint=f"orchestrate build --push --variant {variant.id}",
            )
        if len(digests) > 1:
            named = ", ".join(f"{digest} ({where})" for digest, where in digests.items())
            return Problem(
                what=f"{variant.id}: two images do not match: {named}", hint="keep the report of one of them"
            )
        (digest,) = digests
        repository = source(self.plan, variant)
        try:
            found = pushed(self.clients.of(repository), digest)
        except NotFoundError:
            return Problem(
                what=f"{variant.id}: {digest} was not found in {repository}: it was deleted, or never pushed there",
                hint=f"orchestrate build --push --variant {variant.id}",
            )
        return self._refused(variant, digest, found) or found

    def _refused(self, variant: Variant, digest: Digest, found: Pushed) -> Problem | None:
        """Why an image is not the one that this plan means."""
        key = self.planned.inputs[variant.id].key
        hint = f"orchestrate build --push --variant {variant.id}"
        if found.platform != variant.platform:
            what = f"the platform does not match: expected {variant.platform}, found {found.platform or 'none'}"
        elif not found.key:
            what = "carries no content key: orchestrate build did not push it"
        elif found.variant != variant.id:
            what = f"is another variant: expected {variant.id}, found {found.variant or 'none'}"
        elif key and found.key != key:
            what = f"was built from other inputs: expected key {_short(key)}, found {_short(found.key)}"
        else:
            return None
        return Problem(what=f"{variant.id}: {digest} {what}", hint=hint)

    def _commits(self, family: Family, revisions: Mapping[str, str], notes: list[str]) -> Iterator[Problem]:
        spec = self.plan.matrix.spec.publish
        strict = spec is not None and spec.same_commit
        different = set(revisions.values())
        if strict:
            expected = self.commit or next(iter(revisions.values()), "")
            for id_, revision in revisions.items():
                if revision != expected:
                    what = f"expected {expected or 'one'}, found {revision or 'none'} (publish.same_commit)"
                    yield Problem(
                        what=f"{id_}: the commit does not match: {what}",
                        hint=f"orchestrate build --push --variant {id_}",
                    )
        elif len(different) > 1:
            named = ", ".join(f"{id_} {revision[:12] or 'none'}" for id_, revision in revisions.items())
            notes.append(f"{family.name}: its images name different commits: {named}")

    def _unverified(self, variants: list[Variant], images: Mapping[str, Pushed], notes: list[str]) -> Iterator[Problem]:
        """Verify what the matrix demands and nothing says yet."""
        spec = self.plan.matrix.spec
        demanded = spec.publish.verified if spec.publish is not None else None
        if not (spec.verify.after_build if demanded is None else demanded):
            return
        for variant in variants:
            image, bundle = images[variant.id], self.planned.bundles.get(variant.id, "")
            repository = source(self.plan, variant)
            promised = proof.promise(variant, spec.verify, bundle)
            try:
                if proof.proven(self.clients.of(repository), image.image, promised):
                    continue
                if self.look_only:
                    notes.append(f"{variant.id}: is not verified yet; publish verifies it before its tags move")
                    continue
                verdict = verify_image(
                    f"docker://{repository}@{image.image.digest}",  # not what the engine has under this name
                    variant.archs.effective,
                    from_spec(spec.verify),
                    promised_by=variant.id,
                    platform=variant.platform,
                    bundle=bundle,
                )
                if not verdict.ok:
                    raise VerificationError("; ".join(str(one) for one in verdict.problems[:3]))
                proof.prove(self.clients.of(repository), image.image, promised)
            except InterruptedRunError:
                raise
            except OrchestrateError as error:
                yield Problem(
                    what=f"{variant.id}: {image.digest} is not verified: {error.message}",
                    hint=f"orchestrate verify {repository}@{image.image.digest}",
                )


def _short(digest: str) -> str:
    return digest[:19]
