"""From a matrix to the variants that it ships: `Variant`, `Plan`, `plan`.

It knows which cells of the matrix are built, fills in their values, and finds what only the whole shows (a tag that two
variants push). It must not know bake, engines or terminals.
"""

from __future__ import annotations

import contextlib
import itertools
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from orchestrator.cuda import arch as archs
from orchestrator.cuda.arch import ArchSyntaxError
from orchestrator.cuda.dialects import DialectError
from orchestrator.cuda.select import Selection, select
from orchestrator.cuda.toolkit import Toolkit, UnknownToolkitError, toolkit_for
from orchestrator.errors import Problem, UsageError
from orchestrator.matrix import git, layers, rules, template
from orchestrator.matrix.layers import CommandLine, Layer, Origin, Value
from orchestrator.matrix.positions import invalid
from orchestrator.matrix.values import VariantValues, blank_fields
from orchestrator.reference import InvalidReferenceError, parse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from orchestrator.matrix.model import Matrix
    from orchestrator.matrix.positions import KeyPath
    from orchestrator.matrix.schema import Attest, Exclude, MatrixFile, Override


@dataclass(frozen=True, kw_only=True, slots=True)
class Variant:
    """One buildable row.

    Attributes:
        id: `<target>-cu130-amd64`, axes appended; a valid bake target name.
        target: The project's own bake target.
        cuda: Key of the CUDA release ("13.0"); cuda_version its full version; toolkit what its nvcc can do.
        platform: OCI platform ("linux/amd64"); machine as uname says it; runner its GitHub Actions label.
        axes: Axis -> value.
        arch_list: Name of the arch list, with its origin; archs the selection against the toolkit.
        args, labels, contexts: Name -> value. tags, secrets: in order.
        index_tags: Tags of the multi-platform index that this variant belongs to.
        cache_ref, cache_read: Cache references, filled in.
        headers: Whether the FlashInfer bundle is carried.
    """

    id: str
    target: str
    cuda: str
    cuda_version: str
    toolkit: Toolkit
    platform: str
    machine: str
    runner: str
    axes: Mapping[str, str]
    arch_list: Value
    archs: Selection
    args: Mapping[str, Value]
    tags: tuple[Value, ...]
    labels: Mapping[str, Value]
    contexts: Mapping[str, Value]
    secrets: tuple[Value, ...]
    index_tags: tuple[Value, ...]
    cache_ref: str
    cache_read: tuple[str, ...]
    attest: Attest
    headers: bool

    def coordinates(self) -> dict[str, str]:
        """Dimension -> value, as `when` and the selectors name them."""
        return {"target": self.target, "cuda": self.cuda, "platform": self.platform, **self.axes}


@dataclass(frozen=True, kw_only=True, slots=True)
class DroppedVariant:
    """A row that is not built, and why."""

    id: str
    why: str
    origin: Origin


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """Everything that would be built, and everything that would not, with the reason.

    Attributes:
        matrix: The file.
        image: The repository, of the command line or the file.
        variants: The rows that are built.
        dropped: The rows that are not.
    """

    matrix: Matrix
    image: str
    variants: tuple[Variant, ...]
    dropped: tuple[DroppedVariant, ...]


def plan(matrix: Matrix, *, given: CommandLine | None = None, fact: Callable[[str], str] | None = None) -> Plan:
    """Expand the matrix.

    Args:
        matrix: A loaded file.
        given: Values of the command line.
        fact: Gives the value of `{git.…}`; by default asks git, once for each name.

    Raises:
        MatrixError: With every problem that only the expansion shows.
        UsageError: A value of the command line is wrong.
    """
    return _Expansion(matrix, given or CommandLine(), fact or (lambda name: git.fact(name, matrix.root))).plan()


def further_problems(matrix: Matrix, *, whole: bool) -> list[Problem]:
    """What the expansion shows of a file that has other problems, so that one run reports all of them.

    Cells that those problems spoil are passed over: what follows from another problem is none of its own.

    Args:
        matrix: The file, with what could not be understood left out.
        whole: Whether nothing was left out; otherwise what hangs on values (a tag that two share) is not asked.
    """
    expansion = _Expansion(matrix, CommandLine(), lambda name: name)
    return expansion.further_problems(whole=whole)


