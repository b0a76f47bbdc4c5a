"""What `docker buildx du` says, read: sizes, ages, records of newer versions, damaged lines."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from orchestrator.engine.build_cache import RecordType, parse
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
