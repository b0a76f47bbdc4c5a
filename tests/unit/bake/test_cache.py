"""Cache entries of a variant: one reference each, never fatal, nothing written that was not asked for."""

from __future__ import annotations

import pytest

from orchestrator.bake.cache import Backend, CacheEntries, CachePolicy, entries

ZSTD = "mode=max,compression=zstd,oci-mediatypes=true,image-manifest=true,ignore-error=true"


def test_registry() -> None:
    found = entries(CachePolicy(backend="registry"), read=("r/c:v", "r/c:main"), write=("r/c:v",))
    assert found == CacheEntries(
        read=("type=registry,ref=r/c:v", "type=registry,ref=r/c:main"), write=(f"type=registry,ref=r/c:v,{ZSTD}",)
    )


def test_local() -> None:
    policy = CachePolicy(backend="local", directory="/c", mode="min")
    found = entries(policy, read=("host:5000/a/b:v 1", "other"), write=("host:5000/a/b:v 1",), push=False)
    assert found == CacheEntries(
        read=("type=local,src=/c/host-5000-a-b-v-1", "type=local,src=/c/other"),
        write=("type=local,dest=/c/host-5000-a-b-v-1.new,mode=min,ignore-error=true",),
        swap=("/c/host-5000-a-b-v-1.new", "/c/host-5000-a-b-v-1"),
    )


def test_a_local_cache_is_read_where_its_writer_put_it() -> None:
    policy = CachePolicy(backend="local", directory="/c")
    names = ("127.0.0.1:5000/app-cache:app-cu130-amd64", "../../etc/x")
    read = entries(policy, read=("own", *names), write=("own",)).read
    for name, found in zip(names, read[1:], strict=True):
        assert (found,) == entries(policy, read=(name,), write=(name,)).read
        assert found.count("/") == 2


def test_gha() -> None:
    found = entries(CachePolicy(backend="gha"), read=("v", "main"), write=("v",), push=False)
    assert found == CacheEntries(
        read=("type=gha,scope=v", "type=gha,scope=main"), write=("type=gha,scope=v,mode=max,ignore-error=true",)
    )


def test_inline() -> None:
    found = entries(CachePolicy(backend="inline"), read=("r:main",), write=("",), tags=("r:v",))
    assert found == CacheEntries(read=("type=registry,ref=r:v", "type=registry,ref=r:main"), write=("type=inline",))


def test_object_stores() -> None:
    options = {"bucket": "b", "region": "eu-west-1"}
    found = entries(CachePolicy(backend="s3", options=options), read=("r/a:v", "r/a:w"), write=("r/a:v",), push=False)
    assert found.read == (
        "type=s3,bucket=b,region=eu-west-1,name=r-a-v",
        "type=s3,bucket=b,region=eu-west-1,name=r-a-w",
    )
    assert found.write == ("type=s3,bucket=b,region=eu-west-1,name=r-a-v,mode=max,ignore-error=true",)
    store = CachePolicy(backend="azblob", options={"account_url": "https://a.example"})
    assert entries(store, read=("v",), write=()).read == ("type=azblob,account_url=https://a.example,name=v",)


def test_off() -> None:
    assert entries(CachePolicy(backend="off"), read=("v", "x"), write=("v",), tags=("t",)) == CacheEntries()


@pytest.mark.parametrize("backend", ["registry", "inline"])
def test_without_a_push_a_registry_is_only_read(backend: Backend) -> None:
    found = entries(CachePolicy(backend=backend), read=("r:v",), write=("r:v",), tags=("r:t",), push=False)
    assert found.read
    assert found.write == ()


@pytest.mark.parametrize("backend", ["registry", "local", "gha", "s3", "azblob", "inline"])
def test_what_may_not_be_written_is_not(backend: Backend) -> None:
    found = entries(CachePolicy(backend=backend, directory="/c"), read=("r:v",), write=(), tags=("r:t",))
    assert found.read
    assert found.write == ()
    assert found.swap is None


@pytest.mark.parametrize("backend", ["registry", "local", "gha", "s3", "azblob"])
def test_a_failing_export_never_fails_a_build(backend: Backend) -> None:
    found = entries(CachePolicy(backend=backend, directory="/c"), read=("r:v",), write=("r:v",))
    assert all(entry.endswith("ignore-error=true") for entry in found.write)
    assert found.write
