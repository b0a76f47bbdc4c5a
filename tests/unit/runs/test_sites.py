"""The builders of the matrix as values: what each takes, how it is called and shown, and where variants go."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from orchestrator.bake.file import BakeFile, Extras
from orchestrator.engine.builders import Builder, Node
from orchestrator.engine.buildx import BakeCall
from orchestrator.engine.create import Wanted
from orchestrator.engine.doctor import Engine
from orchestrator.matrix.schema_builders import FleetBuilder, GcSpec
from orchestrator.runs import sites
from orchestrator.runs.journal import Journal
from orchestrator.runs.outcome import Outcome, Status
from orchestrator.runs.sites import Site, Standing
from tests.unit.matrix.support import SMALL, planned

CALL = BakeCall(docker=("docker",), root=Path("/p"), files=("bake.hcl",))
HERE = Builder(name="here", driver="docker-container", platforms=("linux/amd64",), running=True)
NODES = (
    Node(name="n0", endpoint="tcp://user:hunter2@10.0.0.1:1", running=True), Node(name="n1", endpoint="", running=True),
)  # fmt: skip
FAR = Builder(name="far", driver="remote", platforms=(), running=True, nodes=NODES)


def ignored(_: str) -> None:
    """What is said is not looked at here."""


def test_a_builder_is_shown_with_where_it_is() -> None:
    here, far = Site(spec=FleetBuilder(), builder=HERE), Site(spec=FleetBuilder(slots=3), builder=FAR)
    assert (here.endpoint, str(here)) == ("", "here")
    assert "hunter2" not in far.endpoint
    assert far.endpoint.endswith("10.0.0.1:1, n1")
    assert str(far) == f"far at {far.endpoint}"
    assert far.call(CALL) == replace(CALL, builder="far")
    member = far.member(lambda: "silent")
    assert (member.name, member.slots, member.endpoint, member.here) == ("far", 3, far.endpoint, False)
    assert (member.ask(), here.member(lambda: "").here) == ("silent", True)


@pytest.mark.parametrize(
    ("declared", "builds", "needed", "takes"),
    [
        ([], (), {"linux/amd64"}, True),
        ([], ("linux/amd64",), {"linux/amd64"}, True),
        ([], ("linux/amd64",), {"linux/amd64", "linux/arm64"}, False),
        (["linux/amd64"], (), {"linux/amd64"}, True),
        (["linux/arm64"], (), {"linux/amd64"}, False),
        (["linux/amd64"], ("linux/arm64",), {"linux/amd64"}, False),
    ],
)
def test_which_variants_a_builder_takes(
    declared: list[str], builds: tuple[str, ...], needed: set[str], takes: bool
) -> None:
    site = Site(spec=FleetBuilder(platforms=declared), builder=replace(HERE, platforms=builds))
    assert site.takes("linux/amd64", frozenset(needed)) is takes


def test_only_a_remote_builder_is_looked_at(tmp_path: Path) -> None:
    missing = Node(name="n0", endpoint=f"unix://{tmp_path}/none.sock", running=True)
    assert Site(spec=FleetBuilder(), builder=replace(HERE, nodes=(missing,))).look() == ""
    assert Site(spec=FleetBuilder(), builder=replace(FAR, nodes=())).look() == ""


def test_what_the_matrix_asks_for_has_the_paths_of_this_machine(tmp_path: Path) -> None:
    spec = FleetBuilder(
        driver="remote", endpoint="tcp://h:1", platforms=["linux/arm64"],
        options={"cacert": "certs/ca.pem", "servername": "h", "key": "/k.pem"}, config="b.toml",
        gc=GcSpec(reserved="20GB", min_free="50GB"),
    )  # fmt: skip
    assert sites.asked_for("far", spec, tmp_path) == Wanted(
        name="far", driver="remote", endpoint="tcp://h:1", platforms=("linux/arm64",),
        options={"cacert": f"{tmp_path}/certs/ca.pem", "servername": "h", "key": "/k.pem"},
        config=f"{tmp_path}/b.toml", gc={"reserved": "20GB", "min_free": "50GB"},
    )  # fmt: skip
    assert sites.asked_for("b", FleetBuilder(), tmp_path) == Wanted(name="b", driver="")
    most = sites.asked_for("b", FleetBuilder(driver="kubernetes", gc=GcSpec(max_used="1GB")), tmp_path)
    assert (most.gc, most.config) == ({"max_used": "1GB"}, "")
    home = sites.asked_for("b", FleetBuilder(config="~/b.toml"), tmp_path)
    assert home.config == str(Path("~/b.toml").expanduser())


def test_a_builder_that_does_not_answer_is_what_the_matrix_says() -> None:
    wanted = Wanted(
        name="far", driver="remote", endpoint="tcp://h:1", platforms=("linux/arm64",), options={"key": "/k"}
    )
    assert sites._from_matrix(wanted) == Builder(
        name="far", driver="remote", platforms=("linux/arm64",), running=False,
        nodes=(Node(name="far0", endpoint="tcp://h:1", running=False, options={"key": "/k"}),),
    )  # fmt: skip


def test_all_builders_that_are_down_are_one_error() -> None:
    error = sites._none_answers([
        Site(spec=FleetBuilder(), builder=HERE, down="a"), Site(spec=FleetBuilder(), builder=FAR, down="b"),
    ])  # fmt: skip
    assert error.message.startswith("no builder of the matrix answers: here: a; far at ")
    assert error.message.endswith("n1: b")
    assert error.hint == "`orchestrate doctor` looks at each; --builder NAME builds on one alone"


def test_who_stands_by_for_a_plan() -> None:
    up = [Engine(info=None, builder=HERE), Engine(info=None, builder=replace(HERE, name="second"))]
    later = replace(HERE, name="later", driver="kubernetes")
    found = Standing(up=up, later=[later], down=[Site(spec=FleetBuilder(), builder=FAR, down="x")])
    assert found.engine is up[0]
    assert [one.name for one in found.builders] == ["here", "second", "later"]
    assert found.drivers == {"docker-container", "kubernetes", "remote"}


def test_variants_go_to_builders_that_take_them_and_not_to_one_that_is_down(tmp_path: Path) -> None:
    plan = planned(SMALL.replace("  linux/amd64:\n", "  linux/amd64:\n  linux/arm64:\n"))
    amd, arm = (variant.id for variant in plan.variants)
    found = [
        Site(spec=FleetBuilder(platforms=["linux/amd64"]), builder=replace(HERE, name="a", platforms=())),
        Site(spec=FleetBuilder(), builder=replace(HERE, name="b", platforms=())),
        Site(spec=FleetBuilder(slots=9), builder=replace(HERE, name="c", platforms=()), down="it does not answer"),
    ]
    journal = Journal(tmp_path / "journal.jsonl")
    journal.add(Outcome(id=amd, status=Status.BUILT, builder="a"), key="")
    journal.add(Outcome(id=arm, status=Status.BUILT, builder="b"), key="")
    files = {
        variant.id: BakeFile(target=variant.id, members={variant.id: {"platforms": [variant.platform]}})
        for variant in plan.variants
    }
    made = sites.fleet(plan, found, files, replace(CALL, root=tmp_path), journal)
    assert [one.name for one in made.members] == ["a", "b", "c"]
    assert made.orders[amd][0] == "a"
    assert set(made.orders[amd]) == {"a", "b", "c"}
    assert made.orders[arm][0] == "b"
    assert set(made.orders[arm]) == {"b", "c"}
    assert [str(one) for one in made.lost] == ["builder c was taken out: it does not answer; it has not answered since"]


def test_a_builder_gets_no_more_at_once_than_there_are_variants() -> None:
    plan = planned(SMALL)
    extras = {variant.id: Extras() for variant in plan.variants}
    for slots, at_once in ((1, 1), (4, 1)):
        site = Site(spec=FleetBuilder(slots=slots), builder=HERE)
        made = sites.equipped(plan, site, None, extras, tell=ignored, warn=ignored)
        assert made.at_once == at_once
        assert set(made.extras) == set(extras)


def test_a_remote_builder_is_down_where_none_of_its_nodes_can_be_reached(tmp_path: Path) -> None:
    bad = Node(name="n0", endpoint="tcp://h:1", running=True, options={"cacert": f"{tmp_path}/ca.pem"})
    cloud = Node(name="n1", endpoint="kube-pod://x", running=True)
    said = f"cacert {tmp_path}/ca.pem was not found"
    assert Site(spec=FleetBuilder(), builder=replace(FAR, nodes=(bad,))).look() == said
    assert Site(spec=FleetBuilder(), builder=replace(FAR, nodes=(bad, bad))).look() == f"{said}; {said}"
    assert Site(spec=FleetBuilder(), builder=replace(FAR, nodes=(bad, cloud))).look() == ""
    assert Site(spec=FleetBuilder(), builder=replace(HERE, nodes=(bad,))).look() == ""
