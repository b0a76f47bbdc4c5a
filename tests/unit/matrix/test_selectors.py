"""`--cuda`, `--platform`, `--target`, `--axis`, `--variant`: what they keep, and what they refuse."""

from __future__ import annotations

import pytest

from orchestrator.errors import UsageError
from orchestrator.matrix.layers import CommandLine
from orchestrator.matrix.selectors import Selector, narrow, parse_axes
from tests.unit.matrix.support import EXAMPLE, planned

PLAN = planned(EXAMPLE)
TARGETS = ("openai", "openai-ubuntu2404")
GONE = "openai-cu129-arm64-python3-12"
HINT = "`orchestrate plan` lists the variants"


def ids(selector: Selector) -> list[str]:
    return [variant.id for variant in narrow(PLAN, selector).variants]


def test_an_empty_selector_keeps_everything() -> None:
    assert Selector().empty
    assert narrow(PLAN, Selector()) is PLAN
    assert len(PLAN.variants) == 12
    assert len(PLAN.dropped) == 4


@pytest.mark.parametrize(
    ("selector", "count"),
    [
        (Selector(cuda=["13.0"]), 8),
        (Selector(cuda=["13.0.2"]), 8),
        (Selector(cuda=["12.9"]), 4),
        (Selector(cuda=["12.9", "13.0"]), 12),
        (Selector(platform=["linux/arm64"]), 4),
        (Selector(target=["openai"]), 6),
        (Selector(axes={"python": ["3.12"]}), 6),
        (Selector(cuda=["13.0"], platform=["linux/arm64"], target=["openai"], axes={"python": ["3.12"]}), 1),
        (Selector(variant=["openai-cu130-arm64-python3-12", "openai-cu129-amd64-python3-13"]), 2),
        (Selector(variant=["openai-cu130-arm64-python3-12"], cuda=["13.0"]), 1),
    ],
)
def test_what_is_kept(selector: Selector, count: int) -> None:
    assert not selector.empty
    kept = ids(selector)
    assert len(kept) == count
    assert kept == [variant.id for variant in PLAN.variants if variant.id in kept]


@pytest.mark.parametrize(
    ("selector", "ids"),
    [
        (Selector(cuda=["13.0"]), []),
        (
            Selector(cuda=["12.9"]),
            [f"{target}-cu129-arm64-python3-{minor}" for target in TARGETS for minor in (12, 13)],
        ),
        (Selector(platform=["linux/amd64"]), []),
        (Selector(target=["openai"], platform=["linux/arm64"]), [GONE, "openai-cu129-arm64-python3-13"]),
        (Selector(axes={"python": ["3.12"]}), [GONE, "openai-ubuntu2404-cu129-arm64-python3-12"]),
        (Selector(variant=[GONE, "openai-cu130-arm64-python3-12"]), [GONE]),
    ],
)
def test_a_row_that_is_not_built_is_listed_where_it_is_selected(selector: Selector, ids: list[str]) -> None:
    assert [row.id for row in narrow(PLAN, selector).dropped] == ids


