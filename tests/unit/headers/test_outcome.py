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
