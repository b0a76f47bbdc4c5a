from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.dockerfile.spans import Style
from orchestrator.drift.readers import bake

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
    (found,) = bake.read_variable(HCL, name)
    assert found.value == value
    assert (found.via == "") is editable
    if editable:
        assert HCL[found.start : found.end] == value


def test_variables_without_a_default() -> None:
    assert bake.read_variable(HCL, "NONE") == []
    assert bake.read_variable(HCL, "MISSING") == []


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
    (found,) = bake.read_arg(HCL, target, arg)
    assert found.value == value


def test_an_argument_that_is_a_variable_is_changed_at_the_variable() -> None:
    (found,) = bake.read_arg(HCL, "app", "list")
    assert HCL[found.start : found.end] == "8.0 9.0"
    assert "variable LIST" in found.where
    assert found.via == ""


def test_expressions_are_left_to_buildx() -> None:
    (found,) = bake.read_arg(HCL, "_common", "cond")
    assert found.via.startswith("it is the expression")


def test_json_strings_are_templates() -> None:
    text = json.dumps(
        {
            "variable": {"A": {"default": "1"}, "B": {"default": "${A}-x"}, "N": {"default": 4}},
            "target": {"t": {"inherits": ["p"], "args": {"a": "$${literal}"}}, "p": {"args": {"b": "${A}"}}},
        }
    )
    assert [found.value for found in bake.read_variable(text, "B", json=True)] == ["1-x"]
    assert [found.value for found in bake.read_variable(text, "N", json=True)] == ["4"]
    assert [found.value for found in bake.read_arg(text, "t", "a", json=True)] == ["${literal}"]
    assert [found.value for found in bake.read_arg(text, "t", "b", json=True)] == ["1"]


def test_circles_end() -> None:
    text = 'A = "${B}"\nB = "${A}"\ntarget "x" { inherits = ["x"] }\n'
    (found,) = bake.read_variable(text, "A")
    assert found.via
    assert bake.read_arg(text, "x", "a") == []


@pytest.mark.parametrize(
    "text", ["target {", 'variable "a" { default = ', "x = [", "= 1", 'a "b" c', 'target "x" { args = { a']
)
def test_what_is_not_hcl_says_where(text: str) -> None:
    with pytest.raises(ValueError, match="not HCL"):
        bake.parse(text, json=False)


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet='abv"{}[]=:,$%\\\n #/*<E', max_size=50))
def test_no_text_breaks_it(text: str) -> None:
    try:
        file = bake.parse(text, json=False)
    except ValueError:
        return
    for name in file.variables:
        found = file.variable(name)
        assert found is None or 0 <= found.start <= found.end <= len(text)


def test_numbers_are_bare() -> None:
    (found,) = bake.read_variable(HCL, "JOBS")
    assert found.styles == (Style.HCL_BARE,)
