"""Whether the repositories of a run can be pushed to, asked before the first variant is built."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator import process
from orchestrator.errors import InterruptedRunError, OrchestrateError

if TYPE_CHECKING:
    from collections.abc import Iterable

_AT_ONCE = 8
_ATTEMPTS = 2


def push_errors(repositories: Iterable[str]) -> dict[str, OrchestrateError]:
    """Ask for each repository, several at once.

    Args:
        repositories: `HOST/PATH`.

    Returns:
        Repository -> why it cannot be pushed to, or why it did not say; nothing for those that can.

    Raises:
        InterruptedRunError: A stop was asked for.
    """
    from concurrent.futures import ThreadPoolExecutor

    names = list(dict.fromkeys(repositories))
    if not names:
        return {}
    with ThreadPoolExecutor(max_workers=min(_AT_ONCE, len(names)), thread_name_prefix="access") as pool:
        jobs = {name: pool.submit(process.carried(_error), name) for name in names}
        found = {name: job.result() for name, job in jobs.items()}
    return {name: error for name, error in found.items() if error is not None}


def _error(name: str) -> OrchestrateError | None:
    from orchestrator.reference import repository
    from orchestrator.registry.client import Registry
    from orchestrator.registry.session import Limits

    try:
        with Registry(repository(name), limits=Limits(attempts=_ATTEMPTS)) as registry:
            registry.require_push()
    except InterruptedRunError:
        raise
    except OrchestrateError as error:
        return error
    return None
