"""How a plan is shown: table, stable JSON, GitHub's matrix with its limits, and where every value comes from."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import msgspec.structs
import pytest
from rich.console import Console

from orchestrator.errors import UsageError
from orchestrator.matrix.layers import CommandLine
from orchestrator.matrix.selectors import Selector, narrow
from orchestrator.ui import plan_view
from orchestrator.untrusted import json_text
from tests.unit.matrix.support import EXAMPLE, SMALL, planned

if TYPE_CHECKING:
    from orchestrator.matrix.variants import Plan

SHA = "0" * 40
ONE = "openai-cu130-arm64-python3-12"
TWELVE_NINE = "sm_110 needs CUDA 13.0 or later; CUDA 12.8/12.9 name the same GPU 10.1"


def text_of(plan: Plan, width: int = 200) -> str:
    stream = io.StringIO()
    plan_view.show(plan, Console(file=stream, width=width, highlight=False))
    return stream.getvalue()


def explained(plan: Plan, name: str) -> list[str]:
    stream = io.StringIO()
    variant = next(variant for variant in plan.variants if variant.id == name)
    plan_view.explain(plan, variant, Console(file=stream, width=80), more=[("kernels", ["one", "two"]), ("none", [])])
    return stream.getvalue().splitlines()


def test_the_json_of_one_variant_is_this_and_stays_this() -> None:
    plan = narrow(planned(EXAMPLE), Selector(variant=[ONE, "openai-cu129-arm64-python3-12"]))
    archs = ["8.0", "8.7", "8.9", "9.0", "10.0", "11.0", "12.0+PTX"]
    assert plan_view.as_json(plan) == {
        "schema": 1,
        "matrix": {"file": "matrix.yaml", "digest": plan.matrix.digest},
        "image": "ghcr.io/acme/vllm-openai",
        "signs": False,
        "variants": [
            {
                "id": ONE,
                "target": "openai",
                "cuda": "13.0",
                "cuda_version": "13.0.2",
                "platform": "linux/arm64",
                "runner": "ubuntu-24.04-arm",
                "axes": {"python": "3.12"},
                "arch_list": "thor",
                "archs": {"requested": archs, "effective": archs, "dropped": [], "notes": []},
                "args": {
                    "CUDA_VERSION": "13.0.2",
                    "torch_cuda_arch_list": "8.0 8.7 8.9 9.0 10.0 11.0 12.0+PTX",
                    "PYTHON_VERSION": "3.12",
                    "max_jobs": "8",
                },
                "tags": [f"ghcr.io/acme/vllm-openai:{SHA}-py3.12-aarch64"],
                "index_tags": [f"ghcr.io/acme/vllm-openai:{SHA}-py3.12"],
                "floating_tags": [],
                "labels": {},
                "contexts": {},
            }
        ],
        "dropped": [
            {"id": "openai-cu129-arm64-python3-12", "why": "no GB10 support below 13.0", "place": "matrix.yaml:34:5"}
        ],
        "notes": [],
    }


def test_dropped_archs_are_in_the_json_with_their_reason() -> None:
    plan = narrow(planned(EXAMPLE), Selector(cuda=["12.9"], target=["openai"], axes={"python": ["3.12"]}))
    (variant,) = plan_view.as_json(plan)["variants"]
    assert variant["archs"]["dropped"] == [{"arch": "11.0", "why": TWELVE_NINE}]
    assert "11.0" in variant["archs"]["requested"]
    assert "11.0" not in variant["archs"]["effective"]


def test_the_table_says_what_is_built_what_not_and_why() -> None:
    lines = [line.rstrip() for line in text_of(planned(EXAMPLE)).splitlines()]
    assert lines[0] == "ghcr.io/acme/vllm-openai: 12 variants"
    row = "openai-cu129-amd64-python3-12             12.9.1  linux/amd64  7.5 8.0 8.6 8.9 9.0 10.0 12.0+PTX       11.0"
    assert row in lines
    assert "not built" in lines
    assert "  openai-cu129-arm64-python3-12: no GB10 support below 13.0 (matrix.yaml:34:5)" in lines
    assert lines[-1] == f"  11.0 on CUDA 12.9: {TWELVE_NINE}"  # once, not once a variant
    assert sum(TWELVE_NINE in line for line in lines) == 1


def test_a_plan_without_losses_has_no_empty_sections() -> None:
    assert [line.rstrip() for line in text_of(planned(SMALL)).splitlines()] == [
        "acme/app: 1 variant",
        "variant          CUDA    platform     architectures  dropped",
        "app-cu130-amd64  13.0.2  linux/amd64  8.0 9.0",
    ]


def test_a_pipe_reads_what_a_terminal_shows() -> None:
    for text in (EXAMPLE, SMALL, SMALL.replace("8.0 9.0", "8.0 8.0 9.0")):
        plan = planned(text)
        shown = [line.rstrip() for line in text_of(plan).splitlines()]
        assert [line.rstrip() for line in plan_view.plain(plan).splitlines()] == shown


def test_notes_are_shown_once() -> None:
    text = SMALL.replace("8.0 9.0", "8.0 8.0 9.0 9.0+PTX")
    lines = text_of(planned(text)).splitlines()
    assert "  8.0 is listed 2 times, kept once" in lines
    assert "  9.0 and 9.0+PTX are both listed, kept as 9.0+PTX" in lines


def test_markup_in_the_users_words_is_text() -> None:
    text = EXAMPLE.replace("no GB10 support below 13.0", "'[bold]no[/bold] [/x]'")
    assert "[bold]no[/bold] [/x]" in text_of(planned(text))
    labelled = SMALL.replace("  tags:", "  labels: {x: '[red]a[/blue]'}\n  tags:")
    assert any("[red]a[/blue]" in line for line in explained(planned(labelled), "app-cu130-amd64"))


# -- GitHub -----------------------------------------------------------------------------------------------------------


def test_githubs_matrix_is_one_line_of_jobs() -> None:
    plan = narrow(planned(EXAMPLE), Selector(variant=[ONE]))
    text = json_text(plan_view.as_github(plan), indent=None)
    assert "\n" not in text
    assert json.loads(text) == {
        "include": [
            {
                "variant": ONE,
                "runner": "ubuntu-24.04-arm",
                "target": "openai",
                "cuda": "13.0",
                "platform": "linux/arm64",
                "archs": "8.0 8.7 8.9 9.0 10.0 11.0 12.0+PTX",
                "python": "3.12",
            }
        ]
    }


def test_without_a_runner_github_has_its_own() -> None:
    assert plan_view.as_github(planned(SMALL))["include"][0]["runner"] == "ubuntu-latest"


@pytest.mark.parametrize(
    ("platform", "runner"), [("arm64", "ubuntu-24.04-arm"), ("arm/v7", "ubuntu-24.04-arm"), ("386", "ubuntu-latest")]
)
def test_a_row_gets_the_runner_of_its_own_architecture(platform: str, runner: str) -> None:
    text = SMALL.replace("linux/amd64:", f"linux/{platform}:")
    assert plan_view.as_github(planned(text))["include"][0]["runner"] == runner


@pytest.mark.parametrize("platform", ["linux/s390x", "linux/riscv64", "linux/loong64"])
def test_a_platform_that_github_hosts_no_runner_for_must_name_one(platform: str) -> None:
    plan = planned(SMALL.replace("linux/amd64:", f"{platform}:"))
    with pytest.raises(UsageError, match=f"platform {platform} has no runner") as caught:
        plan_view.as_github(plan)
    assert caught.value.hint == f"set platforms: {{{platform}: {{runner: LABEL}}}}"
    named = planned(SMALL.replace("linux/amd64:", f"{platform}: {{runner: mine}}"))
    assert plan_view.as_github(named)["include"][0]["runner"] == "mine"


@pytest.mark.parametrize(
    ("written", "shown"),
    [("[self-hosted, linux, big]", ["self-hosted", "linux", "big"]), ("[one]", "one"), ("one", "one"), (None, "")],
)
def test_a_runner_is_a_label_or_a_list_of_labels(written: str | None, shown: object) -> None:
    plan = planned(SMALL.replace("linux/amd64:", f"linux/amd64: {{runner: {written}}}") if written else SMALL)
    assert plan_view.as_json(plan)["variants"][0]["runner"] == shown
    assert plan_view.as_github(plan)["include"][0]["runner"] == (shown or "ubuntu-latest")


def test_github_gets_versions_as_text() -> None:
    rows = plan_view.as_github(planned(EXAMPLE))["include"]
    assert {(row["cuda"], row["python"]) for row in rows} == {
        (cuda, python) for cuda in ("12.9", "13.0") for python in ("3.12", "3.13")
    }


def test_notes_of_the_whole_plan_are_shown() -> None:
    plan = msgspec.structs.replace(planned(SMALL), notes=("files were changed",))
    assert plan_view.as_json(plan)["notes"] == ["files were changed"]
    assert "notes\n  files were changed\n" in plan_view.plain(plan)


def test_what_github_would_refuse_is_refused_here() -> None:
    plan = planned(SMALL)
    (variant,) = plan.variants
    full = msgspec.structs.replace(plan, variants=(variant,) * 256)
    assert len(plan_view.as_github(full)["include"]) == 256
    with pytest.raises(UsageError, match=r"257 variants .* do not fit GitHub's matrix: 256 jobs, 1 MB"):
        plan_view.as_github(msgspec.structs.replace(plan, variants=(variant,) * 257))
    fat = msgspec.structs.replace(variant, runner=("é" * 200_000,))
    with pytest.raises(UsageError, match="do not fit"):
        plan_view.as_github(msgspec.structs.replace(plan, variants=(fat,)))


# -- origins ----------------------------------------------------------------------------------------------------------


def test_every_value_is_explained_with_its_place() -> None:
    lines = explained(planned(EXAMPLE), ONE)
    assert lines == [
        "variant",
        f"  {ONE}: openai, CUDA 13.0.2, linux/arm64",
        "arch list",
        "  thor (matrix.yaml:9:9), chosen by platforms.linux/arm64.arch_list (matrix.yaml:17:54)",
        *(f"  {arch:<9} compiled" for arch in ("8.0", "8.7", "8.9", "9.0", "10.0", "11.0", "12.0+PTX")),
        "arguments",
        "  CUDA_VERSION = 13.0.2 <- {cuda.version}    variants.args.CUDA_VERSION (matrix.yaml:25:19)",
        (
            "  torch_cuda_arch_list = 8.0 8.7 8.9 9.0 10.0 11.0 12.0+PTX <- {archs.torch}    "
            "variants.args.torch_cuda_arch_list (matrix.yaml:26:27)"
        ),
        "  PYTHON_VERSION = 3.12 <- {python}    variants.args.PYTHON_VERSION (matrix.yaml:27:21)",
        "  max_jobs = 8    overrides[0].args.max_jobs (matrix.yaml:32:22)",
        "tags",
        (
            f"  ghcr.io/acme/vllm-openai:{SHA}-py3.12-aarch64 <- "
            "{image}:{git.sha}-py{python}-{platform.machine}{cuda.tag_suffix}{target.tag_suffix}    "
            "variants.tags[0] (matrix.yaml:28:10)"
        ),
        "index tags",
        (
            f"  ghcr.io/acme/vllm-openai:{SHA}-py3.12 <- "
            "{image}:{git.sha}-py{python}{cuda.tag_suffix}{target.tag_suffix}    publish.tags[0] (matrix.yaml:38:10)"
        ),
        "kernels",
        "  one",
        "  two",
    ]


def test_the_command_line_is_an_origin_too() -> None:
    line = CommandLine(args={"CUDA_VERSION": "x{cuda}"}, archs="8.0 5.0 9.0 9.0+PTX")
    lines = explained(planned(EXAMPLE, line), "openai-cu130-amd64-python3-12")
    assert "  8.0 5.0 9.0 9.0+PTX, from the command line" in lines
    assert "  CUDA_VERSION = x13.0 <- x{cuda}    command line" in lines
    assert "  5.0       dropped: sm_50 was dropped by CUDA 13.0; the last toolkit that compiles it is 12.9" in lines
    assert "  9.0       folded, see below" in lines
    assert "  9.0 and 9.0+PTX are both listed, kept as 9.0+PTX" in lines
