"""`orchestrate init`: the text of a first matrix.yaml, from what the files of a repository say today."""

from __future__ import annotations

import contextlib
import json
import re
from collections import Counter
from typing import TYPE_CHECKING

from msgspec import Struct

from orchestrator.cuda.arch import parse_list
from orchestrator.cuda.toolkit import UnknownToolkitError, toolkit_for
from orchestrator.dockerfile.declared import declarations
from orchestrator.dockerfile.spans import Source
from orchestrator.drift.adopt import (
    Entry,
    ambiguities,
    claim_lines,
    comment,
    distinct_words,
    followed,
    main_list,
    name_lists,
    says,
    scalar,
)
from orchestrator.drift.bakery import bakery
from orchestrator.drift.branches import of_other_releases, without
from orchestrator.drift.files import UnreadableError, read_text
from orchestrator.drift.products import built_for, left_out, main_product, products, shared, uncompiled
from orchestrator.drift.readers import requirements
from orchestrator.drift.recognize import minor
from orchestrator.drift.sights import Kind, normal
from orchestrator.errors import UsageError
from orchestrator.matrix.names import platform_named
from orchestrator.reference import name_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from orchestrator.drift.evaluate import Buildx
    from orchestrator.drift.find import Group
    from orchestrator.drift.products import Product
    from orchestrator.drift.sights import Sight

_ARM = re.compile(r"(?<![a-z])(?:arm|arm64|aarch64)(?![a-z])", re.IGNORECASE)
_FLASHINFER = "flashinfer-python"
_PAGES = (".md", ".rst", ".txt")
UNKNOWN = "UNKNOWN"
"""Stands where a matrix needs a value that no file says; `plan` refuses the line."""


class First(Struct, frozen=True, kw_only=True):
    """A first matrix.

    Attributes:
        text: Its text.
        unknown: What no file says, one sentence each; the matrix loads once they are written.
        note: Why buildx was not asked about the bake files, "" if it was or there is none.
    """

    text: str
    unknown: tuple[str, ...] = ()
    note: str = ""


def first_matrix(root: Path, groups: Sequence[Group], buildx: Buildx | None = None) -> First:
    """Return a first matrix.yaml for a repository.

    Args:
        root: The repository.
        groups: What `find` gave for it.
        buildx: Resolves the targets of bake files, None to read the files alone.

    Raises:
        UsageError: No bake file with a target was found, or it is written for its own directory.
    """
    sights = [sight for group in groups for sight in group.sights]
    main = main_dockerfile(sights)
    found = bakery(root, main, buildx)
    if found is None:
        raise UsageError(
            f"{root}: a bake file with a target was not found",
            hint="write a docker-bake.hcl or a compose.yaml first: orchestrate runs docker buildx bake "
            "(https://docs.docker.com/build/bake/)",
        )
    names = name_lists(groups)
    lists = {name: value for value, name in names.items()}
    release = "release" if "release" in lists or not lists else next(iter(lists))
    every = products(root, found, sights, lists.get(release, ""), buildx)
    built = [one for one in every if one.cuda] or every
    releases = _releases(sights, main, built)
    elsewhere = of_other_releases(groups, [key for key, _ in releases]) if releases else []
    if elsewhere:
        groups = [*without(groups, elsewhere)]
        names = name_lists(groups)
        lists = {name: value for value, name in names.items()}
    own = _own_lists(built, names, release)
    texts = {target: lists.get(name, "") for target, name in own.items()}
    empty = [*uncompiled(texts, built, [key for key, _ in releases])] if lists else []
    none = {when["cuda"][0]: why for when, why in empty if len(when["target"]) == len(built)}
    if len(none) < len(releases):  # a release of which no row is left
        releases = [one for one in releases if one[0] not in none]
    empty = [one for one in empty if one[0]["cuda"][0] not in none]
    keys = [key for key, _ in releases]
    platforms = _platforms(built) or ("linux/amd64", *(("linux/arm64",) if _mentions_arm(groups) else ()))
    suffixes = _suffixes(platforms)
    foreign = {str(one): None for body in found.targets.values() for one in body.get("platforms") or ()}
    foreign = {one: None for one in foreign if one != "local" and not platform_named(one)}
    unknown = [*_unknown(lists, releases)]
    others = [*found.others, *(one.name for one in every if one not in built)]
    lines = [
        "# The first matrix of this repository, written by `orchestrate init` from what its files say today.",
        "# Read it once: from now on change CUDA versions, platforms and architecture lists only here.",
        *(f"# Not known, write it in place of {UNKNOWN}: {one}." for one in unknown),
        *(comment(f"Without CUDA {key}: {why}.") for key, why in none.items() if key not in keys),
        *([comment(f"Without {', '.join(foreign)}: not a platform of Linux.")] if foreign else []),
        *([comment(f"Not read: {', '.join(found.unused)}.")] if found.unused else []),
        "version: 1",
        f"image: {main_product(built).image or next(filter(None, map(name_of, found.tags)), '') or _name(root)}",
        "bake:",
        f"  files: [{', '.join(map(scalar, found.files))}]",
        *_targets(own, release, others),
        "arch_lists:",
        *(_list_line(name, value, releases) for name, value in lists.items()),
        *([] if lists else [f"  release: {UNKNOWN}  # for example 8.0 9.0 12.0+PTX"]),
        "cuda:",
        *(f'  "{key}": {{version: {version}, tag_suffix: -cu{key.replace(".", "")}}}' for key, version in releases),
        *([] if releases else [f'  {UNKNOWN}: {{version: {UNKNOWN}}}  # for example "13.0": {{version: 13.0.2}}']),
        "platforms:",
        *(f"  {platform}: {suffix}" for platform, suffix in suffixes.items()),
        "variants:",
        f"  arch_list: {release}",
        *_given(built, "{platform.tag_suffix}" if any(suffix != "{}" for suffix in suffixes.values()) else ""),
        *_excluded([*left_out(built, keys, platforms, found.files[0]), *empty]),
        *_headers(root),
        "# What the other files of the repository must say: `orchestrate check` compares, `check --fix` repairs.",
        *_agreed(groups, names, dict(releases)),
        *(_for_other_releases(one) for one in elsewhere),
    ]
    return First(text="\n".join(lines) + "\n", unknown=tuple(unknown), note=found.note)


