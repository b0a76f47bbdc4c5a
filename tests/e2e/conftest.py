"""What the tests of publish start from: a registry behind TLS and a password, and a project with one release."""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING

import pytest

from orchestrator.reference import Repository
from tests.support.engine import RegistryProcess
from tests.support.releases import BRIDGE, HTPASSWD, PASSWORD, USER, Release, write

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.engine import MakeRegistry


@pytest.fixture
def secured(engine: str, tmp_path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """A registry with a password and TLS: its address, and the environment in which it can be reached."""
    made = RegistryProcess(tmp_path / "secured", htpasswd=HTPASSWD, host=BRIDGE)
    address = made.registry.address
    home = tmp_path / "docker"
    home.mkdir()
    login = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    (home / "config.json").write_text(json.dumps({"auths": {address: {"auth": login}}}))
    yield address, {"DOCKER_CONFIG": str(home), "SSL_CERT_FILE": str(tmp_path / "secured/ca.pem"), "NO_PROXY": BRIDGE}
    made.stop()


@pytest.fixture
def release(throwaway_registry: MakeRegistry, tmp_path: Path) -> Release:
    """One target and release of stand-ins, pushed and named by a report."""
    source = Repository(host=throwaway_registry().address, path="acme/app")
    project = write(tmp_path, source, more="  immutable: true")
    text = (project.root / "matrix.yaml").read_text()
    text = text.replace("{app: {}, app-slim: {tag_suffix: -slim}}", "[app]")
    text = re.sub(r'  "12.9".*\n', "", text)
    (project.root / "matrix.yaml").write_text(text)
    made = Release(project=project, source=source, env={})
    made.commit("one")
    return made
