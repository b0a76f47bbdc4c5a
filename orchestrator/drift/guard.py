"""What the Dockerfiles of a matrix do with FlashInfer's headers and the compile cache, as a part of a check's report.

buildx says which Dockerfile each target builds, `headers.guard` and `cache.compile_dockerfile` judge it.
"""

from __future__ import annotations

import contextlib
import posixpath
import re
from functools import partial
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from orchestrator.drift.files import UnreadableError, outside
from orchestrator.drift.readers.errors import ReadError
from orchestrator.drift.report import Disagreement, Guarded
from orchestrator.engine import buildx
from orchestrator.errors import EnvironmentLacksError, MatrixError, Problem, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from orchestrator.dockerfile.declared import Declaration
    from orchestrator.drift.evaluate import Buildx
    from orchestrator.drift.files import Files
    from orchestrator.matrix.model import Matrix
    from orchestrator.matrix.schema import HeadersSpec

PLACE = "FlashInfer headers"
"""The `place` of the disagreements."""
COMPILE_PLACE = "compile cache"
WHEELS_PLACE = "wheelhouse"

_HOSTED = re.compile(r"(ubuntu|windows|macos)-(latest|\d[\w.-]*)")


def headers(matrix: Matrix, files: Files, asked: Buildx | None) -> Guarded:
    """Check the way in which the targets of a matrix carry FlashInfer's headers.

    Args:
        matrix: A loaded matrix. With policy `off` it promises nothing, and buildx is not asked. Without `headers:`,
            what it leaves unsaid is in the notes.
        files: The files of the repository.
        asked: Resolves the project's targets; None if buildx must not be called.

    Raises:
        MatrixError: buildx refuses the bake files.
    """
    spec = matrix.spec.headers
    if spec is None:
        return Guarded(notes=_unpromised(matrix, files, asked))
    if spec.policy == "off":
        return Guarded()
    if asked is None:
        return Guarded(skipped=(f"{PLACE}: buildx is not asked",))
    try:
        targets = asked.targets(matrix.bake_files, tuple(matrix.spec.bake.targets))
    except EnvironmentLacksError as error:
        return Guarded(skipped=(f"{PLACE}: {error.message}",))
    found: dict[tuple[str, int, str], Disagreement] = {}
    version = spec.version or ""
    try:
        version = _version(spec, files)
    except UsageError as error:
        one = _disagreement(Problem(file=_version_file(spec), what=error.message, hint=error.hint))
        found[one.file, one.line, one.message] = one
    for name, target in targets.items():
        for problem in _problems(spec, name, target, _Asked(files=files, version=version, bake=matrix.bake_files[0])):
            one = _disagreement(problem)
            found[one.file, one.line, one.message] = one
    return Guarded(disagreements=tuple(found[key] for key in sorted(found)))


def wheels(matrix: Matrix, files: Files, asked: Buildx | None) -> Guarded:
    """Check that the targets of a matrix install from the wheelhouse that they are given.

    Args:
        matrix: A loaded matrix; without `wheels:`, or with policy `off`, buildx is not asked.
        files: The files of the repository.
        asked: Resolves the project's targets; None if buildx must not be called.

    Raises:
        MatrixError: buildx refuses the bake files.
    """
    spec = matrix.spec.wheels
    if spec is None or spec.policy == "off":
        return Guarded()
    names = tuple(name for name in matrix.spec.bake.targets if spec.targets is None or name in spec.targets)
    if asked is None:
        return Guarded(skipped=(f"{WHEELS_PLACE}: buildx is not asked",))
    try:
        targets = asked.targets(matrix.bake_files, names)
    except EnvironmentLacksError as error:
        return Guarded(skipped=(f"{WHEELS_PLACE}: {error.message}",))
    from orchestrator.headers import guard

    found = []
    for stage, path, text in _written(files, targets):
        problems = guard.wheelhouse(
            text,
            stage,
            context=spec.context,
            digest_arg=spec.digest_arg,
            name=path,
        )
        found += [_disagreement(one, WHEELS_PLACE) for one in problems]
    return Guarded(disagreements=tuple(dict.fromkeys(found)))


