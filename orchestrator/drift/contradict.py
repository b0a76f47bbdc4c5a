"""Which of the places of a repository contradict each other, and which differ by design.

Versions contradict each other within one CUDA release: 13.0.2 and 13.0.3; 12.8 agrees with every 12.8.x. Arch lists are
compared only where both say what one image or one package is built for: the default of the main Dockerfile (without
one, the list of the bake file) with the other defaults of the same name, with the bake file's, Compose's and with what
scripts give to its builds; in pipelines the same variable for the same CUDA release. An argument of one target has one
value in the bake file and the Compose file beside it, whatever its kind. A list for one machine (two architectures, an
ARM step, a branch) differs by design, and so does one that also stands under a name of its own.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from msgspec import Struct

from orchestrator.cuda.arch import parse_list
from orchestrator.drift.readers import compose
from orchestrator.drift.recognize import ARCH_ARGS
from orchestrator.drift.sights import Kind
from orchestrator.drift.words import difference, text_difference

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from orchestrator.cuda.arch import Arch
    from orchestrator.drift.loose import Mention
    from orchestrator.drift.sights import Sight

_MACHINE = re.compile(
    r"(?<![a-z])(?:arm|arm64|aarch64|sbsa|jetson|orin|thor|tegra|g[hb][23]00|gh200|gb\d+|spark)(?![a-z])", re.IGNORECASE
)
_FEW = 2  # architectures of a list that means certain machines


class Contradiction(Struct, frozen=True, kw_only=True):
    """A place that contradicts another one.

    Attributes:
        sight: The place.
        file, line, value: The place that it is compared with, and what that says.
        words: The difference.
    """

    sight: Sight
    file: str
    line: int
    value: str
    words: tuple[str, ...]


def contradictions(sights: Sequence[Sight], mentions: Sequence[Mention]) -> list[Contradiction]:
    """Every place that contradicts another one, in the order of files and lines."""
    sights = [sight for sight in sights if not sight.conditional]
    given = list(_arguments(sights))
    wrong = {id(one.sight) for one in given}
    others = [sight for sight in sights if id(sight) not in wrong]
    every = [*given, *_versions(others, mentions), *_lists(others)]
    found = {id(one.sight): one for one in reversed(every)}.values()
    return sorted(found, key=lambda one: (one.sight.file, one.sight.line, one.sight.value))


def main_dockerfile_list(sights: Sequence[Sight]) -> Sight | None:
    """The default that other arch lists are measured by: that of the Dockerfile with the shortest name."""
    defaults = [
        sight
        for sight in sights
        if sight.subject.kind is Kind.ARCH_LIST and sight.locator.is_dockerfile_arg and not sight.conditional
    ]
    known = [sight for sight in defaults if sight.name.lower() in ARCH_ARGS]  # else CUDA_ARCHS, or another name
    return min(known or defaults, key=lambda sight: (len(sight.file), sight.file, sight.line), default=None)


def main_list(sights: Sequence[Sight]) -> Sight | None:
    """The place that other arch lists are measured by.

    The default of the main Dockerfile, else what the bake file gives, where that is one list, else what Compose gives.
    """
    main = main_dockerfile_list(sights)
    if main is not None:
        return main
    given = [
        sight
        for sight in sights
        if sight.subject.kind is Kind.ARCH_LIST and any(name.lower() in ARCH_ARGS for _, name in sight.arguments)
    ]
    for places in ([one for one in given if one.locator.in_bake_file], [one for one in given if _of_compose(one)]):
        if places:
            return min(places, key=_near) if len({_archs(one) for one in places}) == 1 else None
    return None


def _near(sight: Sight) -> tuple[int, str, int]:
    return len(sight.file), sight.file, sight.line


def _arguments(sights: Sequence[Sight]) -> Iterator[Contradiction]:
    """An argument of one target that a bake file and the Compose file beside it give different values."""
    places: dict[tuple[PurePosixPath, Kind, tuple[str, str]], list[Sight]] = defaultdict(list)
    for sight in sights:
        for argument in sight.arguments if sight.subject.kind is not Kind.ARGUMENT else ():
            places[PurePosixPath(sight.file).parent, sight.subject.kind, argument].append(sight)
    for found in places.values():
        baked = [one for one in found if one.locator.in_bake_file]
        for sight in found if baked else ():
            if _of_compose(sight) and not _agree(sight, baked[-1]):  # bake takes that of the later file
                reference = baked[-1].file, baked[-1].line, baked[-1].value
                listed = sight.subject.kind is Kind.ARCH_LIST
                words = _words(sight, baked[-1]) if listed else (text_difference(sight.value, (reference[2],)),)
                yield _against(sight, reference, words)


def _agree(one: Sight, other: Sight) -> bool:
    """Whether two places say the same; 13.0 agrees with every 13.0.x."""
    if one.subject.kind is Kind.ARCH_LIST:
        return _archs(one) == _archs(other)
    return one.value == other.value or (
        one.subject == other.subject and min(one.value.count("."), other.value.count(".")) == 1
    )


def _versions(sights: Sequence[Sight], mentions: Sequence[Mention]) -> Iterator[Contradiction]:
    """Full versions of one release that differ from its reference."""
    groups: dict[str, list[Sight]] = defaultdict(list)
    for sight in sights:
        if sight.subject.kind is Kind.CUDA and sight.value.count(".") > 1:
            groups[sight.subject.name].append(sight)
    loose: dict[str, list[Mention]] = defaultdict(list)
    for mention in mentions:
        if mention.cuda and not mention.prose and mention.value.count(".") > 1:
            loose[mention.value.rpartition(".")[0]].append(mention)
    for release, places in groups.items():
        counted = Counter(place.value for place in places)
        argument = [place for place in places if place.locator.is_dockerfile_arg and place.name == "CUDA_VERSION"]
        chosen = min(argument, key=lambda one: (len(one.file), one.line), default=None)
        value = chosen.value if chosen else counted.most_common(1)[0][0]
        others = {mention.value for mention in loose[release]} - {value}
        if chosen is None and len(counted) == 1 and others:  # only lines that no reader understands say another one
            other = next(mention for mention in loose[release] if mention.value in others)
            reference = other.file, other.line, other.value
        else:
            first = chosen or next(place for place in places if place.value == value)
            reference = first.file, first.line, first.value
        for place in places:
            if place.value != reference[2]:
                words = (text_difference(place.value, (reference[2],)),)
                yield _against(place, reference, words)


def _lists(sights: Sequence[Sight]) -> Iterator[Contradiction]:
    lists = [
        sight for sight in sights if sight.subject.kind is Kind.ARCH_LIST and sight.locator.dialect != "flashinfer"
    ]
    main = main_list(lists)
    named = _own_names(lists)
    if main is not None:
        wanted = _archs(main)
        for sight in lists:
            if _same_image(sight, main, named) and _archs(sight) != wanted:
                yield _against(sight, (main.file, main.line, main.value), _words(sight, main))
    yield from _pipelines(lists, sights)


def _same_image(sight: Sight, main: Sight, named: frozenset[frozenset[Arch]]) -> bool:
    """Whether a list is for the image that the main Dockerfile's default is for."""
    names = {main.name.lower(), *(name.lower() for _, name in main.arguments)}
    if sight is main or sight.name.lower() not in names or sight.locator.branch:
        return False
    if sight.locator.is_dockerfile_arg or sight.locator.env or sight.locator.image:
        return sight.file == main.file
    if sight.locator.in_bake_file or _of_compose(sight):
        return not _for_a_machine(sight)
    if len(_archs(sight)) <= _FEW:
        return False
    if sight.locator.build_arg:
        return sight.dockerfile in {"", main.file} and not _for_a_machine(sight)
    script = bool(sight.locator.name) and not sight.within and sight.file.endswith((".sh", ".bash"))
    return script and not _for_a_machine(sight) and _archs(sight) not in named


