"""What `build --verify` makes of an image's bytes: verified, or failed with what is missing; never a yes unread."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orchestrator.errors import VerificationError
from orchestrator.matrix.schema import VerifySpec
from orchestrator.runs.outcome import Outcome, Status
from orchestrator.runs.verification import verified
from tests.support import fatbins
from tests.unit.matrix.support import SMALL, planned

if TYPE_CHECKING:
    from pathlib import Path

(VARIANT,) = planned(SMALL).variants
BUILT = Outcome(id=VARIANT.id, status=Status.BUILT, notes=("before",))


def write(root: Path, *profiles: str) -> str:
    (root / "lib.so").write_bytes(fatbins.library([tags.split() for tags in profiles]))
    return str(root)


def test_what_was_promised_is_there(tmp_path: Path) -> None:
    found = verified(VARIANT, BUILT, write(tmp_path, "80 90"), spec=VerifySpec())
    assert (found.verified, found.status, found.notes) == (True, Status.BUILT, ("before",))
    assert [tag for tag, _ in found.weights.archs] == ["80", "90"]


def test_what_is_missing_fails_with_each_problem(tmp_path: Path) -> None:
    source = write(tmp_path, "80")
    with pytest.raises(VerificationError) as caught:
        verified(VARIANT, BUILT, source, spec=VerifySpec())
    assert caught.value.message == "the image does not hold what was promised"
    assert caught.value.hint == f"orchestrate verify {source}"
    (problem,) = caught.value.problems
    assert problem.file == "lib.so"
    assert "9.0 (H100" in problem.what


def test_an_image_without_device_code_is_not_verified(tmp_path: Path) -> None:
    with pytest.raises(VerificationError):
        verified(VARIANT, BUILT, str(tmp_path), spec=VerifySpec())


def test_what_should_be_looked_at_is_a_note(tmp_path: Path) -> None:
    found = verified(VARIANT, BUILT, write(tmp_path, "80 90", "80 90", "80 90", "80 90", "80 90a"), spec=VerifySpec())
    assert found.verified
    assert all(note.startswith("verification: ") for note in found.notes[1:])
    (tmp_path / "x.so").write_bytes(fatbins.library([["80a", "90a"]]))
    (tmp_path / "lib.so").unlink()
    more = verified(VARIANT, BUILT, str(tmp_path), spec=VerifySpec())
    assert more.verified
    assert more.notes[0] == "before"
    assert any("architecture-specific code alone" in note for note in more.notes[1:])


def test_an_image_that_nobody_can_read_is_not_verified() -> None:
    found = verified(VARIANT, BUILT, "", spec=VerifySpec())
    assert (found.verified, found.weights) == (False, BUILT.weights)
    assert found.notes == (
        "before", "not verified: this build keeps no image (use --push, --load or --output)",
    )  # fmt: skip
