"""How findings are judged; that they are found is tests/engine's."""

from __future__ import annotations

import pytest

from orchestrator.engine import doctor
from orchestrator.engine.builders import Builder
from orchestrator.engine.client import GIB, Buildx, Version
from orchestrator.engine.doctor import Need

DOCKER = Builder(name="default", driver="docker", platforms=("linux/amd64", "linux/amd64/v2"), running=True)


def test_an_old_but_working_buildx_is_worth_a_word() -> None:
    old = doctor.check_buildx(Buildx(version=Version(major=0, minor=24), text=""))
    assert (old.status, bool(old.cure)) == ("warn", True)
    assert "0.24.0" in old.detail
    new = doctor.check_buildx(Buildx(version=Version(major=0, minor=25), text=""))
    assert (new.status, new.cure) == ("ok", "")


@pytest.mark.parametrize(
    ("backend", "status"), [("registry", "fail"), ("local", "fail"), ("gha", "fail"), ("inline", "ok"), ("off", "ok")]
)
def test_the_classic_docker_driver_exports_only_inline_caches(backend: str, status: str) -> None:
    check = doctor.check_cache(DOCKER, backend)
    assert check.status == status
    assert ("containerd-snapshotter" in check.cure) == (status == "fail")


def test_a_missing_platform_fails_only_where_it_will_be_built() -> None:
    (there,) = doctor.check_platforms(DOCKER, ["linux/amd64", "linux/arm64"], here=False)
    (here,) = doctor.check_platforms(DOCKER, ["linux/amd64", "linux/arm64"], here=True)
    assert (there.status, here.status) == ("warn", "fail")
    assert "cannot build linux/arm64 (it builds linux/amd64)" in here.detail
    (fine,) = doctor.check_platforms(DOCKER, ["linux/amd64"], here=True)
    assert (fine.status, fine.cure) == ("ok", "")


@pytest.mark.parametrize(
    ("free", "status"),
    [(20 * GIB, "ok"), (20 * GIB - 1, "warn"), (5 * GIB, "warn"), (5 * GIB - 1, "fail"), (0, "fail"), (None, "ok")],
)
def test_disk_is_judged_by_the_need(free: int | None, status: str) -> None:
    check = doctor.check_disk(free, Need())
    assert check.status == status
    assert bool(check.cure) == (status != "ok")


def test_the_need_can_be_larger() -> None:
    assert doctor.check_disk(90 * GIB, Need(warn_free=100 * GIB, fail_free=50 * GIB)).status == "warn"


def test_memory_is_weighed_against_all_compile_jobs() -> None:
    assert doctor.check_memory(32 * GIB, 16).status == "ok"
    tight = doctor.check_memory(32 * GIB - 1, 16)
    assert tight.status == "warn"
    assert "32 GiB to 64 GiB" in tight.detail
    assert "about 7" in tight.cure
    assert "enough for 8 large compile jobs" in doctor.check_memory(32 * GIB, None).detail
    assert doctor.check_memory(0, 16).status == "ok"


@pytest.mark.parametrize(
    ("image", "host", "loopback"),
    [
        ("ghcr.io/acme/vllm-openai", "ghcr.io", False),
        ("ghcr.io/acme/vllm-openai:tag", "ghcr.io", False),
        ("127.0.0.1:5000/axpy", "127.0.0.1:5000", True),
        ("localhost/axpy", "localhost", True),
        ("localhost:5001/axpy", "localhost:5001", True),
        ("[::1]:5000/axpy", "[::1]:5000", True),
        ("registry.example:443/a/b@sha256:0", "registry.example:443", False),
        ("vllm/vllm-openai:v0.20.0", "registry-1.docker.io", False),
        ("docker.io/vllm/vllm-openai", "registry-1.docker.io", False),
        ("ubuntu", "registry-1.docker.io", False),
    ],
)
def test_the_registry_of_a_reference(image: str, host: str, *, loopback: bool) -> None:
    assert doctor.registry_host(image) == host
    assert doctor.is_loopback(host) == loopback
