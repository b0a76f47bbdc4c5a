"""The runtime sees the sum of all layers; what a later one did to the bundle is found."""

from __future__ import annotations

import io
import json
import os
import tarfile
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.errors import UsageError
from orchestrator.flashinfer import LOCK_NAME
from orchestrator.headers import lock as locks
from orchestrator.headers.store import Store
from orchestrator.image.layers import artifacts
from orchestrator.image.layers.merge import LayerScan, merge
from orchestrator.image.layers.scan import scan_layer
from orchestrator.image.verdict import bundle
from orchestrator.image.verdict.policy import Policy
from orchestrator.image.verdict.scanned import Scanned
from orchestrator.image.verdict.verify import verdict
from orchestrator.labels import FLASHINFER
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


def layer(files: Members, *, modes: Mapping[str, int] | None = None) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for path, content in files.items():
            info = tarfile.TarInfo(path.strip("/"))
            info.mode = (modes or {}).get(path, 0o755 if content is None else 0o644)
            if content is None:
                info.type = tarfile.DIRTYPE
            elif isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
            else:
                info.size = len(content)
            tar.addfile(info, io.BytesIO(content if isinstance(content, bytes) else b""))
    return raw.getvalue()


def scanned(*layers: bytes, environment: Mapping[str, str] | None = None, **words: Any) -> Scanned:
    scans = [scan_layer(io.BytesIO(data), len(data)) for data in layers]
    kept = [LayerScan.from_json(json.loads(json.dumps(scan.to_json()))) for scan in scans]
    known = ENVIRONMENT if environment is None else environment
    return Scanned(source="image", environment=known, files=merge(kept), image=True, **words)


def seen(*layers: Members, environment: Mapping[str, str] | None = None, expected: str = "") -> bundle.Carried:
    return bundle.judge(scanned(*map(layer, layers), environment=environment), expected=expected)


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
    expected = replace(samples.known(tmp_path), wheel_sha256="")
    assert bundle.pins_of(scanned(layer({**new, "/etc/os-release": b"x"}))) == expected
    assert bundle.pins_of(scanned(*map(layer, (old, removed, new)))) == expected
    with pytest.raises(UsageError, match="no FlashInfer installed"):
        bundle.pins_of(scanned(layer({"/etc/os-release": b"x"})))
    twice = {f"/usr/lib/python3/dist-packages/{name}": text.encode() for name, text in samples.source().items()}
    with pytest.raises(UsageError, match="FlashInfer in /opt/venv"):
        bundle.pins_of(scanned(layer({**new, **twice})))


def test_an_image_without_any(lock: Lock, store: Store) -> None:
    assert "below the user's home" in whats(seen({"/x": b"y"}, environment={}))[0]
    assert "no FlashInfer bundle" in whats(seen({"/x": b"y"}))[0]
    damaged = {**placed(lock, store), f"{DIRECTORY}/flashinfer.lock.json": b"{"}
    assert "not a FlashInfer lock file" in whats(seen(damaged))[0]


def test_what_a_user_of_the_image_may_not_read_is_named(lock: Lock, store: Store) -> None:
    files: Members = {DIRECTORY: None, **placed(lock, store)}
    secret = f"{DIRECTORY}/{locks.tree(lock)[0].path}"
    image = layer(files, modes={secret: 0o640})
    for user in ("1000", "1000:1000", "app"):
        (problem,) = bundle.judge(scanned(image, user=user)).problems
        assert (problem.file, problem.what) == (secret, f"user {user} of the image may not read it")
    for user in ("", "0", "root", "0:1000", "1000:0"):
        found = bundle.judge(scanned(image, user=user))
        assert found.problems == ()
        assert found.warnings == (f"{secret}: only some users may read it; under another one FlashInfer would fail",)
    closed = layer(files, modes={DIRECTORY: 0o750})
    (problem,) = bundle.judge(scanned(closed, user="1000")).problems
    assert (problem.file, problem.what) == (DIRECTORY, "user 1000 of the image may not enter it")
    opened = layer({DIRECTORY: None})
    assert bundle.judge(scanned(closed, opened, user="1000")).problems == ()
    assert bundle.judge(scanned(layer(files), user="1000")).warnings == ()


def test_an_image_is_bound_by_its_label_and_by_its_lock(lock: Lock, store: Store) -> None:
    whole, bare = layer(placed(lock, store)), layer({"/etc/passwd": b"x"})
    elsewhere = layer({"/src/flashinfer.lock.json": locks.dumps(lock).encode()})
    label = {FLASHINFER: locks.bundle_digest(lock)}

    def judged(image: Scanned, bound: str = "") -> tuple[bool, ...]:
        result = verdict(image, (), Policy(), bundle=bound)
        return () if result.headers is None else (not result.headers.problems, result.ok)

    assert judged(scanned(whole)) == (True, True)
    assert judged(scanned(whole, labels=label)) == (True, True)
    assert judged(scanned(bare)) == ()
    assert judged(scanned(elsewhere)) == (), "a lock that was copied with the sources binds nobody"
    assert judged(scanned(bare, labels=label)) == (False, False)
    assert judged(scanned(bare), bound=label[FLASHINFER]) == (False, False)
    assert judged(scanned(whole, labels={FLASHINFER: "sha256:" + "0" * 64})) == (False, False)
    taken = layer({f"{DIRECTORY}/.wh.flashinfer.lock.json": b""})
    assert judged(scanned(whole, taken, labels=label)) == (False, False)
    value = verdict(scanned(whole), (), Policy()).to_json()["headers"]
    assert value == {"ok": True, "directory": DIRECTORY, "flashinfer": lock.version, "files": len(lock.files)}
    assert verdict(scanned(bare), (), Policy()).to_json()["headers"] is None


def test_every_placed_file_is_noted_by_a_scan(lock: Lock) -> None:
    assert artifacts.wanted(f"opt/cubins/{LOCK_NAME}")
    assert all(artifacts.wanted(f"opt/cubins/{entry.path}") for entry in locks.tree(lock))
    assert not artifacts.wanted("usr/lib/python3/dist-packages/flashinfer/jit.py")


def test_hard_links_to_headers_are_headers(lock: Lock, store: Store) -> None:
    entry = locks.tree(lock)[0]
    path, spare = f"{DIRECTORY}/{entry.path}", f"/opt/spare/{entry.path}"
    files = placed(lock, store)
    moved = {spare if name == path else name: content for name, content in files.items()}
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        link = tarfile.TarInfo(path.strip("/"))
        link.type, link.linkname = tarfile.LNKTYPE, spare.strip("/")
        tar.addfile(link)
    assert whats(seen(moved)) == ["is missing: a later layer removed it, or it never was there"]
    assert bundle.judge(scanned(layer(moved), raw.getvalue())).problems == ()
