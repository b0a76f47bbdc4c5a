"""A lock that leaves out what its manifests list, or has other bytes, is refused wherever it is used."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from orchestrator.errors import VerificationError
from orchestrator.headers import archive, bundle, inject, manifests, work
from orchestrator.headers import lock as locks
from orchestrator.headers.store import Store
from orchestrator.matrix.schema import HeadersSpec
from tests.unit.headers import samples

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.headers.lock import Lock


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def without(lock: Lock, path: str) -> Lock:
    """A lock without a file, consistent in itself, as somebody edits it who knows how its digest is made."""
    pins = tuple(
        msgspec.structs.replace(one, files=one.files - path.startswith(f"{one.pin.path}/")) for one in lock.pins
    )
    left = msgspec.structs.replace(lock, files=tuple(one for one in lock.files if one.path != path), pins=pins)
    return locks.loads(locks.dumps(left))


HEADER = f"{samples.BMM}/include/trtllmGen_bmm_export/Enums.h"
CUBIN = f"{samples.BMM}/Bmm_sm103a.cubin"


@pytest.mark.parametrize(("tier", "path"), [("headers", HEADER), ("cubins", HEADER), ("cubins", CUBIN)])
def test_a_file_that_is_left_out_is_named_wherever_the_lock_is_used(
    tmp_path: Path, store: Store, tier: str, path: str
) -> None:
    whole = samples.bundle(tmp_path, store, tier=tier)
    manifests.require(whole, store)
    bad = without(whole, path)
    said = f"files out, the first is {path}"
    with pytest.raises(VerificationError, match="not what the manifests") as caught:
        manifests.require(bad, store)
    (problem,) = caught.value.problems
    assert said in problem.what
    with pytest.raises(VerificationError, match="not what the manifests"):
        work.require_complete(bad, store)
    with pytest.raises(VerificationError, match="not what the manifests"):
        work.obtain_lock(bad, store, [])
    spec = HeadersSpec(tier="cubins" if tier == "cubins" else "headers")
    bundle.write_lock(bad, tmp_path / "flashinfer.lock.json")
    with pytest.raises(VerificationError, match="not what the manifests"):
        inject.injection(spec, store, directory=tmp_path, version=lambda: "0.6.13")
    archive.export(bad, store, tmp_path / "b.tar.zst")
    with pytest.raises(VerificationError, match="not what its manifests") as caught:
        archive.load(tmp_path / "b.tar.zst", Store(tmp_path / "other"))
    assert said in caught.value.problems[0].what
    assert not list(Store(tmp_path / "other").blobs())
    root = tmp_path / "placed"
    for entry in bundle.contents(bad):
        (root / entry.path).parent.mkdir(parents=True, exist_ok=True)
        (root / entry.path).write_bytes(store.read(entry.sha256) if entry.content is None else entry.content)
    assert any(said in problem.what for problem in bundle.verify_directory(bad, root))


def test_cubins_of_other_gpus_are_not_left_out(tmp_path: Path, store: Store) -> None:
    lock = samples.bundle(tmp_path, store, tier="cubins", sm=["10.0"])
    manifests.require(lock, store)
    assert CUBIN not in {file.path for file in lock.files}


def test_other_bytes_than_the_manifest_names_are_refused(tmp_path: Path, store: Store) -> None:
    lock = samples.bundle(tmp_path, store)
    data = b"// other enums\n"
    assert store.add([data], samples.sha(data))
    changed = tuple(
        msgspec.structs.replace(one, sha256=samples.sha(data), size=len(data)) if one.path == HEADER else one
        for one in lock.files
    )
    bad = locks.loads(locks.dumps(msgspec.structs.replace(lock, files=changed)))
    with pytest.raises(VerificationError) as caught:
        manifests.require(bad, store)
    assert f"the lock has other bytes than it for {HEADER}" in caught.value.problems[0].what


def test_a_lock_without_a_family_is_refused(tmp_path: Path, store: Store) -> None:
    lock = samples.bundle(tmp_path, store)
    pins = tuple(
        msgspec.structs.replace(one, files=0) if one.pin.attr == "TRTLLM_GEN_FMHA" else one for one in lock.pins
    )
    files = tuple(one for one in lock.files if not one.path.startswith(samples.FMHA))
    for left in (pins, tuple(one for one in pins if one.files)):
        with pytest.raises(VerificationError, match="it holds nothing of TRTLLM_GEN_FMHA"):
            locks.loads(locks.dumps(msgspec.structs.replace(lock, pins=left, files=files)))
