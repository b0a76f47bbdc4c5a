"""Opens the builders of the matrix for a run: asks each, creates what is absent, and says what differs between them.

Who is down and when is `fleet`'s; where a variant goes is `placement`'s.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct, field
from msgspec.structs import replace

from orchestrator import process
from orchestrator.engine import builders, create, history
from orchestrator.engine.builders import REMOTE_DRIVER, Builder, Node
from orchestrator.engine.client import DockerFailedError
from orchestrator.engine.doctor import Engine, require_engine
from orchestrator.engine.endpoints import fault
from orchestrator.errors import EnvironmentLacksError
from orchestrator.redact import redact
from orchestrator.runs import caching, resources
from orchestrator.runs.fleet import Fleet, Member, shown
from orchestrator.runs.placement import preferred
from orchestrator.runs.preflight import needed_platforms

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from orchestrator.bake.file import BakeFile, Extras
    from orchestrator.engine.buildx import BakeCall
    from orchestrator.engine.create import Wanted
    from orchestrator.engine.doctor import Asked
    from orchestrator.engine.info import EngineInfo
    from orchestrator.matrix.schema_builders import FleetBuilder
    from orchestrator.matrix.variants import Plan
    from orchestrator.runs.journal import Journal

_HINT = "`orchestrate doctor` looks at each; --builder NAME builds on one alone"


class Site(Struct, frozen=True, kw_only=True):
    """One builder of a run, and what variants are given there.

    Attributes:
        spec: What the matrix says of it.
        builder: What buildx says of it; what the matrix says where it does not answer.
        down: Why it does not answer, "" if it does.
        extras: What features add to each variant on it.
        memory: Bytes that it has, 0 where unknown.
        at_once: How many variants it builds at once.
    """

    spec: FleetBuilder
    builder: Builder
    down: str = ""
    extras: Mapping[str, Extras] = field(default_factory=dict)
    memory: int = 0
    at_once: int = 1

    @property
    def endpoint(self) -> str:
        """Where it is, as it is shown; "" for this machine's engine."""
        if not self.builder.elsewhere:
            return ""
        return redact(", ".join(node.endpoint or node.name for node in self.builder.nodes))

    def __str__(self) -> str:
        return shown(self.builder.name, self.endpoint)

    def call(self, call: BakeCall) -> BakeCall:
        """Return how buildx is called for builds on it."""
        return replace(call, builder=self.builder.name)

    def takes(self, platform: str, needed: frozenset[str]) -> bool:
        """Whether it builds a variant.

        Args:
            platform: The variant's platform.
            needed: The platforms that its steps run on.
        """
        declared = not self.spec.platforms or platform in self.spec.platforms
        return declared and all(self.builder.builds(one) for one in needed)

    def look(self) -> str:
        """Why its endpoint takes no connection, "" if it does or nobody can tell."""
        if self.builder.driver != REMOTE_DRIVER:
            return ""
        found = [fault(node.endpoint, node.options) for node in self.builder.nodes]
        return "; ".join(found) if found and all(found) else ""

    def member(self, ask: Callable[[], str]) -> Member:
        """Return it as a member of the fleet."""
        return Member(
            name=self.builder.name, slots=self.spec.slots, endpoint=self.endpoint, here=not self.builder.elsewhere,
            look=self.look, ask=ask,
        )  # fmt: skip


def opened(
    specs: Mapping[str, FleetBuilder],
    info: EngineInfo | None,
    *,
    root: Path,
    tell: Callable[[str], None],
    warn: Callable[[str], None],
) -> list[Site]:
    """Ask every builder of the matrix at once, and create those that are absent.

    Args:
        specs: The section `builders`.
        info: The engine of this machine, None where none answers.
        root: The directory of the matrix.
        tell: Hears of builders that are created.
        warn: Hears of builders that do not answer.

    Raises:
        EnvironmentLacksError: One was not found or is another than the matrix says, or none answers.
        InterruptedRunError: A stop was asked for.
    """
    sites = _all_of(specs, info, lambda name, spec: _open(name, spec, root, tell))
    if all(one.down for one in sites):
        raise _none_answers(sites)
    for one in sites:
        if one.down:
            warn(f"builder {one}: {one.down}; its variants go to the others, and the run asks it again later")
    return sites


