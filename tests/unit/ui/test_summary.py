"""The job summary: appended, complete, and with nothing in it that a build's output could take over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from orchestrator.errors import FailureClass
from orchestrator.runs.outcome import ErrorInfo, Outcome, Status, Steps
from orchestrator.ui.summary import MOST, append_summary, markdown

if TYPE_CHECKING:
    from pathlib import Path

DIGEST = "sha256:" + "a" * 64
BUILT = Outcome(
    id="app-cu130-amd64",
    status=Status.BUILT,
    digest=DIGEST,
    tags=("ghcr.io/acme/app:cu130",),
    references=(f"ghcr.io/acme/app:cu130@{DIGEST}",),
    attempts=3,
    seconds=125.5,
    steps=Steps(total=12, cached=5, done=12),
)


def failed(**fields: Any) -> Outcome:
    error = ErrorInfo(failure=FailureClass.RUN, message="exit code: 2", step="[b 1/1] RUN make | tee `x`")
    return replace(Outcome(id="bad", status=Status.FAILED, attempts=1, seconds=3.0, error=error), **fields)


def test_a_table_and_the_failures() -> None:
    assert markdown([BUILT, failed(last_lines=("one", "two"))]).splitlines() == [
        "### Build: 1 built, 1 failed",
        "",
        "| variant | status | digest | time | cached steps | attempts |",
        "| --- | --- | --- | ---: | ---: | ---: |",
        f"| `app-cu130-amd64` | ✓ built | `{DIGEST}` | 2m05s | 5/12 | 3 |",
        "| `bad` | ✗ failed |  | 3.0s | - | 1 |",
        "",
        f"- `ghcr.io/acme/app:cu130@{DIGEST}`",
        "",
        "**bad** failed (run) at `` [b 1/1] RUN make \\| tee `x` ``: exit code\\: 2",
        "",
        "```",
        "one",
        "two",
        "```",
        "",
    ]


def test_output_stays_inside_its_block() -> None:
    text = markdown([failed(last_lines=("````", "<img src=x>", "\x1b[31mred"))])
    assert "\n`````\n````\n<img src=x>\nred\n`````\n" in text


def test_a_message_is_text() -> None:
    error = ErrorInfo(failure=FailureClass.NETWORK, message="[click](http://x) <b> *x* |\nsecond line")
    text = markdown([failed(error=error)])
    assert "failed (network): \\[click\\]\\(http\\://x\\) \\<b\\> \\*x\\* \\|\n" in text
    assert "\n```\nsecond line\n```\n" in text


def test_what_stands_in_the_file_is_kept(tmp_path: Path) -> None:
    place = tmp_path / "summary"
    place.write_text("before\n")
    assert append_summary([BUILT], env={"GITHUB_STEP_SUMMARY": str(place)}) == ""
    assert append_summary([BUILT], env={"GITHUB_STEP_SUMMARY": str(place)}) == ""
    assert place.read_text() == "before\n" + 2 * markdown([BUILT])


def test_nothing_without_the_variable_and_no_failure_where_it_leads_nowhere(tmp_path: Path) -> None:
    assert append_summary([BUILT], env={}) == ""
    assert append_summary([BUILT], env={"GITHUB_STEP_SUMMARY": ""}) == ""
    assert append_summary([BUILT], env={"GITHUB_STEP_SUMMARY": str(tmp_path)}).endswith("Is a directory")


def test_it_is_never_larger_than_the_runner_takes() -> None:
    many = [failed(id=f"v{number}", last_lines=("x" * 399,) * 15) for number in range(400)]
    text = markdown(many)
    assert len(text.encode()) <= MOST + 10
    assert text.endswith("…\n")
    assert "| `v399` |" in text


def test_variants_that_were_never_started_share_one_line() -> None:
    error = ErrorInfo(failure=FailureClass.INTERRUPTED, message="stopped by a signal")
    never = [Outcome(id=f"never{n}", status=Status.CANCELLED, error=error) for n in range(400)]
    text = markdown([BUILT, *never])
    assert text.count("stopped by a signal") == 1
    assert "- 400 variants not started: stopped by a signal" in text.replace("\\", "")
    assert all(text.count(f"`never{n}`") == 1 for n in range(400))


def test_the_place_of_a_failure_is_named() -> None:
    error = failed().error
    assert error is not None
    located = replace(error, file="docker/Dockerfile", line=7)
    assert "failed (run) at `docker/Dockerfile:7` `` [b 1/1] RUN make" in markdown([failed(error=located)])
