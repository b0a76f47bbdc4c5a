"""What the tests of this room share."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(autouse=True)
def _without_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flushing to the disk takes most of the time of these tests on a busy machine, and none of them cuts the power."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
