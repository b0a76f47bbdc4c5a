"""Three projects in the shapes that public ones have, each written anew: path -> text."""

from __future__ import annotations

PODS = {
    ".github/workflows/build.yml": """\
name: build
on: push
jobs:
  build:
    runs-on: ubuntu-24.04
    strategy:
      matrix:
        cuda-version: ["12.4.1", "12.6.3"]
    steps:
      - uses: docker/bake-action@v6
        with:
          targets: torch
          set: |
            *.args.TORCH_CUDA_ARCH_LIST=7.5;8.0;8.6;8.9;9.0
""",
    "docker-bake.hcl": """\
# images of the pods: one for each pair of a toolkit and a Python
group "default" { targets = ["torch"] }
group "release" { targets = ["torch", "tools"] }

variable "REGISTRY" { default = "registry.example" }
variable "OWNER" { default = "acme/pods" }
variable "TORCH_CUDA_ARCH_LIST" {
  # Pascal is gone
  default = "7.5;8.0;8.6;8.9;9.0"
}
variable "MAX_JOBS" { default = "8" }

function "short" {
  params = [version]
  result = regex_replace(version, "^(\\\\d+)\\\\.(\\\\d+).*", "$1$2")
}
function "ref" {
  params = [name, tag]
  result = "${REGISTRY}/${OWNER}/${name}:${tag}"
}

target "docker-metadata-action" {}

target "_common" {
  inherits   = ["docker-metadata-action"]
  dockerfile = "images/torch/Dockerfile"
  platforms  = ["linux/amd64"]
  args = {
    TORCH_CUDA_ARCH_LIST = TORCH_CUDA_ARCH_LIST
    MAX_JOBS             = MAX_JOBS
  }
}

target "torch" {
  name     = "torch-cu${short(cuda)}-py${replace(python, ".", "")}"
  matrix   = { cuda = ["12.4.1", "12.6.3"], python = ["3.11", "3.12"] }
  inherits = ["_common"]
  target   = "image"
  args     = { CUDA_VERSION = cuda, PYTHON_VERSION = python }
  tags     = [ref("torch", "cu${short(cuda)}-py${python}")]
}

target "tools" {
  inherits = ["_common"]
  target   = "tools"
  tags     = [ref("tools", "latest")]
}
""",
    "images/torch/Dockerfile": """\
ARG CUDA_VERSION=12.4.1
FROM scratch AS tools
ARG TORCH_CUDA_ARCH_LIST
ARG MAX_JOBS
COPY images/torch/Dockerfile /recipe

FROM scratch AS image
ARG CUDA_VERSION
ARG PYTHON_VERSION
ARG TORCH_CUDA_ARCH_LIST
ARG MAX_JOBS
ENV TORCH_CUDA_ARCH_LIST=${TORCH_CUDA_ARCH_LIST}
LABEL cuda=${CUDA_VERSION} python=${PYTHON_VERSION} jobs=${MAX_JOBS}
COPY --from=tools /recipe /recipe
""",
}

SERVER = {
    "CMakeLists.txt": """\
cmake_minimum_required(VERSION 3.24)
set(CMAKE_CUDA_ARCHITECTURES 80-real 90-real 100-real)
project(server LANGUAGES CXX CUDA)
""",
    "build/gpu/Dockerfile": """\
ARG CUDA_VERSION=12.9.1
FROM scratch AS server
ARG CUDA_VERSION
ARG CMAKE_CUDA_ARCHITECTURES=80-real;90-real;100-real
LABEL archs=$CMAKE_CUDA_ARCHITECTURES cuda=$CUDA_VERSION
COPY CMakeLists.txt /
FROM scratch AS cli
ARG CUDA_VERSION
LABEL cuda=$CUDA_VERSION
COPY CMakeLists.txt /
""",
    "ci/build.sh": """\
#!/bin/sh
set -eu
cmake -S . -B out -DCMAKE_CUDA_ARCHITECTURES="80-real;90-real;100-real"
""",
    "docker-bake.hcl": """\
variable "CUDA" { default = "12.8.1" }
variable "ARCHS" { default = ["80", "90", "100"] }
function "cmake" {
  params = [list]
  result = join(";", [for one in list : "${one}-real"])
}
group "default" { targets = ["server", "cli"] }
target "_base" {
  context    = "."
  dockerfile = "build/gpu/Dockerfile"
  args = { CUDA_VERSION = CUDA }
}
target "server" {
  inherits = ["_base"]
  target   = "server"
  args     = { CMAKE_CUDA_ARCHITECTURES = cmake(ARCHS) }
  tags     = ["acme/server:dev"]
}
target "cli" {
  inherits = ["_base"]
  target   = "cli"
  tags     = ["acme/cli:dev"]
}
""",
    "docker-bake.override.hcl": """\
variable "CUDA" { default = "12.9.1" }
target "_base" {
  labels = { "org.opencontainers.image.vendor" = "acme" }
  platforms = ["linux/amd64", "linux/arm64"]
}
""",
}

WORKER = {
    "compose.yaml": """\
services:
  worker:
    image: acme/worker:dev
    build:
      context: .
      dockerfile: docker/Dockerfile
      target: worker
      args:
        CUDA_VERSION: 12.6.3
        TORCH_CUDA_ARCH_LIST: "8.0 8.9 9.0+PTX"
  cpu:
    image: acme/worker:cpu
    build:
      context: .
      dockerfile: docker/Dockerfile
      target: cpu
""",
    "docker/Dockerfile": """\
FROM scratch AS cpu
COPY compose.yaml /
FROM scratch AS worker
ARG CUDA_VERSION=12.6.3
ARG TORCH_CUDA_ARCH_LIST="8.0 8.9 9.0+PTX"
LABEL archs=$TORCH_CUDA_ARCH_LIST cuda=$CUDA_VERSION
COPY compose.yaml /
""",
}

SHAPES = {"pods": PODS, "server": SERVER, "worker": WORKER}
