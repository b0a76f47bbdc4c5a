"""The engine package on a real engine, and without one."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from orchestrator.engine import beyond, builders, client, doctor
from orchestrator.engine.doctor import Need
from orchestrator.engine.info import EngineInfo, answered, parse_info
from orchestrator.engine.version import FLOOR, buildx_version
from orchestrator.errors import EnvironmentLacksError
from orchestrator.registry.reach import check_registry
from orchestrator.sizes import GIB
from tests.support.engine import ROOT, call

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.engine import MakeFaulty, MakeRegistry, Registry

NOBODY = "tcp://127.0.0.1:1"
"""A port that nobody listens on."""


def engine_info() -> EngineInfo:
    """What the engine says of itself, asked as doctor and builds ask."""
    answer = answered(beyond.system_info)
    return parse_info(answer.stdout, answer.stderr)


def client_that(folder: Path, script: str) -> str:
    """A docker client that runs `script` first and then the real one."""
    mine = folder / "docker"
    real = client.docker_command()[0]
    mine.write_text(f'#!/bin/sh\n{script}\nexec {real} "$@"\n')
    mine.chmod(0o755)
    return str(mine)


def test_the_engine_describes_itself(engine: str) -> None:
    info = engine_info()
    assert info.version == engine
    assert info.memory > GIB
    assert info.cpus >= 1
    assert info.platform.startswith("linux/")
    assert info.root


def test_buildx_is_found_and_new_enough() -> None:
    assert buildx_version() >= FLOOR


def test_the_selected_builder_builds_for_this_machine() -> None:
    info = engine_info()
    found = builders.selected(builders.in_use(), containerd_store=info.containerd_store)
    assert found.running
    assert found.builds(info.platform)
    assert not found.builds("linux/s390x-of-nowhere")


def test_builders_of_other_drivers(buildx_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    call("docker", "buildx", "create", "--driver", "docker-container", "--name", "idle")
    call("docker", "buildx", "create", "--driver", "remote", "--name", "gone", NOBODY)
    monkeypatch.setenv("BUILDX_BUILDER", "idle")
    idle = builders.selected(builders.in_use(), containerd_store=False)
    assert (idle.name, idle.driver, idle.running) == ("idle", "docker-container", False)
    assert idle.exports_cache("registry")
    monkeypatch.setenv("BUILDX_BUILDER", "gone")
    with pytest.raises(EnvironmentLacksError, match=f"builder gone does not answer: {NOBODY}: nothing listens there"):
        builders.selected(builders.in_use(), containerd_store=False)
    monkeypatch.setenv("BUILDX_BUILDER", "idel")
    with pytest.raises(EnvironmentLacksError) as caught:
        builders.selected(builders.in_use(), containerd_store=False)
    assert caught.value.hint == "did you mean idle?"


def test_a_build_gets_everything_that_it_must_know() -> None:
    found = doctor.require_engine(platforms=[engine_info().platform])
    assert found.builder.running
    with pytest.raises(EnvironmentLacksError, match="cannot build linux/nothing"):
        doctor.require_engine(platforms=["linux/nothing"])


def test_without_an_engine_the_reason_and_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", NOBODY)
    with pytest.raises(EnvironmentLacksError) as caught:
        doctor.require_engine()
    assert NOBODY in caught.value.message
    assert "start the Docker engine" in caught.value.hint
    checks = {check.name: check for check in doctor.diagnose(Need())}
    assert checks["engine"].status == "fail"
    assert checks["engine"].hint
    assert checks["buildx"].status == "ok"
    assert "disk" not in checks


def test_an_engine_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{mute.getsockname()[1]}")
        monkeypatch.setattr(client.docker, "__kwdefaults__", {"timeout": 1.0, "env": None})
        with pytest.raises(EnvironmentLacksError, match="does not answer: no answer within 1 s"):
            engine_info()


def test_one_builder_alone_is_read_as_in_the_list_of_all(buildx_home: Path) -> None:
    """Asking one is text; asking all is JSON, and waits 20 s for each that is silent."""
    options = ["--driver-opt", 'image=some/image:1,"env.LIST=a,b"', "--driver-opt", "env.QUOTED=a b"]
    call("docker", "buildx", "create", "--driver", "docker-container", "--name", "idle", "--platform", "linux/arm64",
         *options, "--buildkitd-flags", "--debug")  # fmt: skip
    call(
        "docker", "buildx", "create", "--driver", "remote", "--name", "two", "--driver-opt", "cacert=/a b/c.pem", NOBODY
    )
    call("docker", "buildx", "create", "--append", "--name", "two", "--node", "second", "tcp://127.0.0.1:2")
    call("docker", "buildx", "inspect", "default")
    listed = {one.name: one for one in builders.listed()}
    assert listed.keys() == {"default", "idle", "two"}
    assert len(listed["two"].nodes) == 2
    assert listed["idle"].nodes[0].options["env.LIST"] == "a,b"
    for name, expected in listed.items():
        found = builders.parse_inspected(beyond.inspect_builder(name).stdout)
        assert found == replace(expected, current=False)


def test_docker_is_asked_once_and_only_for_the_builder_in_use(
    buildx_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call("docker", "buildx", "create", "--driver", "remote", "--name", "gone", NOBODY)
    monkeypatch.setenv(client.CLIENT_VARIABLE, client_that(tmp_path, f'echo "$1 $2 $3" >>{tmp_path}/asked'))
    assert doctor.require_engine().builder.name == "default"
    assert doctor.diagnose(Need())[0].status == "ok"
    asked = (tmp_path / "asked").read_text().splitlines()
    assert sorted(asked) == sorted(["info --format {{json .}}", "buildx inspect "] * 2)


@pytest.mark.parametrize(
    ("script", "says"),
    [
        (
            """case "$1" in buildx) echo "docker: 'buildx' is not a docker command." >&2; exit 1 ;;
            info) REAL "$@" | sed 's/"buildx"/"other"/'; exit ;; esac""",
            "no buildx",
        ),
        (
            """case "$1" in info)
            REAL "$@" | sed 's/"Version":"[^"]*",\\("ShortDescription":"Docker Buildx"\\)/"Version":"0.13.1",\\1/'
            exit ;; esac""",
            "0.13.1 is too old",
        ),
        (
            """case "$1 $2" in "buildx version") echo "github.com/docker/buildx v0.13.1 x"; exit ;;
            info*) REAL "$@" | sed 's/"Plugins"/"Other"/g'; exit ;; esac""",
            "0.13.1 is too old",
        ),
    ],
    ids=["missing", "old", "old, and not in the answer of the client"],
)
def test_a_client_without_a_good_buildx(
    script: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = client.docker_command()[0]
    monkeypatch.setenv(client.CLIENT_VARIABLE, client_that(tmp_path, script.replace("REAL", real)))
    with pytest.raises(EnvironmentLacksError, match=says) as caught:
        doctor.require_engine()
    assert "install buildx" in caught.value.hint
    checks = {check.name: check.status for check in doctor.diagnose(Need())}
    assert (checks["engine"], checks["buildx"]) == ("ok", "fail")


def test_a_machine_that_works_needs_no_hint(registry: Registry) -> None:
    checks = doctor.diagnose(Need(platforms=(engine_info().platform,), jobs=1))
    assert [check.name for check in checks] == [
        "engine", "buildx", "builder", "cache export", "platforms", "disk", "memory", "processors",
    ]  # fmt: skip
    assert [check for check in checks if check.status != "ok" and check.name != "disk"] == []
    assert check_registry(f"{registry}/any").status == "ok"


def test_registries_that_ask_for_a_login_are_well_and_silent_ones_are_not(faulty_registry: MakeFaulty) -> None:
    from tests.support.faults import Fault

    login = faulty_registry(Fault(status=401, times=-1))
    busy = faulty_registry(Fault(status=503, times=-1))
    cut = faulty_registry(Fault(reset=True, times=-1))
    assert check_registry(f"{login.address}/a").status == "ok"
    assert "503" in check_registry(f"{busy.address}/a").detail
    for silent in (f"{cut.address}/a", "127.0.0.1:1/a"):
        check = check_registry(silent)
        assert check.status == "warn"
        assert "does not answer" in check.detail


def doctor_command(*arguments: str, folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    import os

    return subprocess.run(
        [sys.executable, "-c", "from orchestrator.cli.app import main; main()", "doctor", *arguments],
        cwd=folder,
        env=os.environ | env,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_command_exits_0_on_a_well_machine_and_5_without_an_engine(tmp_path: Path) -> None:
    well = doctor_command("--format", "json", folder=tmp_path)
    assert well.returncode == 0, well.stderr
    found = json.loads(well.stdout)
    assert found["schema"] == 1
    assert {"name", "status", "detail", "cure"} == set(found["checks"][0])
    ill = doctor_command("--format", "json", folder=tmp_path, DOCKER_HOST=NOBODY)
    assert ill.returncode == 5
    assert json.loads(ill.stdout)["checks"][0]["status"] == "fail"
    assert "Traceback" not in ill.stderr
    assert "engine" in ill.stderr


def test_the_command_prints_a_cure_below_what_failed(tmp_path: Path) -> None:
    ill = doctor_command(folder=tmp_path, DOCKER_HOST=NOBODY)
    assert ill.returncode == 5
    assert "fail  engine" in ill.stdout
    assert "start the Docker engine" in ill.stdout


def test_a_registry_of_ones_own(throwaway_registry: MakeRegistry, registry: Registry) -> None:
    one, other = throwaway_registry(), throwaway_registry()
    assert len({one.address, other.address, registry.address}) == 3
    assert one.tags("nothing") == []


def test_the_command_weighs_the_machine_against_the_matrix(registry: Registry) -> None:
    image = ("--image", f"{registry}/any")
    done = doctor_command("--format", "json", "--platform", "linux/amd64", "--jobs", "9999", *image, folder=ROOT)
    assert done.returncode == 0, done.stderr
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert checks["matrix"]["status"] == "ok"
    assert checks["platforms"]["detail"] == "linux/amd64"
    assert checks["registry"]["detail"] == f"{registry} answers"
    assert "compile jobs may take" in checks["memory"]["detail"]
    assert checks["processors"]["status"] == "warn"


def test_a_broken_matrix_is_a_finding_and_a_missing_one_an_error(tmp_path: Path) -> None:
    (tmp_path / "matrix.yaml").write_text("version: 1\n")
    broken = doctor_command("--format", "json", folder=tmp_path)
    assert broken.returncode == 0
    assert json.loads(broken.stdout)["checks"][0]["status"] == "warn"
    missing = doctor_command("-f", "other.yaml", folder=tmp_path)
    assert missing.returncode == 2
    assert "other.yaml: no such file" in missing.stderr
