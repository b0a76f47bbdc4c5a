"""The commands of `orchestrate wheels` on a store and directories: no network, no pip."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from orchestrator.cli import app
from orchestrator.headers.store import Store
from orchestrator.wheels import asked, work
from tests.unit.matrix.support import SMALL
from tests.unit.wheels import samples

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.wheels.lock import House, Lock

SECTION = 'wheels: {python: "3.12", packages: [one]}\n'


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ORCHESTRATE_WHEELS_STORE", str(tmp_path / "store"))
    (tmp_path / "matrix.yaml").write_text(SMALL + SECTION)
    return Store(tmp_path / "store", "wheels")


@pytest.fixture
def lock(tmp_path: Path, store: Store) -> Lock:
    digest = asked.read(tmp_path, [], ["one"]).digest
    one = samples.stored(samples.wheel(tmp_path / "made", "one-1-py3-none-any.whl", "two"), store)
    two = samples.stored(samples.wheel(tmp_path / "made", "two-1-py3-none-any.whl"), store)
    made = samples.locked(one, two, asked=digest)
    work.write_lock(made, tmp_path / "wheels.lock.json")
    return made


def house(lock: Lock) -> House:
    (found,) = lock.houses
    return found


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = app.run(["wheels", *words])
    shown = capsys.readouterr()
    return code, shown.out, shown.err


def test_a_lock_is_fresh_until_what_is_asked_for_changes(
    tmp_path: Path, lock: Lock, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said(capsys, "lock", "--check") == (0, "", "wheels.lock.json: fresh, 1 wheelhouse\n")
    (tmp_path / "matrix.yaml").write_text(SMALL + SECTION.replace("[one]", "[one, six]"))
    code, out, err = said(capsys, "lock", "--check")
    assert (code, out) == (3, "")
    assert err.startswith("error: ")
    (tmp_path / "matrix.yaml").write_text(SMALL)
    code, out, err = said(capsys, "lock", "--check")
    assert (code, out) == (2, "")
    assert "the section wheels was not found" in err


def test_a_lock_replaces_nothing_of_another_kind(
    tmp_path: Path, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "wheels.lock.json").write_text("my own")
    code, out, err = said(capsys, "lock")
    assert (code, out) == (2, "")
    assert err.startswith("error: wheels.lock wheels.lock.json: the file exists and is not ")
    assert (tmp_path / "wheels.lock.json").read_text() == "my own"


def test_wheels_are_verified_in_the_store_and_in_a_directory(
    tmp_path: Path, store: Store, lock: Lock, capsys: pytest.CaptureFixture[str]
) -> None:
    size = sum(wheel.size for wheel in lock.wheels)
    complete = f"2 wheels, {size:,} bytes verified in {tmp_path}/store; 1 wheelhouses are complete\n"
    assert said(capsys, "verify") == (0, complete, "")
    name = house(lock).name
    work.materialise(house(lock), store, tmp_path / "carried" / name)
    assert said(capsys, "verify", f"carried/{name}") == (0, f"2 wheels of {name} verified in carried/{name}\n", "")
    (tmp_path / "carried" / name / "two-1-py3-none-any.whl").unlink()
    code, out, err = said(capsys, "verify", f"carried/{name}")
    assert (code, out) == (4, "")
    assert err.startswith(f"error: carried/{name} does not hold a wheelhouse of wheels.lock.json\n")
    assert "two-1-py3-none-any.whl" in err
    store.path(lock.wheels[0].sha256).unlink()
    code, out, err = said(capsys, "verify")
    assert (code, out) == (4, "")
    assert err.startswith("error: 1 problem with the wheels of wheels.lock.json\n")
    assert "one-1-py3-none-any.whl" in err
    again = "`orchestrate wheels verify --repair` fetches them again; `orchestrate wheels lock` resolves them again"
    assert err.endswith(f"hint: {again}\n")


def test_wheels_are_read_from_directories(
    tmp_path: Path, lock: Lock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    size = sum(wheel.size for wheel in lock.wheels)
    words = ["fetch", "--from", "made", "--store", "far"]
    assert said(capsys, *words, "--format", "json", "-o", "out")[:2] == (
        0, json.dumps({"schema": 1, "fetched": 2, "bytes": size, "present": 0}, indent=2) + "\n",
    )  # fmt: skip
    assert work.verify_directory(house(lock), tmp_path / "out" / house(lock).name) == ()
    assert work.verify(lock, Store(tmp_path / "far", "wheels")) == ()
    assert said(capsys, *words) == (0, "0 wheels fetched, 0 bytes; 2 present\n", "")
    assert said(capsys, "fetch", "--from", "gone") == (2, "", "error: --from gone: the directory was not found\n")
    monkeypatch.delenv("ORCHESTRATE_WHEELS_STORE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert said(capsys, "fetch", "--from", "made") == (0, f"2 wheels fetched, {size:,} bytes; 0 present\n", "")


def test_without_a_lock_nothing_is_fetched(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["fetch"], ["verify"], ["lock", "--check"]):
        code, out, err = said(capsys, *words)
        assert (code, out) == (2, "")
        assert err.startswith("error: wheels.lock.json: ")
