"""From what was found in an old repository to the sections of a matrix: `check --find` and `orchestrate init`.

It writes YAML for people to read and change. It must not know files beyond what find.py saw, and the bake files.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from orchestrator.cuda.arch import parse_list
from orchestrator.cuda.toolkit import UnknownToolkitError, toolkit_for
from orchestrator.dockerfile.spans import Style, write
from orchestrator.drift.files import UnreadableError, read_text
from orchestrator.drift.readers import bake
from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from orchestrator.drift.find import Group, Sight

_ARCH_ARGS = ("torch_cuda_arch_list", "cuda_arch_list", "cuda_architectures", "cmake_cuda_architectures")
_FILLER = frozenset({"torch", "cuda", "arch", "archs", "arches", "list", "fi", "flashinfer", "architectures"})
_IMAGE = re.compile(r"[a-z0-9][a-z0-9./:_-]*")
_TAGS = re.compile(r'tags\s*=\s*\[\s*"([^"$]+)"')
_GROUP = re.compile(r'group\s+"(\w+)"\s*\{[^}]*targets\s*=\s*\[([^\]]*)\]', re.DOTALL)
_ARM = re.compile(r"(?<![a-z])(?:arm|arm64|aarch64)(?![a-z])", re.IGNORECASE)
_SHOWN = 6


def name_lists(groups: Iterable[Group]) -> dict[str, str]:
    """A name for each distinct arch list, taken from where it stands.

    Returns:
        List -> name; the list of the main Dockerfile is `release`.
    """
    names: dict[str, str] = {}
    for group in groups:
        if group.subject != "arch list":
            continue
        main = main_list(group)
        for value, sights in group.values.items():
            wanted = "release" if value == main else _list_name(sights)
            name, number = wanted, 2
            while name in names.values():
                name, number = f"{wanted}-{number}", number + 1
            names[value] = name
    return names


def main_list(group: Group) -> str:
    """The list that the others are measured by: the one of the Dockerfile with the shortest name, else the first."""
    dockerfiles = sorted(
        (len(sight.file), sight.file, value)
        for value, sights in group.values.items()
        for sight in sights
        if "arg" in sight.claim and "target" not in sight.claim and sight.name.lower() in _ARCH_ARGS
    )
    return dockerfiles[0][2] if dockerfiles else next(iter(group.values))


def _list_name(sights: Sequence[Sight]) -> str:
    first = sights[0]
    words = [word for word in re.split(r"[^a-z0-9]+", first.name.lower()) if word and word not in _FILLER]
    branch = first.claim.get("branch", "").split("|")[0]
    if first.claim.get("dialect") == "flashinfer":
        words = ["flashinfer", *words]
    elif not words:
        words = [re.sub(r"[^A-Za-z0-9]+", "-", PurePosixPath(first.file).stem).strip("-").lower() or "list"]
    return "-".join([*words, *re.findall(r"\d+", branch)])


def propose(groups: Sequence[Group]) -> str:
    """The `arch_lists:` and `claims:` sections for what was found, as YAML, contradictions first.

    Args:
        groups: What `find` gave.
    """
    names = name_lists(groups)
    lines = ["arch_lists:"] if names else []
    lines += [f"  {name}: {value}" for value, name in names.items()]
    lines.append("claims:" if groups else "claims: []")
    entries = [
        _Entry(sight=sight, says=_says(group, value, sight, names))
        for group in groups
        for value, sights in group.values.items()
        for sight in sights
    ]
    ambiguous = _ambiguous(entries)
    for group in groups:
        count = sum(len(sights) for sights in group.values.values())
        said = "values contradict each other" if group.contradicts else "value"
        lines.append(f"  # {group.subject}: {len(group.values)} {said}, in {count} place{'s' if count > 1 else ''}")
        for value, sights in group.values.items():
            lines.append(f"  # {value}")
            lines += _claims([entry for entry in entries if entry.sight in sights], ambiguous, numbers=True)
    return "\n".join(lines) + "\n"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Entry:
    """A place, and what its claim is to say."""

    sight: Sight
    says: str

    @property
    def locator(self) -> tuple[tuple[str, str], ...]:
        """The claim's file and locator, as a key."""
        return tuple(self.sight.claim.items())

    @property
    def narrow(self) -> tuple[tuple[str, str], ...]:
        """The same within one step of a pipeline."""
        within = self.sight.within
        return (*self.locator, ("pointer", within)) if within else self.locator


