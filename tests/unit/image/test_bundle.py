"""The runtime sees the sum of all layers; what a later one did to the bundle is found."""

from __future__ import annotations

import io
import os
import tarfile
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from orchestrator.errors import UsageError
from orchestrator.headers import lock as locks
from orchestrator.headers.store import Store
from orchestrator.image import bundle
from tests.unit.headers import samples

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from orchestrator.headers.lock import Lock

DIRECTORY = "/opt/flashinfer/cubins"
ENVIRONMENT = {"FLASHINFER_CUBIN_DIR": DIRECTORY}
Members = dict[str, bytes | str | None]
"""Path -> bytes of a file, target of a link, or None for a directory."""


@pytest.fixture(autouse=True)
def _without_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def lock(tmp_path: Path, store: Store) -> Lock:
    return samples.bundle(tmp_path, store)


def placed(lock: Lock, store: Store, root: str = DIRECTORY) -> Members:
    files: Members = {f"{root}/{entry.path}": store.read(entry.sha256) for entry in locks.tree(lock)}
    files[f"{root}/SHA256SUMS"] = locks.sums(lock).encode()
    files[f"{root}/flashinfer.lock.json"] = locks.dumps(lock).encode()
    return files


def layer(files: Members) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for path, content in files.items():
            info = tarfile.TarInfo(path.strip("/"))
            if content is None:
                info.type = tarfile.DIRTYPE
            elif isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
            else:
                info.size = len(content)
            tar.addfile(info, io.BytesIO(content if isinstance(content, bytes) else b""))
    return raw.getvalue()


def seen(*layers: Members, environment: Mapping[str, str] | None = None, expected: str = "") -> bundle.Carried:
    view = bundle.View(environment=ENVIRONMENT if environment is None else environment)
    for files in layers:
        bundle._read(view, iter([layer(files)]))
    return bundle.judge(view, "image", expected=expected)


def whats(found: bundle.Carried) -> list[str]:
    return [problem.what for problem in found.problems]


def test_a_whole_bundle(lock: Lock, store: Store) -> None:
    found = seen(placed(lock, store), {"/etc/passwd": b"later"}, expected=locks.bundle_digest(lock))
    assert found.problems == ()
    assert found.lock == lock
    assert found.directory == DIRECTORY
    assert found.warnings == ()


def test_each_header_that_a_later_layer_takes_away_or_changes_is_named(lock: Lock, store: Store) -> None:
    base = placed(lock, store)
    for entry in locks.tree(lock):
        path = f"{DIRECTORY}/{entry.path}"
        folder, _, name = path.rpartition("/")
        gone = seen(base, {f"{folder}/.wh.{name}": b""})
        assert [problem.file for problem in gone.problems] == [path]
        assert "is missing: a later layer removed it" in gone.problems[0].what
        changed = seen(base, {path: b"// other\n"})
        assert whats(changed) == ["was changed"]
        assert f"{entry.size:,} bytes" in changed.warnings[0]


@pytest.mark.parametrize(
    "harm",
    [
        {f"{DIRECTORY.rpartition('/')[0]}/.wh.cubins": b""},
        {f"{DIRECTORY}/.wh..wh..opq": b""},
        {DIRECTORY: b"a file instead"},
        {DIRECTORY: "/elsewhere"},
    ],
    ids=["removed", "made opaque", "replaced by a file", "replaced by a link"],
)
def test_a_directory_that_goes_takes_the_bundle_with_it(lock: Lock, store: Store, harm: Members) -> None:
    assert whats(seen(placed(lock, store), harm)) == [
        f"no FlashInfer bundle in {DIRECTORY}: flashinfer.lock.json is not there"
    ]


def test_a_bundle_that_is_put_back_is_whole_again(lock: Lock, store: Store) -> None:
    base = placed(lock, store)
    assert seen(base, {f"{DIRECTORY}/.wh..wh..opq": b""}, base).problems == ()


def test_through_a_link_to_the_package(lock: Lock, store: Store) -> None:
    package = "/opt/venv/lib/python3.12/site-packages/flashinfer_cubin"
    files = {f"{package}/__init__.py": b"x", **placed(lock, store, f"{package}/cubins"), DIRECTORY: f"{package}/cubins"}
    installed = {"/opt/venv/lib/python3.12/site-packages/flashinfer_python-0.6.13.dist-info/METADATA": b"x"}
    assert seen({**files, **installed}).problems == ()


def test_a_package_that_wins_over_the_variable(lock: Lock, store: Store) -> None:
    site = "/usr/lib/python3/dist-packages"
    later: Members = {
        f"{site}/flashinfer_cubin/__init__.py": b"x",
        f"{site}/flashinfer_python-0.6.13.dist-info/METADATA": b"x",
    }
    found = seen(placed(lock, store), later)
    assert any("looks in" in what and "flashinfer_cubin is installed" in what for what in whats(found))
    newer = {path.replace("0.6.13", "0.6.17"): content for path, content in later.items()}
    assert not any("looks in" in what for what in whats(seen(placed(lock, store), newer)))


def test_another_version_another_bundle_and_a_promise_too_much(lock: Lock, store: Store) -> None:
    base = placed(lock, store)
    newer: Members = {"/usr/lib/python3/dist-packages/flashinfer_python-0.6.14.dist-info/METADATA": b"x"}
    (problem,) = seen(base, newer).problems
    assert (problem.expected, problem.found) == ("0.6.13", "0.6.14")
    assert whats(seen(base, expected="sha256:" + "0" * 64)) == ["another bundle than the build was given"]
    (problem,) = seen(base, environment={**ENVIRONMENT, "FLASHINFER_NO_DOWNLOAD": "1"}).problems
    assert "does not hold every cubin" in problem.what


def test_the_pins_of_an_installed_flashinfer(tmp_path: Path) -> None:
    site = "/opt/venv/lib/python3.12/site-packages"
    old: Members = {f"{site}/{name}": text.encode() for name, text in samples.source("0.6.12").items()}
    new: Members = {f"{site}/{name}": text.encode() for name, text in samples.source("0.6.13").items()}
    removed: Members = {f"{site}/.wh.flashinfer_python-0.6.12.dist-info": b""}
    archive = tmp_path / "root.tar"  # one file system, as `docker export` writes it
    archive.write_bytes(layer({**new, "/etc/os-release": b"x"}))
    found = bundle.image_pins(str(archive))
    assert found == replace(samples.known(tmp_path), wheel_sha256="")

    view = bundle.View(environment={})
    for files in (old, removed, new):
        bundle._read(view, iter([layer(files)]))
    assert bundle._versions(view) == ["0.6.13"]

    archive.write_bytes(layer({"/etc/os-release": b"x"}))
    with pytest.raises(UsageError, match="no FlashInfer installed"):
        bundle.image_pins(str(archive))
    twice = {f"/usr/lib/python3/dist-packages/{name}": text.encode() for name, text in samples.source().items()}
    archive.write_bytes(layer({**new, **twice}))
    with pytest.raises(UsageError, match="FlashInfer in /opt/venv"):
        bundle.image_pins(str(archive))


def test_an_image_without_any(lock: Lock, store: Store) -> None:
    assert "below the user's home" in whats(seen({"/x": b"y"}, environment={}))[0]
    assert "no FlashInfer bundle" in whats(seen({"/x": b"y"}))[0]
    damaged = {**placed(lock, store), f"{DIRECTORY}/flashinfer.lock.json": b"{"}
    assert "not a FlashInfer lock file" in whats(seen(damaged))[0]
