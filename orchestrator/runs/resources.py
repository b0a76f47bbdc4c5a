"""Gives variants their compile jobs: as many as the processors and the memory of the builder carry.

The number travels as the BuildKit secret `max-jobs`. An argument is a part of the layer cache's key, so that another
machine would compile everything anew; a secret changes neither that nor the content key (measured, buildx 0.29).
Model: a compile thread of a large CUDA unit takes up to `unit_memory`. The units of vLLM 0.20 were measured at 0.2 to
12.4 GB, the sixteen largest at 8.2 GB each (docs/replay.md).
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from orchestrator.bake.file import Extras
from orchestrator.cache.keys import MAX_JOBS
from orchestrator.matrix.schema_resources import AUTO
from orchestrator.sizes import GIB, binary_text, parse_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from orchestrator.bake.progress import Failure
    from orchestrator.engine.doctor import Engine
    from orchestrator.matrix.schema_builders import FleetBuilder
    from orchestrator.matrix.schema_resources import ResourcesSpec
    from orchestrator.matrix.variants import Plan, Variant

VARIABLE = "ORCHESTRATE_MAX_JOBS"
"""The variable of the bake process that the secret is taken from."""

_DIGITS = 10  # of a number of jobs; Python refuses to read 4,301
_SYSTEM = GIB  # of memory that stays for the engine and the system
_KILLED = re.compile(
    r"\bdied due to signal 9\b|Killed signal terminated program|^Killed$|\bError 137\b|cannot allocate memory"
    r"|std::bad_alloc|internal compiler error: Killed",
    re.IGNORECASE,
)


class Machine(Struct, frozen=True, kw_only=True):
    """What a builder has.

    Attributes:
        processors: How many.
        memory: Bytes.
        name: As it is shown.
    """

    processors: int
    memory: int
    name: str

    def __str__(self) -> str:
        return f"{self.name}, {self.processors} processors, {binary_text(self.memory)}"


class CompileJobs(Struct, frozen=True, kw_only=True):
    """How many compile jobs a variant runs.

    Attributes:
        jobs: The number.
        at_once: How many variants run beside each other.
        memory: Bytes that the builder has, 0 where unknown.
        given: Whether it is given as the secret, so that another number costs no layer.
    """

    jobs: int
    at_once: int = 1
    memory: int = 0
    given: bool = False

    @property
    def half(self) -> int:
        """The number that is tried after a compiler was killed for lack of memory."""
        return max(1, self.jobs // 2)

    def told(self) -> str:
        """Return what to do about a compiler that was killed for lack of memory."""
        each = self.memory // max(1, self.jobs * self.at_once)
        beside = f" in each of {self.at_once} variants" if self.at_once > 1 else ""
        took = f" on {binary_text(self.memory)}, so a job takes more than {binary_text(each)}" if each else ""
        if self.jobs == 1:
            cure = "build fewer variants at once" if self.at_once > 1 else "the builder needs more memory"
        else:
            cure = f"set max_jobs {self.half}"
            cure += ", or build with --adapt" if self.given else ""
        return f"a compiler was killed for lack of memory with max_jobs {self.jobs}{beside}{took}: {cure}"


def machine_of(spec: ResourcesSpec, engine: Engine, fleet: Mapping[str, FleetBuilder] | None = None) -> Machine | None:
    """Return what the builder of a run has; None where that is not known.

    Args:
        spec: The section: what it says of a builder wins.
        engine: The engine and its builder.
        fleet: The section `builders`, which says the same of its own.
    """
    builder = engine.builder
    member = (fleet or {}).get(builder.name)
    if member is not None and member.processors and member.memory:
        return Machine(processors=member.processors, memory=parse_size(member.memory), name=builder.name)
    declared = spec.builders.get(builder.name)
    if declared is not None:
        return Machine(processors=declared.processors, memory=parse_size(declared.memory), name=builder.name)
    info = engine.info
    if builder.elsewhere or info is None or not (info.cpus and info.memory):
        return None
    return Machine(processors=info.cpus, memory=info.memory, name=builder.name)


def this_machine() -> Machine:
    """Return what this machine has, without asking an engine."""
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return Machine(processors=os.cpu_count() or 1, memory=pages * size, name="this machine")


def jobs_of(spec: ResourcesSpec, machine: Machine, at_once: int) -> int:
    """Return the compile jobs of each of the variants that run at once: at least one job of `threads` threads."""
    unit = parse_size(spec.unit_memory)
    by_memory = max(0, machine.memory - _SYSTEM) // unit
    share = min(machine.processors, by_memory) // max(1, at_once)
    return max(spec.threads, share - share % spec.threads)


def explained(spec: ResourcesSpec, at_once: int = 1) -> list[str]:
    """Return one line for this machine and for each declared builder; for `plan --explain`, which asks nobody."""
    if spec.max_jobs == "off":
        return []
    if spec.max_jobs != AUTO:
        return [f"max_jobs {spec.max_jobs}, given as the secret {MAX_JOBS}"]
    machines = [this_machine()]
    machines += [
        Machine(processors=one.processors, memory=parse_size(one.memory), name=name)
        for name, one in spec.builders.items()
    ]
    unit = f"{spec.unit_memory} a thread"
    return [f"max_jobs {jobs_of(spec, one, at_once)} with --jobs {at_once} on {one}, {unit}" for one in machines]


def with_jobs(
    plan: Plan, extras: Mapping[str, Extras], engine: Engine, at_once: int, *, tell: Callable[[str], None]
) -> dict[str, Extras]:
    """Return the extras of the variants with the secret max-jobs.

    Args:
        plan: The plan.
        extras: What other features add already.
        engine: The engine and its builder.
        at_once: How many variants run beside each other.
        tell: Hears the number, or that it is not known.
    """
    spec = plan.matrix.spec.resources
    users = [variant for variant in plan.variants if _gets_secret(spec, variant)]
    if not users:
        return dict(extras)
    beside = min(max(1, at_once), len(plan.variants))
    machine = machine_of(spec, engine, plan.matrix.spec.builders)
    if spec.max_jobs != AUTO:
        number = int(spec.max_jobs)
    elif machine is not None:
        number = jobs_of(spec, machine, beside)
        each = f" for each of {beside} variants at once" if beside > 1 else ""
        tell(f"max_jobs {number}{each} ({machine}, {spec.unit_memory} a thread)")
    else:
        tell(
            f"max_jobs: the processors and memory of builder {engine.builder.name} are not known, the Dockerfile's own "
            "number stays: declare them in builders or resources.builders of the matrix"
        )
        return dict(extras)
    found = dict(extras)
    for variant in users:
        before = found.get(variant.id, Extras())
        found[variant.id] = replace(
            before,
            secrets=(*before.secrets, f"id={MAX_JOBS},env={VARIABLE}"),
            env={**before.env, VARIABLE: str(number)},
        )
    return found


def compile_jobs(variant: Variant, extras: Extras, *, at_once: int, memory: int) -> CompileJobs | None:
    """Return the compile jobs of a variant, from the secret or from its argument max_jobs; None where neither says.

    Args:
        variant: The variant.
        extras: What features add to it.
        at_once: How many variants run beside each other.
        memory: Bytes that the builder has, 0 where unknown.
    """
    if given := extras.env.get(VARIABLE):
        return CompileJobs(jobs=int(given), at_once=at_once, memory=memory, given=True)
    jobs = _argument(variant)
    return CompileJobs(jobs=jobs, at_once=at_once, memory=memory) if jobs else None


def asked_jobs(spec: ResourcesSpec, variant: Variant) -> int:
    """Return the compile jobs that the matrix asks for a variant; 0 where nobody says, or `auto` makes them fit."""
    if _gets_secret(spec, variant):
        return 0 if spec.max_jobs == AUTO else int(spec.max_jobs)
    return _argument(variant)


def _gets_secret(spec: ResourcesSpec, variant: Variant) -> bool:
    return spec.max_jobs != "off" and (spec.targets is None or variant.target in spec.targets)


def _argument(variant: Variant) -> int:
    """The number of the argument max_jobs, 0 where there is none."""
    text = next((value.text for name, value in variant.args.items() if name.lower() == "max_jobs"), "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < _DIGITS else 0


def killed(failure: Failure, last_lines: Sequence[str] | Iterable[str]) -> bool:
    """Return whether a failed step was killed, or one of its compilers, usually for lack of memory."""
    from orchestrator.bake.events import StepKind

    if failure.kind is not StepKind.RUN:
        return False
    return failure.message.endswith("exit code: 137") or any(_KILLED.search(line.strip()) for line in last_lines)
