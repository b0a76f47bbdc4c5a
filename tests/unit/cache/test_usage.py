"""Where the layer caches of a plan are, and what the records of earlier runs name."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from orchestrator.cache.usage import cache_repositories, record_texts
from orchestrator.errors import UsageError
from tests.unit.matrix.support import SMALL, planned

if TYPE_CHECKING:
    from pathlib import Path


def repositories(section: str) -> dict[str, frozenset[str]]:
    return {str(name): tags for name, tags in cache_repositories(planned(SMALL + section)).items()}


def test_a_plan_has_a_repository_and_one_for_pull_requests() -> None:
    assert repositories("cache: {backend: registry, ref: 'r.test/c:{variant.id}'}\n") == {
        "r.test/c": frozenset({"app-cu130-amd64"}),
        "r.test/c-pr": frozenset({"app-cu130-amd64"}),
    }
    named = "cache: {backend: registry, ref: r.test/c, pull_request_ref: 'r.test/p:x'}\n"
    assert repositories(named) == {"r.test/c": frozenset(), "r.test/p": frozenset({"x"})}
    bare = "cache: {backend: registry, ref: 'r.test/c:y', pull_request_ref: r.test/p}\n"
    assert repositories(bare) == {"r.test/c": frozenset({"y"}), "r.test/p": frozenset()}


def test_caches_elsewhere_are_not_for_this_command() -> None:
    with pytest.raises(UsageError) as error:
        repositories("cache: {backend: gha}\n")
    expected = "cache.backend is gha: expected registry, the one whose references this command knows"
    assert error.value.message == expected
    assert error.value.hint == "`orchestrate cache prune --keep 60GB` prunes the builder and local directories"


def test_every_record_counts_but_what_was_exported(tmp_path: Path) -> None:
    told = {
        "journal.jsonl": "journal", "outlines.json": "outlines", "publish/a/b.json": "deep", "publish/c.jsonl": "own",
        "runs/1/report.json": "report",
        "runs/1/a.metadata.json": json.dumps({"t": {"cache.manifest": "export", "kept": 1}}),
        "runs/1/b.metadata.json": "torn", "runs/1/c.metadata.json": "[1]", "runs/1/d.metadata.json": "{\"t\": 1}",
        "runs/1/v.log": "log", "runs/1/deep/x.json": "deeper", "exported.json": "exports",
    }  # fmt: skip
    for name, text in told.items():
        path = tmp_path / ".orchestrate" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / ".orchestrate" / "runs" / "1" / "folder.json").mkdir()
    from orchestrator.cache import exported

    (tmp_path / ".orchestrate" / "exported.json").rename(tmp_path / ".orchestrate" / exported.NAME)
    assert sorted(record_texts(tmp_path)) == sorted(
        ["journal", "outlines", "deep", "own", "report", '{"t": {"kept": 1}}', "torn", "[1]", '{"t": 1}']
    )
