"""Which here-documents a line opens; BuildKit's own answers are in tests/differential."""

from __future__ import annotations

import pytest

from orchestrator.dockerfile.heredoc import Opening, openings


def names(line: str) -> list[str]:
    return [one.name for one in openings(line)]


@pytest.mark.parametrize(
    ("line", "name", "chomp", "expand"),
    [
        ("RUN <<EOF", "EOF", False, True),
        ("RUN <<-EOF", "EOF", True, True),
        ("RUN << EOF", "EOF", False, True),
        ("RUN << \t EOF", "EOF", False, True),
        ("RUN 3<<EOF", "EOF", False, True),
        ('RUN <<"EOF"', "EOF", False, False),
        ("RUN <<'EOF'", "EOF", False, False),
        ("RUN <<-'E F'", "E F", True, False),
        ("RUN <<E'O'F", "EOF", False, False),
        ("RUN <<E\\OF", "EOF", False, True),
    ],
)
def test_a_here_document_is_a_word_of_its_own(line: str, name: str, *, chomp: bool, expand: bool) -> None:
    assert openings(line) == [Opening(name=name, chomp=chomp, expand=expand)]


@pytest.mark.parametrize(
    "line",
    [
        "RUN echo", "RUN cat<<EOF", "RUN <<<word", "RUN <<", "RUN <<-", "RUN <<- EOF", "RUN $((1<<20))", "RUN '<<EOF'",
        'RUN "<<EOF"', 'RUN "a <<EOF b"', "RUN <<''", "RUN x3<<EOF", "RUN < <EOF",
    ],
)  # fmt: skip
def test_what_opens_none(line: str) -> None:
    assert openings(line) == []


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("RUN <<A <<B cat", ["A", "B"]), ("RUN a <<A\t<<B", ["A", "B"]), ("<<A", ["A"]),
        ("RUN 'x y' <<A", ["A"]), ('RUN "x y" <<A', ["A"]), ("RUN \\\" <<A", ["A"]), ("RUN \\' <<A", ["A"]),
        ("RUN $x <<A", ["A"]), ("RUN ${x} <<A", ["A"]), ("RUN ${x:-y} <<A", ["A"]), ("RUN ${x-y} <<A", ["A"]),
        ("RUN ${x:+y} <<A", ["A"]), ("RUN ${x:?y} <<A", ["A"]), ("RUN ${x#y} <<A", ["A"]), ("RUN ${x##y} <<A", ["A"]),
        ("RUN ${x%y} <<A", ["A"]), ("RUN ${x/y/z} <<A", ["A"]), ("RUN ${x//y/z} <<A", ["A"]), ("RUN $? <<A", ["A"]),
        ("RUN $1 <<A", ["A"]), ("RUN $ <<A", ["A"]), ("RUN ${@} <<A", ["A"]), ("RUN ${x:-${y}} <<A", ["A"]),
        ('RUN ${x:-"a }b"} <<A', ["A"]), ("RUN ${x:-'}'} <<A", ["A"]), ("RUN \"it's\" <<A", ["A"]), ("RUN a\\ <<A", []),
        ("RUN ${x:-a <<B} <<A", ["B}", "A"]),
        ("RUN ${x/ <<B/c} <<A", ["B/c}", "A"]), ('RUN "${x}" <<A', ["A"]), ("RUN \\", []),
        ('RUN "a\\" b" <<A', ["A"]), ("RUN 'a\\' <<A", ["A"]),
    ],
)  # fmt: skip
def test_quotes_and_variables_before_one_are_followed(line: str, found: list[str]) -> None:
    assert names(line) == found


@pytest.mark.parametrize(
    "line",
    [
        "RUN ' <<A", 'RUN " <<A', "RUN ${x <<A", "RUN ${ <<A", "RUN ${} <<A", "RUN ${{} <<A", "RUN ${:-x} <<A",
        "RUN ${x!y} <<A", "RUN ${x:-y <<A", "RUN ${x/y <<A", "RUN ${x/y} <<A", "RUN ${x^} <<A", "RUN <<A ${",
        "RUN <<A '",
    ],
)  # fmt: skip
def test_a_line_that_cannot_be_followed_opens_none(line: str) -> None:
    assert openings(line) == []
