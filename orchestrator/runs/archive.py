"""Puts the archive that a build wrote in the place of the one before."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from msgspec.structs import replace

if TYPE_CHECKING:
    from orchestrator.bake.file import Output
    from orchestrator.runs.outcome import Outcome


def archived(outcome: Outcome, *, output: Output) -> Outcome:
    """Return the outcome with size, time and digest of its archive, which is whole and in its place then.

    Raises:
        OSError: It cannot be read or renamed.
    """
    part, archive = output.part(outcome.id), output.archive(outcome.id)
    if part is None or archive is None:
        return outcome
    with part.open("rb") as stream:
        os.fsync(stream.fileno())
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        found = os.fstat(stream.fileno())
    part.replace(archive)
    return replace(outcome, size=found.st_size, mtime_ns=found.st_mtime_ns, sha256=digest)
