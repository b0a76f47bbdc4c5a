"""Makes the cache-from and cache-to entries of a variant.

One reference for each variant: two builds that write one reference overwrite each other (docker/buildx#1142). Every
writer carries `ignore-error=true`, because a failing cache export fails the whole build otherwise (vllm-project/vllm
#46711: four images built, every job red). Does not depend on the shape of
matrix.yaml.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from orchestrator.bake.entries import entry

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Backend = Literal["registry", "local", "gha", "inline", "off"]


@dataclass(frozen=True, kw_only=True, slots=True)
class CachePolicy:
    """Where and how layers are cached.

    Attributes:
        backend: BuildKit's backend; "off" for none.
        mode: "max" caches the layers of all stages, "min" those of the image alone.
        write: False reads and never writes.
        directory: Where the local backend keeps one directory for each variant, absolute.
    """

    backend: Backend
    mode: str = "max"
    write: bool = True
    directory: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheEntries:
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
    policy: CachePolicy, *, ref: str, read: tuple[str, ...] = (), tags: tuple[str, ...] = (), push: bool = True
) -> CacheEntries:
    """Return the cache entries of one variant.

    Args:
        policy: Backend and options.
        ref: The variant's own reference (registry), scope (gha) or directory name (local).
        read: More references to read from, in order, after the variant's own.
        tags: The variant's tags, which the inline backend reads from.
        push: Whether the build pushes; without a push the registry and inline backends write nothing.
    """
    match policy.backend:
        case "registry":
            return CacheEntries(
                read=_each("registry", "ref", (ref, *read)),
                write=_if(
                    policy.write and push,
                    # oci-mediatypes and image-manifest: ECR refuses other cache manifests (aws/containers-roadmap#876)
                    {"type": "registry", "ref": ref, "mode": policy.mode, "compression": "zstd"}
                    | {"oci-mediatypes": "true", "image-manifest": "true", "ignore-error": "true"},
                ),
            )
        case "local":
            final = _directory(policy, ref)
            return CacheEntries(
                read=_each("local", "src", [_directory(policy, name) for name in (ref, *read)]),
                write=_if(
                    policy.write,
                    {"type": "local", "dest": f"{final}.new", "mode": policy.mode, "ignore-error": "true"},
                ),
                swap=(f"{final}.new", final) if policy.write else None,
            )
        case "gha":
            return CacheEntries(
                read=_each("gha", "scope", (ref, *read)),
                write=_if(policy.write, {"type": "gha", "scope": ref, "mode": policy.mode, "ignore-error": "true"}),
            )
        case "inline":
            return CacheEntries(
                read=_each("registry", "ref", (*tags, *read)),
                write=_if(policy.write and push, {"type": "inline"}),
            )
        case "off":
            return CacheEntries()


def _directory(policy: CachePolicy, ref: str) -> str:
    """Where the local backend keeps the cache of a reference: the same for its writer and for every reader."""
    return f"{policy.directory}/{re.sub(r'[^A-Za-z0-9_.-]+', '-', ref)}"


def _each(backend: str, attribute: str, names: Sequence[str]) -> tuple[str, ...]:
    return tuple(entry({"type": backend, attribute: name}) for name in names)


def _if(wanted: bool, fields: Mapping[str, str]) -> tuple[str, ...]:  # noqa: FBT001  # reads as a sentence at its callers
    return (entry(fields),) if wanted else ()
