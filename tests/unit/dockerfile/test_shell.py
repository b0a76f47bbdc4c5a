"""Shell text as operators and words."""

from __future__ import annotations

import pytest

from orchestrator.dockerfile.shell import Operator, scan
from orchestrator.dockerfile.words import read_word


def shown(text: str) -> list[str]:
    found = []
    for one in scan(text, read_word):
        if isinstance(one, Operator):
            found.append(f"<<{'$' if one.expanded else ''}{one.document!r}" if one.text == "<<" else f" {one.text}")
        else:
            found.append(text[one.start : one.end])
    return found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a b", ["a", "b"]),
        ("a&&b||c;;d|&e;f|g&h(i)j\nk", ["a", " &&", "b", " ||", "c", " ;;", "d", " |&", "e", " ;", "f", " |", "g", " &",
                                        "h", " (", "i", " )", "j", " \n", "k"]),
        ("a # b && c\nd", ["a", " \n", "d"]), ("a#b", ["a#b"]), ("# a", []), ("a\\\nb", ["a\\\nb"]),
        ("a \\\n b", ["a", "b"]), ("a \\\r\n b", ["a", "b"]), ("a\\ b", ["a\\ b"]), ("\\a b", ["\\a", "b"]),
        ("'a b' \"c d\"", ["'a b'", '"c d"']), ("\ufeffa", ["a"]), ("a\tb\r\nc", ["a", "b", " \n", "c"]),
        ("a >b 2>&1 <c >>d >|e <<<f", ["a", " >", "b", " >", "1", " <", "c", " >", "d", " >", "e", " <", "f"]),
        ("", []),
    ],
)  # fmt: skip
def test_operators_and_words(text: str, found: list[str]) -> None:
    assert shown(text) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("cat <<E\nbody $x\nE\nnext", ["cat", "<<$'body $x\\n'", " \n", " \n", "next"]),
        ("cat <<'E'\nbody\nE\nnext", ["cat", "<<'body\\n'", " \n", " \n", "next"]),
        ("cat <<-E x\n\tbody\n\tE\nnext", ["cat", "<<$'\\tbody\\n'", "x", " \n", " \n", "next"]),
        ("cat << E\na\nE", ["cat", "<<$'a\\n'", " \n"]),
        ("cat <<A <<B\na\nA\nb\nB\nnext", ["cat", "<<$'a\\n'", "<<$'b\\n'", " \n", " \n", "next"]),
        ("cat <<E\nno end", ["cat", "<<$''", " \n", "no", "end"]),
        ("cat <<E\nE\nnext", ["cat", "<<$''", " \n", " \n", "next"]),
        ("cat <<A <<B\nx\nB\nnext", ["cat", "<<$''", "<<$'x\\n'", " \n", " \n", "next"]),
        ("a <<E; b\nx\nE\nc <<E\ny\nE\n", ["a", "<<$'x\\n'", " ;", "b", " \n", " \n", "c", "<<$'y\\n'", " \n", " \n"]),
    ],
)
def test_the_bodies_of_here_documents(text: str, found: list[str]) -> None:
    assert shown(text) == found