def _ambiguous(entries: Iterable[_Entry]) -> dict[tuple[tuple[str, str], ...], bool]:
    """The locators that mean places which say different things: True where naming the step tells them apart."""
    said: dict[tuple[tuple[str, str], ...], set[str]] = {}
    narrowed: dict[tuple[tuple[str, str], ...], set[str]] = {}
    entries = list(entries)
    for entry in entries:
        said.setdefault(entry.locator, set()).add(entry.says)
        narrowed.setdefault(entry.narrow, set()).add(entry.says)
    apart: dict[tuple[tuple[str, str], ...], bool] = {}
    for entry in entries:
        if len(said[entry.locator]) > 1:
            told = entry.narrow != entry.locator and len(narrowed[entry.narrow]) == 1
            apart[entry.locator] = apart.get(entry.locator, True) and told
    return apart


def _says(group: Group, value: str, sight: Sight, names: Mapping[str, str], release: str = "") -> str:
    """What the claim about a place says, with placeholders; a CUDA version keeps whatever is around it."""
    kind, _, name = group.subject.partition(" ")
    if kind == "arch":
        return f"{{arch_lists.{names[value]}}}"
    if kind == "CUDA":
        key = release or name
        placeholder = f"{{cuda[{key}].version}}" if value != name else f"{{cuda[{key}]}}"
        return sight.whole.replace(value, placeholder, 1) if value in sight.whole else placeholder
    declared = [
        other.name
        for sights in group.values.values()
        for other in sights
        if "arg" in other.claim and "target" not in other.claim
    ]
    return f"{{args.{declared[0] if declared else name}}}"


def _claims(
    entries: Sequence[_Entry], ambiguous: Mapping[tuple[tuple[str, str], ...], bool], *, numbers: bool
) -> Iterator[str]:
    """The claims for places, one for each locator, as lines of a YAML list; with the numbers of their lines."""
    lines: dict[tuple[tuple[tuple[str, str], ...], str], list[int]] = {}
    for entry in entries:
        locator = entry.narrow if ambiguous.get(entry.locator) else entry.locator
        lines.setdefault((locator, entry.says), []).append(entry.sight.line)
    for (locator, says), at in lines.items():
        shown = ", ".join(map(str, at[:_SHOWN])) + (", …" if len(at) > _SHOWN else "")
        text = flow({**dict(locator), "says": says})
        note = f"  # line{'s' if len(at) > 1 else ''} {shown}" if numbers else ""
        if ambiguous.get(locator) is False:
            yield f"  # - {text}  # line {shown}: the same name says something else too, a regex: tells them apart"
        else:
            yield f"  - {text}{note}"


def flow(mapping: Mapping[str, str]) -> str:
    """A mapping as one line of YAML."""
    return "{" + ", ".join(f"{key}: {scalar(value)}" for key, value in mapping.items()) + "}"


def scalar(value: str) -> str:
    """A text as a YAML scalar."""
    written = write(value, [Style.YAML_PLAIN])
    return '""' if not value else written if written is not None else repr(value)


