"""What `docker buildx du` says, read: sizes, ages, records of newer versions, damaged lines."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from orchestrator.engine.build_cache import RecordType, only_chosen_after, parse, portions
from orchestrator.errors import EnvironmentLacksError
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
