"""Local inputs of a variant that are missing: contexts that are no directory, secrets without a file or variable."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.bake.privileges import forwards_agent
from orchestrator.engine.buildx import is_remote
from orchestrator.entries import read_entry
from orchestrator.errors import EnvironmentLacksError, Problem
from orchestrator.reference import layout_directory

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from typing import Any

    from orchestrator.bake.file import BakeFile
    from orchestrator.errors import Place


def missing_inputs(
    root: Path, file: BakeFile, places: Mapping[str, Place | None], *, variant: str, given: Collection[str] = ()
) -> tuple[Problem, ...]:
    """Return what a variant's bake file reads from this machine and does not find.

    Args:
        root: The directory that relative paths refer to.
        file: The bake file of the variant.
        places: Name of a context, id of a secret -> where the matrix says it.
        variant: The variant, for the message.
        given: Environment variables that the run itself sets for the bake.
    """
    found: dict[Problem, None] = {}
    variables = {*os.environ, *given}
    for name, member in file.members.items():
        target = file.origins.get(name, name)
        for what, missing, place in (*_contexts(root, member, places), *_secrets(root, member, places, variables)):
            found[Problem.at(place, f"{variant}: {what} of target {target} was not found: {missing}")] = None
    return tuple(found)


def _contexts(
    root: Path, member: Mapping[str, Any], places: Mapping[str, Place | None]
) -> Iterator[tuple[str, str, Place | None]]:
    given = {"the context": str(member.get("context") or ".")}
    given |= {f"the named context {name}": str(value) for name, value in (member.get("contexts") or {}).items()}
    for what, value in given.items():
        layout = value.startswith("oci-layout://")
        path = root / (layout_directory(value) if layout else value.removeprefix("cwd://"))
        if (layout or not is_remote(value)) and not path.is_dir():
            found = f"{value} is not a directory" if path.exists() else value
            yield what, found, places.get(what.rpartition(" ")[2])


def require_agent(file: BakeFile, *, variant: str) -> None:
    """Require that the SSH agent answers to which a variant forwards its steps.

    Args:
        file: The bake file of the variant.
        variant: The variant, for the message.

    Raises:
        EnvironmentLacksError: There is none.
    """
    for name, member in file.members.items():
        if not forwards_agent(member):
            continue
        socket = os.environ.get("SSH_AUTH_SOCK", "")
        if not socket or not Path(socket).exists():
            found = f"{socket} does not exist" if socket else "SSH_AUTH_SOCK is not set"
            raise EnvironmentLacksError(
                f"{variant}: the SSH agent that target {file.origins.get(name, name)} forwards was not found: {found}",
                hint='`eval "$(ssh-agent)"` and `ssh-add` start one, or name a key: ssh = ["default=PATH"]',
            )


def _secrets(
    root: Path, member: Mapping[str, Any], places: Mapping[str, Place | None], variables: Collection[str]
) -> Iterator[tuple[str, str, Place | None]]:
    for entry in member.get("secret") or []:
        fields = entry if isinstance(entry, dict) else read_entry(str(entry))
        id_ = str(fields.get("id") or "")
        source, variable = str(fields.get("src") or fields.get("source") or ""), str(fields.get("env") or "")
        if fields.get("type") == "env":
            variable = variable or source or id_
        if variable:
            if variable not in variables:
                yield f"the secret {id_}", f"environment variable {variable} is not set", places.get(id_)
        elif source and not (root / source).is_file():  # buildx expands no ~
            yield f"the secret {id_}", source, places.get(id_)
        elif not source and id_ not in variables and not (root / id_).is_file():
            yield f"the secret {id_}", f"neither an environment variable nor a file {id_}", places.get(id_)