def first_matrix(root: Path, groups: Sequence[Group]) -> str:
    """The text of a first matrix.yaml for a repository.

    Args:
        root: The repository.
        groups: What `find` gave for it.

    Raises:
        UsageError: It has no bake file: there is nothing that could be driven.
    """
    files = _bake_files(root)
    if not files:
        raise UsageError(
            f"{root}: no bake file with a target was found",
            hint="write a docker-bake.hcl first: orchestrate drives docker buildx bake "
            "(https://docs.docker.com/build/bake/)",
        )
    names = name_lists(groups)
    releases = _releases(groups)
    lists = {name: _compiled(value, releases) for value, name in names.items()} or {"release": "8.0 9.0"}
    release = "release" if "release" in lists else next(iter(lists))
    targets = _targets(root, files)
    image = _image(root, files)
    platforms = ["linux/amd64", *(["linux/arm64"] if _mentions_arm(groups) else [])]
    lines = [
        "# The first matrix of this repository, written by `orchestrate init` from what its files say today.",
        "# Read it once: from now on CUDA versions, platforms and architecture lists are changed here alone.",
        "version: 1",
        f"image: {image}",
        "bake:",
        f"  files: [{', '.join(scalar(name) for name in files)}]",
        f"  targets: [{', '.join(scalar(name) for name in targets)}]",
        "arch_lists:",
        *(f"  {name}: {value}" for name, value in lists.items()),
        "cuda:",
        *(f'  "{key}": {{version: {version}, tag_suffix: -cu{key.replace(".", "")}}}' for key, version in releases),
        "platforms:",
        *(f"  {platform}: {{}}" for platform in platforms),
        "variants:",
        f"  arch_list: {release}",
        *_args(groups),
        '  tags: ["{image}:{target}-{platform.arch}{cuda.tag_suffix}"]',
        "# What the repository's other files must say: `orchestrate check` compares, `check --fix` repairs.",
        *_agreed(groups, names, dict(releases)),
    ]
    return "\n".join(lines) + "\n"


def _args(groups: Sequence[Group]) -> list[str]:
    """The build arguments that carry the matrix's values into the Dockerfile, under the names it declares."""
    args: dict[str, str] = {}
    for group in groups:
        for sights in group.values.values():
            for sight in sights:
                if "arg" not in sight.claim or "target" in sight.claim:
                    continue
                if group.subject == "arch list" and sight.name.lower() in _ARCH_ARGS:
                    cmake = sight.claim.get("dialect") == "cmake"
                    args[sight.name] = "{archs.cmake}" if cmake else "{archs.torch}"
                elif group.subject.startswith("CUDA ") and sight.name == "CUDA_VERSION":
                    args[sight.name] = "{cuda.version}"
    return ["  args:", *(f'    {name}: "{value}"' for name, value in args.items())] if args else []


def _agreed(groups: Sequence[Group], names: Mapping[str, str], releases: Mapping[str, str]) -> list[str]:
    """The claims of a first matrix: arch lists, and CUDA versions of the releases that it builds."""
    entries: list[_Entry] = []
    others: list[_Entry] = []  # places of other releases, which no claim may mean by accident
    for group in groups:
        kind, _, name = group.subject.partition(" ")
        if kind == "CUDA" and name not in releases:
            others += [_Entry(sight=sight, says=value) for value, at in group.values.items() for sight in at]
        elif kind == "arch":
            main = main_list(group)
            alike = _alike(group, main)
            entries += [
                _Entry(sight=sight, says=_says(group, main if sight in alike else value, sight, names))
                for value, sights in group.values.items()
                for sight in sights
            ]
        elif name in releases:
            entries += [
                _Entry(sight=sight, says=_says(group, value, sight, names, "*"))
                for value, sights in group.values.items()
                for sight in sights
                if value.count(".") == 2
            ]
    lines = list(_claims(entries, _ambiguous([*entries, *others]), numbers=False))
    return ["claims:", *lines] if any(line.startswith("  - ") for line in lines) else []


def _alike(group: Group, main: str) -> list[Sight]:
    """The places that should say what the main Dockerfile says: its own, and bake variables of the same name."""
    files = {sight.file for sight in group.values[main] if "arg" in sight.claim and "target" not in sight.claim}
    return [
        sight
        for sights in group.values.values()
        for sight in sights
        if sight.name.lower() in _ARCH_ARGS
        and (sight.file in files or "variable" in sight.claim or "target" in sight.claim)
    ]


