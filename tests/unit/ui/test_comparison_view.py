"""The comparison of two images as Markdown: what was lost comes first, and nothing of an image is markup."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.image.verdict.compare import Change, Comparison
from orchestrator.ui.comparison_view import MAX_LIBRARIES, append, markdown

if TYPE_CHECKING:
    from pathlib import Path


def change(path: str, *, state: str = "changed", gained: str = "", lost: str = "", fewer: int = 0) -> Change:
    units = {"90": (4, 4 - fewer)} if fewer else {}
    return Change(
        path=path, state=state, gained=tuple(gained.split()), lost=tuple(lost.split()), containers=units,
        bytes=(2048, 3072) if state != "same" else (2048, 2048),
    )  # fmt: skip


def comparison(*changes: Change) -> Comparison:
    return Comparison(old="app:1", new="app:2", changes=changes, bytes={"90": (2048, 3072), "100": (5, 5)})


def test_libraries_that_lost_code_come_first() -> None:
    found = comparison(
        change("a.so", gained="100 p120"), change("b.so", state="same"), change("c.so", state="removed", lost="80"),
        change("d.so", fewer=1), change("e.so", state="added", gained="90"),
    )  # fmt: skip
    assert markdown(found).splitlines() == [
        "### Device code: `app:1` -> `app:2`",
        "",
        "| library | gained | lost | size |",
        "| --- | --- | --- | --- |",
        "| `c.so` (removed) |  | **`80`** | 3.1 kB (+1.0 kB) |",
        "| `d.so` |  | **`it lost code: 90 in 3 of 4 translation units`** | 3.1 kB (+1.0 kB) |",
        "| `a.so` | `100` `p120` |  | 3.1 kB (+1.0 kB) |",
        "| `e.so` (added) | `90` |  | 3.1 kB (+1.0 kB) |",
        "",
        "Bytes by architecture: `90` 3.1 kB (+1.0 kB)",
        "",
    ]


def test_nothing_changed_is_said() -> None:
    same = Comparison(old="a", new="b", changes=(change("b.so", state="same"),), bytes={})
    assert markdown(same) == "### Device code: `a` -> `b`\n\nEvery library holds the same architectures.\n\n"


def test_a_name_is_never_markup_and_a_table_ends() -> None:
    found = markdown(comparison(*(change(f"`|</td>\x1b[2J{number}.so") for number in range(MAX_LIBRARIES + 3))))
    assert "| 3 more | | | |" in found
    assert "\x1b" not in found
    assert "| `` `\\|</td>0.so `` |" in found


def test_it_is_appended(tmp_path: Path) -> None:
    place = tmp_path / "summary"
    place.write_text("before\n")
    assert append(comparison(), env={"GITHUB_STEP_SUMMARY": str(place)}) == ""
    assert place.read_text().startswith("before\n### Device code")
    assert append(comparison(), env={}) == ""
    assert "No such file" in append(comparison(), env={"GITHUB_STEP_SUMMARY": str(tmp_path / "no/summary")})
