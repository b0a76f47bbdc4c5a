from __future__ import annotations

import io
from typing import TYPE_CHECKING

from rich.console import Console

from orchestrator.cuda.arch import parse_list
from orchestrator.image.verdict.compare import compare
from orchestrator.image.verdict.policy import Policy
from orchestrator.image.verdict.scanned import scan_source
from orchestrator.image.verdict.verify import verdict
from orchestrator.ui import kernel_table
from tests.support import fatbins

if TYPE_CHECKING:
    from pathlib import Path


def printed(folder: Path, archs: str = "") -> str:
    out = io.StringIO()
    screen = Console(file=out, width=200, highlight=False)
    result = verdict(scan_source(str(folder)), parse_list(archs) if archs else (), Policy(), promised_by="--archs")
    kernel_table.show(result, screen)
    return out.getvalue()


def tree(root: Path, **files: list[str]) -> Path:
    root.mkdir(exist_ok=True)
    for name, profiles in files.items():
        (root / name).write_bytes(fatbins.library([tags.split() for tags in profiles]))
    return root


def test_the_table_shows_how_much_serves_each_device(tmp_path: Path) -> None:
    folder = tree(tmp_path, **{"lib.so": ["90 100f", "80 90 100f", "80 p80 100a"]})
    lines = printed(folder, "9.0 10.0 10.3 11.0").splitlines()
    assert lines[1] == "promised: 9.0 10.0 10.3 11.0  (from --archs)"
    assert lines[2].split() == ["library", "size", "units", "9.0", "10.0", "10.3", "11.0"]
    assert lines[3].split()[0] == "lib.so"
    assert lines[3].split()[-8:] == ["3", "◐", "2+1", "●", "◐", "2+1", "○", "1"]
    assert any("    1 x 80 100a p80" in line for line in lines), "a hole is seen at a glance"


def test_no_device_is_left_out_on_a_narrow_terminal(tmp_path: Path) -> None:
    out = io.StringIO()
    folder = tree(tmp_path, **{"lib.so": ["90 100f", "80 90 100f", "80 p80 100a"]})
    archs = parse_list("7.5 8.0 8.6 8.9 9.0 10.0 10.3 11.0 12.0 12.1")
    kernel_table.show(verdict(scan_source(str(folder)), archs, Policy()), Console(file=out, width=40))
    lines = out.getvalue().splitlines()
    (head,) = [line for line in lines if line.startswith("library")]
    assert head.split()[3:] == [arch.cc for arch in archs]
    (row,) = [line for line in lines if line.startswith("lib.so ")]
    assert sum(row.count(sign) for sign in kernel_table.WORDS.values()) == len(archs)


def test_the_sets_that_are_not_shown_are_counted(tmp_path: Path) -> None:
    units = [f"{sm} 90" for sm in range(50, 80)]
    text = printed(tree(tmp_path, **{"lib.so": units}), "9.0 12.0")
    assert "and 12 more sets" in text


def test_nothing_is_judged_without_a_promise(tmp_path: Path) -> None:
    text = printed(tree(tmp_path, **{"lib.so": ["90"]}))
    assert "promised" not in text
    assert " x 90" not in text
    assert "11.0" in text.splitlines()[1]


def test_names_from_an_image_are_text_and_not_markup(tmp_path: Path) -> None:
    text = printed(tree(tmp_path, **{"[red]lib.so": ["90"]}), "9.0")
    assert "[red]lib.so" in text


def test_signs_that_the_stream_can_carry(tmp_path: Path) -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    screen = Console(file=out, width=200)
    folder = tree(tmp_path, **{"lib.so": ["90"]})
    kernel_table.show(verdict(scan_source(str(folder)), parse_list("9.0"), Policy()), screen)
    out.seek(0)
    assert " #" in out.read()


def test_what_changed_between_two(tmp_path: Path) -> None:
    old = tree(tmp_path / "old", **{"lib.so": ["80 90"], "same.so": ["90"]})
    new = tree(tmp_path / "new", **{"lib.so": ["90 110"], "same.so": ["90"], "more.so": ["90"]})
    out = io.StringIO()
    result = compare(scan_source(str(old)), scan_source(str(new)))
    kernel_table.show_comparison(result, Console(file=out, width=200))
    rows = {line.split()[0]: line.split() for line in out.getvalue().splitlines() if line.strip()}
    assert rows["lib.so"][1:3] == ["110", "80"]
    assert rows["more.so"][1:3] == ["(added)", "90"]
    assert "same.so" not in rows
    assert rows["110"][2].startswith("(+") or rows["110"][-1].endswith("B)")


def test_files_that_were_not_read_are_listed_up_to_a_number(tmp_path: Path) -> None:
    for number in range(25):
        (tmp_path / f"{number}.whl").write_bytes(b"PK\3\4" + bytes(10**6))
    lines = [line for line in printed(tmp_path).splitlines() if "not read" in line]
    assert len(lines) == 21
    assert lines[-1] == "note: 5 more files were not read (5.0 MB; --format json lists them)"
