"""What the workflows and the action pin, and which of their lines decide something."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
ACTION = ROOT / "action.yml"


def values(node: Any, key: str) -> Iterator[Any]:
    """What stands under a key, wherever it is, each once."""
    if isinstance(node, dict):
        for name, value in node.items():
            if name == key:
                yield value
            else:
                yield from values(value, key)
    elif isinstance(node, list):
        for one in node:
            yield from values(one, key)


def test_each_pin_was_found_in_two_repositories_of_different_owners() -> None:
    used = {
        (found[1], found[3], found[2])
        for path in [*WORKFLOWS, ACTION]
        for found in re.finditer(r"uses: (\S+)@([0-9a-f]{40}) # (v\S+)", path.read_text(encoding="utf-8"))
    }
    table = re.findall(r"^\| (.*) \|$", (ROOT / ".github/PINS.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    rows = [row.split(" | ") for row in table[2:]]
    assert [(name, release, commit) for name, release, commit, *_ in rows] == sorted(used)
    for _, _, _, first, second in rows:
        assert re.fullmatch(r"[\w.-]+/[\w.-]+(#\d+| \S+)", first)
        assert re.fullmatch(r"[\w.-]+/[\w.-]+(#\d+| \S+)", second)
        assert first.partition("/")[0] != second.partition("/")[0]


def test_only_tried_lines_decide_anything() -> None:
    """Deleting a line of `env:` or an `if:` of images.yml, release.yml and action.yml is tried in tests/e2e."""
    read = {path.name: yaml.safe_load(path.read_text(encoding="utf-8")) for path in [*WORKFLOWS, ACTION]}
    decisions = {
        name: [*(key for one in values(tree, "env") for key in one), *values(tree, "if")] for name, tree in read.items()
    }
    assert decisions.pop("images.yml")
    assert all(name == "PYTHON" or name.startswith("INPUT_") for name in decisions.pop("action.yml"))
    assert decisions == {"ci.yml": [], "release.yml": ["TAG"]}


def test_no_expression_stands_in_a_script() -> None:
    """Its text would be shell: a branch's name, a title or an input becomes a command."""
    scripts = [one for path in [*WORKFLOWS, ACTION] for one in values(yaml.safe_load(path.read_text()), "run")]
    assert len(scripts) > 20
    assert [one for one in scripts if "${{" in one] == []
