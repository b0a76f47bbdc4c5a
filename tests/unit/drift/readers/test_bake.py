from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.dockerfile.spans import Found, Style
from orchestrator.drift.readers import bake
from tests.support.generated import examples

HCL = """\
# comment with "quotes" and { braces
variable "JOBS" { default = 16 }
variable "LIST" {
  description = "a } in a string"
  default = "8.0 9.0" // after
}
variable "IMAGE" { default = "nvidia/cuda:${CUDA}-devel" }
variable "CUDA" { default = "13.0.2" }
variable "UPPER" { default = upper("x") }
variable "NONE" {}
variable "NULL" { default = null }
/* block
   comment } */
function "f" {
  params = [a]
  result = "${a}"
}
group "default" { targets = ["app"] }
target "_common" {
  dockerfile = <<EOT
FROM scratch
ARG X = { not hcl
EOT
  args = {
    jobs = JOBS, list = LIST
    "quoted" : "v$${1}"
    nested = { a = 1 }["a"]
    cond = JOBS > 1 ? "a" : "b"
  }
}
target "other" { args = { jobs = "2", only = "here" } }
target "app" {
  inherits = ["_common", "other"]
  args = { own = "x" }
  tags = [for t in ["a", "b"] : "x:${t}"]
}
OLD = "style"
"""


def variable_of(text: str, name: str, *, json: bool = False) -> list[Found]:
    found = bake.parse(text, json=json).variable(name)
    return [found] if found is not None else []


def arg_of(text: str, target: str, name: str, *, json: bool = False) -> list[Found]:
    found = bake.parse(text, json=json).arg(target, name)
    return [found] if found is not None else []


@pytest.mark.parametrize(
    ("name", "value", "editable"),
    [
        ("JOBS", "16", True),
        ("LIST", "8.0 9.0", True),
        ("IMAGE", "nvidia/cuda:13.0.2-devel", False),
        ("UPPER", 'upper("x")', False),
        ("OLD", "style", True),
    ],
)
def test_variables(name: str, value: str, editable: bool) -> None:
    (found,) = variable_of(HCL, name)
    assert found.value == value
    assert (found.via == "") is editable
    if editable:
        assert HCL[found.start : found.end] == value


def test_variables_without_a_default() -> None:
    assert variable_of(HCL, "NONE") == []
    assert variable_of(HCL, "MISSING") == []


@pytest.mark.parametrize(
    ("target", "arg", "value"),
    [
        ("app", "own", "x"),
        ("app", "jobs", "2"),  # of two parents the later one wins
        ("app", "list", "8.0 9.0"),
        ("_common", "jobs", "16"),
        ("_common", "quoted", "v${1}"),
    ],
)
def test_target_args(target: str, arg: str, value: str) -> None:
    (found,) = arg_of(HCL, target, arg)
    assert found.value == value


def test_an_argument_that_is_a_variable_is_changed_at_the_variable() -> None:
    (found,) = arg_of(HCL, "app", "list")
    assert HCL[found.start : found.end] == "8.0 9.0"
    assert "variable LIST" in found.where
    assert found.via == ""


def test_expressions_are_left_to_buildx() -> None:
    (found,) = arg_of(HCL, "_common", "cond")
    assert found.via.startswith("it is the expression")


def test_json_strings_are_templates() -> None:
    text = json.dumps(
        {
            "variable": {"A": {"default": "1"}, "B": {"default": "${A}-x"}, "N": {"default": 4}},
            "target": {"t": {"inherits": ["p"], "args": {"a": "$${literal}"}}, "p": {"args": {"b": "${A}"}}},
        }
    )
    assert [found.value for found in variable_of(text, "B", json=True)] == ["1-x"]
    assert [found.value for found in variable_of(text, "N", json=True)] == ["4"]
    assert [found.value for found in arg_of(text, "t", "a", json=True)] == ["${literal}"]
    assert [found.value for found in arg_of(text, "t", "b", json=True)] == ["1"]


def test_circles_end() -> None:
    text = 'A = "${B}"\nB = "${A}"\ntarget "x" { inherits = ["x"] }\n'
    (found,) = variable_of(text, "A")
    assert found.via
    assert arg_of(text, "x", "a") == []


@pytest.mark.parametrize(
    "text",
    ["target {", 'variable "a" { default = ', "x = [", "= 1", 'a "b" c', 'target "x" { args = { a',
     'a = "', 'a = "b', 'a = "b\nc = "d"\n', 'a = "b\\"', 'a = "b\\"\n', 'a = "b\\\nc"', 'a = "${b"'],
)  # fmt: skip
def test_what_is_not_hcl_says_where(text: str) -> None:
    with pytest.raises(ValueError, match="not HCL"):
        bake.parse(text, json=False)


@examples(150)
@given(st.text(alphabet='abv"{}[]=:,$%\\\n #/*<E', max_size=50))
def test_no_text_breaks_it(text: str) -> None:
    try:
        file = bake.parse(text, json=False)
    except ValueError:
        return
    for name in file.variables:
        found = file.variable(name)
        assert found is None or 0 <= found.start <= found.end <= len(text)


