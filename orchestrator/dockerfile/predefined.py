"""BuildKit's predefined arguments: consumed whether or not a Dockerfile declares them.

docs.docker.com/reference/dockerfile, "Predefined ARGs" and "BuildKit built-in build args".
"""

from __future__ import annotations

_PROXIES = frozenset(f"{name}_proxy" for name in ("http", "https", "ftp", "no", "all"))


def predefined(name: str) -> bool:
    """Whether BuildKit takes a build argument by itself: a proxy in small or capital letters, or one of its own."""
    proxy = name in _PROXIES or (name.isupper() and name.lower() in _PROXIES)
    return proxy or name == "SOURCE_DATE_EPOCH" or name.startswith("BUILDKIT_")
