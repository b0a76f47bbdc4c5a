"""README and docs say what the program has: commands, options, exit codes, and links that lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from orchestrator.errors import FailureClass
from tests.unit.cli.test_options import COMMANDS, OPTIONS

TOP = Path(__file__).parents[3]
PAGES = {
    str(path.relative_to(TOP)): path.read_text(encoding="utf-8")
    for path in (*TOP.glob("*.md"), *TOP.glob("docs/**/*.md"), *TOP.glob("examples/*/README.md"))
}
_LONG = re.compile(r"(?<![\w-])--[a-z][\w-]*")


def test_every_command_is_in_the_table_of_the_readme() -> None:
    table = PAGES["README.md"].split("\n## Commands\n")[1].split("\n## ")[0]
    rows = [row for row in table.splitlines() if row.startswith("| ")]

    def told(first: str, last: str) -> bool:
        return any(f"`orchestrate {first}" in row and re.search(rf"\b{last}\b", row) for row in rows)

    assert [name for name in COMMANDS if not told(name.split()[0], name.split()[-1])] == []


def test_every_option_is_on_a_page() -> None:
    # The reference is written from the options themselves, and would tell any.
    told = {word for page, text in PAGES.items() if "/reference/" not in page for word in _LONG.findall(text)}
    assert sorted({max(option.opts, key=len) for _, option in OPTIONS} - told) == []


@pytest.mark.parametrize("page", sorted(PAGES))
def test_a_command_on_a_page_has_the_options_that_stand_behind_it(page: str) -> None:
    known = {name: {"--help"} for name in COMMANDS}
    for name, option in OPTIONS:
        if name:
            known[name] |= {*option.opts, *option.secondary_opts}
    wrong = []
    for found in re.finditer(r"\borchestrate ([a-z]+)(?: ([a-z]+))?\b([^`(;|&\n]*)", PAGES[page]):
        name = next((one for one in (f"{found[1]} {found[2]}", found[1]) if one in known), "")
        wrong += [f"{name} {option}" for option in _LONG.findall(found[3]) if name and option not in known[name]]
    assert wrong == []


def test_the_tables_of_exit_codes_are_those_of_the_program() -> None:
    def codes(page: str) -> set[int]:
        table = PAGES[page].split("\n## Exit codes\n")[1].split("\n## ")[0]
        return {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)}

    assert codes("README.md") == codes("docs/build.md") == {0, *(one.exit_code for one in FailureClass)}
    rows = dict(re.findall(r"^\| `([a-z-]+)` \| (\d+) \|", PAGES["docs/build.md"], re.MULTILINE))
    # Commands end with these two; no variant of a build does.
    variants = set(FailureClass) - {FailureClass.USAGE, FailureClass.DRIFT}
    assert rows == {one.value: str(one.exit_code) for one in variants}


def anchors(text: str) -> set[str]:
    """What GitHub calls the headings of a page."""
    plain = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    titles = (re.sub(r"[^\w\- ]", "", title.lower()) for title in re.findall(r"^#+ (.+)$", plain, re.MULTILINE))
    return {title.replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", sorted(PAGES))
def test_links_lead_somewhere(page: str) -> None:
    wrong = []
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)", PAGES[page]):
        path = (TOP / page).parent / target if target else TOP / page
        if not path.exists() or (anchor and anchor not in anchors(path.read_text(encoding="utf-8"))):
            wrong.append(f"{target}#{anchor}")
    assert wrong == []


def test_pages_that_sources_name_exist() -> None:
    named = {
        (str(path.relative_to(TOP)), page)
        for path in sorted((TOP / "orchestrator").rglob("*.py"))
        for page in re.findall(r"docs/[a-z-]+\.md", path.read_text(encoding="utf-8"))
    }
    assert len(named) > 10
    assert {(source, page) for source, page in named if page not in PAGES} == set()


def test_the_changelog_says_each_thing_once() -> None:
    """A merge of two changes to the changelog easily keeps both forms of a line."""
    starts = [line[:28] for line in PAGES["CHANGELOG.md"].splitlines() if line.startswith("- ")]
    assert sorted({start for start in starts if starts.count(start) > 1}) == []
