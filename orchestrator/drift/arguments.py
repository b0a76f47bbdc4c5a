"""Arguments that no stage of their target declares: BuildKit takes any in silence, and builds the Dockerfile's default.

Those of the matrix, and those that the bake files give to its targets. Reads the files; buildx is asked for the targets
where the bake files compute them. What an ONBUILD of a base image declares is not seen: `plan --preflight` asks for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.drift.declared import Targets
from orchestrator.drift.files import UnreadableError
from orchestrator.drift.readers import bake, compose
from orchestrator.drift.readers.errors import ReadError
from orchestrator.drift.report import Disagreement, Guarded
from orchestrator.errors import EnvironmentLacksError, MatrixError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from orchestrator.drift.evaluate import Buildx
    from orchestrator.drift.files import File, Files
    from orchestrator.matrix.model import Matrix
    from orchestrator.matrix.variants import Variant

PLACE = "bake arguments"


def arguments(matrix: Matrix, files: Files, asked: Buildx | None, variants: Callable[[], Sequence[Variant]]) -> Guarded:
    """Find the arguments that nothing declares.

    Args:
        matrix: A loaded matrix.
        files: The files of the repository.
        asked: Resolves targets that the bake files compute; None if buildx must not be called.
        variants: The variants of the matrix, expanded only where an argument may be lost.
    """
    spec = matrix.spec
    try:
        read = [(files.read(name), files.read(name).defined) for name in matrix.bake_files]
    except (UnreadableError, ReadError):
        return Guarded()  # the build says so
    given = frozenset(name for args in (spec.variants.args, *(one.args for one in spec.overrides)) for name in args)
    own = frozenset(name for _, one in read for target in one.targets.values() for name in target.args)
    services = {file.name: compose.arguments(file.text) for file, defined in read if defined.partial}
    own |= {name for every in services.values() for args in every.values() for name in args}
    targets = Targets(files=files, read=read, given=given | own)
    skipped: tuple[str, ...] = ()
    if any(targets.resolved(name) is None for name in spec.bake.targets):
        try:
            found = asked.targets(tuple(matrix.bake_files), tuple(spec.bake.targets)) if asked is not None else {}
        except (EnvironmentLacksError, MatrixError) as error:
            found, skipped = {}, (f"{PLACE}: {error.message}",)
        targets.computed.update(found)
    lost = {name for name in given for target in spec.bake.targets if targets.loses(target, name)}
    wrong = list(_of_matrix(matrix, targets, lost, variants())) if lost else []
    owners = dict.fromkeys(owner for name in spec.bake.targets for owner in bake.lineage(targets.defined, name))
    wrong += (one for file, defined in read for one in _of_bake(targets, file, defined, owners))
    wrong += (
        _lost(file.name, file.lines.place(start), name, target, targets.declared(target) or frozenset())
        for file, _ in read
        for target in spec.bake.targets
        for name, start in services.get(file.name, {}).get(target, {}).items()
        if targets.loses(target, name)
    )
    return Guarded(disagreements=tuple(dict.fromkeys(wrong)), skipped=skipped)


def _of_matrix(matrix: Matrix, targets: Targets, lost: set[str], variants: Sequence[Variant]) -> Iterator[Disagreement]:
    """The arguments of the matrix that the target of a variant does not declare."""
    for variant in variants:
        for name in sorted(lost & variant.args.keys()):
            place = variant.args[name].origin.place
            if place is not None and targets.loses(variant.target, name):
                declared = targets.declared(variant.target) or frozenset()
                yield _lost(matrix.positions.file, (place.line, place.column), name, variant.target, declared)


def _of_bake(
    targets: Targets, file: File, defined: bake.BakeFile, owners: Mapping[str, None]
) -> Iterator[Disagreement]:
    """The arguments of a bake file that no target which has them declares."""
    names = [name for one in targets.defined for name in one.targets]
    lineages = {name: bake.lineage(targets.defined, name) for name in names}
    for owner in owners:
        target = defined.targets.get(owner)
        having = [name for name in names if owner in lineages[name]]
        for name, value in target.args.items() if target is not None else ():
            if all(targets.loses(one, name) for one in having):
                declared = frozenset[str]().union(*(targets.declared(one) or () for one in having))
                yield _lost(file.name, file.lines.place(value.start), name, owner, declared)


def _lost(file: str, place: tuple[int, int], name: str, target: str, declared: frozenset[str]) -> Disagreement:
    near = did_you_mean(name, declared)
    line, column = place
    return Disagreement(
        claim=None,
        file=file,
        line=line,
        column=column,
        end_column=column,
        place=f"argument {name} of target {target}",
        says=None,
        expected="",
        words=("no stage of the target declares it with ARG: BuildKit ignores it silently",),
        unfixable="either the argument or an ARG is wrong",
        hint=near
        if near.startswith("did you mean")
        else f"remove it, or declare ARG {name} in a stage of the target (`orchestrate plan --preflight` reads the "
        "ONBUILD of base images too)",
    )
