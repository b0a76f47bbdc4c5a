"""However deeply a file is nested: each reader gives a value, or the one error with its place."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.cuda.cmake import read_kernels
from orchestrator.cuda.toolkit import toolkit_for
from orchestrator.dockerfile import declared as dockerfile
from orchestrator.dockerfile.spans import Source
from orchestrator.drift.readers import bake, data, requirements, shell
from orchestrator.drift.readers.errors import MAX_DEPTH, ReadError
from tests.support.generated import examples

if TYPE_CHECKING:
    from collections.abc import Callable

READERS: dict[str, Callable[[str], object]] = {
    "json": lambda text: _leaves(text, "json"),
    "yaml": lambda text: _leaves(text, "yaml"),
    "toml": lambda text: _leaves(text, "toml"),
    "hcl": lambda text: _bake(text, json=False),
    "bake in json": lambda text: _bake(text, json=True),
    "shell": lambda text: [*shell.assignments(Source(text=text)), *shell.build_args(Source(text=text))],
    "dockerfile": dockerfile.declarations,
    "requirements": lambda text: requirements.read(Source(text=text), "torch"),
    "cmake": lambda text: read_kernels(text, toolkit_for("13.0")).families,
}


def _leaves(text: str, format_: data.Format) -> list[str]:
    return [node.value for root in data.parse(text, format_) for node in root.scalars()]


def _bake(text: str, *, json: bool) -> list[object]:
    file = bake.parse(text, json=json)
    return [file.variable(name) for name in file.variables]


DEPTH = 1200  # more than the 1,000 frames of Python: a reader without a bound of its own ends in a traceback

# Before it, what opens, what stands inside, what closes, after it.
NESTS = {
    "list": ("", "[", "1", "]", ""),
    "mapping": ("", "{", "a = 1", "}", ""),
    "json mapping": ("", '{"a": ', "1", "}", ""),
    "yaml mapping": ("", "{a: ", "1", "}", ""),
    "sequence": ("", "- ", "1", "", "\n"),
    "question": ("", "? ", "1", "", "\n"),
    "anchors": ("", "&a [", "1", "]", ""),
    "toml list": ("a = ", "[", "1", "]", "\n"),
    "toml mapping": ("a = ", "{a = ", "1", "}", "\n"),
    "dotted keys": ("a", ".a", " = 1", "", "\n"),
    "dotted tables": ("[a", ".a", "]", "", "\n"),
    "tables of tables": ("", "[[", "a", "]]", "\n"),
    "hcl list": ("a = ", "[", "1", "]", "\n"),
    "hcl mapping": ("a = ", "{ a = ", "1", "}", "\n"),
    "hcl mixed": ("a = ", "[{ a = ", "1", "}]", "\n"),
    "hcl blocks": ("", 'a "b" {\n', "", "}\n", ""),
    "hcl templates": ('a = "', '${"', "x", '"}', '"\n'),
    "hcl brackets in a template": ('a = "${', "{", "x", "}", '}"\n'),
    "hcl calls": ("a = ", "f(", "1", ")", "\n"),
    "json templates": ('{"variable": {"A": {"default": "', '${\\"', "x", '\\"}', '"}}}'),
    "shell if": ("", "if true; then\n", "A=1\n", "fi\n", ""),
    "shell case": ("", "case x in\na) ", "A=1", " ;;\nesac\n", ""),
    "shell case with another pattern": ("", "case x in a) case y in b|c) ", "A=1", " ;; esac ;; esac\n", ""),
    "shell substitution": ('A="', '$(echo "', "x", '")', '"\n'),
    "shell default": ("A=", "${B:-", "x", "}", "\n"),
    "shell subshell": ("", "(", "A=1", ")", "\n"),
    "shell group": ("", "{ ", "A=1", ";}", "\n"),
    "docker default": ("FROM x\nARG A=", "${B:-", "x", "}", "\n"),
    "docker heredocs": ("FROM x\n", "RUN <<E\n", "ARG A=1\n", "E\n", ""),
    "cmake condition": ("if(", "(", "A", ")", ")\nendif()\n"),
    "cmake not": ("if(", "NOT ", "A", "", ")\nendif()\n"),
    "cmake or": ("if(", "A OR ", "A", "", ")\nendif()\n"),
    "cmake and": ("if(", "A AND ", "A", "", ")\nendif()\n"),
    "cmake if": ("", "if(A)\n", "", "endif()\n", ""),
    "quotes": ("", "\"'", "", "'\"", ""),
}  # fmt: skip


def read(name: str, text: str) -> ReadError | None:
    try:
        READERS[name](text)
    except ReadError as error:
        return error
    return None


def in_the_text(error: ReadError, text: str) -> bool:
    if error.offset is not None and not error.line:
        return 0 <= error.offset <= len(text)
    lines = text.split("\n")
    return 1 <= error.line <= len(lines) and 1 <= error.column <= len(lines[error.line - 1]) + 2


@pytest.mark.parametrize("nest", NESTS)
@pytest.mark.parametrize("closed", [True, False], ids=["closed", "open"])
def test_deeper_than_python_goes(nest: str, closed: bool) -> None:
    before, opens, inside, closes, after = NESTS[nest]
    text = before + opens * DEPTH + inside + (closes * DEPTH + after if closed else "")
    started = time.monotonic()
    for name in READERS:
        error = read(name, text)
        assert error is None or in_the_text(error, text), (name, error)
    assert time.monotonic() - started < 10  # a second reading of each level would never end


@pytest.mark.parametrize(
    ("reader", "nest"),
    [
        ("json", "list"), ("json", "json mapping"), ("yaml", "list"), ("yaml", "yaml mapping"), ("yaml", "sequence"),
        ("toml", "toml list"), ("toml", "toml mapping"), ("toml", "dotted keys"), ("toml", "dotted tables"),
        ("hcl", "hcl list"), ("hcl", "hcl mapping"), ("hcl", "hcl blocks"), ("hcl", "hcl templates"),
        ("hcl", "hcl brackets in a template"), ("shell", "shell if"), ("shell", "shell case"),
    ],
)  # fmt: skip
def test_what_is_a_value_and_what_is_too_deep(reader: str, nest: str) -> None:
    before, opens, inside, closes, after = NESTS[nest]

    def nested(count: int) -> str:
        return before + opens * count + inside + closes * count + after

    assert read(reader, nested(20)) is None
    error = read(reader, nested(3 * MAX_DEPTH))
    assert error is not None
    assert "nested too deeply, expected at most 100 levels" in error.what
    assert in_the_text(error, nested(3 * MAX_DEPTH))


pieces = st.sampled_from(sorted({part for nest in NESTS.values() for part in nest if part}))


@examples(150)
@given(st.lists(st.tuples(pieces, st.sampled_from([1, 1, 2, 3, 50, 120, 400])), max_size=6))
def test_any_nesting_ends_in_a_value_or_the_error(parts: list[tuple[str, int]]) -> None:
    text = "".join(piece * count for piece, count in parts)
    for name in READERS:
        error = read(name, text)
        assert error is None or in_the_text(error, text), (name, error, text)


def test_merged_mappings_end() -> None:
    levels = "".join(f"{chr(98 + n)}: &{chr(98 + n)} {{<<: [{','.join(['*' + chr(97 + n)] * 9)}]}}\n" for n in range(9))
    error = read("yaml", f"a: &a {{x: 1, y: 2}}\n{levels}")
    assert error is not None
    assert "too many values" in error.what
    error = read("yaml", "a: &a {<<: *a}\n")
    assert error is not None
    assert "nested too deeply" in error.what


def test_values_that_double_each_other_end() -> None:
    lines = "".join(f"V{number + 1}=$V{number}$V{number}\n" for number in range(60))
    assert read("shell", f"V0=x\n{lines}") is None
    assert read("dockerfile", "FROM x\nARG V0=x\n" + "".join(f"ARG {line}\n" for line in lines.splitlines())) is None
