"""The sections of matrix.yaml about caches: of layers, and of compiled device code.

Annotations are evaluated here (no `from __future__ import annotations`): the sections are read from them.
"""

import re
from typing import Literal

from orchestrator.matrix.section import Section, Text, key

CACHE_STORES = {
    "s3": (
        (
            "bucket", "region", "prefix", "blobs_prefix", "manifests_prefix", "endpoint_url", "use_path_style",
            "upload_parallelism", "touch_refresh",
        ),
        ("bucket", "region"),
    ),
    "azblob": (("account_url", "container", "prefix", "blobs_prefix", "manifests_prefix"), ("account_url",)),
}  # fmt: skip
"""Object stores: the attributes that they take, and those that they need (BuildKit, cache/remotecache)."""

CACHE_SECRETS = frozenset({"access_key_id", "secret_access_key", "session_token"})


class CacheSpec(Section):
    """Where layers live between builds."""

    backend: Literal["registry", "local", "gha", "s3", "azblob", "inline", "off"] = key(
        "BuildKit cache backend.", default="registry"
    )
    ref: Text = key(
        "One reference (registry), scope (gha) or name (local, s3, azblob) for each variant: that of the main branch.",
        default="{image}-cache:{variant.id}",
    )
    pull_request_ref: Text = key(
        "What the references of pull requests begin with; by default ref with -pr behind its repository.", default=""
    )
    branches: bool = key(
        "Give each branch and pull request a reference of its own, which it reads before the main branch's.",
        default=True,
    )
    commits: bool = key("Write a reference for each commit as well, and read that of its parent.", default=False)
    main: Text = key("Name of the main branch; by default the repository's default branch, else main.", default="")
    options: dict[str, Text] = key(
        "More attributes of an object store: bucket, region, endpoint_url (s3), account_url, container (azblob).",
        default={},
    )
    dir: Text = key("Where the local backend keeps its directories.", default=".orchestrate/cache")
    read: list[Text] = key("More references to read from, in order.", default=[])
    mode: Literal["max", "min"] = key("max caches the layers of all stages.", default="max")
    write: bool = key("false reads the cache and never writes it.", default=True)

    def broken_rule(self) -> str:
        """What is wrong with the combination of keys."""
        if secret := [name for name in self.options if name in CACHE_SECRETS]:
            return f"options.{secret[0]} is a secret: set it in the environment of the builder"
        if self.options and self.backend not in CACHE_STORES:
            return f"options go with backend {' or '.join(CACHE_STORES)}, not with {self.backend}"
        known, needed = CACHE_STORES.get(self.backend, ((), ()))
        if wrong := [name for name in self.options if name not in known]:
            return f"{self.backend} has no option {wrong[0]}: expected one of {', '.join(known)}"
        if missing := [name for name in needed if name not in self.options]:
            return f"options.{missing[0]} is missing, which backend {self.backend} needs"
        return ""


class CompileCacheSpec(Section):
    """A cache of compiled device code: an added architecture compiles alone."""

    tool: Literal["sccache", "ccache"] = key(
        "sccache caches each architecture, ccache whole translation units.", default="sccache"
    )
    backend: Literal["mount", "s3", "redis", "webdav", "gha"] = key(
        "Where objects are kept; mount is a BuildKit cache mount.", default="mount"
    )
    namespace: Text = key(
        "Beginning of the namespace, CUDA version and platform follow; the image's name if absent.", default=""
    )
    size: Text = key("Most that a cache mount may hold, as in 20G.", default="20G")
    write: Literal["trusted", "always", "never"] = key(
        "trusted: not for forks and events that anybody can cause.", default="trusted"
    )
    bucket: Text = key("Bucket (s3).", default="")
    region: Text = key("Region (s3).", default="")
    endpoint: Text = key("URL of the server (redis, webdav, s3), without credentials.", default="")
    fixed_cccl_namespaces: bool = key(
        "Define CCCL's namespaces without the arch list, which thrust, CUB and torch put into every unit.",
        default=False,
    )
    targets: list[str] | None = key("Bake targets that use it; all if absent.", default=None)

    def broken_rule(self) -> str:
        """What is wrong with the combination of keys."""
        if self.tool == "ccache" and self.backend != "mount":
            return f"ccache works with backend: mount alone, found {self.backend}"
        if not _SIZE.fullmatch(self.size):
            return f"size is invalid: expected a number with K, M, G or T, as in 20G, found {self.size}"
        needs = {"s3": "bucket", "redis": "endpoint", "webdav": "endpoint"}.get(self.backend, "")
        if needs and not getattr(self, needs):
            return f"{needs} is missing: backend {self.backend} needs it"
        for name, backends in _OF_BACKENDS.items():
            if getattr(self, name) and self.backend not in backends:
                return f"{name} goes with backend {' or '.join(backends)}, not with {self.backend}"
        if "@" in self.endpoint.partition("://")[2].partition("/")[0]:
            return "endpoint holds credentials: they belong into the environment (docs/compile-cache.md)"
        return ""


_SIZE = re.compile(r"[1-9]\d{0,5}[KMGT]")
_OF_BACKENDS = {"bucket": ("s3",), "region": ("s3",), "endpoint": ("s3", "redis", "webdav")}
