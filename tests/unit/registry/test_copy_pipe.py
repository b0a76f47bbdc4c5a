"""Bytes between the thread that receives a blob and the one that sends it on."""

from __future__ import annotations

import pytest

from orchestrator.registry.copy import _Pipe
from orchestrator.registry.errors import UnavailableError


def test_a_writer_that_is_gone_is_not_waited_for() -> None:
    pipe = _Pipe()
    pipe.write(b"a part")
    parts = pipe.parts(lambda: False)
    assert next(parts) == b"a part"
    with pytest.raises(UnavailableError, match="before its last byte"):
        next(parts)


def test_what_was_written_arrives_whole() -> None:
    pipe = _Pipe()
    for item in (b"one", b"two", None):
        pipe.put(item)
    assert list(pipe.parts(lambda: False)) == [b"one", b"two"]
