"""What the commands and a build share: locks from a plan, wheels into the store, wheelhouses out of it."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from msgspec import Struct

from orchestrator.errors import (
    DriftError,
    EnvironmentLacksError,
    NetworkError,
    Problem,
    UsageError,
    VerificationError,
)
from orchestrator.files import scratch
from orchestrator.headers import lockfile, place
from orchestrator.wheels import asked as asks
from orchestrator.wheels import closure, download
from orchestrator.wheels import lock as locks
from orchestrator.wheels.download import Places
from orchestrator.wheels.lock import House, Lock, Wheel
from orchestrator.wheels.target import Target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from orchestrator.headers.store import Store
    from orchestrator.matrix.schema import WheelsSpec
    from orchestrator.matrix.variants import Plan, WheelsWanted
    from orchestrator.wheels.asked import Asked

_MOST_ROUNDS = 10
_SHOWN = 20


class Order(Struct, frozen=True, kw_only=True):
    """One wheelhouse that a plan asks for.

    Attributes:
        cuda: Key of the CUDA release.
        target: Where its wheels are installed.
        asked: Its requirements.
        places: Where pip looks.
    """

    cuda: str
    target: Target
    asked: Asked
    places: Places


class Fetched(Struct, frozen=True, kw_only=True):
    """What a fetch did: wheels and bytes that came, wheels that the store had."""

    fetched: int
    bytes: int
    present: int


def section(plan: Plan) -> WheelsSpec:
    """The section `wheels` of a plan's matrix.

    Raises:
        UsageError: There is none.
    """
    spec = plan.matrix.spec.wheels
    if spec is None:
        raise UsageError(
            f"{plan.matrix.path}: the section wheels was not found",
            hint="add wheels: {python: 3.12, requirements: [requirements.txt]} (docs/air-gapped.md)",
        )
    return spec


def orders(plan: Plan) -> tuple[Order, ...]:
    """The wheelhouses that the variants of a plan need, each once, sorted by key.

    Raises:
        UsageError: There is no `wheels:`, no variant needs one, a requirement file is missing, or a platform has no
            wheels.
    """
    spec = section(plan)
    root = plan.matrix.root
    found: dict[tuple[str, str, str], tuple[WheelsWanted, Order]] = {}
    for variant in plan.variants:
        wanted = variant.wheels
        if wanted is None:
            continue
        key = (variant.cuda, variant.platform, wanted.python)
        if key in found:
            if found[key][0] != wanted:
                raise UsageError(
                    f"wheels: {variant.id} asks for other wheels than another variant of CUDA {variant.cuda}, "
                    f"{variant.platform} and Python {wanted.python}",
                    hint="in wheels: placeholders may differ by CUDA release, platform and Python alone",
                )
            continue
        target = Target(platform=variant.platform, python=wanted.python, glibc=spec.glibc)
        places = Places(
            find_links=tuple(root / item for item in spec.find_links), extra_index_urls=wanted.extra_index_urls
        )
        order = Order(
            cuda=variant.cuda, target=target, asked=asks.read(root, wanted.requirements, wanted.packages), places=places
        )
        found[key] = (wanted, order)
    if not found:
        raise UsageError(
            "wheels: no selected variant carries a wheelhouse",
            hint="see wheels.policy, wheels.targets and the selection",
        )
    return tuple(found[key][1] for key in sorted(found))


def make_lock(found: Sequence[Order], store: Store, *, tell: Callable[[str], None] = lambda _: None) -> Lock:
    """Resolve and download every wheelhouse, and lock it. Equal orders are resolved once.

    Args:
        found: What is asked for.
        store: Gets the wheels.
        tell: Hears of each wheelhouse before pip starts.

    Raises:
        UsageError: Requirements contradict each other.
        NetworkError: A wheel was not found.
        VerificationError: What pip brought is not complete.
    """
    made: dict[tuple[Target, str, Places], tuple[Wheel, ...]] = {}
    houses = []
    for order in found:
        key = (order.target, order.asked.digest, order.places)
        if key not in made:
            tell(f"wheels for {order.target}: pip resolves them")
            made[key] = _resolved(order, store)
        houses.append(House(cuda=order.cuda, target=order.target, asked=order.asked.digest, wheels=made[key]))
    lock = Lock(houses=tuple(sorted(houses, key=lambda house: house.key)))
    problem = locks.implausible(lock)
    if problem:
        raise VerificationError(f"the lock of the wheelhouses is invalid: {problem}")
    return lock


def _resolved(order: Order, store: Store) -> tuple[Wheel, ...]:
    """The wheels of an order, in the store; pip is asked again for what its own look at markers left out."""
    more: tuple[str, ...] = ()
    unmet: tuple[closure.Unmet, ...] = ()
    for _ in range(_MOST_ROUNDS):
        with _scratch(store) as folder:
            download.resolve(order.target, order.asked, folder, more=more, places=order.places)
            files = sorted(folder.glob("*.whl"))
            known = {file.name: closure.read(file, file.name) for file in files}
            unmet = closure.unmet(known, order.asked.requirements(), order.target)
            missing = tuple(one.requirement for one in unmet if one.requirement not in more)
            if not unmet:
                return tuple(_taken(file, store) for file in files)
            if not missing:
                break
            more += tuple(dict.fromkeys(missing))
    raise VerificationError(f"wheels for {order.target}: pip did not bring what they need", problems=_unmet(unmet))


def _unmet(unmet: Iterable[closure.Unmet]) -> list[Problem]:
    return [
        Problem(
            file=one.by, what=f"needs {one.requirement}", expected=one.requirement, found=one.found or "no wheel of it"
        )
        for one in unmet
    ][:_SHOWN]


def _taken(file: Path, store: Store) -> Wheel:
    """Move a downloaded file into the store."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    if not store.has(sha256, size) or next(store.verify([sha256]), None):
        store.adopt(file, sha256)
    return Wheel(name=file.name, sha256=sha256, size=size)


