"""From the places that were found in a repository to the claims that name them: `check --find`.

Writes YAML for people to read and change; first.py puts the same claims into a first matrix.yaml.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from orchestrator.dockerfile.spans import Style, write
from orchestrator.drift.contradict import main_list as main_list_place
from orchestrator.drift.sights import Kind, normal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from orchestrator.drift.find import Findings, Group
    from orchestrator.drift.locator import Locator
    from orchestrator.drift.sights import Sight

_FILLER = frozenset({"torch", "cuda", "arch", "archs", "arches", "list", "fi", "flashinfer", "architectures"})
_SHOWN = 6
_WORD = 5


class Entry(Struct, frozen=True, kw_only=True):
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
    """The list that the others are measured by, else the most frequent."""
    main = main_list_place(group.sights)
    if main is not None:
        return next(value for value, sights in group.values.items() if main in sights)
    return next(iter(group.values))


def _list_name(sight: Sight) -> str:
    words = [word for word in re.split(r"[^a-z0-9]+", sight.name.lower()) if word and word not in _FILLER]
    if sight.locator.dialect == "flashinfer":
        words = ["flashinfer", *words]
    elif not words:
        path = PurePosixPath(sight.file)  # Dockerfile.cu13 is told apart by what follows its name
        stem = path.suffix if path.suffix and path.stem.lower() == "dockerfile" else path.stem
        words = [re.sub(r"[^A-Za-z0-9]+", "-", stem).strip("-").lower() or "list"]
    first, *_ = sight.locator.branch.split("|")  # the first pattern of a case
    return "-".join([*words, *re.findall(r"\d+", first)])


def propose(findings: Findings) -> str:
    """The `arch_lists:` and `claims:` sections for what was found, as YAML; what contradicts what comes first.

    They load under a header with the releases that the claims name.

    Args:
        findings: What `find` gave.
    """
    groups = [group for group in findings.groups if group.subject.kind is not Kind.ARGUMENT]
    names = name_lists(groups)
    lines = list(_contradictions(findings))
    releases = sorted({group.subject.name for group in groups if group.subject.kind is Kind.CUDA}, key=_number)
    lines += (
        [f"# The claims name the CUDA releases {', '.join(releases)}: `cuda:` of the matrix has to list them."]
        if releases
        else []
    )
    lines += ["arch_lists:"] if names else []
    lines += [f"  {scalar(name)}: {value}" for value, name in names.items()]
    entries = [
        Entry(sight=sight, says=says(group, value, sight, names))
        for group in groups
        for value, sights in group.values.items()
        for sight in sights
    ]
    lines.append("claims:" if entries else "claims: []")
    every = [*entries, *(one for group in groups for one in followed(group, names))]
    ambiguous, words = ambiguities(every), distinct_words(every)
    for group in groups:
        count = len(group.sights)
        values = "value" if len(group.values) == 1 else "values"
        lines.append(f"  # {group.subject}: {len(group.values)} {values}, in {count} place{'s' if count > 1 else ''}")
        for value, sights in group.values.items():
            lines.append(f"  # {value}")
            lines += claim_lines([entry for entry in entries if entry.sight in sights], ambiguous, words, numbers=True)
    lines += [*_arguments(findings), *_replaced(findings), *_mentions(findings)]
    return "\n".join(lines) + "\n"


def _number(release: str) -> tuple[int, ...]:
    return tuple(int(part) for part in release.split("."))


def _contradictions(findings: Findings) -> Iterator[str]:
    """What contradicts what, as comments."""
    for group in findings.groups:
        for one in group.contradictions if group.subject.kind is not Kind.ARGUMENT else ():
            yield comment(
                f"{one.sight.file}:{one.sight.line}: {one.sight.name} says {one.sight.value}, "
                f"{one.file}:{one.line} says {one.value}: {'; '.join(one.words)}"
            )


def _arguments(findings: Findings) -> Iterator[str]:
    """The arguments that several files know, as comments: settings of one step may differ."""
    for group in findings.groups:
        if group.subject.kind is Kind.ARGUMENT:
            said = ", ".join(f"{value} ({sights[0].file}:{sights[0].line})" for value, sights in group.values.items())
            yield comment(f"{group.subject}: {said}")


def _replaced(findings: Findings) -> Iterator[str]:
    """The values that nothing is built with, as comments."""
    for one in findings.replaced:
        sight = one.sight
        yield comment(f"{sight.file}:{sight.line}: {sight.name} says {sight.value}, which {one.by} replaces")


def _mentions(findings: Findings) -> Iterator[str]:
    """The values in lines that no reader understands, as comments; a regex can claim one."""
    if findings.mentions:
        yield "# In lines that no reader understands (prose, comments, other languages); a regex can claim one:"
    told: dict[tuple[str, str], list[int]] = {}
    for one in findings.mentions:
        told.setdefault((one.file, f"CUDA {one.value}" if one.cuda else one.value), []).append(one.line)
    for (file, value), at in told.items():
        yield comment(f"  {file}: {value} in line{'s' if len(at) > 1 else ''} {', '.join(map(str, at))}")


def comment(text: str) -> str:
    """A line as a comment of YAML, without what ends a line."""
    return "# " + "".join(char if char.isprintable() else "?" for char in text)


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


def followed(group: Group, names: Mapping[str, str]) -> Iterator[Entry]:
    """The places of a group that take their value from another one, which no claim may mean by accident."""
    for sight in group.followed:
        value = normal(sight.value)
        known = group.subject.kind is not Kind.ARCH_LIST or value in names
        yield Entry(sight=sight, says=says(group, value, sight, names) if known else value)


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
            return sight.value


def distinct_words(entries: Sequence[Entry]) -> dict[tuple[Locator, str], str]:
    """A word that the commands with one value have, and those with another value of the same argument do not.

    Args:
        entries: All places; those of commands count.

    Returns:
        Locator and what its claim says -> the word, where there is one; it holds no value of an argument.
    """
    commands: dict[Locator, dict[str, list[set[str]]]] = {}
    for entry in entries:
        if entry.sight.command and entry.locator.build_arg:
            found = {word.strip("\"'") for word in entry.sight.command.split() if "=" not in word and len(word) > _WORD}
            commands.setdefault(entry.locator, {}).setdefault(entry.says, []).append(found)
    chosen: dict[tuple[Locator, str], str] = {}
    for locator, said in commands.items():
        for says_, ours in said.items():
            others = set().union(*(words for other, lists in said.items() if other != says_ for words in lists))
            alone = sorted(set.intersection(*ours) - others, key=lambda word: (-len(word), word))
            if len(said) > 1 and alone:
                chosen[locator, says_] = alone[0]
    return chosen


def claim_lines(
    entries: Sequence[Entry],
    ambiguous: Mapping[Locator, bool],
    words: Mapping[tuple[Locator, str], str],
    *,
    numbers: bool,
) -> Iterator[str]:
    """The claims for places, one for each locator, as lines of a YAML list.

    Args:
        entries: The places, and what each claim says.
        ambiguous: What `ambiguities` gave.
        words: What `distinct_words` gave.
        numbers: Whether the numbers of their lines stand behind them.
    """
    lines: dict[tuple[Locator, str], list[int]] = {}
    for entry in entries:
        locator = entry.narrow if ambiguous.get(entry.locator) else entry.locator
        if ambiguous.get(entry.locator) is False and (word := words.get((entry.locator, entry.says))):
            locator = replace(entry.locator, where=re.escape(word))
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
