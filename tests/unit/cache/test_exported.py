"""What was exported from here, kept to find what was superseded."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from orchestrator.cache.exported import Exported
from orchestrator.cache.usage import record_texts
from orchestrator.reference import repository

if TYPE_CHECKING:
    from pathlib import Path

A = f"sha256:{'a' * 64}"
SAID = {"cache.manifest": json.dumps({"mediaType": "x", "digest": A, "size": 1})}


def test_an_export_is_known_by_its_repository(tmp_path: Path) -> None:
    kept = Exported(tmp_path / "state" / "exports.jsonl")
    assert kept.of(repository("r.lan/a")) == frozenset()
    kept.add(["type=registry,ref=r.lan/a:one,mode=max", "type=registry,ref=r.lan/b:one"], SAID)
    with (tmp_path / "state" / "exports.jsonl").open("a") as stream:
        stream.write('{"torn')
    again = Exported(tmp_path / "state" / "exports.jsonl")
    assert again.of(repository("r.lan/a")) == again.of(repository("r.lan/b")) == {A}
    assert again.of(repository("r.lan/c")) == frozenset()


def test_what_says_nothing_is_not_kept(tmp_path: Path) -> None:
    kept = Exported(tmp_path / "exports.jsonl")
    for metadata in (None, {}, {"cache.manifest": 3}, {"cache.manifest": "["}, {"cache.manifest": "{}"}):
        kept.add(["type=registry,ref=r.lan/a:one"], metadata)
    kept.add(["type=local,dest=x"], SAID)
    assert not (tmp_path / "exports.jsonl").exists()


def test_what_was_exported_is_no_record_that_keeps_it(tmp_path: Path) -> None:
    run = tmp_path / ".orchestrate" / "runs" / "1"
    run.mkdir(parents=True)
    (run / "x.metadata.json").write_text(json.dumps({"x": {**SAID, "containerimage.digest": "sha256:image"}}))
    Exported(tmp_path / ".orchestrate" / "exports.jsonl").add(["type=registry,ref=r.lan/a:one"], SAID)
    (tmp_path / ".orchestrate" / "journal.jsonl").write_text("torn sha256:journal")
    text = "\n".join(record_texts(tmp_path))
    assert A not in text
    assert "sha256:image" in text
    assert "sha256:journal" in text
