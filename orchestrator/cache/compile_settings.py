"""Turns `compile_cache:` of the matrix into what a build gets: a namespace, and the settings that `run.sh` reads.

The settings travel as a BuildKit secret: an argument is part of the layer cache's key, so that a pull request with a
read-only cache would compile everything anew after main did (measured: a secret's change keeps the layer).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from orchestrator.cache.rights import place_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.matrix.schema_cache import CompileCacheSpec
    from orchestrator.matrix.variants import Variant

CREDENTIALS = {
    "mount": (),
    "s3": ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "SCCACHE_S3_NO_CREDENTIALS"),
    "redis": ("SCCACHE_REDIS_USERNAME", "SCCACHE_REDIS_PASSWORD"),
    "webdav": ("SCCACHE_WEBDAV_USERNAME", "SCCACHE_WEBDAV_PASSWORD", "SCCACHE_WEBDAV_TOKEN"),
    "gha": ("ACTIONS_RESULTS_URL", "ACTIONS_RUNTIME_TOKEN", "ACTIONS_CACHE_URL", "ACTIONS_CACHE_SERVICE_V2"),
}
"""Variables of this program's environment that a backend gets."""


def namespace(spec: CompileCacheSpec, image: str, variant: Variant) -> str:
    """Return the namespace of a variant: one for each project, toolkit and platform."""
    name = spec.namespace or image.rpartition("/")[2]
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", f"{name}-cuda{variant.cuda_version}-{variant.platform}")


def may_write(spec: CompileCacheSpec, env: Mapping[str, str]) -> bool:
    """Return whether this run may write: as the matrix says, where "trusted" leaves out what a foreign hand starts.

    That is a pull request of a fork, an event that anybody causes, and a run whose cache token is read-only.
    """
    if spec.write != "trusted":
        return spec.write == "always"
    place = place_of(env)
    return not place.untrusted and place.mode not in {"read", "none"}


def settings(spec: CompileCacheSpec, name: str, env: Mapping[str, str]) -> str:
    """Return the NAME=VALUE lines of the secret.

    Args:
        spec: The section.
        name: From `namespace`.
        env: This program's environment, for credentials and rights.
    """
    found: dict[str, str] = {"COMPILE_CACHE_TOOL": spec.tool, "COMPILE_CACHE_BACKEND": spec.backend}
    read_only = not may_write(spec, env)
    if spec.tool == "ccache":
        found |= {"CCACHE_MAXSIZE": spec.size}
        found |= {"CCACHE_READONLY": "true"} if read_only else {}
    else:
        found |= _sccache(spec, name)
        kind = {"mount": "LOCAL"}.get(spec.backend, spec.backend.upper())
        found |= {f"SCCACHE_{kind}_RW_MODE": "READ_ONLY"} if read_only else {}
    found |= {variable: env[variable] for variable in CREDENTIALS[spec.backend] if env.get(variable)}
    return "".join(f"{key}={value}\n" for key, value in found.items() if "\n" not in value)


def _sccache(spec: CompileCacheSpec, name: str) -> dict[str, str]:
    match spec.backend:
        case "s3":
            given = {"SCCACHE_BUCKET": spec.bucket, "SCCACHE_REGION": spec.region, "SCCACHE_ENDPOINT": spec.endpoint}
            return {key: value for key, value in given.items() if value} | {"SCCACHE_S3_KEY_PREFIX": name}
        case "redis":
            return {"SCCACHE_REDIS_ENDPOINT": spec.endpoint, "SCCACHE_REDIS_KEY_PREFIX": f"{name}/"}
        case "webdav":
            return {"SCCACHE_WEBDAV_ENDPOINT": spec.endpoint, "SCCACHE_WEBDAV_KEY_PREFIX": f"/{name}"}
        case "gha":
            return {"SCCACHE_GHA_ENABLED": "on", "SCCACHE_GHA_VERSION": name}
        case "mount":
            return {"SCCACHE_CACHE_SIZE": spec.size}
