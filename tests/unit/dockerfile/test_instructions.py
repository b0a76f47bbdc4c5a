"""Instructions and here-documents: what BuildKit cuts, and nothing that hides the rest of a file."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.dockerfile.declared import declarations
from orchestrator.dockerfile.directives import directives, escape_character, syntax
from orchestrator.dockerfile.heredoc import openings
from orchestrator.dockerfile.options import json_form, leading
from orchestrator.dockerfile.read import instructions
from orchestrator.dockerfile.stages import parse
from tests.support.generated import examples
from tests.support.work import steps

LAST = "ADD https://example.com/m.bin /m"


def keywords(text: str) -> list[str]:
    return [one.keyword for one in instructions(text)]


@pytest.mark.parametrize(
    "line",
    [
        'RUN python3 -c "print(1 << 20)"',
        "RUN cat <<<foo",
        "RUN [ $((1<<20)) -gt 0 ]",
        "RUN [ $(( 1 <<N )) -gt 0 ]",
        "RUN cat<<EOF",
        "RUN echo '<<EOF'",
        "RUN echo it's <<EOF",  # BuildKit cannot split the line, and opens nothing
        "RUN echo ${#a} <<EOF",
        'RUN ["cat", "<<EOF"]',
        "RUN cat <<EOF",  # never closed: BuildKit refuses the file
        "ENV A=<<EOF",
        "RUN echo a\\\\",  # a doubled escape does not continue the line
        "RUN echo a # \\\\",
        "RUN a \\\n# comment \\\n  b",
        "RUN a \\\n\n  b",
    ],
)
def test_nothing_hides_the_rest_of_the_file(line: str) -> None:
    text = f"FROM scratch\n{line}\n{LAST}\n"
    assert keywords(text) == ["FROM", line.split(maxsplit=1)[0], "ADD"]
    assert keywords(text.replace("\n", "\r\n")) == ["FROM", line.split(maxsplit=1)[0], "ADD"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\ufeffFROM scratch\nADD x /\n", ["FROM", "ADD"]),
        ("FROM\tscratch\nADD\thttps://x /\n", ["FROM", "ADD"]),
        ("FROM\vscratch\n\f\tADD x /\n", ["FROM", "ADD"]),
        ("# escape=`\nFROM scratch\nRUN a `\n  b\nADD c:\\\nADD d /\n", ["FROM", "RUN", "ADD", "ADD"]),
        ("#escape = `\nRUN a `\n  b\n", ["RUN"]),
        ("\n# escape=`\nRUN a `\n  b\n", ["RUN", "B"]),
        ("# a comment\n# escape=`\nFROM a\\\n AS b\n", ["FROM"]),
        ("RUN <<A cat <<B\n1\nA\n2\nB\nADD x /\n", ["RUN", "ADD"]),
        ("RUN <<-E\n\tADD no /\n\tE\nADD x /\n", ["RUN", "ADD"]),
        ("RUN <<E\n\tE\nE\nADD x /\n", ["RUN", "ADD"]),
        ("RUN 3<<E cat\nADD no /\nE\n", ["RUN"]),
        ("RUN <<'E F'\nADD no /\nE F\nADD x /\n", ["RUN", "ADD"]),
        ("COPY <<a.txt <<b.txt /x/\nADD\na.txt\nADD\nb.txt\n", ["COPY"]),
        ("ONBUILD RUN <<E\nADD no /\nE\nADD x /\n", ["ONBUILD", "ADD"]),
        ("ONBUILD COPY --chmod=644 <<E /x\nADD no /\nE\n", ["ONBUILD"]),
        ("RUN --mount=type=cache,target=/x <<E\nADD no /\nE\n", ["RUN"]),
        ("RUN echo ${A:-<<E}\nADD x /\n", ["RUN", "ADD"]),
        ("run\n", ["RUN"]),
        ("RUN a \\", ["RUN"]),
    ],
)
def test_the_instructions_are_buildkits(text: str, expected: list[str]) -> None:
    assert keywords(text) == expected


def test_bodies_lines_and_spans() -> None:
    text = "# syntax=x\nFROM a\n\nRUN --network=none \\\n  cat <<-'E' <<F\n\t\tone $X\n\tE\n\ttwo\nF\nADD b /\n"
    _, run, add = instructions(text)
    assert [(doc.name, doc.content, doc.expand) for doc in run.documents] == [
        ("E", "one $X\n", False),
        ("F", "\ttwo\n", True),
    ]
    assert (run.line, add.line) == (4, 10)
    assert text[run.start : run.end] == "RUN --network=none \\\n  cat <<-'E' <<F"
    source = run.source
    at = source.text.index("cat")
    assert text[slice(*source.span(at, at + 3))] == "cat"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# syntax=docker/dockerfile:1\n", "docker/dockerfile:1"),
        ("#SYNTAX = a/b:1 extra\n", "a/b:1"),
        ("\ufeff# syntax=a\n", "a"),
        ("#!/usr/bin/env x\n# syntax=a\n", "a"),
        ("// syntax=a\n", "a"),
        ("# escape=`\n# syntax=a\n", "a"),
        ("# unknown=1\n# syntax=a\n", "a"),
        ("# words\n# syntax=a\n", ""),
        ("\n# syntax=a\n", ""),
        ("# syntax=\n", ""),
        ("FROM a\n", ""),
    ],
)
def test_the_frontend_that_a_file_asks_for(text: str, expected: str) -> None:
    assert syntax(text) == expected


def test_directives_and_options() -> None:
    assert [(one.name, one.value) for one in directives("# escape=`\r\n# check=skip=all\r\nFROM a\n")] == [
        ("escape", "`"),
        ("check", "skip=all"),
    ]
    assert escape_character("# escape=x\n") == "\\"
    options, at = leading("""RUN --mount=type=bind,from='a b',"x" --network=none -- --no""", 3)
    assert [(one.name, one.value) for one in options] == [("mount", "type=bind,from=a b,x"), ("network", "none")]
    assert options[0].fields == {"type": "bind", "from": "a b", "x": ""}
    assert at == len("""RUN --mount=type=bind,from='a b',"x" --network=none --""")
    assert json_form('["a", "b"]') == ["a", "b"]
    assert json_form("[" * 100_000) is None
    assert json_form('["a", 1]') is None
    assert [one.name for one in openings("cat <<A 2<<-'B' << C <<<D E<<F <<- G << -H")] == ["A", "B", "C", "-H"]


def test_unclosed_here_documents_cost_linear_time() -> None:
    def text(count: int) -> str:
        return "FROM scratch\n" + "".join(f"RUN cat <<E{number}\n" for number in range(count))

    assert len(list(instructions(text(5_000)))) == 5_001
    few, many = steps(lambda: list(instructions(text(500)))), steps(lambda: list(instructions(text(2_000))))
    assert many < 5 * few


@pytest.mark.parametrize(
    "unit",
    [
        "ARG A{n}=$A{m}$A{m}\n",
        "FROM a{n} AS a{n}\n",
        "RUN <<A <<A <<A\nA\n",
        "RUN \"'\\\n",
        "RUN ${A:-\\\n",
        "RUN a \\\n",
        "COPY --from=a <<E /x{n}\nE\n",
    ],
)
def test_long_files_cost_linear_time(unit: str) -> None:
    def text(count: int) -> str:
        return "".join(unit.replace("{n}", str(n)).replace("{m}", str(n - 1)) for n in range(count))

    def work(count: int) -> None:
        parse(text(count))
        declarations(text(count))

    assert steps(lambda: work(800)) < 5 * steps(lambda: work(200))


PIECES = [
    "FROM a",
    "RUN ",
    "COPY ",
    "ADD ",
    "ARG A=",
    "--from=",
    "--mount=",
    "<<E",
    "<<-'E'",
    "E",
    "\n",
    "\\\n",
    "\r\n",
]
PIECES += ['"', "'", "`", "${", "}", "$", ":-", "# escape=`\n", "[", '"]', " ", "\t", "\ufeff", "#", "\\", "1 << 2"]


@given(st.lists(st.sampled_from(PIECES), max_size=40).map("".join))
@examples(300)
def test_any_text_can_be_read(text: str) -> None:
    ends = 0
    for one in instructions(text):
        assert ends <= one.start <= one.end <= len(text)
        assert one.text == "".join(text[start:end] for start, end in one.pieces)
        ends = one.end
    parse(text)
    declarations(text)
