"""The commands of `orchestrate headers` on a store and a mirror that are directories: no network, no process."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from orchestrator.cli import app
from orchestrator.headers import bundle
from orchestrator.headers import lock as locks
from orchestrator.headers.store import Store
from tests.unit.headers import samples
from tests.unit.matrix.support import SMALL

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.headers.lock import Lock


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ORCHESTRATE_HEADERS_STORE", str(tmp_path / "store"))
    return Store(tmp_path / "store")


@pytest.fixture
def lock(tmp_path: Path, store: Store) -> Lock:
    made = samples.bundle(tmp_path, store)
    bundle.write_lock(made, tmp_path / "flashinfer.lock.json")
    return made


@pytest.fixture
def mirror(tmp_path: Path) -> str:
    for path, data in samples.artifacts().items():
        (tmp_path / "mirror" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mirror" / path).write_bytes(data)
    return str(tmp_path / "mirror")


def damage(store: Store, sha256: str) -> None:
    store.path(sha256).chmod(0o644)
    store.path(sha256).write_bytes(b"damaged")


def test_a_lock_is_written_from_a_wheel_and_a_mirror(
    tmp_path: Path, store: Store, mirror: str, capsys: pytest.CaptureFixture[str]
) -> None:
    wheel = samples.wheel(tmp_path / "flashinfer_python-0.6.13-py3-none-any.whl")
    words = ["headers", "lock", "--from", str(wheel), "--mirror", mirror, "--no-default-repository"]
    assert app.run(words) == 0
    shown = capsys.readouterr()
    made = bundle.read_lock(tmp_path / "flashinfer.lock.json")
    assert "flashinfer.lock.json: written (10 fetched, 3 present)" in shown.err
    assert all(store.has(file.sha256) for file in made.files)
    before = (tmp_path / "flashinfer.lock.json").read_bytes()
    assert app.run([*words, "--format", "json"]) == 0
    shown = capsys.readouterr()
    assert "flashinfer.lock.json: unchanged (0 fetched" in shown.err
    assert json.loads(shown.out)["bundle"] == locks.bundle_digest(made)
    assert (tmp_path / "flashinfer.lock.json").read_bytes() == before
    assert app.run(["headers", "lock", "--from", str(wheel), "--check"]) == 0
    assert "flashinfer.lock.json: fresh for FlashInfer 0.6.13" in capsys.readouterr().err
    other = samples.wheel(tmp_path / "flashinfer_python-0.6.12-py3-none-any.whl", samples.source("0.6.12"))
    assert app.run(["headers", "lock", "--from", str(other), "--check"]) == 3
    assert "the FlashInfer lock is stale" in capsys.readouterr().err


def test_what_is_missing_is_fetched_and_what_is_there_is_not(
    store: Store, lock: Lock, mirror: str, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = lock.files[0]
    store.path(gone.sha256).unlink()
    words = ["headers", "fetch", "--mirror", mirror, "--no-default-repository"]
    assert app.run([*words, "--format", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["fetched"], told["present"], told["requests"]) == (1, len(lock.files) - 1, 0)
    assert told["bytes"] == gone.size
    assert app.run(words) == 0
    assert capsys.readouterr().out == f"0 files fetched, 0 bytes, 0 requests; {len(lock.files)} present\n"


def test_damage_is_named_and_repaired(
    tmp_path: Path, store: Store, lock: Lock, mirror: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.run(["headers", "verify"]) == 0
    assert (
        capsys.readouterr().out == f"{len(lock.files)} files, {lock.bytes:,} bytes verified in {tmp_path / 'store'}\n"
    )
    bad, gone = lock.files[:2]
    damage(store, bad.sha256)
    store.path(gone.sha256).unlink()
    assert app.run(["headers", "verify"]) == 4
    told = capsys.readouterr().err
    assert f"2 of {len(lock.files)} files are missing or damaged" in told
    assert f"{bad.path}: is damaged in the store" in told
    assert f"{gone.path}: is missing in the store" in told
    assert "hint: `orchestrate headers verify --repair` fetches them again" in told
    assert app.run(["headers", "verify", "--repair", "--mirror", mirror, "--no-default-repository"]) == 0
    assert "2 files repaired" in capsys.readouterr().err
    assert not list(store.verify(file.sha256 for file in lock.files))


def test_a_placed_bundle_is_verified(tmp_path: Path, lock: Lock, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["headers", "export", "-o", str(tmp_path / "tree")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'tree'}: {len(lock.files)} files\n"
    assert app.run(["headers", "verify", str(tmp_path / "tree")]) == 0
    assert capsys.readouterr().out == f"{len(lock.files)} files verified in {tmp_path / 'tree'}\n"
    (tmp_path / "tree" / "SHA256SUMS").unlink()
    assert app.run(["headers", "verify", str(tmp_path / "tree")]) == 4
    assert "does not hold the bundle of flashinfer.lock.json" in capsys.readouterr().err


def test_a_bundle_crosses_an_air_gap(
    tmp_path: Path, lock: Lock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.run(["headers", "export"]) == 0
    archive = tmp_path / "flashinfer-headers-0.6.13.tar.zst"
    assert capsys.readouterr().out == f"{archive.name}: {archive.stat().st_size:,} bytes\n"
    inside = tmp_path / "inside"
    inside.mkdir()
    monkeypatch.chdir(inside)
    monkeypatch.setenv("ORCHESTRATE_HEADERS_STORE", str(inside / "store"))
    assert app.run(["headers", "import", str(archive), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["bundle"] == locks.bundle_digest(lock)
    assert bundle.read_lock(inside / "flashinfer.lock.json") == lock
    assert app.run(["headers", "import", str(archive)]) == 0
    text = capsys.readouterr().out
    assert text.startswith("FlashInfer 0.6.13, layout ")
    assert f"; {len(lock.files)} files in all\n" in text
    assert f"bundle {locks.bundle_digest(lock)}\n" in text
    assert app.run(["headers", "import", str(archive)]) == 0  # the lock that is there now agrees
    other = samples.bundle(tmp_path, Store(tmp_path / "other"), version="0.6.12")
    (inside / "flashinfer.lock.json").unlink()
    bundle.write_lock(other, inside / "flashinfer.lock.json")
    before = (inside / "flashinfer.lock.json").read_bytes()
    assert app.run(["headers", "import", str(archive)]) == 4
    assert f"the lock file says {locks.bundle_digest(other)}" in capsys.readouterr().err
    assert (inside / "flashinfer.lock.json").read_bytes() == before


def test_an_incomplete_store_exports_nothing(
    tmp_path: Path, store: Store, lock: Lock, capsys: pytest.CaptureFixture[str]
) -> None:
    store.path(lock.files[0].sha256).unlink()
    assert app.run(["headers", "export"]) == 4
    assert "hint: " in capsys.readouterr().err
    assert not list(tmp_path.glob("*.tar.zst"))


def test_what_no_lock_needs_is_removed(
    tmp_path: Path, store: Store, lock: Lock, capsys: pytest.CaptureFixture[str]
) -> None:
    other = samples.bundle(tmp_path, store, version="0.6.12")
    bundle.write_lock(other, tmp_path / "other.lock.json")
    assert store.add([b"nobody's"], samples.sha(b"nobody's"))
    needed = {file.sha256 for one in (lock, other) for file in one.files}
    checked = sum(store.size(one) for one in set(store.blobs()) - needed) - 8
    assert app.run(["headers", "gc", "--lock", "flashinfer.lock.json", "--lock", "other.lock.json"]) == 0
    assert capsys.readouterr().out == f"2 files removed, {8 + checked} bytes\n"  # and a list of checksums
    assert app.run(["headers", "gc"]) == 0
    kept = {file.sha256 for file in lock.files}
    assert set(store.blobs()) == kept


@pytest.mark.parametrize("words", ["verify", "fetch", "export", "gc", "serve"])
def test_without_a_lock_there_is_a_hint(store: Store, capsys: pytest.CaptureFixture[str], words: str) -> None:
    assert not store.root.exists()
    assert app.run(["headers", words]) == 2
    error = capsys.readouterr().err
    assert "flashinfer.lock.json: no FlashInfer lock file" in error
    assert "hint: write it: orchestrate headers lock" in error
    assert app.run(["headers", words, "-f", "gone.yaml"]) == 2
    assert "gone.yaml: the matrix was not found" in capsys.readouterr().err


def test_which_images_work_offline(
    tmp_path: Path, store: Store, lock: Lock, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "matrix.yaml").write_text(SMALL)
    why = "matrix.yaml has no headers section, or its policy is off"
    assert app.run(["headers", "status", "--format", "json"]) == 0
    row = {"variant": "app-cu130-amd64", "offline": "no", "why": [why]}
    assert json.loads(capsys.readouterr().out) == {"schema": 1, "variants": [row]}
    assert app.run(["headers", "status"]) == 0
    title, line = capsys.readouterr().out.splitlines()
    assert title.split() == ["variant", "offline", "why"]
    assert line.split(maxsplit=2) == ["app-cu130-amd64", "no", why]
    (tmp_path / "matrix.yaml").write_text(SMALL + "headers: {version: 0.6.13}\n")
    rows = {}
    for name, gone in (("whole", False), ("without a file", True)):
        if gone:
            store.path(lock.files[0].sha256).unlink()
        assert app.run(["headers", "status", "--format", "json"]) == 0
        (rows[name],) = json.loads(capsys.readouterr().out)["variants"]
    assert rows["whole"]["offline"] != rows["without a file"]["offline"] == "no"
    (tmp_path / "matrix.yaml").write_text(SMALL + "headers: {version: 0.6.12}\n")
    assert app.run(["headers", "status", "--format", "json"]) == 0
    assert "0.6.12" in capsys.readouterr().out
    assert app.run(["headers", "status", "--store", "elsewhere", "--variant", "none"]) == 2
