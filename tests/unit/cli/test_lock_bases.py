"""`orchestrate lock bases`: what it writes, says and compares; registries are in tests/unit/publish."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orchestrator.cli import app
from orchestrator.publish import bases
from orchestrator.publish.bases import Found, Moved
from orchestrator.reference import Digest
from orchestrator.runs import base_lock
from orchestrator.runs.base_lock import LockedBase
from tests.unit.matrix.support import SMALL

if TYPE_CHECKING:
    from pathlib import Path

DIGEST = Digest(f"sha256:{'a' * 64}")
BASES = tuple(
    LockedBase(
        name=name,
        digest=DIGEST,
        locked="2026-11-26T12:00:00+00:00",
        platforms={"linux/amd64": DIGEST, "linux/arm64": DIGEST},
        variants=variants,
    )
    for name, variants in (("debian:12", ("a",)), ("nvidia/cuda:13.0.2", ("a", "b")))
)


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "matrix.yaml").write_text(SMALL)
    found = Found(bases={}, own=("r/mine",), unknown={"v": "no Dockerfile"})
    monkeypatch.setattr(bases, "find", lambda *_, **__: found)
    monkeypatch.setattr(bases, "lock", lambda *_: BASES)
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = app.run(["lock", "bases", *words])
    shown = capsys.readouterr()
    return code, shown.out, shown.err


WARNED = (
    "warning: v: its bases are not known: no Dockerfile\n"
    "warning: r/mine is an image of this project: a release that is built on the last one carries it along\n"
)


def test_bases_are_locked_and_compared(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = "error: --check: bases.lock.json was not found in .\nhint: orchestrate lock bases\n"
    assert said(capsys, "--check") == (2, "", missing)
    platforms = "linux/amd64, linux/arm64"
    assert said(capsys) == (
        0,
        f"debian:12  {DIGEST}  {platforms}  1 variant\nnvidia/cuda:13.0.2  {DIGEST}  {platforms}  2 variants\n",
        f"{WARNED}2 base images locked in bases.lock.json\n",
    )
    assert base_lock.read(root) == BASES
    before = (root / base_lock.LOCK).read_bytes()
    assert said(capsys, "--check") == (0, "2 base images are as they were locked\n", WARNED)
    moved = [Moved(name="debian:12", what="moved", variants=("a", "b")), Moved(name="x", what="is new", variants=())]
    monkeypatch.setattr(bases, "compare", lambda old, new: moved if old == new == BASES else [])
    code, out, err = said(capsys, "--check")
    assert (code, out) == (3, "")
    assert err.startswith(f"{WARNED}error: bases.lock.json: 2 base images do not match\n")
    assert "debian:12 moved" in err
    assert "affected: a, b" in err
    assert "affected: no variant" in err
    assert (root / base_lock.LOCK).read_bytes() == before
