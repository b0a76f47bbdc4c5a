"""Resolve: from pins to a lock, by way of the manifests.

Every pin's manifest (`checksums.txt`, whose digest the pin names) lists all files of its directory with their digests.
Which of them belong to the bundle is the tier's choice; a hard-coded list of header names would be wrong after the next
release. This module chooses and records; fetch.py brings the bytes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from orchestrator.errors import UsageError, VerificationError
from orchestrator.headers import layout as layouts
from orchestrator.headers import lock as locks
from orchestrator.headers.request import Wanted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from orchestrator.headers.fetch import Report
    from orchestrator.headers.layout import Layout
    from orchestrator.headers.lock import Lock
    from orchestrator.headers.pins import Pins
    from orchestrator.headers.store import Store

_MANIFEST_LIMIT = 64 * 1024 * 1024


def resolve(
    pins: Pins,
    store: Store,
    obtain: Callable[[Sequence[Wanted]], Report],
    *,
    layout: Layout,
    tier: str = "headers",
    sm: Sequence[str] = (),
) -> Lock:
    """Return the lock of one FlashInfer version. Everything it lists is in the store afterwards.

    Args:
        pins: From `pins.read`.
        store: Where `obtain` puts files.
        obtain: Brings wanted files into the store.
        layout: The generation that the files will be placed by.
        tier: `headers`, or `cubins` for headers and every cubin.
        sm: Compute capabilities (`10.3`) to narrow the tier `cubins` to.

    Raises:
        UsageError: There is no such tier, or a compute capability is not one.
        VerificationError: A manifest is not what FlashInfer can have published.
    """
    _check(tier, sm)
    manifests = {pin.attr: Wanted(path=f"{pin.path}/checksums.txt", sha256=pin.sha256) for pin in pins.pins}
    obtain(list(manifests.values()))
    wanted: list[Wanted] = []
    counted: list[locks.LockedPin] = []
    for pin in pins.pins:
        listed = locks.parse_manifest(pin, store.read(pin.sha256))
        chosen = {path: digest for path, digest in listed.items() if is_chosen(path, tier, sm, layout)}
        if chosen:
            wanted.append(manifests[pin.attr])
            wanted += [Wanted(path=path, sha256=digest) for path, digest in chosen.items()]
        counted.append(locks.LockedPin(pin=pin, files=len(chosen)))
    if tier == "cubins":
        wanted += [Wanted(path=item.path, sha256=item.sha256, optional=True) for item in pins.loose]
    wanted = list({item.path: item for item in wanted}.values())  # two pins may name the same directory
    absent = set(obtain(wanted).absent)
    files = [
        locks.LockedFile(path=item.path, sha256=item.sha256, size=store.size(item.sha256))
        for item in wanted
        if item.path not in absent
    ]
    made = locks.Lock(
        version=pins.version,
        commit=pins.commit,
        wheel_sha256=pins.wheel_sha256,
        layout=layout.name,
        tier=tier,
        sm=tuple(sorted(sm)),
        pins=tuple(counted),
        files=tuple(sorted(files, key=lambda file: file.path)),
        missing=tuple(sorted(absent)),
        not_covered=_not_covered(pins, tier, sm, sorted(absent)),
    )
    problem = locks.implausible(made)
    if problem:  # nothing reads such a lock: it is not written
        raise VerificationError(f"the lock of FlashInfer {pins.version} is invalid: {problem}")
    return made


def _check(tier: str, sm: Sequence[str]) -> None:
    if tier not in locks.TIERS:
        raise UsageError(f"unknown tier {tier!r}", hint=f"known: {', '.join(locks.TIERS)}")
    if sm and tier != "cubins":
        raise UsageError("headers are the same for every GPU: --sm narrows the tier cubins alone", hint="--tier cubins")
    for item in sm:
        major, dot, minor = item.partition(".")
        if not (dot and major.isdigit() and minor.isdigit() and len(minor) == 1):
            raise UsageError(f"{item!r} is not a compute capability", hint="write it like 10.0 or 10.3")


def is_chosen(path: str, tier: str, sm: Sequence[str], layout: Layout) -> bool:
    """Return whether a tier takes a file of a manifest.

    Args:
        path: Relative to the repository.
        tier: `headers` or `cubins`.
        sm: Compute capabilities that `cubins` is narrowed to, empty for all.
        layout: The generation.
    """
    if path.endswith(".h"):
        return layouts.asks_for(layout, path)
    return tier == "cubins" and matches_sm(path, sm)


def matches_sm(path: str, sm: Sequence[str]) -> bool:
    """Return whether an artifact may run on one of the compute capabilities.

    Args:
        path: Its name carries `sm100f`, `Sm103a` or nothing; without a name for it, it is taken.
        sm: Compute capabilities, `10.3`; empty means all.
    """
    named = re.findall(r"[sS]m(\d{2,3})([af]?)(?![0-9a-z])", path.rsplit("/", 1)[-1])
    if not sm or not named:
        return True
    number, suffix = named[-1]
    for item in sm:
        major, _, minor = item.partition(".")
        if suffix == "a" and number == f"{major}{minor}":
            return True
        # a family or plain name runs on its own minor and every later one of the same major
        if suffix != "a" and number[:-1] == major and int(number[-1]) <= int(minor or "0"):
            return True
    return False


def _not_covered(pins: Pins, tier: str, sm: Sequence[str], absent: Sequence[str]) -> tuple[str, ...]:
    told = []
    if tier == "headers":
        told.append(
            "cubins: FlashInfer compiles with these headers, but launching a TRTLLM-gen kernel loads a .cubin; "
            "install flashinfer-cubin of the same version, or lock the tier cubins"
        )
        told += [f"{item.path.rsplit('/', 1)[-1]} ({item.attr})" for item in pins.loose if item.path.endswith(".json")]
    if sm:
        told.append(f"cubins of other GPUs than compute capability {', '.join(sorted(sm))}")
    told += [f"{path}: no source had it" for path in absent]
    cpus = sorted({pin.attr.split("/")[1] for pin in pins.dsl})
    if cpus:
        told.append(f"CuTe DSL attention libraries (.so for {', '.join(cpus)})")
    told += [f"{attr}: FlashInfer {pins.version} names no digest for it" for attr, _ in pins.bare]
    return tuple(told)


def wanted_of(lock: Lock) -> list[Wanted]:
    """Return what a lock needs in the store."""
    return [Wanted(path=file.path, sha256=file.sha256, size=file.size) for file in lock.files]
