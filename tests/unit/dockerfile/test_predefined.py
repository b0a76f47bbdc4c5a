from __future__ import annotations

import pytest

from orchestrator.dockerfile.predefined import GLOBAL_ARGS, platform_args, predefined


@pytest.mark.parametrize(
    "name", ["HTTP_PROXY", "https_proxy", "ALL_PROXY", "no_proxy", "FTP_PROXY", "SOURCE_DATE_EPOCH", "BUILDKIT_SYNTAX"]
)
def test_what_buildkit_takes_by_itself(name: str) -> None:
    assert predefined(name)


@pytest.mark.parametrize("name", ["Http_Proxy", "PROXY", "DOCKER_BUILDKIT", "CUDA_VERSION", "buildkit_syntax", ""])
def test_what_it_does_not(name: str) -> None:
    assert not predefined(name)


@pytest.mark.parametrize(
    ("platform", "args"),
    [
        ("linux/arm/v7", ["linux/arm/v7", "linux", "arm", "v7"]),
        ("linux/amd64", ["linux/amd64", "linux", "amd64", ""]),
        ("", []),
    ],
)
def test_a_platform_in_parts(platform: str, args: list[str]) -> None:
    names = ["TARGETPLATFORM", "TARGETOS", "TARGETARCH", "TARGETVARIANT"]
    assert platform_args(platform) == dict(zip(names, args, strict=False))
    builds = [f"BUILD{name.removeprefix('TARGET')}" for name in names]
    assert {*names, *builds} == GLOBAL_ARGS
