"""The page of `orchestrate verify --html`, seen by a real browser."""

from __future__ import annotations

import struct
import subprocess
import sys
import time
import zlib
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from tests.support import fatbins
from tests.support.engine import call
from tests.support.toolchain import installed

pytestmark = pytest.mark.download

COMMAND = Path(sys.executable).parent / "orchestrate"
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--hide-scrollbars", "--window-size=1000,900",
)  # fmt: skip
HOSTILE = '<img src=x onerror="document.body.remove()">\u202e.so'
LIGHT = {"served": (0xDB, 0xF2, 0xE1), "fails": (0xFB, 0xDD, 0xDD), "paper": (0xFF, 0xFF, 0xFF)}
DARK = {"served": (0x17, 0x3D, 0x24), "fails": (0x5A, 0x1E, 0x20), "paper": (0x12, 0x16, 0x1A)}


@pytest.fixture(scope="module")
def chromium() -> str:
    """A browser; installed where there is none, as root (about a minute)."""
    return installed("chromium", "chromium", "fonts-dejavu-core")


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The pages of a tree that fails for 11.0, with a hostile file name and a compiler, and of a tree that passes."""
    root = tmp_path_factory.mktemp("html")
    found = []
    for name, words in (("bad", [["90", "80 p80"], ["90 110"]]), ("good", [["90 110", "90 110"]])):
        tree = root / name / "app"
        tree.mkdir(parents=True)
        for index, profiles in enumerate(words):
            data = fatbins.library([tags.split() for tags in profiles])
            (tree / ("lib.so" if index == 0 else HOSTILE)).write_bytes(data)
        (tree / "ptxas").write_bytes(b"\x7fELF" + bytes(64) + b"Cuda compilation tools, release 12.4, V12.4.131\n")
        page = root / f"{name}.html"
        archs = "9.0 11.0 12.0" if name == "bad" else "9.0 11.0"
        done = subprocess.run(
            [COMMAND, "verify", root / name, "--archs", archs, "--html", page],
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == (4 if name == "bad" else 0), done.stderr
        found.append(page)
    return found[0], found[1]


def browse(chromium: str, page: Path, *words: str) -> str:
    """What one start of the browser prints; its profile is new each time."""
    profile = page.with_suffix(f".{time.monotonic_ns()}")
    return call(chromium, *FLAGS, f"--user-data-dir={profile}", *words, page.as_uri(), timeout=120).stdout


class Tables(HTMLParser):
    """Tables by id, as rows of texts; names of all elements; the whole text."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: dict[str, list[list[str]]] = {}
        self.elements: list[str] = []
        self.text = ""
        self._table = ""
        self._in_cell = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        if tag == "table":
            self._table = dict(attrs).get("id") or ""
        elif tag == "tr":
            self.rows.setdefault(self._table, []).append([])
        elif tag in ("td", "th"):
            self.rows[self._table][-1].append("")
            self._in_cell = True

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._in_cell = False

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._in_cell:
            self.rows[self._table][-1][-1] += data


def document(chromium: str, page: Path) -> Tables:
    tables = Tables()
    tables.feed(browse(chromium, page, "--dump-dom"))
    return tables


def test_the_table_in_the_document(chromium: str, pages: tuple[Path, Path]) -> None:
    seen = document(chromium, pages[0])
    head, *rows = seen.rows["kernels"]
    assert head == ["library", "size", "9.0H100✓ served", "11.0Jetson Thor✗ fails", "12.0RTX PRO 6000 Blackwell✗ fails"]
    by_name = {row[0]: row[2:] for row in rows}
    assert by_name["app/lib.so"] == [
        "◐some translation units by machine code 1+1/2",
        "○by PTX alone, compiled by the driver at first use 0+1/2fails",
        "○by PTX alone, compiled by the driver at first use 0+1/2fails",
    ]
    assert by_name['app/<img src=x onerror="document.body.remove()">\\u{202e}.so'][2] == "✗nothing fails"


