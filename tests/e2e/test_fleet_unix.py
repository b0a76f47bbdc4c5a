"""A remote builder behind a unix socket."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.fleet import served
from tests.support.project import write_project

if TYPE_CHECKING:
    from tests.support.engine import Registry


def test_a_builder_behind_a_unix_socket(registry: Registry, tmp_path: Path) -> None:
    env = {"BUILDX_CONFIG": str(tmp_path / "buildx")}
    project = write_project(tmp_path, registry.repository("fleet-unix"), one="RUN echo x", two="RUN echo y")
    # The name of a unix socket has 107 bytes at most: pytest's directories are longer.
    with tempfile.TemporaryDirectory() as short, served("", path=Path(short) / "buildkit.sock") as port:
        section = {"sock": {"driver": "remote", "endpoint": port.endpoint, "slots": 2}}
        matrix = project.root / "matrix.yaml"
        matrix.write_text(matrix.read_text() + f"builders: {json.dumps(section)}\n")
        done = project.build("--push", env=env)
        assert done.returncode == 0, done.stderr
        found = project.reported()
        assert {name: (one["status"], one["builder"]) for name, one in found.items()} == {
            "one": ("built", "sock"),
            "two": ("built", "sock"),
        }
        assert registry.digest("fleet-unix", "one-amd64") == found["one"]["digest"]
        checked = project.run("doctor", env=env)
        assert checked.returncode == 0, checked.stdout
        assert f"driver remote at {port.endpoint}, BuildKit v" in checked.stdout
        port.close()
        down = project.build("--push", env=env)
    assert down.returncode == 5
    assert f"sock at {port.endpoint}: nothing listens there (connection refused)" in down.stderr
