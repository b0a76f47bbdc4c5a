"""The lock of the wheelhouses: one claim, the same text on every machine."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from orchestrator.errors import VerificationError
from orchestrator.wheels import lock as locks
from orchestrator.wheels.lock import House, Lock, Wheel
from tests.unit.wheels.samples import AMD64, ARM64, locked

if TYPE_CHECKING:
    from collections.abc import Callable

ONE = Wheel(name="one-1.0-py3-none-any.whl", sha256="1" * 64, size=10)
TWO = Wheel(name="two-2.0+cu130-cp312-cp312-manylinux_2_28_x86_64.whl", sha256="2" * 64, size=20)


def test_a_lock_is_read_as_it_was_written() -> None:
    lock = Lock(houses=(*locked(ONE, TWO).houses, *locked(ONE, target=ARM64).houses))
    text = locks.dumps(lock)
    assert locks.loads(text, where="x") == lock
    assert locks.dumps(locks.loads(text, where="x")) == text
    assert [wheel.name for wheel in lock.wheels] == [ONE.name, TWO.name]


def test_equal_wheelhouses_of_two_releases_are_one() -> None:
    """A build of CUDA 12.9 shares the steps of 13.0 where its packages are the same."""
    (one,), (other,) = locked(ONE).houses, locked(ONE, cuda="12.9").houses
    assert locks.house_digest(one) == locks.house_digest(other)
    assert locks.house_digest(one) != locks.house_digest(replace(one, asked="b" * 64))
    assert locks.house_digest(one) != locks.house_digest(replace(one, target=ARM64))


def test_the_text_of_the_proof() -> None:
    (house,) = locked(ONE).houses
    lines = locks.sums(house).splitlines()
    assert lines[0] == f"{'1' * 64}  one-1.0-py3-none-any.whl"
    assert lines[1].endswith("  wheelhouse.json")
    assert [entry.path for entry in locks.contents(house)] == [ONE.name, "wheelhouse.json", "SHA256SUMS"]


def edited(change: Callable[[dict[str, Any]], Any]) -> str:
    raw = json.loads(locks.dumps(Lock(houses=(*locked(ONE, TWO).houses, *locked(ONE, target=ARM64).houses))))
    change(raw)
    return json.dumps(raw)


def house(raw: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = raw["wheelhouses"][0]
    return found


@pytest.mark.parametrize(
    "change",
    [
        lambda raw: house(raw).update(python="3.11"),
        lambda raw: house(raw).update(glibc="2.35"),
        lambda raw: house(raw).update(cuda="12.9"),
        lambda raw: house(raw).update(platform="linux/arm64"),
        lambda raw: house(raw).update(asked="c" * 64),
        lambda raw: house(raw).update(bytes=1),
        lambda raw: house(raw)["wheels"][0].update(sha256="3" * 64),
        lambda raw: house(raw)["wheels"][0].update(size=11),
        lambda raw: house(raw)["wheels"][0].update(name="one-1.1-py3-none-any.whl"),
        lambda raw: house(raw)["wheels"][0].update(name="../one-1.0-py3-none-any.whl"),
        lambda raw: house(raw)["wheels"][0].update(name="one.tar.gz"),
        lambda raw: house(raw)["wheels"].pop(),
        lambda raw: raw["wheelhouses"].pop(),
        lambda raw: raw["wheelhouses"].append(house(raw)),
        lambda raw: raw.update(schema=2),
        lambda raw: raw.update(digest="sha256:" + "0" * 64),
        lambda raw: raw.update(wheelhouses={}),
        lambda raw: raw.clear(),
    ],
)
def test_an_edited_lock_is_refused(change: Callable[[dict[str, Any]], Any]) -> None:
    assert locks.loads(edited(len), where="x").houses
    with pytest.raises(VerificationError, match=r"^x: "):
        locks.loads(edited(change), where="x")


@pytest.mark.parametrize(
    ("lock", "said"),
    [
        (locked(), "has no wheel"),
        (locked(TWO, target=ARM64), "does not run on Python 3.12 on linux/arm64"),
        (locked(ONE, replace(ONE, name="One-1.1-py3-none-any.whl")), "pip installs one of them"),
        (Lock(houses=locked(ONE).houses * 2), "is listed twice"),
    ],
)
def test_what_no_lock_can_say_with_the_right_digest(lock: Lock, said: str) -> None:
    with pytest.raises(VerificationError, match=said):
        locks.loads(locks.dumps(lock), where="x")


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_any_text_is_a_lock_or_one_error(data: bytes) -> None:
    with pytest.raises(VerificationError):
        locks.loads(data.decode(errors="replace"), where="x")


def test_the_name_of_a_wheelhouse() -> None:
    assert House(cuda="13.0", target=AMD64, asked="", wheels=()).name == "cu130-cp312-amd64"
