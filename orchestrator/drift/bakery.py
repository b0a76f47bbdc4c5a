"""Which bake file builds the CUDA image of a repository, and what its targets are: `orchestrate init`.

buildx is asked where it is there (groups, targets with a matrix, functions); else the file is read.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from orchestrator.drift.files import UnreadableError, read_text, walk
from orchestrator.drift.readers import bake

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from orchestrator.drift.evaluate import Buildx

_OTHER = re.compile(
    r"(?<![a-z])(?:rocm\w*|hip|amd|cpu|xpu|hpu|tpu|npu|neuron|gaudi|musa|ppc64le|s390x|metal)(?![a-z])", re.IGNORECASE
)
_ASKED = re.compile(r"\b(?:matrix|platforms|tags|function|inherits|targets)\b")
"""Words of files whose targets buildx resolves better than this reader: the others are asked of nobody."""
_GROUP = re.compile(r'group\s+"([\w-]+)"\s*\{[^}]*targets\s*=\s*\[([^\]]*)\]', re.DOTALL)
_TAGS = re.compile(r'tags\s*=\s*\[\s*"([^"$]+)"')
_IMAGE = re.compile(r"[a-z0-9][a-z0-9./:_-]*")


class Bakery(Struct, frozen=True, kw_only=True):
    """A project's bake file.

    Attributes:
        file: Its path below the root.
        targets: The targets that are shipped, for CUDA.
        others: Targets that build something else, which take no CUDA release.
        image: The repository of the first tag, "" where none says it.
        platforms: The platforms of the targets, empty where none says one.
    """

    file: str
    targets: tuple[str, ...]
    others: tuple[str, ...] = ()
    image: str = ""
    platforms: tuple[str, ...] = ()


def bakery(root: Path, dockerfile: str, buildx: Buildx | None = None) -> Bakery | None:
    """The bake file of the CUDA image, None if no bake file has a target.

    Args:
        root: The repository.
        dockerfile: The main Dockerfile, "" if there is none.
        buildx: Resolves targets, None to read the file alone.
    """
    found = sorted(_candidates(root, dockerfile))
    if not found:
        return None
    name = found[0][-1]
    text = read_text(root / name)
    defined = bake.parse(text, json=name.endswith(".json"))
    resolved = buildx.shipped(name) if buildx is not None and _ASKED.search(text) else None
    bodies: Mapping[str, Mapping[str, Any]] = resolved or {key: {} for key in _shipped(text, defined)}
    other = tuple(target for target, body in bodies.items() if _OTHER.search(f"{target} {body.get('dockerfile', '')}"))
    kept = tuple(target for target in bodies if target not in other)
    if not kept:  # all of them carry such a name: it says nothing
        kept, other = tuple(bodies), ()
    tags = [tag for target in kept for tag in bodies[target].get("tags") or ()] or _TAGS.findall(text)
    platforms = [platform for target in kept for platform in bodies[target].get("platforms") or ()]
    return Bakery(
        file=name,
        targets=kept,
        others=other,
        image=next(filter(None, map(_repository, tags)), ""),
        platforms=tuple(dict.fromkeys(platforms)),
    )


def _candidates(root: Path, dockerfile: str) -> Iterator[tuple[bool, bool, bool, int, str]]:
    """Every bake file with a target, in an order in which the best sorts first."""
    for path in walk(root):
        if path.suffix != ".hcl" and not (path.suffix == ".json" and "bake" in path.name):
            continue
        name = path.relative_to(root).as_posix()
        try:
            defined = bake.parse(read_text(path), json=path.suffix == ".json")
        except (ValueError, UnreadableError):
            continue
        if defined.targets:
            built = bake.dockerfiles([defined], list(defined.targets)) or {}
            files = {body.get("dockerfile", "Dockerfile") for body in built.values()}
            elsewhere = bool(dockerfile) and not any(dockerfile.endswith(file) for file in files)
            plain = path.name.startswith("docker-bake")
            other = _OTHER.search(path.name) is not None
            yield other, elsewhere, not plain, len(PurePosixPath(name).parts), name


def _shipped(text: str, defined: bake.BakeFile) -> Sequence[str]:
    """The targets of group `all`, else of `default`, else all whose name does not begin with _."""
    groups = {match[1]: re.findall(r'"([\w-]+)"', match[2]) for match in _GROUP.finditer(text)}
    for name in ("all", "default"):
        chosen = [target for target in groups.get(name, []) if target in defined.targets]
        if chosen:
            return chosen
    return [name for name in defined.targets if not name.startswith("_")] or list(defined.targets)


def _repository(tag: str) -> str:
    """The repository of a tag, "" where it is not a plain name."""
    name = tag.rsplit(":", 1)[0] if ":" in tag.rsplit("/", 1)[-1] else tag
    return name if _IMAGE.fullmatch(name) else ""
