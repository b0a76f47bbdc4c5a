"""Versions of buildx, in every spelling of those who package it."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.engine.version import COMFORT, FLOOR, Version, parse_version
from orchestrator.errors import EnvironmentLacksError

RECORDED = Path(__file__).parent / "recorded"


def version(major: int, minor: int, patch: int = 0) -> Version:
    return Version(major=major, minor=minor, patch=patch)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("github.com/docker/buildx v0.29.1 a32761aeb3debd39be1eca514af3693af0db334b", version(0, 29, 1)),
        ("github.com/docker/buildx 0.29.1+ds1 0.29.1+ds1-4", version(0, 29, 1)),
        ("github.com/docker/buildx v0.21.1-desktop.2 39c6b6d", version(0, 21, 1)),
        ("github.com/docker/buildx v0.30.0-rc1 1fa9d5e", version(0, 30)),
        ("github.com/docker/buildx 0.13.1+ds1-3 0.13.1+ds1-3", version(0, 13, 1)),
        ("github.com/docker/buildx v1.2.3 x", version(1, 2, 3)),
    ],
)
def test_versions_of_every_spelling(line: str, expected: Version) -> None:
    assert parse_version(line + "\n") == expected


def test_the_recorded_buildx() -> None:
    assert parse_version((RECORDED / "buildx-version.txt").read_text()) == version(0, 29, 1)


@pytest.mark.parametrize("text", ["", "\n", "docker: 'buildx' is not a docker command.", "github.com/docker/buildx"])
def test_no_version_is_an_error_with_a_hint(text: str) -> None:
    with pytest.raises(EnvironmentLacksError) as caught:
        parse_version(text)
    assert "install buildx" in caught.value.hint


def test_versions_compare_by_number_not_by_text() -> None:
    assert version(0, 9) < FLOOR < COMFORT < version(0, 100) < version(1, 0)