def _releases(groups: Sequence[Group]) -> list[tuple[str, str]]:
    """The CUDA releases that the repository builds, each with its most frequent full version."""
    main = _main_dockerfile(groups)
    versions: dict[str, Counter[str]] = {}
    for group in groups:
        if group.subject.startswith("CUDA "):
            for value, sights in group.values.items():
                named = [sight for sight in sights if sight.name == "CUDA_VERSION" and _ours(sight, main)]
                if named and value.count(".") == 2:
                    versions.setdefault(group.subject.removeprefix("CUDA "), Counter())[value] += len(named)
    found = []
    for key, counted in versions.items():
        try:
            toolkit_for(key)
        except UnknownToolkitError:
            continue
        found.append((key, counted.most_common(1)[0][0]))
    return sorted(found, reverse=True) or [("13.0", "13.0.2")]


def _main_dockerfile(groups: Sequence[Group]) -> str:
    """The Dockerfile that gives CUDA_VERSION a default; of several, the one with the shortest name."""
    names = {
        sight.file
        for group in groups
        for sights in group.values.values()
        for sight in sights
        if sight.name == "CUDA_VERSION" and "arg" in sight.claim and "target" not in sight.claim
    }
    return min(names, key=lambda name: (len(name), name), default="")


def _ours(sight: Sight, main: str) -> bool:
    """Whether a CUDA_VERSION is one that the main Dockerfile is built with: its default, or a --build-arg to it."""
    if "build_arg" in sight.claim:
        return sight.dockerfile in {"", main}
    return sight.file == main or "variable" in sight.claim or "target" in sight.claim


def _compiled(value: str, releases: Sequence[tuple[str, str]]) -> str:
    """A list without the architectures that none of the releases compiles; a list that would be empty stays."""
    toolkits = [toolkit_for(version) for _, version in releases]
    try:
        archs = parse_list(value)
    except ValueError:  # a list in CMake's dialect
        return value
    kept = [str(arch) for arch in archs if any(toolkit.supports(arch.without_ptx()) for toolkit in toolkits)]
    left = [str(arch) for arch in archs if str(arch) not in kept]
    text = " ".join(kept or [str(arch) for arch in archs])
    return f"{text}  # without {' '.join(left)}, which no release above compiles" if kept and left else text


def _mentions_arm(groups: Sequence[Group]) -> bool:
    return any(
        _ARM.search(f"{sight.name} {sight.claim} {sight.within}")
        for group in groups
        for sights in group.values.values()
        for sight in sights
    )


def _bake_files(root: Path) -> list[str]:
    """The bake files with targets: where docker buildx bake looks by itself first, then the others."""
    found = []
    for pattern in ("docker-bake.hcl", "docker-bake.json", "docker/*.hcl", "docker/docker-bake*.json", "*.hcl"):
        for path in sorted(root.glob(pattern)):
            try:
                if bake.parse(read_text(path), json=path.suffix == ".json").targets:
                    found.append(path.relative_to(root).as_posix())
            except (ValueError, UnreadableError):
                continue
    return list(dict.fromkeys(found))[:1]


def _targets(root: Path, files: Sequence[str]) -> list[str]:
    """The targets that are shipped: those of group `all`, else of `default`, else all that are no mix-ins."""
    text = read_text(root / files[0])
    defined = bake.parse(text, json=files[0].endswith(".json")).targets
    groups = {match[1]: re.findall(r'"([\w-]+)"', match[2]) for match in _GROUP.finditer(text)}
    for name in ("all", "default"):
        chosen = [target for target in groups.get(name, []) if target in defined]
        if chosen:
            return chosen
    return [name for name in defined if not name.startswith("_")] or list(defined)


def _image(root: Path, files: Sequence[str]) -> str:
    """The repository of the first tag of a target, else a name of the directory's."""
    tag = _TAGS.search(read_text(root / files[0]))
    if tag is not None:
        name = tag[1].rsplit(":", 1)[0] if ":" in tag[1].rsplit("/", 1)[-1] else tag[1]
        if _IMAGE.fullmatch(name):
            return name
    return re.sub(r"[^a-z0-9]+", "-", root.resolve().name.lower()).strip("-") or "image"
