"""The pointers to the values of a tree."""

from __future__ import annotations

import pytest

from orchestrator.drift.readers import data, pointers
from orchestrator.drift.readers.pointers import Step

TEXT = """\
top: 1
list: [a, b]
steps:
  - {id: one, run: x}
  - {key: two, run: y}
  - {name: three, run: z}
  - {label: four, run: u}
  - {id: "no name", run: v}
  - {id: [deep], name: five, default: w}
inputs:
  cuda: {default: "13.0"}
empty: []
mixed: [a, {b: c}]
"""


def test_every_value_has_a_pointer_that_survives() -> None:
    (root,) = data.parse(TEXT, "yaml")
    found = {
        "/".join(pointers.pointer(steps)): (key, pointers.named_by(steps, key), "/".join(pointers.named_part(steps)))
        for steps, key, _ in pointers.values(root, (), "")
    }
    assert found == {
        "top": ("top", "top", ""),
        "list": ("list", "list", ""), "list/0": ("list", "list", ""), "list/1": ("list", "list", ""),
        **{f"steps/{one}/{one.split('=')[0]}": (one.split("=")[0], one.split("=")[0], f"steps/{one}")
           for one in ("id=one", "key=two", "name=three", "label=four", "name=five")},
        **{f"steps/{one}/run": ("run", "run", f"steps/{one}")
           for one in ("id=one", "key=two", "name=three", "label=four")},
        "steps/4/id": ("id", "id", ""), "steps/4/run": ("run", "run", ""),
        "steps/name=five/id": ("id", "id", "steps/name=five"), "steps/name=five/id/0": ("id", "id", "steps/name=five"),
        "steps/name=five/default": ("default", "five", "steps/name=five"),
        "inputs/cuda/default": ("default", "cuda", ""),
        "mixed/0": ("mixed", "mixed", ""), "mixed/1/b": ("b", "b", ""),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("steps", "key", "name"),
    [
        ((Step(text="default"),), "default", "default"),
        ((Step(text="a"), Step(text="value")), "value", "a"),
        ((Step(text="a"), Step(text="0", item=True), Step(text="value")), "value", "value"),
        ((Step(text="a"), Step(text="default"), Step(text="0", item=True)), "default", "a"),
        ((Step(text="a"), Step(text="b")), "default", "default"),
        ((Step(text="a"), Step(text="other")), "other", "other"),
    ],
)
def test_a_default_has_the_name_of_what_it_stands_in(steps: tuple[Step, ...], key: str, name: str) -> None:
    assert pointers.named_by(steps, key) == name
