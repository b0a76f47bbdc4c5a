"""Docker's certificates that cannot be looked at, and the system's that are not there; tests/engine has the rest."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from orchestrator.errors import EnvironmentLacksError
from orchestrator.registry import trust

if TYPE_CHECKING:
    from pathlib import Path


def test_a_directory_that_only_the_engine_may_enter_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mode 0700 of /etc/docker is no barrier for root, who runs the tests."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    place = tmp_path / "docker" / "certs.d" / "registry.test"
    place.mkdir(parents=True)
    assert trust.directory("registry.test") == place
    real = os.stat

    def barred(path: str | Path, **words: bool) -> os.stat_result:
        if str(path) == str(place):
            raise PermissionError(13, "Permission denied")
        return real(path, **words)

    monkeypatch.setattr(os, "stat", barred)
    assert trust.directory("registry.test") is None


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
def test_certificates_of_the_system_that_cannot_be_used_are_named(
    content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "all.pem"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    with pytest.raises(EnvironmentLacksError, match=r"all\.pem: the certificate cannot be used: expected PEM"):
        trust.context("registry.test")
