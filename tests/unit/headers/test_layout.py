"""Each version has one layout, and an unknown one is never guessed."""

from __future__ import annotations

import pytest

from orchestrator.errors import UsageError
from orchestrator.headers import layout


@pytest.mark.parametrize(
    ("version", "name"),
    [
        ("0.6.0", "L0"), ("0.6.4", "L0"), ("0.6.5", "L1"), ("0.6.6", "L1"), ("0.6.7", "L1"), ("0.6.7.post1", "L2"),
        ("0.6.7.post3", "L2"), ("0.6.8.post1", "L2"), ("0.6.13", "L2"), ("0.6.15.post1", "L2"), ("0.6.16", "L3"),
        ("0.6.16rc2", "L3"), ("0.6.17", "L3"), ("0.6.18.post1", "L3"), ("0.7.0", "L4"), ("0.7.0.post1", "L4"),
        ("0.7.2", "L4"), ("0.7.2.post1", "L4"), ("v0.7.1", "L4"), ("0.6.13+cu130", "L2"),
    ],
)  # fmt: skip
def test_generation_of_a_version(version: str, name: str) -> None:
    assert layout.of(version).name == name


@pytest.mark.parametrize(
    ("version", "says"),
    [
        ("0.7.2.post2", "newer than 0.7.2.post1"),
        ("0.7.3", "check in that version: jit/env.py"),
        ("1.0.0", "--layout"),
        ("0.5.9", "older than 0.6.0"),
        ("latest", "not a FlashInfer version"),
        ("", "not a FlashInfer version"),
        ("0.6", "not a FlashInfer version"),
    ],
)
def test_an_unknown_version_is_an_error_that_helps(version: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        layout.of(version)
    assert says in str(caught.value)


def test_a_generation_can_be_named() -> None:
    assert layout.named("l3") is layout.L3
    with pytest.raises(UsageError, match="unknown layout 'L9'"):
        layout.named("L9")


def test_l1_lays_the_batched_gemm_headers_flat_as_well() -> None:
    keys = ["p/include/trtllmGen_bmm_export/trtllm/gen/A.h", "p/include/flashinferMetaInfo.h", "q/include/B.h"]
    placed = layout.placed(layout.L1, keys, bmm="p")
    assert placed == {
        "flashinfer/trtllm/batched_gemm/trtllmGen_bmm_export/trtllm/gen/A.h": keys[0],
        **{key: key for key in keys},
    }
    assert list(placed) == sorted(placed)
    for other in (layout.L0, layout.L2, layout.L3, layout.L4):
        assert layout.placed(other, keys, bmm="p") == {key: key for key in sorted(keys)}


@pytest.mark.parametrize(
    ("version", "name"), [("0.6.13.dev20260601", "L2"), ("0.6.4.dev1", "L0"), ("0.7.2.dev20261001+gabc", "L4")]
)
def test_a_nightly_between_two_releases_of_one_generation_has_it(version: str, name: str) -> None:
    assert layout.of(version).name == name


@pytest.mark.parametrize(
    ("version", "either"),
    [("0.6.16.dev20260701", "L2 or L3"), ("0.7.0.dev1", "L3 or L4"), ("0.6.5.dev1", "L0 or L1"),
     ("0.6.8.dev1", "L1 or L2")],
)  # fmt: skip
def test_a_nightly_cut_while_a_generation_changed_has_none(version: str, either: str) -> None:
    with pytest.raises(UsageError, match=either) as caught:
        layout.of(version)
    assert "--layout" in caught.value.hint
