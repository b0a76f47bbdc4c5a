"""Looks at every builder of the matrix for `doctor`: does it answer, what can it do, does it reach the registry.

Two builds of a line each run on every builder that answers: one that asks the registry for a tag that nobody has, from
where the builder is, and one that leaves a record in its cache, by which two names of one daemon are told.
"""

from __future__ import annotations

import tempfile
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from orchestrator.bake.events import StepKind
from orchestrator.bake.progress import Failure
from orchestrator.engine import build_cache, client, create, doctor
from orchestrator.engine.buildx import last_error
from orchestrator.engine.machine import Check, check_memory, check_processors
from orchestrator.errors import EnvironmentLacksError, FailureClass, OrchestrateError
from orchestrator.redact import redact
from orchestrator.runs.retry import judge
from orchestrator.runs.sites import Site, looked_at
from orchestrator.sizes import parse_size

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orchestrator.engine.doctor import Need
    from orchestrator.matrix.schema_builders import FleetBuilder
    from orchestrator.matrix.variants import Plan

_BUILD_S = 60.0
_TAG = "orchestrate-doctor-asks"
_THERE = frozenset({FailureClass.NOT_FOUND, FailureClass.AUTH})
"""What a registry answers that is reached and has no such image, or shows it to nobody."""


def check_builders(plan: Plan, need: Need) -> list[Check]:
    """Check every builder of the matrix at once; raises nothing for what is wrong with one.

    Args:
        plan: The plan.
        need: What its variants need.
    """
    specs = plan.matrix.spec.builders
    root = plan.matrix.root.absolute()
    with ThreadPoolExecutor(max_workers=len(specs), thread_name_prefix="doctor") as pool:
        jobs = [pool.submit(_look, name, spec, root) for name, spec in specs.items()]
        looked = dict(zip(specs, (job.result() for job in jobs), strict=True))
        up = {name: one for name, one in looked.items() if isinstance(one, Site) and not one.down}
        probes = {name: pool.submit(_probe, name, plan.image) for name in up}
        probed = {name: job.result() for name, job in probes.items()}
    found: list[Check] = []
    for name, one in looked.items():
        found.append(_answers(name, specs[name], one))
        if name in up:
            found += _of(up[name], need, probed[name][0])
    return [
        *found,
        *_platforms(plan, list(up.values()), need),
        *_twice({name: ids for name, (_, ids) in probed.items()}),
    ]


def _look(name: str, spec: FleetBuilder, root: Path) -> Site | OrchestrateError | None:
    """The builder; what is wrong with it; None for one that the next build creates."""
    if spec.driver is not None and not create.known(name):
        return None
    try:
        return looked_at(name, spec, root)
    except OrchestrateError as error:
        return error


def _answers(name: str, spec: FleetBuilder, found: Site | OrchestrateError | None) -> Check:
    label = f"builder {name}"
    if found is None:
        return Check(name=label, status="ok", detail=f"the next build creates it, driver {spec.driver}")
    if isinstance(found, OrchestrateError):
        return Check(name=label, status="fail", detail=found.message, hint=found.hint)
    where = f" at {found.endpoint}" if found.endpoint else ""
    if found.down:
        hint = f"start it, or take it out of builders (`docker buildx inspect {name}` tests it)"
        return Check(name=label, status="fail", detail=f"driver {found.builder.driver}{where}: {found.down}", hint=hint)
    secure = ", mutual TLS" if "key" in spec.options else ""
    versions = sorted({node.version for node in found.builder.nodes if node.version})
    version = f", BuildKit {', '.join(versions)}" if versions else ""
    slots = f"{spec.slots} slot{'s' if spec.slots > 1 else ''}"
    plain = doctor.short(found.builder.platforms)
    return Check(
        name=label, status="ok", detail=f"driver {found.builder.driver}{where}{secure}{version}; {slots}; {plain}"
    )


def _of(site: Site, need: Need, unreached: str) -> list[Check]:
    """What one builder can do, under its name."""
    spec, name = site.spec, site.builder.name
    cache = doctor.check_cache(site.builder, need.cache)
    checks = [replace(cache, name="cache export")]
    if unreached:
        detail = f"not reached from the builder, which pushes by itself: {unreached}"
        hint = "name the registry so that every builder finds it; 127.0.0.1 of a builder elsewhere is that builder"
        checks.append(Check(name="registry", status="warn", detail=detail, hint=hint))
    else:
        checks.append(Check(name="registry", status="ok", detail="reached from the builder"))
    lacking = [key for key in ("processors", "memory", "disk") if not getattr(spec, key)]
    if site.builder.elsewhere and lacking:
        detail = f"{', '.join(lacking)} not known: buildx does not say"
        checks.append(Check(name="resources", status="ok", detail=detail, hint=f"declare them in builders.{name}"))
    if spec.memory:
        checks.append(check_memory(parse_size(spec.memory), need.jobs))
    if spec.processors:
        checks.append(check_processors(spec.processors, need.jobs))
    return [replace(check, name=f"{name}: {check.name}") for check in checks]


def _probe(name: str, image: str) -> tuple[str, frozenset[str]]:
    """Why a builder does not reach the registry, "" if it does; and the records of its cache."""
    unreached = ""
    try:
        done = _build(name, f"FROM {image}:{_TAG}\n")
        reason = last_error(done[1])
        failure = Failure(step="", kind=StepKind.METADATA, message=reason, returncode=1)
        if not done[0] and judge(failure).failure not in _THERE:
            unreached = redact(reason)
        _build(name, "FROM scratch\nCOPY probe /\n")
        records = frozenset(record.id for record in build_cache.records(name))
    except EnvironmentLacksError as error:
        return unreached or error.message, frozenset()
    return unreached, records


def _build(name: str, dockerfile: str) -> tuple[bool, str]:
    with tempfile.TemporaryDirectory(prefix="orchestrate-") as directory:
        Path(directory, "Dockerfile").write_text(dockerfile, encoding="utf-8")
        Path(directory, "probe").write_text(uuid.uuid4().hex, encoding="utf-8")
        words = ("buildx", "build", "--builder", name, "--output", "type=cacheonly", "--progress", "plain", directory)
        done = client.docker(*words, timeout=_BUILD_S)
        return done.ok, done.stderr


def _platforms(plan: Plan, up: Sequence[Site], need: Need) -> list[Check]:
    """Whether every platform of the plan has a builder."""
    if not up:
        return []
    wanted = sorted({variant.platform for variant in plan.variants})
    without = [name for name in wanted if not any(not one.spec.platforms or name in one.spec.platforms for one in up)]
    without += [name for name in need.platforms if not any(one.builder.builds(name) for one in up)]
    if not without:
        return [Check(name="platforms", status="ok", detail=", ".join(wanted))]
    detail = f"no builder that answers takes {', '.join(dict.fromkeys(without))}"
    return [
        Check(
            name="platforms",
            status="fail",
            detail=detail,
            hint="add them to a builder of the matrix",
        )
    ]


def _twice(records: Mapping[str, frozenset[str]]) -> list[Check]:
    """A warning for two names of one daemon: ids of cache records are random, so two daemons share none."""
    found = []
    names = sorted(records)
    for position, one in enumerate(names):
        for other in names[position + 1 :]:
            if records[one] & records[other]:
                detail = f"{one} and {other} are one daemon: their variants share its processors and memory"
                hint = f"keep one of them and give it more slots: builders.{one}.slots"
                found.append(Check(name="builders", status="warn", detail=detail, hint=hint))
    return found
