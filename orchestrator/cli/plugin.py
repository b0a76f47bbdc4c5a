"""`orchestrate plugin`: makes `docker orchestrate` run this program, as a plugin of the docker client.

What the client asks of a plugin: a program `docker-NAME` in a directory of its own that answers
`docker-cli-plugin-metadata` with JSON, and is called with the options of docker before its own name
(github.com/docker/cli, cli-plugins/metadata).
"""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator import process
from orchestrator.cli import kit, options
from orchestrator.errors import EnvironmentLacksError, UsageError

if TYPE_CHECKING:
    from orchestrator.cli.common import Location

NAME = "docker-orchestrate"
_MARK = "# Made by `orchestrate plugin install`."


@kit.command(
    "plugin",
    examples=(
        "orchestrate plugin install      then: docker orchestrate plan",
        "orchestrate plugin remove",
    ),
)
@kit.argument(
    "action", type=click.Choice(["install", "remove"]),
    explanation="install writes docker-orchestrate beside docker's other plugins; remove deletes it.",
)  # fmt: skip
@options.location
def command(*, action: str, given: Location) -> None:
    """Make `docker orchestrate` run this program.

    Writes a script that starts this installation, in cli-plugins below $DOCKER_CONFIG (~/.docker). The script takes
    --context, --config and --host of docker before its name. The command accepts -f and -C, and reads nothing.
    """
    del given
    from orchestrator.ui import streams

    path = place()
    _refuse_foreign(path)
    try:
        if action == "remove":
            path.unlink(missing_ok=True)
            streams.say(f"{path}: removed")
            return
        from orchestrator.files import write_whole

        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, script(), mode=0o755)
    except OSError as error:
        raise EnvironmentLacksError(f"{path}: cannot be written: {error.strerror}") from error
    streams.say(f"{path}: installed; docker orchestrate --help shows that it works")


def place() -> Path:
    """Where the docker client looks for a user's plugins."""
    config = os.environ.get("DOCKER_CONFIG")
    return (Path(config) if config else Path.home() / ".docker") / "cli-plugins" / NAME


def script() -> str:
    """The plugin: a shell script, because the client asks every plugin for its metadata whenever it starts."""
    from orchestrator import __version__

    metadata = {
        "SchemaVersion": "0.1.0",
        "Vendor": "The build orchestrator authors",
        "Version": __version__,
        "ShortDescription": "Build CUDA container images from one matrix.yaml",
    }
    return f"""\
#!/bin/sh
{_MARK}
if [ "$1" = docker-cli-plugin-metadata ]; then
    printf '%s\\n' {shlex.quote(json.dumps(metadata))}
    exit
fi
while [ $# -gt 0 ]; do
    case "$1" in
        orchestrate) shift; break ;;
        --context=*|--config=*|--host=*) name=${{1%%=*}} value=${{1#*=}}; shift ;;
        -c|--context|--config|-H|--host) name=$1 value=$2; shift 2 ;;
        *) echo "docker orchestrate: $1 of docker is not supported: use --context, --config or --host" >&2; exit 2 ;;
    esac
    case "$name" in
        -c|--context) export DOCKER_CONTEXT="$value" ;;
        --config) export DOCKER_CONFIG="$value" ;;
        -H|--host) export DOCKER_HOST="$value" ;;
    esac
done
exec {shlex.join(process.python())} -m orchestrator "$@"
"""


def _refuse_foreign(path: Path) -> None:
    """Leave a plugin of the same name alone that this program did not write.

    Raises:
        UsageError: There is one.
    """
    try:
        ours = _MARK in path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return
    except OSError as error:
        raise EnvironmentLacksError(f"{path}: cannot be read: {error.strerror}") from error
    if not ours:
        raise UsageError(
            f"{path}: is there and was not written by orchestrate", hint=f"move it away: mv {path} {path}.old"
        )
