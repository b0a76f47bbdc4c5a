"""Compose files as bake reads them."""

from __future__ import annotations

import pytest

from orchestrator.dockerfile.spans import Source, Style
from orchestrator.drift.readers import compose


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("compose.yaml", True), ("compose.yml", True), ("docker-compose.yml", True),
        ("Docker-Compose.override.YAML", True),
        ("compose.prod-1.yaml", True), ("mycompose.yaml", False), ("compose.json", False), ("compose-x.yaml", False),
    ],
)  # fmt: skip
def test_a_file_is_one_by_its_name(name: str, *, expected: bool) -> None:
    assert compose.is_compose(name) is expected


TEXT = """\
services:
  my.app:
    image: r/app:1
    build:
      context: ./ctx
      dockerfile: D
      dockerfile_inline: FROM x
      target: ${T}
      platforms: [linux/amd64, "linux/${ARCH}"]
      args: {A: 1, B: "${B}", C: {deep: 1}}
  plain:
    build: ./dir
    image: r/${X}
  listed:
    build:
      args: ["A=1", "B", "C=$C", " D = 4"]
  variable:
    build: $DIR
  none:
    image: r/x
"""


def test_each_service_that_is_built_is_a_target() -> None:
    assert compose.targets(TEXT) == {
        "my_app": {
            "context": "./ctx", "dockerfile": "D", "dockerfile-inline": "FROM x", "platforms": ["linux/amd64"],
            "args": {"A": "1"}, "tags": ["r/app:1"],
        },
        "plain": {"context": "./dir"},
        "listed": {"args": {"A": "1", " D ": " 4"}},
        "variable": {},
    }  # fmt: skip
    assert compose.targets("a: 1\n") == {}


def test_arguments_have_their_places() -> None:
    found = compose.arguments(TEXT)
    assert {name: list(args) for name, args in found.items()} == {
        "my_app": ["A", "B", "C"],
        "listed": ["A", "B", "C", "D"],
    }
    assert TEXT[found["my_app"]["A"] :].startswith("1, B")
    assert '"C=$C"' in TEXT[found["listed"]["C"] - 1 :][:8]


@pytest.mark.parametrize(
    ("text", "value", "written", "via"),
    [
        ("plain", "plain", "", ""),
        ("a$$b", "a$b", "a$$b", ""),
        ("${N:-8.0}", "8.0", "", ""),
        ("${N-8.0}", "8.0", "", ""),
        ("x${N:-8.0}y$$", "x8.0y$", "x${N:-8.0}y$$", "it comes from ${N:-8.0}"),
        ("x$N", "x$N", "x$N", "it comes from $N"),
        ("${N:-1}${M}", "${N:-1}${M}", "${N:-1}${M}", "it comes from ${N:-1}"),
        ("$", "$", "$", "it comes from $"),
    ],
)
def test_a_value_is_read_as_compose_reads_it(text: str, value: str, written: str, via: str) -> None:
    plain = Source(text=text).found(text, 0, len(text), Style.YAML_DOUBLE, where="")
    found = compose.place(plain)
    assert (found.value, found.via) == (value, via)
    if written:
        assert found.written == written
    if not via and not text.startswith("${"):
        assert found.styles[0] is Style.COMPOSE
    if text.startswith("${N") and not via:
        assert text[found.start : found.end] == "8.0"


def test_defaults_fill_a_text() -> None:
    assert compose.followed("a${X:-b}$$c${Y-}") == "ab$c"
    assert compose.followed("a${X:-b}$Y") is None
    assert compose.followed("${X}") is None
    assert compose.followed("$") is None
