"""Bake files as large projects write them: every variant is checked before a build, with the installed command.

vLLM's are its own, from its source distributions. The one with 25 targets is ours, in the form of those that ship one
image for each pair of a framework and a CUDA release: loops over lists of objects, names made from them, groups, named
contexts, inheritance.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.bake import preflight
from orchestrator.bake.file import Extras, Output
from orchestrator.bake.preflight import Arrival, NotArrivedError
from orchestrator.matrix import expand, load
from orchestrator.runs import jobs
from orchestrator.runs.preflight import injected
from orchestrator.runs.targets import bake_call
from tests.support.artifacts import download
from tests.support.engine import ROOT

if TYPE_CHECKING:
    from orchestrator.matrix.variants import Variant

COMMAND = Path(sys.executable).parent / "orchestrate"

# -- 25 targets -------------------------------------------------------------------------------------------------------

BAKE = """\
variable "REGISTRY" { default = "registry.example/pods" }
variable "RELEASE" { default = "0.0.0" }

variable "TOOLKITS" {
  default = [
    { version = "12.4.1", systems = ["22.04"] },
    { version = "12.6.3", systems = ["22.04", "24.04"] },
    { version = "12.8.1", systems = ["22.04", "24.04"] },
  ]
}

variable "FRAMEWORKS" {
  default = [
    { torch = "2.5.1", wheels = "cu124", python = "3.11" },
    { torch = "2.6.0", wheels = "cu126", python = "3.11" },
    { torch = "2.7.1", wheels = "cu128", python = "3.12" },
    { torch = "2.8.0", wheels = "cu128", python = "3.12" },
  ]
}

variable "BUILDS" {
  default = flatten([
    for toolkit in TOOLKITS : [
      for system in toolkit.systems : [
        for framework in FRAMEWORKS : {
          cuda   = toolkit.version
          system = system
          name   = join("-", ["torch${digits(framework.torch)}", "cu${digits(toolkit.version)}", "u${digits(system)}"])
          torch  = framework.torch
          python = framework.python
          index  = "https://wheels.example/${framework.wheels}"
        }
      ]
    ]
  ])
}

function "digits" {
  params = [version]
  result = replace(version, ".", "")
}

function "reference" {
  params = [name]
  result = ["${REGISTRY}/torch:${RELEASE}-${name}", RELEASE == "0.0.0" ? "" : "${REGISTRY}/torch:${name}"]
}

group "default" { targets = ["images", "bases"] }
group "images" { targets = [for build in BUILDS : build.name] }
group "bases" { targets = ["base-2204", "base-2404"] }

target "_shared" {
  dockerfile = "images/Dockerfile"
  contexts   = { scripts = "shared/scripts" }
  labels     = { "org.opencontainers.image.vendor" = "pods", literal = "$${HOME} %%{x}" }
}

target "base" {
  name     = "base-${digits(system)}"
  matrix   = { system = ["22.04", "24.04"] }
  inherits = ["_shared"]
  target   = "base"
  args     = { SYSTEM = system }
}

target "torch" {
  name     = build.name
  matrix   = { build = BUILDS }
  inherits = ["_shared"]
  target   = length(regexall("12.4", build.cuda)) > 0 ? "legacy" : "image"
  tags     = compact(reference(build.name))
  contexts = { start = "target:base-${digits(build.system)}" }
  args = {
    SYSTEM        = build.system
    CUDA          = build.cuda
    TORCH_VERSION = build.torch
    TORCH_INDEX   = build.index
    PYTHON        = build.python
  }
}

target "docs" {
  name              = "docs-${language}"
  matrix            = { language = ["en", "de", "zh"] }
  context           = "shared"
  dockerfile-inline = <<EOT
FROM scratch
ARG CUDA_VERSION
ARG ARCHS
COPY scripts /docs
LABEL of=$CUDA_VERSION for=$ARCHS
EOT
}
"""

DOCKERFILE = """\
ARG SYSTEM
ARG CUDA=12.8.1
FROM nvidia/cuda:${CUDA}-devel-ubuntu${SYSTEM} AS base
ARG CUDA_VERSION
ARG ARCHS
COPY --from=scripts . /scripts
RUN /scripts/prepare --cuda "$CUDA_VERSION" --for "$ARCHS"

FROM start AS image
ARG CUDA_VERSION
ARG ARCHS
ARG TORCH_VERSION
ARG TORCH_INDEX
ARG PYTHON
RUN uv pip install --python $PYTHON torch==$TORCH_VERSION --index $TORCH_INDEX && echo "$CUDA_VERSION $ARCHS"

FROM image AS legacy
RUN /scripts/legacy
"""

MATRIX = """\
version: 1
image: {registry}/pods
bake: {{files: [docker-bake.hcl], targets: [{targets}]}}
arch_lists: {{all: 8.0 8.6 9.0+PTX}}
cuda: {{"12.8": {{version: 12.8.1}}}}
platforms: {{linux/amd64: {{}}}}
variants:
  arch_list: all
  args: {{CUDA_VERSION: "{{cuda.version}}", ARCHS: "{{archs.torch}}"}}
  tags: ["{{image}}:{{target}}"]
