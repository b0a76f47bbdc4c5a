"""Where the values of a variant come from: layers, of which the later one wins.

The order is variants, cuda, platform, target, overrides, command line. Every value keeps its origin, which
`plan --explain` prints.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field

from orchestrator.cuda.arch import ArchSyntaxError, parse_list
from orchestrator.errors import UsageError, did_you_mean
from orchestrator.matrix import names, template

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from orchestrator.errors import Place
    from orchestrator.matrix.positions import KeyPath, Positions
    from orchestrator.matrix.schema import MatrixFile, Override, Variants


class Origin(Struct, frozen=True, kw_only=True):
    """Where a value comes from: its place in the file, None on the command line, and words ("overrides[0].args")."""

    place: Place | None
    words: str

    def __str__(self) -> str:
        return f"{self.words} ({self.place})" if self.place is not None else self.words


class Value(Struct, frozen=True, kw_only=True):
    """A value, filled in, with its origin and the text of the file."""

    text: str
    origin: Origin
    template: str = ""


class CommandLine(Struct, frozen=True, kw_only=True):
    """Values given on the command line; they win over the file.

    Attributes:
        args: Build arguments, NAME -> value; placeholders work.
        archs: An arch list in matrix notation, or "".
        image: Replaces `image`, or "".
        when: What the selectors ask for: other variants keep the file's values, so that a value which suits only the
            selected ones is not an error.
    """

    args: Mapping[str, str] = field(default_factory=dict)
    archs: str = ""
    image: str = ""
    when: Mapping[str, frozenset[str]] = field(default_factory=dict)


class Layer(Struct, frozen=True, kw_only=True):
    """Changes that apply to some variants.

    Attributes:
        when: Dimension -> values that it applies to; empty applies to all.
        override: Index among the overrides, -1 for every other layer.
        arch_list: Name of the list; a list of the command line has no name and is in `template`.
        args, labels, contexts: Added to what lower layers say; None removes.
        runner, tags, secrets: Replace what lower layers say; None leaves it.
    """

    when: Mapping[str, frozenset[str]] = field(default_factory=dict)
    override: int = -1
    arch_list: Value | None = None
    runner: tuple[Value, ...] | None = None
    args: Mapping[str, Value | None] = field(default_factory=dict)
    labels: Mapping[str, Value | None] = field(default_factory=dict)
    contexts: Mapping[str, Value | None] = field(default_factory=dict)
    tags: tuple[Value, ...] | None = None
    secrets: tuple[Value, ...] | None = None

    def applies(self, cell: Mapping[str, str]) -> bool:
        """Whether a cell of the matrix (dimension -> value, "variant" -> id) is meant."""
        return all(cell.get(name) in values for name, values in self.when.items())


class Chosen(Struct, frozen=True, kw_only=True):
    """What the layers of one variant say together, of the keys that replace; the others are in `layers`."""

    layers: Sequence[Layer]
    arch_list: Value
    runner: tuple[Value, ...]
    tags: tuple[Value, ...]
    secrets: tuple[Value, ...]


def choose(found: Sequence[Layer]) -> Chosen:
    """The layers that apply to a variant, lowest first, with what the highest of them says."""
    down = found[::-1]
    return Chosen(
        layers=found,
        # the lowest layer is `variants`, whose arch_list is required
        arch_list=next(layer.arch_list for layer in down if layer.arch_list is not None),
        runner=next((layer.runner for layer in down if layer.runner is not None), ()),
        tags=next((layer.tags for layer in down if layer.tags is not None), ()),
        secrets=next((layer.secrets for layer in down if layer.secrets is not None), ()),
    )


def layers(spec: MatrixFile, at: Positions, given: CommandLine) -> tuple[Layer, ...]:
    """All layers, lowest first.

    Raises:
        UsageError: A value of the command line is wrong.
    """
    source = _Source(at)
    return (
        source.section(spec.variants, ("variants",), {}),
        *source.dimensions(spec),
        *(
            source.section(entry, ("overrides", index), entry.when, override=index)
            for index, entry in enumerate(spec.overrides)
        ),
        _command_line(spec, given),
    )


class _Source(Struct, frozen=True):
    """Makes values with their origin in one file."""

    at: Positions

    def value(self, text: str, path: KeyPath) -> Value:
        return Value(text=text, template=text, origin=origin(self.at, path))

    def optional(self, text: str | None, path: KeyPath) -> Value | None:
        return None if text is None else self.value(text, path)

    def named(self, texts: Mapping[str, str | None], path: KeyPath) -> dict[str, Value | None]:
        return {name: self.optional(text, (*path, name)) for name, text in texts.items()}

    def listed(self, texts: Sequence[str] | None, path: KeyPath) -> tuple[Value, ...] | None:
        return None if texts is None else tuple(self.value(text, (*path, i)) for i, text in enumerate(texts))

    def section(
        self, entry: Variants | Override, path: KeyPath, when: Mapping[str, Sequence[str]], *, override: int = -1
    ) -> Layer:
        return Layer(
            when={name: frozenset(values) for name, values in when.items()},
            override=override,
            arch_list=self.optional(entry.arch_list, (*path, "arch_list")),
            runner=self.listed(getattr(entry, "runner", None), (*path, "runner")),
            args=self.named(entry.args, (*path, "args")),
            labels=self.named(entry.labels, (*path, "labels")),
            contexts=self.named(entry.contexts, (*path, "contexts")),
            tags=self.listed(entry.tags, (*path, "tags")),
            secrets=self.listed(entry.secrets, (*path, "secrets")),
        )

    def dimensions(self, spec: MatrixFile) -> Iterator[Layer]:
        """The arch list of a CUDA release, a platform or a target, and the platform's runner."""
        for name, cuda in spec.cuda.items():
            if cuda.arch_list is not None:
                yield self._dimension("cuda", name, self.value(cuda.arch_list, ("cuda", name, "arch_list")))
        for name, platform in spec.platforms.items():
            path: KeyPath = ("platforms", name)
            yield Layer(
                when={"platform": frozenset({name})},
                arch_list=self.optional(platform.arch_list, (*path, "arch_list")),
                runner=self.listed(platform.runner, (*path, "runner")),
            )
        for name, target in spec.bake.targets.items():
            if target.arch_list is not None:
                path = ("bake", "targets", name, "arch_list")
                yield self._dimension("target", name, self.value(target.arch_list, path))

    def _dimension(self, dimension: str, name: str, arch_list: Value) -> Layer:
        return Layer(when={dimension: frozenset({name})}, arch_list=arch_list)


def origin(at: Positions, path: KeyPath) -> Origin:
    """The origin of the value at a path of the file."""
    words = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).lstrip(".")
    return Origin(place=at.place(path), words=words)


def _command_line(spec: MatrixFile, given: CommandLine) -> Layer:
    source = Origin(place=None, words="command line")
    known = spec.placeholders()
    args: dict[str, Value | None] = {}
    for name, text in given.args.items():
        if not names.is_argument(name):
            raise UsageError(f"--arg {name}=…: {name!r} is not a valid argument name")
        if missing := template.unknown(text, known):
            unknown = missing[0][1]
            raise UsageError(f"--arg {name}: unknown placeholder {{{unknown}}}; {did_you_mean(unknown, known)}")
        args[name] = Value(text=text, template=text, origin=source)
    arch_list = None
    if given.archs:
        try:
            parse_list(given.archs)
        except ArchSyntaxError as error:
            raise UsageError(f"--archs: {error}") from error
        arch_list = Value(text="", template=given.archs, origin=source)
    if given.image and not names.is_repository(given.image):
        raise UsageError(f"--image {given.image}: expected a repository name such as ghcr.io/acme/app, without a tag")
    return Layer(when=given.when, args=args, arch_list=arch_list)
