"""On which platforms the RUN steps of a target run."""

from __future__ import annotations

import pytest

from orchestrator.dockerfile.platforms import run_platforms

ARM = frozenset({"linux/arm64"})
NONE: frozenset[str] = frozenset()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FROM a\nRUN x\n", ARM),
        ("FROM a\nCOPY x /\n", NONE),
        ("FROM scratch\nADD x.tar /\nRUN x\n", ARM),
        ("FROM --platform=$BUILDPLATFORM a AS b\nRUN x\nFROM scratch\nCOPY --from=b / /\n", NONE),
        ("FROM --platform=$BUILDPLATFORM a AS b\nRUN x\nFROM a\nRUN y\nCOPY --from=b / /\n", ARM),
        ("FROM --platform=$BUILDPLATFORM a AS b\nFROM b AS c\nRUN x\n", NONE),  # a stage keeps its base's platform
        ("FROM --platform=linux/$BUILDARCH a\nRUN x\n", NONE),
        ("FROM --platform=$TARGETPLATFORM a\nRUN x\n", ARM),
        ("ARG P=$BUILDPLATFORM\nFROM --platform=$P a\nRUN x\n", NONE),
        ("FROM --platform=linux/riscv64 a AS r\nRUN x\nFROM a\nCOPY --from=r / /\n", frozenset({"linux/riscv64"})),
        ("FROM a AS nobody\nRUN x\nFROM scratch\nCOPY x /\n", NONE),
        ("FROM a AS b\nRUN x\nFROM scratch\nRUN --mount=from=b true\n", ARM),
        ("FROM a AS b-arm64\nRUN x\nFROM b-${TARGETARCH}\n", ARM),
        ("", NONE),
    ],
)
def test_known(text: str, expected: frozenset[str]) -> None:
    assert run_platforms(text, "linux/arm64") == expected


def test_target_contexts_and_arguments_decide() -> None:
    text = "ARG P=linux/arm64\nFROM --platform=$P a AS b\nRUN x\nFROM b AS c\n"
    assert run_platforms(text, "linux/arm64", args={"P": "linux/s390x"}) == {"linux/s390x"}
    assert run_platforms(text, "linux/arm64", contexts=["B"]) == NONE
    assert run_platforms(text + "FROM a\nCOPY x /\n", "linux/arm64", target="c") == ARM
    assert run_platforms(text + "FROM a\nCOPY x /\n", "linux/arm64") == NONE
