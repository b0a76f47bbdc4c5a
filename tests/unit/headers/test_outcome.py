"""How scripts end whose header step fails; tests/differential/test_swallowed_failures.py asks real shells the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.headers.outcome import Shell, shell_of, swallows
from tests.support.generated import examples
from tests.support.work import steps

LETTERS = "X abif;|&(){}<>$`'\"\\\n#=[]-!"


def ends_well(script: str, *shell: str, scripts: dict[str, str] | None = None) -> bool:
    return swallows([script], lambda words: words[0] == "X", shell_of(("sh", *shell), scripts or {}))


@pytest.mark.parametrize(
    ("script", "plain", "strict"),
    [
        ("X", False, False),
        ("X; ok", True, False),
        ("X || warn", True, True),
        ("X || exit 1", False, False),
        ("X || X", False, False),
        ("X && ok; ok", True, True),
        ("if ! X; then warn; fi", True, True),
        ("if ! X; then exit 1; fi", False, False),
        ("(X) || :", True, True),
        ("f() { X; ok; }; f", True, False),
        ("f() { X; ok; }; f || exit 1", True, True),
        ("X & ok", True, True),
        ("X & wait $!", False, False),
        ("X | cat", True, True),
        ("X || [ -f there ]", False, False),
        ("[ -z $skip ] || exit 0; X; ok", True, False),
        ("until X; do sleep 5; done", False, False),
        ("trap 'exit 0' EXIT; X", True, True),
        ("true # X", False, False),
        ("eval 'X; ok'", True, False),
        ("eval X", False, False),
        ("exec X", False, False),
        ("exec; X", False, False),
        ("X; exec ok", True, False),
        (". none.sh; X", False, False),
        ("X & wait", True, True),
        ("X; exit", False, False),
        ("X; exit 0", True, False),
        ("f() { X; return; }; f", False, False),
        ("f() { X; return 0; }; f", True, False),
        ("for x in 1; do X; done", False, False),
        ("for x in 1; do X || break; done", True, True),
        ("while X; do ok; done", True, True),
        ("case $a in x) X;; esac", False, False),
        ("case $a in x) X || true;; esac", True, True),
        ("trap 'exit 0' EXIT; trap - EXIT; X", False, False),
    ],
)
def test_how_a_script_ends(script: str, plain: bool, strict: bool) -> None:
    assert ends_well(script) is plain
    assert ends_well(script, "-e") is strict
    assert ends_well(f"set -eu\n{script}") is strict
    assert ends_well(f"sh -c '{script}'") is plain or "'" in script
    assert ends_well("sh run.sh", scripts={"run.sh": script}) is plain
    assert ends_well("sh -e /run/run.sh", scripts={"run.sh": script}) is strict


@pytest.mark.parametrize(
    ("script", "swallowed"),
    [
        ("sh -e <<E\nv=$(X); ok\nE", True),  # the outer shell runs it, and puts nothing in its place
        ("sh -e <<E\nv=`X`; ok\nE", True),
        ("sh -e <<'E'\nv=$(X); ok\nE", False),
        ("sh -e <<E\nv=\\$(X); ok\nE", False),
        ("cat <<E\n$(X)\nE", True),
        ("cat <<E\n$((1 + 1)) $(ok)\nE\nX", False),
    ],
)
def test_what_stands_in_a_here_document_runs_before_its_reader(script: str, swallowed: bool) -> None:
    assert ends_well(script) is swallowed


def test_a_script_that_is_run_by_itself_is_run_by_what_its_first_line_says() -> None:
    for first, strict in (("", False), ("#!/bin/sh -e\n", True), ("#!/usr/bin/env bash -e\n", True), ("#!\n", False)):
        scripts = {"run.sh": f"{first}X; ok"}
        assert ends_well("./run.sh", scripts=scripts) is not strict
        assert ends_well("/run/run.sh || true", scripts=scripts)


def test_a_script_that_is_read_in_ends_as_its_own_lines() -> None:
    for how in (". ./run.sh", "source /run/run.sh", ". run.sh || exit 1"):
        assert not ends_well(how, scripts={"run.sh": "X"})
    assert ends_well(". ./run.sh", scripts={"run.sh": "X; ok"})
    assert not ends_well("set -e; . ./run.sh", scripts={"run.sh": "X; ok"})


@pytest.mark.parametrize(
    ("script", "swallowed"),
    [
        ("cat <(X)", True),
        ("ok > >(X)", True),
        ("cat <(ok); X", False),
        ("timeout 5 sh -c 'X; ok'", True),
        ("timeout 5 sh -c X", False),
        ("su - user -c 'X || true'", True),
        ("su - user -c X", False),
        ("find . -exec X ;", False),  # the shell takes the semicolon
        ("echo 'X; ok' | sh", True),
        ("echo X | sh", False),
        ("trap 'exit 0' ERR; X; ok", True),
        ("trap 'exit 3' ERR; X; ok", False),
        ("exec 2>log; X", False),
        ("ok a2>log; X", False),
        ("X & ok & wait $!", True),
        ("X || ok & wait $!", True),
        ("while read a; do X; ok; done", True),
        ("while read a; do X || exit 1; done", False),
    ],
)
def test_what_runs_others_passes_on_how_they_end(script: str, swallowed: bool) -> None:
    assert ends_well(script) is swallowed


@pytest.mark.parametrize(
    "option", ["-i", "-ki", "--ignore-errors", "-n", "-t", "--dry-run", "MAKEFLAGS=i", "MAKEFLAGS=-ki"]
)
def test_make_that_ignores_errors_is_seen(option: str) -> None:
    def ends(script: str) -> bool:
        return swallows([script], lambda words: "X" in words, shell_of(("sh",), {}))

    assert ends(f"make {option} X")
    assert ends(f"make X {option}")
    assert not any(
        ends(f"make {other} X")
        for other in ("-k", "-j4", "-Ci", "-fi", "-I in", "CFLAGS=-i", "--silent", "MAKEFLAGS=k")
    )


def test_a_substitution_does_not_inherit_errexit_in_bash() -> None:
    assert ends_well("bash -ec 'v=$(X; ok)'")
    assert not ends_well("sh -ec 'v=$(X; ok)'")


def test_many_process_substitutions_are_read_in_bounded_work() -> None:
    assert not ends_well("cat " + "<(" * 3_000)
    assert ends_well("cat " + "<(ok) " * 500 + "<(X)")


def test_a_pipe_is_seen_by_pipefail() -> None:
    assert ends_well("X | tee log")
    assert not ends_well("set -o pipefail; X | tee log")
    assert ends_well("bash -c 'X | tee log'")
    assert not ends_well("bash -euo pipefail -c 'X | tee log' name")
    assert shell_of(["/bin/bash", "-o", "pipefail", "-ec"], {}) == Shell(errexit=True, pipefail=True, bash=True)


@given(st.text(alphabet=LETTERS, max_size=80))
@examples(300)
def test_any_text_has_an_end(text: str) -> None:
    ends_well(text)


def test_depth_length_and_loops_are_bounded() -> None:
    for text in ("(" * 5_000, "{ " * 5_000, "$(" * 5_000, "if " * 3_000, "f() { f; }; f", "while ok; do ok; done; X"):
        assert not ends_well(text)
    assert steps(lambda: ends_well("[ -f a ] && ok || X\n" * 200)) < 40 * steps(
        lambda: ends_well("[ -f a ] && ok\n" * 50)
    )


@pytest.mark.parametrize(
    ("script", "swallowed"),
    [
        # what a shell of its own keeps to itself
        ("(set -e); X; ok", True),
        ("set -e; (set +e); X; ok", False),
        ("(set -o pipefail); X | cat", True),
        ("set -o pipefail; (set +o pipefail); X | cat", False),
        ("set -o pipefail; (set +o pipefail; X | cat)", True),
        ("f() { exit 1; }; X; (f() { exit 0; }); f", False),
        ("f() { exit 0; }; X; (f; exit 1) || exit 1", True),
        ("trap 'exit 0' EXIT; (X) || { trap - EXIT; exit 1; }", False),
        ("trap 'exit 0' EXIT; (trap - EXIT); X", True),
        ("(trap 'exit 0' EXIT); X", False),
        ("sh -ec ok; X; ok", True),
        ("set -e; sh -c 'X; ok'", True),
        ("f() { X; exit 0; }; sh -c f || exit 1", False),
        ("trap 'exit 0' EXIT; sh -c X || { trap - EXIT; exit 1; }", False),
        ("sh -c 'exit 0'; X", False),
        ("X; (exit 0); exit", True),
        # traps
        ("trap 'exit 0' 0; X", True),
        ("trap '' EXIT; X", False),
        ("trap 'exit 0' INT; X", False),
        ("trap 'exit 0' INT EXIT; X", True),
        ("trap exit EXIT; X", False),
        ("trap ok EXIT; X", False),
        ("trap 'X; ok' EXIT; ok", True),
        ("trap X EXIT; ok", True),
        ("trap 'exit 0' ERR; X || exit 1", False),
        ("trap 'exit 0' ERR; ! X && exit 1", False),
        ("trap ok ERR; X; exit", False),
        ("trap ok ERR; X; ok", True),
        ("trap 'exit 0' ERR; f() { X; exit 1; }; f", False),
        ("set -E; trap 'exit 0' ERR; f() { X; exit 1; }; f", True),
        ("set -E; set +E; trap 'exit 0' ERR; f() { X; exit 1; }; f", False),
        ("trap 'exit 0' ERR; f() { ok; }; f; X; exit 1", True),
        ("trap 'exit 0' ERR; (X; exit 1)", True),
        ("trap 'exit 0' ERR; sh -c X; exit 1", True),
        ("trap 'exit 0' ERR; sh -c 'X; exit 1' || exit 1", False),
        ("trap 'exit 0' ERR; trap - ERR; X", False),
        ("trap 'exit 0' ERR INT; X; exit 1", True),
        # options
        ("set -o errexit; X; ok", False),
        ("set -e; set +o errexit; X; ok", True),
        ("set -eu -o pipefail; X | cat; ok", False),
        ("set -euo pipefail; X | cat; ok", False),
        ("set -o; set -e; X; ok", False),
        ("set -x; X; ok", True),
        ("set -o nounset; X; ok", True),
        ("set -- -e; X; ok", True),
        ("set -e --; X; ok", False),
        ("set - -e; X; ok", True),
        ("set a -e; X; ok", True),
        # conditions do not end a strict shell, what stands behind them does
        ("set -e; f() { X; ok; }; f && ok", True),
        ("set -e; f() { X; ok; }; ok && f", False),
        ("set -e; ok && { X; ok; } || exit 1", True),
        ("set -e; ok || ok && { X; ok; }", False),
        ("set -e; if { X; ok; }; then ok; fi", True),
        ("set -e; if ok; then X; ok; fi", False),
        ("set -e; if false; then ok; else X; ok; fi", False),
        ("set -e; if false; then ok; elif ok; then X; ok; fi", False),
        ("if false; then exit 0; elif X; then ok; else exit 3; fi", False),
        ("if false; then exit 0; elif X; then ok; fi", True),
        ("set -e; ! ok; X || exit 0", True),
        ("set -e; ! { X; ok; }; exit 0", True),
        ("set -e; ok | { X; ok; }", False),
        ("set -e; eval 'X; ok' || exit 1", True),
        ("set -e; eval 'X; ok'", False),
        ("set -e; { X; ok; } & wait $!", False),
        ("set -e; (X; ok) || exit 1", True),
        ("set -e; while X; do ok; done; exit 0", True),
        ("set -e; for i in 1; do X; ok; done", False),
        ("set -e; case a in a) X; ok;; esac", False),
        # pipelines and lists
        ("X | cat | cat", True),
        ("cat | X", False),
        ("ok | X | cat", True),
        ("set -o pipefail; X | cat | cat", False),
        ("set -o pipefail; (exit 2) | X; exit", False),
        ("! X", True),
        ("! ok | X", True),
        ("ok && ok || X; ok", False),
        ("X && exit 0; exit 1", False),
        ("X || ok && ok", True),
        ("X && ok || exit 4", False),
        ("false && X; ok", False),
        ("false || X", False),
        # background
        ("X & p=$!; wait $p", False),
        ("X & wait", True),
        ("ok & X & wait $!", False),
        ("ok & wait $!; X || exit 0", True),
        ("ok & wait $!", False),
        ("(X; exit 3) & wait $! || exit 0", True),
        # loops
        ("until X; do continue; done", False),
        ("while ! X; do ok; done", False),
        ("until X; do break; done", True),
        ("for i in 1 2; do X || continue; exit 1; done", True),
        ("for i in 1; do X || { ok; break; }; done; exit", True),
        ("for i in 1; do X; break; done", True),
        ("for i in 1; do X; done; ok", True),
        ("while [ -f a ]; do X; done", False),
        ("while [ -f a ]; do X; ok; done", True),
        ("until [ -f a ]; do X; ok; done", True),
        ("until X; do [ -f a ] && exit 0; done", True),
        ("until X; do [ -f a ] && exit 1; done", False),
        ("for i in 1 2; do X; [ -f a ] && exit 0; done; exit 1", False),
        ("until X; do break; done; [ -f a ] && exit 0; exit 1", False),
        ("while read a; do ok; done; X", False),
        ("read a || { X; ok; }", True),
        ("read a && { X; ok; }", True),
        ("for i in 1; do (X; break); done", True),
        # functions and what is read in
        ("f() { X || return 1; }; f", False),
        ("f() { X || return 0; }; f", True),
        ("f() { X; return; ok; }; f", False),
        ("f() { return 0; X; }; f", False),
        ("f() { X; }; f; ok", True),
        ("f() { X; }; /bin/true f", False),
        ("f() { X || return 3; }; f || exit 0", True),
        ("g() { X; }; f() { g; ok; }; f", True),
        ("f() { X; }; ok", False),
        ("return 0; X", False),
        ("X; return", False),
        ("exec sh -c 'X; ok'", True),
        ("exec sh -c X; exit 0", False),
        ("exec X; exit 0", False),
        ("X; exit $code", False),
        ("X; exit 3", False),
        ("X || exit $?", False),
        (". X", False),
        # substitutions
        ("v=$(X)", False),
        ("v=$(X); ok", True),
        ("set -e; v=$(X); ok", False),
        ("echo $(X)", True),
        ("set -e; export v=$(X); ok", True),
        ("v=`X`", False),
        ("v=$(X || ok)", True),
        ("$(echo ok); X", False),
        ("set -e; v=$(set +e); X; ok", False),
        # words before a command
        ("A=1 X", False),
        ("A=1 X || ok", True),
        ("env A=1 X; ok", True),
        ("sudo env A=1 X", False),
        ("/usr/bin/env X || ok", True),
        ("time", False),
        ("/bin/sh -c 'X; ok'", True),
        ("/bin/sh -ec 'X; ok'", False),
        ("sh unknown.sh; X", False),
        ("sh -e", False),
        # either way of a case
        ("case $a in x) X;; y) X || true;; esac", True),
        ("case $a in x) ok;; esac; X", False),
        ("case $a in x) exit 0;; esac; X", False),
        ("case $a in x) X;; esac; exit", False),
    ],
)
def test_whether_a_failure_passes_as_success(script: str, swallowed: bool) -> None:
    """As bash 5.2 ends with an X that fails, and with files, variables and input that it has not."""
    assert ends_well(script) is swallowed


@pytest.mark.parametrize(
    "word", sorted({"test", "[", "[[", "grep", "egrep", "cmp", "diff", "which", "type", "sha256sum", "md5sum", "false"})
)
def test_a_test_goes_either_way_and_notices_what_failed(word: str) -> None:
    assert ends_well(f"{word} a || {{ X; exit 0; }}")
    assert ends_well(f"{word} a && {{ X; exit 0; }}") is (word != "false")
    assert not ends_well(f"X; {word} a")
    assert ends_well(f"X; {word} a || exit 0")
    assert ends_well(f"until X; do {word} a && exit 0; done") is (word != "false")
    assert ends_well(f"X; not-{word} a")


def test_a_python_program_is_no_script_of_a_shell() -> None:
    scripts = {"run.py": "X", "run.sh": "X"}
    assert swallows(["./run.sh"], lambda words: words[0] == "X", shell_of((), scripts)) is False
    assert not swallows(["./run.py; ok"], lambda words: words[0] == "X", shell_of((), scripts))
    assert ends_well("./run.sh; ok", scripts=scripts)


@pytest.mark.parametrize(
    ("argv", "shell"),
    [
        ((), Shell()),
        (("sh",), Shell()),
        (("sh", "-c"), Shell()),
        (("sh", "-ec"), Shell(errexit=True)),
        (("/usr/bin/bash",), Shell(bash=True)),
        (("dash", "-e"), Shell(errexit=True)),
        (("bash", "-o", "errexit", "+e"), Shell(bash=True)),
        (("bash", "-o", "pipefail", "+o", "pipefail"), Shell(bash=True)),
        (("bash", "-e", "-o"), Shell(errexit=True, bash=True)),
        (("bash", "--norc", "-e"), Shell(errexit=True, bash=True)),
        (("bash", "-e", "--", "+e"), Shell(errexit=True, bash=True)),
        (("bash", "--rcfile", "/etc/rc", "-e"), Shell(errexit=True, bash=True)),
        (("bash", "-O", "extglob", "-e"), Shell(errexit=True, bash=True)),
        (("bash", "-e", "", "+e"), Shell(errexit=True, bash=True)),
    ],
)  # fmt: skip
def test_the_options_of_a_shell(argv: tuple[str, ...], shell: Shell) -> None:
    assert shell_of(argv, {}) == shell
    assert shell_of(argv, {"a": "b"}).scripts == {"a": "b"}


def test_each_script_is_judged_alone() -> None:
    def matters(words: tuple[str, ...]) -> bool:
        return words[0] == "X"

    assert not swallows([], matters)
    assert not swallows(["X", "ok"], matters)
    assert swallows(["X", "X; ok"], matters)
    assert not swallows(["X; ok"], matters, Shell(errexit=True))
