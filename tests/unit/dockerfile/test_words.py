"""Words with their quotes, escapes and variables, and what they say once variables are followed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.dockerfile.spans import Source, Style
from orchestrator.dockerfile.words import DOCKERFILE_STOP, MAX_VALUE, SHELL_STOP, place, read_word, substitute

KNOWN = {"A": "a", "EMPTY": ""}


@pytest.mark.parametrize(
    ("text", "said", "end"),
    [
        ("plain rest", "plain", 5),
        ("a'b c'd e", "ab cd", 7),
        ('a"b c"d e', "ab cd", 7),
        (r"a\ b c", "a b", 4),
        ('"a\\"b\\$c\\x" d', 'a"b$c\\x', 11),
        ("'a\\b' c", "a\\b", 5),
        ("a\\\nb c", "ab", 4),
        ("a\\\r\nb c", "ab", 5),
        ('"a\\\nb" c', "ab", 6),
        ("${A:-b c}d e", "${A:-b c}d", 10),
        ("'never closed", "never closed", 13),
        ('"never closed', "never closed", 13),
        ("a\\", "a", 2),
        ("$", "$", 1),
        ("a$-b c", "a$-b", 4),
    ],
)
def test_a_word_ends_where_the_shell_ends_it(text: str, said: str, end: int) -> None:
    word = read_word(text, 0)
    assert (word.text, word.start, word.end) == (said, 0, end)


def test_a_shell_runs_commands_and_stops_at_operators_and_a_dockerfile_does_not() -> None:
    for text, shell, dockerfile in (("$(a b) c", 6, 3), ("`a b` c", 5, 2), ("a;b c", 1, 3), ("a|b", 1, 3)):
        assert read_word(text, 0).end == shell, text
        assert read_word(text, 0, stop=DOCKERFILE_STOP, shell=False).end == dockerfile, text
    assert read_word("`a", 0, escape="`", stop=DOCKERFILE_STOP, shell=False).text == "a"
    assert [one.name for one in read_word("${A}$B`c`$(d)", 0).variables] == ["A", "B", "", ""]


@pytest.mark.parametrize(
    ("text", "inner", "style"),
    [
        ("abc", "abc", Style.WORD),
        ("'a b'", "a b", Style.SINGLE),
        ('"a b"', "a b", Style.DOUBLE),
        ("'a'b", "'a'b", Style.WORD),
        ("'a'\"b\"", "'a'\"b\"", Style.WORD),
        ("'open", "'open", Style.WORD),
    ],
)
def test_what_a_fix_replaces(text: str, inner: str, style: Style) -> None:
    word = read_word(text, 0)
    assert (text[word.inner_start : word.inner_end], word.style) == (inner, style)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("x$A", "xa"),
        ("${A}", "a"),
        ("$NONE", None),
        ("${NONE:-d}", "d"),
        ("${NONE-d}", "d"),
        ("${NONE:=d}", "d"),
        ("${A:-d}", "a"),
        ("${NONE:-$A}", None),  # a default that is no plain text
        ("${NONE:-`x`}", None),
        ("${A:+d}", None),  # an operator that is not followed
        ("$(x)", None),
    ],
)
def test_variables_are_followed_where_they_can_be(text: str, value: str | None) -> None:
    assert read_word(text, 0).expand(text, KNOWN.get) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("x$A", "xa"),
        ("$NONE.", "."),
        ("${EMPTY:-d}", "d"),
        ("${EMPTY-d}", ""),
        ("${A:-d}", "a"),
        ("${A:+d}", "d"),
        ("${EMPTY:+d}", ""),
        ("${EMPTY+d}", "d"),
        ("${NONE:+d}", ""),
        ("${NONE:-${A}b}", "ab"),
        ("${A#x}", "${A#x}"),
        ("'$A'", "$A"),
        ('"$A"', "a"),
    ],
)
def test_a_word_of_a_from_is_filled_in(text: str, value: str) -> None:
    assert substitute(text, KNOWN.get) == value


def test_what_has_no_value_can_stay_as_it_is_written() -> None:
    assert substitute("a$NONE${A}", KNOWN.get, unset=None) == "a$NONEa"
    long = {"A": "a" * 30_000}
    assert len(substitute("$A$A$A", long.get)) == MAX_VALUE
    assert read_word("$A$A", 0).expand("$A$A", long.get) == "a" * 60_000
    assert read_word("$A$A$A", 0).expand("$A$A$A", long.get) is None


def test_the_place_of_a_default_is_its_own() -> None:
    text = 'x "${NONE:-12.0+PTX}" y'
    found = place(Source(text=text), read_word(text, 2), KNOWN.get)
    assert (found.value, text[found.start : found.end], found.via) == ("12.0+PTX", "12.0+PTX", "")
    quoted = "${NONE:-'8.0 9.0'}"
    found = place(Source(text=quoted), read_word(quoted, 0), KNOWN.get)
    assert (found.value, quoted[found.start : found.end]) == ("8.0 9.0", "8.0 9.0")
    other = place(Source(text="v$A"), read_word("v$A", 0), KNOWN.get)
    assert (other.value, bool(other.via), other.written) == ("va", True, "v$A")


@given(st.text(alphabet="ab'\"\\$`{}() \n", max_size=30))
def test_plain_characters_in_front_change_nothing(text: str) -> None:
    word = read_word(text, 0, stop=frozenset())
    assert word.end == len(text)
    doubled = read_word("zz" + text, 0, stop=frozenset())
    assert doubled.text == "zz" + word.text


def variables(text: str, *, shell: bool = True) -> list[tuple[str, str, str, str]]:
    stop = SHELL_STOP if shell else DOCKERFILE_STOP
    return [
        (one.name, one.operator, text[one.start : one.end], text[one.default_start : one.default_end])
        for one in read_word(text, 0, stop=stop, shell=shell).variables
    ]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("$A", [("A", "", "$A", "")]), ("x$A-$B", [("A", "", "$A", ""), ("B", "", "$B", "")]),
        ("${A}x", [("A", "", "${A}", "")]), ("${A:-d}", [("A", ":-", "${A:-d}", "d")]),
        ("${A-d e}f", [("A", "-", "${A-d e}", "d e")]), ("${A:+}", [("A", ":+", "${A:+}", "")]),
        ("${A:-${B}}x", [("A", ":-", "${A:-${B}}", "${B}")]), ("${A", [("", "", "${A", "")]),
        ("${A:-d", [("A", ":-", "${A:-d", "d")]), ("\"$A\"'$B'", [("A", "", "$A", "")]),
        ("\\$A$B", [("B", "", "$B", "")]),
        ("${A:-\\}}x", [("A", ":-", "${A:-\\}}", "\\}")]),
    ],
)  # fmt: skip
def test_the_variables_of_a_word_and_their_places(text: str, found: list[tuple[str, str, str, str]]) -> None:
    assert variables(text) == found
    assert variables(text, shell=False) == found


@pytest.mark.parametrize(
    ("text", "shell", "dockerfile"),
    [
        ("$1x", ["$1"], []), ("$?", ["$?"], []), ("$@y", ["$@"], []), ("$(a $(b))c", ["$(a $(b))"], []),
        ("$(a ')' b)c", ["$(a ')' b)"], []), ("$('a", ["$('a"], []), ("`a b`c", ["`a b`"], []), ("`a", ["`a"], []),
        ("${1:-d}x", ["${1:-d}"], ["${1:-d}"]), ("${!A}", ["${!A}"], ["${!A}"]), ("\"`a`\"", ["`a`"], []),
        ("$", [], []),
        ("$+", [], []),
    ],
)  # fmt: skip
def test_what_a_shell_runs_or_fills_in_by_itself(text: str, shell: list[str], dockerfile: list[str]) -> None:
    assert [one for _, _, one, _ in variables(text)] == shell
    assert [one for _, _, one, _ in variables(text, shell=False)] == dockerfile


@pytest.mark.parametrize(
    ("text", "value", "edited", "style", "via"),
    [
        ("x", "x", "x", Style.WORD, ""), ("'a b'", "a b", "a b", Style.SINGLE, ""), ('"a"', "a", "a", Style.DOUBLE, ""),
        ("${N:-d}", "d", "d", Style.DEFAULT, ""), ("${N:-'d'}", "d", "d", Style.DEFAULT, ""),
        ('"${N:-d}"', "d", "d", Style.DEFAULT, ""), ("${N-\"d e\"}", "d e", "d e", Style.DEFAULT, ""),
        ("\"${N:-'d'}\"", "'d'", "'d'", Style.DEFAULT, ""), ("${N:-'d}", "'d", "'d", Style.DEFAULT, ""),
        ("${A:-d}", "a", "${A:-d}", Style.WORD, "it comes from ${A:-d}"),
        ("$A", "a", "$A", Style.WORD, "it comes from $A"),
        ("x${N:-d}", "xd", "x${N:-d}", Style.WORD, "it comes from ${N:-d}"),
        ("$N", "$N", "$N", Style.WORD, "it comes from $N"),
        ("${N:-$A}", "${N:-$A}", "${N:-$A}", Style.WORD, "it comes from ${N:-$A}"),
        ("'a'$A", "aa", "'a'$A", Style.WORD, "it comes from $A"), ("", "", "", Style.WORD, ""),
        ("${EMPTY:-d}", "d", "d", Style.DEFAULT, ""),
    ],
)  # fmt: skip
def test_the_place_of_a_value(text: str, value: str, edited: str, style: Style, via: str) -> None:
    found = place(Source(text=text), read_word(text, 0), KNOWN.get, where="w")
    assert (found.value, text[found.start : found.end], found.styles, found.via, found.where) == (
        value, edited, (style,), via, "w",
    )  # fmt: skip
