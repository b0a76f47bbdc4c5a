"""`orchestrate schema`: the schema of matrix.yaml, and the placeholders."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from orchestrator.cli import app
from orchestrator.matrix.json_schema import json_schema
from orchestrator.matrix.template import PLACEHOLDERS

if TYPE_CHECKING:
    import pytest


def test_the_schema_is_printed_whole(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["schema"]) == 0
    shown = capsys.readouterr()
    assert (json.loads(shown.out), shown.err) == (json_schema(), "")
    assert shown.out == json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def test_placeholders_are_listed_with_their_meaning(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["schema", "--placeholders", "-f", "gone.yaml"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ", 1)[0] for line in lines] == [f"{{{name}}}" for name in PLACEHOLDERS]
    assert [line[line.index("  ") :].strip() for line in lines] == list(PLACEHOLDERS.values())
    columns = {line.index(meaning) for line, meaning in zip(lines, PLACEHOLDERS.values(), strict=True)}
    assert columns == {max(map(len, PLACEHOLDERS)) + 4}
