"""The store shows whole, right files and nothing else."""

from __future__ import annotations

import hashlib
import io
import os
from typing import TYPE_CHECKING

import pytest

from orchestrator.errors import EnvironmentLacksError, VerificationError
from orchestrator.headers.store import Store, default_root

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DATA = b"some bytes" * 1000
SHA = hashlib.sha256(DATA).hexdigest()
OTHER = hashlib.sha256(b"other").hexdigest()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def everything(store: Store) -> list[Path]:
    return [path for path in store.root.rglob("*") if path.is_file()]


def test_added_bytes_are_there_and_read_only(store: Store) -> None:
    assert not store.has(SHA)
    assert store.add(io.BytesIO(DATA), SHA)
    assert store.has(SHA)
    assert store.has(SHA, len(DATA))
    assert not store.has(SHA, len(DATA) + 1)
    assert store.read(SHA) == DATA
    assert store.size(SHA) == len(DATA)
    assert store.path(SHA).stat().st_mode & 0o777 == 0o444
    assert list(store.blobs()) == [SHA]
    assert everything(store) == [store.path(SHA)]


def test_other_bytes_leave_nothing(store: Store) -> None:
    assert not store.add(io.BytesIO(DATA), OTHER)
    assert not store.add(io.BytesIO(DATA), SHA, limit=len(DATA) - 1)
    assert everything(store) == []


def test_a_source_that_fails_half_way_leaves_nothing(store: Store) -> None:
    def chunks() -> Iterator[bytes]:
        yield DATA[:100]
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        store.add(chunks(), SHA)
    assert everything(store) == []


def test_a_download_is_adopted_without_a_copy(store: Store) -> None:
    partial = store.partial(SHA)
    partial.parent.mkdir(parents=True)
    partial.write_bytes(DATA)
    inode = partial.stat().st_ino
    store.adopt(partial, SHA)
    assert store.path(SHA).stat().st_ino == inode
    assert store.path(SHA).stat().st_mode & 0o777 == 0o444
    assert not partial.exists()


def test_damage_is_found_by_every_reader(store: Store, tmp_path: Path) -> None:
    store.add(io.BytesIO(DATA), SHA)
    store.path(SHA).chmod(0o644)
    store.path(SHA).write_bytes(DATA[:-1] + b"X")
    assert list(store.verify()) == [(SHA, "damaged")]
    assert dict(store.verify([SHA, OTHER])) == {SHA: "damaged", OTHER: "missing"}
    for read in (lambda: store.read(SHA), lambda: store.copy(SHA, tmp_path / "copy")):
        with pytest.raises(VerificationError, match="damaged"):
            read()
    assert not (tmp_path / "copy").exists()
    store.discard(SHA)
    assert list(store.verify([SHA])) == [(SHA, "missing")]
    for read in (lambda: store.read(SHA), lambda: store.copy(SHA, tmp_path / "copy")):
        with pytest.raises(VerificationError, match="orchestrate headers fetch"):
            read()


def test_the_lock_of_a_digest_is_exclusive_and_others_are_free(store: Store) -> None:
    import threading

    waited: list[str] = []

    def contender() -> None:
        try:
            with store.lock(SHA, timeout=0.05):
                waited.append("in")
        except TimeoutError:
            waited.append("out")

    with store.lock(SHA), store.lock(OTHER, timeout=0):
        thread = threading.Thread(target=contender)
        thread.start()
        thread.join()
    contender()
    assert waited == ["out", "in"]


def test_collect_keeps_what_is_wanted_and_what_is_young(store: Store) -> None:
    store.add(io.BytesIO(DATA), SHA)
    store.add(io.BytesIO(b"other"), OTHER)
    for name in ("old", "young"):
        partial = store.partial(name)
        partial.parent.mkdir(exist_ok=True)
        partial.write_bytes(b"part")
    temporary = store.path(SHA).parent / f".{SHA}.1.ab.tmp"
    temporary.write_bytes(b"killed")
    for path in (store.partial("old"), temporary):
        os.utime(path, (1, 1))
    with store.lock(OTHER):
        pass
    swept = store.collect([SHA])
    assert (swept.files, swept.bytes) == (3, len(b"other") + len(b"part") + len(b"killed"))
    assert list(store.blobs()) == [SHA]
    assert store.partial("young").exists()
    assert not (store.root / "locks" / OTHER).exists()


def test_a_place_that_cannot_be_written_is_named_with_its_cure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentLacksError, match="--store"):
        Store(tmp_path / "file" / "store").add(io.BytesIO(DATA), SHA)


def test_default_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("ORCHESTRATE_HEADERS_STORE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_root() == tmp_path / "orchestrate" / "headers"
    monkeypatch.setenv("ORCHESTRATE_HEADERS_STORE", "/elsewhere")
    assert str(default_root()) == "/elsewhere"


def test_damaged_blobs_are_removed_only_for_a_repair(store: Store) -> None:
    good, damaged, gone = (hashlib.sha256(data).hexdigest() for data in (b"good", b"damaged", b"gone"))
    assert store.add([b"good"], good)
    assert store.add([b"damaged"], damaged)
    store.path(damaged).chmod(0o644)
    store.path(damaged).write_bytes(b"other")
    expected = {damaged: "damaged", gone: "missing"}
    assert store.bad([good, damaged, gone], repair=False) == expected
    assert store.has(damaged)
    assert store.bad([good, damaged, gone], repair=True) == expected
    assert (store.has(damaged), store.has(good)) == (False, True)
