"""An archive comes from outside: two exports are equal, and nothing bad gets in."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING

import pytest
import zstandard

from orchestrator.errors import OrchestrateError, UsageError, VerificationError
from orchestrator.headers import archive, bundle
from orchestrator.headers.store import Store
from tests.unit.headers import samples

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from orchestrator.headers.lock import Lock

Members = list[tuple[tarfile.TarInfo, bytes]]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def lock(tmp_path: Path, store: Store) -> Lock:
    return samples.bundle(tmp_path, store)


@pytest.fixture
def good(tmp_path: Path, store: Store, lock: Lock) -> Path:
    path = tmp_path / "good.tar.zst"
    archive.export(lock, store, path)
    return path


def members(path: Path) -> Members:
    with zstandard.open(path, "rb") as stream, tarfile.open(fileobj=io.BytesIO(stream.read())) as tar:
        return [(info, member.read() if (member := tar.extractfile(info)) else b"") for info in tar]


def packed(changed: Members, *, end: bytes = b"", after: bytes = b"") -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for info, data in changed:
            if info.type == tarfile.REGTYPE:
                info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return zstandard.ZstdCompressor().compress(raw.getvalue() + end) + after


def named(
    name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, target: str = ""
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = target
    return info, data


def test_export_import_round_trip(tmp_path: Path, good: Path, lock: Lock) -> None:
    second = Store(tmp_path / "second")
    loaded = archive.load(good, second, tmp_path / "new.lock.json")
    assert loaded == lock
    assert bundle.read_lock(tmp_path / "new.lock.json") == lock
    assert list(second.verify(file.sha256 for file in lock.files)) == []
    assert archive.load(good, second) == lock  # again is fine
    assert not list(second.root.glob(".import*"))


def test_two_exports_are_byte_identical(tmp_path: Path, good: Path, lock: Lock) -> None:
    second = Store(tmp_path / "second")
    archive.load(good, second)
    archive.export(lock, second, tmp_path / "again.tar.zst")
    assert (tmp_path / "again.tar.zst").read_bytes() == good.read_bytes()


def test_the_archive_holds_regular_files_of_nobody(good: Path, lock: Lock) -> None:
    found = [info for info, _ in members(good)]
    assert [info.name for info in found] == ["flashinfer.lock.json", "SHA256SUMS", *(f.path for f in lock.files)]
    assert {(info.type, info.uid, info.gid, info.uname, info.gname, info.mtime, info.mode) for info in found} == {
        (tarfile.REGTYPE, 0, 0, "", "", 0, 0o644)
    }


def test_another_bundle_than_expected_is_refused(tmp_path: Path, good: Path) -> None:
    second = Store(tmp_path / "second")
    with pytest.raises(VerificationError, match="the lock file says"):
        archive.load(good, second, expected="sha256:" + "0" * 64)
    assert list(second.blobs()) == []


def test_an_import_repairs_what_is_damaged_and_leaves_what_is_right(tmp_path: Path, store: Store, lock: Lock) -> None:
    """A machine without a network has nothing but the archive to repair its store with."""
    archive.export(lock, store, tmp_path / "one.tar.zst")
    first, second = lock.files[0], lock.files[1]
    store.path(first.sha256).chmod(0o644)
    store.path(first.sha256).write_bytes(b"damaged, of another size")
    store.path(second.sha256).unlink()
    right = {file.sha256: store.path(file.sha256).stat().st_ino for file in lock.files[2:]}
    bad = dict(store.verify(file.sha256 for file in lock.files))
    assert bad == {first.sha256: "damaged", second.sha256: "missing"}
    archive.load(tmp_path / "one.tar.zst", store)
    assert not list(store.verify(file.sha256 for file in lock.files))
    assert {sha256: store.path(sha256).stat().st_ino for sha256 in right} == right


def test_export_refuses_a_damaged_store(tmp_path: Path, store: Store, lock: Lock) -> None:
    path = store.path(lock.files[0].sha256)
    path.chmod(0o644)
    path.write_bytes(b"x")
    with pytest.raises(VerificationError, match="verify --repair"):
        archive.export(lock, store, tmp_path / "x.tar.zst")
    assert not list(tmp_path.glob("*x.tar.zst*"))


def _insert(item: tuple[tarfile.TarInfo, bytes]) -> Callable[[Members], Members]:
    return lambda found: [*found[:3], item, *found[3:]]


def _renamed(name: str) -> Callable[[Members], Members]:
    def change(found: Members) -> Members:
        found[3][0].name = name
        return found

    return change


def _flipped(found: Members) -> Members:
    info, data = found[-1]
    return [*found[:-1], (info, bytes([data[0] ^ 1]) + data[1:])]


def _mode(found: Members) -> Members:
    found[-1][0].mode = 0o4755
    return found


def _sparse(found: Members) -> Members:
    info, data = found[-1]
    info.pax_headers = {"GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.map": f"0,{len(data)}"}
    return found


def _pax_path(found: Members) -> Members:
    found[-1][0].pax_headers = {"path": "../../outside"}
    return found


def _pax_size(found: Members) -> Members:
    found[-1][0].pax_headers = {"size": "99999999999"}
    return found


BAD: dict[str, tuple[Callable[[Members], Members], str]] = {
    "absolute path": (_insert(named("/tmp/outside", b"x")), "unsafe member name"),
    "climbs out": (_insert(named("../outside", b"x")), "unsafe member name"),
    "climbs out in the middle": (_insert(named("a/../../outside", b"x")), "unsafe member name"),
    "backslash": (_insert(named("..\\outside", b"x")), "unsafe member name"),
    "control character": (_insert(named("a\x1b[2Jb", b"x")), "unsafe member name"),
    "symbolic link": (_insert(named("link", kind=tarfile.SYMTYPE, target="/etc/passwd")), "symbolic link"),
    "hard link": (_insert(named("link", kind=tarfile.LNKTYPE, target="flashinfer.lock.json")), "hard link"),
    "character device": (_insert(named("null", kind=tarfile.CHRTYPE)), "a device"),
    "block device": (_insert(named("disk", kind=tarfile.BLKTYPE)), "a device"),
    "fifo": (_insert(named("pipe", kind=tarfile.FIFOTYPE)), "not a regular file"),
    "directory": (_insert(named("folder", kind=tarfile.DIRTYPE)), "a directory"),
    "stranger": (_insert(named("stranger.h", b"x")), "is not in the lock"),
    "duplicate": (lambda found: [*found, found[-1]], "appears twice"),
    "case collision": (lambda found: [*found, named(found[-1][0].name.swapcase(), b"x")], "is not in the lock"),
    "missing file": (lambda found: found[:-1], "files are missing"),
    "changed byte": (_flipped, "another sha256"),
    "longer": (lambda found: [*found[:-1], (found[-1][0], found[-1][1] + b"x")], "bytes, the lock says"),
    "shorter": (lambda found: [*found[:-1], (found[-1][0], found[-1][1][:-1])], "bytes, the lock says"),
    "setuid": (_mode, "has mode 4755"),
    "sparse": (_sparse, "regular|another sha256|lock"),
    "name changed by a pax header": (_pax_path, "unsafe member name"),
    "size changed by a pax header": (_pax_size, "bytes, the lock says|more than its lock"),
    "no lock": (lambda found: found[1:], "expected flashinfer.lock.json"),
    "lock not first": (lambda found: [found[1], found[0], *found[2:]], "expected flashinfer.lock.json"),
    "a second lock": (lambda found: [*found, found[0]], "is not in the lock"),
    "no sums": (lambda found: [found[0], *found[2:]], "expected SHA256SUMS"),
    "other sums": (
        lambda found: [found[0], (found[1][0], b"0" * 64 + b"  x\n"), *found[2:]],
        "not the one of the lock",
    ),
    "lock is a link": (
        lambda found: [named("flashinfer.lock.json", kind=tarfile.SYMTYPE, target="/etc/passwd"), *found[1:]],
        "symbolic link",
    ),
    "lock is not JSON": (lambda found: [(found[0][0], b"\xff{"), *found[1:]], "."),
    "lock edited": (
        lambda found: [(found[0][0], found[0][1].replace(b'"size": ', b'"size": 1', 1)), *found[1:]],
        "not a FlashInfer lock|were edited|was edited",
    ),
    "renamed member": (_renamed("b/include/Enums.h"), "is not in the lock"),
    "nothing at all": (lambda _: [], "expected flashinfer.lock.json"),
}


def refuse(tmp_path: Path, data: bytes, says: str) -> None:
    path = tmp_path / "bad.tar.zst"
    path.write_bytes(data)
    second = Store(tmp_path / "deep" / "er" / "second")
    before = {item for item in tmp_path.rglob("*") if "second" not in str(item)} | {
        tmp_path / "deep",
        tmp_path / "deep/er",
    }
    with pytest.raises(VerificationError, match=says) as caught:
        archive.load(path, second, tmp_path / "out.lock.json")
    assert "\n" not in caught.value.message
    assert "\x1b" not in str(caught.value)
    assert list(second.blobs()) == []
    assert {item for item in tmp_path.rglob("*") if "second" not in str(item)} == before
    assert [item for item in second.root.rglob("*") if item.is_file()] == []


@pytest.mark.parametrize("kind", list(BAD))
def test_a_bad_member_is_refused_and_nothing_is_written(tmp_path: Path, good: Path, kind: str) -> None:
    change, says = BAD[kind]
    refuse(tmp_path, packed(change(members(good))), says)


@pytest.mark.parametrize(
    "kind", ["not zstd", "cut", "garbage after the frame", "garbage after the tar", "empty", "bomb"]
)
def test_a_bad_stream_is_refused(tmp_path: Path, good: Path, kind: str) -> None:
    data = good.read_bytes()
    if kind == "bomb":
        bomb = named("flashinfer.lock.json", b"\0" * (65 * 1024 * 1024))
        data = packed([bomb])
        assert len(data) < 100_000
    else:
        data = {
            "not zstd": b"PK\x03\x04" * 50,
            "cut": data[: len(data) // 2],
            "garbage after the frame": data + b"evil",
            "garbage after the tar": packed(members(good), end=b"evil" * 128),
            "empty": b"",
        }[kind]
    refuse(tmp_path, data, ".")


def test_an_archive_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        archive.load(tmp_path / "none", Store(tmp_path / "s"))
    with pytest.raises(OrchestrateError):
        archive.load(tmp_path, Store(tmp_path / "s"))
