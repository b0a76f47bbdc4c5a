"""The result of an expansion, as values: `Variant`, `DroppedVariant`, `Plan`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec import Struct

from orchestrator.reference import short_tag

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.cuda.select import Selection
    from orchestrator.cuda.toolkit import Toolkit
    from orchestrator.matrix.layers import Origin, Value
    from orchestrator.matrix.model import Matrix
    from orchestrator.matrix.schema import Attest


class WheelsWanted(Struct, frozen=True, kw_only=True):
    """What a variant's wheelhouse is made from, filled in.

    Attributes:
        python: CPython release.
        requirements: Requirement files, relative to the matrix.
        packages: Single requirements.
        extra_index_urls: Indexes beside pip's own.
    """

    python: str
    requirements: tuple[str, ...]
    packages: tuple[str, ...]
    extra_index_urls: tuple[str, ...]


class Variant(Struct, frozen=True, kw_only=True):
    """One buildable row.

    Attributes:
        id: `<target>-cu130-amd64`, axes appended; a valid bake target name.
        target: The project's own bake target.
        cuda: Key of the CUDA release ("13.0"); cuda_version its full version; toolkit what its nvcc can do.
        platform: OCI platform ("linux/amd64"); machine as uname says it; runner its GitHub Actions labels.
        axes: Axis -> value.
        arch_list: Name of the arch list, with its origin; archs the selection against the toolkit.
        args, labels, contexts: Name -> value. tags, secrets: in order.
        index_tags: Version tags of the multi-platform index that it belongs to; floating_tags those that follow.
        index_repositories: Where these tags are set; () for the repository that each names.
        cache_ref, cache_pull_request, cache_read: Cache references, filled in; "" where pull requests have none given.
        headers: Whether the FlashInfer bundle is carried.
        compile_cache: Whether the compile cache is used.
        wheels: The wheelhouse that is carried, None for none.
    """

    id: str
    target: str
    cuda: str
    cuda_version: str
    toolkit: Toolkit
    platform: str
    machine: str
    runner: tuple[str, ...]
    axes: Mapping[str, str]
    arch_list: Value
    archs: Selection
    args: Mapping[str, Value]
    tags: tuple[Value, ...]
    labels: Mapping[str, Value]
    contexts: Mapping[str, Value]
    secrets: tuple[Value, ...]
    index_tags: tuple[Value, ...]
    floating_tags: tuple[Value, ...]
    index_repositories: tuple[Value, ...]
    cache_ref: str
    cache_pull_request: str
    cache_read: tuple[str, ...]
    attest: Attest
    headers: bool
    compile_cache: bool = False
    wheels: WheelsWanted | None = None

    def coordinates(self) -> dict[str, str]:
        """Dimension -> value, as `when` and the selectors name them."""
        return {"target": self.target, "cuda": self.cuda, "platform": self.platform, **self.axes}

    def family(self) -> tuple[tuple[str, str], ...]:
        """What the variants of one multi-platform index share: every coordinate but the platform."""
        return family(self.coordinates())


def family(coordinates: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Every coordinate but the platform."""
    return tuple((name, value) for name, value in coordinates.items() if name != "platform")


class DroppedVariant(Struct, frozen=True, kw_only=True):
    """A row that is not built, and why.

    Attributes:
        id: As a variant's.
        cell: Dimension -> value.
        why: The reason that the file gives.
        origin: The entry of `exclude`.
    """

    id: str
    cell: Mapping[str, str]
    why: str
    origin: Origin

    def coordinates(self) -> dict[str, str]:
        """Dimension -> value, as `when` and the selectors name them."""
        return dict(self.cell)

    def family(self) -> tuple[tuple[str, str], ...]:
        """As a variant's."""
        return family(self.coordinates())


class Plan(Struct, frozen=True, kw_only=True):
    """Everything that would be built, and everything that would not, with the reason.

    Attributes:
        matrix: The file.
        image: The repository, of the command line or the file.
        variants: The rows that are built.
        dropped: The rows that are not.
        notes: What a user should know of the whole: tags that name a commit while its files were changed.
    """

    matrix: Matrix
    image: str
    variants: tuple[Variant, ...]
    dropped: tuple[DroppedVariant, ...]
    notes: tuple[str, ...] = ()

    def targets(self) -> tuple[str, ...]:
        """The bake targets of the variants, each once."""
        return tuple(dict.fromkeys(variant.target for variant in self.variants))


MAX_ID = 200
"""Characters of an id: it is part of the names of files, which have 255 bytes."""


def variant_id(target: str, cuda: str, platform: str, axes: Mapping[str, str]) -> str:
    """The name of a variant; only letters, digits, _ and -, because bake refuses others (a dot among them).

    One that is too long for the name of a file is cut, with a digest of the whole at its end.
    """
    _, _, machine = platform.partition("/")
    parts = [target, f"cu{cuda.replace('.', '')}", machine.replace("/", "")]
    parts += [f"{name}{value}" for name, value in axes.items()]
    return short_tag(re.sub(r"[^A-Za-z0-9_-]", "-", "-".join(parts)), most=MAX_ID)
