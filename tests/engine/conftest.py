"""Every test here has a real engine."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _real_engine(engine: str) -> None:
    """Start the engine where it does not answer."""
