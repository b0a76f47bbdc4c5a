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


@pytest.mark.parametrize(
    ("pattern", "taken", "stays"),
    [
        ("a", ["a"], ["b", "ab", "b/a", "a b"]),
        ("a/b", ["a/b"], ["a", "b", "x/a/b"]),
        ("*", ["a", ".x", "ab"], ["a/b"]),
        ("*.txt", ["a.txt", ".txt"], ["a.txtx", "b/a.txt", "atxt"]),
        ("a*c", ["ac", "abc"], ["a/c", "abcd", "xac"]),
        ("a?c", ["abc", "a.c"], ["ac", "a/c", "abbc"]),
        ("a/*", ["a/b"], ["a", "a/b/c"]),
        ("*/b", ["a/b"], ["b", "a/c/b"]),
        ("**", ["a", "a/b"], []),
        ("**/b", ["b", "a/b", "a/c/b"], ["ab", "b/c", "a/bx"]),
        ("**b", ["b", "ab", "a/cb"], ["bc"]),
        ("a/**", ["a/b", "a/b/c"], ["a", "ab"]),
        ("a**", ["a", "ab", "a/b"], ["ba"]),
        ("a/**/c", ["a/c", "a/b/c", "a/b/d/c"], ["a", "ac", "a/bc", "a/c/d"]),
        ("a/**/*.c", ["a/x.c", "a/b/x.c"], ["x.c", "a/x.cc"]),
        ("**/a/**", ["a/b", "x/a/b"], ["a", "xa/b"]),
        ("**/*.c", ["x.c", "a/x.c"], ["x.cc"]),
        ("a**b", ["ab", "ax/b"], ["a", "axb"]),
        ("[ab]", ["a", "b"], ["c", "ab"]), ("[^ab]", ["c"], ["a", "b"]), ("[a-c]x", ["ax", "bx"], ["dx"]),
        ("[\\]]", ["]"], ["a"]), ("x[a\\-c]", ["xa", "x-", "xc"], ["xb"]),
        ("a\\*", ["a*"], ["ab"]), ("a\\?", ["a?"], ["ab"]), ("a\\[b", ["a[b"], ["ab"]), ("\\!a", ["!a"], ["a"]),
        ("*a.+(b)|{c}$", ["a.+(b)|{c}$", "xa.+(b)|{c}$"], ["ax+(b)|{c}$", "a.+(b)|{c}"]),
        ("*a*b*c*", ["abc", "xaybzc", "abcx"], ["acb", "a/b/c", "ab"]),
        ("**/a/*/b/*.c", ["a/x/b/y.c", "z/a/x/b/y.c"], ["a/b/y.c", "a/x/b/y.d", "xa/x/b/y.c"]),
        ("*a/**/b*/[cd]*?", ["xa/bx/cy", "a/q/r/b/dyz"], ["a/b/c", "a/b/ey", "xa/bx/q/cy"]),
        ("**/*a*/*b*", ["a/b", "x/yaz/qbr"], ["b/a", "a", "x/a/c/b"]),
        ("*x*y**", ["xy", "axbyc", "xy/z"], ["yx", "x/y"]),
    ],
)  # fmt: skip
def test_what_a_pattern_takes(pattern: str, taken: list[str], stays: list[str]) -> None:
    one = Ignore([pattern])
    assert [path for path in taken if not one.match(path).ignored] == []
    assert [path for path in stays if one.match(path).ignored] == []
    assert not one.negations


def test_why_a_pattern_is_unknown() -> None:
    for text, why in {
        "a\\": r"'a\\' ends with a backslash",
        "[a": "'[a' has a character class without an end",
        "[]a]": "'[]a]' has an invalid character class",
        "[a--]": "'[a--]' has an invalid character class",
        "x[[:alpha:]]*": "'x[[:alpha:]]*' has a named character class",
        "*\\z": r"'*\\z' escapes 'z'",
        "*a*b*[*]": "'*a*b*[*]' has a wildcard in a character class",
    }.items():
        with pytest.raises(UnknownPatternError) as error:
            Ignore([text])
        assert str(error.value) == why
    for data, why in {
        b"x\n!": 'the pattern "!" is invalid',
        b"\xff": "a line is not UTF-8",
        b"a" * 65536: "a line has more than 65536 bytes",
    }.items():
        with pytest.raises(UnknownPatternError) as error:
            read(data)
        assert str(error.value) == why
    assert read(b"a" * 65535) == ["a" * 65535]


def test_what_each_pattern_says_is_inherited() -> None:
    patterns = Ignore(["a", "!a/b", "a/b/c"])
    assert patterns.negations
    top = patterns.match("a")
    assert (top.ignored, top.by) == (True, (True, False, False))
    below = patterns.match("a/b", top)
    assert (below.ignored, below.by) == (False, (True, True, False))
    assert patterns.match("a/b/c", below).by == (True, True, True)
    assert patterns.match("a/x", top).by == (True, False, False)
    assert Ignore().match("a").by == ()
