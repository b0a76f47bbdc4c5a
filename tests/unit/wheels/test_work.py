"""Wheels into the store and wheelhouses out of it, without pip."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from orchestrator.errors import DriftError, EnvironmentLacksError, UsageError, VerificationError
from orchestrator.headers.store import Store, default_root
from orchestrator.matrix import expand, load
from orchestrator.wheels import lock as locks
from orchestrator.wheels import work
from tests.unit.matrix.support import EXAMPLE, fact
from tests.unit.wheels import samples

if TYPE_CHECKING:
    from orchestrator.matrix.variants import Plan

SECTION = """
wheels:
  python: "3.12"
  requirements: [requirements.txt]
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store", "wheels")


def plan(tmp_path: Path, section: str = SECTION, requirements: str = "one\n") -> Plan:
    (tmp_path / "requirements.txt").write_text(requirements)
    path = tmp_path / "matrix.yaml"
    path.write_text(EXAMPLE + section)
    return expand.plan(load.load(path), fact=fact)


def test_a_lock_is_carried_as_files_and_read_without_a_network(tmp_path: Path, store: Store) -> None:
    one = samples.stored(samples.wheel(tmp_path / "made", "one-1-py3-none-any.whl", "two"), store)
    two = samples.stored(samples.wheel(tmp_path / "made", "two-1-py3-none-any.whl"), store)
    lock = samples.locked(one, two)
    (house,) = lock.houses
    assert work.verify(lock, store) == ()
    work.materialise(house, store, tmp_path / "carried" / house.name)
    assert work.verify_directory(house, tmp_path / "carried" / house.name) == ()

    far = Store(tmp_path / "far", "wheels")
    report = work.fetch(lock, far, carried=[tmp_path / "carried"], offline=True)
    assert (report.fetched, report.present) == (2, 0)
    assert work.verify(lock, far) == ()
    (tmp_path / "file").write_text("")
    nowhere = Store(tmp_path / "file" / "store")
    with pytest.raises(EnvironmentLacksError, match=f"^cannot write the store {nowhere.root}: Not a directory"):
        work.fetch(lock, nowhere, carried=[tmp_path / "carried"], offline=True)
    report = work.fetch(lock, far, carried=[tmp_path / "nowhere"], offline=True)
    assert (report.fetched, report.bytes, report.present) == (0, 0, 2)


def test_a_wheel_that_was_changed_on_the_way_is_not_taken(tmp_path: Path, store: Store) -> None:
    path = samples.wheel(tmp_path / "made", "one-1-py3-none-any.whl")
    lock = samples.locked(samples.stored(path, store))
    path.write_bytes(path.read_bytes() + b"\n")
    far = Store(tmp_path / "far", "wheels")
    with pytest.raises(VerificationError, match="1 wheels of cu130-cp312-amd64 are in none of the directories"):
        work.fetch(lock, far, carried=[tmp_path / "made"], offline=True)


def test_damage_is_found_and_removed(tmp_path: Path, store: Store) -> None:
    one = samples.stored(samples.wheel(tmp_path / "made", "one-1-py3-none-any.whl"), store)
    lock = samples.locked(one)
    store.path(one.sha256).chmod(0o644)
    store.path(one.sha256).write_bytes(b"damaged")
    assert [problem.what for problem in work.verify(lock, store)] == ["is damaged in the store"]
    work.verify(lock, store, repair=True)
    assert [problem.what for problem in work.verify(lock, store)] == ["is missing in the store"]


def test_a_wheelhouse_that_is_not_complete_is_not_verified(tmp_path: Path, store: Store) -> None:
    one = samples.stored(samples.wheel(tmp_path / "made", "one-1-py3-none-any.whl", "two>=2"), store)
    (problem,) = work.verify(samples.locked(one), store)
    assert (problem.file, problem.what, problem.found) == (one.name, "needs two>=2", "no wheel of it")