@pytest.mark.parametrize(
    ("selector", "message"),
    [
        (Selector(cuda=["13.1"]), "--cuda 13.1: not in matrix.yaml; did you mean 13.0?"),
        (Selector(platform=["arm64"]), "--platform arm64: not in matrix.yaml; did you mean linux/arm64?"),
        (Selector(target=["opneai"]), "--target opneai: not in matrix.yaml; did you mean openai?"),
        (Selector(axes={"pyton": ["3.12"]}), "--axis pyton=…: no such axis; did you mean python?"),
        (Selector(axes={"zz": ["3.12"]}), "--axis zz=…: no such axis; known: python"),
        (Selector(axes={"cuda": ["13.0"]}), "--axis cuda=…: no such axis; --cuda 13.0 selects it"),
        (Selector(axes={"python": ["3.1"]}), "--axis python=3.1: not in matrix.yaml; did you mean 3.13?"),
        (
            Selector(variant=["openai-cu130-arm64-python312"]),
            "--variant openai-cu130-arm64-python312: not in matrix.yaml; did you mean openai-cu130-arm64-python3-12?",
        ),
        (
            Selector(cuda=["12.9"], platform=["linux/arm64"]),
            "no variant matches --cuda 12.9 --platform linux/arm64\n`orchestrate plan` lists the variants",
        ),
        (
            Selector(variant=[GONE]),
            f"no variant matches --variant {GONE} ({GONE}: no GB10 support below 13.0)\n{HINT}",
        ),
    ],
)
def test_what_is_refused(selector: Selector, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        ids(selector)
    assert str(caught.value) == message
    assert caught.value.exit_code == 2


def test_a_plan_without_axes_names_none() -> None:
    from tests.unit.matrix.support import SMALL

    with pytest.raises(UsageError, match=r"^--axis python=…: no such axis; matrix.yaml has no axes$"):
        narrow(planned(SMALL), Selector(axes={"python": ["3.12"]}))


def test_axes_are_parsed() -> None:
    assert parse_axes(["python=3.12", "os=a=b", "python=3.13"]) == {"python": ["3.12", "3.13"], "os": ["a=b"]}
    for wrong in ("python", "=3.12", "python=", ""):
        with pytest.raises(UsageError, match="expected NAME=VALUE"):
            parse_axes([wrong])


# -- globs and numbers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("globs", "count"),
    [
        (["*"], 12), (["*-arm64-*"], 4), (["openai-cu130-*"], 4), (["openai-cu13?-amd64-python3-1[23]"], 2),
        (["openai-cu129-amd64-python3-12", "*-cu130-arm64-python3-13"], 3),
    ],
)  # fmt: skip
def test_a_glob_selects_the_variants_that_it_matches(globs: list[str], count: int) -> None:
    assert len(ids(Selector(variant=globs))) == count


def test_a_glob_that_matches_nothing_is_an_error() -> None:
    with pytest.raises(UsageError, match=r"--variant nope-\*: matches no variant of matrix\.yaml"):
        narrow(PLAN, Selector(variant=["nope-*"]))
    with pytest.raises(UsageError, match=r"no variant matches .* no GB10 support below 13\.0"):
        narrow(PLAN, Selector(variant=["openai-cu129-arm64-*"]))


def test_values_of_the_command_line_reach_the_variants_of_a_glob_alone() -> None:
    selector = Selector(variant=["*-arm64-*"])
    given = CommandLine(args={"X": "1"}, when=selector.conditions(PLAN.matrix.spec))
    plan = planned(EXAMPLE, given)
    assert {variant.platform for variant in plan.variants if "X" in variant.args} == {"linux/arm64"}


@pytest.mark.parametrize("written", ["13", "13.00", "13.0.2"])
def test_a_release_may_be_named_by_its_number(written: str) -> None:
    assert len(ids(Selector(cuda=[written]))) == 8


@pytest.mark.parametrize("written", ["12", "1", "130", "13.1", "13.", "x", "", "0", "13.0.1"])
def test_a_number_that_is_not_the_release_selects_nothing(written: str) -> None:
    with pytest.raises(UsageError, match=f"--cuda {written}: not in matrix.yaml"):
        narrow(PLAN, Selector(cuda=[written]))


def test_a_number_of_two_releases_must_be_written_whole() -> None:
    plan = planned(
        EXAMPLE.replace(
            '"13.0": {version: 13.0.2}', '"13.0": {version: 13.0.2}\n  "13.1": {version: 13.1.0, tag_suffix: -b}'
        )
    )
    with pytest.raises(UsageError, match=r"--cuda 13: expected one release, found 13\.0 and 13\.1") as caught:
        narrow(plan, Selector(cuda=["13"]))
    assert "quote releases in YAML" in caught.value.hint
    assert {variant.cuda for variant in narrow(plan, Selector(cuda=["13.1"])).variants} == {"13.1"}


@pytest.mark.parametrize("name", ["cuda", "platform", "target", "variant"])
def test_an_option_is_named_to_whom_asks_for_an_axis(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        narrow(PLAN, Selector(axes={name: ["x"]}))
    assert caught.value.message == f"--axis {name}=…: no such axis; --{name} x selects it"