def _platforms(built: Sequence[Product]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(platform for one in built for platform in one.platforms))


def _own_lists(built: Sequence[Product], names: Mapping[str, str], release: str) -> dict[str, str]:
    """The arch list of each target by name: one of its own where targets hold different ones."""
    listed = {frozenset(parse_list(value)): name for value, name in names.items() if _is_list(value)}
    several = len({one.archs for one in built if one.archs}) > 1
    return {one.name: listed.get(one.archs, release) if several else release for one in built}


def _targets(own: Mapping[str, str], release: str, others: Sequence[str]) -> list[str]:
    """The targets, each with its arch list where that is not the one of all."""
    without = f"  # without {', '.join(others)}: not built for CUDA" if others else ""
    if all(name == release for name in own.values()):
        return [f"  targets: [{', '.join(map(scalar, own))}]{without}"]
    lines = [f"  targets:{without}"]
    for target, name in own.items():
        lines.append(f"    {scalar(target)}: {{{'' if name == release else f'arch_list: {name}'}}}")
    return lines


def _is_list(value: str) -> bool:
    try:
        return bool(parse_list(value))
    except ValueError:
        return False


def _suffixes(platforms: Sequence[str]) -> dict[str, str]:
    """What the matrix writes for each platform: a suffix of tags where another one has the same architecture."""
    found = {}
    for platform in platforms:
        base, _, variant = platform.partition("/")[2].partition("/")
        same = [one for one in platforms if one.split("/")[1] == base]
        found[platform] = f"{{tag_suffix: -{variant}}}" if variant and len(same) > 1 else "{}"
    return found


