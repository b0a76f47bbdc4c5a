"""A failed instruction leads to the values of the matrix that it uses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orchestrator.errors import FailureClass, Place
from orchestrator.matrix.layers import Origin, Value
from orchestrator.runs.blame import blamed
from orchestrator.runs.outcome import ErrorInfo

if TYPE_CHECKING:
    from pathlib import Path

DOCKERFILE = """\
ARG CUDA_VERSION
FROM nvidia/cuda:${CUDA_VERSION}-devel
ARG archs
RUN TORCH_CUDA_ARCH_LIST="$archs" make && \\
    echo $HOME ${jobs:-4}
RUN echo '$archs is text' \\$archs
COPY --from=x:$CUDA_VERSION a b
"""


def value(text: str, line: int) -> Value:
    place = Place(file="matrix.yaml", line=line, column=5)
    return Value(text=text, origin=Origin(place=place, words="variants.args"))


ARGS = {
    "CUDA_VERSION": value("13.0.2", 14),
    "archs": value("9.0 11.0", 15),
    "jobs": value("8", 16),
    "x": value("1", 17),
}


@pytest.mark.parametrize(
    ("line", "note"),
    [
        (2, "the instruction uses CUDA_VERSION=13.0.2 from variants.args (matrix.yaml:14:5)"),
        (4, f"the instruction uses archs='9.0 11.0' from {ARGS['archs'].origin}, jobs=8 from {ARGS['jobs'].origin}"),
        (7, "the instruction uses CUDA_VERSION=13.0.2 from variants.args (matrix.yaml:14:5)"),
        (3, ""),
        (5, ""),
        (6, ""),
        (0, ""),
        (99, ""),
    ],
)
def test_the_arguments_of_an_instruction(tmp_path: Path, line: int, note: str) -> None:
    path = tmp_path / "Dockerfile"
    path.write_text(DOCKERFILE)
    error = ErrorInfo(failure=FailureClass.RUN, message="x", step="RUN", file=str(path), line=line)
    assert blamed(error, ARGS) == ((note,) if note else ())


def test_a_file_that_is_not_there_or_not_text_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "bytes").write_bytes(b"RUN \xff $archs\n")
    for name in ("dockerfile-inline", str(tmp_path / "bytes"), str(tmp_path)):
        error = ErrorInfo(failure=FailureClass.RUN, message="x", file=name, line=1)
        assert blamed(error, ARGS) == ()


def test_many_and_long_ones_are_shortened(tmp_path: Path) -> None:
    path = tmp_path / "Dockerfile"
    path.write_text("RUN " + " ".join(f"$a{n}" for n in range(9)) + "\n")
    args = {f"a{n}": value("v" * 200, n + 1) for n in range(9)}
    (note,) = blamed(ErrorInfo(failure=FailureClass.RUN, message="x", file=str(path), line=1), args)
    assert note.endswith(" and 5 more")
    assert "v" * 58 not in note
