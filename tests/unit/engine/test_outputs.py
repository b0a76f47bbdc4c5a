"""Outputs of bake files get another name, so that reading them opens nothing; caches are not lost by it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from orchestrator.engine.outputs import renamed


@pytest.mark.parametrize(
    ("text", "expected", "count"),
    [
        (
            {"target": {"app": {"output": ["type=tar"], "cache-to": ["x"]}}},
            {"cache-to": ["type=tar"], "x-cache-to": ["x"]}, 1,
        ),
        ({"target": [{"app": [{"output": ["type=tar"]}]}]}, {"cache-to": ["type=tar"]}, 1),
        ({"target": {"app": {"args": {"output": "a"}}}}, {"args": {"output": "a"}}, 0),
    ],
)  # fmt: skip
def test_targets_of_json(text: dict[str, Any], expected: dict[str, Any], count: int) -> None:
    new, found = renamed("docker-bake.json", json.dumps(text))
    target = json.loads(new)["target"]
    app = target[0]["app"][0] if isinstance(target, list) else target["app"]
    assert (app, found) == (expected, count)


def test_what_is_no_target_of_json_stays() -> None:
    text = {"group": {"default": {"targets": ["output"]}}, "variable": {"output": {"default": "a"}}, "output": 1}
    new, found = renamed("docker-bake.json", json.dumps(text))
    assert (json.loads(new), found) == (text, 0)


def test_json_that_cannot_be_read_stays() -> None:
    assert renamed("docker-bake.json", '{"target": ') == ('{"target": ', 0)


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        ("a.hcl", 'target "a" {\n  output = ["type=tar"]\n}\n', 'target "a" {\n  cache-to = ["type=tar"]\n}\n'),
        ("a.hcl", 'x = output == "a"\n', 'x = output == "a"\n'),
        ("a.hcl", "y = target.a.output\n", "y = target.a.cache-to\n"),
        ("a.yaml", "services:\n  a:\n    build:\n      x-bake:\n        output: [type=tar]\n",
         "services:\n  a:\n    build:\n      x-bake:\n        cache-to: [type=tar]\n"),
        ("a.yaml", "services:\n  a:\n    environment:\n      output: b\n",
         "services:\n  a:\n    environment:\n      output: b\n"),
    ],
)  # fmt: skip
def test_hcl_and_compose(file: str, text: str, expected: str) -> None:
    assert renamed(file, text)[0] == expected
