"""What there is of each variant, as lines and as JSON."""

from __future__ import annotations

from orchestrator.runs.status import State, VariantStatus
from orchestrator.ui import status_view

FOUND = [
    VariantStatus(id="app-long", state=State.BUILT, digest="sha256:a", key="k1", tags=("r:1", "r:2")),
    VariantStatus(id="app", state=State.BUILT, digest="sha256:b", why="apt is not seen"),
    VariantStatus(id="b", state=State.STALE, why="since then A changed\x1b[2J"),
    VariantStatus(id="c", state=State.NEVER),
]


def test_lines_and_counts() -> None:
    assert status_view.plain(FOUND).splitlines() == [
        "app-long  built    sha256:a",
        "app       built    sha256:b  (apt is not seen)",
        "b         stale    since then A changed",
        "c         never",
        "2 built, 1 stale, 1 never",
    ]
    assert status_view.plain([]) == "no variants"


def test_json() -> None:
    assert status_view.as_json([FOUND[0], FOUND[3]]) == {
        "schema": 1,
        "variants": [
            {"id": "app-long", "status": "built", "why": "", "digest": "sha256:a", "key": "k1", "tags": ["r:1", "r:2"]},
            {"id": "c", "status": "never", "why": "", "digest": None, "key": "", "tags": []},
        ],
    }
