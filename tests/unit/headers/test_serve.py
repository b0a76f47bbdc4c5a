"""The server of a bundle gives out nothing that the lock does not say: each blob is read before it is served."""

from __future__ import annotations

import hashlib
import io
from typing import TYPE_CHECKING

from orchestrator.headers.serve import Mirror
from orchestrator.headers.store import Store

if TYPE_CHECKING:
    from pathlib import Path

DATA = b"a header\n" * 100
SHA = hashlib.sha256(DATA).hexdigest()


def mirror(store: Store) -> Mirror:
    """A server that listens nowhere."""
    made = Mirror.__new__(Mirror)
    made.store, made.verified = store, set()
    return made


def test_a_damaged_blob_is_not_good(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.add(io.BytesIO(DATA), SHA)
    store.path(SHA).chmod(0o644)
    store.path(SHA).write_bytes(DATA[:-1] + b"x")
    server = mirror(store)
    assert not server.good(SHA)
    assert not server.good(SHA), "asked twice, it is still damaged"
    assert server.verified == set()


def test_a_blob_that_is_missing_is_not_good_until_it_is_there(tmp_path: Path) -> None:
    store = Store(tmp_path)
    server = mirror(store)
    assert not server.good(SHA)
    store.add(io.BytesIO(DATA), SHA)
    assert server.good(SHA)


def test_a_good_blob_is_read_once(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.add(io.BytesIO(DATA), SHA)
    server = mirror(store)
    assert server.good(SHA)
    store.path(SHA).unlink()
    assert server.good(SHA)
