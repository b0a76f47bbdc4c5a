"""Errors: their exit codes, their words, and suggestions."""

from __future__ import annotations

import pytest

from orchestrator import errors
from orchestrator.errors import MatrixError, OrchestrateError, Problem, did_you_mean


def test_the_exit_codes_are_the_contract() -> None:
    found = {
        name: value.exit_code
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, OrchestrateError) and value is not OrchestrateError
    }
    assert found == {
        "BuildError": 1,
        "MatrixError": 2,
        "UsageError": 2,
        "DriftError": 3,
        "VerificationError": 4,
        "EnvironmentLacksError": 5,
        "NetworkError": 6,
        "InterruptedRunError": 130,
    }


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
