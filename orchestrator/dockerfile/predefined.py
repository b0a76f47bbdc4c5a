"""Build arguments that BuildKit knows without an ARG instruction.

Source: docs.docker.com/reference/dockerfile, "Predefined ARGs", "Automatic platform ARGs in the global scope" and
"BuildKit built-in build args".
"""

from __future__ import annotations

_PROXIES = frozenset(f"{name}_proxy" for name in ("http", "https", "ftp", "no", "all"))
_RESERVED = "BUILDKIT_"  # a prefix and not a list: newer frontends add names

_PARTS = ("PLATFORM", "OS", "ARCH", "VARIANT")
GLOBAL_ARGS = frozenset(f"{side}{part}" for side in ("TARGET", "BUILD") for part in _PARTS)
"""Declared in the global scope: a FROM can use them, a stage sees them only after an ARG of its own."""


def predefined(name: str) -> bool:
    """Whether BuildKit takes a build argument by itself: a proxy in small or capital letters, or one of its own."""
    proxy = name in _PROXIES or (name.isupper() and name.lower() in _PROXIES)
    return proxy or name == "SOURCE_DATE_EPOCH" or name.startswith(_RESERVED)


def platform_args(platform: str) -> dict[str, str]:
    """The TARGET… arguments of the global scope for a platform.

    Args:
        platform: `linux/arm64` or `linux/arm/v7`; "" gives none.
    """
    if not platform:
        return {}
    os, _, rest = platform.partition("/")
    arch, _, variant = rest.partition("/")
    return {"TARGETPLATFORM": platform, "TARGETOS": os, "TARGETARCH": arch, "TARGETVARIANT": variant}
