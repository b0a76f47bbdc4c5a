"""Gives builds the FlashInfer bundle: its named context and arguments, for the variants that carry it."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from orchestrator.bake.file import Extras
from orchestrator.labels import FLASHINFER
from orchestrator.sizes import size_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orchestrator.headers.lock import Lock
    from orchestrator.matrix.variants import Plan

_TELL_EVERY = 5.0  # seconds between two sentences on a fetch


def header_extras(plan: Plan, *, fetch: bool, tell: Callable[[str], None]) -> dict[str, Extras]:
    """Return the named context and arguments of the FlashInfer bundle, for the variants that carry it.

    Args:
        plan: The plan.
        fetch: Whether files that are missing in the store may be fetched.
        tell: Called every few seconds with how far the fetch is; never if nothing is missing.

    Raises:
        UsageError, VerificationError, DriftError, NetworkError: The bundle is missing, before any build starts.
    """
    spec = plan.matrix.spec.headers
    carriers = [variant.id for variant in plan.variants if variant.headers]
    if spec is None or not carriers:
        return {}
    from orchestrator.drift.flashinfer import wanted_version
    from orchestrator.headers import sources, work
    from orchestrator.headers.inject import injection
    from orchestrator.headers.store import Store, default_root

    store = Store(default_root())
    root = plan.matrix.root

    def obtain(lock: Lock) -> None:
        named = [str(root / item) if (root / item).exists() else item for item in spec.mirrors]
        work.obtain_lock(lock, store, sources.chain(named), progress=Told(tell))

    version = partial(wanted_version, spec, root)
    found = injection(spec, store, directory=root, version=version, obtain=obtain if fetch else None)
    if found is None:
        return {}
    extras = Extras(
        args=found.args,
        contexts={found.context_name: str(found.context_dir.absolute())},
        labels={FLASHINFER: found.args[spec.digest_arg]},
    )
    return dict.fromkeys(carriers, extras)


class Told:
    """Shows the progress of a fetch as a sentence every few seconds.

    Args:
        tell: Shows a sentence.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._next = 0.0

    def __call__(self, done: int, total: int, received: int) -> None:
        """Hear of files fetched, files in all, and bytes received."""
        if time.monotonic() >= self._next or done == total:
            self._next = time.monotonic() + _TELL_EVERY
            self._tell(f"FlashInfer headers: {done} of {total} files fetched, {size_text(received)}")


def bundles(plan: Plan, extras: Mapping[str, Extras]) -> dict[str, str]:
    """Return variant id -> digest of the FlashInfer bundle, for the variants that were given one."""
    spec = plan.matrix.spec.headers
    if spec is None:
        return {}
    return {id_: found.args[spec.digest_arg] for id_, found in extras.items() if spec.digest_arg in found.args}
