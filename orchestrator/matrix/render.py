"""One variant's values, filled in: arguments, tags, labels, contexts, secrets, cache references."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from msgspec.structs import replace

from orchestrator.cuda.arch import parse_list
from orchestrator.cuda.dialects import DialectError
from orchestrator.cuda.select import Selection, select
from orchestrator.cuda.toolkit import Toolkit, UnknownToolkitError, toolkit_for
from orchestrator.matrix import names, template
from orchestrator.matrix.layers import Chosen, Value, origin
from orchestrator.matrix.values import Shared, VariantValues, blank_fields
from orchestrator.matrix.variants import Variant, WheelsWanted
from orchestrator.redact import named_like_secret, secret_in
from orchestrator.reference import InvalidReferenceError, parse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from orchestrator.matrix.findings import Findings
    from orchestrator.matrix.layers import Layer
    from orchestrator.matrix.model import Matrix
    from orchestrator.matrix.schema import MatrixFile

_IMAGE = "docker-image://"
_SHORTER = "{variant.tag} in cache.ref is always short enough for a tag"


class Renderer:
    """Makes variants; templates and selections are prepared once, so that ten thousand variants stay cheap."""

    def __init__(self, matrix: Matrix, image: str, fact: Callable[[str], str], findings: Findings) -> None:
        self.spec = matrix.spec
        self.findings = findings
        self.secrets: dict[str, None] = {}  # arguments that are named like credentials
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
        self._cache, self._cache_pull_request, self._cache_read = self._cache_values(matrix.spec)
        self._index_tags = self._publish_values("tags")
        self._floating_tags = self._publish_values("floating")
        self._index_repositories = self._publish_values("to")

    def _publish_values(self, name: str) -> list[Value]:
        spec = self.spec.publish
        return [
            Value(text=text, template=text, origin=origin(self._matrix.positions, ("publish", name, number)))
            for number, text in enumerate(getattr(spec, name) if spec is not None else ())
        ]

    def _cache_values(self, spec: MatrixFile) -> tuple[Value, Value, tuple[Value, ...]]:
        at = self._matrix.positions

        def value(text: str, *path: str | int) -> Value:
            return Value(text="", template=text, origin=origin(at, ("cache", *path)))

        read = (value(text, "read", number) for number, text in enumerate(spec.cache.read))
        pulls = value(spec.cache.pull_request_ref, "pull_request_ref")
        return value(spec.cache.ref, "ref"), pulls, tuple(read)

    @property
    def named_commit(self) -> bool:
        """Whether a value of a variant names the commit and none says that files were changed since."""
        return not self._facts.keys().isdisjoint({"git.sha", "git.short", "git.tag"}) and "git.dirty" not in self._facts

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
        if selection.empty and names.agrees(cuda, spec.cuda[cuda].version):
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
            runner=tuple(value.text for value in chosen.runner),
            axes={axis: cell[axis] for axis in spec.axes},
            arch_list=chosen.arch_list,
            archs=selection,
            args=self._arguments(chosen.layers, values),
            tags=self._tags(chosen.tags, values),
            labels=self._merged((layer.labels for layer in chosen.layers), values),
            contexts=self._contexts((layer.contexts for layer in chosen.layers), values),
            secrets=tuple(self._render(value, values) for value in chosen.secrets),
            index_tags=self._tags(self._index_tags, values),
            floating_tags=self._tags(self._floating_tags, values),
            index_repositories=self._repositories(values),
            cache_ref=self._cache_ref(self._cache, values),
            cache_pull_request=self._cache_ref(self._cache_pull_request, values),
            cache_read=tuple(self._reference(value, values, "cache reference").text for value in self._cache_read),
            attest=spec.variants.attest,
            headers=self._headers(cell["target"]),
            compile_cache=self._compile_cache(cell["target"]),
            wheels=self._wheels(cell["target"], values),
        )

    def _compile_cache(self, target: str) -> bool:
        spec = self.spec.compile_cache
        return spec is not None and (spec.targets is None or target in spec.targets)

    def _headers(self, target: str) -> bool:
        headers = self.spec.headers
        if headers is None or headers.policy == "off":
            return False
        return headers.targets is None or target in headers.targets

    def _wheels(self, target: str, values: VariantValues) -> WheelsWanted | None:
        spec = self.spec.wheels
        if spec is None or spec.policy == "off" or not (spec.targets is None or target in spec.targets):
            return None
        return WheelsWanted(
            python=self._text(spec.python, values),
            requirements=tuple(self._text(text, values) for text in spec.requirements),
            packages=tuple(self._text(text, values) for text in spec.packages),
            extra_index_urls=tuple(self._text(text, values) for text in spec.extra_index_urls),
        )

    def _select(self, arch_list: Value, cuda: str) -> Selection:
        text = self.spec.arch_lists[arch_list.text].archs if arch_list.text else arch_list.template
        key = (text, cuda)
        if key not in self._selections:
            self._selections[key] = select(parse_list(text), self.shared.toolkits[cuda])
        return self._selections[key]

    def _arguments(self, found: Sequence[Layer], values: VariantValues) -> dict[str, Value]:
        """The arguments of all layers; notes which `null` of an override removes one."""
        known: set[str] = set()
        for layer in found:
            for name, value in layer.args.items():
                if value is None:
                    self.findings.removal(layer.override, name, known)
            known |= {name for name, value in layer.args.items() if value is not None}
        merged = self._merged((layer.args for layer in found), values)
        for name, value in merged.items():
            if kind := secret_in(value.text):
                self.findings.of_value(
                    value,
                    f"argument {name}: the value holds {kind}, and arguments stay in an image's history and provenance",
                    f'hand it in as a BuildKit secret: secrets: ["id={name},env={name}"], and RUN --mount=type=secret',
                    kind="secret",
                )
            elif name not in self.spec.variants.not_secret and named_like_secret(name, value.text):
                self.secrets[name] = None
        return merged

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

    def _cache_ref(self, value: Value, values: VariantValues) -> str:
        """Where the variant's cache is; a reference where the backend is a registry, any text elsewhere."""
        if self.spec.cache.backend == "registry" and value.template:
            return self._reference(value, values, "cache reference", _SHORTER).text
        return self._render(value, values).text

    def _contexts(self, found: Iterable[Mapping[str, Value | None]], values: VariantValues) -> dict[str, Value]:
        contexts = self._merged(found, values)
        for value in contexts.values():
            if value.text.startswith(_IMAGE):
                self._check(value, value.text.removeprefix(_IMAGE), "named context")
        return contexts

    def _reference(self, value: Value, values: VariantValues, what: str, hint: str = "") -> Value:
        """A value that a registry is asked for; the inline and registry backends read images and nothing else."""
        rendered = self._render(value, values)
        if self.spec.cache.backend in ("registry", "inline"):
            self._check(rendered, rendered.text, what, hint)
        return rendered

    def _check(self, value: Value, text: str, what: str, hint: str = "") -> None:
        try:
            parse(text)
        except InvalidReferenceError as error:
            if names.is_repository(self.spec.image):  # otherwise reported once, where the image is named
                self.findings.of_value(value, f"{what} {text}: {error.message}", error.hint or hint, kind=what)

    def _repositories(self, values: VariantValues) -> tuple[Value, ...]:
        found = tuple(self._render(value, values) for value in self._index_repositories)
        for value in found:
            if not names.is_repository(value.text) and names.is_repository(self.spec.image):
                what = f"{value.text} is invalid: expected a repository without a tag, as in ghcr.io/acme/app"
                self.findings.of_value(value, what, kind="repository")
        return found

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