def _given(built: Sequence[Product], suffix: str) -> list[str]:
    """The arguments and named contexts that carry the matrix's values, and the tags.

    Those of all targets, then those of some. `suffix` ends the platform's part of the tag.
    """
    lines: list[str] = []
    own: dict[str, dict[str, dict[str, str]]] = {one.name: {} for one in built}
    for key, values in (("args", [one.args for one in built]), ("contexts", [one.contexts for one in built])):
        common = shared(values)
        lines += [f"  {key}:", *(f"    {name}: {_quoted(text)}" for name, text in common.items())] if common else []
        for one, value in zip(built, values, strict=True):
            if rest := {name: text for name, text in value.items() if name not in common}:
                own[one.name][key] = rest
    lines.append(f'  tags: ["{{image}}:{{target}}-{{platform.arch}}{suffix}{{cuda.tag_suffix}}"]')
    groups: list[tuple[dict[str, dict[str, str]], list[str]]] = []
    for name, sections in own.items():
        known = next((names for other, names in groups if other == sections), None)
        if sections and known is None:
            groups.append((sections, [name]))
        elif sections and known is not None:
            known.append(name)
    lines += ["overrides:"] if groups else []
    for sections, names in groups:
        lines.append(f"  - when: {{target: {_one_or_list(names)}}}")
        for key, values_ in sections.items():
            lines += [f"    {key}:", *(f"      {name}: {_quoted(text)}" for name, text in values_.items())]
    return lines


def _excluded(rows: Sequence[tuple[Mapping[str, Sequence[str]], str]]) -> list[str]:
    """The rows that cannot exist, with the reason of each."""
    lines = []
    for when, why in rows:
        said = ", ".join(f"{key}: {_one_or_list(values)}" for key, values in when.items())
        lines += [f"  - when: {{{said}}}", f"    why: {scalar(why)}"]
    return ["exclude:", *lines] if lines else []


def _one_or_list(values: Sequence[str]) -> str:
    written = [_quoted(one) if one[:1].isdecimal() else scalar(one) for one in values]
    return written[0] if len(written) == 1 else f"[{', '.join(written)}]"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _unknown(lists: Mapping[str, str], releases: Sequence[tuple[str, str]]) -> Iterator[str]:
    if not releases:
        yield "the CUDA release, which no file names"
    for key, version in releases:
        if version == UNKNOWN:
            yield f"the version of CUDA {key}, of which no file names the patch"
    if not lists:
        yield "the architectures, which no file lists"


def _name(root: Path) -> str:
    """An image name made of the directory's."""
    return re.sub(r"[^a-z0-9]+", "-", root.resolve().name.lower()).strip("-") or "image"


def _headers(root: Path) -> list[str]:
    """A proposal for `headers:`, where a Dockerfile or a requirement file says which FlashInfer is installed."""
    place = next(_flashinfer(root), "")
    if not place:
        return []
    return [
        "# FlashInfer downloads headers at run time. To carry them in the images (docs/air-gapped.md):",
        "# headers:",
        f"#   version_from: {scalar(place)}",
    ]


def _flashinfer(root: Path) -> Iterator[str]:
    """Where FlashInfer's version stands, as `headers.version_from` names it."""
    dockerfiles = sorted({*root.glob("*Dockerfile*"), *root.glob("docker/*Dockerfile*")})
    for path, text in _texts(dockerfiles):
        if any(one.name == "FLASHINFER_VERSION" and one.found is not None for one in declarations(text)):
            yield f"{path.relative_to(root).as_posix()}#FLASHINFER_VERSION"
    for path, text in _texts([*sorted(root.glob("requirements*.txt")), *sorted(root.glob("requirements/*.txt"))]):
        if any(not one.via for one in requirements.read(Source(text=text), _FLASHINFER)):
            yield f"{path.relative_to(root).as_posix()}#{_FLASHINFER}"


def _texts(paths: Iterable[Path]) -> Iterator[tuple[Path, str]]:
    for path in paths:
        with contextlib.suppress(UnreadableError):
            yield path, read_text(path) if path.is_file() else ""


