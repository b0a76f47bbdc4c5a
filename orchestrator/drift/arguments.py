"""Arguments that no stage of their target declares: BuildKit takes any in silence, and builds the Dockerfile's default.

Those of the matrix, and those that the bake files give to its targets. Reads the files; buildx is asked for the targets
where the bake files compute them. An ONBUILD of a base image may declare one: where that is not known here, the
argument is told as not checked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field

from orchestrator.drift.declared import Targets
from orchestrator.drift.files import UnreadableError
from orchestrator.drift.onbuild import declared_by, unknown_bases
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
    given = frozenset(name for args in (spec.variants.args, *(one.args for one in spec.overrides)) for name in args)
    read = []
    for name in matrix.bake_files:
        try:
            read.append((files.read(name), files.read(name).defined))
        except (UnreadableError, ReadError) as error:
            return Guarded(skipped=(f"{PLACE}: {name}: {error}",) if given else ())
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
    doubts = _Doubts(targets=targets, asked=asked)
    wrong = list(_of_matrix(matrix, doubts, lost, variants())) if lost else []
    owners = dict.fromkeys(owner for name in spec.bake.targets for owner in bake.lineage(targets.defined, name))
    wrong += (one for file, defined in read for one in _of_bake(doubts, file, defined, owners))
    wrong += (
        _lost(file.name, file.lines.place(start), name, target, targets.declared(target) or frozenset())
        for file, _ in read
        for target in spec.bake.targets
        for name, start in services.get(file.name, {}).get(target, {}).items()
        if targets.loses(target, name) and not doubts.about(target, name)
    )
    named = spec.bake.targets if given | own else ()
    unread = dict.fromkeys(f"{PLACE}: {why}" for name in named for why in targets.unread(name))
    return Guarded(disagreements=tuple(dict.fromkeys(wrong)), skipped=(*skipped, *unread, *doubts.told()))


class _Doubts(Struct, frozen=True, kw_only=True):
    """Whether a base image may declare what no stage does.

    Attributes:
        targets: The targets.
        asked: Asks the engine; None if it must not be called.
        found: Target and argument -> the images of which it is not known.
    """

    targets: Targets
    asked: Buildx | None
    found: dict[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)

    def about(self, target: str, name: str, values: Mapping[str, str] | None = None) -> bool:
        """Whether an argument that no stage declares is declared by a base image, or may be; the latter is noted.

        One that a stage declares in other letters is a slip.

        Args:
            target: The target.
            name: The argument.
            values: What the matrix gives beside what the bake files give.
        """
        if name.lower() in {one.lower() for one in self.targets.declared(target) or ()}:
            return False
        images = unknown_bases(self.targets, target, self.targets.values(target) | dict(values or {}))
        known = {image: declared_by(image, self.asked) for image in images}
        if any(names is not None and name in names for names in known.values()):
            return True
        missing = tuple(image for image, names in known.items() if names is None)
        if missing:
            self.found[target, name] = missing
        return bool(missing)

    def told(self) -> list[str]:
        """What was not checked, a line for each target and its images."""
        groups: dict[tuple[str, tuple[str, ...]], list[str]] = {}
        for (target, name), images in self.found.items():
            groups.setdefault((target, images), []).append(name)
        return [
            f"{PLACE}: no stage of target {target} declares {', '.join(sorted(names))}; whether ONBUILD of "
            f"{' or '.join(_shown(image) for image in images)} does is not known: pull the base and "
            "check again (`orchestrate plan --preflight` asks the registry about the arguments of the matrix)"
            for (target, images), names in groups.items()
        ]


def _shown(image: str) -> str:
    return "".join(char if char.isprintable() else "…" for char in image)


def _of_matrix(matrix: Matrix, doubts: _Doubts, lost: set[str], variants: Sequence[Variant]) -> Iterator[Disagreement]:
    """The arguments of the matrix that the target of a variant does not declare."""
    targets = doubts.targets
    for variant in variants:
        for name in sorted(lost & variant.args.keys()):
            place = variant.args[name].origin.place
            if place is not None and targets.loses(variant.target, name):
                if doubts.about(variant.target, name, {key: one.text for key, one in variant.args.items()}):
                    continue
                declared = targets.declared(variant.target) or frozenset()
                yield _lost(matrix.positions.file, (place.line, place.column), name, variant.target, declared)


def _of_bake(doubts: _Doubts, file: File, defined: bake.BakeFile, owners: Mapping[str, None]) -> Iterator[Disagreement]:
    """The arguments of a bake file that no target which has them declares."""
    targets = doubts.targets
    names = [name for one in targets.defined for name in one.targets]
    lineages = {name: bake.lineage(targets.defined, name) for name in names}
    for owner in owners:
        target = defined.targets.get(owner)
        having = [name for name in names if owner in lineages[name]]
        for name, value in target.args.items() if target is not None else ():
            if all(targets.loses(one, name) for one in having) and not any(doubts.about(one, name) for one in having):
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
        hint=near if near.startswith("did you mean") else f"remove it, or declare ARG {name} in a stage of the target",
    )
