from __future__ import annotations

import pytest

from orchestrator.dockerfile.predefined import predefined


@pytest.mark.parametrize(
    "name", ["HTTP_PROXY", "https_proxy", "ALL_PROXY", "no_proxy", "FTP_PROXY", "SOURCE_DATE_EPOCH", "BUILDKIT_SYNTAX"]
)
def test_what_buildkit_takes_by_itself(name: str) -> None:
    assert predefined(name)


@pytest.mark.parametrize("name", ["Http_Proxy", "PROXY", "DOCKER_BUILDKIT", "CUDA_VERSION", "buildkit_syntax", ""])
def test_what_it_does_not(name: str) -> None:
    assert not predefined(name)
