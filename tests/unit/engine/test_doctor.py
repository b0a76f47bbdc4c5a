"""How buildx and builders are judged; that they are found is tests/engine's."""

from __future__ import annotations

from typing import Self, TypeVar

import msgspec.structs
import pytest

from orchestrator.engine import doctor
from orchestrator.engine import machine as engine_machine
from orchestrator.engine.builders import Builder, Node
from orchestrator.engine.doctor import Need
from orchestrator.engine.info import EngineInfo
from orchestrator.engine.version import COMFORT, Version
from orchestrator.errors import EnvironmentLacksError
from orchestrator.sizes import GIB

DOCKER = Builder(name="default", driver="docker", platforms=("linux/amd64", "linux/amd64/v2"), running=True)


def test_an_old_but_working_buildx_is_a_warning() -> None:
    old = doctor.check_version(Version(major=0, minor=24))
    assert (old.status, bool(old.hint)) == ("warn", True)
    assert "0.24.0" in old.detail
    new = doctor.check_version(Version(major=0, minor=25))
    assert (new.status, new.hint) == ("ok", "")


@pytest.mark.parametrize(
    ("backend", "status"), [("registry", "warn"), ("local", "warn"), ("gha", "warn"), ("inline", "ok"), ("off", "ok")]
)
def test_the_classic_docker_driver_exports_only_inline_caches(backend: str, status: str) -> None:
    check = doctor.check_cache(DOCKER, backend)
    assert check.status == status
    assert ("containerd-snapshotter" in check.hint) == (status == "warn")


def test_the_docker_driver_exports_to_no_object_store() -> None:
    full = msgspec.structs.replace(DOCKER, containerd_store=True)
    for backend, status in (("s3", "warn"), ("azblob", "warn"), ("registry", "ok")):
        check = doctor.check_cache(full, backend)
        assert check.status == status
        assert ("docker-container" in check.hint) == (status == "warn")


def test_a_missing_platform_fails_only_where_it_will_be_built() -> None:
    (there,) = doctor.check_platforms(DOCKER, ["linux/amd64", "linux/arm64"], here=False)
    (here,) = doctor.check_platforms(DOCKER, ["linux/amd64", "linux/arm64"], here=True)
    assert (there.status, here.status) == ("warn", "fail")
    assert "cannot build linux/arm64 (it builds linux/amd64)" in here.detail
    (fine,) = doctor.check_platforms(DOCKER, ["linux/amd64"], here=True)
    assert (fine.status, fine.hint) == ("ok", "")


T = TypeVar("T")

# -- what is looked at, and in which order ----------------------------------------------------------------------------

INFO = EngineInfo(
    version="28.5", containerd_store=True, platform="linux/amd64", cpus=8, memory=64 * GIB, root="/d", host_name="h"
)
FARM = Builder(
    name="farm", driver="remote", platforms=("linux/amd64",), running=True,
    nodes=(Node(name="farm0", endpoint="tcp://me:pw@farm:1234", running=True),),
)  # fmt: skip
NO_ENGINE = EnvironmentLacksError("the Docker engine does not answer: refused", hint="start it")


class Machine:
    """What docker answers; an error in place of an answer is raised."""

    said: EngineInfo | EnvironmentLacksError = INFO
    buildx: Version | EnvironmentLacksError = COMFORT
    used: Builder | EnvironmentLacksError = DOCKER

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def info(self) -> EngineInfo:
        return answer(self.said)

    def version(self) -> Version:
        return answer(self.buildx)

    def builder(self, info: EngineInfo | None) -> Builder:
        store = info is not None and info.containerd_store
        return msgspec.structs.replace(answer(self.used), containerd_store=store)


def answer(found: T | EnvironmentLacksError) -> T:
    if isinstance(found, EnvironmentLacksError):
        raise found
    return found


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    fake = Machine()
    monkeypatch.setattr(doctor, "Asked", lambda _: fake)
    monkeypatch.setattr(engine_machine, "free_bytes", lambda _: 100 * GIB)
    return fake


def looked_at(need: Need | None = None) -> dict[str, tuple[str, str]]:
    return {check.name: (check.status, check.detail) for check in doctor.diagnose(need or Need())}


def test_a_machine_on_which_all_works(machine: Machine) -> None:
    found = looked_at(Need(jobs=4))
    assert list(found) == [
        "engine", "buildx", "builder", "cache export", "platforms", "disk", "memory", "processors"
    ]  # fmt: skip
    assert {status for status, _ in found.values()} == {"ok"}
    assert found["engine"] == ("ok", "28.5, linux/amd64, containerd image store")
    assert found["builder"] == ("ok", "default, driver docker")
    machine.said = msgspec.structs.replace(INFO, containerd_store=False)
    found = looked_at()
    assert found["engine"][1].endswith("classic image store")
    assert found["cache export"][0] == "warn"


def test_without_an_engine_only_a_builder_elsewhere_works(machine: Machine) -> None:
    machine.said = NO_ENGINE
    found = looked_at()
    assert found["engine"] == ("fail", "the Docker engine does not answer: refused")
    assert "disk" not in found
    machine.used = FARM
    found = looked_at()
    assert found["engine"][0] == "warn"
    assert found["engine"][1].endswith("; builder farm works without it, --load and verify do not")
    assert found["builder"] == ("ok", "farm, driver remote at tcp://farm:1234")
    here = "not checked: builder farm is not on this engine's machine"
    assert [found[name] for name in ("disk", "memory", "processors")] == [("ok", here)] * 3
    machine.used = EnvironmentLacksError("`docker buildx ls` failed: x")
    assert "builder" not in looked_at()  # the engine is what is wrong
    machine.said = INFO
    assert looked_at()["builder"] == ("fail", "`docker buildx ls` failed: x")


def test_without_buildx_no_builder_is_looked_for(machine: Machine) -> None:
    machine.buildx = EnvironmentLacksError("the docker client has no buildx plugin")
    found = looked_at()
    assert found["buildx"] == ("fail", "the docker client has no buildx plugin")
    assert "builder" not in found
    assert "disk" in found


def test_a_build_needs_what_a_builder_elsewhere_does_not(machine: Machine) -> None:
    engine = doctor.require_engine(platforms=["linux/amd64"])
    assert (engine.info, engine.builder.name, engine.builder.containerd_store) == (INFO, "default", True)
    with pytest.raises(EnvironmentLacksError, match="builder default cannot build linux/arm64"):
        doctor.require_engine(platforms=["linux/arm64"])
    machine.said = NO_ENGINE
    with pytest.raises(EnvironmentLacksError, match="the Docker engine does not answer"):
        doctor.require_engine()
    machine.used = EnvironmentLacksError("builder x was not found")
    with pytest.raises(EnvironmentLacksError, match="the Docker engine does not answer"):  # that comes first
        doctor.require_engine()
    machine.used = FARM
    engine = doctor.require_engine(platforms=["linux/amd64"])
    assert (engine.info, engine.builder.name, engine.disk) == (None, "farm", None)
    machine.buildx = EnvironmentLacksError("buildx 0.1.0 is too old")
    with pytest.raises(EnvironmentLacksError, match="too old"):
        doctor.require_engine()
