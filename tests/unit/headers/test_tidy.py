"""What `headers gc` removes and what it leaves."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from orchestrator.headers import bundle
from orchestrator.headers.store import Store
from orchestrator.headers.tidy import folder_of, tidy
from tests.unit.headers import samples

if TYPE_CHECKING:
    from pathlib import Path


def test_bundles_wheels_and_leftovers_go_and_what_a_lock_needs_stays(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    kept, other = (samples.bundle(tmp_path, store, version=version) for version in ("0.6.13", "0.6.12"))
    for lock in (kept, other):
        bundle.materialise(lock, store, folder_of(lock, store))
    wheels = store.root / "wheels"
    wheels.mkdir()
    for version in ("0.6.13", "0.6.12"):
        (wheels / f"flashinfer_python-{version}-py3-none-any.whl").write_bytes(b"x" * 10)
    left = [store.root / ".import.7.abc.tmp", store.root / "bundles" / ".name.7.abc.tmp"]
    for path in left:
        path.mkdir()
        (path / "part").write_bytes(b"x")
    swept = tidy(store, [kept])
    assert folder_of(kept, store).is_dir()
    assert not folder_of(other, store).exists()
    assert [path.name for path in wheels.iterdir()] == ["flashinfer_python-0.6.13-py3-none-any.whl"]
    assert all(path.exists() for path in left)  # young: a run may be going on
    assert swept.files > len(other.files)
    assert tidy(store, [kept], now=time.time() + 2 * 24 * 3600).files == 2
    assert not any(path.exists() for path in left)
    assert not list(store.verify(file.sha256 for file in kept.files))