def _of_compose(sight: Sight) -> bool:
    """Whether a list is an argument that a Compose file builds with."""
    return sight.mapping[-2:] == ("build", "args") and compose.is_compose(PurePosixPath(sight.file).name)


def _pipelines(lists: Sequence[Sight], sights: Sequence[Sight]) -> Iterator[Contradiction]:
    """The same variable for the same CUDA release in several places of pipelines and project files."""
    releases: dict[tuple[str, tuple[str, ...]], set[str]] = defaultdict(set)
    for sight in sights:
        if sight.subject.kind is Kind.CUDA:
            releases[sight.file, sight.mapping].add(sight.subject.name)
    groups: dict[tuple[str, str], list[Sight]] = defaultdict(list)
    for sight in lists:
        around = releases.get((sight.file, sight.mapping), set())
        if sight.mapping and len(around) == 1 and len(_archs(sight)) > _FEW and not _for_a_machine(sight):
            groups[sight.name, next(iter(around))].append(sight)
    for places in groups.values():
        counted = Counter(_archs(place) for place in places)
        best = max(counted, key=lambda archs: (counted[archs], len(archs)))
        first = next(place for place in places if _archs(place) == best)
        for place in places:
            if _archs(place) != best and not place.locator.build_arg:
                yield _against(place, (first.file, first.line, first.value), _words(place, first))


def _own_names(lists: Sequence[Sight]) -> frozenset[frozenset[Arch]]:
    """The lists that stand under a name of their own: CUDA_ARCH_X86."""
    own = (sight for sight in lists if sight.name.lower() not in ARCH_ARGS and not sight.locator.branch)
    return frozenset(_archs(sight) for sight in own)


def _for_a_machine(sight: Sight) -> bool:
    """Whether a name, a file or a step around a list speaks of certain machines."""
    return (
        _MACHINE.search(" ".join([sight.name, *sight.locator.keys().values(), *sight.within, sight.command]))
        is not None
    )


def _archs(sight: Sight) -> frozenset[Arch]:
    return frozenset(parse_list(sight.value))


def _words(sight: Sight, reference: Sight) -> tuple[str, ...]:
    return difference(parse_list(sight.value), parse_list(reference.value)) or ("written differently",)


def _against(sight: Sight, reference: tuple[str, int, str], words: tuple[str, ...]) -> Contradiction:
    file, line, value = reference
    return Contradiction(sight=sight, file=file, line=line, value=value, words=words)
