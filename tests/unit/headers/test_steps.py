"""What single commands of a RUN step do: install, fetch over the network, prove checksums, hide a failure."""

from __future__ import annotations

import pytest

from orchestrator.dockerfile.commands import Command, commands
from orchestrator.dockerfile.stages import Step, parse
from orchestrator.headers.steps import (
    fetches,
    goes_on,
    ignored_failure,
    installs,
    program_of,
    proves_checksums,
    run_commands,
)

NEEDS_A_NETWORK = """\
add-apt-repository
apk update upgrade
apt update upgrade
apt-get update source build-dep download upgrade dist-upgrade
bundle install
cargo build install fetch update add vendor test run check
crane pull export
dnf update upgrade download builddep makecache group
docker pull build
gem install
git clone fetch pull submodule ls-remote
go get install mod build run test
hf download
huggingface-cli download
maturin build develop
npm install i ci update exec
npx
pdm install sync
pixi install
pnpm install i add fetch
poetry install add lock
rustup install update toolchain component target default self
rustup-init
rustup-init.sh
skopeo copy
svn checkout co
yarn install add
yum update upgrade makecache groupinstall
"""


def command(text: str) -> Command:
    (found,) = commands(text)
    return found


@pytest.mark.parametrize("line", NEEDS_A_NETWORK.splitlines())
def test_each_program_and_what_of_it_needs_a_network(line: str) -> None:
    name, *verbs = line.split()
    for verb in verbs:
        assert fetches(command(f"/usr/bin/{name} -q +stable {verb} x")) == f"{name} {verb}"
        if name != "git":
            assert fetches(command(f"{name} --offline {verb} x")) == ""
            assert fetches(command(f"{name} {verb} --no-index")) == ""
    assert fetches(command(f"{name} nothing")) == ""
    assert fetches(command(name)) == (name if not verbs or name in {"yarn", "bundle"} else "")


@pytest.mark.parametrize(
    ("text", "call"),
    [
        ("curl -O x", "curl"), ("wget --no-index x", "wget"), ("aria2c x", "aria2c"), ("curly x", ""),
        ("git -C d clone x", "git clone"), ("git status", ""), ("git -c a=b --offline fetch", "git fetch"),
        ("flashinfer download-cubin", "flashinfer download-cubin"), ("flashinfer show-config", ""),
        ("flashinfer install-cubin-wheel", "flashinfer install-cubin-wheel"), ("flashinfer x download-y", ""),
        ("pip install x", "pip install"), ("pip install --no-index x", ""), ("apt-get install x", "apt-get install"),
        ("pip wheel .", "pip wheel . (build isolation installs packages)"),
        ("pip3 -q wheel .", "pip3 -q wheel (build isolation installs packages)"),
        ("pip wheel --no-build-isolation .", ""), ("pip list", ""), ("pip a b wheel", ""),
        ("uv build", "uv build (build isolation installs packages)"), ("uv build --no-build-isolation", "uv build"),
        ("uv pip wheel x", "uv pip wheel (build isolation installs packages)"), ("uv x build", ""),
        ("python3 -m build", "python3 -m build (build isolation installs packages)"), ("python3 build", ""),
        ("python3 -m build --no-isolation", ""), ("python3 -m x build", ""), ("make build", ""), ("ls", ""),
    ],
)  # fmt: skip
def test_what_else_needs_a_network(text: str, call: str) -> None:
    assert fetches(command(text)) == call


@pytest.mark.parametrize(
    ("text", "call"),
    [
        ("pip install x", "pip install"), ("pip3.12 -q download x", "pip3.12 download"), ("pip freeze", ""),
        ("pip add", ""), ("pip sync", ""), ("python3 -m pip install x", "pip install"), ("python3 pip install x", ""),
        ("python3.12 -u -m pip download x", "pip download"), ("python3 -m x pip install", ""),
        ("perl -m pip install", ""), ("uv pip install x", "uv pip install"), ("uv pip sync x", ""),
        ("uv pip list", ""), ("uv add x", "uv add"), ("uv sync", "uv sync"), ("uv run x", "uv run"),
        ("uv tool x", "uv tool"), ("uv lock", "uv lock"), ("uv build", "uv build"), ("uv version", ""),
        ("uv x run", ""), ("uv venv", "uv venv"), ("uv venv --no-python-downloads", ""), ("uv", ""),
        ("uvx ruff", "uvx ruff"), ("uvx", ""), ("apk add x", "apk add"), ("apk install x", ""),
        ("apk --no-cache add x", "apk add"), ("apk del x", ""), ("make install", ""), ("apt-get remove x", ""),
        *((f"{name} -y install x", f"{name} install") for name in (
            "apt-get", "apt", "aptitude", "dnf", "yum", "microdnf", "zypper", "conda", "mamba", "micromamba",
        )),
        *((f"{name} add x", "") for name in ("apt-get", "dnf", "conda")),
    ],
)  # fmt: skip
def test_what_installs(text: str, call: str) -> None:
    assert installs(command(text)) == call


@pytest.mark.parametrize(
    ("text", "proves"),
    [
        ("sha256sum --check x", True), ("sha256sum -c x", True), ("sha256sum -sc x", True),
        ("sha256sum -cw x", True), ("sha256sum x", False), ("sha256sum --check --ignore-missing x", False),
        ("sha256sum --checks x", False), ("md5sum -c x", False), ("sha256sum -- c", False), ("sha256sum x-c", False),
    ],
)  # fmt: skip
def test_what_proves_checksums(text: str, *, proves: bool) -> None:
    assert proves_checksums(command(text)) is proves