def test_what_is_missing_what_it_costs_and_the_compilers(chromium: str, pages: tuple[Path, Path]) -> None:
    seen = document(chromium, pages[0])
    assert "Does not hold what was promised" in seen.text
    assert "11.0 (Jetson Thor" in seen.text
    assert "no kernel image is available for execution on the device" in seen.text
    costs = {row[0]: row[2] for row in seen.rows["bytes"][1:]}
    assert set(costs) == {"sm_80", "sm_90", "sm_110", "PTX compute_80", "all"}
    numbers = {name: int(text.removesuffix(" bytes").replace(",", "")) for name, text in costs.items()}
    assert numbers.pop("all") == sum(numbers.values()) > 0
    assert seen.rows["compilers"] == [["app/ptxas", "CUDA 12.4.131", "✗ cannot target 11.0 12.0"]]


def test_strangers_names_are_text_and_nothing_is_fetched(chromium: str, pages: tuple[Path, Path]) -> None:
    seen = document(chromium, pages[0])
    assert not {"img", "script", "link", "iframe"} & set(seen.elements)
    assert "\u202e" not in seen.text
    source = pages[0].read_text(encoding="utf-8")
    assert not [word for word in ("http:", "https:", "url(", "@import", 'src=x onerror="') if word in source]


def test_a_page_that_passes_says_so(chromium: str, pages: tuple[Path, Path]) -> None:
    seen = document(chromium, pages[1])
    assert "Holds GPU code for everything that was promised" in seen.text
    assert seen.rows["kernels"][0][2:] == ["9.0H100✓ served", "11.0Jetson Thor✓ served"]
    assert "What is missing" not in seen.text


@pytest.mark.parametrize(("scheme", "colours"), [("1", LIGHT), ("0", DARK)], ids=["light", "dark"])
def test_what_the_browser_paints(
    chromium: str, pages: tuple[Path, Path], scheme: str, colours: dict[str, tuple[int, int, int]]
) -> None:
    picture = pages[0].with_suffix(f".{scheme}.png")
    browse(chromium, pages[0], f"--screenshot={picture}", f"--blink-settings=preferredColorScheme={scheme}")
    painted = colours_of(picture)
    for name in ("fails", "paper"):
        assert painted.get(colours[name], 0) > 2000, name
    assert len(painted) > 30  # letters: their edges have many shades


def colours_of(picture: Path) -> dict[tuple[int, int, int], int]:
    """Colour -> pixels of a PNG with 8 bits a channel, not interlaced, as browsers write them."""
    data = picture.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    width, height, depth, kind, _, _, interlaced = struct.unpack(">IIBBBBB", data[16:29])
    assert (depth, interlaced) == (8, 0)
    step = {2: 3, 6: 4}[kind]
    packed, at = b"", 8
    while at < len(data):
        (size,) = struct.unpack(">I", data[at : at + 4])
        packed += data[at + 8 : at + 8 + size] if data[at + 4 : at + 8] == b"IDAT" else b""
        at += size + 12
    raw = zlib.decompress(packed)
    line, before, found = width * step, bytes(width * step), dict[tuple[int, int, int], int]()
    for start in range(0, height * (line + 1), line + 1):
        before = unfiltered(raw[start], raw[start + 1 : start + 1 + line], before, step)
        edges = [0, *(at for at in range(step, line, step) if before[at : at + step] != before[at - step : at]), line]
        for left, right in pairwise(edges):
            colour = (before[left], before[left + 1], before[left + 2])
            found[colour] = found.get(colour, 0) + (right - left) // step
    return found


def unfiltered(kind: int, line: bytes, above: bytes, step: int) -> bytes:
    """One line of a PNG without its filter."""
    if kind == 0:
        return line
    if kind == 2:
        return bytes((one + up) & 255 for one, up in zip(line, above, strict=True))
    out = bytearray(line)
    for at, one in enumerate(line):
        left = out[at - step] if at >= step else 0
        corner = above[at - step] if at >= step else 0
        guess = (left, (left + above[at]) // 2, paeth(left, above[at], corner))[(kind > 2) + (kind > 3)]
        out[at] = (one + guess) & 255
    return bytes(out)


def paeth(left: int, up: int, corner: int) -> int:
    """The neighbour that is nearest to left + up - corner."""
    guess = left + up - corner
    return min((left, up, corner), key=lambda one: abs(guess - one))
