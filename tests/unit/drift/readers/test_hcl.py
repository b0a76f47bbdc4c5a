"""HCL as blocks and expressions: their text, their kinds, and where a text is not HCL."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.drift.readers import hcl, json_, toml_, yaml_
from orchestrator.drift.readers.errors import MAX_DEPTH, TOO_DEEP, ReadError
from orchestrator.drift.readers.hcl import Block, Expression, template


def shown(text: str, one: Expression) -> Any:
    """An expression as its kind and what stands at its place, with what is in it."""
    there = text[one.start : one.end]
    if one.kind == "object":
        return {key: shown(text, value) for key, value in one.members}
    if one.kind == "list":
        return [shown(text, item) for item in one.items]
    if one.kind == "literal":
        return "".join(part for _, part in one.parts)
    return (one.kind, there)


def tree(text: str, block: Block) -> dict[str, Any]:
    found: dict[str, Any] = {name: shown(text, value) for name, value in block.attributes.items()}
    for inner in block.blocks:
        found[" ".join((inner.type, *inner.labels))] = tree(text, inner)
    return found


def value(text: str) -> Any:
    whole = f"a = {text}\nb = 1\n"
    found = tree(whole, hcl.parse(whole))
    assert found.pop("b") == "1"
    return found["a"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('"x"', "x"), ("12", "12"), ("1.5", "1.5"), ("true", "true"), ("false", "false"), ("null", ("other", "null")),
        ("V", ("reference", "V")), ('"${V}-x"', ("template", '"${V}-x"')), ('"${f(V)}"', ("other", '"${f(V)}"')),
        ('"a\\"b\\n"', 'a"b\n'), ('"\\u0041\\U00000042\\t\\\\"', "AB\t\\"), ('"$${V}%%{x"', "${V}%{x"),
        ('"%{if}"', ("other", '"%{if}"')), ("f(1, 2)", ("other", "f(1, 2)")), ("a ? b : c", ("other", "a ? b : c")),
        ("[1, \"x\", V]", ["1", "x", ("reference", "V")]), ("[\n1,\n2,\n]", ["1", "2"]), ("[]", []), ("{}", {}),
        ('{ x = 1, "y" = 2\nz: 3 }', {"x": "1", "y": "2", "z": "3"}), ("[[1], {x = [2]}]", [["1"], {"x": ["2"]}]),
        ("[for x in y : x]", ("other", "[for x in y : x]")),
        ("{for k, v in y : k => v}", ("other", "{for k, v in y : k => v}")),
        ("[1, 2][0]", ("other", "[1, 2][0]")), ("{x = 1}.x", ("other", "{x = 1}.x")),
        ("[f(1), 2]", [("other", "f(1)"), "2"]),
        ("f([1], {x = 1})", ("other", "f([1], {x = 1})")), ("f(\n1\n)", ("other", "f(\n1\n)")), ("1 # two", "1"),
        ("1 // two", "1"), ("/* x */ 1", "1"), ("x == y", ("other", "x == y")), ("!x", ("other", "!x")),
        ('"${"a}"}"', ("other", '"${"a}"}"')), ('"${V["x"]}"', ("other", '"${V["x"]}"')),
        ("<<EOT\nx\nEOT", ("other", "<<EOT\nx\nEOT")),
    ],
)  # fmt: skip
def test_expressions(text: str, expected: Any) -> None:
    assert value(text) == expected


def test_blocks_with_labels() -> None:
    text = 'target "a" "b" {\n  x = 1\n  inner {}\n  y = 2 }\nvariable V { default = "1" }\nplain {}\n'
    assert tree(text, hcl.parse(text)) == {
        "target a b": {"x": "1", "y": "2", "inner": {}}, "variable V": {"default": "1"}, "plain": {},
    }  # fmt: skip
    assert tree("", hcl.parse("")) == {}
    assert tree("a =", hcl.parse("a =")) == {"a": ("other", "")}


@pytest.mark.parametrize(
    ("text", "line", "column", "what"),
    [
        ("x {\n a = 1\n", 3, 1, "a x is not closed"), ("1 = 2", 1, 1, "expected a block or an attribute"),
        ("a\n", 1, 2, "expected {"), ("a", 1, 1, "expected {"), ('a "b" = 1', 1, 7, "expected {"),
        ("b = [1,\n 2", 1, 5, "a list is not closed"), ("b = {x = 1", 1, 5, "a bracket is not closed"),
        ("b = {x", 1, 5, "a bracket is not closed"), ("b = [)]", 1, 6, "expected a value"),
        ('x = 1\nb = "y\n"', 2, 5, "the string does not end in its line"),
        ('b = "y\\\n"', 1, 5, "the string does not end in its line"),
        ("}", 1, 1, "expected a block or an attribute"), ("a {\n  }}\n", 2, 4, "expected a block or an attribute"),
    ],
)  # fmt: skip
def test_where_a_text_is_not_hcl(text: str, line: int, column: int, what: str) -> None:
    with pytest.raises(ReadError) as error:
        hcl.parse(text)
    assert (error.value.line, error.value.column, error.value.what) == (line, column, f"not HCL: {what}")
    assert str(error.value) == f"line {line}: not HCL: {what}"


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ("{x = ", "}")])
def test_as_many_levels_as_python_can_read(opening: str, closing: str) -> None:
    hcl.parse(f"a = {opening * MAX_DEPTH}{closing * MAX_DEPTH}\n")
    with pytest.raises(ReadError) as error:
        hcl.parse(f"a = {opening * (MAX_DEPTH + 1)}")
    assert (error.value.what, error.value.line, error.value.column) == (TOO_DEEP, 1, 5 + MAX_DEPTH * len(opening))


@pytest.mark.parametrize(
    ("body", "escapes", "parts"),
    [
        ("a", True, ((False, "a"),)), ("", True, ((False, ""),)), ("${a}", True, ((True, "a"), (False, ""))),
        ("x${a}y${b}", True, ((False, "x"), (True, "a"), (False, "y"), (True, "b"), (False, ""))),
        ("\\n", True, ((False, "\n"),)), ("\\n", False, ((False, "\\n"),)), ("\\q", True, ((False, "q"),)),
        ("\\uZZZZ1", True, ((False, "1"),)), ("${ a }", True, ((True, "a"), (False, ""))), ("${a", True, None),
        ("${a.b}", True, None), ("%{x}", True, None), ("$a%b", True, ((False, "$a%b"),)),
        ("$${a}", False, ((False, "${a}"),)),
    ],
)  # fmt: skip
def test_the_parts_of_a_template(body: str, escapes: bool, parts: Any) -> None:
    assert template(body, escapes=escapes) == parts


@pytest.mark.parametrize(
    ("text", "line", "column", "what"),
    [
        ("", 1, 1, "expected a value"), ("{}\n x", 2, 2, "text after the value"),
        ("[1,\n ,2]", 2, 2, "expected a value"),
        ("{a: 1}", 1, 2, "expected a key in quotes"), ('{"a" 1}', 1, 6, "expected :"),
        ('["a', 1, 2, "a string is not closed or has an unknown escape"),
        ('["\\q"]', 1, 2, "a string is not closed or has an unknown escape"), ("[1 2]", 1, 4, "expected ,"),
        ('{"a": 1', 1, 8, "expected ,"),
        ("nul", 1, 1, "expected a value"),
    ],
)  # fmt: skip
def test_where_a_text_is_not_json(text: str, line: int, column: int, what: str) -> None:
    with pytest.raises(ReadError) as error:
        json_.parse(text)
    assert (error.value.line, error.value.column, error.value.what) == (line, column, f"not JSON: {what}")


@pytest.mark.parametrize(
    ("read", "text", "line", "column", "what"),
    [
        (toml_.parse, "a = 1\nb = \n", 2, 5, "not TOML: Invalid value"),
        (toml_.parse, "a = 1\na = 2\n", 2, 6, "not TOML: Cannot overwrite a value"),
        (toml_.parse, "[a\n", 1, 3, "not TOML: Expected ']' at the end of a table declaration"),
        (toml_.parse, "\ufeffx", 1, 3, "not TOML: Expected '=' after a key in a key/value pair"),
        (
            yaml_.parse,
            "a: [1\nb: 2\n",
            2,
            2,
            "not YAML: while parsing a flow sequence did not find expected ',' or ']'",
        ),
        (yaml_.parse, "a: 'b\n", 2, 1, "not YAML: while scanning a quoted scalar found unexpected end of stream"),
        (yaml_.parse, "a: b: c\n", 1, 5, "not YAML: mapping values are not allowed in this context"),
        (yaml_.parse, "\ufeffa: b: c\n", 1, 6, "not YAML: mapping values are not allowed in this context"),
        (yaml_.parse, "x: 1\na: b: c\n", 2, 5, "not YAML: mapping values are not allowed in this context"),
    ],
)
def test_where_a_text_is_neither_toml_nor_yaml(read: Any, text: str, line: int, column: int, what: str) -> None:
    with pytest.raises(ReadError) as error:
        read(text)
    assert (error.value.line, error.value.column, error.value.what) == (line, column, what)
