"""Patterns of `.dockerignore`: tests/differential compares them with BuildKit; here is what it cannot build."""

from __future__ import annotations

import itertools

import pytest

from orchestrator.cache import ignore as rules
from orchestrator.cache.ignore import Ignore, UnknownPatternError, read


def ignored(path: str, *patterns: str) -> bool:
    rules = Ignore(patterns)
    matched = None
    parts = path.split("/")
    for length in range(1, len(parts) + 1):
        matched = rules.match("/".join(parts[:length]), matched)
    assert matched is not None
    return matched.ignored


@pytest.mark.parametrize(
    ("data", "patterns"),
    [
        (b"\xef\xbb\xbf# comment\r\n a \r\n\r\n/b/\n", ["a", "b"]),
        (b"#a\n #b", ["#b"]),
        (b"!  /a/../b", ["!b"]),
        (b"a//b/./c/", ["a/b/c"]),
        (b"///", ["/"]),
        ("\u2003a\u2003".encode(), ["a"]),
        (b"", []),
    ],
)
def test_lines_become_patterns(data: bytes, patterns: list[str]) -> None:
    assert read(data) == patterns


@pytest.mark.parametrize(
    "data",
    [
        b"!",
        b"! \n",
        b"a" * 70_000,
        b"\xff",
        b"[",
        b"[]",
        b"[a",
        b"[a-]",
        b"a\\",
        b"[[:alpha:]]",
        b"\\z",
        b"a/[",
        b"[b-a]",
    ],
)
def test_what_buildkit_refuses_or_go_alone_knows_is_unknown(data: bytes) -> None:
    with pytest.raises(UnknownPatternError):
        Ignore(read(data))


def test_a_later_pattern_wins_and_what_is_below_inherits() -> None:
    assert ignored("d/e/f", "d")
    assert not ignored("d/e/f", "d", "!d/e")
    assert ignored("d/e/f", "d", "!d/e", "**/f")
    assert ignored("d/x", "d", "!d/e")


def test_names_that_hold_a_newline_end_where_they_end() -> None:
    assert not ignored("a1\n", "a?")
    assert ignored("a\n", "a?")


def test_many_wildcards_take_no_time() -> None:
    assert not ignored("a" * 200, "*a" * 12 + "b")


@pytest.mark.parametrize("pattern", ["*/**/[a-c]*b?", "**/*/a*b*", "a*b*c*", "**/a/**/b/**", "a**b?*", "[^x]*/?*/*c"])
def test_both_ways_of_matching_agree(pattern: str, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = ["".join(letters) for length in range(1, 7) for letters in itertools.product("ab/c", repeat=length)]
    machine = Ignore([pattern])
    monkeypatch.setattr(rules, "_BACKTRACKED", 99)
    expression = Ignore([pattern])
    answers = [machine.match(path).ignored for path in paths]
    assert answers == [expression.match(path).ignored for path in paths]
    assert any(answers)
