"""Makes the cache-from and cache-to entries of a variant.

One reference for each variant: two builds that write one reference overwrite each other (docker/buildx#1142). Every
writer carries `ignore-error=true`, because a failing cache export fails the whole build otherwise (vllm-project/vllm
#46711: four images built, every job red), and cancels a push that runs beside it (sagemath/sage#42598). An exporter
that cannot be configured fails all the same: `exports` repeats such a build without it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from msgspec import Struct, field

from orchestrator.entries import entry

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Backend = Literal["registry", "local", "gha", "s3", "azblob", "inline", "off"]

REMOTE = ("s3", "azblob")
"""Object stores: they have attributes of their own, and the engine's own builder cannot use them."""


class CachePolicy(Struct, frozen=True, kw_only=True):
    """Where and how layers are cached.

    Attributes:
        backend: BuildKit's backend; "off" for none.
        mode: "max" caches the layers of all stages, "min" those of the image alone.
        directory: Where the local backend keeps one directory for each reference, absolute.
        options: Further attributes of an object store: bucket, region…
    """

    backend: Backend
    mode: str = "max"
    directory: str = ""
    options: Mapping[str, str] = field(default_factory=dict)


class CacheEntries(Struct, frozen=True, kw_only=True):
    """What goes into the bake file.

    Attributes:
        read: `cache-from` entries.
        write: `cache-to` entries.
        swap: For the local backend, (new, final) directories: the new one replaces the final one after a success,
            because a local cache that is written in place grows for ever.
    """

    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    swap: tuple[str, str] | None = None


def entries(
    policy: CachePolicy, *, read: Sequence[str], write: Sequence[str], tags: Sequence[str] = (), push: bool = True
) -> CacheEntries:
    """Return the cache entries of one variant.

    Args:
        policy: Backend and options.
        read: References (registry), scopes (gha) or names (local, s3, azblob) to read from, in order.
        write: Those to write; the local backend writes the first alone.
        tags: The variant's tags, which the inline backend reads from.
        push: Whether the build pushes; without a push the registry and inline backends write nothing.
    """
    match policy.backend:
        case "registry":
            # oci-mediatypes and image-manifest: ECR refuses other cache manifests (aws/containers-roadmap#876)
            how = {"mode": policy.mode, "compression": "zstd", "oci-mediatypes": "true", "image-manifest": "true"}
            return CacheEntries(
                read=_each({"type": "registry"}, "ref", read),
                write=_each({"type": "registry"}, "ref", write if push else (), {**how, **_HARMLESS}),
            )
        case "local":
            final = local_directory(policy, write[0]) if write else ""
            return CacheEntries(
                read=_each({"type": "local"}, "src", [local_directory(policy, name) for name in read]),
                write=_each(
                    {"type": "local"}, "dest", [f"{final}.new"] if final else (), {"mode": policy.mode, **_HARMLESS}
                ),
                swap=(f"{final}.new", final) if final else None,
            )
        case "gha":
            return CacheEntries(
                read=_each({"type": "gha"}, "scope", read),
                write=_each({"type": "gha"}, "scope", write, {"mode": policy.mode, **_HARMLESS}),
            )
        case "s3" | "azblob":
            store = {"type": policy.backend, **policy.options}
            return CacheEntries(
                read=_each(store, "name", [_plain(name) for name in read]),
                write=_each(store, "name", [_plain(name) for name in write], {"mode": policy.mode, **_HARMLESS}),
            )
        case "inline":
            return CacheEntries(
                read=_each({"type": "registry"}, "ref", [*tags, *read]),
                write=(entry({"type": "inline"}),) if write and push else (),
            )
        case "off":
            return CacheEntries()


_HARMLESS = {"ignore-error": "true"}


def local_directory(policy: CachePolicy, ref: str) -> str:
    """Return where the local backend keeps the cache of a reference: the same for its writer and for every reader."""
    return f"{policy.directory}/{_plain(ref)}"


def _plain(ref: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", ref)


def _each(
    store: Mapping[str, str], attribute: str, names: Sequence[str], how: Mapping[str, str] | None = None
) -> tuple[str, ...]:
    return tuple(entry({**store, attribute: name, **(how or {})}) for name in names)
