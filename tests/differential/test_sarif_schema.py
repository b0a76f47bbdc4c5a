"""What is written as SARIF, beside the standard's own schema (as models generated from it that nobody here wrote)."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

import pydantic
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.cuda.arch import parse_list
from orchestrator.image.verdict.compare import compare
from orchestrator.image.verdict.policy import Policy
from orchestrator.image.verdict.scanned import scan_source
from orchestrator.image.verdict.verify import verdict
from orchestrator.ui import kernel_sarif
from orchestrator.ui.github import Place
from orchestrator.ui.sarif import Finding, Level, Rule, log
from tests.support import fatbins
from tests.support.artifacts import download, unpacked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.download

TEXT = st.text(min_size=1, max_size=40)
PLACES = st.builds(
    Place,
    file=st.text(max_size=40),
    line=st.integers(0, 9),
    column=st.integers(0, 9),
    end_column=st.integers(0, 9),
)
FINDINGS = st.builds(
    Finding,
    rule=st.builds(Rule, id=TEXT, text=TEXT, help=st.text(max_size=20)),
    level=st.sampled_from(Level),
    text=TEXT,
    place=PLACES,
)


@pytest.fixture(scope="module")
def valid() -> Iterator[Callable[[Any], Any]]:
    """A function that raises for what the schema does not allow."""
    digest = "51cd7c23c4246a383e06eead454b4e1cc890d135e169db85312756c60e2fd789"
    folder = str(unpacked(download("pydantic-sarif==0.1.1", digest=digest)))
    sys.path.insert(0, folder)
    try:
        models = importlib.import_module("pydantic_sarif.model")
        yield models.StaticAnalysisResultsFormatSarifVersion210JsonSchema.model_validate
    finally:
        sys.path.remove(folder)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(findings=st.lists(FINDINGS, max_size=6))
def test_every_log_is_valid(valid: Callable[[Any], Any], findings: list[Finding]) -> None:
    valid(log(findings, elsewhere="matrix.yaml"))


def test_the_judge_refuses_what_is_not_sarif(valid: Callable[[Any], Any]) -> None:
    whole = log([Finding(rule=Rule(id="a", text="b"), level=Level.NOTE, text="c")], elsewhere="matrix.yaml")
    whole["runs"][0]["results"][0]["severity"] = "high"
    with pytest.raises(pydantic.ValidationError):
        valid(whole)


def test_a_verdict_and_a_comparison_are_valid(valid: Callable[[Any], Any], tmp_path: Path) -> None:
    for folder, tags in (("old", "80 90a p90"), ("new", "80")):
        (tmp_path / folder).mkdir()
        for name in ("a b.so", "[x](y).so", "{0}.so"):
            (tmp_path / folder / name).write_bytes(fatbins.library([tags.split()]))
        (tmp_path / folder / "x.whl").write_bytes(b"PK\3\4")
    old, new = (scan_source(str(tmp_path / folder)) for folder in ("old", "new"))
    for scanned in (old, new):
        valid(kernel_sarif.verdict_log(verdict(scanned, parse_list("9.0 10.0f 12.0+PTX"), Policy())))
    log = kernel_sarif.comparison_log(compare(old, new))
    assert len(log["runs"][0]["results"]) == 3
    valid(log)
