"""Guard: the Dockerfiles that a matrix builds from, each looked at for the way it carries FlashInfer's headers.

It joins what does not know each other: bake knows where a target's Dockerfile is, headers what it must hold. Nothing is
built; buildx resolves the project's own targets.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from orchestrator import process
from orchestrator.engine import buildx
from orchestrator.errors import EnvironmentLacksError, Problem, UsageError
from orchestrator.headers import guard, inject

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.matrix.model import Matrix

_TIMEOUT = 60.0


def headers(matrix: Matrix, *, docker: tuple[str, ...] = ("docker",)) -> tuple[Problem, ...]:
    """What is wrong with the way the matrix' targets carry FlashInfer's headers.

    Args:
        matrix: A loaded matrix. Without `headers:` in it, or with policy `off`, nothing is promised and so nothing is
            guarded: how FlashInfer gets its headers is then not ours to say, and buildx need not be there.
        docker: The docker client's argv.

    Returns:
        Problems in the order of files and lines.

    Raises:
        MatrixError: A target's Dockerfile is not there.
        UsageError: `headers.version_from` cannot be followed.
    """
    spec = matrix.spec.headers
    if spec is None or spec.policy == "off":
        return ()
    targets = tuple(matrix.spec.bake.targets) if spec.targets is None else tuple(spec.targets)
    version = inject.wanted_version(spec, matrix.root)
    problems: dict[tuple[str, int, str], Problem] = {}
    for target, resolved in _resolved(matrix, docker).items():
        text, _ = buildx.dockerfile(matrix.root, resolved)
        if text is None:
            continue
        context = str(resolved.get("context") or ".")
        name = "/".join(part for part in (context, str(resolved.get("dockerfile") or "Dockerfile")) if part != ".")
        found = guard.guard(
            text,
            name=name,
            version=version,
            targets=(str(resolved.get("target") or ""),),
            context=spec.context,
            digest_arg=spec.digest_arg,
            required=target in targets,
        )
        problems |= {(problem.file, problem.line, problem.what): problem for problem in found}
    return tuple(problems[key] for key in sorted(problems))


def _resolved(matrix: Matrix, docker: tuple[str, ...]) -> Mapping[str, Mapping[str, Any]]:
    """The project's own targets as buildx resolves them; nothing where there is no buildx to ask."""
    files = [word for file in matrix.spec.bake.files for word in ("-f", file)]
    names = list(matrix.spec.bake.targets)
    try:
        done = process.run([*docker, "buildx", "bake", *files, "--print", *names], cwd=matrix.root, timeout=_TIMEOUT)
    except EnvironmentLacksError:
        return {}
    if not done.ok:
        raise UsageError(f"buildx cannot resolve {', '.join(names)}: {buildx.last_error(done.stderr)}")
    try:
        printed = json.loads(done.stdout)["target"]
        return {name: printed[name] for name in names}
    except (ValueError, KeyError, TypeError) as error:
        raise EnvironmentLacksError(f"buildx printed no targets: {type(error).__name__}") from error