@contextmanager
def _scratch(store: Store) -> Iterator[Path]:
    """A directory beside the store's files, so that wheels of gigabytes are moved and not copied."""
    try:
        with scratch(store.root / "pip") as folder:
            yield folder
    except OSError as error:
        raise EnvironmentLacksError(f"cannot write the store {store.root}: {error.strerror or error}") from error


def fetch(
    lock: Lock,
    store: Store,
    *,
    places: Places | None = None,
    carried: Sequence[Path] = (),
    offline: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> Fetched:
    """Bring every wheel of a lock into the store; pip is not started for what is there.

    Args:
        lock: What is needed.
        store: Where wheels go.
        places: Where pip looks.
        carried: Directories that hold wheels, looked at first.
        offline: Take wheels from there alone.
        tell: Hears of each wheelhouse before pip starts.

    Raises:
        NetworkError: A wheel was not found.
        VerificationError: One is missing and may not be downloaded, or is another file than was locked.
    """
    wanted = [wheel for wheel in lock.wheels if not store.has(wheel.sha256, wheel.size)]
    present = len(lock.wheels) - len(wanted)
    for folder in carried:
        for wheel in wanted:
            _carried(folder, wheel, store)
    for house in lock.houses:
        missing = _missing(house, store)
        if missing and offline:
            raise VerificationError(
                f"{len(missing)} wheels of {house.name} are in none of the directories, the first is {missing[0].name}",
                hint="bring the directory that `orchestrate wheels fetch --output DIR` writes",
            )
        if missing:
            tell(f"wheels for {house.target}: pip downloads {len(missing)}")
            with _scratch(store) as folder:
                download.exactly(house.target, missing, folder, places=places)
                for file in folder.glob("*.whl"):
                    _taken(file, store)
        left = _missing(house, store)
        if left:
            raise NetworkError(f"wheels for {house.target}: pip brought another file than {left[0].name}")
    return Fetched(fetched=len(wanted), bytes=sum(wheel.size for wheel in wanted), present=present)


def bring(
    lock: Lock, found: Sequence[Order], store: Store, *, allowed: bool, tell: Callable[[str], None] = lambda _: None
) -> Fetched:
    """As `fetch`, for the wheelhouses of orders, each from the places that its order names.

    Args:
        lock: What `locked` returned.
        found: The orders.
        store: Where wheels go.
        allowed: Whether wheels that are missing may be downloaded.
        tell: Hears of each wheelhouse before pip starts.

    Raises:
        NetworkError: A wheel was not found.
        VerificationError: One is missing and may not be downloaded.
    """
    missing = {wheel.sha256 for house in lock.houses for wheel in _missing(house, store)}
    if missing and not allowed:
        raise VerificationError(
            f"{len(missing)} of {len(lock.wheels)} wheels of the wheelhouse are not in the store {store.root}",
            hint="orchestrate wheels fetch (with a network), or orchestrate wheels fetch --from DIR",
        )
    reports = [
        fetch(Lock(houses=(house,)), store, places=order.places, tell=tell)
        for order in found
        if (house := lock.house(order.cuda, order.target.platform, order.target.python)) is not None
    ]
    done = sum(report.fetched for report in reports)
    return Fetched(fetched=done, bytes=sum(report.bytes for report in reports), present=len(lock.wheels) - done)


def _missing(house: House, store: Store) -> list[Wheel]:
    return [wheel for wheel in house.wheels if not store.has(wheel.sha256, wheel.size)]


def _carried(folder: Path, wheel: Wheel, store: Store) -> None:
    """Take a wheel from a directory, or from a wheelhouse below it, if it is the one that was locked."""
    for file in (folder / wheel.name, *sorted(folder.glob(f"*/{wheel.name}"))):
        if file.is_file() and not store.has(wheel.sha256, wheel.size):
            try:
                store.add(_chunks(file), wheel.sha256, limit=wheel.size)
            except OSError as error:
                raise EnvironmentLacksError(
                    f"cannot write the store {store.root}: {error.strerror or error}"
                ) from error


def _chunks(file: Path) -> Iterator[bytes]:
    try:
        with file.open("rb") as stream:
            yield from iter(partial(stream.read, 1 << 20), b"")
    except OSError as error:
        raise EnvironmentLacksError(f"{file}: cannot be read: {error.strerror or error}") from error


def verify(lock: Lock, store: Store, *, repair: bool = False) -> tuple[Problem, ...]:
    """What is wrong with the wheels of a lock in the store: missing, damaged, or not complete among themselves.

    Args:
        lock: What should be there.
        store: Where.
        repair: Remove damaged wheels, so that the next fetch brings them again.
    """
    bad = store.bad((wheel.sha256 for wheel in lock.wheels), repair=repair)
    found = [Problem(file=wheel.name, what=f"is {bad[wheel.sha256]} in the store") for wheel in lock.wheels
             if wheel.sha256 in bad]  # fmt: skip
    for house in lock.houses:
        if not any(wheel.sha256 in bad for wheel in house.wheels):
            known = {wheel.name: closure.read(store.path(wheel.sha256), wheel.name) for wheel in house.wheels}
            found += _unmet(closure.unmet(known, (), house.target))
    return tuple(found)


def verify_directory(house: House, root: Path) -> tuple[Problem, ...]:
    """Whether a directory holds exactly a wheelhouse: one problem for every file missing, damaged or too much."""
    entries = locks.contents(house)
    names = {entry.path for entry in entries}
    found = place.problems(entries, root)
    try:
        more = sorted(path for path in root.iterdir() if path.name not in names) if root.is_dir() else []
    except OSError as error:
        return (*found, Problem(file=str(root), what=f"cannot be read: {error.strerror or error}"))
    return (*found, *(Problem(file=str(path), what="does not belong to the wheelhouse") for path in more))


def materialise(house: House, store: Store, target: Path) -> None:
    """Write a wheelhouse as a directory; see `place.materialise`."""
    place.materialise(locks.contents(house), store, target, verify=partial(verify_directory, house))


def ensure(house: House, store: Store) -> Path:
    """The wheelhouse's directory below the store; made again if anything in it was changed."""
    folder = store.root / "houses" / locks.house_digest(house).removeprefix("sha256:")
    place.ensure(locks.contents(house), store, folder, verify=partial(verify_directory, house))
    return folder


def read_lock(path: Path) -> Lock:
    """A lock from its file.

    Raises:
        UsageError: It is not there.
        VerificationError: It is not a lock, or was edited.
    """
    return locks.loads(lockfile.read(path, "lock of the wheelhouses", "orchestrate wheels lock"), where=str(path))


def write_lock(lock: Lock, path: Path) -> bool:
    """Write a lock file whole; False if it already said the same."""
    return lockfile.write(path, locks.dumps(lock))


def locked(found: Sequence[Order], lock: Lock, *, where: str) -> Lock:
    """The part of a lock that orders need.

    Raises:
        DriftError: A wheelhouse is not in the lock, or was made from other requirements.
    """
    houses, problems = [], []
    for order in found:
        target = order.target
        house = lock.house(order.cuda, target.platform, target.python)
        if house is None:
            what = f"has no wheelhouse for CUDA {order.cuda}, {target}"
            problems.append(Problem(file=where, what=what))
        elif house.asked != order.asked.digest or house.target != target:
            what = f"wheelhouse {house.name} was made from other requirements"
            problems.append(Problem(file=where, what=what))
        else:
            houses.append(house)
    if problems:
        raise DriftError("the lock of the wheelhouses is stale", problems=problems, hint="orchestrate wheels lock")
    return Lock(houses=tuple(houses))
