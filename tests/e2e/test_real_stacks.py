"""Two shapes of bake files that large projects have, in our own words: every variant is checked, and stays bake's.

The first has its versions in one file and its targets in another, and makes 25 targets of pairs that a filter leaves.
The second has a Dockerfile for each layer, whose FROM is an argument that names a linked target: a chain of three, with
a diamond in it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.test_real_projects import orchestrate, printed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MATRIX = """\
version: 1
image: {registry}/stack
bake: {{files: [{files}], targets: [{targets}]}}
arch_lists: {{all: 8.0 8.6 9.0+PTX}}
cuda: {{"12.8": {{version: 12.8.1}}, "13.0": {{version: 13.0.2}}}}
platforms: {{linux/amd64: {{}}}}
variants:
  arch_list: all
  args: {{CUDA_VERSION: "{{cuda.version}}", ARCHS: "{{archs.torch}}"}}
  tags: ["{{image}}:{{target}}-cu{{cuda.short}}"]
cache: {{backend: "off"}}
"""
GIVEN = {version[:4]: {"CUDA_VERSION": version, "ARCHS": "8.0 8.6 9.0+PTX"} for version in ("12.8.1", "13.0.2")}

# -- pairs that a filter leaves, versions in a file of their own ------------------------------------------------------

VERSIONS = """\
RELEASE = "1.4.0"
variable "SUFFIX" { default = "" }
SYSTEMS = [{ number = "22.04", name = "jammy" }, { number = "24.04", name = "noble" }]
TOOLKITS = [
  { version = "12.8.1", systems = ["22.04", "24.04"] },
  { version = "12.9.0", systems = ["22.04", "24.04"] },
  { version = "13.0.0", systems = ["24.04"] },
]
target "_labels" {
  labels = { vendor = "pods", "org.opencontainers.image.version" = "${RELEASE}${SUFFIX}" }
}
"""
PAIRS = """\
variable "FRAMEWORKS" {
  default = {
    "2.9.1" = {}
    "2.9.0" = { vision = "0.24.0" }
    "2.8.0" = { vision = "0.23.0" }
    "2.7.1" = { vision = "0.22.1" }
    "2.6.0" = { vision = "0.21.0" }
  }
}
variable "PAIRS" {
  default = flatten([
    for toolkit in ["12.8.1", "12.9.0", "13.0.0"] : [
      for framework in keys(FRAMEWORKS) : {
        toolkit   = toolkit
        framework = framework
        wheels    = framework == "2.6.0" ? "126" : substr(replace(toolkit, ".", ""), 0, 3)
      }
    ]
  ])
}
variable "ROWS" {
  default = flatten([
    for pair in PAIRS : [
      for toolkit in TOOLKITS : [
        for system in SYSTEMS : {
          system    = system.name
          code      = replace(toolkit.version, ".", "")
          wheels    = pair.wheels
          framework = pair.framework
          vision    = lookup(FRAMEWORKS[pair.framework], "vision", "")
        } if toolkit.version == pair.toolkit && contains(toolkit.systems, system.number)
      ]
    ]
  ])
}
function "named" {
  params = [row]
  result = "stack-${row.system}-cu${row.code}-torch${replace(row.framework, ".", "")}"
}
group "default" { targets = [for row in ROWS : named(row)] }
group "newest" { targets = [for row in ROWS : named(row) if row.code == "1300"] }
target "stack-base" {
  inherits   = ["_labels"]
  context    = "templates/stack"
  dockerfile = "Dockerfile"
  platforms  = ["linux/amd64"]
  labels     = { "org.opencontainers.image.title" = "Stack" }
}
target "stack" {
  matrix   = { row = ROWS }
  name     = named(row)
  inherits = ["stack-base"]
  args = {
    BASE_IMAGE = "pods/base:${RELEASE}${SUFFIX}-cuda${row.code}-${row.system}"
    WHEELS     = row.wheels
    PACKAGES   = "torch==${row.framework}${row.vision != "" ? " torchvision==${row.vision}" : ""}"
  }
  tags = ["pods/stack:${RELEASE}${SUFFIX}-${named(row)}"]
}
"""
STACK = """\
ARG BASE_IMAGE
FROM ${BASE_IMAGE}
ARG PACKAGES
ARG WHEELS
ARG CUDA_VERSION
ARG ARCHS
RUN pip install ${PACKAGES} --index-url https://wheels.example/cu${WHEELS} && echo "$CUDA_VERSION $ARCHS"
"""

# -- a Dockerfile for each layer, FROM an argument that names a linked target ------------------------------------------

LAYERS = """\
variable "DISTRIBUTION" { default = "jazzy" }
group "default" { targets = ["world", "world-gpu"] }
target "metadata-world" {}
target "ground" {
  dockerfile = "layers/ground.Dockerfile"
  target     = "ground"
  args       = { DISTRIBUTION = DISTRIBUTION }
}
target "kernel" {
  dockerfile = "layers/kernel.Dockerfile"
  target     = "kernel"
  contexts   = { robot-ground = "target:ground" }
  args       = { BASE_IMAGE = "robot-ground" }
}
target "kernel-devel" {
  inherits = ["kernel"]
  target   = "kernel-devel"
}
target "world" {
  inherits   = ["metadata-world"]
  dockerfile = "layers/world.Dockerfile"
  target     = "world"
  contexts   = { robot-kernel-devel = "target:kernel-devel", robot-kernel = "target:kernel" }
  args       = { DEVEL_IMAGE = "robot-kernel-devel", KERNEL_IMAGE = "robot-kernel" }
}
target "world-gpu" {
  inherits = ["world"]
  target   = "world-gpu"
}
"""
DOCKERFILES = {
    "ground": "ARG DISTRIBUTION\nFROM ros:${DISTRIBUTION} AS ground\nARG CUDA_VERSION\nRUN cuda $CUDA_VERSION\n",
    "kernel": (
        "# check=skip=InvalidDefaultArgInFrom\nARG BASE_IMAGE\nFROM ${BASE_IMAGE} AS kernel\n"
        "COPY --parents src/**/package.xml /deps/\nARG ARCHS\nRUN compile --for \"$ARCHS\"\n"
        "FROM kernel AS kernel-devel\nRUN compile --headers\n"
    ),
    "world": (
        "# check=skip=InvalidDefaultArgInFrom\nARG DEVEL_IMAGE\nARG KERNEL_IMAGE\nFROM ${DEVEL_IMAGE} AS built\n"
        "ARG ARCHS\nARG CUDA_VERSION\nRUN compile --world --for \"$ARCHS\" --cuda $CUDA_VERSION\n"
        "FROM ${KERNEL_IMAGE} AS world\nCOPY --from=built /opt/world /opt/world\n"
        "FROM world AS world-gpu\nRUN install tensorrt\n"
    ),
}  # fmt: skip


def write(root: Path, files: Mapping[str, str], registry: object, bake: list[str], targets: list[str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    names = {"registry": registry, "files": ", ".join(bake), "targets": ", ".join(targets)}
    (root / "matrix.yaml").write_text(MATRIX.format(**names))


def checked(root: Path) -> dict[str, dict[str, Any]]:
    """Every variant of `plan --preflight`, each of them checked and without a remark."""
    done = orchestrate(root, "plan", "--preflight", "--no-push", "--format", "json")
    assert done.returncode == 0, done.stdout + done.stderr
    found = {one["id"]: one for one in json.loads(done.stdout)["variants"]}
    assert {(one["status"], *one["notes"]) for one in found.values()} == {("checked",)}
    return found


def same(ours: dict[str, Any], theirs: dict[str, Any], mine: str, plain: str, variant: str) -> set[str]:
    """Require that a target of ours is bake's with the variant's arguments, and so is all that it links to.

    Returns:
        The linked targets.
    """
    given = GIVEN["12.8" if "-cu128-" in variant else "13.0"]
    found, asked = ours[mine], theirs[plain]
    assert found["args"] == asked.get("args", {}) | given
    for kept in ("context", "dockerfile", "dockerfile-inline", "target"):
        assert found.get(kept) == asked.get(kept), (mine, kept)
    assert found.get("labels", {}).items() >= asked.get("labels", {}).items()
    assert found.get("contexts", {}).keys() == asked.get("contexts", {}).keys()
    linked = set()
    for name, value in asked.get("contexts", {}).items():
        base = value.removeprefix("target:")
        assert found["contexts"][name] == f"target:{variant}--{base}"
        linked |= {base} | same(ours, theirs, f"{variant}--{base}", base, variant)
    return linked


def test_pairs_that_a_filter_leaves_are_checked_and_stay_as_bake_reads_them(tmp_path: Path, registry: object) -> None:
    bake = ["templates/shared/versions.hcl", "templates/stack/docker-bake.hcl"]
    files = dict(zip(bake, (VERSIONS, PAIRS), strict=True)) | {"templates/stack/Dockerfile": STACK}
    write(tmp_path, files, registry, bake, ["none"])
    theirs = printed(tmp_path, *(word for name in bake for word in ("-f", name)))["target"]
    assert len(theirs) == 25
    write(tmp_path, files, registry, bake, list(theirs))
    found = checked(tmp_path)
    assert len(found) == 50
    for one in found.values():
        assert {"BASE_IMAGE", "PACKAGES", "WHEELS", "CUDA_VERSION", "ARCHS"} == set(one["consumes"])
    ours = json.loads(orchestrate(tmp_path, "plan", "--format", "bake").stdout)["target"]
    for name in theirs:
        for release in ("cu128", "cu130"):
            variant = f"{name}-{release}-amd64"
            assert same(ours, theirs, variant, name, variant) == set()


@pytest.mark.parametrize("target", ["world", "world-gpu"])
def test_a_chain_of_linked_targets_is_checked_to_its_end(tmp_path: Path, registry: object, target: str) -> None:
    files = {f"layers/{name}.Dockerfile": text for name, text in DOCKERFILES.items()} | {"docker-bake.hcl": LAYERS}
    write(tmp_path, files, registry, ["docker-bake.hcl"], [target])
    found = checked(tmp_path)
    assert len(found) == 2
    for one in found.values():
        assert {"CUDA_VERSION", "ARCHS", "DISTRIBUTION", "BASE_IMAGE", "DEVEL_IMAGE", "KERNEL_IMAGE"} == set(
            one["consumes"]
        )
    ours = json.loads(orchestrate(tmp_path, "plan", "--format", "bake").stdout)["target"]
    theirs = printed(tmp_path, target)["target"]
    for release in ("cu128", "cu130"):
        variant = f"{target}-{release}-amd64"
        assert same(ours, theirs, variant, target, variant) == {"ground", "kernel", "kernel-devel"}
    assert len(ours) == 8  # two variants, each with its own three


def test_a_layer_below_that_keeps_its_own_release_is_refused(tmp_path: Path, registry: object) -> None:
    """The top is told 13.0.2, and the ground is built for 12.4.1: an ENV hides the argument."""
    files = {f"layers/{name}.Dockerfile": text for name, text in DOCKERFILES.items()} | {"docker-bake.hcl": LAYERS}
    path = "layers/ground.Dockerfile"
    files[path] = files[path].replace("ARG CUDA_VERSION\n", "ARG CUDA_VERSION\nENV CUDA_VERSION=12.4.1\n")
    write(tmp_path, files, registry, ["docker-bake.hcl"], ["world"])
    done = orchestrate(tmp_path, "plan", "--preflight", "--no-push")
    assert done.returncode == 2
    said = done.stdout + done.stderr
    loss = "ENV CUDA_VERSION at line 4 replaces the value of its ARG at line 3"
    for variant in ("world-cu128-amd64", "world-cu130-amd64"):
        assert f"{variant}: CUDA_VERSION does not reach a step of target ground: {loss}" in said