def _open(name: str, spec: FleetBuilder, root: Path, tell: Callable[[str], None]) -> Site:
    if spec.driver is not None and not create.known(name):
        tell(f"builder {name} is created ({spec.driver}{f', {redact(spec.endpoint)}' if spec.endpoint else ''})")
        wanted = asked_for(name, spec, root)
        try:
            create.create(wanted)
        except DockerFailedError as error:
            reason = f"it could not be created: {error.reason}"
            return Site(spec=spec, builder=_from_matrix(wanted), down=reason, at_once=spec.slots)
    return looked_at(name, spec, root)


def looked_at(name: str, spec: FleetBuilder, root: Path) -> Site:
    """Ask a builder that exists.

    Args:
        name: buildx's name of it.
        spec: What the matrix says of it.
        root: The directory of the matrix.

    Raises:
        EnvironmentLacksError: It was not found, or is another than the matrix says.
        InterruptedRunError: A stop was asked for.
    """
    wanted = asked_for(name, spec, root)
    # looked at first: buildx waits 20 s for a remote builder that is down
    if spec.driver == REMOTE_DRIVER and (reason := fault(wanted.endpoint, wanted.options)):
        return Site(spec=spec, builder=_from_matrix(wanted), down=reason, at_once=spec.slots)
    found = builders.inspected(name)
    if found is None:
        hint = "create it (`docker buildx create`), or give it a driver in builders of the matrix"
        raise EnvironmentLacksError(f"builder {name} was not found", hint=hint)
    create.require_same(wanted, found)
    silent = builders.silent_nodes(found)
    down = redact(found.error) or ("; ".join(silent) if silent and len(silent) == len(found.nodes) else "")
    return Site(spec=spec, builder=replace(found, error=""), down=down, at_once=spec.slots)


class Standing(Struct, frozen=True, kw_only=True):
    """The builders of a plan's builds as they are.

    Attributes:
        up: Those that answer, each with the engine of this machine; never empty.
        later: Those that the next build creates.
        down: Those that do not answer.
    """

    up: Sequence[Engine]
    later: Sequence[Builder] = ()
    down: Sequence[Site] = ()

    @property
    def engine(self) -> Engine:
        """The one that is asked about a plan."""
        return self.up[0]

    @property
    def builders(self) -> list[Builder]:
        """Those that a build may use, as far as they are known."""
        return [*(one.builder for one in self.up), *self.later]

    @property
    def drivers(self) -> frozenset[str]:
        """What the builders of a build are, also those that are down."""
        return frozenset(one.driver for one in (*self.builders, *(one.builder for one in self.down)))


def standing(plan: Plan, named: str, asked: Asked) -> Standing:
    """Return the builders of a plan's builds as they are; nothing is created.

    Args:
        plan: The plan.
        named: The builder of the command line, which wins over those of the matrix; "" for none.
        asked: What was asked of docker already, for that builder.

    Raises:
        EnvironmentLacksError: Something of it is missing, or no builder answers.
        InterruptedRunError: A stop was asked for.
    """
    specs, root = plan.matrix.spec.builders, plan.matrix.root.absolute()
    there = {name: spec for name, spec in specs.items() if spec.driver is None or create.known(name)}
    if named or not there:
        return Standing(up=[require_engine(builder=named, asked=asked)])
    try:
        info: EngineInfo | None = asked.info()
    except EnvironmentLacksError:
        info = None
    sites = [*_all_of(there, info, lambda name, spec: looked_at(name, spec, root))]
    up = [Engine(info=info, builder=one.builder) for one in sites if not one.down]
    if not up:
        raise _none_answers(sites)
    later = [_from_matrix(asked_for(name, spec, root)) for name, spec in specs.items() if name not in there]
    return Standing(up=up, later=later, down=[one for one in sites if one.down])


