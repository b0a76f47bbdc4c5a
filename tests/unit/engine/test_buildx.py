"""How buildx is asked about a project's targets and how its answers are read; what buildx does is tests/engine's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator import process
from orchestrator.engine import buildx
from orchestrator.engine.buildx import BakeCall
from orchestrator.errors import EnvironmentLacksError, MatrixError, Place
from orchestrator.process import Completed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Bake:
    """`docker buildx bake`, which answers in turn with targets or a failure; what it was asked is kept."""

    def __init__(self) -> None:
        self.answers: list[dict[str, Any] | str] = []
        self.outputs: dict[str, Any] | str = {}  # the answer about copies of the bake files
        self.queries: list[dict[str, Any]] = []
        self.calls: list[tuple[tuple[str, ...], Mapping[str, str] | None, list[str]]] = []

    def __call__(
        self, argv: Sequence[str], *, cwd: Path, timeout: float, env: Mapping[str, str] | None = None
    ) -> Completed:
        assert cwd.is_dir()
        assert timeout == 120
        files = [argv[at + 1] for at, word in enumerate(argv) if word == "-f"]
        texts = [(cwd / name).read_text() for name in files]
        self.calls.append((tuple(argv), env, texts))
        if "--print" in argv:
            self.queries.append(json.loads(texts[-1])["target"])
        answer = self.answers.pop(0) if files[0] == "docker-bake.hcl" else self.outputs
        if isinstance(answer, str):
            return Completed(argv=tuple(argv), returncode=1, stdout="", stderr=answer)
        return Completed(argv=tuple(argv), returncode=0, stdout=json.dumps(answer), stderr="")


@pytest.fixture
def bake(monkeypatch: pytest.MonkeyPatch) -> Bake:
    fake = Bake()
    monkeypatch.setattr(process, "run", fake)
    return fake


def call_in(root: Path, text: str = 'target "app" {}\n') -> BakeCall:
    (root / "docker-bake.hcl").write_text(text)
    return BakeCall(docker=("docker",), files=("docker-bake.hcl",), root=root)


QUERY = {"inherits": ["app"], "cache-to": [], "output": ["type=cacheonly"]}


def test_targets_are_plain_and_without_caches_and_outputs(bake: Bake, tmp_path: Path) -> None:
    own = {"args": {"A": "$${x}", "N": None}, "tags": ["$${kept}"], "output": ["type=cacheonly"], "cache-to": ["x"]}
    base = {"output": ["type=oci"], "context": "."}
    bake.answers = [{"target": {"orchestrate-0": own, "orchestrate-linked": {}, "base": base}}]
    found = buildx.resolve(call_in(tmp_path), {"app": None}, linked=["base"])
    assert found == {"app": {"args": {"A": "${x}"}, "tags": ["$${kept}"]}, "base": {"context": "."}}
    assert bake.queries == [{"orchestrate-0": QUERY, "orchestrate-linked": {"contexts": {"l0": "target:base"}}}]
    ((argv, env, _),) = bake.calls
    assert argv[:3] == ("docker", "buildx", "bake")
    assert argv[argv.index("--print") + 1 :] == ("orchestrate-0", "orchestrate-linked")
    assert env is None


def test_an_output_is_read_from_a_copy_that_opens_nothing(bake: Bake, tmp_path: Path) -> None:
    """buildx opens what `output` names even to print: in the copy the attribute has another name."""
    text = 'target "app" {\n  output = ["type=tar,dest=app.tar", "type=registry"]\n}\n'
    bake.answers = [{"target": {"orchestrate-0": {"output": ["type=cacheonly"], "args": {"A": "1"}}}}]
    said = {"type": "tar", "dest": "app.tar"}
    bake.outputs = {"target": {"orchestrate-0": {"cache-to": [said, {"type": "registry", "ref": "x"}]}}}
    found = buildx.resolve(call_in(tmp_path, text), {"app": None})
    assert found == {"app": {"args": {"A": "1"}, "output": [said]}}
    assert sorted(map(json.dumps, bake.queries)) == sorted(
        json.dumps({"orchestrate-0": query}) for query in (QUERY, {"inherits": ["app"], "output": ["type=cacheonly"]})
    )
    copied = next(texts[0] for argv, _, texts in bake.calls if "docker-bake.hcl" not in argv)
    assert copied == text.replace("output", "cache-to")
    assert (tmp_path / "docker-bake.hcl").read_text() == text
    bake.outputs = {"target": {"orchestrate-0": {}}}
    bake.answers = [{"target": {"orchestrate-0": {}}}]
    assert buildx.resolve(call_in(tmp_path, text), {"app": None}) == {"app": {}}
    bake.answers, bake.outputs = [{"target": {"orchestrate-0": {}}}], "x\nERROR: no such file\n"
    with pytest.raises(MatrixError, match=r"the output of app cannot be read from docker-bake\.hcl: no such file"):
        buildx.resolve(call_in(tmp_path, text), {"app": None})


def test_a_file_without_an_output_is_asked_once(bake: Bake, tmp_path: Path) -> None:
    bake.answers = [{"target": {"orchestrate-0": {}}}]
    assert buildx.resolve(call_in(tmp_path), {"app": None}) == {"app": {}}
    assert len(bake.calls) == 1


def test_targets_that_are_not_there_are_named_with_their_places(bake: Bake, tmp_path: Path) -> None:
    listed = [{"name": "app"}, {"name": "all", "group": True, "description": "app, base"}]
    bake.answers = ["ERROR: failed to find target apq\n", listed]  # type: ignore[list-item]  # --list prints a list
    place = Place(file="matrix.yaml", line=3, column=20)
    with pytest.raises(MatrixError, match="2 of 3 bake targets cannot be built") as caught:
        buildx.resolve(call_in(tmp_path), {"apq": place, "all": place, "app": place})
    missing, group = caught.value.problems
    assert str(missing).startswith("matrix.yaml:3:20: bake target apq was not found in docker-bake.hcl")
    assert missing.hint == "did you mean app?"
    assert group.what == "bake target all does not match: expected a target, found a group of app, base"
    assert group.hint == "list its targets: targets: [app, base]"


@pytest.mark.parametrize("listed", [[{"name": "app"}], "no such option\n", [{"title": "app"}]])
def test_another_failure_is_buildxs_own_words(bake: Bake, tmp_path: Path, listed: Any) -> None:
    bake.answers = ["#1 x\nERROR: docker-bake.hcl:1: Unsupported block type\n", listed]
    said = "buildx cannot resolve app with docker-bake.hcl: docker-bake.hcl:1: Unsupported block type"
    with pytest.raises(MatrixError) as caught:
        buildx.resolve(call_in(tmp_path), {"app": None})
    assert caught.value.message == said


@pytest.mark.parametrize("answer", [{}, {"target": {}}, {"target": {"app": {}}}, {"target": None}])
def test_an_answer_without_targets_is_an_error(bake: Bake, tmp_path: Path, answer: dict[str, Any]) -> None:
    bake.answers = [answer]
    with pytest.raises(EnvironmentLacksError, match="`buildx bake --print` printed no targets"):
        buildx.resolve(call_in(tmp_path), {"app": None})


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ({}, "Dockerfile"),
        ({"context": "sub"}, "sub/Dockerfile"),
        ({"context": "cwd://sub", "dockerfile": "a/D"}, "sub/a/D"),
        ({"context": "sub", "dockerfile": "cwd://D"}, "D"),
        ({"dockerfile-inline": "FROM x"}, None),
        ({"dockerfile": "https://example.com/D"}, None),
        ({"context": "https://example.com/x.git"}, None),
        ({"context": "git@example.com:x"}, None),
        ({"context": "target:base"}, None),
    ],
)
def test_where_a_dockerfile_is(target: dict[str, str], path: str | None) -> None:
    assert buildx.dockerfile_path(Path("/r"), target) == (None if path is None else Path("/r", path))


def test_a_small_dockerfile_stands_in_for_a_missing_one(tmp_path: Path) -> None:
    (tmp_path / "dockerfile").write_text("FROM a\n")
    assert buildx.dockerfile_path(tmp_path, {}) == tmp_path / "dockerfile"
    assert buildx.dockerfile(tmp_path, {}) == ("FROM a\n", "")
    assert buildx.dockerfile_path(tmp_path, {"dockerfile": "Other"}) == tmp_path / "Other"
    (tmp_path / "Dockerfile").write_text("FROM b\n")
    assert buildx.dockerfile_path(tmp_path, {}) == tmp_path / "Dockerfile"


def test_why_a_dockerfile_cannot_be_read_here(tmp_path: Path) -> None:
    assert buildx.dockerfile(tmp_path, {"dockerfile-inline": "FROM x"}) == ("FROM x", "")
    remote = {"context": "https://me:pw@example.com/x.git"}
    assert buildx.dockerfile(tmp_path, remote) == (None, "the context example.com/x.git is remote")
    named = {"dockerfile": "https://example.com/D"}
    assert buildx.dockerfile(tmp_path, named) == (None, "the Dockerfile https://example.com/D is remote")
    with pytest.raises(MatrixError, match=r"Dockerfile: no such Dockerfile \(target final\)"):
        buildx.dockerfile(tmp_path, {"target": "final"})
    (tmp_path / "Dockerfile").write_bytes(b"\xff")
    with pytest.raises(MatrixError, match="cannot be read as UTF-8 text"):
        buildx.dockerfile(tmp_path, {})


def test_where_a_bake_file_says_a_text(tmp_path: Path) -> None:
    call = call_in(tmp_path, '# x.tar\nX = "x.tar"\n  output = ["dest=x.tar"]\n// output x.tar\n')
    assert buildx.place_of(call, "output", "x.tar") == Place(file="docker-bake.hcl", line=3, column=19)
    assert buildx.place_of(call, "tags", "x.tar") == Place(file="docker-bake.hcl", line=2, column=6)
    assert buildx.place_of(call, "output", "gone") == Place(file="docker-bake.hcl", line=1)


def test_the_line_that_says_what_is_wrong() -> None:
    assert buildx.last_error("#1 a\nERROR: first\nERROR: b\nc\n") == "b"
    assert buildx.last_error("a\n  b  \n\n") == "b"
    assert buildx.last_error("") == "no output"
