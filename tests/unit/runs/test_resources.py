"""Compile jobs of a variant, from what a builder has; and what is said and done when memory ran out."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.bake.events import StepKind
from orchestrator.engine.builders import Builder, Node
from orchestrator.engine.doctor import Engine
from orchestrator.engine.info import EngineInfo
from orchestrator.matrix.schema_resources import BuilderSpec, ResourcesSpec
from orchestrator.runs.resources import CompileJobs, Machine, explained, jobs_of, killed, machine_of
from orchestrator.sizes import GIB
from tests.unit.runs.support import failure

INFO = EngineInfo(
    version="28", containerd_store=True, platform="linux/amd64", cpus=8, memory=32 * GIB, root="/x", host_name="h"
)


def machine(processors: int, memory: int) -> Machine:
    return Machine(processors=processors, memory=memory * GIB, name="m")


@pytest.mark.parametrize(
    ("processors", "memory", "at_once", "threads", "jobs"),
    [(16, 256, 1, 1, 16), (16, 33, 1, 1, 8), (16, 33, 2, 1, 4), (64, 256, 3, 1, 21), (64, 256, 3, 8, 16),
     (2, 24, 1, 1, 2), (2, 2, 1, 1, 1), (2, 24, 4, 8, 8)],
)  # fmt: skip
def test_the_scarcer_of_both_decides(processors: int, memory: int, at_once: int, threads: int, jobs: int) -> None:
    spec = ResourcesSpec(max_jobs="auto", threads=threads, unit_memory="4GiB")
    assert jobs_of(spec, machine(processors, memory), at_once) == jobs


def builder(driver: str = "docker", endpoint: str = "") -> Builder:
    nodes = (Node(name="n", endpoint=endpoint, running=True),) if endpoint else ()
    return Builder(name="b", driver=driver, platforms=(), running=True, nodes=nodes)


def test_a_builder_elsewhere_is_known_by_what_the_matrix_says_alone() -> None:
    none, said = ResourcesSpec(), ResourcesSpec(builders={"b": BuilderSpec(processors=64, memory="256GB")})
    here, away = Engine(info=INFO, builder=builder()), Engine(info=INFO, builder=builder("remote", "tcp://far:1"))
    assert machine_of(none, here) == Machine(processors=8, memory=32 * GIB, name="b")
    assert machine_of(none, away) is None
    assert machine_of(none, Engine(info=None, builder=builder())) is None
    for engine in (here, away):
        assert machine_of(said, engine) == Machine(processors=64, memory=256_000_000_000, name="b")


def test_the_plan_names_this_machine_and_the_declared_builders() -> None:
    spec = ResourcesSpec(max_jobs="auto", builders={"arm": BuilderSpec(processors=64, memory="64GB")})
    first, second = explained(spec)
    assert "on this machine, " in first
    assert second == "max_jobs 15 with --jobs 1 on arm, 64 processors, 59.6 GiB, 4GB a thread"
    assert explained(ResourcesSpec(max_jobs="7")) == ["max_jobs 7, given as the secret max-jobs"]
    assert explained(ResourcesSpec()) == []


@pytest.mark.parametrize(
    ("message", "line", "was"),
    [
        ("did not complete successfully: exit code: 137", "", True),
        ("exit code: 1", "nvcc error   : 'cicc' died due to signal 9 (Kill signal)", True),
        ("exit code: 1", "g++: fatal error: Killed signal terminated program cc1plus", True),
        ("exit code: 2", "make: *** [Makefile:2: a.o] Error 137", True),
        ("exit code: 1", "ninja: build stopped: subcommand failed.", False),
        ("exit code: 1", "test_kill: the process was Killed by the test", False),
    ],
)
def test_a_kill_is_known_by_the_words_of_compilers(message: str, line: str, was: bool) -> None:
    assert killed(failure(message, kind=StepKind.RUN), ["something", line]) is was
    assert not killed(failure(message, kind=StepKind.EXPORT), [line])


def test_what_would_fit_is_told() -> None:
    told = CompileJobs(jobs=16, at_once=2, memory=64 * GIB, given=True).told()
    assert "max_jobs 16 in each of 2 variants on 64 GiB, so a job takes more than 2 GiB: set max_jobs 8" in told
    assert told.endswith("or build with --adapt")
    assert CompileJobs(jobs=4).told().endswith("with max_jobs 4: set max_jobs 2")
    assert CompileJobs(jobs=1, at_once=2).told().endswith("build fewer variants at once")


@pytest.mark.parametrize(
    ("fields", "said"),
    [({"max_jobs": "many"}, "max_jobs: many is invalid"), ({"max_jobs": "9" * 5000}, "max_jobs: 9"),
     ({"max_jobs": "0"}, "max_jobs: 0 is invalid"),
     ({"unit_memory": "0GB"}, "expected more than nothing"),
     ({"unit_memory": "0.4"}, "expected more than nothing"), ({"min_free": "lots"}, "min_free: the size is invalid")],
)  # fmt: skip
def test_values_that_cannot_be(fields: dict[str, Any], said: str) -> None:
    assert said in ResourcesSpec(**fields).broken_rule()
    assert ResourcesSpec(max_jobs="12").broken_rule() == ""
