"""What the docker client starts for `docker buildx …`, found without starting it."""

from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING

import pytest

from orchestrator.engine import plugin

if TYPE_CHECKING:
    from pathlib import Path

X86, ARM = b"\x3e\x00", b"\xb7\x00"


def program(path: Path, *, machine: bytes = X86, kind: bytes = b"\x02\x00", head: bytes = b"\x7fELF") -> Path:
    """A file that begins as a native program does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(head + b"\x02\x01\x01" + bytes(9) + kind + machine + bytes(40))
    path.chmod(0o755)
    return path


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The configuration directory of a docker client, with a plugin of the user's own and none of the system's."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "config"))
    monkeypatch.setattr(plugin, "_SYSTEM", (str(tmp_path / "system"),))
    program(tmp_path / "bin/docker")
    program(tmp_path / "config/cli-plugins/docker-buildx", kind=b"\x03\x00")
    return tmp_path


def started(root: Path, *words: str, client: str = "bin/docker") -> str:
    """The program that is started for a command, relative to a directory."""
    given = (str(root / client), *(words or ("buildx", "bake", "--print")))
    argv, env = plugin.direct(given)
    assert argv[1:] == given[1:]
    name = argv[0].removeprefix(f"{root}/")
    assert env == ({} if argv == given else {"DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND": given[0]})
    return name


def test_the_users_own_plugin_comes_before_the_systems(own: Path) -> None:
    system = program(own / "system/docker-buildx")
    assert started(own) == "config/cli-plugins/docker-buildx"
    (own / "config/cli-plugins/docker-buildx").unlink()
    assert started(own) == "system/docker-buildx"
    system.unlink()
    assert started(own) == "bin/docker"


def test_other_commands_than_those_of_buildx_are_the_clients(own: Path) -> None:
    assert started(own, "info") == "bin/docker"
    assert started(own, "image", "buildx") == "bin/docker"


def test_a_client_that_is_a_script_or_another_program_is_started_itself(own: Path) -> None:
    (own / "podman/docker").parent.mkdir()
    (own / "podman/docker").symlink_to(program(own / "podman/podman"))
    assert started(own, client="podman/docker") == "podman/docker"
    program(own / "bin/docker", head=b"#!sh")
    assert started(own) == "bin/docker"
    (own / "bin/docker").write_bytes(b"")
    assert started(own) == "bin/docker"


def test_a_plugin_that_this_machine_may_not_run_is_the_clients_to_judge(own: Path) -> None:
    path = own / "config/cli-plugins/docker-buildx"
    program(path, machine=ARM)
    assert started(own) == "bin/docker"
    program(path, head=b"#!sh")
    assert started(own) == "bin/docker"
    path.write_bytes(b"\x7fELF\x02\x01")
    assert started(own) == "bin/docker"
    program(path).chmod(stat.S_IRUSR)
    assert started(own) == "bin/docker"


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("{}", "config/cli-plugins/docker-buildx"),
        (json.dumps({"auths": {}, "aliases": {}}), "config/cli-plugins/docker-buildx"),
        (json.dumps({"cliPluginsExtraDirs": ["/opt/plugins"]}), "bin/docker"),
        (json.dumps({"aliases": {"builder": "buildx"}}), "bin/docker"),
        ("[]", "bin/docker"),
        ("not json", "bin/docker"),
    ],
)
def test_a_configuration_that_names_other_plugins_is_the_clients_to_read(own: Path, config: str, expected: str) -> None:
    (own / "config/config.json").write_text(config)
    assert started(own) == expected
