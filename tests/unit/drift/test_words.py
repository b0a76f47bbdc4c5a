from __future__ import annotations

import pytest

from orchestrator.cuda.arch import parse_list
from orchestrator.cuda.toolkit import Toolkit, toolkit_for
from orchestrator.drift.words import difference, text_difference

CUDA_13 = (toolkit_for("13.0"),)
BOTH = (toolkit_for("12.9"), toolkit_for("13.0"))


@pytest.mark.parametrize(
    ("found", "expected", "toolkits", "words"),
    [
        ("8.0 9.0", "9.0 8.0", CUDA_13, []),
        ("8.0 9.0", "8.0 9.0 12.0", CUDA_13, ["missing 12.0 (RTX 50, RTX PRO 6000 Blackwell)"]),
        ("7.0 8.0", "8.0", CUDA_13, ["adds 7.0 (V100, TITAN V), which CUDA 13.0 cannot compile"]),
        ("7.0 8.0", "8.0", BOTH, ["adds 7.0 (V100, TITAN V), which CUDA 13.0 cannot compile"]),
        ("8.0 8.6", "8.0", CUDA_13, ["adds 8.6 (A2, A10)"]),
        ("8.0 10.1", "8.0 11.0", CUDA_13,
         ["lists 10.1, the name that CUDA 12 gives Jetson Thor; CUDA 13 calls it 11.0"]),
        ("8.0 10.1", "8.0", CUDA_13,
         ["lists 10.1, the name that CUDA 12 gives Jetson Thor; CUDA 13 calls it 11.0, and the matrix lists neither"]),
        ("8.0 11.0", "8.0 10.1", (toolkit_for("12.9"),),
         ["lists 11.0, the name that CUDA 13 gives Jetson Thor; CUDA 12 calls it 10.1"]),
        ("8.0 12.0", "8.0 12.0+PTX", CUDA_13, ["missing +PTX on 12.0"]),
        ("8.0+PTX 12.0", "8.0 12.0", CUDA_13, ["adds +PTX to 8.0"]),
        ("9.0a", "9.0", CUDA_13, ["missing 9.0 (H100, H200), has 9.0a instead"]),
        ("8.0 9.0 9.0a", "8.0 9.0", CUDA_13, ["adds 9.0a (H100, H200)"]),
    ],
)  # fmt: skip
def test_differences(found: str, expected: str, toolkits: tuple[Toolkit, ...], words: list[str]) -> None:
    assert list(difference(parse_list(found), parse_list(expected), toolkits)) == words


def test_a_forbidden_architecture_says_why() -> None:
    (words,) = difference(parse_list("7.0 8.0"), parse_list("8.0"), CUDA_13, {"7.0": "Volta is no longer tested"})
    assert words.endswith("which CUDA 13.0 cannot compile, and which the matrix forbids (Volta is no longer tested)")


@pytest.mark.parametrize(
    ("found", "expected", "words"),
    [
        ("9.0 10.0 12.0", "9.0 10.0 11.0 12.0", "missing 11.0 (Jetson Thor, Jetson T5000)"),
        ("7.0 9.0", "9.0", "adds 7.0 (V100, TITAN V)"),
        ("12.8 12.9", "12.8 13.0", "names 12.9"),
        ("16", "8", "another value"),
    ],
)
def test_a_list_that_is_an_argument_differs_in_words(found: str, expected: str, words: str) -> None:
    assert text_difference(found, [expected]) == words
