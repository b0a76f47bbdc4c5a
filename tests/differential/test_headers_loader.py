"""Our bundle beside FlashInfer's own loader: what we call right it accepts, and what it rejects we reject.

Real wheels, the real loader and the real `gen_*` functions, without a network and without a GPU.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from orchestrator.errors import VerificationError
from orchestrator.headers import archive, bundle, fetch, layout, pins, sources, work
from orchestrator.headers import lock as locks
from orchestrator.headers.request import Wanted
from orchestrator.headers.serve import Mirror
from orchestrator.headers.staleness import compare
from orchestrator.headers.store import Store
from tests.support import flashinfer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.headers.lock import Lock

pytestmark = pytest.mark.download

GOLDEN = "sha256:ead97ae9be6778d2cf135cd825b6874ff2bad9b263a83454ec573cd476113efe"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """One store for all tests of this file; none of them writes to it but through its own interface."""
    return Store(tmp_path_factory.mktemp("store"))


def locked(version: str, store: Store, package: Path | None = None, artifacts_of: str = "") -> Lock:
    mirror = sources.source_of(str(flashinfer.cubin_wheel(artifacts_of or version)))
    lock, _ = work.make_lock(pins.read(package or flashinfer.wheel(version)), store, [mirror])
    return lock


def placed(lock: Lock, store: Store, root: Path) -> Path:
    """A cubin directory as the image has it, writable for these tests."""
    bundle.materialise(lock, store, root)
    return root


def test_the_golden_bundle_of_0_6_13(shared: Store, tmp_path: Path) -> None:
    lock = locked("0.6.13", shared)
    assert lock.wheel_sha256 == flashinfer.WHEELS["0.6.13"]
    assert (len(lock.headers), sum(file.size for file in lock.headers)) == (34, 15_466_615)
    assert locks.bundle_digest(lock) == GOLDEN
    tree = placed(lock, shared, tmp_path / "tree")
    done = subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=tree, capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout.count(": OK") == 38
    for pin in lock.pins:  # FlashInfer's own manifests, read by coreutils, say the same
        if pin.files:
            lines = [line for line in (tree / pin.pin.path / "checksums.txt").read_text().splitlines() if ".h" in line]
            told = subprocess.run(
                ["sha256sum", "--check", "--quiet"], input="\n".join(lines), cwd=tree / pin.pin.path, text=True
            )
            assert told.returncode == 0


def test_export_and_import_without_a_network_give_the_same_bundle(shared: Store, tmp_path: Path) -> None:
    lock = locked("0.6.13", shared)
    archive.export(lock, shared, tmp_path / "one.tar.zst")
    archive.export(lock, shared, tmp_path / "two.tar.zst")
    assert (tmp_path / "one.tar.zst").read_bytes() == (tmp_path / "two.tar.zst").read_bytes()
    command = Path(sys.executable).with_name("orchestrate")
    second = tmp_path / "second"
    second.mkdir()
    argv = ["unshare", "-n", str(command), "headers", "import", "../one.tar.zst", "--store", "store"]
    done = subprocess.run(argv, cwd=second, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert GOLDEN in done.stdout
    assert locks.bundle_digest(bundle.read_lock(second / "flashinfer.lock.json")) == GOLDEN
    argv = ["unshare", "-n", str(command), "headers", "verify", "--store", "store"]
    assert subprocess.run(argv, cwd=second, capture_output=True).returncode == 0


@pytest.mark.parametrize("version", ["0.6.6", "0.6.8.post1", "0.6.13"])
def test_the_real_loader_accepts_our_tree(shared: Store, tmp_path: Path, version: str) -> None:
    lock = locked(version, shared)
    tree = placed(lock, shared, tmp_path / "tree")
    found = flashinfer.run(version, tree, tmp_path)
    assert found["cubin_dir"] == str(tree)
    assert len(found["results"][0]) >= 5
    assert set(found["results"][0].values()) == {""}


@pytest.mark.parametrize("version", ["0.6.17", "0.7.2.post1"])
def test_the_real_loader_accepts_our_tree_with_retargeted_pins(shared: Store, tmp_path: Path, version: str) -> None:
    package = flashinfer.retargeted(version, tmp_path)
    lock = locked(version, shared, package, artifacts_of="0.6.13")
    assert lock.layout == {"0.6.17": "L3", "0.7.2.post1": "L4"}[version]
    tree = placed(lock, shared, tmp_path / "tree")
    found = flashinfer.run(version, tree, tmp_path, package=package)
    assert set(found["results"][0].values()) == {""}


@pytest.mark.parametrize("version", ["0.6.6", "0.6.13", "0.6.17", "0.7.2.post1"])
def test_a_read_only_tree_is_enough(shared: Store, tmp_path: Path, version: str) -> None:
    """As on a read-only root: FlashInfer writes its links through `flashinfer`, which leads to a writable place."""
    public = version in flashinfer.CUBINS
    package = None if public else flashinfer.retargeted(version, tmp_path)
    lock = locked(version, shared, package, artifacts_of="" if public else "0.6.13")
    tree = placed(lock, shared, tmp_path / "tree")
    if not (tree / "flashinfer").exists():
        (tmp_path / "tmp").mkdir()
        (tree / "flashinfer").symlink_to(tmp_path / "tmp")  # /tmp in an image
    script = f'mount --bind {tree} {tree} && mount -o remount,ro,bind {tree} && ! touch {tree}/x 2>&1 && exec "$@"'
    found = flashinfer.run(version, tree, tmp_path, package=package, prefix=["sh", "-c", script, "sh"])
    assert set(found["results"][0].values()) == {""}


@pytest.mark.parametrize("version", ["0.6.6", "0.6.13"])
def test_every_harm_is_rejected_by_both(shared: Store, tmp_path: Path, version: str) -> None:
    """Each header removed, each header with one bit flipped, files of one name swapped between BMM and GEMM."""
    lock = locked(version, shared)
    tree = placed(lock, shared, tmp_path / "tree")
    read_by_it = [entry.path for entry in locks.tree(lock) if entry.path.endswith(".h")]
    if version == "0.6.6":  # it reads the flat copy; the canonical one is there for its meta header alone
        canonical = "/include/trtllmGen_bmm_export/"
        read_by_it = [path for path in read_by_it if canonical not in path or path.startswith("flashinfer/")]
    changes = [{"path": path, "how": how} for path in read_by_it for how in ("remove", "flip")]
    by_name: dict[str, list[str]] = {}
    for path in read_by_it:
        by_name.setdefault(path.split("_export/")[-1] if "_export/" in path else "", []).append(path)
    digests = {entry.path: entry.sha256 for entry in locks.tree(lock)}
    swapped = [
        {"path": one, "how": other}
        for name, (one, other) in {name: paths for name, paths in by_name.items() if len(paths) == 2 and name}.items()
        if digests[one] != digests[other]
    ]
    assert version == "0.6.6" or len(swapped) >= 5
    changes += swapped

    theirs = flashinfer.run(version, tree, tmp_path, changes=changes)["results"]
    assert len(theirs) == 1 + len(changes)
    assert set(theirs[0].values()) == {""}
    for change, verdicts in zip(changes, theirs[1:], strict=True):
        assert any(verdicts.values()), f"FlashInfer accepts {change}"
        file = tree / change["path"]
        before = file.read_bytes()
        if change["how"] == "remove":
            file.unlink()
        elif change["how"] == "flip":
            file.write_bytes(bytes([before[0] ^ 1]) + before[1:])
        else:
            file.write_bytes((tree / change["how"]).read_bytes())
        assert [problem.file for problem in bundle.verify_directory(lock, tree)] == [str(file)], change
        file.write_bytes(before)
    assert bundle.verify_directory(lock, tree) == ()
    if version == "0.6.13":
        assert len(read_by_it) == 34


def test_a_stale_bundle_is_rejected_by_both(shared: Store, tmp_path: Path) -> None:
    lock = locked("0.6.13", shared)
    tree = placed(lock, shared, tmp_path / "tree")
    theirs = flashinfer.run("0.6.17", tree, tmp_path)["results"][0]
    assert theirs["gen_trtllm_gen_fused_moe_sm100_module"]
    assert theirs["gen_trtllm_gen_fmha_module"] == ""  # 0.6.12 to 0.6.17 share this pin
    ours = compare(lock, pins.read(flashinfer.wheel("0.6.17")))
    assert ours.state == "stale"
    moved = {problem.what.split()[1] for problem in ours.problems if "moved" in problem.what}
    assert moved == {"TRTLLM_GEN_BMM"}


def test_0_6_6_without_the_flat_copy_fails_so_l1_is_needed(shared: Store, tmp_path: Path) -> None:
    lock = replace(locked("0.6.6", shared), layout="L2")
    tree = placed(lock, shared, tmp_path / "tree")
    theirs = flashinfer.run("0.6.6", tree, tmp_path)["results"][0]
    assert "BatchedGemmEnums.h not found" in theirs["gen_trtllm_gen_fused_moe_sm100_module"]


def test_our_l1_tree_is_what_vllms_dockerfile_block_made(shared: Store, tmp_path: Path) -> None:
    lock = locked("0.6.6", shared)
    ours = placed(lock, shared, tmp_path / "ours")
    with mirror_of(lock, shared) as mirror:
        flashinfer.run("0.6.6", tmp_path / "theirs", tmp_path, repository=mirror.url, historical=True)
    flat = layout.FLAT_BMM
    assert contents(tmp_path / "theirs" / flat) == contents(ours / flat)
    assert len(contents(ours / flat)) == 18


@pytest.mark.parametrize("version", ["0.6.8.post1", "0.6.13"])
def test_flashinfer_downloads_from_our_mirror_and_lists_it(shared: Store, tmp_path: Path, version: str) -> None:
    lock = locked(version, shared)
    ours = placed(lock, shared, tmp_path / "ours")
    heads = [item.pin.path for item in lock.pins if item.files]
    with mirror_of(lock, shared) as mirror:
        urls = [f"{mirror.url}{path}/" for path in heads]
        found = flashinfer.run(version, tmp_path / "theirs", tmp_path, repository=mirror.url, listing=urls)
    assert set(found["results"][0].values()) == {""}
    theirs = contents(tmp_path / "theirs")
    for path in heads:
        assert {name: data for name, data in theirs.items() if name.startswith(path)} == {
            name: data for name, data in contents(ours).items() if name.startswith(path)
        }
        headers = [name.removeprefix(f"{path}/") for name in theirs if name.startswith(path) and name.endswith(".h")]
        assert sorted(found["listed"][f"{mirror.url}{path}/"]) == sorted(headers)


def test_cubins_are_checked_against_the_real_wheel(shared: Store) -> None:
    """One GEMM pin with all its cubins: 93 of them, every digest as in FlashInfer's manifest."""
    known = pins.read(flashinfer.wheel("0.6.13"))
    (gemm,) = [pin for pin in known.pins if pin.attr == "TRTLLM_GEN_GEMM"]
    mirror = sources.source_of(str(flashinfer.cubin_wheel("0.6.13")))
    fetch.fetch([Wanted(path=f"{gemm.path}/checksums.txt", sha256=gemm.sha256)], [mirror], shared)
    listed = locks.parse_manifest(gemm, shared.read(gemm.sha256))
    wanted = [Wanted(path=path, sha256=digest) for path, digest in listed.items() if path.endswith(".cubin")]
    assert len(wanted) == 93
    fetch.fetch(wanted, [mirror], shared)
    assert list(shared.verify(item.sha256 for item in wanted)) == []
    with pytest.raises(VerificationError, match="could not be fetched"):
        fetch.fetch([Wanted(path=wanted[0].path, sha256="0" * 64)], [mirror], shared)


def test_a_lock_of_one_family_is_not_written(shared: Store) -> None:
    known = pins.read(flashinfer.wheel("0.6.13"))
    gemm = replace(known, pins=tuple(pin for pin in known.pins if pin.attr == "TRTLLM_GEN_GEMM"), loose=())
    mirror = sources.source_of(str(flashinfer.cubin_wheel("0.6.13")))
    with pytest.raises(VerificationError, match="it holds nothing of TRTLLM_GEN_BMM, TRTLLM_GEN_FMHA"):
        work.make_lock(gemm, shared, [mirror])


def contents(root: Path) -> dict[str, bytes]:
    """Every file of a tree, FlashInfer's lock files left out."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and path.suffix != ".lock"
    }


@contextlib.contextmanager
def mirror_of(lock: Lock, store: Store) -> Iterator[Mirror]:
    """`serve` in a thread of this process."""
    mirror = Mirror(lock, store, log=lambda _: None)
    threading.Thread(target=mirror.serve_forever, daemon=True).start()
    try:
        yield mirror
    finally:
        mirror.shutdown()
        mirror.server_close()
