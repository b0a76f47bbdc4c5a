"""Arguments that no stage of their target declares: BuildKit takes any in silence, and builds the Dockerfile's default.

Those of the matrix, and those that the bake files give to its targets. Reads the files; buildx is asked for the targets
where the bake files compute them. What an ONBUILD of a base image declares is not seen: `plan --preflight` asks for it.
"""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from orchestrator.dockerfile.predefined import predefined
from orchestrator.dockerfile.stages import assignments, parse
from orchestrator.drift.files import UnreadableError, outside
from orchestrator.drift.readers import bake
from orchestrator.drift.readers.errors import ReadError
from orchestrator.drift.report import Disagreement, Guarded
from orchestrator.engine import buildx
from orchestrator.errors import EnvironmentLacksError, MatrixError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from orchestrator.dockerfile.stages import Dockerfile
    from orchestrator.drift.evaluate import Buildx
    from orchestrator.drift.files import File, Files
    from orchestrator.matrix.model import Matrix
    from orchestrator.matrix.variants import Variant

PLACE = "bake arguments"
_FRONTEND = re.compile(r"(?:docker\.io/)?docker/dockerfile(?:-upstream)?(?:[:@].*)?|")
_LINK = "target:"
_ANY = "\0"
"""Stands for the value of an argument that is given, and in no file."""


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
    targets = _Targets(files=files, read=read, given=given | own)
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
    return Guarded(disagreements=tuple(dict.fromkeys(wrong)), skipped=skipped)


class _Targets(Struct, kw_only=True):
    """What the targets of the bake files declare.

    Attributes:
        files: The files of the repository.
        read: The project's bake files.
        computed: Targets as buildx resolves them.
        given: The arguments that the matrix or a bake file gives.
        parsed: Dockerfiles by text and named contexts: many targets build one.
        known: What was worked out: the arguments that a target and those that it links to declare, None if unknown.
    """

    files: Files
    read: Sequence[tuple[File, bake.BakeFile]]
    given: frozenset[str]
    computed: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    parsed: dict[tuple[str, frozenset[str]], Dockerfile] = field(default_factory=dict)
    known: dict[str, frozenset[str] | None] = field(default_factory=dict)

    @property
    def defined(self) -> list[bake.BakeFile]:
        """What the bake files define."""
        return [one for _, one in self.read]

    def resolved(self, name: str) -> Mapping[str, Any] | None:
        """Which stage of which Dockerfile a target builds, with its named contexts; None where it is not known."""
        if name in self.computed:
            return self.computed[name]
        written = bake.dockerfiles(self.defined, [name])
        named = bake.contexts(self.defined, name)
        return None if written is None or named is None else {**written[name], "contexts": named}

    def loses(self, target: str, name: str) -> bool:
        """Whether it is certain that no stage of a target declares an argument."""
        declared = self.declared(target)
        return declared is not None and name not in declared and not predefined(name)

    def declared(self, target: str) -> frozenset[str] | None:
        """The arguments that a target, and those that it links to, declare; None where one of them is not known."""
        if target not in self.known:
            self.known[target] = frozenset()  # of a circle, which buildx refuses
            self.known[target] = self._declared(target)
        return self.known[target]

    def _declared(self, name: str) -> frozenset[str] | None:
        body = self.resolved(name)
        own = None if body is None else self._dockerfile(body)
        if body is None or own is None:
            return None
        found = set(own)
        for value in (body.get("contexts") or {}).values():
            if str(value).startswith(_LINK):
                linked = self.declared(str(value).removeprefix(_LINK))
                if linked is None:
                    return None
                found |= linked
        return frozenset(found)

    def _dockerfile(self, body: Mapping[str, Any]) -> frozenset[str] | None:
        """The arguments that the stages of a target declare; one before the first FROM counts for all of them."""
        text = self._text(body)
        if text is None:
            return None
        replaced = frozenset(str(name).lower() for name in body.get("contexts") or {})
        key = text, replaced
        if key not in self.parsed:
            self.parsed[key] = parse(text, dict.fromkeys(self.given, _ANY), replaced=replaced)
        file = self.parsed[key]
        if not _FRONTEND.fullmatch(file.syntax):
            return None
        found = set(file.arguments)
        chosen = any(_ANY in stage.base for stage in file.stages)  # a value says which stages are needed
        target = str(body.get("target") or "")
        for stage in file.stages if chosen else file.needed(target, replaced=replaced):
            for step in stage.steps:
                words = step.text.split(None, 1)
                if step.keyword == "ARG":
                    found.update(name for name, _ in assignments(step.text))
                elif step.keyword == "ONBUILD" and len(words) == 2 and words[0].upper() == "ARG":
                    found.update(name for name, _ in assignments(words[1]))
        return frozenset(found) if file.stages else None

    def _text(self, body: Mapping[str, Any]) -> str | None:
        if body.get("dockerfile-inline"):
            return str(body["dockerfile-inline"])
        path = buildx.dockerfile_path(self.files.root, body)
        if path is None or not path.is_relative_to(self.files.root):
            return None
        name = path.relative_to(self.files.root).as_posix()
        with contextlib.suppress(UnreadableError):
            return None if outside(name) else self.files.read(name).text
        return None


def _of_matrix(
    matrix: Matrix, targets: _Targets, lost: set[str], variants: Sequence[Variant]
) -> Iterator[Disagreement]:
    """The arguments of the matrix that the target of a variant does not declare."""
    for variant in variants:
        for name in sorted(lost & variant.args.keys()):
            place = variant.args[name].origin.place
            if place is not None and targets.loses(variant.target, name):
                declared = targets.declared(variant.target) or frozenset()
                yield _lost(matrix.positions.file, (place.line, place.column), name, variant.target, declared)


def _of_bake(
    targets: _Targets, file: File, defined: bake.BakeFile, owners: Mapping[str, None]
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
        hint=near if near.startswith("did you mean") else f"remove it, or declare ARG {name} in a stage of the target",
    )
