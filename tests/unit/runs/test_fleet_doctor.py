"""What `doctor` says of the builders of the matrix, from what was found of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from orchestrator.engine.builders import Builder, Node
from orchestrator.engine.doctor import Need
from orchestrator.errors import EnvironmentLacksError
from orchestrator.matrix.schema_builders import FleetBuilder
from orchestrator.runs import fleet_doctor
from orchestrator.runs.sites import Site
from tests.unit.matrix.support import SMALL, planned

if TYPE_CHECKING:
    from orchestrator.engine.machine import Check

NODE = Node(name="n0", endpoint="tcp://10.0.0.1:1", running=True, version="v0.21")
REMOTE = Builder(name="far", driver="remote", platforms=("linux/amd64", "linux/amd64/v2"), running=True, nodes=(NODE,))
FAR = Site(spec=FleetBuilder(driver="remote", endpoint="tcp://10.0.0.1:1"), builder=REMOTE)
HERE = Site(
    spec=FleetBuilder(slots=2), builder=Builder(name="here", driver="docker", platforms=("linux/arm64",), running=True)
)


def said(check: Check) -> tuple[str, str, str, str]:
    return check.name, check.status, check.detail, check.hint


@pytest.mark.parametrize(
    ("found", "status", "detail", "hint"),
    [
        (None, "ok", "the next build creates it, driver remote", ""),
        (EnvironmentLacksError("builder far was not found", hint="create it"), "fail", "builder far was not found",
         "create it"),
        (replace(FAR, down="connection refused"), "fail", "driver remote at tcp://10.0.0.1:1: connection refused",
         "start it, or take it out of builders (`docker buildx inspect far` tests it)"),
        (FAR, "ok", "driver remote at tcp://10.0.0.1:1, BuildKit v0.21; 1 slot; linux/amd64", ""),
        (HERE, "ok", "driver docker; 1 slot; linux/arm64", ""),
        (
            replace(FAR, builder=replace(REMOTE, platforms=(), nodes=(
                replace(NODE, version="v2"), replace(NODE, version=""), replace(NODE, version="v1"),
            ))),
            "ok",
            f"driver remote at {', '.join(['tcp://10.0.0.1:1'] * 3)}, BuildKit v1, v2; 1 slot; unknown until it starts",
            "",
        ),
    ],
)  # fmt: skip
def test_whether_a_builder_answers(
    found: Site | EnvironmentLacksError | None, status: str, detail: str, hint: str
) -> None:
    check = fleet_doctor._answers("far", FAR.spec, found)
    assert said(check) == ("builder far", status, detail, hint)


def test_mutual_tls_and_slots_are_named() -> None:
    spec = FleetBuilder(driver="remote", endpoint="tcp://10.0.0.1:1", slots=3, options={"key": "k.pem"})
    assert ", mutual TLS, BuildKit v0.21; 3 slots;" in fleet_doctor._answers("far", spec, FAR).detail


def test_what_one_builder_can_do_stands_under_its_name() -> None:
    need = Need(jobs=4, cache="registry")
    assert [said(one) for one in fleet_doctor._of(FAR, need, "")] == [
        ("far: cache export", "ok", "registry", ""),
        ("far: registry", "ok", "reached from the builder", ""),
        (
            "far: resources", "ok", "processors, memory, disk not known: buildx does not say",
            "declare them in builders.far",
        ),
    ]  # fmt: skip
    cache, registry = fleet_doctor._of(HERE, need, "refused")
    assert (cache.name, cache.status) == ("here: cache export", "warn")
    assert said(registry) == (
        "here: registry", "warn", "not reached from the builder, which pushes by itself: refused",
        "name the registry so that every builder finds it; 127.0.0.1 of a builder elsewhere is that builder",
    )  # fmt: skip


def test_resources_that_the_matrix_declares_are_judged() -> None:
    spec = FleetBuilder(processors=2, memory="1GB")
    found = fleet_doctor._of(replace(FAR, spec=spec), Need(jobs=64), "")
    assert [one.name for one in found[2:]] == ["far: resources", "far: memory", "far: processors"]
    assert found[2].detail == "disk not known: buildx does not say"
    assert found[3].status == "warn"
    whole = fleet_doctor._of(replace(FAR, spec=FleetBuilder(processors=2, memory="1GB", disk="1TB")), Need(jobs=64), "")
    assert [one.name for one in whole[2:]] == ["far: memory", "far: processors"]


def test_each_platform_of_the_plan_has_a_builder() -> None:
    plan = planned(SMALL.replace("  linux/amd64:\n", "  linux/amd64:\n  linux/arm64:\n"))

    def platforms(*up: Site, need: Need = Need()) -> list[tuple[str, str, str, str]]:  # noqa: B008 - a frozen value
        return [said(one) for one in fleet_doctor._platforms(plan, up, need)]

    taken = replace(FAR, spec=FleetBuilder(platforms=["linux/amd64"]))
    assert platforms() == []
    assert platforms(FAR) == [("platforms", "ok", "linux/amd64, linux/arm64", "")]
    assert platforms(taken) == [
        ("platforms", "fail", "no builder that answers takes linux/arm64", "add them to a builder of the matrix")
    ]
    assert platforms(taken, replace(HERE, spec=FleetBuilder(platforms=["linux/arm64"])))[0][1] == "ok"
    steps = Need(platforms=("linux/arm64", "linux/riscv64", "linux/amd64"))
    assert platforms(taken, need=steps)[0][2] == "no builder that answers takes linux/arm64, linux/riscv64"
    assert platforms(FAR, HERE, need=Need(platforms=("linux/arm64",)))[0][1] == "ok"


def test_two_names_of_one_daemon_are_told() -> None:
    records = {"c": frozenset("xy"), "a": frozenset("yz"), "b": frozenset("w"), "none": frozenset[str]()}
    assert [said(one) for one in fleet_doctor._twice(records)] == [
        (
            "builders", "warn", "a and c are one daemon: their variants share its processors and memory",
            "keep one of them and give it more slots: builders.a.slots",
        )
    ]  # fmt: skip
    assert fleet_doctor._twice({"a": frozenset("x")}) == []
