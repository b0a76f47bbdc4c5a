"""Checks all variants of a run before the first one is built: do their arguments arrive, can the builder build them.

One question to buildx for all of them. Where an argument is not consumed and a stage is FROM an image, the image is
asked as well: its ONBUILD instructions may declare it. So it is where its ENV may replace the value in a later stage.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from orchestrator.bake import preflight, privileges
from orchestrator.bake.exporters import rewrites
from orchestrator.bake.file import Extras, repositories
from orchestrator.cache.keys import MAX_JOBS
from orchestrator.dockerfile.platforms import run_platforms
from orchestrator.engine import buildx, doctor
from orchestrator.engine.builders import DOCKER_DRIVER
from orchestrator.entries import read_entry
from orchestrator.errors import EnvironmentLacksError, MatrixError, OrchestrateError, Place
from orchestrator.registry.errors import DeniedError, NotFoundError, ReadOnlyError
from orchestrator.runs import access, base_lock
from orchestrator.runs.inputs import missing_inputs, require_agent

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from orchestrator.bake.arrived import Outlines
    from orchestrator.bake.file import BakeFile
    from orchestrator.engine.builders import Builder
    from orchestrator.engine.buildx import BakeCall
    from orchestrator.matrix.variants import Plan, Variant


class Question(Struct, frozen=True, kw_only=True):
    """One variant to check.

    Attributes:
        variant: The variant.
        file: Its bake file.
        extras: What other features add to it.
        pushed: The repositories that it will be pushed to.
        asked: The privileges that it asks for.
        cache_place: Where the matrix says where local caches are.
    """

    variant: Variant
    file: BakeFile
    extras: Extras
    pushed: Collection[str] = ()
    asked: tuple[privileges.Ask, ...] = ()
    cache_place: Place | None = None


class Checked(Struct, frozen=True, kw_only=True):
    """What was found for one variant.

    Attributes:
        error: Why it cannot be built; None where nothing is wrong.
        notes: What was not checked, and what is doubtful.
        arrival: What its targets consume.
    """

    error: OrchestrateError | None = None
    notes: tuple[str, ...] = ()
    arrival: preflight.Arrival | None = None


def questions(
    plan: Plan, rendered: Mapping[str, BakeFile], extras: Mapping[str, Extras] | None = None, *, push: bool
) -> list[Question]:
    """Return what preflight asks of every variant.

    Args:
        plan: The plan.
        rendered: Variant id -> its bake file.
        extras: What other features add, by variant id.
        push: Whether the variants are pushed.
    """
    root = plan.matrix.root.absolute()
    found = []
    for variant in plan.variants:
        more = (extras or {}).get(variant.id) or Extras()
        file = rendered[variant.id]
        found.append(
            Question(
                variant=variant,
                file=file,
                extras=more,
                pushed=tuple(repositories(plan.image, variant)) if push else (),
                asked=privileges.asks(root, file, own=tuple(more.contexts.values())),
                cache_place=plan.matrix.positions.place(("cache", "dir")),
            )
        )
    return found


def allowed_by(plan: Plan, given: privileges.Allowed) -> privileges.Allowed:
    """Return what the command line and the matrix allow together.

    Raises:
        UsageError: A word of `bake.allow` is not a privilege.
    """
    return given | privileges.parse(plan.matrix.spec.bake.allow, plan.matrix.root.absolute(), option="bake.allow")


def check_all(
    call: BakeCall,
    questions: Sequence[Question],
    *,
    builders: Sequence[Builder] = (),
    outlines: Outlines | None = None,
    allowed: privileges.Allowed | None = None,
) -> dict[str, Checked]:
    """Check variants.

    Args:
        call: How to call buildx.
        questions: The variants.
        builders: The builders that share them; none where none was asked.
        outlines: What earlier runs learned.
        allowed: The privileges that builds may use; None for none.

    Returns:
        Variant id -> what was found.

    Raises:
        InterruptedRunError: A stop was asked for.
        EnvironmentLacksError: There is no docker client, or it does not answer.
    """
    found = preflight.arrivals(call, [one.file for one in questions], outlines)
    checked = {one.variant.id: _judged(one, arrival) for one, arrival in zip(questions, found, strict=True)}
    again = [one for one in questions if _needs_bases(one, checked[one.variant.id])]
    if again:
        with_bases = preflight.arrivals(call, [one.file for one in again], bases=True)
        for one, arrival in zip(again, with_bases, strict=True):
            checked[one.variant.id] = _second(one, checked[one.variant.id], arrival)
    for one in questions:
        if checked[one.variant.id].error is None:
            checked[one.variant.id] = _with_inputs(call, one, checked[one.variant.id])
    denied = access.push_errors(name for one in questions for name in one.pushed)
    for one in questions:
        if checked[one.variant.id].error is None:
            checked[one.variant.id] = _with_access(one, denied, checked[one.variant.id])
    for one in questions if builders else ():
        if checked[one.variant.id].error is None:  # what is wrong in the matrix comes first
            found_on = [_on_builder(call, one, builder, checked[one.variant.id]) for builder in builders]
            fitting = next((found for found in found_on if found.error is None), None)
            checked[one.variant.id] = fitting or _on_none(found_on)
    for one in questions:  # what is not allowed comes before all else
        checked[one.variant.id] = _allowed(call, one, allowed or privileges.Allowed(), checked[one.variant.id])
    return checked


def injected(variant: Variant, extras: Extras) -> preflight.Injected:
    """Return what a variant is given, with the places in the matrix."""
    secrets = {read_entry(secret.text).get("id", ""): secret.origin.place for secret in variant.secrets}
    contexts = {name: value.origin.place for name, value in variant.contexts.items()}
    own = [MAX_JOBS] if any(read_entry(secret).get("id") == MAX_JOBS for secret in extras.secrets) else []
    locked = dict.fromkeys(base_lock.names(extras), Place(file=base_lock.LOCK, line=1))
    return preflight.Injected(
        args={name: value.text for name, value in variant.args.items()} | dict(extras.args),
        contexts=tuple(contexts),
        secrets=(*filter(None, secrets), *own),
        locked=tuple(locked),
        cuda=variant.cuda_version,
        places={**secrets, **contexts, **locked, **{name: value.origin.place for name, value in variant.args.items()}},
    )


def _judged(one: Question, arrival: preflight.Arrival | MatrixError) -> Checked:
    if isinstance(arrival, MatrixError):
        return Checked(error=arrival)
    given = injected(one.variant, one.extras)
    try:
        preflight.check(arrival, given, variant=one.variant.id)
    except preflight.NotArrivedError as error:
        return Checked(error=error, arrival=arrival)
    return Checked(notes=preflight.notes(arrival, given), arrival=arrival)


def _needs_bases(one: Question, checked: Checked) -> bool:
    if checked.arrival is None:
        return False
    given = injected(one.variant, one.extras)
    if checked.error is not None:
        return preflight.missing(checked.arrival, given)
    return bool(preflight.unsure(checked.arrival, given))


def _second(one: Question, first: Checked, arrival: preflight.Arrival | MatrixError) -> Checked:
    """The judgement with the base images, where they could be asked."""
    if isinstance(arrival, MatrixError) or not arrival.checked:
        reason = str(arrival) if isinstance(arrival, MatrixError) else arrival.why_not
        if first.error is None:
            names = preflight.unsure(first.arrival, injected(one.variant, one.extras)) if first.arrival else []
            return replace(first, notes=(*first.notes, _not_checked(names, reason)))
        hint = f"{first.error.hint}; whether ONBUILD of a base image declares it was not checked: {reason}"
        error = preflight.NotArrivedError(first.error.message, problems=first.error.problems, hint=hint)
        return Checked(error=error, arrival=first.arrival)
    second = _judged(one, arrival)
    names = preflight.unsure(arrival, injected(one.variant, one.extras))
    if second.error is not None or not names:
        return second
    return replace(second, notes=(*second.notes, _not_checked(names, "the base is a named context")))


def _not_checked(names: Sequence[str], reason: str) -> str:
    return f"not checked whether an ENV of a base replaces the value of {', '.join(names)}: {reason}"


def _with_inputs(call: BakeCall, one: Question, checked: Checked) -> Checked:
    places = injected(one.variant, one.extras).places
    try:
        require_agent(one.file, variant=one.variant.id)
    except EnvironmentLacksError as without:
        return Checked(error=without, arrival=checked.arrival)
    problems = missing_inputs(call.root, one.file, places, variant=one.variant.id, given=one.extras.env)
    if not problems:
        return checked
    many = f"{len(problems)} inputs were" if len(problems) > 1 else "1 input was"
    error = MatrixError(f"{one.variant.id}: {many} not found on this machine", problems=problems)
    return Checked(error=error, arrival=checked.arrival)


def _with_access(one: Question, denied: Mapping[str, OrchestrateError], checked: Checked) -> Checked:
    """Refuse what the registry surely refuses; one that does not answer now may answer after the build."""
    errors = [(name, denied[name]) for name in one.pushed if name in denied]
    sure = [error for _, error in errors if isinstance(error, (DeniedError, NotFoundError, ReadOnlyError))]
    if sure:
        return Checked(error=sure[0], arrival=checked.arrival)
    notes = tuple(f"not checked whether images can be pushed: {error.message}" for _, error in errors)
    return replace(checked, notes=(*checked.notes, *notes))


def _allowed(call: BakeCall, one: Question, allowed: privileges.Allowed, checked: Checked) -> Checked:
    given = injected(one.variant, one.extras)

    def place(ask: privileges.Ask) -> Place | None:
        """Where a privilege is asked for: in the matrix, else in a bake file."""
        attribute, _, name = ask.attribute.partition(".")
        if name in {*given.contexts, *given.secrets}:
            return given.places.get(name)
        if attribute in {"cache-from", "cache-to"}:
            return one.cache_place
        return buildx.place_of(call, attribute, ask.text)

    try:
        privileges.check(one.asked, allowed, variant=one.variant.id, place=place)
        privileges.require_entitled(call.root, one.file, variant=one.variant.id)
    except privileges.NotAllowedError as error:
        return replace(checked, error=error)
    return checked


def _on_builder(call: BakeCall, one: Question, builder: Builder, checked: Checked) -> Checked:
    (output,) = map(read_entry, one.file.definition["output"])
    if builder.driver == DOCKER_DRIVER and output.get("type") == "docker" and rewrites(output):
        error = MatrixError(
            f"{one.variant.id}: rewrite-timestamp does not match --load: the docker driver unpacks what it loads",
            hint="build with --push or --output, or with a builder of the driver docker-container",
        )
        return Checked(error=error, arrival=checked.arrival)
    for check in doctor.check_platforms(
        builder, sorted(needed_platforms(call.root, one.file, one.variant.platform)), here=True
    ):
        if check.status == "fail":
            return Checked(error=EnvironmentLacksError(check.detail, hint=check.hint), arrival=checked.arrival)
    return checked


def _on_none(found: Sequence[Checked]) -> Checked:
    """What is said of a variant that no builder can build."""
    first, *others = (one for one in found if one.error is not None)
    if not others or first.error is None:
        return first
    reasons = "; ".join(dict.fromkeys(one.error.message for one in found if one.error is not None))
    return replace(first, error=EnvironmentLacksError(reasons, hint=first.error.hint))


def needed_platforms(root: Path, file: BakeFile, platform: str) -> frozenset[str]:
    """Return the platforms that a builder must be able to run for a variant, as `doctor` and builds judge it.

    Args:
        root: The directory that paths of the targets start from.
        file: Its bake file.
        platform: Its own platform, which counts where a Dockerfile cannot be read here.
    """
    found: set[str] = set()
    for member in file.members.values():
        built = "".join(member.get("platforms") or []) or platform
        try:
            text, _ = buildx.dockerfile(root, member)
        except MatrixError:
            text = None
        if text is None:
            found.add(built)
            continue
        args = {name: str(value) for name, value in (member.get("args") or {}).items() if value is not None}
        contexts = member.get("contexts") or {}
        found |= run_platforms(text, built, target=str(member.get("target") or ""), contexts=contexts, args=args)
    return frozenset(found)