def test_the_last_of_the_targets_inherited_from_wins() -> None:
    text = (
        'target "a" { args = { x = "a", z = "a" } }\ntarget "b" { inherits = ["a"]\nargs = { y = "b" } }\n'
        'target "c" { args = { x = "c" } }\ntarget "t" { inherits = ["c", "b"] }\n'
    )
    assert [arg_of(text, "t", name)[0].value for name in "xyz"] == ["a", "b", "a"]


def test_where_an_argument_is_written() -> None:
    file = bake.parse(HCL, json=False)
    assert file.own_arg("app", "list") is None  # a variable's default
    own = file.own_arg("app", "jobs")
    assert own is not None
    assert HCL[own.start : own.end] == "2"


def test_targets_that_inherit_many_times_are_each_visited_once() -> None:
    names = [f"t{number}" for number in range(30)]
    text = "".join(
        f'target "{name}" {{ inherits = [{", ".join([f"{chr(34)}{after}{chr(34)}"] * 9)}] }}\n'
        for name, after in itertools.pairwise(names)
    )
    assert arg_of(f'{text}target "t29" {{}}\n', "t0", "x") == []  # nine to the thirtieth would never end


def test_variables_that_double_each_other_end() -> None:
    text = "".join(f'V{number} = "${{V{number + 1}}}${{V{number + 1}}}"\n' for number in range(40)) + 'V40 = "x"\n'
    (found,) = variable_of(text, "V0")
    assert found.via.startswith("it is the expression")
    (found,) = variable_of(text, "V30")
    assert found.value == "x" * 1024


def test_numbers_are_bare() -> None:
    (found,) = variable_of(HCL, "JOBS")
    assert found.styles == (Style.HCL_BARE,)


BUILT = """\
target "_base" {
  context = "."
  dockerfile = "docker/Dockerfile"
  target = "base"
}
target "app" { inherits = ["_base"]
  target = "app" }
target "both" { inherits = ["app", "plain", "_base"] }
target "plain" {
  context = "sub"
  args = { X = upper("x") }
}
"""


def built(text: str, *names: str, json: bool = False) -> dict[str, dict[str, str]] | None:
    return bake.dockerfiles([bake.parse(text, json=json)], names)


def test_which_dockerfile_a_target_builds() -> None:
    base = {"context": ".", "dockerfile": "docker/Dockerfile", "target": "base"}
    assert built(BUILT, "app", "both", "plain") == {
        "app": base | {"target": "app"},
        "both": base,  # of the targets inherited from, the last one wins
        "plain": {"context": "sub"},  # an argument that is computed does not matter
    }
    text = json.dumps({"target": {"a": {"dockerfile": "D", "inherits": ["b"]}, "b": {"context": "c"}}})
    assert built(text, "a", json=True) == {"a": {"dockerfile": "D", "context": "c"}}


@pytest.mark.parametrize(
    "text",
    [
        'group "t" { targets = ["a"] }\ntarget "a" {}',
        'target "t" { dockerfile = "${A}" }',
        'target "t" { dockerfile = A }',
        'target "t" { dockerfile = null }',
        'target "t" { dockerfile-inline = <<EOT\nFROM scratch\nEOT\n}',
        'target "t" { inherits = ["gone"] }',
        'target "t" { inherits = ["${A}"] }\ntarget "" {}',
        'target "t" { inherits = concat(["a"]) }\ntarget "a" {}',
        'target "t" { inherits = ["a"] }\ntarget "a" { context = upper("x") }',
        'target "t" { dockerfile = "a" }\ntarget "t" { context = "b" }',
        'target "t" { matrix = { x = ["1", "2"] }\nname = "t-${x}" }',
    ],
)
def test_what_is_no_literal_is_left_to_buildx(text: str) -> None:
    assert built(text, "t") is None


@pytest.mark.parametrize(
    "body",
    [
        {"dockerfile": "${A}"}, {"dockerfile": None}, {"dockerfile": {"a": 1}}, {"inherits": ["${A}"]},
        {"matrix": {"x": ["1"]}, "name": "t"},
    ],
)  # fmt: skip
def test_what_is_no_literal_in_json_is_left_to_buildx(body: dict[str, object]) -> None:
    assert built(json.dumps({"target": {"t": body, "${A}": {}}}), "t", json=True) is None


def test_a_target_of_two_files_is_left_to_buildx() -> None:
    first, second = (bake.parse(f'target "t" {{ target = "{name}" }}', json=False) for name in "ab")
    assert bake.dockerfiles([first, second], ["t"]) is None
    assert bake.dockerfiles([first, bake.parse('target "u" {}', json=False)], ["t", "u"]) == {
        "t": {"target": "a"},
        "u": {},
    }


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('A = "a\\"}b"', 'a"}b'),
        ('A = "x${"a\\"}"}y"\nB = "1"', None),
        ('A = "$${x}"', "${x}"),
        ('A = "%%{if}"', "%{if}"),
        ('A = "tab\\tq\\\\"', "tab\tq\\"),
    ],
)
def test_quotes_and_brackets_inside_of_strings(text: str, value: str | None) -> None:
    (found,) = variable_of(text, "A")
    assert (None if found.computed else found.value) == value
    if "\nB" in text:
        assert [one.value for one in variable_of(text, "B")] == ["1"]
