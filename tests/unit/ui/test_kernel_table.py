from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

from rich.console import Console

from orchestrator.cuda.arch import parse_list
from orchestrator.image.code.library import FileCode
from orchestrator.image.layers.merge import Files
from orchestrator.image.verdict.compare import compare
from orchestrator.image.verdict.policy import Exemption, Policy, Requirement
from orchestrator.image.verdict.scanned import Scanned, scan_source
from orchestrator.image.verdict.verify import verdict
from orchestrator.sizes import size_text
from orchestrator.ui import kernel_table
from tests.support import fatbins

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.image.verdict.verify import Verdict


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


def whole() -> Verdict:
    """A verdict with something of every kind."""
    code = FileCode(
        size=70, profiles={("90",): 1, ("90", "100"): 1, ("p90", "90"): 1}, images={"90": 3, "100": 1, "p90": 1},
        stored={"90": 5000, "100": 20, "p90": 3},
    )  # fmt: skip
    other = FileCode(size=70, profiles={("80",): 1}, images={"80": 1}, stored={"80": 5})
    files = Files(
        code={
            "app/lib.so": code, "b/lib.so": other, "c/lib.so": other, "x.so": FileCode(size=9, damage="broken"),
            "opt/k/3.cubin": FileCode(size=1, bare="90a"),
        },
        releases={"usr/bin/ptxas": "12.6.85", "x/nvcc": "13.0.88"},
    )  # fmt: skip
    policy = Policy(
        require=(Requirement(glob="app/lib.so"), Requirement(glob="b/lib.so")),
        exceptions=(Exemption(glob="b/lib.so", ccs=("9.0", "10.0"), why="not used"),),
    )
    scanned = Scanned(source="ghcr.io/acme/app:v1", digest=f"sha256:{'a' * 64}", platform="linux/arm64", files=files)
    return verdict(scanned, parse_list("9.0 10.0 11.0"), policy, promised_by="--archs")


def lines_of(found: Verdict) -> list[str]:
    out = io.StringIO()
    kernel_table.show(found, Console(file=out, width=200, highlight=False))
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_everything_that_a_terminal_is_shown() -> None:
    assert lines_of(whole()) == [
        "ghcr.io/acme/app:v1  linux/arm64  sha256:aaaaaaaaaaaa",
        "promised: 9.0 10.0 11.0  (from --archs)",
        "library                   size  units  9.0   10.0  11.0",
        "app/lib.so                70 B      3    ●  ◐ 1+1   ○ 1",
        "b/lib.so                  70 B      1    ✗      ✗     ✗",
        "c/lib.so                  70 B      1    ✗      ✗     ✗",
        "x.so                       9 B      0    ?      ?     ?",
        (
            "● all translation units by machine code   ◐ so many of them, + by PTX   ○ so many by PTX alone (compiled "
            "at first use)   ✗ none   dim: not required"
        ),
        "",
        "app/lib.so: what its 3 translation units hold",
        "      1 x 90",
        "      1 x 90 100",
        "      1 x 90 p90",
        "",
        "b/lib.so: what its 1 translation units hold",
        "      1 x 80",
        "",
        "warning: x.so: not read: broken",
        "warning: usr/bin/ptxas is of CUDA 12.6.85, which cannot target 10.0 11.0",
        "accepted: b/lib.so: 9.0 (H100, H200, GH200): not used",
        "accepted: b/lib.so: 10.0 (B200, GB200): not used",
        "note: x/nvcc is of CUDA 13.0.88",
        "note: opt/k: 1 cubins: 90a:1",
        "note: b/lib.so is there again (c/lib.so): 70 B that are never loaded",
        "",
        "bytes by architecture: 90 5.0 kB  100 20 B  80 10 B  p90 3 B",
    ]


def test_what_is_too_much_for_a_terminal_is_counted() -> None:
    one = FileCode(size=1, profiles={("80",): 1}, images={"80": 1}, stored={"80": 1})
    files = Files(code={f"{place}/{number:02}.so": one for place in "ab" for number in range(45)})
    policy = Policy(require=(Requirement(glob="a/*"),))
    found = lines_of(verdict(Scanned(source="x", files=files), parse_list("9.0"), policy))
    assert found[0] == "x"
    assert sum(line.startswith("b/") and line.endswith("✗") for line in found) == 40
    assert "and 5 more libraries (--format json lists them)" in found
    assert sum("translation units hold" in line for line in found) == 10
    assert "35 more libraries with several sets (--format json lists them)" in found
    assert lines_of(verdict(Scanned(source="x"), (), Policy())) == ["x"]


def test_colours_say_the_status_and_dim_what_is_not_required() -> None:
    out = io.StringIO()
    screen = Console(file=out, width=200, highlight=False, force_terminal=True, color_system="standard")
    kernel_table.show(whole(), screen)
    text = re.sub(r"(\x1b\[[\d;]*m)[ \n]+", r"\1", out.getvalue())
    for shown in (
        "\x1b[1;31m○ 1", "\x1b[32m●", "\x1b[36m✗", "\x1b[2mc/lib.so", "\x1b[33mwarning: x.so", "\x1b[36maccepted: b",
        "\x1b[2mnote: x/nvcc", "\x1b[1mghcr.io", "\x1b[2m● all", "\x1b[2mbytes by", "\x1b[1mlibrary",
    ):  # fmt: skip
        assert shown in text, shown
    assert "\x1b[2mapp/lib.so" not in text


def test_what_changed_in_full(tmp_path: Path) -> None:
    old = tree(tmp_path / "old", **{"lib.so": ["80 90"], "same.so": ["90"], "gone.so": ["90"]})
    new = tree(tmp_path / "new", **{"lib.so": ["90 110"], "same.so": ["90"], "more.so": ["90"]})
    out = io.StringIO()
    found = compare(scan_source(str(old)), scan_source(str(new)))
    kernel_table.show_comparison(found, Console(file=out, width=200))
    size = found.changes[1].bytes[0]
    rows = [line.rstrip() for line in out.getvalue().splitlines()]
    assert rows[0] == f"{old} -> {new}"
    one = size_text(found.changes[0].bytes[0])
    assert [" ".join(row.split()) for row in rows[1:5]] == [
        "library gained lost size", f"gone.so (removed) 90 0 B (-{one})", f"lib.so 110 80 {size_text(size)} (+0 B)",
        f"more.so (added) 90 {one} (+{one})",
    ]  # fmt: skip
    assert rows[5:7] == ["", "bytes by architecture"]
    assert [row.split()[0] for row in rows[7:]] == ["80", "110"]
    assert rows[7].startswith("       80  0 B (-")
    same = io.StringIO()
    kernel_table.show_comparison(compare(scan_source(str(old)), scan_source(str(old))), Console(file=same, width=200))
    assert "every library holds the same architectures" in same.getvalue()
