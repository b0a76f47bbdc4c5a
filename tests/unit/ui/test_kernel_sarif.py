"""Verdicts and comparisons as SARIF: one result for each library, with its cure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator.cuda.arch import parse_list
from orchestrator.image.verdict.compare import compare
from orchestrator.image.verdict.policy import Policy
from orchestrator.image.verdict.scanned import scan_source
from orchestrator.image.verdict.verify import verdict
from orchestrator.ui import kernel_sarif
from tests.support import fatbins

if TYPE_CHECKING:
    from pathlib import Path


def tree(root: Path, **files: str) -> str:
    root.mkdir(exist_ok=True)
    for name, tags in files.items():
        (root / name).write_bytes(fatbins.library([tags.split()]))
    return str(root)


def results(log: Any) -> list[tuple[str, str, str]]:
    """Rule, level and file of each result."""
    return [
        (one["ruleId"], one["level"], one["locations"][0]["physicalLocation"]["artifactLocation"]["uri"])
        for one in log["runs"][0]["results"]
    ]


def test_a_verdict_is_a_result_for_each_library(tmp_path: Path) -> None:
    source = tree(tmp_path, **{"a.so": "80 90", "b.so": "80", "c.so": "80 90 100 120a"})
    (tmp_path / "x.whl").write_bytes(b"PK\3\4 packed")
    log = kernel_sarif.verdict_log(verdict(scan_source(source), parse_list("8.0 9.0 12.0"), Policy()))
    assert results(log) == [
        ("orchestrate/kernels-missing", "error", "a.so"),
        ("orchestrate/kernels-missing", "error", "b.so"),
        ("orchestrate/kernels-remark", "warning", "c.so"),
        ("orchestrate/kernels-not-read", "note", "x.whl"),
    ]
    text = log["runs"][0]["results"][1]["message"]["text"]
    assert "are not served" in text
    assert "add 9.0 12.0 to its arch list" in text


def test_a_verdict_that_passes_has_no_result(tmp_path: Path) -> None:
    source = tree(tmp_path, **{"a.so": "80 90"})
    assert results(kernel_sarif.verdict_log(verdict(scan_source(source), parse_list("9.0"), Policy()))) == []


def test_what_concerns_no_library_stands_at_the_image(tmp_path: Path) -> None:
    source = tree(tmp_path / "empty")
    log = kernel_sarif.verdict_log(verdict(scan_source(source), parse_list("9.0"), Policy()))
    assert results(log) == [("orchestrate/kernels-missing", "error", source.strip("/"))]


def test_what_a_new_image_lost(tmp_path: Path) -> None:
    old = tree(tmp_path / "old", **{"a.so": "80 90", "b.so": "90", "c.so": "90"})
    new = tree(tmp_path / "new", **{"a.so": "90", "c.so": "90 100"})
    log = kernel_sarif.comparison_log(compare(scan_source(old), scan_source(new)))
    assert results(log) == [
        ("orchestrate/kernels-lost", "error", "a.so"),
        ("orchestrate/kernels-lost", "error", "b.so"),
    ]
