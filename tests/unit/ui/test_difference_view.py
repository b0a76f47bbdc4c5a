"""How `plan --diff` looks: changes that variants share stand once, and nothing of a value acts where it is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.matrix.difference import difference
from orchestrator.ui import difference_view
from tests.unit.matrix.support import SMALL, planned

if TYPE_CHECKING:
    from pathlib import Path

TWO = SMALL.replace("  linux/amd64:\n", "  linux/amd64:\n  linux/arm64:\n")
NEW = TWO.replace("8.0 9.0", "9.0 11.0").replace("variants:\n", "variants:\n  args: {jobs: 'a | `b` <c>'}\n")


def test_changes_that_variants_share_stand_once() -> None:
    text = difference_view.plain(difference(planned(TWO), planned(NEW)), "main (abc)")
    assert text.splitlines() == [
        "2 changed, 0 the same against main (abc)",
        "app-cu130-amd64, app-cu130-arm64  changed",
        "    archs: +11.0 -8.0",
        "    argument jobs: (none) -> 'a | `b` <c>'",
    ]


def test_rows_that_come_and_go() -> None:
    assert difference_view.plain(difference(planned(SMALL), planned(TWO)), "x").splitlines() == [
        "1 added, 1 the same against x", "app-cu130-arm64  added", "    archs: 8.0 9.0",
        "    tag: acme/app:app-cu130-arm64",
    ]  # fmt: skip
    assert difference_view.plain(difference(planned(TWO), planned(SMALL)), "x").splitlines() == [
        "1 removed, 1 the same against x", "app-cu130-arm64  removed",
    ]  # fmt: skip


def test_markdown_escapes_what_a_value_holds(tmp_path: Path) -> None:
    found = difference(planned(TWO), planned(NEW))
    place = tmp_path / "summary"
    assert difference_view.append(found, "a`b", env={"GITHUB_STEP_SUMMARY": str(place)}) == ""
    lines = place.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "### Plan: 2 changed, 0 the same against `` a`b ``"
    what = "`archs: +11.0 -8.0`<br>`` argument jobs: (none) -> 'a \\| `b` <c>' ``"
    assert lines[4:] == [f"| `app-cu130-amd64`<br>`app-cu130-arm64` | changed | {what} |", ""]
    assert difference_view.append(found, "x", env={}) == ""
    assert "No such file" in difference_view.append(found, "x", env={"GITHUB_STEP_SUMMARY": str(tmp_path / "no/s")})


def test_json_is_versioned() -> None:
    found = difference_view.as_json(difference(planned(SMALL), planned(NEW)), "main", "f" * 40)
    assert (found["schema"], found["base"]) == (1, {"ref": "main", "commit": "f" * 40})
    assert found["changed"] == [
        {
            "id": "app-cu130-amd64",
            "archs": {"gained": ["11.0"], "lost": ["8.0"]},
            "values": [{"what": "argument jobs", "before": None, "after": "a | `b` <c>"}],
        }
    ]
    assert [one["id"] for one in found["added"]] == ["app-cu130-arm64"]
