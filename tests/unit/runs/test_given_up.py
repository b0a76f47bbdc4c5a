"""Builds that were given up and may go on: their end is waited for, and tags that they moved are pointed back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest

from orchestrator.errors import FailureClass, NetworkError
from orchestrator.process import Stop
from orchestrator.runs import given_up
from orchestrator.runs.given_up import Registries, settled
from orchestrator.runs.outcome import ErrorInfo, Outcome, Status
from tests.unit.runs.support import DIGEST, Heard

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from orchestrator.engine.history import Build
    from orchestrator.runs.tagging import Tagging

TAG = "reg.test/app:1"
OTHER = "sha256:" + "b" * 64
BUILT = Outcome(id="app", status=Status.BUILT, digest=DIGEST, tags=(TAG,), attempts=2)


class FakeBuild:
    """One that says in turn whether it goes on."""

    builder = "farm"

    def __init__(self, *answers: bool | None, then: Callable[[], None] = lambda: None) -> None:
        self.answers = list(answers)
        self.then = then

    def goes_on(self) -> bool | None:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is False:
            self.then()
        return answer


class FakeTagging:
    """Tags of a registry of which this is all."""

    def __init__(self) -> None:
        self.names = {TAG: DIGEST}
        self.set_: list[tuple[str, Any]] = []
        self.failure: ErrorInfo | None = None

    def set(self, variant: str, tags: Any, digest: str, **_: Any) -> ErrorInfo | None:
        self.set_.append((variant, tags))
        self.names.update(dict.fromkeys((tag for names in tags.values() for tag in names), digest))
        return self.failure

    def moved(self) -> None:
        self.names[TAG] = OTHER


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(given_up, "_PAUSE_S", 0.01)


def end(
    builds: Sequence[FakeBuild], tags: FakeTagging, heard: Heard, within_s: float = 5, stop: Stop | None = None
) -> Outcome:
    registries = Registries(
        tags={"reg.test/app": [TAG]}, tagging=cast("Tagging", tags), named=lambda reference: tags.names[reference]
    )
    return settled(
        BUILT, cast("Sequence[Build]", builds), registries, within_s=within_s, stop=stop or Stop(), reporter=heard
    )


def test_a_tag_that_was_moved_at_its_end_names_what_was_reported_again() -> None:
    tags, heard = FakeTagging(), Heard()
    found = end([FakeBuild(True, True, False, then=tags.moved), FakeBuild(False)], tags, heard)
    assert tags.names == {TAG: DIGEST}
    assert tags.set_ == [("app", {"reg.test/app": [TAG]})]
    assert found.status is Status.BUILT
    assert found.notes == (f"a build that was given up had moved {TAG}, which names {DIGEST} again",)
    assert [event.text for _, _, event in heard.said] == [
        "waiting for the end of a build that was given up on builder farm"
    ]


def test_one_that_moved_nothing_is_not_told() -> None:
    tags, heard = FakeTagging(), Heard()
    assert end([FakeBuild(False)], tags, heard) == BUILT
    assert (tags.set_, heard.said) == ([], [])


def test_one_whose_end_is_not_seen_is_told() -> None:
    for build in (FakeBuild(None), FakeBuild(True)):
        tags = FakeTagging()
        tags.moved()
        found = end([build], tags, Heard(), within_s=0.05)
        assert tags.names == {TAG: DIGEST}
        assert found.notes[1:] == ("a build that was given up on builder farm may still push over its tags",)


def test_a_tag_that_cannot_be_pointed_back_fails_the_variant() -> None:
    tags = FakeTagging()
    tags.moved()
    tags.failure = ErrorInfo(failure=FailureClass.AUTH, message="its tags could not be set: denied")
    found = end([FakeBuild(False)], tags, Heard())
    assert (found.status, found.error is not None and found.error.message) == (
        Status.FAILED, "its tags could not be set: denied",
    )  # fmt: skip


def test_a_registry_that_does_not_answer_is_told() -> None:
    def silent(_: str) -> str:
        raise NetworkError("no answer")

    registries = Registries(tags={"reg.test/app": [TAG]}, tagging=cast("Tagging", FakeTagging()), named=silent)
    builds = cast("Sequence[Build]", [FakeBuild(False)])
    found = settled(BUILT, builds, registries, within_s=1, stop=Stop(), reporter=Heard())
    assert found.notes == ("not checked whether its tags still name it: no answer",)


def test_a_stop_ends_the_waiting() -> None:
    stop = Stop()
    stop.set()
    found = end([FakeBuild(True)], FakeTagging(), Heard(), within_s=600, stop=stop)
    assert found.status is Status.BUILT
    assert found.notes == ("a build that was given up on builder farm may still push over its tags",)
