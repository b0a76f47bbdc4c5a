"""The bake file of a variant beside real buildx: what lists do, linked targets, groups, paths, outputs.

Every project here is built from nothing (FROM scratch), and what arrived is read from the image's labels.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from orchestrator.bake.file import LISTS
from orchestrator.engine.buildx import BakeCall, resolve
from orchestrator.entries import read_entry
from orchestrator.errors import MatrixError, Place

COMMAND = Path(sys.executable).parent / "orchestrate"
ID = "app-cu130-amd64"
MATRIX = """\
version: 1
image: acme/app
bake: {files: docker-bake.hcl, targets: [app]}
arch_lists: {all: 8.0 9.0}
cuda: {"13.0": {version: 13.0.2}}
platforms: {linux/amd64: {}}
variants:
  arch_list: all
  args: {CUDA_VERSION: "{cuda.version}"}
cache: {backend: "off"}
"""
TWO: dict[str, tuple[Any, Any]] = {
    "annotations": (["manifest:a=1"], ["manifest:b=2"]),
    "args": ({"A": "1"}, {"B": "2"}),
    "attest": (["type=sbom"], ["type=provenance,mode=max"]),
    "cache-from": (["type=registry,ref=a"], ["type=registry,ref=b"]),
    "cache-to": (["type=registry,ref=a"], ["type=registry,ref=b"]),
    "contexts": ({"a": "docker-image://a"}, {"b": "docker-image://b"}),
    "entitlements": (["network.host"], ["security.insecure"]),
    "extra-hosts": ({"a": "10.0.0.1"}, {"b": "10.0.0.2"}),
    "labels": ({"a": "1"}, {"b": "2"}),
    "no-cache-filter": (["a"], ["b"]),
    "output": (["type=cacheonly"], ["type=registry"]),
    "platforms": (["linux/amd64"], ["linux/arm64"]),
    "secret": (["id=a,env=A"], ["id=b,env=B"]),
    "ssh": (["a=agent"], ["b=agent"]),
    "tags": (["a:1"], ["b:2"]),
    "ulimits": (["nofile=1:1"], ["nproc=2:2"]),
}
"""Attribute -> what a target says, and what one that inherits it says."""


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def run(root: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(COMMAND), *words],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=120,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "NO_COLOR": "1", **env},
    )


def labels(archive: Path) -> dict[str, str]:
    """The labels of the only image of an OCI archive."""

    def blob(digest: str) -> dict[str, Any]:
        with tarfile.open(archive) as opened:
            stream = opened.extractfile(f"blobs/{digest.replace(':', '/')}")
            assert stream is not None
            found: dict[str, Any] = json.load(stream)
            return found

    with tarfile.open(archive) as opened:
        stream = opened.extractfile("index.json")
        assert stream is not None
        found = json.load(stream)["manifests"][0]
    manifest = blob(found["digest"])
    if "manifests" in manifest:
        manifest = blob(manifest["manifests"][0]["digest"])
    found_labels: dict[str, str] = blob(manifest["config"]["digest"])["config"]["Labels"]
    return found_labels


# -- attributes that a target inherits --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def inherited(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A target that inherits every attribute and says each itself, as buildx resolves it."""
    root = tmp_path_factory.mktemp("lists")
    base = {name: first for name, (first, _) in TWO.items()}
    own = {name: second for name, (_, second) in TWO.items()}
    (root / "docker-bake.json").write_text(json.dumps({"target": {"base": base, "own": {"inherits": ["base"], **own}}}))
    with socket.socket(socket.AF_UNIX) as agent:
        with contextlib.chdir(root):  # the name of a socket is short
            agent.bind("agent")
        agent.listen()
        argv = ["docker", "buildx", "bake", "-f", "docker-bake.json", "--print", "own"]
        done = subprocess.run(argv, cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)["target"]["own"]
    return found


def test_the_table_has_every_list() -> None:
    assert set(LISTS) == set(TWO)


