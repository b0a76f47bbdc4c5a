"""Which names matrix.yaml may give: targets, releases, platforms, axes, build arguments, repositories."""

from __future__ import annotations

import re

from orchestrator.errors import did_you_mean
from orchestrator.reference import InvalidReferenceError, repository

TARGET = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")  # bake target names: [a-zA-Z0-9_-]+, and no option in disguise
KEY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_NUMBER = "(?:0|[1-9][0-9]{0,3})"
RELEASE = re.compile(rf"[1-9][0-9]{{0,3}}\.{_NUMBER}", re.ASCII)
VERSION = re.compile(rf"[1-9][0-9]{{0,3}}\.{_NUMBER}\.{_NUMBER}", re.ASCII)
AXIS = re.compile(r"[a-z][a-z0-9_]*")
BUILDER = re.compile(r"[a-z0-9][a-z0-9_.-]*")  # buildx writes its names in lowercase letters
ARGUMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

# The names of Go's GOARCH, which the OCI image specification uses, with the variants that it lists: arm64 has v8
# alone. Of its systems, CUDA runs in containers of Linux alone.
_SYSTEM = "linux"
_VARIANTS = {
    "386": "",
    "amd64": "v1 v2 v3 v4",
    "arm": "v5 v6 v7 v8",
    "arm64": "v8",
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


def agrees(release: str, version: str) -> bool:
    """Whether a version is one of a CUDA release: 13.0.2 of 13.0."""
    return version.rpartition(".")[0] == release


def is_platform(text: str) -> bool:
    """Whether a text is a platform of Linux as the OCI image specification names it: linux/arm64, linux/arm/v7."""
    system, _, rest = text.partition("/")
    architecture, slash, variant = rest.partition("/")
    known = _VARIANTS.get(architecture)
    return system == _SYSTEM and known is not None and (not slash or variant in known.split())


def canonical_platform(text: str) -> str:
    """The shortest name of a platform: docker takes linux/arm64/v8 for linux/arm64, and linux/arm for linux/arm/v7."""
    base, _, variant = text.rpartition("/")
    usual = {"linux/arm64": "v8", "linux/amd64": "v1", "linux/arm": "v7"}
    return base if variant and usual.get(base) == variant else text


def platform_named(text: str) -> str:
    """The platform that another name of it means (linux/aarch64, x86_64); "" for none, or one that is not of Linux."""
    system, slash, rest = text.strip().lower().partition("/")
    if slash and system != _SYSTEM:
        return ""
    rest = rest if slash else system
    architecture = rest.partition("/")[0]
    named = (rest, _OTHER_NAMES.get(rest), _OTHER_NAMES.get(architecture), architecture)
    return next((f"{_SYSTEM}/{name}" for name in named if name is not None and is_platform(f"{_SYSTEM}/{name}")), "")


def platform_meant(text: str) -> str:
    """The platform that a text may mean (linux/aarch64, amd64, linux/amd), as a hint; "" where none is near."""
    first, slash, rest = text.strip().lower().partition("/")
    rest = rest if slash else first
    if known := platform_named(f"{_SYSTEM}/{rest}"):
        return f"did you mean {known}?"
    return did_you_mean(f"{_SYSTEM}/{rest}", [f"{_SYSTEM}/{name}" for name in _VARIANTS])


def is_argument(text: str) -> bool:
    """Whether a text can name a build argument."""
    return bool(ARGUMENT.fullmatch(text))
