"""From matrix to variants: order, layers and their origins, the command line, and how the work grows."""

from __future__ import annotations

import collections
import itertools
import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.cuda.select import select
from orchestrator.errors import UsageError
from orchestrator.matrix import layers, template
from orchestrator.matrix.layers import CommandLine
from orchestrator.matrix.variants import variant_id
from tests.support.generated import examples
from tests.unit.matrix.support import EXAMPLE, SMALL, planned

if TYPE_CHECKING:
    from orchestrator.matrix.variants import Variant


def one(text: str, name: str, given: CommandLine | None = None) -> Variant:
    return next(variant for variant in planned(text, given).variants if variant.id == name)


def test_the_order_is_that_of_the_file() -> None:
    cells = itertools.product(
        ["openai", "openai-ubuntu2404"], ["cu129", "cu130"], ["amd64", "arm64"], ["python3-12", "python3-13"]
    )
    expected = ["-".join(cell) for cell in cells]
    plan = planned(EXAMPLE)
    dropped = [row.id for row in plan.dropped]
    assert dropped == [name for name in expected if "cu129-arm64" in name]
    assert [variant.id for variant in plan.variants] == [name for name in expected if name not in dropped]
    assert {(row.why, str(row.origin)) for row in plan.dropped} == {
        ("no GB10 support below 13.0", "exclude[0] (matrix.yaml:34:5)")
    }


def test_one_variant_whole() -> None:
    variant = one(EXAMPLE, "openai-ubuntu2404-cu130-arm64-python3-13")
    assert variant.coordinates() == {
        "target": "openai-ubuntu2404", "cuda": "13.0", "platform": "linux/arm64", "python": "3.13"
    }  # fmt: skip
    assert (variant.cuda_version, str(variant.toolkit), variant.machine) == ("13.0.2", "13.0", "aarch64")
    assert variant.runner == ("ubuntu-24.04-arm",)
    assert str(variant.arch_list.origin) == "platforms.linux/arm64.arch_list (matrix.yaml:17:54)"
    assert {name: (value.text, value.template, str(value.origin)) for name, value in variant.args.items()} == {
        "CUDA_VERSION": ("13.0.2", "{cuda.version}", "variants.args.CUDA_VERSION (matrix.yaml:25:19)"),
        "torch_cuda_arch_list": (
            "8.0 8.7 8.9 9.0 10.0 11.0 12.0+PTX", "{archs.torch}",
            "variants.args.torch_cuda_arch_list (matrix.yaml:26:27)",
        ),
        "PYTHON_VERSION": ("3.13", "{python}", "variants.args.PYTHON_VERSION (matrix.yaml:27:21)"),
        "max_jobs": ("8", "8", "overrides[0].args.max_jobs (matrix.yaml:32:22)"),
    }  # fmt: skip
    assert [tag.text for tag in variant.index_tags] == [f"ghcr.io/acme/vllm-openai:{'0' * 40}-py3.13-ubuntu2404"]
    assert variant.headers
    assert variant.cache_ref == "ghcr.io/acme/vllm-openai-cache:openai-ubuntu2404-cu130-arm64-python3-13"


LAYERS = """\
version: 1
image: acme/app
bake: {files: b.hcl, targets: {app: {arch_list: of_target}, other: {}}}
arch_lists: {of_variants: 8.0, of_cuda: 8.6, of_platform: 8.9, of_target: 9.0, of_override: 10.0, of_later: 12.0}
cuda: {"13.0": {version: 13.0.2, arch_list: of_cuda}, "12.9": {version: 12.9.1}}
platforms: {linux/amd64: {arch_list: of_platform, runner: r}, linux/arm64: {}}
variants:
  arch_list: of_variants
  args: {A: variants, B: variants, C: variants}
  tags: ["{image}:{variant.id}"]
  secrets: [id=a]
overrides:
  - when: {cuda: "13.0", target: app, platform: linux/amd64}
    arch_list: of_override
    runner: big
    args: {B: first, C: first}
    tags: ["{image}:x-{variant.id}"]
    secrets: []
  - when: {platform: [linux/amd64]}
    args: {C: null, D: second}
"""


@pytest.mark.parametrize(
    ("name", "archs", "args", "runner"),
    [
        ("other-cu129-arm64", "8.0", "A=variants B=variants C=variants", ""),
        ("other-cu130-arm64", "8.6", "A=variants B=variants C=variants", ""),
        ("other-cu130-amd64", "8.9", "A=variants B=variants D=second", "r"),
        ("app-cu130-arm64", "9.0", "A=variants B=variants C=variants", ""),
        ("app-cu130-amd64", "10.0", "A=variants B=first D=second", "big"),
    ],
)
def test_later_layers_win(name: str, archs: str, args: str, runner: str) -> None:
    text = LAYERS.replace(", of_later: 12.0", "")
    variant = one(text, name)
    assert " ".join(map(str, variant.archs.effective)) == archs
    assert " ".join(f"{name}={value.text}" for name, value in variant.args.items()) == args
    assert variant.runner == ((runner,) if runner else ())


def test_lists_replace_and_an_empty_one_removes() -> None:
    text = LAYERS.replace(", of_later: 12.0", "")
    assert [tag.text for tag in one(text, "app-cu130-amd64").tags] == ["acme/app:x-app-cu130-amd64"]
    assert one(text, "app-cu130-amd64").secrets == ()
    assert [secret.text for secret in one(text, "app-cu130-arm64").secrets] == ["id=a"]


