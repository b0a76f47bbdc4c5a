"""Flags of instructions and their JSON form."""

from __future__ import annotations

import pytest

from orchestrator.dockerfile.options import json_form, leading


@pytest.mark.parametrize(
    ("text", "flags", "rest"),
    [
        ("RUN make", [], "make"),
        ("RUN  \t\v\f\r\n make", [], "make"),
        ("RUN --network=none make", [("network", "none")], "make"),
        ("RUN --NETWORK=None  --mount=type=bind make --x", [("network", "None"), ("mount", "type=bind")], "make --x"),
        ("RUN --flag make", [("flag", "")], "make"),
        ("RUN -- --flag make", [], " --flag make"),
        ("RUN --a='x y' --b=\"x 'y\" c", [("a", "x y"), ("b", "x 'y")], "c"),
        ('RUN --a=x\\ y\\" b', [("a", 'x y"')], "b"),
        ('RUN --a="x\\"y" b', [("a", 'x"y')], "b"),
        ("RUN --a='x", [("a", "x")], ""),
        ("RUN --a=x\\", [("a", "x")], ""),
        ("RUN -a b", [], "-a b"),
        ("RUN", [], ""),
    ],
)
def test_flags_come_before_the_words(text: str, flags: list[tuple[str, str]], rest: str) -> None:
    found, at = leading(text, 3)
    assert [(one.name, one.value) for one in found] == flags
    assert text[at:] == rest
    for one in found:
        assert text[one.start : one.end].startswith("--")
        assert text[one.start : one.end].lower().startswith(f"--{one.name}")


@pytest.mark.parametrize(
    ("value", "fields"),
    [
        ("type=bind,from=base", {"type": "bind", "from": "base"}),
        ('"TYPE=cache, id =a","target=/x,y"', {"type": "cache, id =a", "target": "/x,y"}),
        ("Type=Cache,ro", {"type": "Cache", "ro": ""}),
        ("a=b=c", {"a": "b=c"}),
        ("", {}),
    ],
)
def test_a_mount_is_a_line_of_csv(value: str, fields: dict[str, str]) -> None:
    quoted = value.replace('"', '\\"').replace(" ", "\\ ")
    (found,), _ = leading(f"RUN --mount={quoted} x", 3)
    assert found.value == value
    assert found.fields == fields


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('["a", "b"]', ["a", "b"]), ("[]", []), ('[ "a" ]', ["a"]), ('["a", 1]', None), ("[a]", None), ("a", None),
        ('["a"] x', None), ("[" * 100_000, None), ("", None), ('{"a": 1}', None),
    ],
)  # fmt: skip
def test_the_json_form_holds_texts_alone(text: str, words: list[str] | None) -> None:
    assert json_form(text) == words
    assert json_form(f"RUN {text}", 4) == words
