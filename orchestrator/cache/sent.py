"""Lets docker send a build context whole whose files it does not tell from those that the builder holds.

The builder keeps the context that was sent last and is sent the files whose size, time or mode differ (BuildKit's local
source, measured with engine 28.5 and buildx 0.29: a file of another content with equal size and time stays as it was,
also where a checkout elsewhere sent it). It keeps one for each name of a context and last part of the path of the main
context, so a path that ends otherwise makes it start from nothing. Dockerfiles, `.dockerignore` and links are always
compared in full.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from typing import TYPE_CHECKING

from msgspec.structs import replace

from orchestrator.engine import buildx

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any

    from orchestrator.bake.file import BakeFile

_CWD = "cwd://"


def renamed(file: BakeFile, root: Path, directory: Path, restored: str) -> BakeFile:
    """Return a bake file whose main contexts have a name of their own for the files that times do not tell apart.

    Args:
        file: The bake file.
        root: The directory that its paths are relative to.
        directory: Where links to the contexts are made.
        restored: Stands for those files (`Inputs.restored`).

    Raises:
        OSError: A link cannot be made.
    """
    return replace(
        file,
        members={name: _renamed(member, root, directory, restored) for name, member in file.members.items()},
    )


def _renamed(member: Mapping[str, Any], root: Path, directory: Path, restored: str) -> Mapping[str, Any]:
    context = str(member.get("context") or ".")
    if buildx.is_remote(context):
        return member
    top = os.path.realpath(root / context.removeprefix(_CWD))
    inside = os.path.relpath(top, os.path.realpath(root))  # checkouts of the same files share what was sent
    name = hashlib.sha256(os.fsencode(f"{inside}\0{restored}")).hexdigest()
    link = directory / f"context-{name[:32]}"
    with contextlib.suppress(FileExistsError):  # of another variant with the same context
        link.symlink_to(top)
    found = {**member, "context": str(link)}
    path = buildx.dockerfile_path(root, member)
    if path is not None:
        found["dockerfile"] = os.path.abspath(path)  # noqa: PTH100 - buildx takes `..` away without following links
    return found
