"""The page of a verdict, as text: whatever an image calls its files."""

from __future__ import annotations

import os
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest

from orchestrator.cuda.arch import parse_list
from orchestrator.image.verdict.policy import Exemption, Policy
from orchestrator.image.verdict.verify import verify_image
from orchestrator.ui.report import page
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
