"""Errors: their exit codes, their words, and suggestions."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from orchestrator import errors
from orchestrator.errors import FailureClass, MatrixError, OrchestrateError, Problem, did_you_mean
from orchestrator.registry.errors import StatusError


def test_the_exit_codes_are_the_contract() -> None:
    found = {
        name: value.exit_code
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, OrchestrateError) and value is not OrchestrateError
    }
    assert found == {
        "MatrixError": 2,
        "UsageError": 2,
        "DriftError": 3,
        "VerificationError": 4,
        "EnvironmentLacksError": 5,
        "NetworkError": 6,
        "InterruptedRunError": 130,
    }


def test_one_table_gives_every_failure_its_word_and_its_code() -> None:
    assert {member.value: member.exit_code for member in FailureClass} == {
        "run": 1,
        "network": 6,
        "stalled": 6,
        "limit": 1,
        "auth": 6,
        "not-found": 1,
        "disk": 5,
        "matrix": 2,
        "usage": 2,
        "arrived": 2,
        "drift": 3,
        "verification": 4,
        "cancelled": 1,
        "interrupted": 130,
        "environment": 5,
        "internal": 1,
    }
    assert [member for member in FailureClass if member.retried] == [FailureClass.NETWORK, FailureClass.STALLED]
    assert all(len(member.words.split()) >= 3 for member in FailureClass)
    assert FailureClass("not-found") is FailureClass.NOT_FOUND
    assert f"{FailureClass.NOT_FOUND}" == "not-found"


def test_an_error_has_the_code_of_its_class() -> None:
    class SpecialError(MatrixError, failure=FailureClass.ARRIVED):
        pass

    class ChildError(SpecialError):
        pass

    assert (ChildError.failure, ChildError.exit_code) == (FailureClass.ARRIVED, 2)
    assert (MatrixError.failure, OrchestrateError.failure) == (FailureClass.MATRIX, FailureClass.INTERNAL)


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (Problem(what="x is wrong"), "x is wrong"),
        (Problem(what="x", file="m.yaml"), "m.yaml: x"),
        (Problem(what="x", file="m.yaml", line=3), "m.yaml:3: x"),
        (Problem(what="x", file="m.yaml", line=3, column=7), "m.yaml:3:7: x"),
        (Problem(what="x", expected="a", found="b", hint="do c"), "x, expected a, found b; do c"),
    ],
)
def test_a_problem_reads(problem: Problem, text: str) -> None:
    assert str(problem) == text


def test_an_error_reads_as_message_problems_hint() -> None:
    error = MatrixError("two", problems=[Problem(what="a"), Problem(what="b", file="f", line=1)], hint="do c")
    assert str(error) == "two\na\nf:1: b\ndo c"
    assert str(MatrixError("", problems=[Problem(what="a")])) == "a"


def test_no_text_of_an_error_keeps_a_credential() -> None:
    """Whoever said it: a registry, docker, a file. All classes inherit it, and what shows errors shows these texts."""
    url = "https://ghp_TOKEN@host/x"
    problem = Problem(what=url, file=url, line=1, expected=url, found=repr(url), hint=url)
    for error in (OrchestrateError(url, hint=url, problems=[problem]), StatusError(url, status=400)):
        assert "TOKEN" not in "".join([str(error), error.message, error.hint, repr(error.args), repr(error.problems)])
        assert str(error).count("https://host/x") == (7 if error.problems else 1)


@pytest.mark.parametrize(
    ("word", "known", "said"),
    [
        ("relase", ["release", "thor"], "did you mean release?"),
        ("TORCH_CUDA_ARCH_LIST", ["torch_cuda_arch_list", "max_jobs"], "did you mean torch_cuda_arch_list?"),
        ("zzz", ["b", "a", "a"], "known: a, b"),
        ("zzz", [], ""),
        ("zzz", [str(n) for n in range(20)], "known: 0, 1, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, …"),
    ],
)
def test_suggestions(word: str, known: list[str], said: str) -> None:
    assert did_you_mean(word, known) == said


def test_the_documented_classes_are_the_table() -> None:
    text = Path(__file__).parents[2].joinpath("docs", "build.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([\w-]+)` \| (\d+) \|", text, re.MULTILINE))
    of_commands = {FailureClass.USAGE, FailureClass.DRIFT}  # never the end of a variant
    assert rows == {member.value: str(member.exit_code) for member in FailureClass if member not in of_commands}
