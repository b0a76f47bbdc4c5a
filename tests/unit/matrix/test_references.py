"""Every reference of every variant is valid, releases are what they say, and what brings changes in is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import MatrixError
from orchestrator.matrix import expand
from orchestrator.matrix.names import is_platform, platform_meant
from orchestrator.matrix.variants import MAX_ID, variant_id
from orchestrator.reference import Tag, parse, short_tag, tag_slug
from tests.unit.matrix.support import SMALL, changed, fact, planned, problems
from tests.unit.matrix.support import parse as read

LONG = "m" * 150


@given(st.text(max_size=300))
def test_a_branch_is_always_a_valid_part_of_a_tag(branch: str) -> None:
    slug = tag_slug(branch)
    assert str(Tag(slug)) == slug
    assert 0 < len(slug) <= 63


@pytest.mark.parametrize(
    ("branch", "slug"),
    [
        ("main", "main"),
        ("feature/UPPER_x.1", "feature-UPPER_x.1"),
        ("..-a", "a"),
        ("-", "3973e022e932"),
        ("a+b", "a-b"),
    ],
)
def test_slugs(branch: str, slug: str) -> None:
    assert tag_slug(branch) == slug


def test_long_texts_that_differ_at_their_end_stay_different() -> None:
    first, second = short_tag("x" * 200 + "1"), short_tag("x" * 200 + "2")
    assert len(first) == len(second) == 128
    assert first != second
    assert short_tag("x" * 128) == "x" * 128


def test_an_id_is_short_enough_for_the_name_of_a_file() -> None:
    first, second = (variant_id("app", "13.0", "linux/amd64", {"model": "m" * 300 + end}) for end in "12")
    assert len(first) == len(second) == MAX_ID
    assert first != second


def model(name: str, rest: str) -> str:
    return (
        SMALL.replace("variants:\n", f"axes: {{model: {{{name}: {{}}}}}}\nvariants:\n").replace(
            "{variant.id}", "{model}" if len(name) < 99 else "x"
        )
        + rest
    )


@pytest.mark.parametrize(
    "rest", ["", "cache: {backend: registry}\n", "cache: {backend: registry, ref: 'a/{model}:b'}\n"]
)
def test_a_cache_reference_that_no_registry_takes_is_refused(rest: str) -> None:
    (problem,) = problems(model(LONG if "ref" not in rest else "Capitals", rest))
    assert "cache reference " in problem
    assert " is invalid" in problem
    assert ("{variant.tag}" in problem) == ("ref" not in rest)


@pytest.mark.parametrize(
    "rest",
    [
        "cache: {backend: registry, ref: '{image}-cache:{variant.tag}'}\n", "cache: {backend: local}\n",
        "cache: {backend: gha, ref: 'any text at all'}\n", 'cache: {backend: "off"}\n',
        "cache: {backend: local, read: ['Any Text']}\n",
    ],
)  # fmt: skip
def test_what_no_registry_is_asked_for_may_be_any_text(rest: str) -> None:
    assert problems(model(LONG, rest)) == []


@pytest.mark.parametrize("backend", ["registry", "inline"])
def test_references_that_are_read_are_checked_with_their_place(backend: str) -> None:
    text = f"{SMALL}cache:\n  backend: {backend}\n  read: [acme/app:ok, 'acme/App:{{target}}']\n"
    (problem,) = problems(text)
    assert problem.startswith("matrix.yaml:14:23: cache reference acme/App:app: image 'acme/App' is invalid")
    assert problem.endswith("did you mean acme/app?")


def test_images_of_named_contexts_are_checked() -> None:
    text = SMALL + "  contexts: {base: 'docker-image://acme/X:{target}', other: ../docker-image, url: 'https://X/Y'}\n"
    (problem,) = problems(text)
    assert "named context acme/X:app" in problem


@pytest.mark.parametrize("branch", ["feature/" + "long" * 40, "ümlaut/日本", "-x", "a" * 250])
def test_a_branch_in_a_tag_gives_a_valid_one(branch: str) -> None:
    text = changed("{variant.id}", "{git.branch}-{variant.id}", SMALL)
    plan = expand.plan(read(text), fact=lambda name: tag_slug(branch) if name == "git.branch" else fact(name))
    assert parse(plan.variants[0].tags[0].text).tag is not None


# -- releases and platforms --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cuda", "message"),
    [
        (
            '"13.0": {version: 12.9.1}',
            "CUDA release 13.0 and its version do not agree, expected 13.0.PATCH, found 12.9.1",
        ),
        ('"13.0": {version: 13.0}', "cuda.13.0.version is invalid, expected a full version, as in 13.0.2, found 13.0"),
        ('"13.0": {version: 13.0.2-devel}', "cuda.13.0.version is invalid"),
        ('"13": {version: 13.0.2}', "'13' is not a valid CUDA release (MAJOR.MINOR, as in \"13.0\")"),
        ('"13.0.2": {version: 13.0.2}', "'13.0.2' is not a valid CUDA release"),
        ("cu130: {version: 13.0.2}", "'cu130' is not a valid CUDA release"),
    ],
)
def test_a_release_is_what_it_says(cuda: str, message: str) -> None:
    found = problems(changed('"13.0": {version: 13.0.2}', cuda, SMALL))
    assert any(message in problem for problem in found), found
    assert all(problem.startswith("matrix.yaml:6:") for problem in found)


@pytest.mark.parametrize("archs", ["8.0 11.0", "11.0"])
def test_a_release_that_contradicts_its_version_says_nothing_of_architectures(archs: str) -> None:
    """13.0 as 12.9.1 was told to compile no 11.0, as that "needs CUDA 13.0"."""
    text = changed('"13.0": {version: 13.0.2}', '"13.0": {version: 12.9.1}', SMALL)
    (told,) = problems(changed("8.0 9.0", archs, text))
    assert "CUDA release 13.0 and its version do not agree" in told


def test_an_unquoted_release_is_text() -> None:
    assert planned(changed('"13.0":', "13.0:", SMALL)).variants[0].cuda == "13.0"


@pytest.mark.parametrize(
    "name", ["linux/amd64", "linux/arm64", "linux/arm64/v8", "linux/arm/v7", "linux/amd64/v3", "linux/riscv64"]
)
def test_platforms_of_oci(name: str) -> None:
    assert is_platform(name)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("linux/x86_64", "linux/amd64"), ("linux/aarch64", "linux/arm64"), ("amd64", "linux/amd64"),
        ("linux-amd64", "linux/amd64"), ("Linux/AMD64", "linux/amd64"), ("linux/armv7l", "linux/arm/v7"),
        ("windows/amd64", "linux/amd64"), ("darwin/arm64", "linux/arm64"), ("linux/arm64/v9", "linux/arm64"),
        ("linux/arm64/v8.2", "linux/arm64"), (" linux/amd64", "linux/amd64"), ("linux/amd64/v9", "linux/amd64"),
        ("linux/arm64/", "linux/arm64"), ("linus/arm64", "linux/arm64"),
    ],
)  # fmt: skip
def test_a_platform_that_oci_does_not_know_has_a_suggestion(name: str, meant: str) -> None:
    assert not is_platform(name)
    assert platform_meant(name) == f"did you mean {meant}?"


# -- null ------------------------------------------------------------------------------------------------------------


def test_a_null_that_removes_nothing_is_an_error() -> None:
    text = SMALL + "  args: {NAME: a}\noverrides:\n- when: {target: app}\n  args: {NAM: null, NAME: null}\n"
    (problem,) = problems(text)
    assert problem == (
        "matrix.yaml:15:10: null removes nothing: no lower layer sets the argument NAM; did you mean NAME?"
    )
    (problem,) = problems(SMALL + "  args: {X: null}\n")
    assert "null removes nothing: no lower layer sets the argument X" in problem


def test_a_null_need_not_remove_from_every_variant() -> None:
    text = changed("targets: [app]", "targets: [app, other]", SMALL) + (
        "overrides:\n- when: {target: app}\n  args: {A: a}\n- when: {target: [app, other]}\n  args: {A: null}\n"
    )
    assert problems(text) == []


# -- changes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tag", "dirty", "told"),
    [
        ("{git.sha}", "-dirty", True), ("{git.sha}", "", False), ("{git.short}{git.dirty}", "-dirty", False),
        ("{git.tag}", "-dirty", True), ("{git.branch}", "-dirty", False), ("x", "-dirty", False),
    ],
)  # fmt: skip
def test_a_commit_in_a_tag_while_files_were_changed_is_told(tag: str, dirty: str, told: bool) -> None:
    asked: list[str] = []

    def says(name: str) -> str:
        asked.append(name)
        return dirty if name == "git.dirty" else fact(name)

    plan = expand.plan(read(changed("{variant.id}", tag, SMALL)), fact=says)
    assert bool(plan.notes) == told
    assert ("git.dirty" in asked) == (tag not in ("{git.branch}", "x"))


def test_git_that_knows_nothing_is_an_error_with_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    from orchestrator.matrix.git import Checkout

    monkeypatch.setenv("ORCHESTRATE_GIT_SHA", "abc")
    monkeypatch.setenv("ORCHESTRATE_GIT_BRANCH", "a/b")
    checkout = Checkout(Path("/nonexistent"))
    assert [checkout.fact(f"git.{name}") for name in ("sha", "short", "branch", "dirty")] == ["abc", "abc", "a-b", ""]
    monkeypatch.setenv("ORCHESTRATE_GIT_DIRTY", "1")
    assert checkout.fact("git.dirty") == "-dirty"
    with pytest.raises(MatrixError):
        planned(changed("{variant.id}", "{git.nope}", SMALL))
