"""How buildx is called for a project: its bake files, targets resolved by `bake --print`, its errors."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator import process
from orchestrator.errors import EnvironmentLacksError, MatrixError

if TYPE_CHECKING:
    from collections.abc import Mapping

_TIMEOUT = 120.0


@dataclass(frozen=True, kw_only=True, slots=True)
class BakeCall:
    """How buildx is called for one project.

    Attributes:
        docker: The docker client's argv.
        files: The project's bake files, relative to `root` or absolute.
        root: The directory that relative paths of the bake files refer to.
        builder: Builder name, "" for the current one.
    """

    docker: tuple[str, ...]
    files: tuple[str, ...]
    root: Path
    builder: str = ""

    def argv(self, *more: str) -> tuple[str, ...]:
        """`docker buildx bake -f … MORE`."""
        named = ("--builder", self.builder) if self.builder else ()
        files = tuple(word for file in self.files for word in ("-f", file))
        return (*self.docker, "buildx", "bake", *named, *files, *more)


def resolve(call: BakeCall, targets: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Resolve targets with one `bake --print`: everything that they inherit is filled in.

    Args:
        call: How to call buildx.
        targets: Name -> target as a bake file holds it, added to the project's bake files; at least one.

    Returns:
        Name -> target.

    Raises:
        MatrixError: buildx refuses the bake files; the message holds its reason.
        EnvironmentLacksError: buildx printed no targets.
    """
    # buildx opens what `output` and `cache-to` name even to print, and empties a file that exists.
    quiet = {name: {**target, "output": ["type=cacheonly"], "cache-to": []} for name, target in targets.items()}
    with tempfile.TemporaryDirectory(prefix="orchestrate-") as directory:
        path = Path(directory, "variants.json")
        path.write_text(json.dumps({"target": quiet}), encoding="utf-8")
        done = process.run(call.argv("-f", str(path), "--print", *targets), cwd=call.root, timeout=_TIMEOUT)
    if not done.ok:
        raise MatrixError(f"buildx cannot resolve the variants with {', '.join(call.files)}: {last_error(done.stderr)}")
    try:
        printed: dict[str, dict[str, Any]] = json.loads(done.stdout)["target"]
        return {name: printed[name] | _destinations(target) for name, target in targets.items()}
    except (ValueError, KeyError, TypeError) as error:
        raise EnvironmentLacksError(
            f"`buildx bake --print` printed no targets ({type(error).__name__}: {error})",
            hint="orchestrate doctor checks buildx",
        ) from error


def _destinations(target: Mapping[str, Any]) -> dict[str, Any]:
    return {name: target[name] for name in ("output", "cache-to") if name in target}


def last_error(stderr: str) -> str:
    """Return the line of docker's or buildx's output that says what is wrong."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")]
    return (errors or lines or ["no output"])[-1].removeprefix("ERROR: ")


def unescape(text: str) -> str:
    """Undo the escapes that `bake --print` adds for the marks of its templates."""
    return text.replace("$${", "${").replace("%%{", "%{")


def dockerfile(root: Path, target: Mapping[str, Any]) -> tuple[str | None, str]:
    """Return a target's Dockerfile, or None and the reason why it cannot be read here.

    Args:
        root: The directory that the target's paths are relative to.
        target: A resolved bake target.

    Raises:
        MatrixError: It was not found, or it is not UTF-8 text.
    """
    inline = target.get("dockerfile-inline")
    if inline:
        return unescape(str(inline)), ""
    context = str(target.get("context") or ".")
    if "://" in context or context.startswith("git@"):
        return None, f"the context {context.rsplit('@', maxsplit=1)[-1]} is remote"
    path = root / context / str(target.get("dockerfile") or "Dockerfile")
    try:
        return path.read_bytes().decode("utf-8"), ""
    except FileNotFoundError as error:
        raise MatrixError(f"{path}: no such Dockerfile (target {target.get('target') or 'default'})") from error
    except (OSError, UnicodeDecodeError) as error:
        raise MatrixError(f"{path}: cannot be read as UTF-8 text: {error}") from error