cache: {{backend: "off"}}
"""


def printed(root: Path, *names: str) -> dict[str, Any]:
    argv = ["docker", "buildx", "bake", "--print", *names]
    done = subprocess.run(argv, cwd=root, capture_output=True, check=True, stdin=subprocess.DEVNULL)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def orchestrate(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, *words], cwd=root, capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL
    )


@pytest.fixture
def pods(tmp_path: Path, registry: object) -> tuple[Path, list[str]]:
    """The project, and the names of its targets: 20 images, two bases that they link to, three of text alone."""
    for name in ("images", "shared/scripts"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "docker-bake.hcl").write_text(BAKE)
    (tmp_path / "images/Dockerfile").write_text(DOCKERFILE)
    names = sorted([*printed(tmp_path)["target"], "docs-en", "docs-de", "docs-zh"])
    (tmp_path / "matrix.yaml").write_text(MATRIX.format(registry=registry, targets=", ".join(names)))
    return tmp_path, names


def test_loops_names_and_groups_are_checked_and_stay_as_bake_reads_them(pods: tuple[Path, list[str]]) -> None:
    root, names = pods
    assert len(names) == 25
    done = orchestrate(root, "plan", "--preflight", "--format", "json")
    assert done.returncode == 0, done.stdout + done.stderr
    found = {one["id"]: one for one in json.loads(done.stdout)["variants"]}
    assert found.keys() == {f"{name}-cu128-amd64" for name in names}
    assert {(one["status"], *one["notes"]) for one in found.values()} == {("checked",)}
    assert {"TORCH_VERSION", "SYSTEM", "CUDA", "ARCHS"} <= set(found["torch271-cu1281-u2404-cu128-amd64"]["consumes"])

    ours = json.loads(orchestrate(root, "plan", "--format", "bake").stdout)["target"]
    theirs = printed(root, *names)["target"]
    for name in names:
        mine, plain = ours[f"{name}-cu128-amd64"], theirs[name]
        given = {"CUDA_VERSION": "12.8.1", "ARCHS": "8.0 8.6 9.0+PTX"}
        assert mine["args"] == plain.get("args", {}) | given
        for kept in ("context", "dockerfile", "dockerfile-inline", "target"):
            assert mine.get(kept) == plain.get(kept), (name, kept)
        assert mine["labels"].items() >= plain.get("labels", {}).items()
        linked = dict(plain.get("contexts", {}))
        if "start" in linked:
            base = linked["start"].removeprefix("target:")
            linked["start"] = f"target:{name}-cu128-amd64--{base}"
            assert ours[linked["start"].removeprefix("target:")]["args"] == theirs[base]["args"] | given
        assert mine.get("contexts", {}) == linked


def test_a_group_is_no_target(pods: tuple[Path, list[str]]) -> None:
    root, _ = pods
    text = (root / "matrix.yaml").read_text()
    (root / "matrix.yaml").write_text(text.replace("targets: [", "targets: [bases, "))
    done = orchestrate(root, "plan", "--preflight")
    assert done.returncode == 2
    assert "matrix.yaml:3:" in done.stderr
    assert "expected a target, found a group of base-2204, base-2404" in done.stderr


# -- vLLM -------------------------------------------------------------------------------------------------------------


def vllm(root: Path, version: str) -> Path:
    """The bake file and the Dockerfile of a release, with the matrix of examples/vllm."""
    (root / "docker").mkdir()
    with tarfile.open(download(f"vllm=={version}", sdist=True)) as archive:
        for name in ("docker/Dockerfile", "docker/docker-bake.hcl"):
            stream = archive.extractfile(f"vllm-{version}/{name}")
            assert stream is not None
            (root / name).write_bytes(stream.read())
    (root / "matrix.yaml").write_bytes((ROOT / "examples/vllm/matrix.yaml").read_bytes())
    return root


def arrivals(root: Path) -> list[tuple[Variant, Arrival]]:
    plan = expand.plan(load.load(root / "matrix.yaml"), fact=lambda _name: "0" * 40)
    call = bake_call(plan, ("docker",))
    files = jobs.bake_files(plan, call, output=Output(push=True))
    found = preflight.arrivals(call, [files[variant.id] for variant in plan.variants])
    return [(one, arrival) for one, arrival in zip(plan.variants, found, strict=True) if isinstance(arrival, Arrival)]


@pytest.mark.download
@pytest.mark.parametrize("version", ["0.20.0", "0.33.0"])
def test_every_variant_of_vllm_is_checked(engine: str, tmp_path: Path, version: str) -> None:
    found = arrivals(vllm(tmp_path, version))
    assert len(found) == 8
    for variant, arrival in found:
        assert arrival.checked, (variant.id, arrival.why_not)
        preflight.check(arrival, injected(variant, Extras()), variant=variant.id)
        assert arrival.consumed["torch_cuda_arch_list"] == " ".join(map(str, variant.archs.effective))
        assert len(arrival.consumed) > 40


@pytest.mark.download
@pytest.mark.parametrize("version", ["0.20.0", "0.33.0"])
def test_the_image_of_vllms_own_tests_takes_other_arguments(engine: str, tmp_path: Path, version: str) -> None:
    root = vllm(tmp_path, version)
    path = root / "matrix.yaml"
    path.write_text(path.read_text().replace("    openai: {}\n", "    openai: {}\n    test: {tag_suffix: -test}\n"))
    tests = [(variant, arrival) for variant, arrival in arrivals(root) if variant.target == "test"]
    assert len(tests) == 4
    for variant, arrival in tests:
        with pytest.raises(NotArrivedError) as caught:
            preflight.check(arrival, injected(variant, Extras()), variant=variant.id)
        (problem,) = caught.value.problems
        assert problem.what == f"{variant.id}: target test does not consume INSTALL_KV_CONNECTORS"
