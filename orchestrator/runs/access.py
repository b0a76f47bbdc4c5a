"""Whether the repositories of a run can be pushed to, asked before the first variant is built."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.errors import OrchestrateError
from orchestrator.reference import repository

if TYPE_CHECKING:
    from collections.abc import Iterable

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
    names = list(dict.fromkeys(repositories))
    if not names:  # the registry's client takes 0.04 s to import
        return {}
    from orchestrator.registry.clients import Clients, each
    from orchestrator.registry.session import Limits

    with Clients(limits=Limits(attempts=_ATTEMPTS)) as clients:
        found = each(lambda name: clients.of(repository(name)).require_push(), names)
    return {name: error for name, error in zip(names, found, strict=True) if isinstance(error, OrchestrateError)}