def variant_id(target: str, cuda: str, platform: str, axes: Mapping[str, str]) -> str:
    """The name of a variant; only letters, digits, _ and -, because bake refuses others (a dot among them)."""
    _, _, machine = platform.partition("/")
    parts = [target, f"cu{cuda.replace('.', '')}", machine.replace("/", "")]
    parts += [f"{name}{value}" for name, value in axes.items()]
    return re.sub(r"[^A-Za-z0-9_-]", "-", "-".join(parts))


class _Expansion:
    """One expansion: layers and templates are prepared once, so that ten thousand variants stay cheap."""

    def __init__(self, matrix: Matrix, given: CommandLine, fact: Callable[[str], str]) -> None:
        self.matrix = matrix
        self.spec: MatrixFile = matrix.spec
        self.at = matrix.positions
        self.given = given
        self.fact = fact
        self.problems: list[Problem] = []
        self.templates: dict[str, template.Template] = {}
        self.selections: dict[tuple[str, str], Selection] = {}
        self.facts: dict[str, str] = {}
        self.blank = blank_fields(matrix.spec)
        self.toolkits: dict[str, Toolkit] = {}
        for name, entry in self.spec.cuda.items():
            with contextlib.suppress(UnknownToolkitError):  # rules.py reports it
                self.toolkits[name] = toolkit_for(entry.version)
        self.layers = layers.layers(matrix.spec, matrix.positions, given)
        self.told: set[tuple[str, str]] = set()
        self.used: set[tuple[str, int]] = set()  # overrides and excludes that match a cell

    # -- expansion ------------------------------------------------------------------------------------------------

    def plan(self) -> Plan:
        variants, dropped = self._expand()
        if not variants:
            self.problems.append(self.at.problem(("exclude",), "every variant is excluded: there is nothing to build"))
        self._unused()
        if not self.given.archs:  # it is about the file's own lists
            self._nothing_compiles(variants)
        self._duplicates(variants)
        if self.problems:
            raise invalid(self.at.file, self.problems)
        return Plan(
            matrix=self.matrix,
            image=self.given.image or self.spec.image,
            variants=tuple(variants),
            dropped=tuple(dropped),
        )

    def further_problems(self, *, whole: bool) -> list[Problem]:
        if not 0 < rules.cells(self.spec) <= rules.MOST_CELLS:
            return []
        variants, dropped = self._expand(tolerant=True)
        if not whole:
            self.problems.clear()
        self._unused()
        if whole:
            self._duplicates(variants)
        if whole and len(variants) + len(dropped) == rules.cells(self.spec):
            self._nothing_compiles(variants)
        return self.problems

    def _expand(self, *, tolerant: bool = False) -> tuple[list[Variant], list[DroppedVariant]]:
        """The cells of the matrix; a tolerant expansion passes over those that a problem of the file spoils."""
        dimensions = rules.dimensions(self.spec)
        excludes = [
            Layer(when={name: frozenset(values) for name, values in entry.when.items()}, override=index)
            for index, entry in enumerate(self.spec.exclude)
        ]
        variants: list[Variant] = []
        dropped: list[DroppedVariant] = []
        for values in itertools.product(*dimensions.values()):
            cell = dict(zip(dimensions, values, strict=True))
            name = variant_id(cell["target"], cell["cuda"], cell["platform"], {a: cell[a] for a in self.spec.axes})
            hits = [entry.override for entry in excludes if entry.applies(cell)]
            self.used |= {("exclude", index) for index in hits}
            if hits:
                origin = layers.origin(self.at, ("exclude", hits[0]))
                dropped.append(DroppedVariant(id=name, why=self.spec.exclude[hits[0]].why, origin=origin))
                continue
            place = {**cell, "variant": name}
            chosen = [layer for layer in self.layers if layer.applies(place)]
            self.used |= {("overrides", layer.override) for layer in chosen}
            try:
                variants.append(self._variant(name, cell, chosen))
            except (KeyError, ArchSyntaxError):
                if not tolerant:
                    raise
        return variants, dropped

    def _variant(self, name: str, cell: Mapping[str, str], chosen: Sequence[Layer]) -> Variant:
        spec = self.spec
        last = Layer()  # of the keys that replace, the highest layer that says something
        for layer in chosen:
            last = Layer(
                arch_list=layer.arch_list or last.arch_list,
                runner=layer.runner or last.runner,
                tags=last.tags if layer.tags is None else layer.tags,
                secrets=last.secrets if layer.secrets is None else layer.secrets,
            )
        arch_list = last.arch_list
        assert arch_list is not None, "variants.arch_list is required by the schema"  # noqa: S101  # for the type checker
        selection = self._select(arch_list, cell["cuda"])
        values = VariantValues(
            spec,
            cell,
            variant_id=name,
            image=self.given.image or spec.image,
            arch_list=arch_list.text,
            selection=selection,
            toolkit=self.toolkits[cell["cuda"]],
            fact=self._fact,
            blank=self.blank,
        )
        headers = spec.headers is not None and spec.headers.policy != "off"
        if headers and spec.headers is not None and spec.headers.targets is not None:
            headers = cell["target"] in spec.headers.targets
        if selection.empty:
            why = "; ".join(f"{item.arch}: {item.why}" for item in selection.dropped)
            what = f"{name}: no architecture is left for CUDA {cell['cuda']} ({why})"
            self._problem(arch_list, what, kind=f"empty on {cell['cuda']}")
        index = [
            Value(text=text, template=text, origin=layers.origin(self.at, ("publish", "tags", number)))
            for number, text in enumerate(spec.publish.tags if spec.publish is not None else [])
        ]
        return Variant(
            id=name,
            target=cell["target"],
            cuda=cell["cuda"],
            cuda_version=spec.cuda[cell["cuda"]].version,
            toolkit=self.toolkits[cell["cuda"]],
            platform=cell["platform"],
            machine=values["platform.machine"],
            runner=last.runner.text if last.runner else "",
            axes={axis: cell[axis] for axis in spec.axes},
            arch_list=arch_list,
            archs=selection,
            args=self._merged(chosen, "args", values),
            tags=self._tags(last.tags or (), values),
            labels=self._merged(chosen, "labels", values),
            contexts=self._merged(chosen, "contexts", values),
            secrets=tuple(self._render(value, values) for value in last.secrets or ()),
            index_tags=self._tags(index, values),
            cache_ref=self._text(spec.cache.ref, values),
            cache_read=tuple(self._text(text, values) for text in spec.cache.read),
            attest=spec.variants.attest,
            headers=headers,
        )

    def _fact(self, name: str) -> str:
        """A fact that all variants share; each is asked for once."""
        if name not in self.facts:
            digest = self.matrix.digest.removeprefix("sha256:")[:12]
            self.facts[name] = digest if name == "matrix.digest" else self.fact(name)
        return self.facts[name]

    def _select(self, arch_list: Value, cuda: str) -> Selection:
        text = self.spec.arch_lists[arch_list.text].archs if arch_list.text else arch_list.template
        key = (text, cuda)
        if key not in self.selections:
            self.selections[key] = select(archs.parse_list(text), self.toolkits[cuda])
        return self.selections[key]

    def _merged(self, chosen: Sequence[Layer], name: str, values: VariantValues) -> dict[str, Value]:
        merged: dict[str, Value | None] = {}
        for layer in chosen:
            merged |= getattr(layer, name)
        return {key: self._render(value, values) for key, value in merged.items() if value is not None}

    def _render(self, value: Value, values: VariantValues) -> Value:
        try:
            return replace(value, text=self._text(value.template, values))
        except DialectError as error:
            self._problem(value, f"{values['variant.id']}: {error}", kind="dialect")
            return value

    def _text(self, text: str, values: VariantValues) -> str:
        parsed = self.templates.get(text)
        if parsed is None:
            parsed = self.templates[text] = template.parse(text)
        return parsed.render(values)

    def _tags(self, found: Iterable[Value], values: VariantValues) -> tuple[Value, ...]:
        tags = tuple(self._render(value, values) for value in found)
        for tag in tags:
            try:
                reference = parse(tag.text)
            except InvalidReferenceError as error:
                if not rules.is_repository(self.spec.image):
                    continue  # reported once, where the image is named
                self._problem(tag, f"{tag.text}: {error.message}", hint=error.hint, kind="tag")
                continue
            if reference.tag is None:
                self._problem(tag, f"{tag.text} has no tag", hint='write it as "{image}:…"', kind="tag")
            elif reference.pinned:
                self._problem(tag, f"{tag.text} names a digest, which no build can push to", kind="tag")
        return tags

    # -- what only the expansion shows ------------------------------------------------------------------------------

    def _problem(self, value: Value, what: str, hint: str = "", *, kind: str) -> None:
        """A problem of one value; the same kind of it in other variants is told once, not ten thousand times."""
        if not value.origin.place:
            raise UsageError(what, hint=hint)
        if (value.origin.place, kind) in self.told:
            return
        self.told.add((value.origin.place, kind))
        _, line, column = value.origin.place.rsplit(":", 2)
        self.problems.append(Problem(file=self.at.file, line=int(line), column=int(column), what=what, hint=hint))

    def _unused(self) -> None:
        known = rules.dimensions(self.spec)
        sections: dict[str, Sequence[Override | Exclude]] = {
            "exclude": self.spec.exclude,
            "overrides": self.spec.overrides,
        }
        for section, entries in sections.items():
            for index, entry in enumerate(entries):
                understood = entry.when and all(
                    set(entry.when[name]) <= set(known.get(name, ())) for name in entry.when
                )
                if (section, index) not in self.used and understood:
                    what = f"{section}[{index}] matches no variant"
                    hint = "remove it, or correct its when"
                    self.problems.append(self.at.problem((section, index, "when"), what, hint=hint))

    def _nothing_compiles(self, variants: Sequence[Variant]) -> None:
        """An entry of an arch list that none of the toolkits using the list can compile is a mistake, not a filter."""
        used: dict[str, list[Variant]] = {}
        for variant in variants:
            if variant.arch_list.text:
                used.setdefault(variant.arch_list.text, []).append(variant)
        for name, users in used.items():
            selections = {variant.cuda: variant.archs for variant in users}
            lost = [{item.arch: item.why for item in selection.dropped} for selection in selections.values()]
            for arch in set(lost[0]).intersection(*lost):
                path: KeyPath = ("arch_lists", name)
                path = (*path, "archs") if (*path, "archs") in self.at.values else path
                releases = ", ".join(selections)
                what = f"arch list {name}: no CUDA release that uses it ({releases}) compiles {arch}"
                self.problems.append(self.at.problem(path, f"{what}: {lost[0][arch]}"))

    def _duplicates(self, variants: Sequence[Variant]) -> None:
        ids: dict[str, Variant] = {}
        tags: dict[str, str] = {}
        caches: dict[str, str] = {}
        writes = self.spec.cache.write and self.spec.cache.backend in {"registry", "local", "gha"}
        for variant in variants:
            other = ids.setdefault(variant.id, variant)
            if other is not variant:
                self.problems.append(
                    self.at.problem(("axes",), f"two variants are named {variant.id}", hint="rename one axis value")
                )
            for tag in variant.tags:
                owner = tags.setdefault(tag.text, variant.id)
                if owner != variant.id:
                    self._problem(
                        tag, f"{owner} and {variant.id} both push {tag.text}",
                        hint="add a placeholder that differs between them", kind="shared",
                    )  # fmt: skip
            owner = caches.setdefault(variant.cache_ref, variant.id)
            if owner != variant.id and writes and ("", "cache") not in self.told:
                self.told.add(("", "cache"))
                what = f"{owner} and {variant.id} both write the cache {variant.cache_ref}: the last one would win"
                self.problems.append(self.at.problem(("cache", "ref"), what, hint="add {variant.id}"))
