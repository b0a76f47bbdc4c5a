"""Every name that one part of matrix.yaml uses of another must exist, wherever it stands."""

from __future__ import annotations

import pytest

from orchestrator.errors import MatrixError
from tests.unit.matrix.support import changed, parse, problems

PLACES = {
    "variants": ("  arch_list: release\n", "  arch_list: relaese\n"),
    "override": ("    args: {max_jobs: 8}\n", "    args: {max_jobs: 8}\n    arch_list: relaese\n"),
    "cuda": ('  "13.0": {version: 13.0.2}', '  "13.0": {version: 13.0.2, arch_list: relaese}'),
    "platform": ("linux/amd64: {", "linux/amd64: {arch_list: relaese, "),
    "target": ("openai: {}", "openai: {arch_list: relaese}"),
}


@pytest.mark.parametrize("place", PLACES)
def test_an_unknown_arch_list_is_named_with_its_place(place: str) -> None:
    old, new = PLACES[place]
    text = changed(old, new)
    line = text[: text.index("relaese")].count("\n") + 1
    (problem,) = problems(text)
    assert problem.startswith(f"matrix.yaml:{line}:")
    assert "unknown arch list relaese" in problem
    assert "did you mean release?" in problem
    with pytest.raises(MatrixError):
        parse(text)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("headers: {policy", "headers: {targets: [opneai], policy", "unknown target opneai; did you mean openai?"),
        ("publish:\n", "publish:\n  require_platforms: [linux/amd46]\n", "unknown platform linux/amd46; did you mean"),
    ],
)
def test_targets_and_platforms_must_exist(old: str, new: str, words: str) -> None:
    (problem,) = problems(changed(old, new))
    assert words in problem
