"""Privileges: what `orchestrate build` refuses and what `docker buildx bake </dev/null` refuses are the same.

buildx checks with `--progress plain` and not with rawjson, which builds use; so each case is put to both.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.engine import call
from tests.support.toolchain import installed

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.download  # openssh-client, where it is missing

COMMAND = Path(sys.executable).parent / "orchestrate"
MATRIX = """\
version: 1
image: acme/app
bake: {files: docker-bake.json, targets: [app]}
arch_lists: {all: 8.0 9.0}
cuda: {"13.0": {version: 13.0.2}}
platforms: {linux/amd64: {}}
variants: {arch_list: all}
cache: {backend: "off"}
"""
REFUSED = "asked for and not allowed"
INLINE = {"dockerfile-inline": "FROM scratch\nLABEL a=b\n"}
CASES: dict[str, tuple[dict[str, Any], str]] = {
    "nothing": ({}, ""),
    "network": ({"network": "host"}, "network.host"),
    "network, as an entitlement": ({"entitlements": ["network.host"]}, "network.host"),
    "network of a linked target": ({"contexts": {"base": "target:base"}}, "network.host"),
    "insecure": ({"entitlements": ["security.insecure"]}, "security.insecure"),
    "devices": ({"entitlements": ["device"]}, "device"),
    "a device": ({"entitlements": ["device=vendor.com/class=name"]}, "device=vendor.com/class=name"),
    "agent": ({"ssh": ["default"]}, "ssh"),
    "socket": ({"ssh": ["default=OUTSIDE/agent"]}, "fs.read=AGENT"),
    "agent, for a repository": ({"context": "git@127.0.0.1:a/b.git", **INLINE}, "ssh"),
    "agent, for a repository of another user": ({"context": "me-2@127.0.0.1:a/b.git#main:sub", **INLINE}, "ssh"),
    "agent, for a URL": ({"context": "SSH://127.0.0.1:9/a/b.git", **INLINE}, "ssh"),
    "agent, for a linked target": ({"contexts": {"base": "target:remote"}}, "ssh"),
    "a repository with a key": ({"context": "git@127.0.0.1:a/b.git", "ssh": ["default=inside/key"], **INLINE}, ""),
    "a repository over https": ({"context": "https://127.0.0.1:9/a/b.git", **INLINE}, ""),
    "context": ({"context": "../outside"}, "fs.read=OUTSIDE"),
    "context of the working directory": ({"context": "cwd://../outside"}, "fs.read=OUTSIDE"),
    "named context": ({"contexts": {"x": "../outside"}}, "fs.read=OUTSIDE"),
    "named context behind a link": ({"contexts": {"x": "link"}}, "fs.read=OUTSIDE"),
    "named context inside": ({"contexts": {"x": "inside"}}, ""),
    "OCI layout": ({"contexts": {"x": "oci-layout://../outside"}}, ""),
    "image": ({"contexts": {"x": "docker-image://busybox"}}, ""),
    "Dockerfile": ({"context": "inside", "dockerfile": "../../outside/Dockerfile"}, "fs.read=OUTSIDE/Dockerfile"),
    "Dockerfile behind a link": ({"dockerfile": "link.Dockerfile"}, "fs.read=OUTSIDE/Dockerfile"),
    "Dockerfile, cwd://": ({"dockerfile": "cwd://../outside/Dockerfile"}, "fs.read=OUTSIDE/Dockerfile"),
    "secret": ({"secret": ["id=a,src=../outside/Dockerfile"]}, "fs.read=OUTSIDE/Dockerfile"),
    "secret inside": ({"secret": ["id=a,src=Dockerfile"]}, ""),
    "secret of the environment": ({"secret": ["id=PATH"]}, ""),
}


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real SSH agent: without one bake fails earlier, for another reason."""
    program = installed("ssh-agent", "openssh-client")
    socket = tmp_path_factory.mktemp("a") / "s"
    running = subprocess.Popen([program, "-D", "-a", str(socket)], stdout=subprocess.DEVNULL)
    while not socket.exists():
        assert running.poll() is None
    yield str(socket)
    running.terminate()
    running.wait(timeout=10)


