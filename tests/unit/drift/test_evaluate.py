"""What buildx is asked about bake files, and what becomes of its answers; buildx itself is tests/engine's."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator import process
from orchestrator.drift.evaluate import Buildx
from orchestrator.drift.readers import bake
from orchestrator.errors import EnvironmentLacksError
from orchestrator.process import Completed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

TEXT = 'variable "A" { default = "1" }\nvariable "B" {}\ntarget "x" {}\n'
FILE = bake.parse(TEXT, json=False)


class Docker:
    """Answers in turn: what is printed, a failure for a text, and an exception as itself."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.answers: list[Any] = []
        self.asked: list[tuple[str, ...]] = []
        self.stdin: list[str | None] = []

    def __call__(self, argv: Sequence[str], *, cwd: Path, timeout: float, stdin: str | None = None) -> Completed:
        assert (cwd, timeout) == (self.root, 30)
        self.asked.append(tuple(argv))
        self.stdin.append(stdin)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, bytes):
            return Completed(argv=tuple(argv), returncode=1, stdout='{"target": {}}', stderr=answer.decode())
        text = answer if isinstance(answer, str) else json.dumps(answer)
        return Completed(argv=tuple(argv), returncode=0, stdout=text, stderr="")


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Docker:
    (tmp_path / "docker").touch(mode=0o755)
    monkeypatch.setenv("ORCHESTRATE_DOCKER", str(tmp_path / "docker"))
    fake = Docker(tmp_path)
    monkeypatch.setattr(process, "run", fake)
    return fake


FAILURES = [b"refused", EnvironmentLacksError("no docker"), "no JSON", "[" * 100_000]


def test_a_variable_has_the_default_that_buildx_lists(docker: Docker, tmp_path: Path) -> None:
    docker.answers = [[{"name": "A", "value": 7}, {"name": "B"}]]
    buildx = Buildx(tmp_path)
    assert [buildx.variable(FILE, name) for name in ("A", "B", "C")] == ["7", None, None]
    command = ["env", "-u", "A", "-u", "B", f"{tmp_path}/docker", "buildx", "bake", "-f", "-"]
    assert docker.asked == [(*command, "--list=type=variables,format=json")]
    assert docker.stdin == [TEXT]
    for answer in [*FAILURES, {}, None]:
        docker.answers = [answer]
        assert Buildx(tmp_path).variable(FILE, "A") is None


def test_an_argument_has_the_value_that_buildx_prints(docker: Docker, tmp_path: Path) -> None:
    docker.answers = [{"target": {"x": {"args": {"A": "$${y}", "N": 7}}}}, {"target": {}}]
    buildx = Buildx(tmp_path)
    assert [buildx.arg(FILE, "x", name) for name in ("A", "N", "C")] == ["${y}", "7", None]
    assert docker.asked[0][8:] == ("-f", "-", "--set", "x.output=type=cacheonly", "--print", "x")
    assert buildx.arg(FILE, "y", "A") is None
    assert len(docker.asked) == 2
    for answer in [*FAILURES, [], {}, {"target": {"x": {}}}]:
        docker.answers = [answer]
        assert Buildx(tmp_path).arg(FILE, "x", "A") is None


def test_what_an_image_does_on_a_build_is_asked_once(docker: Docker, tmp_path: Path) -> None:
    docker.answers = [["ARG A", 1], "null"]
    buildx = Buildx(tmp_path)
    assert buildx.onbuild("r/a") == buildx.onbuild("r/a") == ("ARG A", "1")
    assert buildx.onbuild("r/b") == ()
    assert docker.asked == [
        (f"{tmp_path}/docker", "image", "inspect", "--format", "{{json .Config.OnBuild}}", "--", image)
        for image in ("r/a", "r/b")
    ]
    for answer in FAILURES:
        docker.answers = [answer]
        buildx = Buildx(tmp_path)
        assert buildx.onbuild("r/a") is buildx.onbuild("r/a") is None


def shipped(tmp_path: Path) -> Any:
    (tmp_path / "b.hcl").write_text(TEXT)
    (tmp_path / "c.json").write_text('{"variable": {"J": {}}}')
    (tmp_path / "compose.yaml").write_text("services: {}\n")
    return Buildx(tmp_path).shipped(["b.hcl", "c.json", "compose.yaml"], ["q", "p"])


def test_the_targets_of_the_first_group_that_there_is_are_shipped(docker: Docker, tmp_path: Path) -> None:
    bodies: dict[str, Any] = {"p": {"a": 1}, "q": {}, "r": {}, "s": {}}
    groups = {"all": {"targets": ["inner", "s", "r"]}, "inner": {"targets": ["p", "q", "all"]}}
    docker.answers = [{"target": bodies, "group": groups}]
    found, why = shipped(tmp_path)
    assert (found.names, found.targets, why) == (("q", "p", "s", "r"), bodies, "")
    (argv,) = docker.asked
    assert argv == (
        "env", "-u", "A", "-u", "B", "-u", "J", f"{tmp_path}/docker", "buildx", "bake",
        "-f", "b.hcl", "-f", "c.json", "-f", "compose.yaml", "--set", "*.output=type=cacheonly", "--print", "all",
    )  # fmt: skip
    docker.answers = [b"no target all", {"target": {"p": {}}, "group": {"default": {"targets": ["p"]}}}]
    assert shipped(tmp_path)[0].names == ("p",)
    assert docker.asked[-1][-2:] == ("--print", "default")
    docker.answers = [b"no", {}, {"target": bodies}]
    assert shipped(tmp_path)[0].names == ("q", "p")
    assert docker.asked[-1][-3:] == ("--print", "q", "p")


def test_why_nothing_is_known_of_what_is_shipped(docker: Docker, tmp_path: Path) -> None:
    refused = "docker buildx bake refuses b.hcl, c.json, compose.yaml: "
    docker.answers = [b"ERROR: one", b"ERROR: two", b"ERROR: three"]
    assert shipped(tmp_path) == (None, f"{refused}three")
    docker.answers = [b"ERROR: one", {}, {"target": {"other": {}}}]
    assert shipped(tmp_path) == (None, refused)
    docker.answers = [EnvironmentLacksError("no docker")]
    assert shipped(tmp_path) == (None, "no docker")
    docker.answers = ["no JSON"]
    assert shipped(tmp_path)[0] is None