@pytest.mark.parametrize("name", sorted(TWO))
def test_what_buildx_does_with_a_list_that_is_inherited(name: str, inherited: dict[str, Any]) -> None:
    found = inherited[name]
    shown = json.dumps(found)
    kept = all(json.dumps(value) in shown for value in _values(TWO[name][0]))
    assert all(json.dumps(value) in shown for value in _values(TWO[name][1]))
    assert kept == (LISTS[name] != "replaced")
    assert len(found) == (2 if kept else 1)


def _values(said: Any) -> list[Any]:
    """The texts that tell an entry from another."""
    if isinstance(said, dict):
        return list(said.values())
    entries = [read_entry(one) for one in said if one.startswith(("type=", "id="))]
    if entries:
        return [next(reversed(one.values())) for one in entries]
    return [one.removesuffix("=agent") for one in said]


# -- linked targets ---------------------------------------------------------------------------------------------------

LINKED = {
    "matrix.yaml": MATRIX,
    "docker-bake.hcl": """\
target "_base" { args = { CUDA_VERSION = "12.4.1" } }
target "base" {
  inherits = ["_base"]
  dockerfile = "base.Dockerfile"
}
target "app" { contexts = { base = "target:base" } }
""",
    "base.Dockerfile": "FROM scratch\nARG CUDA_VERSION\nLABEL base=$CUDA_VERSION\nCOPY base.Dockerfile /\n",
    "Dockerfile": "FROM base\nARG CUDA_VERSION\nLABEL app=$CUDA_VERSION\n",
}


@pytest.mark.parametrize("reads", ["both", "base", "app"])
def test_a_linked_target_is_built_for_the_variant(engine: str, tmp_path: Path, reads: str) -> None:
    write(tmp_path, LINKED)
    without = {"base": "Dockerfile", "app": "base.Dockerfile"}.get(reads)
    if without:
        text = (tmp_path / without).read_text()
        (tmp_path / without).write_text(text.replace("ARG CUDA_VERSION\n", "ENV CUDA_VERSION=none\n"))
    done = run(tmp_path, "build", "--output", "out")
    assert done.returncode == 0, done.stderr
    found = labels(tmp_path / "out" / f"{ID}.tar")
    assert found["base"] == ("none" if reads == "app" else "13.0.2")
    assert found["app"] == ("none" if reads == "base" else "13.0.2")


def test_an_argument_that_nothing_of_the_graph_consumes(engine: str, tmp_path: Path) -> None:
    write(tmp_path, LINKED | {"matrix.yaml": MATRIX.replace("CUDA_VERSION:", "CUDA_VERSIONS:")})
    done = run(tmp_path, "build")
    assert done.returncode == 2
    assert (
        "matrix.yaml:9:25: app-cu130-amd64: target app and the linked base do not consume CUDA_VERSIONS"
        in done.stdout + done.stderr
    )


def test_contexts_and_secrets_that_nothing_uses(engine: str, tmp_path: Path) -> None:
    more = "  contexts: {one: ., two: .}\n  secrets: ['id=ca,src=matrix.yaml', 'id=other,src=matrix.yaml']\n"
    base = "FROM scratch\nARG CUDA_VERSION\nCOPY --from=two matrix.yaml /\n"
    write(tmp_path, LINKED | {"matrix.yaml": MATRIX.replace("cache:", f"{more}cache:"), "base.Dockerfile": base})
    (tmp_path / "Dockerfile").write_text("FROM base\nRUN --mount=type=secret,id=other true\n")
    done = run(tmp_path, "build")
    assert done.returncode == 2
    said = done.stdout + done.stderr
    assert "do not use the named context one" in said
    assert "do not mount the secret ca" in said
    assert "context two" not in said
    assert "secret other" not in said


# -- targets that are none --------------------------------------------------------------------------------------------

