"""Why a step ran, and what changed since the last build, as outcomes and `--changed` tell it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orchestrator.cache.keys import Inputs, Member
from orchestrator.cache.records import Records
from orchestrator.runs.explained import explained, since
from orchestrator.runs.journal import Journal
from orchestrator.runs.outcome import Outcome, Status

if TYPE_CHECKING:
    from pathlib import Path

STEP = "[app 2/3] RUN make"


def inputs(**args: str) -> Inputs:
    made = Member(args=args, settings={}, contexts={}, dockerfile=((1, "FROM scratch"), (2, "RUN make")), path="D")
    return Inputs(members={"": made})


@pytest.fixture
def kept(tmp_path: Path) -> tuple[Journal, Records]:
    """A journal with one build of the variant `v`, and what went into it."""
    journal, records = Journal(tmp_path / "journal.jsonl"), Records(tmp_path / "inputs")
    found = explained(Outcome(id="v", status=Status.BUILT, first_ran=STEP), inputs(A="1", B="1"), journal, records)
    assert found.cache.endswith("ran: the journal has no earlier success of this variant to compare with")
    assert (found.changes, bool(found.inputs)) == ((), True)
    journal.add(found, key="k")
    return journal, records


def test_a_step_that_ran_is_explained_by_what_changed(kept: tuple[Journal, Records]) -> None:
    journal, records = kept
    again = Outcome(id="v", status=Status.BUILT, first_ran=STEP)
    one = explained(again, inputs(A="2", B="1"), journal, records)
    assert "ran because" in one.cache
    assert len(one.changes) == 1
    assert "A" in one.changes[0]
    two = explained(again, inputs(A="2", B="2"), journal, records)
    assert two.cache.endswith("(and 1 more)")
    assert len(two.changes) == 2
    assert len({one.inputs, two.inputs}) == 2
    same = explained(again, inputs(A="1", B="1"), journal, records)
    last = journal.last("v")
    assert last is not None
    assert f"ran although nothing changed since {last.at}" in same.cache
    assert same.changes == ()
    other = explained(Outcome(id="w", status=Status.BUILT, first_ran=STEP), inputs(A="2"), journal, records)
    assert "has no earlier success" in other.cache


def test_nothing_ran_and_nothing_is_listed(kept: tuple[Journal, Records]) -> None:
    found = explained(Outcome(id="v", status=Status.BUILT), inputs(A="2", B="1"), *kept)
    assert (found.cache, found.changes) == ("every step came from the cache", ())


def test_what_changed_since_the_last_build_is_one_sentence(kept: tuple[Journal, Records]) -> None:
    journal, records = kept
    last = journal.last("v")
    assert last is not None
    one = since("v", inputs(A="2", B="1"), records, journal)
    assert one.startswith(f"since {last.at} ")
    assert "more" not in one
    assert since("v", inputs(A="2", B="2", C="3"), records, journal).endswith(" (and 2 more)")
    assert since("v", inputs(A="1", B="1"), records, journal) == ""
    assert since("w", inputs(A="2", B="1"), records, journal) == ""
    records.tidy([])
    assert since("v", inputs(A="2", B="1"), records, journal) == ""
