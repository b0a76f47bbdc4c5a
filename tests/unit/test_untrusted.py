"""Untrusted text: what terminals, the logs of CI runners and readers of JSON must not get."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import orchestrator
from orchestrator.untrusted import clean, clean_lines, disarmed_lines, json_text, without_controls
from tests.support.source import nodes

# As GitHub's runner reads a line (src/Runner.Common/ActionCommand.cs): TryParseV2, then TryParse.
RUNNER = re.compile(r"^\s*::|##\[|##vso\[|##teamcity\[")
ANY = st.lists(
    st.sampled_from(["::", ":", "##[", "#", "[", "]", "vso[", "teamcity[", " ", "\t", "\n", "\r", "\x1b", "\x1b[0m",
                     "\x9b", "\x1b]0;t\x07", "\x85", "\u2028", "\u202e", "\u00a0", "add-mask::", "a", "é"])
).map("".join)  # fmt: skip


@given(ANY | st.text())
def test_a_cleaned_line_is_one_line_of_text(text: str) -> None:
    shown = clean(text)
    assert not RUNNER.search(shown)
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]", shown)
    assert clean(shown) == shown
    assert len(shown.splitlines()) <= 1


@given(ANY | st.text())
def test_cleaned_lines_are_lines_of_text(text: str) -> None:
    shown = clean_lines(text)
    assert shown.count("\n") == text.count("\n")
    assert not any(RUNNER.search(line) for line in shown.split("\n"))


@given(ANY)
def test_our_own_styles_and_tabs_stay_where_only_commands_are_taken(text: str) -> None:
    shown = disarmed_lines(text)
    assert not any(RUNNER.search(re.sub(r"\x1b\[[0-9;]*m", "", line)) for line in shown.split("\n")) or "\x1b" in text
    joined = re.compile(r"(?<=:) (?=:)|(?<=#) (?=#)")
    assert joined.sub("", shown) == joined.sub("", text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[31mred\x1b[0m", "ared"), ("\x9b2Jx", "x"), ("\x1b]0;owned\x07x", "x"),
        ("\x1b]8;;http://e\x1b\\link", "link"),
        ("\x1bPpayload\x1b\\x", "x"), ("\x90payload\x9cx", "x"), ("\x1b_apc\x1b\\x", "x"), ("\x9d0;title\x07x", "x"),
        ("\x1b(Bx", "x"), ("\x1bcx", "x"), ("x\x1b", "x"), ("\x1b[", ""), ("a\rb", "ab"), ("a\tb", "a    b"),
        ("\u202egnp.exe\u202c", "gnp.exe"), ("::set-output name=x::y", ": :set-output name=x::y"),
        ("  ::add-mask::e", "  : :add-mask::e"), ("\u00a0::stop", "\u00a0: :stop"), ("a ::b", "a ::b"),
        ("x ##[add-mask]e", "x # #[add-mask]e"), ("###[x]", "## #[x]"), ("##vso[task.x]y", "# #vso[task.x]y"),
        ("## Heading", "## Heading"), ("std::vector", "std::vector"), ("\x1b[0m::x", ": :x"), ("#\x00#[x]", "# #[x]"),
    ],
)  # fmt: skip
def test_forms(text: str, shown: str) -> None:
    assert clean(text) == shown


def test_line_ends_and_tabs_stay_where_they_belong() -> None:
    assert without_controls("a\tb\nc\x1b[0m\r\n") == "a\tb\nc\n"
    assert disarmed_lines("\x1b[1m::x\n\t::y") == "\x1b[1m: :x\n\t: :y"


@given(st.recursive(st.text() | ANY, lambda inner: st.lists(inner) | st.dictionaries(ANY, inner), max_leaves=5))
def test_json_has_the_same_values_and_shows_nothing_else(value: object) -> None:
    for indent in (2, None):
        text = json_text(value, indent=indent)
        assert json.loads(text) == value
        assert text.isascii()
        assert all(line.isprintable() and not RUNNER.search(line) for line in text.split("\n"))
    assert "\n" not in json_text(value, indent=None)


# -- sinks -------------------------------------------------------------------------------------------------------------

ROOT = Path(orchestrator.__file__).parent

DIRECT = {
    "__main__.py", "cli/app.py", "cli/completion.py", "ui/streams.py",
    # our own counts alone, or a stream that is handed in
    "ui/transfers.py", "ui/board.py", "ui/lines.py", "image/layers/worker.py",
}  # fmt: skip
"""Files that may write to a stream themselves; each cleans what it writes, which the tests of each show."""


def test_every_text_that_is_written_goes_through_the_cleaner() -> None:
    wrong = []
    for path in ROOT.rglob("*.py"):
        name = str(path.relative_to(ROOT))
        if name in DIRECT:
            continue
        for node in nodes(path):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            if called in {"print", "click.echo", "sys.stdout.write", "sys.stderr.write", "typer.echo"}:
                wrong.append(f"{name}:{node.lineno}: {called}: use ui/streams.py")
    assert not wrong, "\n".join(wrong)


def test_tables_take_no_markup_of_what_they_show() -> None:
    wrong = []
    for path in (*ROOT.glob("ui/*.py"), *ROOT.rglob("cli/**/*.py")):
        for node in nodes(path):
            if not isinstance(node, ast.Call) or not ast.unparse(node.func).endswith("screen.print") or not node.args:
                continue
            plain = any(word.arg == "markup" for word in node.keywords)
            if isinstance(node.args[0], ast.JoinedStr) and not plain and "[bold]" not in ast.unparse(node.args[0]):
                names = {n.id for n in ast.walk(node.args[0]) if isinstance(n, ast.Name)}
                if names - {"others", "len", "MAX_OTHERS"}:
                    wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert not wrong, "\n".join(wrong)