def test_a_placed_wheelhouse_is_made_anew_where_it_was_changed(tmp_path: Path, store: Store) -> None:
    lock = samples.locked(samples.stored(samples.wheel(tmp_path / "made", "one-1-py3-none-any.whl"), store))
    (house,) = lock.houses
    folder = work.ensure(house, store)
    assert folder.name == locks.house_digest(house).removeprefix("sha256:")
    (folder / "more-1-py3-none-any.whl").write_bytes(b"")
    (problem,) = work.verify_directory(house, folder)
    assert problem.what == "does not belong to the wheelhouse"
    assert work.verify_directory(house, work.ensure(house, store)) == ()
    assert work.verify_directory(house, tmp_path / "nowhere")


def test_orders_are_one_for_each_release_platform_and_python(tmp_path: Path) -> None:
    found = work.orders(plan(tmp_path))
    assert len(found) == len({(one.cuda, one.target.platform) for one in found}) > 1
    assert {one.target.python for one in found} == {"3.12"}
    assert [str(one.name) for one in found[0].asked.requirements()] == ["one"]


def test_placeholders_are_filled_in(tmp_path: Path) -> None:
    (tmp_path / "cu130.txt").write_text("new")
    (tmp_path / "cu129.txt").write_text("old")
    section = (
        'wheels:\n  python: "3.12"\n  requirements: ["cu{cuda.short}.txt"]\n'
        '  extra_index_urls: ["https://e.test/cu{cuda.short}"]\n  packages: ["p-{platform.arch}"]\n'
    )
    found = {(one.cuda, one.target.platform): one for one in work.orders(plan(tmp_path, section))}
    one = found["13.0", "linux/arm64"]
    assert one.asked.files == (tmp_path / "cu130.txt",)
    assert one.asked.packages == ("p-arm64",)
    assert one.places.extra_index_urls == ("https://e.test/cu130",)


def test_what_differs_by_target_alone_is_refused(tmp_path: Path) -> None:
    section = 'wheels:\n  python: "3.12"\n  packages: ["p-{target}"]\n'
    with pytest.raises(UsageError, match="asks for other wheels than another variant"):
        work.orders(plan(tmp_path, section))
    with pytest.raises(UsageError, match="the section wheels was not found"):
        work.orders(plan(tmp_path, ""))
    with pytest.raises(UsageError, match="no selected variant carries a wheelhouse"):
        work.orders(plan(tmp_path, f'{SECTION}  policy: "off"\n'))


def test_a_lock_of_other_requirements_is_stale(tmp_path: Path, store: Store) -> None:
    orders = work.orders(plan(tmp_path))
    one = samples.stored(samples.wheel(tmp_path / "made", "one-1-py3-none-any.whl"), store)
    houses = [
        replace(samples.locked(one).houses[0], cuda=order.cuda, target=order.target, asked=order.asked.digest)
        for order in orders
    ]
    lock = locks.Lock(houses=tuple(houses))
    assert work.locked(orders, lock, where="x") == lock
    with pytest.raises(DriftError) as error:
        work.locked(orders, locks.Lock(houses=tuple(houses[1:])), where="x")
    assert "has no wheelhouse for CUDA" in str(error.value)
    with pytest.raises(DriftError) as error:
        work.locked(work.orders(plan(tmp_path, requirements="one\ntwo\n")), lock, where="x")
    assert str(error.value).count("was made from other requirements") == len(orders)
    work.write_lock(lock, tmp_path / "wheels.lock.json")
    assert work.read_lock(tmp_path / "wheels.lock.json") == lock
    with pytest.raises(UsageError, match="no lock of the wheelhouses"):
        work.read_lock(tmp_path / "none.json")
    with pytest.raises(VerificationError, match="are not in the store"):
        work.bring(lock, orders, Store(tmp_path / "empty", "wheels"), allowed=False)


def test_the_store_says_its_own_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(VerificationError) as error:
        Store(tmp_path, "wheels").read("0" * 64)
    assert error.value.hint == "orchestrate wheels fetch"
    monkeypatch.setenv("ORCHESTRATE_WHEELS_STORE", str(tmp_path))
    assert default_root("wheels") == tmp_path
    assert default_root() != tmp_path
    monkeypatch.delenv("ORCHESTRATE_WHEELS_STORE")
    assert default_root("wheels") == Path(default_root("headers")).with_name("wheels")
