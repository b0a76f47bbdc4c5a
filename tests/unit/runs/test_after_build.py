"""The hook after a build: verification, then tags, whatever either says."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from orchestrator.bake.file import Output
from orchestrator.engine import beyond
from orchestrator.errors import (
    EnvironmentLacksError,
    InterruptedRunError,
    NetworkError,
    OrchestrateError,
    VerificationError,
)
from orchestrator.image.verdict import verify as image_verify
from orchestrator.image.verdict.scanned import Scanned
from orchestrator.process import Completed, Stop
from orchestrator.runs import header_bundle
from orchestrator.runs.after_build import AfterBuild
from orchestrator.runs.outcome import Outcome, Status
from orchestrator.runs.retry import RetryPolicy
from orchestrator.runs.tagging import Tagging
from tests.unit.runs.support import DIGEST, Heard
from tests.unit.runs.test_run import planned

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

BUILT = Outcome(id="app-cu130-amd64", status=Status.BUILT, digest=DIGEST, tags=("registry.lan/app:x",), attempts=1)
VERIFIED = replace(BUILT, verified=True)


class Answers:
    """Stands where `beyond.copy_to_tags` stands: what imagetools would say, in turn; "" is a success."""

    def __init__(self, *said: str) -> None:
        self.said = list(said)
        self.asked: list[tuple[str, ...]] = []

    def __call__(self, source: str, tags: Sequence[str]) -> Completed:
        self.asked.append((source, *tags))
        text = self.said.pop(0)
        return Completed(argv=("docker",), returncode=1 if text else 0, stdout="", stderr=text)


def hook(root: Path, *, verify: OrchestrateError | None = None, held: bool = True, **fields: Any) -> Outcome:
    """What follows a variant that was built; `verify` is what reading its image raises."""
    outcome, reporter = fields.pop("outcome", BUILT), fields.pop("reporter", Heard())
    output = Output(push=True, hold="digest" if held else "")
    if not held:
        output = replace(output, push=False, load=True)
    plan = planned(root)
    tagging = Tagging(retry=RetryPolicy(initial=0.001, maximum=0.001, jitter=0))
    after = AfterBuild(plan=plan, output=output, tagging=tagging)

    def verify_image(*_: Any, **__: Any) -> Any:
        if verify is not None:
            raise verify
        return SimpleNamespace(**{**vars(good_verdict()), "warnings": fields.get("warnings", ())})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(image_verify, "verify_image", verify_image)
        return after(plan.variants[0], outcome, stop=fields.get("stop", Stop()), reporter=reporter)


def good_verdict(*_: object, **__: object) -> SimpleNamespace:
    return SimpleNamespace(ok=True, warnings=(), table=(), ccs=(), duplicates=(), scanned=Scanned(source="image"))


@pytest.fixture
def tools(monkeypatch: pytest.MonkeyPatch) -> Answers:
    answers = Answers("")
    monkeypatch.setattr(beyond, "copy_to_tags", answers)
    return answers


def test_tags_follow_the_verification(tmp_path: Path, tools: Answers) -> None:
    assert hook(tmp_path) == VERIFIED
    assert tools.asked == [(f"registry.lan/app@{DIGEST}", "registry.lan/app:x")]


@pytest.mark.parametrize(
    ("error", "class_"),
    [
        (VerificationError("no 11.0"), "verification"),
        (NetworkError("503"), "network"),
        (EnvironmentLacksError("no answer within 60 s"), "environment"),
    ],
)
def test_no_tag_moves_without_a_verification(
    tmp_path: Path, tools: Answers, error: OrchestrateError, class_: str
) -> None:
    outcome = hook(tmp_path, verify=error)
    assert tools.asked == []
    assert outcome.error is not None
    assert (outcome.status, outcome.error.failure, outcome.error.message) == (Status.FAILED, class_, str(error))
    assert outcome.digest == DIGEST
    assert outcome.notes == (f"pushed as registry.lan/app@{DIGEST}; its tags were not moved",)


def test_a_stop_is_no_failed_verification(tmp_path: Path, tools: Answers) -> None:
    with pytest.raises(InterruptedRunError):
        hook(tmp_path, verify=InterruptedRunError("stopped"))
    assert tools.asked == []


def test_without_a_digest_nothing_is_tagged(tmp_path: Path, tools: Answers) -> None:
    outcome = hook(tmp_path, outcome=Outcome(id="app-cu130-amd64", status=Status.BUILT))
    assert outcome.status is Status.FAILED
    assert tools.asked == []


def test_an_image_that_was_not_held_keeps_its_tags(tmp_path: Path, tools: Answers) -> None:
    assert hook(tmp_path, held=False) == VERIFIED
    outcome = hook(tmp_path, held=False, verify=VerificationError("no 11.0"))
    assert (outcome.status, outcome.notes) == (Status.FAILED, ())
    assert tools.asked == []


BUSY = "ERROR: failed to copy: unexpected status from PUT request to http://r/v2/app: 503 Service Unavailable"
DENIED = "ERROR: failed to copy: unexpected status from PUT request to http://r/v2/app: 403 Forbidden"


@pytest.mark.parametrize(
    ("said", "class_", "asked"),
    [
        ([BUSY, BUSY, ""], None, 3),
        ([BUSY, BUSY, BUSY], "network", 3),
        ([BUSY, DENIED], "auth", 2),
        ([DENIED], "auth", 1),
        (["ERROR: something nobody has seen"], "network", 1),
    ],
)
def test_a_tag_that_cannot_be_set(
    tmp_path: Path, tools: Answers, said: list[str], class_: str | None, asked: int
) -> None:
    tools.said = said[:]
    outcome = hook(tmp_path)
    assert len(tools.asked) == asked
    if class_ is None:
        assert outcome == VERIFIED
        return
    assert outcome.error is not None
    assert (outcome.status, outcome.error.failure) == (Status.FAILED, class_)
    assert outcome.error.message == f"verified, but its tags could not be set: {said[-1].removeprefix('ERROR: ')}"
    assert outcome.error.step == "tag registry.lan/app:x"
    assert outcome.notes == (f"pushed as registry.lan/app@{DIGEST}; its tags were not moved",)


def test_warnings_of_the_verification_are_notes(tmp_path: Path, tools: Answers) -> None:
    assert tools.said
    assert hook(tmp_path, warnings=["libx.so: only PTX"]).notes == ("verification: libx.so: only PTX",)


def test_a_wait_for_a_tag_is_told_before_it_begins(tmp_path: Path, tools: Answers) -> None:
    tools.said = [BUSY, ""]
    heard = Heard()
    assert hook(tmp_path, reporter=heard) == VERIFIED
    (waiting,) = heard.said
    assert waiting[:5] == ("waiting", "app-cu130-amd64", 1, 3, True)
    assert "503 Service Unavailable" in waiting[5]


def test_a_stop_ends_the_wait_for_a_tag(tmp_path: Path, tools: Answers) -> None:
    tools.said = [BUSY, "never asked"]
    stop = Stop()
    stop.set()
    outcome = hook(tmp_path, stop=stop)
    assert (outcome.status, len(tools.asked)) == (Status.FAILED, 1)


def test_a_refusal_shows_no_credentials(tmp_path: Path, tools: Answers) -> None:
    tools.said = ["ERROR: https://ghp_SECRET@r/v2/: 403 Forbidden"]
    outcome = hook(tmp_path)
    assert "ghp_SECRET" not in str(outcome)
    assert outcome.error is not None
    assert "https://r/v2/: 403 Forbidden" in outcome.error.message


def test_a_fetch_is_told_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    said: list[str] = []
    told = header_bundle.Told(said.append)
    told(1, 9, 500_000)
    told(2, 9, 600_000)
    now += 5
    told(3, 9, 700_000)
    told(9, 9, 1_000_000)
    assert [text.split()[2] for text in said] == ["1", "3", "9"]
    assert said[-1] == "FlashInfer headers: 9 of 9 files fetched, 1.0 MB"


@pytest.mark.parametrize(
    ("output", "verify", "released"),
    [
        (Output(push=True, hold="tag", digests=False), True, ["registry.lan/app:unverified-app-cu130-amd64"]),
        (Output(push=True, hold="digest"), True, []),
        (Output(push=True, digests=False), False, []),  # it has a tag of its own
    ],
)
def test_the_tag_that_held_an_image_goes(
    tmp_path: Path, tools: Answers, monkeypatch: pytest.MonkeyPatch, output: Output, verify: bool, released: list[str]
) -> None:
    gone: list[str] = []

    def release(_: Tagging, reference: str) -> str:
        gone.append(reference)
        return "kept"

    monkeypatch.setattr(Tagging, "release", release)
    monkeypatch.setattr(image_verify, "verify_image", good_verdict)
    plan = planned(tmp_path)
    after = AfterBuild(plan=plan, output=output, tagging=Tagging(retry=RetryPolicy()), verify=verify)
    outcome = after(plan.variants[0], BUILT, stop=Stop(), reporter=Heard())
    assert gone == released
    assert outcome == replace(BUILT, notes=("kept",) * len(released), verified=verify)
    assert len(tools.asked) == int(verify)


def test_the_tag_of_an_image_that_does_not_hold_its_promise_stays(
    tmp_path: Path, tools: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Tagging, "release", lambda *_: pytest.fail("it is all that names the image"))
    assert hook(tmp_path, verify=VerificationError("no 11.0")).status is Status.FAILED