def _all_of(
    specs: Mapping[str, FleetBuilder], info: EngineInfo | None, work: Callable[[str, FleetBuilder], Site]
) -> list[Site]:
    """Each builder looked at, all at once."""
    from concurrent.futures import ThreadPoolExecutor

    store = info is not None and info.containerd_store
    with ThreadPoolExecutor(max_workers=len(specs), thread_name_prefix="builders") as pool:
        jobs = [pool.submit(process.carried(work), name, spec) for name, spec in specs.items()]
        sites = [job.result() for job in jobs]
    return [replace(one, builder=replace(one.builder, containerd_store=store)) for one in sites]


def _none_answers(sites: Sequence[Site]) -> EnvironmentLacksError:
    reasons = "; ".join(f"{one}: {one.down}" for one in sites)
    return EnvironmentLacksError(f"no builder of the matrix answers: {reasons}", hint=_HINT)


def asked_for(name: str, spec: FleetBuilder, root: Path) -> Wanted:
    """Return what the matrix says of a builder, with the paths of this machine."""
    options = {key: _path(value, root) if key in create.FILES else value for key, value in spec.options.items()}
    gc = spec.gc
    sizes = {"reserved": gc.reserved, "max_used": gc.max_used, "min_free": gc.min_free} if gc is not None else {}
    return create.Wanted(
        name=name,
        driver=spec.driver or "",
        endpoint=spec.endpoint,
        platforms=tuple(spec.platforms),
        options=options,
        config=_path(spec.config, root) if spec.config else "",
        gc={key: size for key, size in sizes.items() if size},
    )


def _path(text: str, root: Path) -> str:
    """Buildx refuses paths that are not absolute."""
    return str((root / Path(text).expanduser()).absolute())


def _from_matrix(wanted: Wanted) -> Builder:
    node = Node(name=f"{wanted.name}0", endpoint=wanted.endpoint, running=False, options=wanted.options)
    return Builder(name=wanted.name, driver=wanted.driver, platforms=wanted.platforms, running=False, nodes=(node,))


def equipped(
    plan: Plan,
    site: Site,
    info: EngineInfo | None,
    extras: Mapping[str, Extras],
    *,
    tell: Callable[[str], None],
    warn: Callable[[str], None],
) -> Site:
    """Return a builder with what variants are given on it: caches that it writes, compile jobs that it carries.

    Args:
        plan: The plan.
        site: The builder.
        info: The engine of this machine, None where none answers.
        extras: What features add on every builder.
        tell: Hears of the number of compile jobs.
        warn: Hears of caches that it cannot write.
    """
    engine = Engine(info=info, builder=site.builder)
    at_once = max(1, min(site.spec.slots, len(plan.variants)))
    there = caching.fitting(plan, extras, site.builder, warn=warn)
    there = resources.with_jobs(plan, there, engine, at_once, tell=tell)
    machine = resources.machine_of(plan.matrix.spec.resources, engine, plan.matrix.spec.builders)
    return replace(site, extras=there, memory=machine.memory if machine is not None else 0, at_once=at_once)


def fleet(plan: Plan, sites: Sequence[Site], files: Mapping[str, BakeFile], call: BakeCall, journal: Journal) -> Fleet:
    """Return the fleet of a run: each variant's builders in order, and those that are down taken out.

    Args:
        plan: The plan.
        sites: What `opened` returned.
        files: Variant id -> its bake file.
        call: How buildx is called.
        journal: What earlier runs built, and where.
    """

    def asks(site: Site) -> Callable[[], str]:
        def ask() -> str:
            silence = history.silent(site.call(call))
            return silence.why if silence is not None else ""

        return ask

    orders = {}
    for variant in plan.variants:
        needed = needed_platforms(call.root, files[variant.id], variant.platform)
        slots = {one.builder.name: one.spec.slots for one in sites if one.takes(variant.platform, needed)}
        before = journal.last(variant.id)
        orders[variant.id] = preferred(variant.id, slots, last=before.builder if before is not None else "")
    made = Fleet(members=[one.member(asks(one)) for one in sites], orders=orders)
    for member, site in zip(made.members, sites, strict=True):
        if site.down:
            made.take_out(member, site.down)
    return made