def compile_cache(matrix: Matrix, files: Files, asked: Buildx | None) -> Guarded:
    """Find what defeats the compile cache of a matrix: its runners, and the Dockerfiles of the targets that use it.

    Args:
        matrix: A loaded matrix; without `compile_cache:` buildx is not asked.
        files: The files of the repository.
        asked: Resolves the project's targets; None if buildx must not be called.

    Raises:
        MatrixError: buildx refuses the bake files.
    """
    spec = matrix.spec.compile_cache
    if spec is None:
        return Guarded()
    found = [_disagreement(one, COMPILE_PLACE) for one in _thrown_away(matrix)]
    names = tuple(name for name in matrix.spec.bake.targets if spec.targets is None or name in spec.targets)
    if asked is None:
        return Guarded(disagreements=tuple(found), skipped=(f"{COMPILE_PLACE}: buildx is not asked",))
    try:
        targets = asked.targets(matrix.bake_files, names)
    except EnvironmentLacksError as error:
        return Guarded(disagreements=tuple(found), skipped=(f"{COMPILE_PLACE}: {error.message}",))
    from orchestrator.cache import compile_dockerfile

    arguments = [matrix.spec.variants.args, *(override.args for override in matrix.spec.overrides)]
    moving = {name for args in arguments for name, value in args.items() if value and "{git." in value}
    for stage, path, text in _written(files, targets):
        wanted = compile_dockerfile.Wanted(
            target=stage,
            backend=spec.backend,
            releases=len(matrix.spec.cuda),
            moving=moving,
        )
        problems = compile_dockerfile.problems(text, wanted, path)
        found += [_disagreement(one, COMPILE_PLACE) for one in problems]
    return Guarded(disagreements=tuple(dict.fromkeys(found)))


def _written(files: Files, targets: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str, str]]:
    """The stage that each resolved target builds, and the path and text of its Dockerfile; inline ones are left out."""
    for target in targets.values():
        try:
            text, _ = buildx.dockerfile(files.root, target)
        except MatrixError:  # `build` says it
            continue
        if text is not None and not target.get("dockerfile-inline"):
            path = _shown(files.root, target)
            yield str(target.get("target") or ""), path, files.overlay.get(path, text)


def _thrown_away(matrix: Matrix) -> Iterator[Problem]:
    """A cache mount on runners that GitHub throws away after each job: the cache is empty in every run."""
    spec = matrix.spec.compile_cache
    labels = [platform.runner for platform in matrix.spec.platforms.values()]
    hosted = [label for runner in labels for label in runner if _HOSTED.fullmatch(label)]
    if spec is not None and spec.backend == "mount" and hosted and len(hosted) == len(labels):
        line, column = matrix.positions.at(("compile_cache",))
        what = f"a cache mount is empty on every run of a GitHub-hosted runner ({hosted[0]})"
        hint = "use backend: gha or s3 (docs/compile-cache.md), or runners of your own that keep their builder"
        yield Problem(file=matrix.positions.file, line=line, column=column, what=what, hint=hint)


def _unpromised(matrix: Matrix, files: Files, asked: Buildx | None) -> tuple[str, ...]:
    """What targets do about FlashInfer's headers where the matrix promises nothing: notes."""
    from orchestrator.headers import guard

    if asked is None:
        return ()
    built: dict[tuple[str, str, str], list[str]] = {}
    for target in _dockerfiles(matrix, files, asked).values():
        try:
            text, _ = buildx.dockerfile(files.root, target)
        except MatrixError:  # the build says so
            continue
        if text is not None:
            key = (_shown(files.root, target), text, str(target.get("context") or "."))
            built.setdefault(key, []).append(str(target.get("target") or ""))
    notes: dict[str, None] = {}
    for (name, text, context), targets in built.items():
        said = {one.name: one.found.value for one in _declared(files, name, text) if one.found is not None}
        version = _released(said.get("FLASHINFER_VERSION", ""))
        for problem in guard.unpromised(
            text, targets, version=version, name=name, read=partial(_of_context, files, context)
        ):
            notes[f"{problem.place}: {problem.what}; {problem.hint}"] = None
    return tuple(notes)