FORMS = """\
group "both" { targets = ["app", "app-slim"] }
target "app" {}
target "many" {
  name = "many-${size}"
  matrix = { size = ["slim", "full"] }
  labels = { size = size }
}
"""


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("apps", "bake target apps was not found in docker-bake.hcl; did you mean app?"),
        ("both", "bake target both does not match: expected a target, found a group of app, app-slim"),
        ("many", "bake target many does not match: expected a target, found a group of many-full, many-slim"),
    ],
)
def test_what_is_no_target_is_told_with_its_place(tmp_path: Path, name: str, said: str) -> None:
    write(tmp_path, {"docker-bake.hcl": FORMS.replace(', "app-slim"', ', "many-slim"')})
    bake = BakeCall(docker=("docker",), files=("docker-bake.hcl",), root=tmp_path)
    place = Place(file="matrix.yaml", line=3, column=7)
    with pytest.raises(MatrixError) as caught:
        resolve(bake, {"app": None, name: place})
    (problem,) = caught.value.problems
    assert str(problem).startswith(f"matrix.yaml:3:7: {said.replace('app-slim', 'many-slim')}")


def test_a_target_that_a_matrix_makes(tmp_path: Path) -> None:
    write(tmp_path, {"docker-bake.hcl": FORMS})
    bake = BakeCall(docker=("docker",), files=("docker-bake.hcl",), root=tmp_path)
    assert resolve(bake, {"many-full": None})["many-full"]["labels"] == {"size": "full"}


# -- Dockerfiles ------------------------------------------------------------------------------------------------------

TEXT = "FROM scratch\nARG CUDA_VERSION\nLABEL app=$CUDA_VERSION\nCOPY file /file\n"


@pytest.mark.parametrize(
    ("target", "place"),
    [
        ('context = "src"', "src/Dockerfile"),
        ('context = "src"', "src/dockerfile"),
        ('context = "./src/../src"\ndockerfile = "../docker/app"', "docker/app"),
        ('context = "src"\ndockerfile = "cwd://docker/app"', "docker/app"),
        ('context = "cwd://src"\ndockerfile = "app.Dockerfile"', "src/app.Dockerfile"),
    ],
)
def test_a_dockerfile_is_found_where_buildx_finds_it(engine: str, tmp_path: Path, target: str, place: str) -> None:
    write(tmp_path, {"matrix.yaml": MATRIX, "docker-bake.hcl": f'target "app" {{\n{target}\n}}\n', place: TEXT})
    write(tmp_path, {"src/file": "x"})
    done = run(tmp_path, "build", "--output", "out")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "not checked" not in done.stdout + done.stderr
    assert labels(tmp_path / "out" / f"{ID}.tar")["app"] == "13.0.2"


# -- annotations, and the explanation ---------------------------------------------------------------------------------


@pytest.mark.parametrize("attest", ["", "  attest: {provenance: 'off'}\n"], ids=["attested", "plain"])
@pytest.mark.parametrize("words", [(), ("--load",), ("--output", "out"), ("--push",)], ids=" ".join)
def test_annotations_with_every_exporter(
    engine: str, tmp_path: Path, tmp_image: str, words: tuple[str, ...], attest: str
) -> None:
    said = '["index:a=1", "index-descriptor:b=2", "manifest:c=3", "manifest-descriptor:d=4", "e=5"]'
    bake = f'target "app" {{\n  annotations = {said}\n  output = ["type=image,compression=zstd"]\n}}\n'
    matrix = MATRIX.replace("cache:", f"  tags: ['{{image}}:x']\n{attest}cache:").replace("acme/app", tmp_image)
    write(tmp_path, {"matrix.yaml": matrix, "docker-bake.hcl": bake})
    (tmp_path / "Dockerfile").write_text("FROM scratch\nARG CUDA_VERSION\nLABEL a=$CUDA_VERSION\nCOPY Dockerfile /\n")
    done = run(tmp_path, "build", *words, "--report", "r.json")
    assert done.returncode == 0, done.stdout + done.stderr
    (variant,) = json.loads((tmp_path / "r.json").read_text())["variants"]
    assert ("compression=zstd" in variant["output"]) == bool(words)


def test_which_target_consumes_an_argument(tmp_path: Path) -> None:
    write(tmp_path, LINKED)
    (tmp_path / "Dockerfile").write_text("FROM base\n")
    done = run(tmp_path, "plan", "--explain", ID)
    assert done.returncode == 0, done.stderr
    assert "consumed by\n  CUDA_VERSION: base\n" in done.stdout
    assert "not checked" in run(tmp_path, "plan", "--explain", ID, ORCHESTRATE_DOCKER="/none").stdout
