"""Named contexts that a Dockerfile refers to, and those that nothing does."""

from __future__ import annotations

import pytest

from orchestrator.dockerfile.contexts import unused_contexts


@pytest.mark.parametrize(
    ("text", "names", "unused"),
    [
        ("FROM base\n", ["base", "other"], ["other"]),
        ("FROM scratch\nCOPY --from=Files / /\n", ["files"], []),
        ("FROM scratch\nRUN --mount=type=bind,from=files,target=/x true\n", ["files"], []),
        ("FROM alpine\n", ["alpine:latest"], []),
        ("FROM docker.io/library/alpine:latest\n", ["alpine"], []),
        ("FROM alpine:3.20\n", ["alpine"], ["alpine"]),
        ("FROM one AS a\nFROM two AS b\n", ["one"], ["one"]),  # a stage that is not built
        ("FROM x AS fallback\nFROM scratch\nCOPY --from=fallback / /\n", ["fallback"], []),
        ("FROM x AS a\nFROM scratch\nCOPY --from=0 / /\n", ["a"], []),
        ("ARG I=base\nFROM ${I}\n", ["base"], []),
        ("FROM image-$TARGETARCH\n", ["image-amd64"], []),  # no platform: it cannot be told
        ("# syntax=me/frontend\nFROM scratch\n", ["base"], []),
        ("# syntax=docker/dockerfile:1\nFROM scratch\n", ["base"], ["base"]),
        ("FROM scratch AS last\n", ["last"], []),
        ("FROM scratch\n", [], []),
    ],
)
def test_what_nothing_refers_to(text: str, names: list[str], unused: list[str]) -> None:
    assert list(unused_contexts(text, names)) == unused


def test_the_stage_that_is_built_and_the_arguments_count() -> None:
    text = "ARG I=none\nFROM ${I} AS a\nFROM b AS c\n"
    assert unused_contexts(text, ["x", "b"], target="a", args={"I": "x"}) == ("b",)
    assert unused_contexts(text, ["x", "b"], target="c", args={"I": "x"}) == ("x",)
