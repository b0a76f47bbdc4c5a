"""`cache ls`: the table, its total, and the JSON for scripts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from orchestrator.cache.holdings import Holding, Where
from orchestrator.ui.holdings_view import as_json, plain

NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)
FOUND = [
    Holding(
        where=Where.BUILDER, kind="layers", name="main, 3 records", size=2_000_000_000, reclaimable=500_000_000,
        used=NOW - timedelta(hours=2),
    ),
    Holding(
        where=Where.REGISTRY, kind="other tag", name="r/app:\x1b[2Jx", size=1_000, variants=("a", "b", "c"),
        used=NOW - timedelta(days=3, hours=5),
    ),
    Holding(where=Where.STORE, kind="logs", name="runs", size=0, variants=("a", "b"), used=NOW + timedelta(hours=1)),
]  # fmt: skip


def test_a_row_for_each_and_the_total() -> None:
    assert plain(FOUND, now=NOW).splitlines() == [
        "where     kind       name             variants              used     size  reclaimable",
        "builder   layers     main, 3 records                   2h00m ago  2.00 GB     500.0 MB",
        "registry  other tag  r/app:x          a, b and 1 more     3d ago   1.0 kB",
        "store     logs       runs             a, b              0.0s ago      0 B",
        "total                                                             2.00 GB     500.0 MB",
    ]
    empty = plain([Holding(where=Where.STORE, kind="logs", name="x", size=1)], now=NOW).splitlines()
    assert empty[1].split() == ["store", "logs", "x", "1", "B"]


def test_the_same_for_scripts() -> None:
    found = as_json(FOUND, {})
    assert (found["schema"], found["total"], found["reclaimable"]) == (1, 2_000_001_000, 500_000_000)
    assert found["holdings"][0] == {
        "where": "builder", "kind": "layers", "name": "main, 3 records", "variants": [], "size": 2_000_000_000,
        "reclaimable": 500_000_000, "used": "2026-03-04T10:00:00+00:00",
    }  # fmt: skip
    assert found["holdings"][1]["variants"] == ["a", "b", "c"]
    assert as_json([Holding(where=Where.STORE, kind="logs", name="x", size=1)], {})["holdings"][0]["used"] is None
