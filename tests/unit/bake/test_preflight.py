"""Preflight's judgement and the paths that a target may touch; its questions to buildx are put in tests/engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.bake.preflight import Arrival, NotArrivedError, check
from orchestrator.bake.privileges import local_paths
from orchestrator.engine.buildx import BakeCall, last_error
from orchestrator.errors import Place


def test_the_command() -> None:
    bake = BakeCall(docker=("docker", "--context", "x"), files=("a.hcl", "b.json"), root=Path("/r"), builder="b")
    assert bake.argv("-f", "v.json") == (
        "docker", "--context", "x", "buildx", "bake", "--builder", "b", "-f", "a.hcl", "-f", "b.json", "-f", "v.json"
    )  # fmt: skip


def test_a_value_that_arrives_as_another_is_told() -> None:
    found = Arrival(checked=True, consumed={"A": "theirs"})
    with pytest.raises(NotArrivedError) as caught:
        check(found, variant="v", target="t", injected={"A": "ours"}, places={})
    (problem,) = caught.value.problems
    assert str(problem) == "v: A reaches target t with another value, expected 'ours', found 'theirs'"


def test_a_place_may_hold_colons() -> None:
    places = {"B": Place(file="C:/x/matrix.yaml", line=3, column=7)}
    with pytest.raises(NotArrivedError) as caught:
        check(Arrival(checked=True, consumed={}), variant="v", target="t", injected={"B": "1"}, places=places)
    (problem,) = caught.value.problems
    assert (problem.file, problem.line, problem.column) == ("C:/x/matrix.yaml", 3, 7)
    assert caught.value.hint == "t consumes: none"


def test_what_was_not_checked_is_not_judged() -> None:
    check(Arrival(checked=False, why_not="x"), variant="v", target="t", injected={"A": "1"}, places={})


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("#1 x\nERROR: one\nERROR: two\n", "two"),
        ("#1 x\nlast\n\n", "last"),
        ("", "no output"),
    ],
)
def test_the_line_that_says_what_is_wrong(text: str, line: str) -> None:
    assert last_error(text) == line


def test_paths_outside_the_root_are_named(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    target = {
        "context": "../src",
        "dockerfile": "../elsewhere/Dockerfile",
        "contexts": {
            "a": "inside", "b": "/abs/dir", "c": "docker-image://alpine", "d": "target:other", "e": "git@host:x",
            "f": "https://host/x.git", "g": "oci-layout:///layout/dir:tag@sha256:00ff", "h": "oci-layout://inside/dir",
        },
        "cache-from": [{"type": "local", "src": "/cache/in"}, {"type": "registry", "ref": "x"}],
        "cache-to": ["type=local,dest=/cache/out.new,mode=max"],
        "secret": [{"id": "ca", "src": "/etc/ca.crt"}, {"id": "env", "env": "X"}],
        "output": [{"type": "oci", "dest": "/out/v.tar"}],
    }  # fmt: skip
    reads, writes = local_paths(root, target)
    assert reads == sorted(
        [f"{tmp_path}/src", f"{tmp_path}/elsewhere", "/abs/dir", "/layout/dir", "/cache/in", "/etc/ca.crt"]
    )
    assert writes == ["/cache", "/out"]


def test_nothing_outside_nothing_named(tmp_path: Path) -> None:
    assert local_paths(tmp_path, {}) == ([], [])
    assert local_paths(tmp_path, {"context": "https://host/x.git", "dockerfile": "../../x"}) == ([], [])
