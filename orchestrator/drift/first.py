"""`orchestrate init`: the text of a first matrix.yaml, from what the files of a repository say today."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from orchestrator.cuda.arch import parse_list
from orchestrator.cuda.toolkit import UnknownToolkitError, toolkit_for
from orchestrator.dockerfile.declared import declarations
from orchestrator.drift.adopt import Entry, ambiguities, claim_lines, main_list, name_lists, says, scalar
from orchestrator.drift.files import UnreadableError, read_text
from orchestrator.drift.readers import bake
from orchestrator.drift.scan import ARCH_ARGS, Kind
from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from orchestrator.drift.find import Group
    from orchestrator.drift.scan import Sight

_IMAGE = re.compile(r"[a-z0-9][a-z0-9./:_-]*")
_TAGS = re.compile(r'tags\s*=\s*\[\s*"([^"$]+)"')
_GROUP = re.compile(r'group\s+"(\w+)"\s*\{[^}]*targets\s*=\s*\[([^\]]*)\]', re.DOTALL)
_ARM = re.compile(r"(?<![a-z])(?:arm|arm64|aarch64)(?![a-z])", re.IGNORECASE)


def first_matrix(root: Path, groups: Sequence[Group]) -> str:
    """Return the text of a first matrix.yaml for a repository.

    Args:
        root: The repository.
        groups: What `find` gave for it.

    Raises:
        UsageError: No bake file with a target was found.
    """
    files = _bake_files(root)
    if not files:
        raise UsageError(
            f"{root}: a bake file with a target was not found",
            hint="write a docker-bake.hcl first: orchestrate runs docker buildx bake "
            "(https://docs.docker.com/build/bake/)",
        )
    names = name_lists(groups)
    releases = _releases(groups)
    lists = {name: value for value, name in names.items()} or {"release": "8.0 9.0"}
    release = "release" if "release" in lists else next(iter(lists))
    targets = _targets(root, files)
    image = _image(root, files)
    platforms = ["linux/amd64", *(["linux/arm64"] if _mentions_arm(groups) else [])]
    lines = [
        "# The first matrix of this repository, written by `orchestrate init` from what its files say today.",
        "# Read it once: from now on change CUDA versions, platforms and architecture lists only here.",
        "version: 1",
        f"image: {image}",
        "bake:",
        f"  files: [{', '.join(scalar(name) for name in files)}]",
        f"  targets: [{', '.join(scalar(name) for name in targets)}]",
        "arch_lists:",
        *(_list_line(name, value, releases) for name, value in lists.items()),
        "cuda:",
        *(f'  "{key}": {{version: {version}, tag_suffix: -cu{key.replace(".", "")}}}' for key, version in releases),
        "platforms:",
        *(f"  {platform}: {{}}" for platform in platforms),
        "variants:",
        f"  arch_list: {release}",
        *_args(groups),
        '  tags: ["{image}:{target}-{platform.arch}{cuda.tag_suffix}"]',
        *_headers(root),
        "# What the other files of the repository must say: `orchestrate check` compares, `check --fix` repairs.",
        *_agreed(groups, names, dict(releases)),
    ]
    return "\n".join(lines) + "\n"


def _headers(root: Path) -> list[str]:
    """A proposal for `headers:`, where a Dockerfile says which FlashInfer it installs."""
    for path in sorted({*root.glob("*Dockerfile*"), *root.glob("docker/*Dockerfile*")}):
        try:
            text = read_text(path) if path.is_file() else ""
        except UnreadableError:
            continue
        if any(one.name == "FLASHINFER_VERSION" and one.found is not None for one in declarations(text)):
            name = path.relative_to(root).as_posix()
            return [
                "# FlashInfer downloads headers at run time. To carry them in the images (docs/air-gapped.md):",
                "# headers:",
                f"#   version_from: {scalar(f'{name}#FLASHINFER_VERSION')}",
            ]
    return []


def _args(groups: Sequence[Group]) -> list[str]:
    """The build arguments that carry the matrix's values into the Dockerfile, under the names it declares."""
    args: dict[str, str] = {}
    for group in groups:
        for sight in group.sights:
            if not sight.locator.is_dockerfile_arg:
                continue
            if group.subject.kind is Kind.ARCH_LIST and sight.name.lower() in ARCH_ARGS:
                args[sight.name] = "{archs.cmake}" if sight.locator.dialect == "cmake" else "{archs.torch}"
            elif group.subject.kind is Kind.CUDA and sight.name == "CUDA_VERSION":
                args[sight.name] = "{cuda.version}"
    return ["  args:", *(f'    {name}: "{value}"' for name, value in args.items())] if args else []


