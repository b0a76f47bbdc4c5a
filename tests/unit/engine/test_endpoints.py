"""What is wrong with the endpoint of a builder, before anything is connected."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orchestrator.engine import endpoints

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("endpoint", ["tcp://host:99999", "tcp://[::1", "tcp://host:port"])
def test_an_address_that_is_none(endpoint: str) -> None:
    assert endpoints.fault(endpoint) == "is not a valid address: expected tcp://HOST:PORT"


@pytest.mark.parametrize("endpoint", ["", "ssh://me@host", "kubernetes:///x", "tcp://host"])
def test_a_kind_that_cannot_be_looked_at(endpoint: str) -> None:
    assert endpoints.fault(endpoint) == ""


@pytest.mark.parametrize("name", ["cacert", "cert", "key"])
def test_a_file_that_is_missing(name: str, tmp_path: Path) -> None:
    gone = tmp_path / "gone.pem"
    assert endpoints.fault("tcp://host:1234", {name: str(gone)}) == f"{name} {gone} was not found"
