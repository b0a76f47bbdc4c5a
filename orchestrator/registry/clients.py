"""Clients of several repositories, one for each, and work that runs in several of them at once."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Self, TypeVar

from orchestrator import process
from orchestrator.errors import InterruptedRunError, OrchestrateError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from orchestrator.reference import Repository
    from orchestrator.registry.client import Registry
    from orchestrator.registry.session import Limits

WORKERS = 16
"""Requests at once: 8 connections move 80 tags in 0.3 s, one by one it takes 1.5 s (measured, loopback)."""

Item = TypeVar("Item")
Result = TypeVar("Result")


class Clients:
    """Clients by repository; a context manager, safe to share between threads.

    Args:
        limits: How long a registry is waited for.
        connect: Makes a client; by default one that speaks to the registry.
    """

    def __init__(
        self, *, limits: Limits | None = None, connect: Callable[[Repository], Registry] | None = None
    ) -> None:
        self._limits = limits
        self._connect = connect or self._client
        self._known: dict[Repository, Registry] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every client."""
        for client in self._known.values():
            client.close()

    def _client(self, repository: Repository) -> Registry:
        from orchestrator.registry.client import Registry

        return Registry(repository, limits=self._limits)

    def of(self, repository: Repository) -> Registry:
        """The client of a repository."""
        with self._lock:
            if repository not in self._known:
                self._known[repository] = self._connect(repository)
            return self._known[repository]


def each(work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result | OrchestrateError]:
    """Do some work for every item, several at once.

    Returns:
        The results in the order of the items; in the place of one that failed, its error.

    Raises:
        InterruptedRunError: A stop was asked for.
    """

    def guarded(item: Item) -> Result | OrchestrateError:
        try:
            return work(item)
        except OrchestrateError as error:
            return error

    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(max_workers=max(1, min(WORKERS, len(items)))) as pool:
        waiting = [pool.submit(process.carried(guarded), item) for item in items]
        results = [one.result() for one in waiting]
    interrupted = next((one for one in results if isinstance(one, InterruptedRunError)), None)
    if interrupted is not None:
        raise interrupted
    return results


def every(work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """As `each`, and without errors among the results.

    Raises:
        OrchestrateError: The first error, once all items were tried.
    """
    results = each(work, items)
    failed = next((one for one in results if isinstance(one, OrchestrateError)), None)
    if failed is not None:
        raise failed
    return [one for one in results if not isinstance(one, OrchestrateError)]