def _agreed(groups: Sequence[Group], names: Mapping[str, str], releases: Mapping[str, str]) -> list[str]:
    """The claims of a first matrix: arch lists, and CUDA versions of the releases that it builds."""
    entries: list[Entry] = []
    others: list[Entry] = []  # places of other releases, which no claim may mean by accident
    for group in groups:
        if group.subject.kind is Kind.ARCH_LIST:
            main = main_list(group)
            alike = _alike(group, main)
            entries += [
                Entry(sight=sight, says=says(group, main if sight in alike else value, sight, names))
                for value, sights in group.values.items()
                for sight in sights
            ]
        elif group.subject.kind is Kind.CUDA and group.subject.name not in releases:
            others += [Entry(sight=sight, says=value) for value, at in group.values.items() for sight in at]
        elif group.subject.kind is Kind.CUDA:
            entries += [
                Entry(sight=sight, says=says(group, value, sight, names, "*"))
                for value, sights in group.values.items()
                for sight in sights
                if value.count(".") == 2
            ]
    lines = list(claim_lines(entries, ambiguities([*entries, *others]), numbers=False))
    return ["claims:", *lines] if any(line.startswith("  - ") for line in lines) else []


def _alike(group: Group, main: str) -> list[Sight]:
    """The places that should say what the main Dockerfile says: its own, and bake variables of the same name."""
    files = {sight.file for sight in group.values[main] if sight.locator.is_dockerfile_arg}
    return [
        sight
        for sight in group.sights
        if sight.name.lower() in ARCH_ARGS and (sight.file in files or sight.locator.in_bake_file)
    ]


def _releases(groups: Sequence[Group]) -> list[tuple[str, str]]:
    """The CUDA releases that the repository builds, each with its most frequent full version."""
    main = _main_dockerfile(groups)
    versions: dict[str, Counter[str]] = {}
    for group in groups:
        if group.subject.kind is Kind.CUDA:
            for value, sights in group.values.items():
                named = [sight for sight in sights if sight.name == "CUDA_VERSION" and _ours(sight, main)]
                if named and value.count(".") == 2:
                    versions.setdefault(group.subject.name, Counter())[value] += len(named)
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
        for sight in group.sights
        if sight.name == "CUDA_VERSION" and sight.locator.is_dockerfile_arg
    }
    return min(names, key=lambda name: (len(name), name), default="")


def _ours(sight: Sight, main: str) -> bool:
    """Whether a CUDA_VERSION is one that the main Dockerfile is built with: its default, or a --build-arg to it."""
    if sight.locator.build_arg:
        return sight.dockerfile in {"", main}
    return sight.file == main or sight.locator.in_bake_file


def _compiled(value: str, releases: Sequence[tuple[str, str]]) -> tuple[str, str]:
    """A list without the architectures that no release compiles, and those; a list that would be empty stays whole."""
    toolkits = [toolkit_for(version) for _, version in releases]
    try:
        archs = parse_list(value)
    except ValueError:  # a list in CMake's dialect
        return value, ""
    kept = [str(arch) for arch in archs if any(toolkit.supports(arch.without_ptx()) for toolkit in toolkits)]
    left = [str(arch) for arch in archs if str(arch) not in kept]
    return (" ".join(kept), " ".join(left)) if kept and left else (value, "")


def _list_line(name: str, value: str, releases: Sequence[tuple[str, str]]) -> str:
    text, left = _compiled(value, releases)
    return f"  {name}: {text}" + (f"  # without {left}, which no release below compiles" if left else "")


def _mentions_arm(groups: Sequence[Group]) -> bool:
    """Whether a name, a file or a step that was found speaks of an ARM machine."""
    return any(
        _ARM.search(" ".join([sight.name, *sight.locator.keys().values(), *sight.within]))
        for group in groups
        for sight in group.sights
    )


def _bake_files(root: Path) -> list[str]:
    """The bake file with targets: where docker buildx bake looks by itself first, then elsewhere."""
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
    """The targets that are shipped: of group `all`, else of `default`, else all whose name does not begin with _."""
    text = read_text(root / files[0])
    defined = bake.parse(text, json=files[0].endswith(".json")).targets
    groups = {match[1]: re.findall(r'"([\w-]+)"', match[2]) for match in _GROUP.finditer(text)}
    for name in ("all", "default"):
        chosen = [target for target in groups.get(name, []) if target in defined]
        if chosen:
            return chosen
    return [name for name in defined if not name.startswith("_")] or list(defined)


def _image(root: Path, files: Sequence[str]) -> str:
    """The repository of the first tag of a target, else the name of the directory."""
    tag = _TAGS.search(read_text(root / files[0]))
    if tag is not None:
        name = tag[1].rsplit(":", 1)[0] if ":" in tag[1].rsplit("/", 1)[-1] else tag[1]
        if _IMAGE.fullmatch(name):
            return name
    return re.sub(r"[^a-z0-9]+", "-", root.resolve().name.lower()).strip("-") or "image"
