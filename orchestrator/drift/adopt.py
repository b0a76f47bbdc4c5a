"""From the places that were found in a repository to the claims that name them: `check --find`.

Writes YAML for people to read and change; first.py puts the same claims into a first matrix.yaml.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from orchestrator.dockerfile.spans import Style, write
from orchestrator.drift.scan import ARCH_ARGS, Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from orchestrator.drift.find import Group
    from orchestrator.drift.locator import Locator
    from orchestrator.drift.scan import Sight

_FILLER = frozenset({"torch", "cuda", "arch", "archs", "arches", "list", "fi", "flashinfer", "architectures"})
_SHOWN = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A place, and what its claim says."""

    sight: Sight
    says: str

    @property
    def locator(self) -> Locator:
        """Where the place is."""
        return self.sight.locator

    @property
    def narrow(self) -> Locator:
        """The same within one step of a pipeline."""
        return replace(self.locator, pointer=self.sight.within) if self.sight.within else self.locator


def name_lists(groups: Iterable[Group]) -> dict[str, str]:
    """A name for each distinct arch list, taken from where it stands.

    Returns:
        List -> name; the list of the main Dockerfile is `release`.
    """
    names: dict[str, str] = {}
    for group in groups:
        if group.subject.kind is not Kind.ARCH_LIST:
            continue
        main = main_list(group)
        for value, sights in group.values.items():
            wanted = "release" if value == main else _list_name(sights[0])
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
        if sight.locator.is_dockerfile_arg and sight.name.lower() in ARCH_ARGS
    )
    return dockerfiles[0][2] if dockerfiles else next(iter(group.values))


def _list_name(sight: Sight) -> str:
    words = [word for word in re.split(r"[^a-z0-9]+", sight.name.lower()) if word and word not in _FILLER]
    if sight.locator.dialect == "flashinfer":
        words = ["flashinfer", *words]
    elif not words:
        words = [re.sub(r"[^A-Za-z0-9]+", "-", PurePosixPath(sight.file).stem).strip("-").lower() or "list"]
    first, *_ = sight.locator.branch.split("|")  # the first pattern of a case
    return "-".join([*words, *re.findall(r"\d+", first)])


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
        Entry(sight=sight, says=says(group, value, sight, names))
        for group in groups
        for value, sights in group.values.items()
        for sight in sights
    ]
    ambiguous = ambiguities(entries)
    for group in groups:
        count = len(group.sights)
        values = "values contradict each other" if group.contradicts else "value"
        lines.append(f"  # {group.subject}: {len(group.values)} {values}, in {count} place{'s' if count > 1 else ''}")
        for value, sights in group.values.items():
            lines.append(f"  # {value}")
            lines += claim_lines([entry for entry in entries if entry.sight in sights], ambiguous, numbers=True)
    return "\n".join(lines) + "\n"


def ambiguities(entries: Iterable[Entry]) -> dict[Locator, bool]:
    """The locators of places that say different things: True where naming the step tells them apart."""
    said: dict[Locator, set[str]] = {}
    narrowed: dict[Locator, set[str]] = {}
    entries = list(entries)
    for entry in entries:
        said.setdefault(entry.locator, set()).add(entry.says)
        narrowed.setdefault(entry.narrow, set()).add(entry.says)
    apart: dict[Locator, bool] = {}
    for entry in entries:
        if len(said[entry.locator]) > 1:
            distinct = entry.narrow != entry.locator and len(narrowed[entry.narrow]) == 1
            apart[entry.locator] = apart.get(entry.locator, True) and distinct
    return apart


def says(group: Group, value: str, sight: Sight, names: Mapping[str, str], release: str = "") -> str:
    """What the claim about a place says, with placeholders; a CUDA version keeps the text around it.

    Args:
        group: The group of the place.
        value: What the place says.
        sight: The place.
        names: The names of arch lists, as `name_lists` gives them.
        release: The CUDA release to name, by default the place's own; `*` for the one that the place names.
    """
    name = group.subject.name
    match group.subject.kind:
        case Kind.ARCH_LIST:
            return f"{{arch_lists.{names[value]}}}"
        case Kind.CUDA:
            key = release or name
            placeholder = f"{{cuda[{key}].version}}" if value != name else f"{{cuda[{key}]}}"
            return sight.whole.replace(value, placeholder, 1) if value in sight.whole else placeholder
        case Kind.ARGUMENT:
            declared = [other.name for other in group.sights if other.locator.is_dockerfile_arg]
            return f"{{args.{declared[0] if declared else name}}}"


def claim_lines(entries: Sequence[Entry], ambiguous: Mapping[Locator, bool], *, numbers: bool) -> Iterator[str]:
    """The claims for places, one for each locator, as lines of a YAML list.

    Args:
        entries: The places, and what each claim says.
        ambiguous: What `ambiguities` gave.
        numbers: Whether the numbers of their lines stand behind them.
    """
    lines: dict[tuple[Locator, str], list[int]] = {}
    for entry in entries:
        locator = entry.narrow if ambiguous.get(entry.locator) else entry.locator
        lines.setdefault((locator, entry.says), []).append(entry.sight.line)
    for (locator, text), at in lines.items():
        shown = ", ".join(map(str, at[:_SHOWN])) + (", …" if len(at) > _SHOWN else "")
        claim = flow({**locator.keys(), "says": text})
        note = f"  # line{'s' if len(at) > 1 else ''} {shown}" if numbers else ""
        if ambiguous.get(locator) is False:
            yield f"  # - {claim}  # line {shown}: the same name has another value too, narrow it by hand"
        else:
            yield f"  - {claim}{note}"


def flow(mapping: Mapping[str, str]) -> str:
    """A mapping as one line of YAML."""
    return "{" + ", ".join(f"{key}: {scalar(value)}" for key, value in mapping.items()) + "}"


def scalar(value: str) -> str:
    """A text as a YAML scalar."""
    written = write(value, [Style.YAML_PLAIN])
    return '""' if not value else written if written is not None else repr(value)
