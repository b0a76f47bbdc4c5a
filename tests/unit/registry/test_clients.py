"""One client for each repository, shared by threads, and work for several items at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from orchestrator.errors import InterruptedRunError, NetworkError
from orchestrator.reference import Repository
from orchestrator.registry.clients import Clients, each, every

if TYPE_CHECKING:
    from orchestrator.registry.client import Registry

ONE, OTHER = (Repository(host="ghcr.io", path=path) for path in ("acme/app", "acme/other"))


class Connection:
    """A client that can be closed."""

    def __init__(self, repository: Repository) -> None:
        self.repository = repository
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


def test_a_repository_has_one_client_until_all_are_closed() -> None:
    made: list[Connection] = []

    def connect(repository: Repository) -> Registry:
        made.append(Connection(repository))
        return cast("Registry", made[-1])

    with Clients(connect=connect) as clients:
        found = every(clients.of, [ONE, OTHER] * 20)
        assert {client.repository for client in found} == {ONE, OTHER}
    assert [one.closed for one in made] == [1, 1]


def test_results_stand_in_the_order_of_the_items() -> None:
    def work(item: int) -> int:
        if item % 2:
            raise NetworkError(f"no answer to {item}")
        return item

    assert [str(one) for one in each(work, range(4))] == ["0", "no answer to 1", "2", "no answer to 3"]
    assert each(work, []) == []
    with pytest.raises(NetworkError, match="no answer to 1"):
        every(work, range(4))


def test_a_stop_is_more_than_an_error() -> None:
    def work(item: int) -> None:
        raise InterruptedRunError("stopped") if item else NetworkError("no answer")

    with pytest.raises(InterruptedRunError):
        each(work, range(2))
