"""Which bake files build the CUDA image of a repository, and what their targets are: `orchestrate init`.

buildx is asked where it is there (groups, targets with a matrix, functions); else the files are read.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from orchestrator.drift.files import UnreadableError, read_text, walk
from orchestrator.drift.readers import bake, compose
from orchestrator.engine import buildx
from orchestrator.engine.bake_files import NAMES
from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from orchestrator.drift.evaluate import Buildx

_OTHER = re.compile(
    r"(?<![a-z])(?:rocm\w*|hip|amd|cpu|xpu|hpu|tpu|npu|neuron|gaudi|musa|ppc64le|s390x|metal)(?![a-z])", re.IGNORECASE
)
_ASKED = re.compile(r"\b(?:matrix|platforms|tags|function|inherits|targets)\b|[\w.]\(|\?")
"""What files hold whose targets buildx resolves better than this reader: the others are asked of nobody."""
_GROUP = re.compile(r'group\s+"([\w-]+)"\s*\{[^}]*targets\s*=\s*\[([^\]]*)\]', re.DOTALL)
_TAGS = re.compile(r'tags\s*=\s*\[\s*"([^"$]+)"')


class Bakery(Struct, frozen=True, kw_only=True):
    """A project's bake files.

    Attributes:
        files: Their paths below the root, in the order in which bake merges them.
        targets: The targets that are shipped, for CUDA, in the order of their group, each with its attributes.
        linked: Every target that the files hold with its attributes, as far as is known.
        others: Targets that build something else, which take no CUDA release.
        tags: The first tag that the text of a file holds, where no target says one.
        unused: Other bake files of the repository.
        note: Why buildx was not asked or refuses the files, "" if it answered.
    """

    files: tuple[str, ...]
    targets: Mapping[str, Mapping[str, Any]]
    linked: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    others: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    note: str = ""


class _File(Struct, frozen=True, kw_only=True):
    """One bake file: its path below the root, its text, and what it defines."""

    name: str
    text: str
    defined: bake.BakeFile
    services: Mapping[str, Mapping[str, Any]]

    @property
    def targets(self) -> list[str]:
        """The names of its targets."""
        return [*self.defined.targets, *self.services]


def bakery(root: Path, dockerfile: str, buildx_: Buildx | None = None) -> Bakery | None:
    """The bake files of the CUDA image, None if no bake file has a target.

    Args:
        root: The repository.
        dockerfile: The main Dockerfile, "" if there is none.
        buildx_: Resolves targets, None to read the files alone.

    Raises:
        UsageError: The Dockerfiles of the bake file are found from its own directory alone.
    """
    known = {one.name: one for one in _bake_files(root)}
    found = sorted((_rank(one, dockerfile), name) for name, one in known.items() if one.targets)
    if not found:
        return None
    name = found[0][1]
    files = _merged(known, name)
    everything: Mapping[str, Mapping[str, Any]] = _read(files)
    shipped, note = _shipped(files, everything), ""
    if buildx_ is not None and any(one.services or _ASKED.search(one.text) for one in files):
        resolved, note = buildx_.shipped([one.name for one in files], shipped)
        if resolved:
            everything = {**everything, **resolved.targets}
            shipped = list(resolved.names)
    _refuse_own_directory(root, name, [everything[target] for target in shipped])
    other = [one for one in shipped if _OTHER.search(f"{one} {everything[one].get('dockerfile', '')}")]
    kept = [one for one in shipped if one not in other]
    if not kept:  # all of them carry such a name: it says nothing
        kept, other = list(shipped), []
    return Bakery(
        files=tuple(one.name for one in files),
        targets={one: everything[one] for one in kept},
        linked=everything,
        others=tuple(other),
        tags=tuple(tag for one in files for tag in _TAGS.findall(one.text)),
        unused=tuple(other for _, other in found if other not in {one.name for one in files}),
        note=note,
    )


def _bake_files(root: Path) -> Iterator[_File]:
    """Every file of a repository that bake reads, in the order of their paths."""
    for path in walk(root):
        composed = compose.is_compose(path.name)
        if not composed and path.suffix != ".hcl" and not (path.suffix == ".json" and "bake" in path.name):
            continue
        name = path.relative_to(root).as_posix()
        try:
            text = read_text(path)
            defined = (
                bake.BakeFile(text=text, partial=True) if composed else bake.parse(text, json=path.suffix == ".json")
            )
            services = compose.targets(text) if composed else {}
        except (ValueError, UnreadableError):
            continue
        yield _File(name=name, text=text, defined=defined, services=services)


def _rank(file: _File, dockerfile: str) -> tuple[bool, bool, bool, bool, int]:
    """What sorts first builds the main Dockerfile for CUDA, has bake's own name, and lies least deep."""
    built = _read([file]).values()
    paths = {str(PurePosixPath(one.get("context", "."), one.get("dockerfile", "Dockerfile"))) for one in built}
    elsewhere = bool(dockerfile) and not any(dockerfile.endswith(path.lstrip("./")) for path in paths)
    base = PurePosixPath(file.name)
    plain = base.name.startswith("docker-bake")
    return _OTHER.search(base.name) is not None, elsewhere, bool(file.services), not plain, len(base.parts)


