"""What a builder says of its builds; that it says so is tests/engine's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orchestrator import process
from orchestrator.engine.buildx import BakeCall
from orchestrator.engine.history import Build, Record, Silence, instance, record, silent
from orchestrator.errors import EnvironmentLacksError
from orchestrator.process import Completed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@pytest.fixture
def call(tmp_path: Path) -> BakeCall:
    return BakeCall(docker=("docker",), files=("a.hcl",), root=tmp_path, builder="farm")


LINES = b'{"a": 1}\nnoise\n{"b": 2}\n'
REFUSED = b"ERROR: no record found for https://user:secret@host/x\n"


@pytest.mark.parametrize(
    ("returncode", "output", "found", "goes_on"),
    [
        (None, LINES, Record(lines=(b'{"a": 1}', b'{"b": 2}')), True),
        (0, LINES, Record(lines=(b'{"a": 1}', b'{"b": 2}'), ended=True), False),
        (0, b"", Record(ended=True), False),
        (None, b"noise\n", Record(silent=True, problem="the builder does not answer within 2.5 s"), None),
        (1, REFUSED, Record(missing=True, problem="no record found for https://host/x"), False),
        (1, b"ERROR: connection refused\n", Record(problem="connection refused"), None),
    ],
)
def test_the_record_of_a_build(
    call: BakeCall,
    monkeypatch: pytest.MonkeyPatch,
    returncode: int | None,
    output: bytes,
    found: Record,
    goes_on: bool | None,
) -> None:
    asked: list[tuple[str, ...]] = []

    def listen(argv: Sequence[str], *, longest: float, settled: float, cwd: Path) -> process.Heard:
        assert (longest, cwd) == (2.5, call.root)
        assert 0 < settled < longest
        asked.append(tuple(argv))
        return process.Heard(output=output, returncode=returncode)

    monkeypatch.setattr(process, "listen", listen)
    assert record(call, "ref", timeout=2.5) == found
    build = Build(call=call, reference="ref", answer_s=2.5)
    assert build.goes_on() is goes_on
    assert asked == [("docker", "buildx", "history", "logs", "--progress", "rawjson", "--builder", "farm", "ref")] * 2
    assert build.builder == "farm"


def test_why_a_builder_does_not_answer(call: BakeCall, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []
    answers: list[int | Exception] = [0, 1, EnvironmentLacksError("late https://user:secret@host/x")]

    def run(argv: Sequence[str], *, timeout: float, cwd: Path) -> Completed:
        assert (timeout, cwd) == (7, call.root)
        asked.append(tuple(argv))
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return Completed(
            argv=tuple(argv), returncode=answer, stdout="", stderr="ERROR: dial https://u:p@host: refused\n"
        )

    monkeypatch.setattr(process, "run", run)
    assert silent(call, timeout=7) is None
    assert silent(call, timeout=7) == Silence(why="dial https://host: refused")
    assert silent(call, timeout=7) == Silence(why="late https://host/x", late=True)
    assert set(asked) == {("docker", "buildx", "du", "--builder", "farm", "--filter", "id=none")} or set(asked) == {
        ("docker", "buildx", "du", "--filter", "id=none", "--builder", "farm")
    }


def test_buildx_keeps_its_builders_where_its_variables_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUILDX_CONFIG", str(tmp_path))
    assert instance("farm") == tmp_path / "instances" / "farm"
    monkeypatch.setenv("BUILDX_CONFIG", "")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "d"))
    assert instance("farm") == tmp_path / "d" / "buildx" / "instances" / "farm"
