"""The locks of requirements/: what action.yml installs is what the tests ran with, and nothing is missing in it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def locked(name: str) -> dict[str, str]:
    """Versions by package, of one lock."""
    text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
    hashed = re.findall(r"^\S+==[^\n]*\\\n    --hash=sha256:[0-9a-f]{64}", text, re.MULTILINE)
    assert len(hashed) == len(re.findall(r"^\S", text, re.MULTILINE))
    return dict(re.findall(r"^([\w.-]+)==([^\s;]+)", text, re.MULTILINE))


def test_the_action_installs_what_was_tested() -> None:
    run, dev = locked("run.txt"), locked("dev.txt")
    assert run
    assert {name: version for name, version in run.items() if dev.get(name) != version} == {}


def test_every_dependency_is_locked_for_the_action() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = [re.match(r"[\w.-]+", one) for one in [*project["dependencies"], "setuptools"]]
    assert {match[0] for match in named if match} <= locked("run.txt").keys()


def test_no_lock_names_an_index() -> None:
    for path in (ROOT / "requirements").glob("*.txt"):
        assert not re.search(r"https?://|--(extra-)?index-url|--find-links", path.read_text(encoding="utf-8")), (
            path.name
        )
