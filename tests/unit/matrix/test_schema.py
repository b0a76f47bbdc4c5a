"""The JSON Schema that editors use, and this repository's own matrices against the models behind it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.matrix import expand, load
from orchestrator.matrix.json_schema import json_schema
from tests.unit.matrix.support import EXAMPLE, fact, parse

ROOT = Path(__file__).resolve().parents[3]
SHIPPED = sorted(path.relative_to(ROOT) for path in [ROOT / "matrix.yaml", *ROOT.glob("examples/*/matrix.yaml")])


def test_the_committed_schema_is_the_one_printed() -> None:
    committed = (ROOT / "matrix.schema.json").read_text(encoding="utf-8")
    assert committed == json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n", (
        "run: orchestrate schema > matrix.schema.json"
    )


def test_there_are_matrices_to_check() -> None:
    assert [str(path) for path in SHIPPED] == [
        "examples/axpy/matrix.yaml", "examples/vllm/matrix.yaml", "examples/vllm-kernels/matrix.yaml", "matrix.yaml",
    ]  # fmt: skip


@pytest.mark.parametrize("path", SHIPPED, ids=str)
def test_the_shipped_matrices_are_right(path: Path) -> None:
    plan = expand.plan(load.load(ROOT / path), fact=fact)
    assert plan.variants


def test_the_first_line_of_ours_names_the_schema() -> None:
    first = (ROOT / "matrix.yaml").read_text(encoding="utf-8").splitlines()[0]
    assert first == "# yaml-language-server: $schema=matrix.schema.json"


def sections(schema: dict[str, Any]) -> list[dict[str, Any]]:
    return [schema, *schema["$defs"].values()]


def test_every_key_is_explained_and_no_other_is_taken() -> None:
    schema = json_schema()
    assert schema["$schema"].endswith("2020-12/schema")
    for section in sections(schema):
        assert section["additionalProperties"] is False, section["title"]
        assert section["description"]
        for name, field in section["properties"].items():
            explained = "description" in field or "$ref" in field or name in {"arch_lists", "cuda", "platforms"}
            assert explained, (section["title"], name)


def test_numbers_and_words_of_yaml_are_text() -> None:
    """An editor must not complain where the tool does not: versions are written without quotes."""
    text = EXAMPLE.replace(
        "args: {max_jobs: 8}", "args: {max_jobs: 8, A: yes, B: 1.10, C: 0x10, D: 2026-01-01, E: null}"
    )
    override = parse(text).spec.overrides[0]
    assert override.args == {"max_jobs": "8", "A": "yes", "B": "1.10", "C": "0x10", "D": "2026-01-01", "E": None}
    field = json_schema()["$defs"]["Override"]["properties"]["args"]["additionalProperties"]
    assert {"type": ["string", "number", "boolean"]} in field["anyOf"]
    assert {"type": "null"} in field["anyOf"]


def test_the_short_forms_that_the_tool_reads_are_in_the_schema() -> None:
    schema = json_schema()
    properties = schema["properties"]
    assert {"type": "string"} in properties["arch_lists"]["additionalProperties"]["anyOf"]
    assert {"type": "null"} in properties["platforms"]["additionalProperties"]["anyOf"]
    assert {"type": "null"} in properties["axes"]["additionalProperties"]["additionalProperties"]["anyOf"]
    bake = schema["$defs"]["Bake"]["properties"]
    assert {"type": "array", "items": {"type": "string"}} in bake["targets"]["anyOf"]
    assert {"type": ["string", "number", "boolean"]} in bake["files"]["anyOf"]
