"""What `docker buildx du` says, read: sizes, ages, records of newer versions, damaged lines."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from orchestrator.engine import beyond
from orchestrator.engine.build_cache import RecordType, only_chosen_after, parse, portions, records, remove
from orchestrator.errors import EnvironmentLacksError
from orchestrator.process import Completed
from orchestrator.sizes import InvalidSizeError, parse_size

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
ROW = {
    "CreatedAt": "2026-01-02 03:04:05.123456789 +0000 UTC", "Description": "mount / from exec make", "ID": "abc1",
    "LastUsedAt": "3 hours ago", "Mutable": False, "Parents": ["def2"], "Reclaimable": True, "Shared": True,
    "Size": "20.48kB", "Type": "regular", "UsageCount": 4,
}  # fmt: skip


def read(**changed: Any) -> Any:
    return parse(json.dumps({**ROW, **changed}), now=NOW)[0]


def test_a_record() -> None:
    found = read()
    assert (found.id, found.size, found.parents, found.in_use, found.shared) == ("abc1", 20480, ("def2",), False, True)
    assert found.created == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert found.used == NOW - timedelta(hours=3)
    assert read(Reclaimable=False).in_use
    assert read(LastUsedAt="").used == found.created
    assert read(Parents=None).parents == ()
    assert read(Type="exec.cachemount").type is RecordType.MOUNT
    assert read(Type="from.the.future").type is RecordType.INTERNAL


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("Less than a second ago", 1), ("26 seconds ago", 26), ("About a minute ago", 60), ("About an hour ago", 3600),
     ("47 hours ago", 169200), ("3 days ago", 259200), ("2 weeks ago", 1209600), ("5 months ago", 12960000)],
)  # fmt: skip
def test_ages(text: str, seconds: int) -> None:
    assert read(LastUsedAt=text).used == NOW - timedelta(seconds=seconds)


@pytest.mark.parametrize("line", ["[]", "{", "1", json.dumps({**ROW, "ID": "a|b"}), json.dumps({**ROW, "Size": "big"}),
                                  json.dumps({**ROW, "LastUsedAt": "soon"})])  # fmt: skip
def test_a_line_that_is_not_one(line: str) -> None:
    with pytest.raises(EnvironmentLacksError, match="a line is invalid"):
        parse(line, now=NOW)


def test_sizes() -> None:
    given = {
        "60GB": 60_000_000_000,
        "1.5GiB": 1_610_612_736,
        "512M": 512_000_000,
        "4096": 4096,
        "8.192kB": 8192,
        "0B": 0,
    }
    assert {text: parse_size(text) for text in given} == given
    for wrong in ("", "GB", "-1GB", "1e9", "1XB", "ten"):
        with pytest.raises(InvalidSizeError):
            parse_size(wrong)


def aged(name: str, text: str, **more: Any) -> Any:
    return read(ID=name, LastUsedAt=text, **more)


def test_everything_of_an_age_goes_in_one_call_where_nothing_of_that_age_stays() -> None:
    old, new = aged("a", "5 days ago"), aged("b", "20 hours ago")
    assert only_chosen_after([old], [old, new]) == 21 * 3600 + 600
    assert only_chosen_after([old], [old]) == 0
    assert only_chosen_after([new], [old, new]) is None  # the older one stays
    assert (
        only_chosen_after([old], [old, aged("c", "4 days ago")]) is None
    )  # a few minutes short of five, for all we know
    assert only_chosen_after([old], [old, aged("c", "3 days ago")]) == 4 * 86400 + 600


def test_mounts_and_what_is_in_use_stay_whatever_their_age() -> None:
    old = aged("a", "5 days ago")
    stays = [aged("m", "9 months ago", Type="exec.cachemount"), aged("u", "9 months ago", Reclaimable=False)]
    assert only_chosen_after([old], [old, *stays]) == 0
    assert only_chosen_after(stays[:1], [old, *stays]) is None  # by its id alone


def test_what_was_never_used_has_no_age() -> None:
    old, never = aged("a", "5 days ago"), aged("n", "")
    assert only_chosen_after([old], [old, never]) is None
    assert only_chosen_after([never], [old, never]) == 6 * 86400 + 600
    assert only_chosen_after([old, never], [old, never]) == 0


def test_an_id_is_cut_to_what_no_other_begins_with() -> None:
    known = ["aaaaaaaaaa1", "aaaaaaaaaa2", "bbbbbbbbbbbb", "short", "shorter"]
    assert list(portions(["aaaaaaaaaa1", "bbbbbbbbbbbb"], known)) == [["aaaaaaaaaa1$", "bbbbbbbb"]]
    assert list(portions(["short"], known)) == [["short$"]]
    assert list(portions(["shorter"], known)) == [["shorter$"]]


def test_a_portion_is_small_where_there_are_many_records() -> None:
    known = [f"{number:025}" for number in range(20_000)]
    assert [len(one) for one in portions(known[:25], known)] == [10, 10, 5]
    assert [len(one) for one in portions(known[:600], known[:100])] == [500, 100]


class Buildx:
    """A cache that loses what is pruned by id or age, as far as a test says so."""

    def __init__(self, *rows: dict[str, Any], fails: str = "") -> None:
        self.rows, self.fails = list(rows), fails
        self.said: list[tuple[object, ...]] = []

    def _done(self, stdout: str = "") -> Completed:
        return Completed(argv=(), returncode=int(bool(self.fails)), stdout=stdout, stderr=f"ERROR: {self.fails}\n")

    def cache_usage(self, builder: str) -> Completed:
        self.said.append(("du", builder))
        return self._done("\n".join(["", *map(json.dumps, self.rows), " "]))

    def prune_cache(self, ids: list[str], builder: str) -> Completed:
        self.said.append(("prune", list(ids), builder))
        return self._done()

    def prune_older(self, seconds: int, builder: str) -> Completed:
        self.said.append(("older", seconds, builder))
        self.rows = [row for row in self.rows if row["ID"] != "old"]
        return self._done()


def asked_of(monkeypatch: pytest.MonkeyPatch, buildx: Buildx) -> Buildx:
    for name in ("cache_usage", "prune_cache", "prune_older"):
        monkeypatch.setattr(beyond, name, getattr(buildx, name))
    return buildx


def row(name: str, used: str = "2 hours ago") -> dict[str, Any]:
    return {**ROW, "ID": name, "LastUsedAt": used}


def test_records_are_listed_without_empty_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    buildx = asked_of(monkeypatch, Buildx(row("a"), row("b")))
    found = records("farm", now=NOW)
    assert [one.id for one in found] == ["a", "b"]
    assert found[0].used == NOW - timedelta(hours=2)
    assert buildx.said == [("du", "farm")]
    buildx.fails = "it is down"
    with pytest.raises(EnvironmentLacksError) as error:
        records()
    assert str(error.value) == "the build cache cannot be listed: it is down"
    assert buildx.said[1] == ("du", "")


def test_old_records_go_at_once_and_the_rest_by_id(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [row("old", "9 days ago"), row("newer", "5 hours ago"), row("stays", "4 hours ago")]
    held = [parse(json.dumps(one), now=NOW)[0] for one in rows]
    buildx = asked_of(monkeypatch, Buildx(*rows))
    told: list[tuple[int, int]] = []
    remove(held[:2], held, "farm", told=lambda done, of: told.append((done, of)))
    assert buildx.said == [("older", 5 * 3600 + 600, "farm"), ("du", "farm"), ("prune", ["newer$"], "farm")]
    assert told == [(1, 2), (2, 2)]
    buildx.said.clear()
    told.clear()
    remove(held[1:2], held, "", told=lambda done, of: told.append((done, of)))
    assert buildx.said == [("prune", ["newer$"], "")]
    assert told == [(0, 1), (1, 1)]
    remove(held[1:2], held)
    for chosen in (held[:1], held[1:2]):
        asked_of(monkeypatch, Buildx(*rows, fails="refused"))
        with pytest.raises(EnvironmentLacksError) as error:
            remove(chosen, held)
        assert str(error.value) == "the build cache cannot be pruned: refused"
