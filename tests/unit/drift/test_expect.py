from __future__ import annotations

import pytest

from orchestrator.drift.expect import ClaimError, Expectations, Expected, parse_archs, release_range
from orchestrator.matrix.expand import plan
from tests.unit.drift.matrices import matrix


def expected(claim: str) -> Expected:
    loaded = matrix(f"  - {{file: f, variable: X, {claim}}}\n")
    variants = plan(loaded, fact=lambda _: "0" * 12).variants
    return Expectations(loaded, lambda: variants).of(loaded.spec.claims[0])


@pytest.mark.parametrize(
    ("claim", "text"),
    [
        ('says: "{arch_lists.release}"', "8.0 8.6 9.0 10.0 11.0 12.0+PTX"),
        ('says: "{arch_lists.release}", cuda: "12.9"', "8.0 8.6 9.0 10.0 12.0+PTX"),
        ('says: "{arch_lists.release}", cuda: ">=12.6,<13.0"', "8.0 8.6 9.0"),  # 12.6 compiles no Blackwell
        ('says: "{arch_lists.release}", dialect: flashinfer', "8.0 8.6 9.0 10.0 11.0 12.0"),
        ('says: "{arch_lists.release}", dialect: cmake', "80-real;86-real;90-real;100-real;110-real;120"),
        ('says: "{arch_lists.flashinfer}", dialect: flashinfer, cuda: "13.0"', "8.0 9.0a 10.0f 11.0 12.0f"),
        ('says: "{archs.torch}", when: {cuda: "12.9", platform: linux/arm64}', "8.0 8.6 9.0 10.0 12.0+PTX"),
        ('says: "{archs.torch}", when: {platform: linux/amd64}', "8.0 8.6 9.0 10.0 12.0"),
        ('says: "{archs.cmake}", when: {platform: linux/amd64}', "80-real;86-real;90-real;100-real;120-real"),
        ('says: "{cuda[13.0].version}"', "13.0.2"),
        ('says: "{cuda[12.9]} {cuda[12.9].major}.{cuda[12.9].minor}, cu{cuda[12.9].short}{cuda[12.9].tag_suffix}"',
         "12.9 12.9, cu129-cu129"),
        ('says: "nvidia/cuda:{cuda[13.0].version}-devel"', "nvidia/cuda:13.0.2-devel"),
        ('says: "{args.max_jobs}", when: {target: app-big}', "64"),
        ('says: "{args.PYTHON_VERSION}", when: {python: "3.13"}', "3.13"),
        ('says: "{python}", when: {python: "3.13"}', "3.13"),
        ('says: "{platform.machine}", when: {platform: linux/arm64}', "aarch64"),
        ('says: "{image}:latest"', "ghcr.io/acme/app:latest"),
        ('says: "24.04"', "24.04"),
        ('says: "${BASE}-{cuda[13.0]}"', "${BASE}-13.0"),
        ('says: "list={arch_lists.x86};"', "list=8.0 8.6 9.0 10.0 12.0;"),
    ],
)  # fmt: skip
def test_what_a_claim_says(claim: str, text: str) -> None:
    assert expected(claim).text == text


@pytest.mark.parametrize(
    ("claim", "key", "words"),
    [
        ('says: "{arch_lists.releese}"', "says", "did you mean release?"),
        ('says: "{cuda[13.1].version}"', "says", "did you mean 13.0?"),
        ('says: "{cuda[13.0].verson}"', "says", "did you mean version?"),
        ('says: "{args.max_jobz}"', "says", "did you mean max_jobs?"),
        ('says: "{args.max_jobs}"', "says", "differs between the variants"),
        ('says: "{archs.torch}"', "says", "differs between the variants"),
        ('says: "{archs.nvcc}"', "says", "unknown placeholder {archs.nvcc}"),
        ('says: "{nonsense}"', "says", "unknown placeholder {nonsense}"),
        ('says: "{headers.version}"', "says", "the matrix has no headers.version"),
        ('says: "{arch_lists.flashinfer}"', "says", "dialect: flashinfer"),
        ('says: "{arch_lists.release}", cuda: "10.2"', "cuda", "known releases"),
        ('says: "{arch_lists.release}", cuda: ">=20.0"', "cuda", "no known CUDA release"),
        ('says: "{arch_lists.release}", cuda: "newest"', "cuda", "write 13.0"),
        ('says: "24.04", cuda: "13.0"', "cuda", "goes with"),
        ('says: "24.04", dialect: torch', "dialect", "goes with"),
    ],
)
def test_claims_that_ask_for_what_is_not_there(claim: str, key: str, words: str) -> None:
    with pytest.raises(ClaimError) as caught:
        expected(claim)
    assert caught.value.key == key
    assert words in f"{caught.value}; {caught.value.hint}"


