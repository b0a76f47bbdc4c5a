"""Problems that only the expansion shows: an override that matches nothing, a tag that two variants push."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator import reference
from orchestrator.cuda.arch import ArchSyntaxError, parse_list
from orchestrator.cuda.promise import among, promised_ccs
from orchestrator.errors import Problem, UsageError, did_you_mean
from orchestrator.matrix import names

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from orchestrator.matrix.layers import Value
    from orchestrator.matrix.positions import Positions
    from orchestrator.matrix.schema import Exclude, MatrixFile, Override
    from orchestrator.matrix.variants import Variant


class Findings:
    """The problems of one expansion; the same problem of one value is reported once, not for each of its variants."""

    def __init__(self, spec: MatrixFile, at: Positions) -> None:
        self.spec = spec
        self.at = at
        self.problems: list[Problem] = []
        self._reported: set[tuple[str, str]] = set()
        self._removals: dict[tuple[int, str], bool] = {}
        self._arguments: set[str] = set()

    def of_value(self, value: Value, what: str, hint: str = "", *, kind: str) -> None:
        """Report a problem of one value.

        Raises:
            UsageError: The value comes from the command line.
        """
        place = value.origin.place
        if place is None:
            raise UsageError(what, hint=hint)
        if self._first(str(place), kind):
            self.problems.append(Problem.at(place, what, hint=hint))

    def _first(self, place: str, kind: str) -> bool:
        known = (place, kind) in self._reported
        self._reported.add((place, kind))
        return not known

    def removal(self, override: int, name: str, known: Collection[str]) -> None:
        """Note that an override takes an argument away from a variant.

        Args:
            override: Its index; -1 for `variants` itself, below which there is nothing to remove.
            name: The argument.
            known: The arguments that lower layers give this variant.
        """
        self._arguments |= set(known)
        key = (override, name)
        self._removals[key] = self._removals.get(key, False) or name in known

    def empty_removals(self) -> None:
        """Report every `null` that takes an argument away from none of its variants."""
        for (override, name), removes in self._removals.items():
            if not removes:
                path = ("variants", "args", name) if override < 0 else ("overrides", override, "args", name)
                what = f"null removes nothing: no lower layer sets the argument {name}"
                hint = did_you_mean(name, self._arguments)
                self.problems.append(self.at.problem(path, what, key=True, hint=hint))

    def nothing_to_build(self) -> None:
        """Report that every variant is excluded."""
        self.problems.append(self.at.problem(("exclude",), "every variant is excluded: there is nothing to build"))

    def unused(self, used: Collection[tuple[str, int]]) -> None:
        """Report the overrides and excludes that match no cell.

        Args:
            used: Those that match one, as (section, index).
        """
        known = self.spec.dimensions()
        sections: dict[str, Sequence[Override | Exclude]] = {
            "exclude": self.spec.exclude,
            "overrides": self.spec.overrides,
        }
        for section, entries in sections.items():
            for index, entry in enumerate(entries):
                understood = entry.when and all(
                    set(entry.when[name]) <= set(known.get(name, ())) for name in entry.when
                )
                if (section, index) not in used and understood:
                    what = f"{section}[{index}] matches no variant"
                    hint = "remove it, or correct its when"
                    self.problems.append(self.at.problem((section, index, "when"), what, hint=hint))

    def nothing_compiles(self, variants: Iterable[Variant]) -> None:
        """Report every entry of an arch list that none of the toolkits using the list can compile: it is a mistake."""
        used: dict[str, list[Variant]] = {}
        for variant in variants:
            if variant.arch_list.text:
                used.setdefault(variant.arch_list.text, []).append(variant)
        for name, users in used.items():
            if not all(names.agrees(variant.cuda, variant.cuda_version) for variant in users):
                continue  # nobody knows what compiles the list; rules.py reports it
            selections = {variant.cuda: variant.archs for variant in users}
            lost = [{item.arch: item.why for item in selection.dropped} for selection in selections.values()]
            for arch in set(lost[0]).intersection(*lost):
                releases = ", ".join(selections)
                what = f"arch list {name}: no CUDA release that uses it ({releases}) compiles {arch}: {lost[0][arch]}"
                self.problems.append(self.at.problem(self.at.arch_list(name), what))

    def nobody_promises(self, variants: Iterable[Variant]) -> None:
        """Report what `verify` asks for or excuses and no list holds: in silence it would mean nothing anywhere."""
        promised = promised_ccs(arch for variant in variants for arch in variant.archs.requested)
        ways = (
            ("require", [one.archs for one in self.spec.verify.require], "so no image is verified for it"),
            ("exceptions", [one.archs for one in self.spec.verify.exceptions], "so it excuses nothing"),
        )
        for key, lists, why in ways:
            for index, archs in enumerate(lists):
                try:
                    asked = parse_list(archs) if archs else ()
                except ArchSyntaxError:  # rules_values.py reports it
                    continue
                if lost := [arch.cc for arch in asked if not among(arch.cc, promised)]:
                    what = f"verify.{key}[{index}]: no variant promises {' '.join(lost)}, {why}"
                    hint = "add it to an arch list, or remove it here"
                    self.problems.append(self.at.problem(("verify", key, index, "archs"), what, hint=hint))

    def duplicates(self, variants: Iterable[Variant]) -> None:
        """Report ids, tags and written caches that two variants share."""
        ids: dict[str, Variant] = {}
        tags: dict[str, str] = {}
        indexes: dict[str, Variant] = {}
        caches: dict[str, str] = {}
        writes = self.spec.cache.write and self.spec.cache.backend in {"registry", "local", "gha", "s3", "azblob"}
        for variant in variants:
            if ids.setdefault(variant.id, variant) is not variant:
                what = f"two variants are named {variant.id}"
                self.problems.append(self.at.problem(("axes",), what, hint="rename one axis value"))
            for tag in variant.tags:
                owner = tags.setdefault(_named(tag.text), variant.id)
                if owner != variant.id:
                    what = f"{owner} and {variant.id} both push {tag.text}"
                    self.of_value(tag, what, "add a placeholder that differs between them", kind="shared")
            for tag, name in _published(variant):
                first = indexes.setdefault(_named(name), variant)
                if first.family() != variant.family():
                    what = f"the indexes of {first.id} and {variant.id} both get {name}"
                    self.of_value(tag, what, "add a placeholder that differs between them", kind="shared")
            owner = caches.setdefault(_named(variant.cache_ref), variant.id)
            if owner != variant.id and writes and self._first("", "cache"):
                what = f"{owner} and {variant.id} both write the cache {variant.cache_ref}: the last one wins"
                self.problems.append(self.at.problem(("cache", "ref"), what, hint="add {variant.id}"))


def _named(text: str) -> str:
    """What a reference names, however it is written: `acme/app:1` is `docker.io/acme/app:1`."""
    try:
        return str(reference.parse(text))
    except reference.InvalidReferenceError:
        return text


def _published(variant: Variant) -> Iterator[tuple[Value, str]]:
    """Every tag that the index of a variant gets, as it is written and as `publish.to` places it."""
    for value in (*variant.index_tags, *variant.floating_tags):
        tag = value.text.rpartition(":")[2]
        for name in [f"{one.text}:{tag}" for one in variant.index_repositories] or [value.text]:
            yield value, name
