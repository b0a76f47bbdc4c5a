"""docs/matrix.md lists the placeholders that exist, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from orchestrator.matrix.template import PLACEHOLDERS

DOCS = Path(__file__).parents[3] / "docs" / "matrix.md"


def test_placeholders_are_documented() -> None:
    text = DOCS.read_text(encoding="utf-8")
    part = text.split("<!-- placeholders:")[1].split("<!-- /placeholders -->")[0]
    assert dict(re.findall(r"^\| `\{([\w.]+)\}` \| (.*) \|$", part, re.MULTILINE)) == PLACEHOLDERS


def test_every_section_is_documented() -> None:
    from orchestrator.matrix.schema import MatrixFile

    text = DOCS.read_text(encoding="utf-8")
    assert [name for name in MatrixFile.section_keys if f"| `{name}` |" not in text] == []
