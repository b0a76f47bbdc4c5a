"""The structure of shell scripts, by the grammar of POSIX."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.dockerfile import program
from orchestrator.dockerfile.program import AndOr, Case, Function, Group, If, Loop, Node, Pipeline, Script, Simple
from tests.support.generated import examples


def shape(node: Node | None) -> object:
    """A node in few words: names of commands, and the forms around them."""
    match node:
        case None:
            return None
        case Simple():
            return " ".join(node.words)
        case Pipeline():
            return ("!|" if node.negated else "|", *map(shape, node.parts))
        case AndOr():
            return (shape(node.first), *((operator, shape(one)) for operator, one in node.rest))
        case Script():
            return [(shape(one), "&") if background else shape(one) for one, background in node.items]
        case Group():
            return ("()" if node.subshell else "{}", shape(node.body))
        case If():
            return ("if", *((shape(test), shape(body)) for test, body in node.cases), shape(node.otherwise))
        case Loop():
            return (node.word, shape(node.condition), shape(node.body))
        case Case():
            return ("case", *map(shape, node.bodies))
        case Function():
            return ("function", node.name, shape(node.body))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a b; c", ["a b", "c"]),
        ("a\n\nb\n", ["a", "b"]),
        ("a & b", [("a", "&"), "b"]),
        ("a && b || c", [("a", ("&&", "b"), ("||", "c"))]),
        ("a |\n b", [("|", "a", "b")]),
        ("! a", [("!|", "a")]),
        ("A=1 B+=2 a C=3", ["a C=3"]),
        ("(a; b)", [("()", ["a", "b"])]),
        ("{ a; b; }", [("{}", ["a", "b"])]),
        ("if a; then b; fi", [("if", (["a"], ["b"]), None)]),
        ("if a; then b; elif c; then d; else e; fi; f", [("if", (["a"], ["b"]), (["c"], ["d"]), ["e"]), "f"]),
        ("while a; do b; done; c", [("while", ["a"], ["b"]), "c"]),
        ("until a; do b; done", [("until", ["a"], ["b"])]),
        ("for x in 1 2; do a; b; done; c", [("for", None, ["a", "b"]), "c"]),
        ("for x\ndo a\ndone", [("for", None, ["a"])]),
        ("case $x in a) b;; c|d) e; f;; *) g;; esac; h", [("case", ["b"], ["e", "f"], ["g"]), "h"]),
        ("case x in\n(a)\nb\n;;\nesac", [("case", ["b"])]),
        ("case x in esac; a", [("case",), "a"]),
        ("case x in a) b; esac; c", [("case", ["b"]), "c"]),
        ("case x in a", [("case", [])]),
        ("f() { a; }; f", [("function", "f", ("{}", ["a"])), "f"]),
        ("f ()\n{ a; }", [("function", "f", ("{}", ["a"]))]),
        ("function f { a; }; b", [("function", "f", ("{}", ["a"])), "b"]),
        ("function f() (a)", [("function", "f", ("()", ["a"]))]),
        ("echo if then fi", ["echo if then fi"]),
        ("'if' a; \"done\" b", ["if a", "done b"]),
    ],
)
def test_the_structure_of_a_script(text: str, expected: object) -> None:
    assert shape(program.parse(text)) == expected


def test_what_is_in_substitutions_and_documents_is_kept() -> None:
    (found, _), (last, _) = program.parse("a $(b; c) `d`\ncat <<E\nx\nE\n").items
    assert isinstance(found, Simple)
    assert [one.strip() for one in found.inner] == ["b; c", "d"]
    assert isinstance(last, Simple)
    assert last.document.strip() == "x"


@examples(200)
@given(st.text(alphabet="ab if;then|fi&(){}do ne case in esac)\n!'\"$`<E", max_size=60))
def test_any_text_is_read_to_its_end(text: str) -> None:
    assert isinstance(program.parse(text), Script)
