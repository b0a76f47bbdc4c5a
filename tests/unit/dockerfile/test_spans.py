"""How a value is written into the quoting that it stands in."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.dockerfile.spans import Lines, Source, Style, write


@pytest.mark.parametrize(
    ("style", "value", "written"),
    [
        (Style.RAW, 'a "b', 'a "b'),
        (Style.WORD, "8.0+PTX", "8.0+PTX"),
        (Style.WORD, 'a "b', '"a \\"b"'),
        (Style.SINGLE, 'a "b', 'a "b'),
        (Style.SINGLE, "a'b", None),
        (Style.DOUBLE, 'a "b\\', 'a \\"b\\\\'),
        *((style, "a`id`", None) for style in (Style.WORD, Style.DOUBLE, Style.ENV_PLAIN, Style.ENV_QUOTED)),
        (Style.SINGLE, "a`id`", "a`id`"),
        (Style.TOML_LITERAL, "a'b", None),
        (Style.TOML_LITERAL, "ab", "ab"),
        (Style.YAML_SINGLE, "a'b", "a''b"),
        (Style.YAML_PLAIN, "13.0.2", "13.0.2"),
        (Style.YAML_PLAIN, "a: b", '"a: b"'),
        *[(Style.YAML_PLAIN, text, text) for text in ("12.9", "0", "-1", "8.0", "true", "12.9.1")],
        *[(Style.YAML_PLAIN, text, f'"{text}"') for text in ("12.10", "00", "1:30", "1e3", "0x1", "1_0", "null", "1.")],
        *[(style, "12.9", "12.9") for style in (Style.JSON_BARE, Style.TOML_BARE, Style.HCL_BARE)],
        *[(style, "12.10", '"12.10"') for style in (Style.JSON_BARE, Style.TOML_BARE, Style.HCL_BARE)],
        (Style.YAML_PLAIN, "a:", '"a:"'),
        (Style.YAML_PLAIN, "", '""'),
        (Style.YAML_DOUBLE, 'a"b', 'a\\"b'),
        (Style.YAML_BLOCK, "a'b", "a'b"),
        (Style.HCL_STRING, '${a} %{b} "c"', '$${a} %%{b} \\"c\\"'),
        (Style.HCL_BARE, "16", "16"),
        (Style.HCL_BARE, "true", "true"),
        (Style.HCL_BARE, "16x", '"16x"'),
        (Style.JSON_STRING, 'a"é', 'a\\"é'),
        (Style.JSON_BARE, "-1.5", "-1.5"),
        (Style.JSON_BARE, "01", '"01"'),
        (Style.TOML_BARE, "false", "false"),
        (Style.TOML_BASIC, 'a"', 'a\\"'),
    ],
)
def test_a_value_in_its_quoting(style: Style, value: str, written: str | None) -> None:
    assert write(value, (style,)) == written


def test_quotings_nest_and_controls_are_refused() -> None:
    assert write('a "b"', (Style.WORD, Style.YAML_DOUBLE)) == '\\"a \\\\\\"b\\\\\\"\\"'
    assert write("it's", (Style.SINGLE, Style.YAML_DOUBLE)) is None
    for char in "\n\t\x00\x7f\x85\u2028":
        assert write(f"a{char}b", (Style.RAW,)) is None


@given(st.text(alphabet=st.characters(min_codepoint=0x20, max_codepoint=0x24F, exclude_characters="\x7f\x85")))
def test_json_reads_what_is_written(value: str) -> None:
    if not any(0x7F <= ord(char) < 0xA0 for char in value):
        assert json.loads(f'"{write(value, (Style.JSON_STRING,))}"') == value


def test_lines_and_columns_begin_with_one() -> None:
    lines = Lines.of("ab\r\n\nc")
    assert [lines.place(offset) for offset in (0, 2, 3, 4, 5, 6)] == [(1, 1), (1, 3), (1, 4), (2, 1), (3, 1), (3, 2)]


def test_a_part_of_a_source_keeps_its_places() -> None:
    whole = Source(text="abcdef", base=10, outer=(Style.YAML_PLAIN,), via="x")
    part = whole.part(2, 5)
    assert (part.text, part.span(0, 2), part.outer, part.via) == ("cde", (12, 14), (Style.YAML_PLAIN,), "x")
    mapped = Source(text="abc", starts=[3, 5, 9], ends=[4, 8, 10], base=3)
    assert mapped.span(0, 3) == (3, 10)
    assert mapped.span(1, 1) == (5, 5)
    assert mapped.span(3, 3) == (10, 10)
    inner = mapped.part(1, 3)
    assert (inner.text, inner.span(0, 1), inner.base) == ("bc", (5, 8), 5)
    assert Source(text="", starts=[], ends=[], base=7).span(0, 0) == (7, 7)