def _of_context(files: Files, context: str, path: str) -> str:
    """A text file of a local build context, "" where there is none that can be read."""
    if outside(path.lstrip("/")) or "://" in context:
        return ""
    name = posixpath.normpath(posixpath.join(context, path.lstrip("/")))
    try:
        return files.read(name).text
    except (UnreadableError, ReadError):
        return ""


def _released(version: str) -> str:
    """A version as a Dockerfile says it, "" where it is no release of FlashInfer: a branch, a variable, `0.6`."""
    from orchestrator.headers import layout

    try:
        layout.key(version)
    except UsageError:
        return ""
    return version


def _dockerfiles(matrix: Matrix, files: Files, asked: Buildx) -> Mapping[str, Mapping[str, Any]]:
    """Which Dockerfile each target builds: as the bake files write it, else as buildx resolves it; {} where it cannot.

    A call of buildx takes as long as all the rest of a check (0.08 s), and most bake files write it in literals.
    """
    from orchestrator.drift.readers import bake

    named, targets = matrix.bake_files, tuple(matrix.spec.bake.targets)
    with contextlib.suppress(ReadError, UnreadableError):
        written = bake.dockerfiles([files.read(name).defined for name in named], targets)
        if written is not None:
            return written
    with contextlib.suppress(EnvironmentLacksError, MatrixError):
        return asked.targets(named, targets)
    return {}


def _declared(files: Files, name: str, text: str) -> list[Declaration]:
    """The ARG and ENV of a Dockerfile; one that a claim names has been read already."""
    from orchestrator.drift.files import File

    with contextlib.suppress(UnreadableError):
        if files.read(name).text == text:
            return files.read(name).declared
    return File(name, text).declared


class _Asked(Struct, frozen=True, kw_only=True):
    """What every target is judged by: the files, FlashInfer's version, and the first bake file."""

    files: Files
    version: str
    bake: str


def _problems(spec: HeadersSpec, name: str, target: Mapping[str, Any], asked: _Asked) -> Iterator[Problem]:
    """What is wrong with the Dockerfile of one resolved target."""
    from orchestrator.headers import guard

    inline = bool(target.get("dockerfile-inline"))
    path = _shown(asked.files.root, target)
    try:
        text, _ = buildx.dockerfile(asked.files.root, target)
    except MatrixError as error:
        yield Problem(file=path, line=1, what=error.message, hint=f"correct the target {name} in {asked.bake}")
        return
    if text is None:  # a remote context: nothing to read
        return
    found = guard.guard(
        text if inline else asked.files.overlay.get(path, text),
        guard.Promised(
            version=asked.version,
            targets=(str(target.get("target") or ""),),
            context=spec.context,
            digest_arg=spec.digest_arg,
            required=spec.targets is None or name in spec.targets,
        ),
        name=path,
        read=partial(_of_context, asked.files, str(target.get("context") or ".")),
    )
    for problem in found:
        if inline:
            what = f"dockerfile-inline of target {name}, line {problem.line}: {problem.what}"
            yield Problem(file=asked.bake, line=1, what=what, hint=problem.hint)
        else:
            yield problem


def _shown(root: Path, target: Mapping[str, Any]) -> str:
    """The Dockerfile's path as the repository has it."""
    path = buildx.dockerfile_path(root, target)
    if path is None:
        return str(target.get("dockerfile") or "Dockerfile")
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


def _disagreement(problem: Problem, place: str = PLACE) -> Disagreement:
    expected = (f"expected {problem.expected}",) if problem.expected else ()
    return Disagreement(
        claim=None,
        file=problem.file,
        line=problem.line or 1,
        column=problem.column or 1,
        end_column=problem.column or 1,
        place=place,
        says=None,
        expected="",
        words=(problem.what, *expected),
        unfixable="only a claim can be fixed",
        hint=problem.hint,
    )


def _version(spec: HeadersSpec, files: Files) -> str:
    """FlashInfer's version as the repository says it, with the texts that a fix has changed.

    Raises:
        UsageError: `version_from` cannot be followed, or contradicts `version`.
    """
    from orchestrator.drift.flashinfer import wanted_version

    return wanted_version(spec, files.root, files.overlay)


def _version_file(spec: HeadersSpec) -> str:
    return (spec.version_from or "").partition("#")[0]
