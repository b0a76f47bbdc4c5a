from __future__ import annotations

import pytest

from orchestrator.dockerfile.images import images

DOCKERFILE = """\
ARG V=13.0.2
ARG BASE=nvidia/cuda:12.6.3-runtime
FROM --platform=$BUILDPLATFORM nvidia/cuda:12.4.1-devel-ubuntu22.04 AS build
FROM nvidia/cuda:${V}-base
FROM $BASE as run
FROM build
FROM localhost:5000/x
FROM debian:12@sha256:abc AS pinned
FROM scratch
"""


def test_every_image_with_its_stage_and_tag() -> None:
    found = {one.stage: (one.repository, one.tag and (one.tag.value, bool(one.tag.via))) for one in images(DOCKERFILE)}
    assert found == {
        "build": ("nvidia/cuda", ("12.4.1-devel-ubuntu22.04", False)),
        "1": ("nvidia/cuda", ("13.0.2-base", True)),
        "run": ("nvidia/cuda", ("12.6.3-runtime", True)),
        "4": ("localhost:5000/x", None),
        "pinned": ("debian", ("12", False)),
        "6": ("scratch", None),
    }


@pytest.mark.parametrize("stage", ["build", "pinned"])
def test_the_span_is_the_tag(stage: str) -> None:
    (tag,) = [one.tag for one in images(DOCKERFILE) if one.stage == stage]
    assert tag is not None
    assert DOCKERFILE[tag.start : tag.end] == tag.value