@pytest.fixture
def project(tmp_path: Path, agent: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SSH_AUTH_SOCK", agent)
    root = tmp_path / "root"
    (root / "inside").mkdir(parents=True)
    outside = tmp_path / "outside"
    outside.mkdir()
    for path in (root / "Dockerfile", outside / "Dockerfile"):
        path.write_text("FROM scratch\nLABEL a=b\n")
    (outside / "agent").symlink_to(agent)
    call("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", root / "inside/key")
    (root / "link").symlink_to("../outside")
    (root / "link.Dockerfile").symlink_to("../outside/Dockerfile")
    (root / "matrix.yaml").write_text(MATRIX)
    empty = {"schemaVersion": 2, "manifests": []}
    (outside / "index.json").write_text(json.dumps(empty))
    return root


def write(root: Path, target: dict[str, Any]) -> None:
    linked = {"base": {"network": "host"}, "remote": {"context": "git@127.0.0.1:a/b.git", **INLINE}}
    text = json.dumps({"target": {"app": target, **linked}})
    (root / "docker-bake.json").write_text(text.replace("OUTSIDE", str(root.parent / "outside")))


def bake(root: Path) -> str:
    """The words that plain bake asks for, "" where it refuses nothing for want of privileges."""
    argv = ["docker", "buildx", "bake", "-f", "docker-bake.json", "--set", "app.output=type=cacheonly", "app"]
    done = subprocess.run(
        [*argv, "--progress", "plain"], cwd=root, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120
    )
    refused = "additional privileges requested" in done.stderr
    assert done.returncode != 0 or not refused
    return next(line for line in done.stderr.splitlines() if "to grant requested" in line) if refused else ""


def build(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    argv = [str(COMMAND), "build", *words]
    return subprocess.run(
        argv, cwd=root, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120,
        env={**os.environ, "NO_COLOR": "1"},
    )  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_our_answer_is_that_of_plain_bake(engine: str, project: Path, name: str) -> None:
    target, word = CASES[name]
    word = word.replace("OUTSIDE", str(project.parent / "outside")).replace("AGENT", os.environ["SSH_AUTH_SOCK"])
    write(project, target)
    asked = bake(project)
    assert bool(asked) == bool(word), asked
    done = build(project)
    refused = REFUSED in done.stdout
    assert refused == bool(word), done.stdout + done.stderr
    if not word:
        return
    assert done.returncode == 2
    assert f"--allow {word}" in done.stdout
    kind, _, value = word.partition("=")
    paths = [value, os.path.relpath(value, project) if value else ""]  # buildx shows a path in one of these ways
    assert any(f'"--allow={kind}={path}'.rstrip("=") in asked for path in paths)
    assert REFUSED not in build(project, "--allow", word).stdout  # what was said helps


def test_a_step_that_needs_what_its_target_does_not_ask_for(engine: str, project: Path) -> None:
    """BuildKit refuses it before the first step, with and without --allow; so do we, with the line."""
    text = "FROM scratch\nCOPY Dockerfile /\nRUN --network=host /nothing\n"
    (project / "Dockerfile").write_text(text)
    write(project, {})
    argv = ["docker", "buildx", "bake", "-f", "docker-bake.json", "--allow", "network.host", "app"]
    plain = subprocess.run(argv, cwd=project, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120)
    assert "network.host is not allowed" in plain.stderr
    done = build(project, "--allow", "network.host")
    assert done.returncode == 2
    assert "Dockerfile:3: app-cu130-amd64: RUN --network=host needs the network of the host" in done.stdout
    write(project, {"entitlements": ["network.host"]})
    assert (
        "additional privileges"
        in subprocess.run(
            [*argv[:5], "app"], cwd=project, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120
        ).stderr
    )
    done = build(project, "--allow", "network.host")
    assert done.returncode == 1  # it was run, and there is no such program
    assert "needs the network of the host" not in done.stdout


def test_what_is_allowed_reaches_the_build(engine: str, project: Path) -> None:
    (project.parent / "outside" / "key").write_text("from outside")
    (project / "Dockerfile").write_text("FROM scratch\nCOPY --from=x key /key\n")
    write(project, {"contexts": {"x": "../outside"}, "network": "host"})
    refused = build(project)
    assert refused.returncode == 2
    assert "docker-bake.json:1:" in refused.stdout
    allowed = build(project, "--allow", "fs.read=../outside", "--allow", "network.host")
    assert allowed.returncode == 0, allowed.stdout + allowed.stderr
    (project / "matrix.yaml").write_text(MATRIX.replace("targets: [app]", "targets: [app], allow: [network.host]"))
    assert build(project, "--allow", "fs=*").returncode == 0


def test_the_matrix_itself_asks_with_its_place(engine: str, project: Path) -> None:
    write(project, {})
    more = "variants: {arch_list: all, contexts: {x: ../outside}, secrets: ['id=s,src=/etc/hostname']}"
    text = MATRIX.replace("variants: {arch_list: all}", more).replace('{backend: "off"}', "{backend: local, dir: ../c}")
    (project / "matrix.yaml").write_text(text)
    (project / "Dockerfile").write_text("FROM x\nRUN --mount=type=secret,id=s true\n")
    done = build(project)
    assert done.returncode == 2
    assert f"matrix.yaml:7:42: app-cu130-amd64: reading {project.parent}/outside is not allowed" in done.stdout
    assert "matrix.yaml:7:65: app-cu130-amd64: reading /etc/hostname is not allowed" in done.stdout
    assert f"matrix.yaml:8:30: app-cu130-amd64: writing {project.parent}/c is not allowed" in done.stdout


@pytest.mark.parametrize("word", ["ssh", "security.insecure", "fs.read=/", "fs=*"])
def test_the_matrix_allows_no_more_than_it_may(project: Path, word: str) -> None:
    write(project, {})
    text = MATRIX.replace("targets: [app]", f"targets: [app], allow: ['{word}']")
    (project / "matrix.yaml").write_text(text)
    done = build(project)
    assert done.returncode == 2
    said = f"matrix.yaml:3:57: a privilege is invalid here, expected network.host or device, found {word}"
    assert said in done.stderr


def test_an_agent_is_real(agent: str) -> None:
    listed = call("env", f"SSH_AUTH_SOCK={agent}", "ssh-add", "-l", check=False)
    assert "The agent has no identities" in listed.stdout
