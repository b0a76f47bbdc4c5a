"""`orchestrate plan --preflight` and `doctor` say what `build --push` says, with the installed command."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.support.project import Project, write_project
from tests.unit.headers import samples

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.engine import MakeRegistry

NOWHERE = "127.0.0.1:5000/unused"
HTPASSWD = "me:$2b$05$Oizmo2nWyuhk6OH6SpCOSO/9RDKyCLCCCXQ2El5cwjWcFhX6QSfeq"
WHEEL = "flashinfer_python-0.6.13-py3-none-any.whl"


def bake(project: Project, **more: object) -> None:
    """Add attributes to the only target of a project."""
    path = project.root / "docker-bake.json"
    content = json.loads(path.read_text())
    content["target"]["app"] |= more
    path.write_text(json.dumps(content))


def matrix(project: Project, old: str, new: str) -> None:
    path = project.root / "matrix.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def both(project: Project, *words: str) -> tuple[int, str]:
    """What --preflight says, which is what a build says; the exit code and the error of the variant."""
    found = project.run("plan", "--preflight", "--format", "json", *words)
    (variant,) = json.loads(found.stdout)["variants"]
    built = project.build("--push", *words)
    assert built.returncode == found.returncode, found.stderr + built.stdout + built.stderr
    error = project.reported()["app"]["error"]
    if variant["error"] is not None:
        assert error["class"] == variant["error"]["class"]
        assert error["message"].startswith(variant["error"]["message"])
    else:
        assert error is None
    return found.returncode, "" if variant["error"] is None else "\n".join(
        [variant["error"]["message"], *variant["error"]["problems"], variant["error"]["hint"]]
    )


@pytest.mark.parametrize(
    ("attributes", "said", "word"),
    [
        ({"network": "host"}, "the network of the host is not allowed", "network.host"),
        ({"contexts": {"more": "/usr/share"}}, "reading /usr/share is not allowed", "fs.read=/usr/share"),
        ({"entitlements": ["security.insecure"]}, "privileged steps is not allowed", "security.insecure"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_privileges_are_asked_for_before_a_build(
    engine: str, tmp_path: Path, tmp_image: str, attributes: dict[str, object], said: str, word: str
) -> None:
    project = write_project(tmp_path, tmp_image, app="RUN --mount=from=more,target=/m echo fine")
    bake(project, **{"contexts": {"more": "."}, **attributes})
    code, error = both(project)
    assert code == 2
    assert said in error
    assert f"allow it with --allow {word}" in error
    found = project.run("plan", "--preflight", "--allow", word)
    assert (found.returncode, found.stdout.splitlines()[-1]) == (0, "1 variant, nothing refused"), found.stdout


def test_what_the_matrix_allows_needs_no_word(engine: str, tmp_path: Path, tmp_image: str) -> None:
    project = write_project(tmp_path, tmp_image, app="RUN echo fine")
    bake(project, network="host")
    matrix(project, "bake:\n", "bake:\n  allow: [network.host]\n")
    assert both(project) == (0, "")


def test_arguments_of_the_header_bundle_are_checked(engine: str, tmp_path: Path, tmp_image: str) -> None:
    project = write_project(tmp_path, tmp_image, app="RUN echo fine")
    samples.wheel(project.root / WHEEL)
    for path, data in samples.artifacts().items():
        target = project.root / "mirror" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    env = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = project.run("headers", "lock", "--from", WHEEL, "--mirror", "mirror", env=env)
    assert done.returncode == 0, done.stderr
    with (project.root / "matrix.yaml").open("a") as opened:
        opened.write("headers: {version: 0.6.13, mirrors: [mirror]}\n")
    found = project.run("plan", "--preflight", env=env)
    assert found.returncode == 2, found.stdout + found.stderr
    assert "does not consume FLASHINFER_" in found.stdout
    assert project.build("--push", env=env).returncode == 2


@pytest.mark.parametrize(
    ("socket", "found"), [("", "SSH_AUTH_SOCK is not set"), ("/nowhere/agent", "/nowhere/agent does not exist")]
)
def test_a_variant_without_an_ssh_agent_fails_alone(
    engine: str, tmp_path: Path, tmp_image: str, monkeypatch: pytest.MonkeyPatch, socket: str, found: str
) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", socket)
    project = write_project(tmp_path, tmp_image, app="RUN --mount=type=ssh echo fine", other="RUN echo fine")
    bake(project, ssh=["default"])
    code, error = both(project, "--target", "app", "--allow", "ssh")
    assert code == 5
    assert f"the SSH agent that target app forwards was not found: {found}" in error
    assert project.build("--target", "app", "--target", "other", "--allow", "ssh").returncode == 5
    assert {name: one["status"] for name, one in project.reported().items()} == {"app": "failed", "other": "built"}


def test_an_ssh_key_that_is_missing(engine: str, tmp_path: Path, tmp_image: str) -> None:
    project = write_project(tmp_path, tmp_image, app="RUN --mount=type=ssh echo fine")
    bake(project, ssh=["default=none.pem"])
    for words in (("plan", "--preflight"), ("build",)):
        done = project.run(*words)
        assert done.returncode == 2
        assert "none.pem: no such file" in done.stderr


@pytest.mark.parametrize("refusal", ["password", "read-only"])
def test_a_registry_that_takes_no_push(
    engine: str, tmp_path: Path, throwaway_registry: MakeRegistry, monkeypatch: pytest.MonkeyPatch, refusal: str
) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    host = throwaway_registry(
        htpasswd=HTPASSWD if refusal == "password" else "", readonly=refusal == "read-only"
    ).address
    project = write_project(tmp_path, f"{host}/app", app="RUN echo fine")
    code, error = both(project)
    assert code == 6
    if refusal == "password":
        assert f"docker login {host}" in error
    else:
        assert "push access" in error
    text = project.run("plan", "--preflight")
    assert (text.returncode, text.stdout.splitlines()[0]) == (6, "app-cu130-amd64  refused")
    assert text.stdout.splitlines()[-1] == "1 variant, 1 refused"
    assert project.run("plan", "--preflight", "--no-push").returncode == 0
    assert "--no-push has no effect without --preflight" in project.run("plan", "--no-push").stderr
    assert project.log("app") is None or "RUN echo fine" not in (project.log("app") or project.root).read_text()


# -- platforms: doctor and builds judge alike -------------------------------------------------------------------------

# With QEMU of Debian the builder lists s390x and others, also after QEMU is gone: it forgets none. Not this one.
FOREIGN = "linux/mips64"


@pytest.mark.parametrize(("step", "runs"), [("COPY Dockerfile /x", False), ("RUN echo fine", True)])
def test_doctor_reads_dockerfiles_as_a_build_does(
    engine: str, tmp_path: Path, tmp_image: str, step: str, runs: bool
) -> None:
    project = write_project(tmp_path, tmp_image, app="COPY Dockerfile /x")
    (project.root / "Dockerfile").write_text(
        f"FROM scratch AS app\nARG CUDA_VERSION\nARG torch_cuda_arch_list\nLABEL a=$CUDA_VERSION\n"
        f"LABEL b=$torch_cuda_arch_list\n{step}\n"
    )
    matrix(project, "linux/amd64", FOREIGN)
    checks = {check["name"]: check for check in json.loads(project.run("doctor", "--format", "json").stdout)["checks"]}
    assert checks["platforms"]["status"] == ("warn" if runs else "ok"), checks["platforms"]
    assert (FOREIGN in checks["platforms"]["detail"]) is runs
    done = project.build("--push")
    assert done.returncode == (5 if runs else 0), done.stdout + done.stderr
    if runs:
        assert checks["platforms"]["detail"] in done.stdout + done.stderr


def test_doctor_says_that_bake_files_are_wrong(engine: str, tmp_path: Path) -> None:
    project = write_project(tmp_path, NOWHERE, app="RUN echo fine")
    matrix(project, "targets: [app]", "targets: [ap]")
    done = project.run("doctor")
    assert done.returncode == 0, done.stderr
    assert "warn  bake files" in done.stdout
    assert "bake target ap was not found" in done.stdout
    assert "did you mean app?" in done.stdout