def _merged(known: Mapping[str, _File], name: str) -> list[_File]:
    """The files that bake merges into one that it reads by itself; of Compose, those that add to its targets."""
    if name not in NAMES:
        return [known[name]]
    beside = [known[one] for one in NAMES if one in known]
    targets = {target for one in beside for target in one.defined.targets}
    return [
        one
        for one in beside
        if one.name == name or not one.services or known[name].services or targets.intersection(one.services)
    ]


def _read(files: Sequence[_File]) -> dict[str, dict[str, Any]]:
    """The targets as the files write them, without what is computed; a later file wins."""
    defined = [one.defined for one in files if not one.services]
    found: dict[str, dict[str, Any]] = {}
    for file in files:
        for name, body in file.services.items():
            found[name] = {**found.get(name, {}), **body}
        for name in file.defined.targets:
            built = bake.dockerfiles(defined, [name]) or bake.dockerfiles([file.defined], [name]) or {}
            args = {}
            for owner in reversed(bake.lineage([file.defined], name)):
                for arg in file.defined.targets[owner].args:
                    value = file.defined.arg(name, arg)
                    if value is not None and not value.computed:
                        args[arg] = value.value
            before = found.get(name, {})
            contexts = bake.contexts([file.defined], name) or {}
            found[name] = {**before, **built.get(name, {}), "args": {**before.get("args", {}), **args}}
            found[name]["contexts"] = {**before.get("contexts", {}), **contexts}
    return found


def _shipped(files: Sequence[_File], targets: Mapping[str, Any]) -> list[str]:
    """The targets of group `all`, else of `default`, else all whose name does not begin with _."""
    groups: dict[str, list[str]] = {}
    for one in files:
        groups |= {match[1]: re.findall(r'"([\w-]+)"', match[2]) for match in _GROUP.finditer(one.text)}
    for name in ("all", "default"):
        chosen = [target for target in groups.get(name, []) if target in targets]
        if chosen:
            return chosen
    return [name for name in targets if not name.startswith("_")] or list(targets)


def _refuse_own_directory(root: Path, name: str, targets: Sequence[Mapping[str, Any]]) -> None:
    """Refuse a bake file that is written for its own directory: paths in it start from where bake runs.

    Raises:
        UsageError: Its Dockerfiles are there from its directory, and not from the root.
    """
    folder = PurePosixPath(name).parent
    if folder == PurePosixPath():
        return
    paths = [(buildx.dockerfile_path(root, one), buildx.dockerfile_path(root / folder, one)) for one in targets]
    if paths and all(
        here is not None and there is not None and not here.is_file() and there.is_file() for here, there in paths
    ):
        raise UsageError(
            f"{name}: its Dockerfiles were not found from {root}: expected a bake file whose paths start there, "
            f"found paths that start from {folder.as_posix()}",
            hint=f"run `orchestrate init -C {root / folder}`",
        )
