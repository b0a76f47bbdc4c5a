"""Builds without a network: what an air-gapped build leaves out, and which of its inputs are missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field
from msgspec.structs import replace

from orchestrator.bake.file import Extras
from orchestrator.engine import buildx, images
from orchestrator.errors import EnvironmentLacksError, Problem
from orchestrator.reference import host_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from orchestrator.bake.file import BakeFile
    from orchestrator.matrix.variants import Plan, Variant


def isolated(plan: Plan, extras: Mapping[str, Extras], registries: Sequence[str]) -> dict[str, Extras]:
    """Return the extras of an air-gapped build: no network for any RUN, and no cache on another machine.

    Args:
        plan: The plan.
        extras: What other features add already.
        registries: Registry hosts that may be reached.
    """
    found: dict[str, Extras] = {}
    for variant in plan.variants:
        own = replace(extras.get(variant.id, Extras()), network="none")
        if not _reachable(plan, variant, registries):
            away = "an air-gapped build reaches no cache on another machine"
            own = replace(own, cache=replace(own.cache, unread=away, unwritten=away))
        found[variant.id] = own
    return found


def _reachable(plan: Plan, variant: Variant, registries: Sequence[str]) -> bool:
    """Whether the caches of a variant are all on this machine or in these registries."""
    backend = plan.matrix.spec.cache.backend
    if backend not in ("registry", "inline"):
        return backend not in ("gha", "s3", "azblob")
    own = [variant.cache_ref, variant.cache_pull_request] if backend == "registry" else [t.text for t in variant.tags]
    return all(host_of(ref) in registries for ref in (*own, *variant.cache_read) if ref)


class Access(Struct, frozen=True, kw_only=True):
    """One thing that builds take from outside: what and where, and the variants that do.

    Attributes:
        kind: `base image`, `network step`, `remote file`, `context`, `frontend` or `cache`.
        name: The thing.
        place: Dockerfile, line and stage.
        cure: What satisfies it without a network.
        variants: Ids, in the order of the plan.
    """

    kind: str
    name: str
    place: str
    cure: str
    variants: tuple[str, ...]


def accesses(plan: Plan, files: Mapping[str, BakeFile]) -> tuple[Access, ...]:
    """Return everything that the builds of a plan take from outside, whatever this machine holds already.

    Args:
        plan: The plan.
        files: Variant id -> its bake file.
    """
    from orchestrator.headers import airgap

    found: dict[tuple[str, str, str, str], list[str]] = {}
    wheels = plan.matrix.spec.wheels
    for variant in plan.variants:
        for target in files[variant.id].members.values():
            text, why = buildx.dockerfile(plan.matrix.root, target)
            place = str(target.get("dockerfile") or "Dockerfile")
            if text is None:
                found.setdefault(("Dockerfile", why, place, ""), []).append(variant.id)
                continue
            around = airgap.Surroundings(
                root=plan.matrix.root,
                image_present=lambda _: False,
                place=place,
                wheelhouse=wheels.context if wheels is not None and variant.wheels is not None else "",
            )
            for need in airgap.needs({**target, "network": "none"}, text, around):
                if not need.covered:
                    found.setdefault((need.kind, need.name, need.place, need.cure), []).append(variant.id)
    return tuple(
        Access(kind=kind, name=name, place=place, cure=cure, variants=tuple(dict.fromkeys(ids)))
        for (kind, name, place, cure), ids in found.items()
    )


class _Doubt(Struct):
    """Where something may look for a network, and in which variants: each in order, once."""

    places: dict[str, None] = field(default_factory=dict)
    variants: dict[str, None] = field(default_factory=dict)


def require_inputs(
    plan: Plan,
    files: Mapping[str, BakeFile],
    extras: Mapping[str, Extras],
    registries: Sequence[str],
    warn: Callable[[str], None] = lambda _: None,
) -> None:
    """Require that everything that an air-gapped build needs is on this machine before it starts.

    Args:
        plan: The plan.
        files: Variant id -> its bake file.
        extras: What was added to each variant.
        registries: Registry hosts that may be reached.
        warn: Told of every step that may look for a network, and cannot find one.

    Raises:
        EnvironmentLacksError: Something is missing; each problem with the command that prepares it.
    """
    from orchestrator.headers import airgap

    known: dict[str, bool] = {}

    def present(reference: str) -> bool:
        if reference not in known:
            known[reference] = images.held(reference) is not None
        return known[reference]

    lines: dict[str, list[str]] = {}
    doubts: dict[str, _Doubt] = {}
    spec, wheels = plan.matrix.spec.headers, plan.matrix.spec.wheels
    for variant in plan.variants:
        digest = extras[variant.id].args.get(spec.digest_arg, "") if spec is not None else ""
        bundle = digest if variant.headers or digest else None
        for name, target in files[variant.id].members.items():
            text, why = buildx.dockerfile(plan.matrix.root, target)
            if text is None:
                lines.setdefault(f"Dockerfile: {why}", []).append(variant.id)
                continue
            place = str(target.get("dockerfile") or "Dockerfile")
            around = airgap.Surroundings(
                root=plan.matrix.root,
                image_present=present,
                registries=registries,
                place=place,
                wheelhouse=wheels.context
                if wheels is not None and wheels.digest_arg in extras[variant.id].args
                else "",
            )
            found = airgap.needs(target, text, around, bundle=bundle if name == variant.id else None)
            for need in found:
                if not (need.certain or need.covered):
                    doubt = doubts.setdefault(f"{need.name} {need.why}; {need.cure}", _Doubt())
                    doubt.places[need.place] = doubt.variants[variant.id] = None
            for need in airgap.missing(found):
                cure = f"; {need.cure}" if need.cure else ""
                lines.setdefault(f"{need.kind} {need.name} ({need.place}): {need.why}{cure}", []).append(variant.id)
    for text, doubt in doubts.items():
        first, *others = doubt.places
        more = f" and {len(others)} more" if others else ""
        warn(f"{first}{more}: {text} [{', '.join(doubt.variants)}]")
    if lines:
        problems = [Problem(what=f"{line} [{', '.join(ids)}]") for line, ids in lines.items()]
        raise EnvironmentLacksError(
            f"--air-gapped: {len(problems)} input{'s are' if len(problems) > 1 else ' is'} missing",
            problems=problems,
            hint="prepare them where there is a network; docs/air-gapped.md shows every step",
        )
