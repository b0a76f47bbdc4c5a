"""Lists and versions in lines that no reader understands."""

from __future__ import annotations

import pytest

from orchestrator.drift.files import File
from orchestrator.drift.loose import Mention, mentions


def found(line: str, reader: str = "lines") -> list[tuple[str, bool, bool]]:
    return [(one.value, one.cuda, one.prose) for one in mentions(File("f", line), reader)]


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("archs 8.0 9.0+PTX are", ["8.0 9.0+PTX"]),
        ("'8.0', '9.0a'", ["8.0', '9.0a"]),
        ("8.0;9.0", ["8.0;9.0"]),
        ("v8.0 9.0", []), ("8.0 9.0-x", []), ("1.0 2.0", []), ("3.5 5.2 6.1", ["3.5 5.2 6.1"]), ("4.1 5.2", []),
        ("80-real;90-virtual", ["80-real;90-virtual"]), ("80;90a", ["80;90a"]), ("x80;90", []), ("800;900", []),
        ("arch_list: 9.0", ["9.0"]), ('CUDA_ARCH="9.0"', ["9.0"]), ("arch: 9.0", []), ("arch list 9.0.1", []),
        ("cuda_archs := 80", ["80"]),
        ("CUDA_ARCHITECTURES=80 and 1.5", ["80"]), ("CUDA_ARCHITECTURES 80 90", ["80 90"]),
        ("-gencode arch=compute_80,code=sm_80", ["-gencode arch=compute_80,code=sm_80"]),
        ("-gencode=arch=compute_80,code=sm_80 --generate-code arch=compute_90,code=[sm_90]",
         ["-gencode=arch=compute_80,code=sm_80 --generate-code arch=compute_90,code=[sm_90]"]),
        ("nvcc -arch=sm_90a", ["-arch=sm_90a"]), ("'arch=compute_80,code=sm_80'", ["arch=compute_80,code=sm_80"]),
        ("sm_80, sm_90", ["sm_80, sm_90"]), ("compute_80;sm_90", ["compute_80;sm_90"]), ("sm_80", []),
    ],
)  # fmt: skip
def test_a_list_is_found_as_the_line_spells_it(line: str, values: list[str]) -> None:
    assert found(line) == [(value, False, False) for value in values]


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("CUDA 12.4", ["12.4"]), ("cuda version: 12.4.1 or so", ["12.4.1"]), ("cu12.4", []), ("CUDA 9.2", []),
        ("CUDA 12.4, 12.6 or 13.0", ["12.4", "12.6"]), ("CUDA 12.4, or 12.6", ["12.4", "12.6"]),
        ("CUDA 12.4.1.2", []), ("cuda " + "x" * 24 + "12.4", []), ("cuda" + "x" * 24 + "12.4", ["12.4"]),
    ],
)  # fmt: skip
def test_a_version_stands_behind_the_word_cuda(line: str, values: list[str]) -> None:
    assert found(line) == [(value, True, False) for value in values]


def test_what_is_taken_once_is_not_told_twice_but_a_version_is() -> None:
    assert found("cuda_arch_list 8.0 9.0") == [("8.0 9.0", False, False)]
    assert found("cuda 12.0 12.1") == [("12.0 12.1", False, False), ("12.0", True, False)]


@pytest.mark.parametrize(
    ("line", "reader", "prose"),
    [
        ("x 8.0 9.0", "lines", False), ("x 8.0 9.0", "text", True), ("x 8.0 9.0", "requirements", True),
        ("# 8.0 9.0", "lines", True), ("  // 8.0 9.0", "lines", True), ("; 8.0 9.0", "lines", True),
        ("<!-- 8.0 9.0", "lines", True), (".. 8.0 9.0", "lines", True), ("a # 8.0 9.0", "lines", True),
        ("8.0 9.0 # a", "lines", False), ("a#b 8.0 9.0", "lines", False),
    ],
)  # fmt: skip
def test_pages_and_comments_are_prose(line: str, reader: str, prose: bool) -> None:
    assert found(line, reader) == [("8.0 9.0", False, prose)]


def test_a_mention_has_its_line() -> None:
    text = "nothing\n\n8.0 9.0\nCUDA 12.4\n"
    assert list(mentions(File("a/b", text), "lines")) == [
        Mention(file="a/b", line=3, value="8.0 9.0", cuda=False, prose=False),
        Mention(file="a/b", line=4, value="12.4", cuda=True, prose=False),
    ]