def test_an_arch_list_that_nobody_uses_may_hold_anything() -> None:
    assert planned(LAYERS.replace("of_later: 12.0", "of_later: 3.0")).variants


def test_the_command_line_wins_and_says_so() -> None:
    line = CommandLine(args={"CUDA_VERSION": "x-{cuda}", "NEW": "1"}, archs="9.0 11.0", image="other/app")
    variant = one(EXAMPLE, "openai-cu130-amd64-python3-12", line)
    assert variant.args["CUDA_VERSION"].text == "x-13.0"
    assert {str(variant.args[name].origin) for name in ("CUDA_VERSION", "NEW")} == {"command line"}
    assert variant.args["torch_cuda_arch_list"].text == "9.0 11.0"
    assert variant.arch_list.text == ""
    assert variant.tags[0].text.startswith("other/app:")
    old = one(EXAMPLE, "openai-cu129-amd64-python3-12", line)
    assert [str(item.arch) for item in old.archs.dropped] == ["11.0"]


def test_command_line_values_touch_the_selected_variants_alone() -> None:
    """11.0 alone suits 13.0: that 12.9 has nothing left then is no error where only 13.0 is asked for."""
    with pytest.raises(UsageError, match=r"no architecture is left for CUDA 12\.9"):
        planned(EXAMPLE, CommandLine(archs="11.0"))
    plan = planned(EXAMPLE, CommandLine(archs="11.0", args={"A": "1"}, when={"cuda": frozenset({"13.0"})}))
    for variant in plan.variants:
        asked = variant.cuda == "13.0"
        assert ("A" in variant.args) == asked
        assert (variant.arch_list.text == "") == asked
    name = "openai-cu130-amd64-python3-12"
    plan = planned(EXAMPLE, CommandLine(args={"A": "1"}, when={"variant": frozenset({name})}))
    assert [variant.id for variant in plan.variants if "A" in variant.args] == [name]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (CommandLine(archs="sm_90"), "--archs: 'sm_90': write the compute capability, 9.0, not nvcc's name of it"),
        (CommandLine(archs=" "), "--archs: the list names no architecture"),
        (CommandLine(args={"A": "{git.shaa}"}), "--arg A: unknown placeholder {git.shaa}; did you mean git.sha?"),
        (CommandLine(args={"1 A": "x"}), "--arg 1 A=…: '1 A' is not a valid argument name"),
        (CommandLine(image="a b"), "--image a b: expected a repository name such as ghcr.io/acme/app, without a tag"),
        (CommandLine(image="a:1"), "--image a:1: expected a repository name such as ghcr.io/acme/app, without a tag"),
    ],
)  # fmt: skip
def test_a_wrong_command_line(line: CommandLine, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        planned(EXAMPLE, line)
    assert str(caught.value) == message


NAMES = st.text(alphabet="aZ0_-", min_size=1, max_size=8)


@given(
    NAMES,
    st.sampled_from(["9.0", "13.0", "12.9"]),
    NAMES,
    st.dictionaries(NAMES, st.text(max_size=9), max_size=2),
)
@examples(100)
def test_ids_are_bake_target_names(target: str, cuda: str, machine: str, axes: dict[str, str]) -> None:
    name = variant_id(target, cuda, f"linux/{machine}", axes)
    assert re.fullmatch(r"[A-Za-z0-9_-]+", name)
    assert name.startswith(f"{target}-cu{cuda.replace('.', '')}-{machine}")


def test_ids_of_platforms_with_a_variant() -> None:
    assert variant_id("app", "13.0", "linux/arm/v7", {}) == "app-cu130-armv7"


# -- growth -----------------------------------------------------------------------------------------------------------


def large(values: int) -> str:
    """SMALL with an axis of so many values, a few arguments and overrides."""
    axis = ", ".join(f"v{number}: {{}}" for number in range(values))
    args = "  args: {A: '{n}', B: '{archs.torch}', C: '{cuda.version}-{platform.arch}'}\n"
    overrides = "overrides: [{when: {n: v1}, args: {D: x}}, {when: {cuda: '13.0'}, args: {E: y}}]\n"
    return (
        SMALL.replace("variants:\n", f"axes: {{n: {{{axis}}}}}\nvariants:\n").replace("  tags:", f"{args}  tags:")
        + overrides
    )


def test_the_work_grows_with_the_number_of_variants(monkeypatch: pytest.MonkeyPatch) -> None:
    """Templates are parsed and architectures selected once; for each variant a fixed number of values is filled in."""
    counts: collections.Counter[str] = collections.Counter()

    def counting(name: str, function: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            counts[name] += 1
            return function(*args, **kwargs)

        return call

    monkeypatch.setattr(template.Template, "render", counting("render", template.Template.render))
    monkeypatch.setattr(template, "parse", counting("parse", template.parse))
    monkeypatch.setattr("orchestrator.matrix.render.select", counting("select", select))
    monkeypatch.setattr(layers.Layer, "applies", counting("applies", layers.Layer.applies))
    seen = {}
    for size in (10, 40, 160):
        counts.clear()
        assert len(planned(large(size)).variants) == size
        seen[size] = dict(counts)
    assert seen[10]["parse"] == seen[40]["parse"] == seen[160]["parse"]
    assert seen[160]["select"] == 1
    for name in ("render", "applies"):
        assert seen[160][name] - seen[40][name] == 4 * (seen[40][name] - seen[10][name])
