"""The lock of the wheelhouses: every wheel of every target with its sha256, as one claim.

Committed beside matrix.yaml. It is sorted, stable, free of timestamps, and names no index: where wheels come from is
pip's configuration. The digest of a wheelhouse is the sha256 of the text `SHA256SUMS` that lies in it, so a Dockerfile
step can prove it with coreutils; `wheelhouse.json`, one of the files there, holds what the lock says beside its wheels.
This module is pure: values, text and checks, no files and no network.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from orchestrator.errors import UsageError, VerificationError
from orchestrator.headers.fields import count_of, sha256_of, text_of
from orchestrator.headers.lock import clean_path
from orchestrator.headers.place import Placed, written
from orchestrator.wheels.target import Target

if TYPE_CHECKING:
    from packaging.utils import NormalizedName
    from packaging.version import Version

SCHEMA = 1
SUMS_NAME = "SHA256SUMS"
ABOUT_NAME = "wheelhouse.json"
_MAKE = "write it again: orchestrate wheels lock"


class Wheel(Struct, frozen=True, kw_only=True):
    """One wheel: its file name, sha256 (bare hex) and size in bytes."""

    name: str
    sha256: str
    size: int


class House(Struct, frozen=True, kw_only=True):
    """The wheels of one CUDA release, platform and Python.

    Attributes:
        cuda: Key of the CUDA release.
        target: Where they are installed.
        asked: Digest of the requirements that they were resolved from, bare hex.
        wheels: Sorted by name.
    """

    cuda: str
    target: Target
    asked: str
    wheels: tuple[Wheel, ...]

    @property
    def key(self) -> tuple[str, str, str]:
        """CUDA release, platform, Python."""
        return self.cuda, self.target.platform, self.target.python

    @property
    def name(self) -> str:
        """How it is called in messages: `cu130-cp312-arm64`."""
        machine = self.target.platform.partition("/")[2]
        return f"cu{self.cuda.replace('.', '')}-{self.target.abi}-{machine}"

    @property
    def bytes(self) -> int:
        """Sum of the sizes of all wheels."""
        return sum(wheel.size for wheel in self.wheels)


class Lock(Struct, frozen=True, kw_only=True):
    """All wheelhouses of a matrix, sorted by key."""

    houses: tuple[House, ...]

    def house(self, cuda: str, platform: str, python: str) -> House | None:
        """The wheelhouse of a variant, None where the lock has none."""
        return next((house for house in self.houses if house.key == (cuda, platform, python)), None)

    @property
    def wheels(self) -> tuple[Wheel, ...]:
        """Every wheel once, by name."""
        unique = {wheel.sha256: wheel for house in self.houses for wheel in house.wheels}
        return tuple(sorted(unique.values(), key=lambda wheel: (wheel.name, wheel.sha256)))


def tree(house: House) -> tuple[Placed, ...]:
    """The files of a wheelhouse that its SHA256SUMS covers, sorted by path."""
    target = house.target
    about = {"schema": SCHEMA, "platform": target.platform, "python": target.python, "glibc": target.glibc}
    entries = [Placed(path=wheel.name, sha256=wheel.sha256, size=wheel.size) for wheel in house.wheels]
    entries.append(written(ABOUT_NAME, json.dumps({**about, "asked": house.asked}, indent=1) + "\n"))
    return tuple(sorted(entries, key=lambda entry: entry.path))


def sums(house: House) -> str:
    """The text SHA256SUMS, as `sha256sum -c` reads it."""
    return "".join(f"{entry.sha256}  {entry.path}\n" for entry in tree(house))


def contents(house: House) -> tuple[Placed, ...]:
    """Every file of a materialised wheelhouse."""
    return (*tree(house), written(SUMS_NAME, sums(house)))


def house_digest(house: House) -> str:
    """`sha256:…` over SHA256SUMS."""
    return f"sha256:{hashlib.sha256(sums(house).encode()).hexdigest()}"


def _digest(lock: Lock) -> str:
    text = json.dumps([_said(house) for house in lock.houses], sort_keys=True)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def _said(house: House) -> dict[str, Any]:
    target = house.target
    return {
        "cuda": house.cuda,
        "platform": target.platform,
        "python": target.python,
        "glibc": target.glibc,
        "asked": house.asked,
        "wheelhouse": house_digest(house),
        "bytes": house.bytes,
    }


def dumps(lock: Lock) -> str:
    """The lock as text: sorted, one line a wheel, ending in a newline, the same on every machine."""
    houses = []
    for house in lock.houses:
        head = ",\n".join(f"   {json.dumps(name)}: {json.dumps(value)}" for name, value in _said(house).items())
        lines = [json.dumps({"name": wheel.name, "sha256": wheel.sha256, "size": wheel.size}) for wheel in house.wheels]
        houses.append("  {\n" + head + ',\n   "wheels": [\n    ' + ",\n    ".join(lines) + "\n   ]\n  }")
    body = ",\n".join(houses)
    return f'{{\n "schema": {SCHEMA},\n "digest": "{_digest(lock)}",\n "wheelhouses": [\n{body}\n ]\n}}\n'


def loads(text: str, *, where: str) -> Lock:
    """A lock from its text, with everything checked that can be checked without the wheels.

    Raises:
        VerificationError: It is not a lock, a digest is not that of what it says, or it says what no lock can: a wheel
            that does not run on its target, one package twice.
    """
    try:
        raw = json.loads(text)
        if raw["schema"] != SCHEMA:
            raise VerificationError(f"{where}: the schema does not match: expected {SCHEMA}, found {raw['schema']!r}")
        told = sorted(((_house(item), item["wheelhouse"]) for item in raw["wheelhouses"]), key=lambda one: one[0].key)
        lock = Lock(houses=tuple(house for house, _ in told))
        digest = raw["digest"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise VerificationError(f"{where}: not a lock of wheelhouses ({reason})", hint=_MAKE) from error
    except UsageError as error:  # a target that does not exist is, here, a damaged file
        raise VerificationError(f"{where}: {error.message}", hint=_MAKE) from error
    for house, said in told:
        if said != house_digest(house):
            raise VerificationError(
                f"{where}: wheelhouse {house.name} is {said}, and its wheels make {house_digest(house)}: it was edited",
                hint=_MAKE,
            )
    if digest != _digest(lock):
        raise VerificationError(f"{where}: digest does not match what the file says: it was edited", hint=_MAKE)
    problem = implausible(lock)
    if problem:
        raise VerificationError(f"{where}: {problem}", hint=_MAKE)
    return lock


def implausible(lock: Lock) -> str:
    """What a lock says that cannot be true, in a few words; "" for a plausible one."""
    keys = [house.key for house in lock.houses]
    twice = next((house.name for house in lock.houses if keys.count(house.key) > 1), "")
    if twice:
        return f"wheelhouse {twice} is listed twice"
    for house in lock.houses:
        if not house.wheels:
            return f"wheelhouse {house.name} has no wheel"
        packages: dict[str, str] = {}
        for wheel in house.wheels:
            package, _ = identity(wheel.name)
            if not runs_on(wheel.name, house.target):
                return f"{wheel.name} does not run on {house.target} with glibc {house.target.glibc}"
            if package in packages:
                return f"wheelhouse {house.name} has {packages[package]} and {wheel.name}: pip installs one of them"
            packages[package] = wheel.name
    return ""


def identity(name: str) -> tuple[NormalizedName, Version]:
    """Package and version of a wheel's file name.

    Raises:
        ValueError: It is not the name of a wheel.
    """
    from packaging.utils import parse_wheel_filename

    package, version, _, _ = parse_wheel_filename(name)
    return package, version


def runs_on(name: str, target: Target) -> bool:
    """Whether a wheel's tags say that it runs on a target.

    Raises:
        ValueError: It is not the name of a wheel.
    """
    from packaging.utils import parse_wheel_filename

    return not target.tags.isdisjoint(parse_wheel_filename(name)[3])


def _house(item: Any) -> House:
    wheels = tuple(
        Wheel(name=_name(wheel), sha256=sha256_of(wheel), size=count_of(wheel, "size")) for wheel in item["wheels"]
    )
    house = House(
        cuda=text_of(item, "cuda"),
        target=Target(platform=text_of(item, "platform"), python=text_of(item, "python"), glibc=text_of(item, "glibc")),
        asked=sha256_of(item, "asked"),
        wheels=tuple(sorted(wheels, key=lambda wheel: wheel.name)),
    )
    if count_of(item, "bytes") != house.bytes:
        raise ValueError("bytes is not the sum of its wheels")
    return house


def _name(item: Any) -> str:
    name = clean_path(text_of(item, "name"))
    if "/" in name:
        raise ValueError(f"{name} is not a file name")
    identity(name)
    return name
