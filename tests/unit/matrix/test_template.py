"""Placeholders: what is one, what is none, and what they stand for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.matrix import template
from orchestrator.matrix.layers import CommandLine
from tests.support.generated import examples
from tests.unit.matrix.support import EXAMPLE, SMALL, changed, fact, parse, planned


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{a}", "A"),
        ("x{a}y{b.c}z", "xAyBCz"),
        ("{{a}}", "{a}"),
        ("{{a}}{a}", "{a}A"),
        ("${a}", "${a}"),
        ("%{a}", "%{a}"),
        ("$${a}", "$${a}"),
        ("{ a }", "{ a }"),
        ("{}", "{}"),
        ("{1}", "{1}"),
        ("{a", "{a"),
        ("a}", "a}"),
        ('{"a": 1}', '{"a": 1}'),
        ("", ""),
        ("{{{a}}}", "{{a}}"),
        ("{a}\n{a}", "A\nA"),
        ("{é}", "{é}"),
    ],
)
def test_rendering(text: str, expected: str) -> None:
    assert template.parse(text).render({"a": "A", "b.c": "BC"}) == expected


@given(st.text(alphabet="{}$%a.é\n", max_size=30))
@examples(200)
def test_text_without_a_known_name_keeps_every_character_but_the_escapes(text: str) -> None:
    parsed = template.parse(text)
    values = {name: f"{{{name}}}" for name in parsed.names}
    rendered = parsed.render(values)
    assert rendered.replace("{", "").replace("}", "") == text.replace("{", "").replace("}", "")
    assert [name for _, name in template.unknown(text, ())] == list(parsed.names)
    for offset, name in template.unknown(text, ()):
        assert text[offset:].startswith(f"{{{name}}}")


def test_a_missing_value_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        template.parse("{a}").render({})


def test_every_documented_placeholder_has_a_value() -> None:
    args = "".join(f'    P{number}: "{{{name}}}"\n' for number, name in enumerate(template.PLACEHOLDERS))
    plan = planned(changed('    PYTHON_VERSION: "{python}"\n', args))
    variant = next(v for v in plan.variants if v.id == "openai-ubuntu2404-cu129-amd64-python3-13")
    values = {name: variant.args[f"P{number}"].text for number, name in enumerate(template.PLACEHOLDERS)}
    assert values == {
        "image": "ghcr.io/acme/vllm-openai",
        "cuda": "12.9",
        "cuda.version": "12.9.1",
        "cuda.major": "12",
        "cuda.minor": "9",
        "cuda.short": "129",
        "cuda.tag_suffix": "-cu129",
        "platform": "linux/amd64",
        "platform.os": "linux",
        "platform.arch": "amd64",
        "platform.machine": "x86_64",
        "platform.runner": "ubuntu-24.04",
        "platform.tag_suffix": "",
        "target": "openai-ubuntu2404",
        "target.tag_suffix": "-ubuntu2404",
        "arch_list": "release",
        "archs.torch": "7.5 8.0 8.6 8.9 9.0 10.0 12.0+PTX",
        "archs.flashinfer": "7.5 8.0 8.6 8.9 9.0 10.0 12.0",
        "archs.cmake": values["archs.cmake"],
        "archs.gencode": values["archs.gencode"],
        "variant.id": "openai-ubuntu2404-cu129-amd64-python3-13",
        "variant.tag": "openai-ubuntu2404-cu129-amd64-python3-13",
        "git.sha": fact("git.sha"),
        "git.short": fact("git.short"),
        "git.branch": "main",
        "git.dirty": "",
        "git.tag": "v1",
        "matrix.digest": plan.matrix.digest[7:19],
    }
    assert values["archs.cmake"].startswith("75-real;80-real;")
    assert values["archs.gencode"].startswith("-gencode=arch=compute_75,code=sm_75 ")


def test_fields_of_an_axis() -> None:
    axes = 'axes: {os: {"22.04": {base: jammy, suffix: -j}, "24.04": {base: noble}}}\nvariants:\n'
    text = SMALL.replace("variants:\n", axes).replace("  tags:", '  args: {A: "{os}/{os.base}/{os.suffix}"}\n  tags:')
    assert [v.args["A"].text for v in planned(text).variants] == ["22.04/jammy/-j", "24.04/noble/"]


def test_git_is_asked_once_and_only_for_what_is_used() -> None:
    from orchestrator.matrix import expand

    asked: list[str] = []

    def remember(name: str) -> str:
        asked.append(name)
        return "x"

    expand.plan(parse(EXAMPLE), fact=remember)
    assert asked == ["git.sha", "git.dirty"]  # for the note on files that were changed
    expand.plan(parse(SMALL), given=CommandLine(args={"D": "{matrix.digest}"}), fact=remember)
    assert asked == ["git.sha", "git.dirty"]


def test_an_arch_that_a_dialect_cannot_hold_is_told() -> None:
    from tests.unit.matrix.support import problems

    text = SMALL.replace("8.0 9.0", "8.0 10.0f").replace("  tags:", '  args: {A: "{archs.torch}"}\n  tags:')
    (problem,) = problems(text)
    assert problem.startswith("matrix.yaml:11:13: app-cu130-amd64: ")
    assert "10.0f" in problem
