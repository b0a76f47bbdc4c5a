"""How buildx and builders are judged; that they are found is tests/engine's."""

from __future__ import annotations

import dataclasses

import pytest

from orchestrator.engine import doctor
from orchestrator.engine.builders import Builder
from orchestrator.engine.version import Version

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
    full = dataclasses.replace(DOCKER, containerd_store=True)
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