def test_lists_agree_as_sets_and_keep_their_separator() -> None:
    listed = expected('says: "{arch_lists.x86}"')
    assert listed.agrees("12.0 8.0;8.6 9.0 10.0")
    assert not listed.agrees("8.0 8.6 9.0 10.0 12.0+PTX")
    assert not listed.agrees("sm_80")
    assert listed.for_place("8.0;9.0") == "8.0;8.6;9.0;10.0;12.0"
    assert listed.for_place("8.0 9.0") == "8.0 8.6 9.0 10.0 12.0"


def test_a_star_means_the_release_that_the_place_names() -> None:
    versions = expected('says: "nvidia/cuda:{cuda[*].version}-devel"')
    assert versions.agrees("nvidia/cuda:12.9.1-devel")
    assert versions.for_place("nvidia/cuda:13.0.1-devel") == "nvidia/cuda:13.0.2-devel"
    assert versions.for_place("nvidia/cuda:12.9-devel") == "nvidia/cuda:12.9.1-devel"
    assert versions.for_place("nvidia/cuda:12.8.0-devel") is None


def test_ranges() -> None:
    assert [toolkit.name for toolkit in release_range(">=12.8,<13.0")] == ["12.8", "12.9"]
    assert [toolkit.name for toolkit in release_range("13.0.2")] == ["13.0"]


@pytest.mark.parametrize(
    "text", ["8.0  9.0", " 8.0 9.0", "8.0 9.0 ", "8.0\t9.0", "8.0;;9.0", "8.0 9.0;", "8.0 9.0f", "8.0\n9.0"]
)
def test_the_torch_dialect_refuses_what_torch_refuses(text: str) -> None:
    with pytest.raises(ValueError, match=r"torch"):
        parse_archs(text, "torch")


@pytest.mark.parametrize("text", ["8.0 9.0", "8.0;9.0", "8.0;9.0a 12.0+PTX", "8.0"])
def test_the_torch_dialect_takes_what_torch_takes(text: str) -> None:
    assert parse_archs(text, "torch")


@pytest.mark.parametrize(
    ("says", "text"),
    [
        ("{cuda}", "12.9"), ("{cuda.version}", "12.9.1"), ("{platform}", "linux/arm64"), ("{target}", "app-big"),
        ("{platform.machine}", "aarch64"), ("{python}", "3.12"), ("{args.CUDA_VERSION}", "12.9.1"),
    ],
)  # fmt: skip
def test_what_a_variant_says(says: str, text: str) -> None:
    when = '{cuda: "12.9", platform: linux/arm64, target: app-big, python: "3.12"}'
    assert expected(f'says: "{says}", when: {when}').text == text


@pytest.mark.parametrize(
    ("claim", "message", "hint"),
    [
        ('says: "{cuda[13.1]}"', "the matrix has no CUDA release 13.1", "did you mean 13.0?"),
        ('says: "{cuda[13.0].verson}"', "cuda[13.0] has no verson", "did you mean version?"),
        ('says: "{args.max_jobz}", when: {target: app}',
         "app-cu130-amd64-python3-12 has no argument max_jobz", "did you mean max_jobs?"),
        ('says: "{headers.version}"', "the matrix has no headers.version", ""),
        ('says: "{nonsens}"', "unknown placeholder {nonsens}", None),
        ('says: "{pyton}"', "unknown placeholder {pyton}", "did you mean python?"),
        ('says: "{python}"',
         ("{python} differs between the variants: '3.12' (app-big-cu129-arm64-python3-12), "
         "'3.13' (app-big-cu129-arm64-python3-13)"),
         "narrow the claim with when, or name one list"),
    ],
)  # fmt: skip
def test_why_a_claim_says_nothing(claim: str, message: str, hint: str | None) -> None:
    with pytest.raises(ClaimError) as error:
        expected(claim)
    assert str(error.value).splitlines()[0] == message
    assert hint is None or error.value.hint == hint
