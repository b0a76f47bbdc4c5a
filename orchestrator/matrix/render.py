"""One variant's values, filled in: arguments, tags, labels, contexts, secrets, cache references."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

from orchestrator.cuda.arch import parse_list
from orchestrator.cuda.dialects import DialectError
from orchestrator.cuda.select import Selection, select
from orchestrator.cuda.toolkit import Toolkit, UnknownToolkitError, toolkit_for
from orchestrator.matrix import names, template
from orchestrator.matrix.layers import Chosen, Value, origin
from orchestrator.matrix.values import Shared, VariantValues, blank_fields
from orchestrator.matrix.variants import Variant
from orchestrator.reference import InvalidReferenceError, parse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from orchestrator.matrix.findings import Findings
    from orchestrator.matrix.model import Matrix


class Renderer:
    """Makes variants; templates and selections are prepared once, so that ten thousand variants stay cheap."""

    def __init__(self, matrix: Matrix, image: str, fact: Callable[[str], str], findings: Findings) -> None:
        self.spec = matrix.spec
        self.findings = findings
        self._matrix = matrix
        self._fact = fact
        self._facts: dict[str, str] = {}
        self._templates: dict[str, template.Template] = {}
        self._selections: dict[tuple[str, str], Selection] = {}
        toolkits: dict[str, Toolkit] = {}
        for name, entry in matrix.spec.cuda.items():
            with contextlib.suppress(UnknownToolkitError):  # reported by rules.py
                toolkits[name] = toolkit_for(entry.version)
        self.shared = Shared(
            spec=matrix.spec, image=image, toolkits=toolkits, fact=self.fact, blank=blank_fields(matrix.spec)
        )
        self._index_tags = [
            Value(text=text, template=text, origin=origin(matrix.positions, ("publish", "tags", number)))
            for number, text in enumerate(matrix.spec.publish.tags if matrix.spec.publish is not None else [])
        ]

    def fact(self, name: str) -> str:
        """A fact that all variants share; each is asked for once."""
        if name not in self._facts:
            digest = name == "matrix.digest"
            self._facts[name] = self._matrix.digest.removeprefix("sha256:")[:12] if digest else self._fact(name)
        return self._facts[name]

    def variant(self, name: str, cell: Mapping[str, str], chosen: Chosen) -> Variant:
        """The variant of a cell.

        Args:
            name: Its id.
            cell: Dimension -> value.
            chosen: What the layers say.

        Raises:
            KeyError, ArchSyntaxError: A name or an arch list of the file is invalid; rules.py reports it.
        """
        spec, cuda = self.spec, cell["cuda"]
        selection = self._select(chosen.arch_list, cuda)
        values = VariantValues(self.shared, cell, name, arch_list=chosen.arch_list.text, selection=selection)
        if selection.empty:
            why = "; ".join(f"{item.arch}: {item.why}" for item in selection.dropped)
            what = f"{name}: no architecture is left for CUDA {cuda} ({why})"
            self.findings.of_value(chosen.arch_list, what, kind=f"empty on {cuda}")
        return Variant(
            id=name,
            target=cell["target"],
            cuda=cuda,
            cuda_version=spec.cuda[cuda].version,
            toolkit=self.shared.toolkits[cuda],
            platform=cell["platform"],
            machine=values["platform.machine"],
            runner=chosen.runner.text if chosen.runner is not None else "",
            axes={axis: cell[axis] for axis in spec.axes},
            arch_list=chosen.arch_list,
            archs=selection,
            args=self._merged((layer.args for layer in chosen.layers), values),
            tags=self._tags(chosen.tags, values),
            labels=self._merged((layer.labels for layer in chosen.layers), values),
            contexts=self._merged((layer.contexts for layer in chosen.layers), values),
            secrets=tuple(self._render(value, values) for value in chosen.secrets),
            index_tags=self._tags(self._index_tags, values),
            cache_ref=self._text(spec.cache.ref, values),
            cache_read=tuple(self._text(text, values) for text in spec.cache.read),
            attest=spec.variants.attest,
            headers=self._headers(cell["target"]),
        )

    def _headers(self, target: str) -> bool:
        headers = self.spec.headers
        if headers is None or headers.policy == "off":
            return False
        return headers.targets is None or target in headers.targets

    def _select(self, arch_list: Value, cuda: str) -> Selection:
        text = self.spec.arch_lists[arch_list.text].archs if arch_list.text else arch_list.template
        key = (text, cuda)
        if key not in self._selections:
            self._selections[key] = select(parse_list(text), self.shared.toolkits[cuda])
        return self._selections[key]

    def _merged(self, found: Iterable[Mapping[str, Value | None]], values: VariantValues) -> dict[str, Value]:
        merged: dict[str, Value | None] = {}
        for entries in found:
            merged |= entries
        return {key: self._render(value, values) for key, value in merged.items() if value is not None}

    def _render(self, value: Value, values: VariantValues) -> Value:
        try:
            return replace(value, text=self._text(value.template, values))
        except DialectError as error:
            self.findings.of_value(value, f"{values['variant.id']}: {error}", kind="dialect")
            return value

    def _text(self, text: str, values: VariantValues) -> str:
        parsed = self._templates.get(text)
        if parsed is None:
            parsed = self._templates[text] = template.parse(text)
        return parsed.render(values)

    def _tags(self, found: Iterable[Value], values: VariantValues) -> tuple[Value, ...]:
        tags = tuple(self._render(value, values) for value in found)
        for tag in tags:
            try:
                reference = parse(tag.text)
            except InvalidReferenceError as error:
                if names.is_repository(self.spec.image):  # otherwise reported once, where the image is named
                    self.findings.of_value(tag, f"{tag.text}: {error.message}", error.hint, kind="tag")
                continue
            if reference.tag is None:
                self.findings.of_value(tag, f"{tag.text} has no tag", 'write it as "{image}:…"', kind="tag")
            elif reference.pinned:
                self.findings.of_value(tag, f"{tag.text} names a digest, which no build can push to", kind="tag")
        return tags
