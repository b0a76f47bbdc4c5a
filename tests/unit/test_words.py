"""What users read (pages, messages, help) uses the words of docker, pip and GitHub: one term for one thing."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import pytest

from tests.support.source import nodes

TOP = Path(__file__).parents[2]
# Each with the word to use.
ODD = {
    r"\brooms\b|\bstoreys?\b": "package",
    r"\b(?:is|are|was|were|be|only|and) told\b|^told\b|\btold (?:from|apart|by)\b": "reported, shown, judged",
    r"\bstrangers?\b|\bforeign hands?\b": "untrusted",
    r"\bmend(?:s|ed|ing)?\b": "repair",
    r"\boverrul\w+": "replaces",
    r"\blikewise\b|\bthe dear\b|\bhitherto\b|\bwherein\b": "plain English",
    r"\bwhoever\b": "who, anybody who",
    r"\bserves? nobody\b|\basks? nobody\b": "the thing that does not happen",
    r"\b(?:matrix|at|credentials) at hand\b": "this",
    r"\blacks?\b(?! of)": "is missing, does not have",
    r"\banew\b": "again",
    r"\b(?:small|capital) letters?\b": "lowercase, uppercase",
    r"(?<!<)\bblanks?\b": "space",
    r"\bpassed over\b|\blaid over\b|\bstays unread\b|\bis no image\b": "skipped",
}
SAID = r"\bwould\b"
"""In errors and remarks, which say what is: "runs another kernel", not "would run another kernel"."""
PAGES = [
    *sorted(TOP.glob("docs/**/*.md")),
    *(TOP / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "action.yml")),
    *sorted(TOP.glob(".github/**/*.md")),
]


@functools.cache
def shown() -> list[tuple[str, str]]:
    """The texts that users read, each with its place: lines of pages, constants with a blank, and help of commands."""
    found = [
        (f"{path.relative_to(TOP)}:{number}", line)
        for path in PAGES
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
    ]
    for path in sorted(TOP.glob("orchestrator/**/*.py")):
        all_nodes = nodes(path)
        # Docstrings and texts below attributes; those of commands are their help.
        hidden = set() if "cli" in path.parts else {id(node.value) for node in all_nodes if isinstance(node, ast.Expr)}
        for node in all_nodes:
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in hidden:
                found += [
                    (f"{path.relative_to(TOP)}:{node.lineno}", line) for line in node.value.splitlines() if " " in line
                ]
    return found


@pytest.mark.parametrize("form", ODD)
def test_no_odd_word_is_shown(form: str) -> None:
    found = [f"{place}: {line.strip()}" for place, line in shown() if re.search(form, line, re.IGNORECASE)]
    assert not found, f"write instead: {ODD[form]}\n" + "\n".join(found)


def test_errors_say_what_is() -> None:
    code = [(place, line) for place, line in shown() if place.startswith("orchestrator/")]
    said = [(place, line) for place, line in code if not place.startswith(("orchestrator/cli/", "orchestrator/ui/"))]
    assert len(said) > 1_000
    assert not [f"{place}: {line.strip()}" for place, line in said if re.search(SAID, line)]


def test_each_form_finds_its_word() -> None:
    odd = (
        "a map of rooms", "that is told", "a stranger's file", "mends the rest", "it overrules", "likewise",
        "Whoever may", "it asks nobody", "credentials at hand", "what it lacks", "made anew", "small letters",
        "separated by blanks", "is no image reference",
    )  # fmt: skip
    assert [form for form, text in zip(ODD, odd, strict=True) if not re.search(form, text, re.IGNORECASE)] == []
