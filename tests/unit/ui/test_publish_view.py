"""What a workflow is told of a publish: refused families, and moves that did not end as they were meant to."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from orchestrator.errors import Problem
from orchestrator.publish.check import Checked
from orchestrator.publish.family import Family
from orchestrator.publish.moves import Ending
from orchestrator.publish.record import Move, Rank, State, begin
from orchestrator.publish.run import Result
from orchestrator.reference import Digest, Repository, Tag
from orchestrator.ui import publish_view

MOVE = Move(
    repository=Repository(host="ghcr.io", path="acme/app"), tag=Tag("v1"), rank=Rank.VERSION, immutable=False,
    old=None, new=Digest(f"sha256:{'a' * 64}"),
)  # fmt: skip


def family(*problems: Problem) -> Checked:
    named = Family(name="app-cu130", members={}, dropped={}, required=(), wishes=())
    return Checked(family=named, problems=problems)


def test_each_problem_of_a_family_is_one_command() -> None:
    bad = family(Problem(what="one\n::set-output name=x::y", hint="build it"), Problem(what="100% wrong"))
    assert list(publish_view.commands(Result(families=(family(), bad)))) == [
        "::error title=app-cu130 is not published::one%0A: :set-output name=x::y; build it",
        "::error title=app-cu130 is not published::100%25 wrong",
    ]


@pytest.mark.parametrize(
    ("state", "failures", "told"),
    [
        (State.COMPLETE, (), False),
        (State.ROLLED_BACK, (), False),  # --rollback
        (State.ROLLED_BACK, ("v1: status 403",), True),
        (State.INCOMPLETE, ("v1: status 403",), True),
        (State.ROLLING_BACK, (), True),
    ],
)
def test_moves_that_did_not_end_as_meant_are_told(state: State, failures: tuple[str, ...], told: bool) -> None:
    ending = Ending(record=replace(begin([MOVE]), state=state), failures=failures, remarks=("v0: stays",))
    found = list(publish_view.commands(Result(ending=ending)))
    assert len(found) == told
    assert all(line.startswith(f"::error title=publish {ending.record.id}::") for line in found)
    assert all(text in line for line in found for text in (*failures, "v0: stays"))
