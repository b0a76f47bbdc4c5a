"""Fetching from directories and wheels: order, what is kept, what is missing or wrong. HTTP is tests/engine's."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

import pytest

from orchestrator.errors import EnvironmentLacksError, NetworkError, VerificationError
from orchestrator.headers import fetch, sources
from orchestrator.headers.request import Options, Wanted
from orchestrator.headers.store import Store
from tests.unit.headers.samples import sha

if TYPE_CHECKING:
    from pathlib import Path

FILES = {"a/one.h": b"one", "a/two.h": b"second", "three.h": b"3"}
QUICK = Options(backoff=0.001, backoff_most=0.002, jobs=2)


def mirror(root: Path, files: dict[str, bytes]) -> sources.Source:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    root.mkdir(exist_ok=True)
    return sources.source_of(str(root))


def wanted(*names: str, optional: bool = False) -> list[Wanted]:
    return [Wanted(path=name, sha256=sha(FILES[name]), size=len(FILES[name]), optional=optional) for name in names]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_only_what_is_missing_is_fetched_and_counted(tmp_path: Path, store: Store) -> None:
    assert store.add([FILES["three.h"]], sha(FILES["three.h"]))
    told: list[tuple[int, int]] = []
    received: list[int] = []

    def progress(done: int, total: int, size: int) -> None:
        told.append((done, total))
        received.append(size)

    report = fetch.fetch(wanted(*FILES), [mirror(tmp_path / "m", FILES)], store, options=QUICK, progress=progress)
    assert (report.fetched, report.present, report.bytes, report.requests, report.absent) == (2, 1, 9, 0, ())
    assert told == [(1, 2), (2, 2)]
    assert received[-1] == 9
    assert all(store.read(one.sha256) == FILES[one.path] for one in wanted(*FILES))
    again = fetch.fetch(wanted(*FILES), [], store, progress=progress)
    assert (again.fetched, again.present) == (0, 3)
    assert len(told) == 2


def test_sources_are_tried_in_order(tmp_path: Path, store: Store) -> None:
    wrong = mirror(tmp_path / "wrong", {"a/one.h": b"0ne"})
    part = mirror(tmp_path / "part", {"a/one.h": b"one"})
    with zipfile.ZipFile(tmp_path / "w.whl", "w") as archive:
        archive.writestr("flashinfer_cubin/cubins/three.h", b"3")
    wheel = sources.source_of(str(tmp_path / "w.whl"))
    report = fetch.fetch(wanted("a/one.h", "three.h"), [wrong, part, wheel], store, options=QUICK)
    assert report.fetched == 2
    assert store.read(sha(b"3")) == b"3"


def test_what_no_source_has_is_named(tmp_path: Path, store: Store) -> None:
    empty = mirror(tmp_path / "m", {"three.h": b"3"})
    with pytest.raises(NetworkError) as caught:
        fetch.fetch(wanted("a/two.h", "a/one.h", "three.h"), [empty], store, options=QUICK)
    assert caught.value.message == "2 files could not be fetched"
    assert [str(problem) for problem in caught.value.problems] == [
        f"a/one.h: {tmp_path / 'm'}: not there", f"a/two.h: {tmp_path / 'm'}: not there"
    ]  # fmt: skip
    assert f"what arrived is kept in {store.root}" in caught.value.hint
    report = fetch.fetch(wanted("a/two.h", "a/one.h", optional=True), [empty], store, options=QUICK)
    assert (report.absent, report.fetched) == (("a/one.h", "a/two.h"), 0)


def test_wrong_bytes_are_another_failure_than_missing_ones(tmp_path: Path, store: Store) -> None:
    wrong = mirror(tmp_path / "m", {"a/one.h": b"0ne", "a/two.h": b"much too long"})
    with pytest.raises(VerificationError) as caught:
        fetch.fetch(wanted("a/one.h"), [wrong], store, options=QUICK)
    assert caught.value.message == "1 file could not be fetched"
    assert "its file is not the one that is pinned" in str(caught.value.problems[0])
    assert caught.value.hint.startswith("name another source with --mirror: this one serves other bytes")
    with pytest.raises(VerificationError):
        fetch.fetch(wanted("a/two.h", optional=True), [wrong], store, options=QUICK)  # it is there, and is another
    with pytest.raises(NetworkError):  # one of the two is only missing
        fetch.fetch(wanted("a/one.h", "three.h"), [wrong], store, options=QUICK)
    assert not list(store.blobs())


def test_many_failures_are_cut(tmp_path: Path, store: Store) -> None:
    many = [Wanted(path=f"{number:02}", sha256=sha(str(number).encode())) for number in range(12)]
    with pytest.raises(NetworkError, match=r"12 files could not be fetched \(the first 10 are shown\)") as caught:
        fetch.fetch(many, [mirror(tmp_path / "m", {})], store, options=QUICK)
    assert [problem.file for problem in caught.value.problems] == [f"{number:02}" for number in range(10)]


def test_a_file_that_another_process_brought_meanwhile_is_not_fetched_again(tmp_path: Path, store: Store) -> None:
    """The same digest under two names is one file."""
    same = [Wanted(path=name, sha256=sha(b"one"), size=3) for name in ("a/one.h", "copy.h")]
    report = fetch.fetch(same, [mirror(tmp_path / "m", {"a/one.h": b"one", "copy.h": b"one"})], store, options=QUICK)
    assert (report.fetched, report.present) == (1, 0)


def test_a_file_that_another_process_holds_for_the_whole_time_is_late(tmp_path: Path, store: Store) -> None:
    source = mirror(tmp_path / "m", FILES)
    short = Options(window=0.01, jobs=1)
    with store.lock(sha(FILES["a/one.h"])), pytest.raises(NetworkError) as caught:
        fetch.fetch(wanted("a/one.h"), [source], store, options=short)
    assert [str(problem) for problem in caught.value.problems] == [
        "a/one.h: another process has been fetching it for the whole time"
    ]
    assert not list(store.blobs())


def test_a_store_that_cannot_be_written_is_the_machines_fault(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    nowhere = Store(tmp_path / "file" / "store")
    with pytest.raises(EnvironmentLacksError) as caught:
        fetch.fetch(wanted("a/one.h"), [mirror(tmp_path / "m", FILES)], nowhere, options=QUICK)
    assert caught.value.message == f"cannot write the store {nowhere.root}: Not a directory"


def test_a_damaged_wheel_is_refused_and_the_next_source_is_asked(tmp_path: Path, store: Store) -> None:
    with zipfile.ZipFile(tmp_path / "w.whl", "w") as archive:
        archive.writestr("cubins/a/one.h", b"one")
    data = (tmp_path / "w.whl").read_bytes()
    (tmp_path / "w.whl").write_bytes(data.replace(b"one", b"0ne", 2).replace(b"a/0ne.h", b"a/one.h"))
    damaged = sources.source_of(str(tmp_path / "w.whl"))
    with pytest.raises(NetworkError) as caught:
        fetch.fetch(wanted("a/one.h", optional=True), [damaged], store, options=QUICK)
    (problem,) = caught.value.problems
    assert str(problem).startswith(f"a/one.h: {tmp_path}/w.whl: cannot be read: Bad CRC-32")
    good = mirror(tmp_path / "m", FILES)
    assert fetch.fetch(wanted("a/one.h"), [damaged, good], store, options=QUICK).fetched == 1


def test_every_source_that_refused_is_named(tmp_path: Path, store: Store) -> None:
    one, two = mirror(tmp_path / "one", {"a/one.h": b"0ne"}), mirror(tmp_path / "two", {})
    with pytest.raises(VerificationError) as caught:
        fetch.fetch(wanted("a/one.h"), [one, two], store, options=QUICK)
    assert str(caught.value.problems[0]) == (
        f"a/one.h: {tmp_path}/two: not there; {tmp_path}/one: its file is not the one that is pinned "
        f"(sha256 {sha(b'one')[:12]}…)"
    )
    with pytest.raises(NetworkError, match="1 file could not be fetched") as caught_none:
        fetch.fetch(wanted("a/one.h"), [], store, options=QUICK)
    assert str(caught_none.value.problems[0]) == "a/one.h: no source is configured"


def test_a_file_of_unknown_size_has_a_limit(tmp_path: Path, store: Store) -> None:
    source = mirror(tmp_path / "m", {"x": b"12345"})
    item = Wanted(path="x", sha256=sha(b"12345"))
    with pytest.raises(VerificationError):
        fetch.fetch([item], [source], store, options=Options(limit=4, backoff=0.001))
    assert fetch.fetch([item], [source], store, options=Options(limit=5)).bytes == 5
