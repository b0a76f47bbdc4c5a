"""The site of docs/, built as `make lint` builds it: no page calls another host, and every page fits a small screen."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence

TOP = Path(__file__).parents[2]
QUIET = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
# What a browser fetches by itself. A link that a reader may follow is none of it.
_FETCHED = (
    r"<(?:script|img|iframe|source|video|audio|embed)\b[^>]*?\bsrc(?:set)?=[\"']?((?:https?:)?//[^\"' >]+)",
    r"<object\b[^>]*?\bdata=[\"']?((?:https?:)?//[^\"' >]+)",
    r"<link\b(?![^>]*\brel=[\"']?canonical)[^>]*?\bhref=[\"']?((?:https?:)?//[^\"' >]+)",
    r"url\([\"']?((?:https?:)?//[^\"')]+)",
    r"@import[^;]*?((?:https?:)?//[^\"';)]+)",
)


def build(source: Path, site: Path) -> subprocess.CompletedProcess[str]:
    """Build as `make lint` does: with the words of its line, for with `--quiet` mkdocs finds nothing strict."""
    (words,) = re.findall(r"/mkdocs (build [^>\n]*?) 2>&1", (TOP / "Makefile").read_text(encoding="utf-8"))
    command = [sys.executable, "-m", "mkdocs", *words.split(), "--site-dir", str(site)]
    return subprocess.run(command, cwd=source, env=QUIET, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("site") / "site"
    done = build(TOP, target)
    assert done.returncode == 0, done.stderr
    return target


def fetched(text: str) -> Sequence[str]:
    return [address for form in _FETCHED for address in re.findall(form, text)]


def test_no_page_calls_another_host(site: Path) -> None:
    assert fetched('<link rel="stylesheet" href="https://a.example/x"><script src=//b.example/y></script>')
    pages = [path for path in site.rglob("*") if path.suffix in {".html", ".css", ".svg"}]
    assert len(pages) > 20
    assert {str(path.relative_to(site)): found for path in pages if (found := fetched(path.read_text()))} == {}


def test_every_page_is_reached_from_the_navigation(site: Path) -> None:
    first = (site / "index.html").read_text()
    pages = {str(path.relative_to(TOP / "docs"))[:-3] for path in TOP.glob("docs/**/*.md")} - {"index"}
    assert {page for page in pages if f'href="{page}.html"' not in first} == set()


@pytest.mark.parametrize(
    ("page", "text", "said"),
    [
        ("build.md", "[gone](not-here.md)", "not-here.md"),
        ("build.md", "[gone](cache.md#no-such-heading)", "no-such-heading"),
        ("left-out.md", "# In no navigation", "left-out.md"),
    ],
)
def test_what_is_wrong_in_a_page_fails_the_build(tmp_path: Path, page: str, text: str, said: str) -> None:
    shutil.copytree(TOP / "docs", tmp_path / "docs")
    shutil.copy(TOP / "mkdocs.yml", tmp_path)
    with (tmp_path / "docs" / page).open("a", encoding="utf-8") as file:
        file.write(f"\n\n{text}\n")
    done = build(tmp_path, tmp_path / "site")
    assert done.returncode == 1
    assert said in done.stderr