@pytest.mark.parametrize(
    ("words", "program"),
    [
        (("python3", "-c", "P"), "P"), (("/usr/bin/python3.12", "-u", "-c", "P", "x"), "P"),
        (("python", "-Ic", "P"), "P"), (("python3", "script.py", "-c", "P"), ""), (("python3", "-c"), ""),
        (("python3", "-m", "x"), ""), (("perl", "-c", "P"), ""), (("python3", "-u", "-x"), ""), (("python3",), ""),
        (("python3", "-c1", "P"), ""),
    ],
)  # fmt: skip
def test_the_program_that_python_is_given(words: tuple[str, ...], program: str) -> None:
    assert program_of(Command(words=words)) == program


@pytest.mark.parametrize(
    ("text", "construct"),
    [
        ("set +e; x", "set +e"), ("set -e; x", ""), ("x +e", ""), ("x; true", "; true"), ("x; true; y", ""),
        ("x && true", ""), ("x; false", ""), ("x; exit 0", "exit 0"), ("x\nexit 0", "exit 0"), ("x; exit 1", ""),
        ("x; exit", ""), ("x; exit 0; y", ""), ("x && exit 0", ""), ("x || exit 0", "|| exit 0"),
        ("x || exit 1", ""), ("x || exit", ""), ("x || true", "|| true"), ("x || :", "|| :"),
        ("x || echo no", "|| echo"), ("x || printf no", "|| printf"), ("x || warn", ""),
        ("x || { echo no; exit 1; }", ""), ("x || { echo no; return 2; }", ""), ("x || { echo no; false; }", ""),
        ("x || { echo no; exit 0; }", "|| echo"), ("x || { echo no; }; exit 1", "|| echo"),
        ("x || (echo no; exit 1)", ""), ("x || (echo no); exit 1", "|| echo"), ("x || echo no; exit 1", "|| echo"),
        ("x && echo no", ""), ("flashinfer x | tee log", "| tee without pipefail"), ("make | tee log", ""),
        ("set -o pipefail; flashinfer x | tee log", ""), ("echo flashinfer | tee log", ""),
        ("printf FlashInfer | tee log", ""), ("cat flashinfer | tee log", ""),
        ("FlashInfer | cat", "| cat without pipefail"),
        ("set pipe; flashinfer x | tee log", "| tee without pipefail"),
        ("flashinfer x && tee log", ""), ("", ""),
    ],
)  # fmt: skip
def test_what_turns_a_failure_into_success(text: str, construct: str) -> None:
    assert ignored_failure(commands(text)) == construct


def step(text: str) -> Step:
    (stage,) = parse(f"FROM x\n{text}\n").stages
    return stage.steps[-1]


def test_a_run_step_starts_its_own_commands_and_those_of_its_documents() -> None:
    assert [one.name for one in run_commands(step("RUN a && b <<E\nc\nE"))] == ["a", "b", "c"]
    assert run_commands(step("ENV a=b")) == []


HARMLESS = (
    "echo printf cat mkdir rm rmdir ls chmod chown touch cd test [ [[ ln du export unset wc readlink head tail tee "
    "sort true :"
)


@pytest.mark.parametrize("name", HARMLESS.split())
def test_a_command_that_only_names_flashinfers_files_may_fail(name: str) -> None:
    assert not goes_on(step(f"RUN {name} flashinfer/headers; ok"), (), {})


@pytest.mark.parametrize(
    ("text", "goes"),
    [
        *((f"RUN get flashinfer {word}; ok", True) for word in ("headers", "cubin", "download", "kernels")),
        ("RUN get FlashInfer-Headers; ok", True), ("RUN get flashinfer; ok", False), ("RUN get headers; ok", False),
        ("RUN sha256sum -c x; ok", True), ("RUN sha256sum x; ok", False),
        ("RUN python3 - <<E ; ok\nimport flashinfer.headers\nE", True),
        ("RUN python3 a b c <<E ; ok\nimport flashinfer.headers\nE", False),
        ("RUN python3 a b <<E ; ok\nimport flashinfer.headers\nE", True),
        ("RUN perl <<E ; ok\nimport flashinfer.headers\nE", False),
        ("RUN python3 tools/get.py; ok", True), ("RUN python3 tools/other.py; ok", False),
        ("RUN python3 tools/get.txt; ok", False),
        ('RUN ["sh", "-c", "get flashinfer headers; ok"]', True), ('RUN ["get", "flashinfer", "headers"]', False),
        ("RUN <<E\nget flashinfer headers\nok\nE", True), ("RUN <<E\n#!/bin/sh\nget flashinfer headers\nok\nE", False),
        ("RUN sh <<E\nget flashinfer headers\nok\nE", True), ("RUN sh -e <<E\nget flashinfer headers\nok\nE", False),
        ("RUN bash <<E\nget flashinfer headers\nok\nE", True),
        ("RUN get flashinfer headers && cat <<E\nget flashinfer headers\nok\nE", False),
    ],
)  # fmt: skip
def test_a_step_that_goes_on_after_a_failure(text: str, *, goes: bool) -> None:
    scripts = {"get.py": "import FlashInfer.headers", "get.txt": "flashinfer headers"}
    assert goes_on(step(text), (), scripts) is goes
    if text.startswith("RUN get"):
        assert not goes_on(step(text), ("/bin/sh", "-ec"), scripts)
