"""The page of a verdict, as text: whatever an image calls its files."""

from __future__ import annotations

import os
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest

from orchestrator.cuda.arch import parse_list
from orchestrator.image.code.library import FileCode
from orchestrator.image.layers.merge import Files
from orchestrator.image.verdict.policy import Exemption, Policy, Requirement
from orchestrator.image.verdict.scanned import Scanned
from orchestrator.image.verdict.verify import verdict, verify_image
from orchestrator.ui.report import _arch, page
from tests.support import fatbins

if TYPE_CHECKING:
    from pathlib import Path

NAMES = (b"<b>.so", b'"&amp;$title.so', b"${heading}.so", b"a\xff\x1b[31m.so", "\u202egpj.so".encode(), b"'x\ny'.so")
# What the page closes by itself, or never.
VOID = {"meta"}


class Balance(HTMLParser):
    """Every element is closed where it must be."""

    def __init__(self) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        del attrs
        self.seen.add(tag)
        if tag not in VOID:
            self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag


class Told(HTMLParser):
    """What a page says: its rows of cells, its list items, its headings, and the classes, widths and titles of it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.items: list[str] = []
        self.heads: list[str] = []
        self.marks: list[tuple[str, str, str]] = []
        self._into: list[str] | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if {"class", "style", "title"} & given.keys():
            self.marks.append((given.get("class", ""), given.get("style", ""), given.get("title", "")))
        if tag == "tr":
            self.rows.append([])
        into = {"td": self.rows[-1] if self.rows else None, "li": self.items, "dd": self.items, "dt": self.items}
        into |= {"th": into["td"], **dict.fromkeys(("h1", "h2", "h3", "summary", "caption"), self.heads)}
        if tag in into:
            self._into = into[tag]
            if self._into is not None:
                self._into.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in {"td", "th", "li", "dd", "dt", "h1", "h2", "h3", "summary", "caption"}:
            self._into = None

    def handle_data(self, data: str) -> None:
        if self._into is not None:
            self._into[-1] += data


def write(root: Path, name: bytes, *profiles: str) -> None:
    with open(os.path.join(os.fsencode(root), name), "wb") as stream:  # noqa: PTH118, PTH123 - a name that is no text
        stream.write(fatbins.library([tags.split() for tags in profiles]))


@pytest.mark.parametrize("archs", ["9.0 11.0", ""])
def test_any_file_name_is_text(tmp_path: Path, archs: str) -> None:
    for name in NAMES:
        write(tmp_path, name, "90", "80 p80")
    text = page(verify_image(str(tmp_path), parse_list(archs) if archs else ()))
    text.encode("utf-8")
    parser = Balance()
    parser.feed(text)
    assert not parser.stack
    assert "b" not in parser.seen
    for shown in (
        "&lt;b&gt;.so",
        "&quot;&amp;amp;$title.so",
        "${heading}.so",
        "a\\u{dcff}\\u{1b}[31m.so",
        "\\u{202e}gpj.so",
    ):
        assert f'<th scope="row">{shown}</th>' in text


def test_statuses_are_words_too(tmp_path: Path) -> None:
    write(tmp_path, b"lib.so", *["90"] * 4, "110", "80")
    write(tmp_path, b"old.so", "90")
    known = Exemption(glob="old.so", ccs=("11.0",), why="not used there")
    text = page(verify_image(str(tmp_path), parse_list("9.0 11.0"), Policy(exceptions=(known,), fail_below=0.05)))
    assert "<small>look at this</small>" in text
    assert "<small>accepted</small>" in text
    assert "old.so: 11.0 is accepted: not used there" in text


def test_the_page_in_full(tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.mkdir()
    write(image, b"lib.so", *["90 100"] * 3, "90 p90", "90")
    write(image, b"mine.so", "90 110")
    policy = Policy(require=(Requirement(glob="lib.so"),))
    told = Told(page(verify_image(str(image), parse_list("9.0 10.0 11.0"), policy, promised_by="--archs")))
    assert told.items[:4] == ["source", str(image), "promised", "9.0 10.0 11.0 (from --archs)"]
    assert told.items[4].startswith("lib.so11.0 (Jetson Thor, Jetson T5000, Jetson T4000) is not served: ")
    assert told.items[5:] == [
        "● every translation unit by machine code", "◐ some translation units by machine code",
        "○ by PTX alone, compiled by the driver at first use", "✗ nothing", "? cannot be read",
    ]  # fmt: skip
    assert told.rows[:13] == [
        ["library", "size", "9.0H100✓ served", "10.0B200✓ served", "11.0Jetson Thor✗ fails"],
        [
            "lib.so", "8.9 kB", "●every translation unit by machine code 5/5",
            "◐some translation units by machine code 3+1/5",
            "○by PTX alone, compiled by the driver at first use 0+1/5fails",
        ],
        ["also there, not required to serve every GPU"],
        [
            "mine.so", "4.4 kB", "●every translation unit by machine code 1/1", "✗nothing ",
            "●every translation unit by machine code 1/1",
        ],
        ["architecture", "as stored in all libraries above", ""],
        ["sm_90", "3.9 kB", "3,936 bytes", "59.7%", ""],
        ["sm_100", "2.0 kB", "1,968 bytes", "29.9%", ""],
        ["sm_110", "656 B", "656 bytes", "10.0%", ""],
        ["PTX compute_90", "32 B", "32 bytes", "0.5%", ""],
        ["all", "6.6 kB", "6,592 bytes", "", ""],
        ["3 \xd7", "90 100"], ["1 \xd7", "90"], ["1 \xd7", "90 p90"],
    ]  # fmt: skip
    assert told.heads[0] == "image"
    assert {"What is missing", "What the required libraries are made of", "lib.so 5 translation units, 8.9 kB"} <= set(
        told.heads
    )
    assert "Compilers in it" not in told.heads
    bars = [mark[:2] for mark in told.marks if mark[1]]
    assert bars[:4] == [
        ("bar", "width:100.00%"), ("bar", "width:50.00%"), ("bar", "width:16.67%"), ("bar jit", "width:0.81%"),
    ]  # fmt: skip
    looks = [mark for mark in told.marks if mark[2] and mark[0]]
    assert looks == [
        ("number", "", "8,928 bytes"), ("ok", "", "5 native"), ("part", "", "3 native, 1 ptx, 1 none"),
        ("fail", "", "no machine code in any of 5 translation units, 1 of them only by PTX"),
        ("number", "", "4,448 bytes"), ("info", "", "1 native"), ("info", "", "1 none"), ("info", "", "1 native"),
    ]  # fmt: skip
    assert [mark[2] for mark in told.marks if mark[2] and not mark[0]] == [
        "H100, H200, GH200", "B200, GB200", "Jetson Thor, Jetson T5000, Jetson T4000",
    ]  # fmt: skip
    assert [mark[0] for mark in told.marks if "pill" in mark[0]] == ["pill ok", "pill ok", "pill fail"]
    assert told.marks[0][0] == "verdict fail"


@pytest.mark.parametrize(
    ("tag", "shown"),
    [("90a", "sm_90a"), ("p80", "PTX compute_80"), ("lto100f", "LTO lto_100f"), ("x90", "x90"), ("odd", "odd")],
)
def test_architectures_are_named_as_nvcc_does(tag: str, shown: str) -> None:
    assert _arch(tag) == shown


@pytest.mark.parametrize(("archs", "words"), [
    ("", "Nothing was promised, so nothing was judged"), ("9.0", "Holds GPU code for everything that was promised"),
    ("12.0 10.0", "Does not hold what was promised: 1 problem"),
])  # fmt: skip
def test_the_outcome_in_one_sentence(tmp_path: Path, archs: str, words: str) -> None:
    write(tmp_path, b"lib.so", "90")
    text = page(verify_image(str(tmp_path), parse_list(archs) if archs else ()))
    assert words in text
    assert ("What is missing" in text) is words.startswith("Does not")


def test_what_else_the_page_says(tmp_path: Path) -> None:
    write(tmp_path, b"lib.so", "90")
    code = FileCode(size=70, profiles={("90",): 1}, images={"90": 1}, stored={"90": 5})
    files = Files(
        code={"a/lib.so": code, "b/lib.so": code, "opt/k/3.cubin": FileCode(size=1, bare="90a")},
        releases={"usr/bin/ptxas": "12.6.85", "x/nvcc": "13.0.88"},
    )  # fmt: skip
    scanned = Scanned(source="ghcr.io/acme/app:v1", digest=f"sha256:{'a' * 64}", platform="linux/arm64", files=files)
    told = Told(page(verdict(scanned, parse_list("9.0 11.0"), Policy())))
    assert told.items[:8] == [
        "source", "ghcr.io/acme/app:v1", "digest", f"sha256:{'a' * 64}", "platform", "linux/arm64", "promised",
        "9.0 11.0 (from )",
    ]  # fmt: skip
    assert ["usr/bin/ptxas", "CUDA 12.6.85", "✗ cannot target 11.0"] in told.rows
    assert ["x/nvcc", "CUDA 13.0.88", "✓"] in told.rows
    assert told.heads[0] == "app:v1"
    assert "a/lib.so is there again (b/lib.so): 70 B that are never loaded" in told.items
    assert "opt/k: 1 cubins: 90a:1" in told.items
    assert not any("is of CUDA" in item for item in told.items)  # the table has them
    bare = Told(page(verdict(scanned, (), Policy())))
    assert ["x/nvcc", "CUDA 13.0.88", ""] in bare.rows


def test_many_sets_are_cut(tmp_path: Path) -> None:
    write(tmp_path, b"lib.so", *(f"{sm} 90" for sm in range(50, 70)))
    rows = Told(page(verify_image(str(tmp_path), parse_list("9.0")))).rows
    assert sum(row[:1] == ["1 \xd7"] for row in rows) == 18
    assert ["", "and 2 other sets"] in rows


def test_a_damaged_library_is_no_empty_one(tmp_path: Path) -> None:
    write(tmp_path, b"lib.so", "90 110")
    whole = (tmp_path / "lib.so").read_bytes()
    at = whole.index(fatbins.MAGIC)
    (tmp_path / "lib.so").write_bytes(whole[: at + 8] + b"\xff" * 8 + whole[at + 16 :])
    text = page(verify_image(str(tmp_path), parse_list("9.0")))
    assert 'aria-hidden="true">?</span><span class="hidden">cannot be read</span>' in text
    assert "cannot be verified" in text


def test_what_was_not_read_is_on_the_page_too(tmp_path: Path) -> None:
    write(tmp_path, b"lib.so", "90")
    (tmp_path / "inside.whl").write_bytes(b"PK\3\4 packed")
    assert "inside.whl: not read (11 B): an archive that is damaged" in page(verify_image(str(tmp_path)))
