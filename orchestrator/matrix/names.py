"""Which names matrix.yaml may give: targets, releases, platforms, axes, build arguments, repositories."""

from __future__ import annotations

import re

from orchestrator.errors import did_you_mean
from orchestrator.reference import InvalidReferenceError, repository

TARGET = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")  # bake target names: [a-zA-Z0-9_-]+, and no option in disguise
KEY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
RELEASE = re.compile(r"[1-9][0-9]*\.[0-9]+", re.ASCII)
VERSION = re.compile(r"[1-9][0-9]*\.[0-9]+\.[0-9]+", re.ASCII)
AXIS = re.compile(r"[a-z][a-z0-9_]*")
BUILDER = re.compile(r"[a-z0-9][a-z0-9_.-]*")  # buildx writes its names in small letters
ARGUMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

# The names of Go's GOOS and GOARCH, which the OCI image specification uses, with the variants that it lists.
_SYSTEMS = frozenset({"linux", "windows", "darwin", "freebsd", "netbsd", "openbsd", "wasip1"})
_VARIANTS = {
    "386": "",
    "amd64": "v1 v2 v3 v4",
    "arm": "v5 v6 v7 v8",
    "arm64": "v8 v9",
    "loong64": "",
    "mips64": "",
    "mips64le": "",
    "ppc64": "",
    "ppc64le": "power8 power9 power10",
    "riscv64": "rva20u64 rva22u64 rva23u64",
    "s390x": "",
    "wasm": "",
}
_OTHER_NAMES = {
    "x86_64": "amd64", "x86-64": "amd64", "x64": "amd64", "i386": "386", "i686": "386", "x86": "386",
    "aarch64": "arm64", "armv8": "arm64", "armhf": "arm/v7", "armv7": "arm/v7", "armv7l": "arm/v7", "armel": "arm/v6",
    "armv6l": "arm/v6", "powerpc64le": "ppc64le", "loongarch64": "loong64",
}  # fmt: skip


def is_repository(text: str) -> bool:
    """Whether a text names an image repository, without a tag."""
    try:
        repository(text)
    except InvalidReferenceError:
        return False
    return True


def is_platform(text: str) -> bool:
    """Whether a text is a platform as the OCI image specification names it: linux/arm64, linux/arm/v7."""
    system, _, rest = text.partition("/")
    architecture, slash, variant = rest.partition("/")
    known = _VARIANTS.get(architecture)
    return system in _SYSTEMS and known is not None and (not slash or variant in known.split())


def platform_meant(text: str) -> str:
    """The platform that a text may mean (linux/aarch64, amd64, linux/amd), as a hint; "" where none is near."""
    system, slash, rest = text.lower().partition("/")
    if not slash:
        system, rest = "linux", system
    architecture = rest.partition("/")[0]
    system = system if system in _SYSTEMS else "linux"
    for name in (_OTHER_NAMES.get(rest), _OTHER_NAMES.get(architecture), architecture):
        if name is not None and is_platform(f"{system}/{name}"):
            return f"did you mean {system}/{name}?"
    return did_you_mean(f"{system}/{rest}", [f"{system}/{name}" for name in _VARIANTS])


def is_argument(text: str) -> bool:
    """Whether a text can name a build argument."""
    return bool(ARGUMENT.fullmatch(text))
