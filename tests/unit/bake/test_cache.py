"""Cache entries of a variant: one reference each, never fatal, nothing written that was not asked for."""

from __future__ import annotations

import pytest

from orchestrator.bake.cache import CacheEntries, CachePolicy, entries

ZSTD = "mode=max,compression=zstd,oci-mediatypes=true,image-manifest=true,ignore-error=true"


def test_registry() -> None:
    found = entries(CachePolicy(backend="registry"), ref="r/c:v", read=("r/c:main",))
    assert found == CacheEntries(
        read=("type=registry,ref=r/c:v", "type=registry,ref=r/c:main"), write=(f"type=registry,ref=r/c:v,{ZSTD}",)
    )


def test_local() -> None:
    policy = CachePolicy(backend="local", directory="/c", mode="min")
    found = entries(policy, ref="host:5000/a/b:v 1", read=("other",), push=False)
    assert found == CacheEntries(
        read=("type=local,src=/c/host-5000-a-b-v-1", "type=local,src=/c/other"),
        write=("type=local,dest=/c/host-5000-a-b-v-1.new,mode=min,ignore-error=true",),
        swap=("/c/host-5000-a-b-v-1.new", "/c/host-5000-a-b-v-1"),
    )


def test_a_local_cache_is_read_where_its_writer_put_it() -> None:
    policy = CachePolicy(backend="local", directory="/c")
    names = ("127.0.0.1:5000/app-cache:app-cu130-amd64", "../../etc/x")
    read = entries(policy, ref="own", read=names).read
    for name, found in zip(names, read[1:], strict=True):
        assert (found,) == entries(policy, ref=name).read
        assert found.count("/") == 2


def test_gha() -> None:
    found = entries(CachePolicy(backend="gha"), ref="v", read=("main",), push=False)
    assert found == CacheEntries(
        read=("type=gha,scope=v", "type=gha,scope=main"), write=("type=gha,scope=v,mode=max,ignore-error=true",)
    )


def test_inline() -> None:
    found = entries(CachePolicy(backend="inline"), ref="unused", read=("r:main",), tags=("r:v",))
    assert found == CacheEntries(read=("type=registry,ref=r:v", "type=registry,ref=r:main"), write=("type=inline",))


def test_off() -> None:
    assert entries(CachePolicy(backend="off"), ref="v", read=("x",), tags=("t",)) == CacheEntries()


@pytest.mark.parametrize("backend", ["registry", "inline"])
def test_without_a_push_a_registry_is_only_read(backend: str) -> None:
    found = entries(CachePolicy(backend=backend), ref="r:v", tags=("r:t",), push=False)  # type: ignore[arg-type]  # a literal
    assert found.read
    assert found.write == ()


@pytest.mark.parametrize("backend", ["registry", "local", "gha", "inline"])
def test_a_pull_request_writes_nothing(backend: str) -> None:
    policy = CachePolicy(backend=backend, write=False, directory="/c")  # type: ignore[arg-type]  # a literal
    found = entries(policy, ref="r:v", tags=("r:t",))
    assert found.read
    assert found.write == ()
    assert found.swap is None


@pytest.mark.parametrize("backend", ["registry", "local", "gha"])
def test_a_failing_export_never_fails_a_build(backend: str) -> None:
    found = entries(CachePolicy(backend=backend, directory="/c"), ref="r:v")  # type: ignore[arg-type]  # a literal
    assert all(entry.endswith("ignore-error=true") for entry in found.write)
    assert found.write
