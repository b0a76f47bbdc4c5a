"""The placed tree depends on the lock alone, and every difference from it is found."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from orchestrator.errors import UsageError, VerificationError
from orchestrator.headers import bundle
from orchestrator.headers import lock as locks
from orchestrator.headers.store import Store
from tests.unit.headers import samples

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from orchestrator.headers.lock import Lock


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def lock(tmp_path: Path, store: Store) -> Lock:
    return samples.bundle(tmp_path, store)


def listing(root: Path) -> list[tuple[str, int, float, bytes]]:
    found = []
    for path in sorted(root.rglob("*")):
        status = path.stat()
        data = path.read_bytes() if path.is_file() else b""
        found.append((path.relative_to(root).as_posix(), status.st_mode, status.st_mtime, data))
    return found


def test_two_trees_are_equal_whatever_the_umask(tmp_path: Path, store: Store, lock: Lock) -> None:
    old = os.umask(0o077)
    try:
        bundle.materialise(lock, store, tmp_path / "one")
        os.umask(0o002)
        bundle.materialise(lock, store, tmp_path / "two")
    finally:
        os.umask(old)
    assert listing(tmp_path / "one") == listing(tmp_path / "two")
    modes = {mode & 0o777 for _, mode, _, _ in listing(tmp_path / "one")}
    assert modes == {0o644, 0o755}
    assert not list(tmp_path.glob(".*.tmp"))


def test_the_tree_holds_the_proof_and_the_lock(tmp_path: Path, store: Store, lock: Lock) -> None:
    bundle.materialise(lock, store, tmp_path / "tree")
    assert (tmp_path / "tree" / "SHA256SUMS").read_text() == locks.sums(lock)
    assert bundle.read_lock(tmp_path / "tree" / "flashinfer.lock.json") == lock
    assert bundle.verify_directory(lock, tmp_path / "tree") == ()
    bundle.materialise(lock, store, tmp_path / "tree")  # again is fine


def _remove(path: Path) -> None:
    path.unlink()


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(bytes(data))


def _grow(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\n")


def _link(path: Path) -> None:
    path.rename(path.with_suffix(".away"))
    path.symlink_to(path.with_suffix(".away").name)


def _directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("harm", [_remove, _flip, _grow, _link, _directory], ids=lambda harm: harm.__name__)
def test_every_file_counts(tmp_path: Path, store: Store, lock: Lock, harm: Callable[[Path], None]) -> None:
    names = [entry.path for entry in locks.tree(lock)] + ["SHA256SUMS", "flashinfer.lock.json"]
    whole = tmp_path / "whole"
    bundle.materialise(lock, store, whole)
    assert bundle.verify_directory(lock, whole) == ()
    for number, name in enumerate(names):
        root = tmp_path / str(number)
        shutil.copytree(whole, root)
        harm(root / name)
        problems = bundle.verify_directory(lock, root)
        assert str(root / name) in [problem.file for problem in problems]


def test_a_stranger_in_a_pin_is_found_and_flashinfers_own_links_are_not(
    tmp_path: Path, store: Store, lock: Lock
) -> None:
    root = tmp_path / "tree"
    bundle.materialise(lock, store, root)
    (root / "flashinfer" / "trtllm").mkdir(parents=True)
    (root / "flashinfer" / "trtllm" / "gemm").symlink_to(root)
    assert bundle.verify_directory(lock, root) == ()
    (root / samples.BMM / "include" / "Extra.h").write_text("")
    (problem,) = bundle.verify_directory(lock, root)
    assert "does not belong" in problem.what


def test_a_target_that_is_something_else_is_not_touched(tmp_path: Path, store: Store, lock: Lock) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "mine").write_text("precious")
    with pytest.raises(VerificationError, match="does not have exactly these files"):
        bundle.materialise(lock, store, tmp_path / "tree")
    assert (tmp_path / "tree" / "mine").read_text() == "precious"


def test_a_damaged_blob_makes_no_tree(tmp_path: Path, store: Store, lock: Lock) -> None:
    path = store.path(lock.files[0].sha256)
    path.chmod(0o644)
    path.write_bytes(b"damaged")
    with pytest.raises(VerificationError, match="damaged"):
        bundle.materialise(lock, store, tmp_path / "tree")
    assert not (tmp_path / "tree").exists()
    assert not list(tmp_path.glob(".*.tmp"))


def test_lock_files(tmp_path: Path, lock: Lock) -> None:
    path = tmp_path / "flashinfer.lock.json"
    with pytest.raises(UsageError, match="orchestrate headers lock"):
        bundle.read_lock(path)
    assert bundle.write_lock(lock, path)
    assert not bundle.write_lock(lock, path)
    assert bundle.read_lock(path) == lock
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(VerificationError):
        bundle.read_lock(path)
