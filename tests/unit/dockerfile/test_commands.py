"""The commands of RUN steps, as words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.dockerfile.commands import commands, reached
from tests.support.generated import examples
from tests.support.work import steps


def calls(text: str) -> list[str]:
    return [" ".join(command.words) for command in commands(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a b && c || d; e | f & g", ["a b", "c", "d", "e", "f", "g"]),
        ("A=1 env B=2 sudo pip install 'x y'", ["pip install x y"]),
        ("sudo -E a; sudo -Eu root a; sudo --user root -- a; env -i A=1 a; /usr/bin/env -u A a", ["a"] * 5),
        ("nice -n 5 a; nice -5 a; nice --adjustment=5 a; ionice -c3 a; time -p a; exec -a x a", ["a"] * 6),
        (
            "timeout -k 5 10m a -n 1; stdbuf -oL a; chroot /r a; setsid a; b | xargs -r -n 1 a",
            ["a -n 1", "a", "a", "a", "b", "a"],
        ),
        ("command -v a; command -p a; env; timeout; sudo -E", ["command -v a", "a", "", "", ""]),
        ("if a; then b; else c; fi", ["a", "b", "c", "fi"]),
        ("echo 'a; b' \"c && d\" # e; f", ["echo a; b c && d"]),
        ("a \\\n  b\nc", ["a b", "c"]),
        ("a > /dev/null 2>&1 < in; b", ["a", "b"]),
        ("a $(b c) `d`", ["a $(b c) `d`", "b c", "d"]),
        ("sh -ec 'a; b'", ["sh -ec a; b", "a", "b"]),
        ("bash -o pipefail -c 'a'", ["bash -o pipefail -c a", "a"]),
        ("bash -euxo pipefail -c 'a; b' c", ["bash -euxo pipefail -c a; b c", "a", "b"]),
        ("sh -ce a", ["sh -ce a", "a"]),
        ("sh -e a", ["sh -e a"]),
        ("bash -o pipefail", ["bash -o pipefail"]),
        ("bash -lc", ["bash -lc"]),
        ("bash --norc -c a", ["bash --norc -c a", "a"]),
        ('["sh", "-c", "a && b"]', ["sh -c a && b", "a", "b"]),
        ('["a", "b c"]', ["a b c"]),
        ("a || (b; c)", ["a", "b", "c", ")"]),
        ("f() { a; }; f", ["a", "}", "f"]),
        ("cat > x <<E && b\npip install y\nE\nc", ["cat", "b", "c"]),
        ("a <<'E F' <<\\G\n1\n\tE F\n2\nG\nb <<< c; d", ["a", "b", "d"]),
        ("sh -e <<E | b\nc; d\nE\ne", ["sh -e", "c", "d", "b", "e"]),
        ("a <<E; b\nc", ["a", "b", "c"]),  # one that never ends
        ("", []),
    ],
)
def test_commands(text: str, expected: list[str]) -> None:
    assert calls(text) == expected


SCRIPT = """\
set -eu
install() { # a comment with { and (
    for one in "$@"; do { apt-get install "$one"; } done
    case $1 in a) curl a ;; (b) wget b ;; esac
}
outer() {
    install x; echo "$(dig y)"
}
function old { pip install z; }
never ()
{
    git clone u
}
"""


@pytest.mark.parametrize(
    ("called", "expected"),
    [
        ("true", ["set"]),
        ("install x", ["set", "apt-get", "curl", "wget"]),
        ("if outer; then echo; fi", ["set", "apt-get", "curl", "wget", "echo", "dig", "install"]),
        ("old", ["set", "pip"]),
        ("echo outer", ["set"]),
    ],
)
def test_the_body_of_a_function_runs_where_it_is_called(called: str, expected: list[str]) -> None:
    words = {"set", "apt-get", "curl", "wget", "echo", "dig", "pip", "git", "install"}
    found = {one.name for one in reached(commands(SCRIPT), commands(called))} & words
    assert found == set(expected)
    in_one = {one.name for one in reached(commands(f"{SCRIPT}{called}"))} & words
    assert in_one - {"echo", "install"} == set(expected) - {"echo", "install"}


def test_operators_and_groups() -> None:
    found = commands("a ||\n  { b; c; }; d || (e; f)")
    assert [(one.name, one.before, one.grouped) for one in found if one.name not in {"}", ")"}] == [
        ("a", "", False), ("b", "||", True), ("c", ";", False), ("d", ";", False), ("e", "||", True), ("f", ";", False),
    ]  # fmt: skip


def test_depth_and_length_are_bounded() -> None:
    assert calls("$(" * 5_000)
    assert calls("`" * 5_000)
    nested = "x"
    for _ in range(12):
        nested = f"sh -c '{nested}'" if "'" not in nested else f"$({nested})"
    assert calls(nested)
    assert steps(lambda: calls("a && $(b) || c\n" * 2_000)) < 5 * steps(lambda: calls("a && $(b) || c\n" * 500))


@given(st.text(alphabet="ab ;|&(){}<>$`'\"\\\n#=[]-", max_size=60))
@examples(200)
def test_any_text_can_be_read(text: str) -> None:
    commands(text)
