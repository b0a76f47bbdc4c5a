"""The operations that the command line and a build share, put together from the modules of this package."""

from __future__ import annotations

import importlib.util
import shutil
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from orchestrator import process
from orchestrator.errors import EnvironmentLacksError, NetworkError, UsageError, VerificationError
from orchestrator.headers import fetch, layout, manifests, pins, resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from orchestrator.headers.fetch import Report
    from orchestrator.headers.lock import Lock
    from orchestrator.headers.pins import Pins
    from orchestrator.headers.request import Options, Wanted
    from orchestrator.headers.sources import Source
    from orchestrator.headers.store import Store

_PIP_SECONDS = 900


def package(version: str, store: Store) -> Path:
    """Return the flashinfer-python wheel of a version, downloaded by pip from the index that pip is configured for.

    Raises:
        NetworkError: pip did not find it or did not reach its index.
        EnvironmentLacksError: There is no pip.
    """
    layout.key(version)
    folder = store.root / "wheels"
    found = sorted(folder.glob(f"flashinfer_python-{version}-*.whl"))
    if found:
        return found[0]
    argv = [*pip_command(), "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    argv += ["--only-binary", ":all:", "--dest", str(folder), f"flashinfer-python=={version}"]
    done = process.run(argv, timeout=_PIP_SECONDS)
    found = sorted(folder.glob(f"flashinfer_python-{version}-*.whl"))
    if not done.ok or not found:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise NetworkError(
            f"pip could not download flashinfer-python {version}: {last}",
            hint="download the wheel where you can and name it: orchestrate headers lock --from WHEEL",
        )
    return found[0]


def pip_command() -> list[str]:
    """Return the argv that starts pip: this environment's own, another one on PATH, or the one that uv brings.

    Environments that uv makes hold no pip, and `uv pip` cannot download.

    Raises:
        EnvironmentLacksError: There is none.
    """
    if importlib.util.find_spec("pip") is not None:
        return [*process.python(), "-m", "pip"]
    found = shutil.which("pip3") or shutil.which("pip")
    if found:
        return [found]
    if uv := shutil.which("uv"):
        return [uv, "tool", "run", "pip"]
    raise EnvironmentLacksError(
        "pip was not found: expected it in this environment or on PATH",
        hint="install pip or uv, or name the wheel: orchestrate headers lock --from WHEEL",
    )


class Coverage(Struct, frozen=True, kw_only=True):
    """What a lock covers.

    Attributes:
        tier: `headers` or `cubins`.
        sm: Compute capabilities to narrow `cubins` to.
        layout: A generation, for a version that is newer than this program; "" takes the version's own.
    """

    tier: str = "headers"
    sm: Sequence[str] = ()
    layout: str = ""


def make_lock(
    known: Pins,
    store: Store,
    sources: Sequence[Source],
    *,
    coverage: Coverage | None = None,
    options: Options | None = None,
    progress: Callable[[int, int, int], None] | None = None,
) -> tuple[Lock, Report]:
    """Return a lock, and what was fetched for it (sizes are not in the manifests, so every file is).

    Args:
        known: From `pins.read`.
        store: Where files go.
        sources: Where they come from.
        coverage: What the lock covers; by default the headers alone.
        options: How to fetch.
        progress: As for `fetch`.

    Raises:
        UsageError, NetworkError, VerificationError: As `resolve` and `fetch`.
    """
    if not known.version:
        raise UsageError("the package does not say its version", hint="name it: --flashinfer 0.6.13")
    covered = coverage or Coverage()
    chosen = layout.named(covered.layout) if covered.layout else layout.of(known.version)
    reports: list[Report] = []

    def obtain(wanted: Sequence[Wanted]) -> Report:
        reports.append(fetch.fetch(wanted, sources, store, options=options, progress=progress))
        return reports[-1]

    lock = resolve.resolve(known, store, obtain, layout=chosen, tier=covered.tier, sm=covered.sm)
    return lock, fetch.Report(
        fetched=sum(report.fetched for report in reports),
        bytes=sum(report.bytes for report in reports),
        present=sum(report.present for report in reports),
        requests=sum(report.requests for report in reports),
        absent=reports[-1].absent,
    )


def obtain_lock(
    lock: Lock,
    store: Store,
    sources: Sequence[Source],
    *,
    options: Options | None = None,
    progress: Callable[[int, int, int], None] | None = None,
) -> Report:
    """Bring every file of a lock into the store; no request is sent for what is there.

    Raises:
        NetworkError, VerificationError: As `fetch`.
    """
    done = fetch.fetch(resolve.wanted_of(lock), sources, store, options=options, progress=progress)
    manifests.require(lock, store)
    return done


def read_pins(source: Path | None, version: str, store: Store) -> Pins:
    """Pins of a named package, else of the version's wheel.

    Raises:
        UsageError: Neither is named, or they contradict each other.
    """
    if source is not None:
        known = pins.read(source)
        if version and known.version and known.version != version:
            raise UsageError(f"{source} does not match: expected FlashInfer {version}, found {known.version}")
        return known if known.version else replace(known, version=version)
    if not version:
        raise UsageError(
            "the version of FlashInfer is missing: matrix.yaml has no headers.version and no headers.version_from",
            hint="orchestrate headers lock --flashinfer 0.6.13",
        )
    return pins.read(package(version, store))


def verify_store(lock: Lock, store: Store, *, repair: bool) -> dict[str, str]:
    """Return the files of a lock that are missing or damaged in the store, path -> what.

    Args:
        lock: What should be there.
        store: Where.
        repair: Remove damaged blobs, so that the next fetch brings them again.
    """
    bad = store.bad((file.sha256 for file in lock.files), repair=repair)
    return {file.path: bad[file.sha256] for file in lock.files if file.sha256 in bad}


def require_complete(lock: Lock, store: Store) -> None:
    """Refuse to go on with a lock whose files are not all in the store, or that leaves files out.

    Raises:
        VerificationError: Some are missing, or the manifests of its pins say otherwise.
    """
    missing = [file for file in lock.files if not store.has(file.sha256, file.size)]
    if missing:
        raise VerificationError(
            f"{len(missing)} of {len(lock.files)} files are not in the store {store.root}",
            hint="orchestrate headers fetch",
        )
    manifests.require(lock, store)