def _agreed(groups: Sequence[Group], names: Mapping[str, str], releases: Mapping[str, str]) -> list[str]:
    """The claims of a first matrix: arch lists, and CUDA versions of the releases that it builds."""
    entries: list[Entry] = []
    others: list[Entry] = []  # places of other releases, which no claim may mean by accident
    for group in groups:
        others += followed(group, names)
        if group.subject.kind is Kind.ARCH_LIST:
            main = main_list(group)
            against = {id(one.sight): normal(one.value) for one in group.contradictions}
            wants = {one: value if value in names else main for one, value in against.items()}
            entries += [
                Entry(sight=sight, says=says(group, wants.get(id(sight), value), sight, names))
                for value, sights in group.values.items()
                for sight in sights
            ]
        elif group.subject.kind is Kind.CUDA:
            meant = {id(one.sight): one.value for one in group.contradictions}
            for value, sights in group.values.items():
                for sight in sights:
                    wanted = meant.get(id(sight), "")
                    release = minor(wanted) if wanted else group.subject.name
                    if releases.get(release, UNKNOWN) != UNKNOWN:
                        entries.append(Entry(sight=sight, says=says(group, value, sight, names, release)))
                    elif wanted:  # of a release that is not built: it contradicts another place all the same
                        entries.append(Entry(sight=sight, says=sight.whole.replace(value, wanted, 1)))
                    else:
                        others.append(Entry(sight=sight, says=value))
    every = [*entries, *others]
    lines = list(claim_lines(entries, ambiguities(every), distinct_words(every), numbers=False))
    return ["claims:", *lines] if any(line.startswith("  - ") for line in lines) else []


def _for_other_releases(sight: Sight) -> str:
    """A list that no claim names, as a comment."""
    place = f"{sight.file}:{sight.line}: {sight.name} in branch {sight.locator.branch}"
    return comment(f"Not claimed, as it is for a CUDA release that is not built: {place}: {sight.value}.")


def _releases(sights: Sequence[Sight], main: str, built: Sequence[Product]) -> list[tuple[str, str]]:
    """The CUDA releases that the repository builds, each with its most frequent full version."""
    cuda = [sight for sight in sights if sight.subject.kind is Kind.CUDA]
    chosen = [sight for sight in cuda if _builds(sight, main)]
    if not chosen:
        chosen = [sight for sight in cuda if not sight.file.endswith(_PAGES)] or cuda
    names = {sight.subject.name for sight in chosen} | {one.release for one in built if one.release}
    only = built_for(built)
    if len(only) == len(built):  # no target takes any other release
        names = set(only.values())
    versions: dict[str, Counter[str]] = {name: Counter() for name in names}
    defaults = [sight for sight in chosen if sight.file == main and sight.locator.is_dockerfile_arg]
    defaults = [sight for sight in defaults if sight.name == "CUDA_VERSION"] or defaults
    # The image's own default decides; a place that builds it counts more than one that does not.
    for sight in (*(one for one in defaults for _ in cuda), *chosen, *cuda):
        if sight.subject.name in names and sight.value.count(".") > 1:
            versions[sight.subject.name][sight.value] += 1
    for version in (one for product in built for one in product.versions if one.count(".") > 1):
        if minor(version) in versions:
            versions[minor(version)][version] += 1
    found = []
    for key, counted in versions.items():
        try:
            toolkit_for(key)
        except UnknownToolkitError:
            continue
        found.append((key, counted.most_common(1)[0][0] if counted else UNKNOWN))
    return sorted(found, key=lambda one: toolkit_for(one[0]), reverse=True)


def main_dockerfile(sights: Sequence[Sight]) -> str:
    """The Dockerfile with a CUDA version or an arch list; of several, the one with the shortest name; "" for none."""
    kinds = {Kind.CUDA, Kind.ARCH_LIST}
    files = {
        sight.file
        for sight in sights
        if sight.subject.kind in kinds and (sight.locator.is_dockerfile_arg or sight.locator.image)
    }
    return min(files, key=lambda name: (len(name), name), default="")


def _builds(sight: Sight, main: str) -> bool:
    """Whether a place says which CUDA release the main image is built with."""
    name = sight.name.lower().replace("-", "_")
    if sight.locator.build_arg:
        return name == "cuda_version" and sight.dockerfile in {"", main} and not sight.file.endswith(_PAGES)
    if sight.file == main or sight.locator.in_bake_file:
        return name == "cuda_version" or sight.whole != sight.value  # an image, or its tag
    return "matrix" in sight.locator.pointer or name in {"cuda_ver", "cuda_versions"}


def _compiled(value: str, releases: Sequence[tuple[str, str]]) -> tuple[str, str]:
    """A list without the architectures that no release compiles, and those; a list that would be empty stays whole."""
    toolkits = [toolkit_for(key) for key, _ in releases]
    try:
        archs = parse_list(value)
    except ValueError:  # a list in CMake's dialect
        return value, ""
    kept = [str(arch) for arch in archs if any(one.supports(arch.without_ptx()) for one in toolkits) or not toolkits]
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
