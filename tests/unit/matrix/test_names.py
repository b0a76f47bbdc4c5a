"""Platforms and versions: what is one, what another name of one means, and the hint for what is none."""

from __future__ import annotations

import pytest

from orchestrator.matrix import names

PLATFORMS = (
    "386 amd64 amd64/v1 amd64/v2 amd64/v3 amd64/v4 arm arm/v5 arm/v6 arm/v7 arm/v8 arm64 arm64/v8 loong64 mips64 "
    "mips64le ppc64 ppc64le ppc64le/power8 ppc64le/power9 ppc64le/power10 riscv64 riscv64/rva20u64 riscv64/rva22u64 "
    "riscv64/rva23u64 s390x wasm"
)
MEANT = {
    "x86_64": "amd64", "X86-64": "amd64", "x64": "amd64", "i386": "386", "i686": "386", "x86": "386",
    "aarch64": "arm64", "armv8": "arm64", "armhf": "arm/v7", "armv7": "arm/v7", "armv7l": "arm/v7", "armel": "arm/v6",
    "armv6l": "arm/v6", "powerpc64le": "ppc64le", "loongarch64": "loong64", " amd64 ": "amd64", "arm64/v8": "arm64/v8",
    "aarch64/v8": "arm64", "arm64/v9": "arm64", "amd64/v2": "amd64/v2",
}  # fmt: skip


@pytest.mark.parametrize("name", PLATFORMS.split())
def test_each_platform(name: str) -> None:
    assert names.is_platform(f"linux/{name}")
    assert names.platform_named(f"Linux/{name}") == f"linux/{name}"
    assert names.platform_named(name) == ("" if "/" in name else f"linux/{name}")  # what stands first is a system
    assert not names.is_platform(name)
    assert not names.is_platform(f"windows/{name}")
    assert not names.is_platform(f"linux/{name}/")
    assert names.platform_named(f"windows/{name}") == ""


@pytest.mark.parametrize(("text", "meant"), MEANT.items())
def test_other_names(text: str, meant: str) -> None:
    assert "/" in text or names.platform_named(text) == f"linux/{meant}"
    assert names.platform_named(f"linux/{text.strip()}") == f"linux/{meant}"
    assert "/" in text or names.platform_meant(text) == f"did you mean linux/{meant}?"
    assert names.platform_meant(f"darwin/{text.strip()}") == f"did you mean linux/{meant}?"


def test_what_is_no_name_of_a_platform() -> None:
    for text in ("", "linux", "linux/", "sparc", "linux/amd65", "/amd64"):
        assert names.platform_named(text) == ""
    assert names.platform_meant("linux/amd") == "did you mean linux/amd64?"


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("linux/arm64/v8", "linux/arm64"), ("linux/amd64/v1", "linux/amd64"), ("linux/arm/v7", "linux/arm"),
        ("linux/arm/v6", "linux/arm/v6"), ("linux/amd64/v2", "linux/amd64/v2"), ("linux/arm64", "linux/arm64"),
        ("linux/riscv64", "linux/riscv64"), ("arm64", "arm64"),
    ],
)  # fmt: skip
def test_the_shortest_name_of_a_platform(text: str, short: str) -> None:
    assert names.canonical_platform(text) == short


def test_versions_of_a_release() -> None:
    assert names.agrees("13.0", "13.0.2")
    assert not any(names.agrees("13.0", version) for version in ("13.1.0", "13.0", "13", "13.0.2.1", "113.0.2"))
    assert names.is_repository("ghcr.io/acme/app")
    assert not names.is_repository("ghcr.io/acme/app:v1")
