"""A kept run as a page and in a terminal, as text: whatever a build calls its steps."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from msgspec.structs import replace

from orchestrator.bake.events import StepKind
from orchestrator.bake.moved import Moved, StepTime
from orchestrator.cache.compile_statistics import CompileStatistics, Counts
from orchestrator.errors import FailureClass
from orchestrator.runs.kept import Run
from orchestrator.runs.outcome import ErrorInfo, Outcome, Status, Steps, Try
from orchestrator.runs.weights import Weights
from orchestrator.ui.run_page import page
from orchestrator.ui.run_view import lines
from tests.unit.ui.test_report import Balance, Told

HOSTILE = "<script>alert(1)</script>\"'&${title} ##[group]x \u202egpj </td>"


def step(name: str, seconds: float, state: str = "done", began: float = 0.0) -> StepTime:
    return StepTime(name=name, kind=StepKind.RUN, began=began, seconds=seconds, state=state)


def built(id_: str, seconds: float, *steps: StepTime) -> Outcome:
    return Outcome(
        id=id_, status=Status.BUILT, digest=f"sha256:{'a' * 64}", attempts=1, seconds=seconds, began=100.0,
        steps=Steps(total=3, cached=1), tries=(Try(began=100.0, seconds=seconds, steps=steps),),
        moved=Moved(pulled=30_000_000, sent=2_000),
    )  # fmt: skip


FAILED = Outcome(
    id="bad", status=Status.FAILED, attempts=2, seconds=20, began=101.0, log=Path("bad.log"),
    error=ErrorInfo(failure=FailureClass.RUN, message=f"exit {HOSTILE}", step=f"RUN {HOSTILE}", file="Dockerfile",
                    line=7),
    tries=(
        Try(began=101.0, seconds=5, reason=f"reset {HOSTILE}"),
        Try(began=110.0, seconds=11, reason="exit code: 1", steps=(step(f"[b 1/2] RUN {HOSTILE}", 9, "failed", 2),)),
    ),
    notes=(f"look {HOSTILE}",),
)  # fmt: skip
NEVER = tuple(
    Outcome(
        id=f"never{n}", status=Status.CANCELLED,
        error=ErrorInfo(failure=FailureClass.CANCELLED, message="cancelled because bad failed (--fail-fast)"),
    )
    for n in range(3)
)  # fmt: skip


def run(*outcomes: Outcome, seconds: float = 30.0) -> Run:
    return Run(directory=Path(".orchestrate/runs/x"), started=100.0, seconds=seconds, outcomes=outcomes)


RUN = run(built("good", 12, step("[a 1/2] RUN make", 8), step("[a 2/2] COPY x", 0, "cached")), FAILED, *NEVER)
BEFORE = run(built("good", 10), built("bad", 10))


def test_the_page_is_whole_and_everything_in_it_is_text() -> None:
    text = page(RUN, BEFORE)
    parser = Balance()
    parser.feed(text)
    assert not parser.stack
    assert not parser.seen & {"script", "img", "link", "iframe", "a"}
    assert "default-src 'none'" in text
    for word in ("<script", "alert(1)</", "##[", "\u202e", "http:", "https:", "url(", "@import"):
        assert word not in text
    assert text.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 5
    assert "${title}" in text


def test_what_the_page_says() -> None:
    text = page(RUN, BEFORE)
    assert "1 built, 1 failed, 3 cancelled" in text
    assert "Dockerfile:7 RUN" in text
    assert '<td class="number">10.0s</td><td class="number">+20%</td>' in text
    assert "bad: attempt 1 of 2, 5.0s: reset" in text
    assert text.count("cancelled because bad failed (--fail-fast)") == 1
    assert "never1" not in text  # those that never started are one line together
    assert text.count("<details open>") == 1  # the failed one


def test_bars_stay_in_their_lane() -> None:
    odd = replace(FAILED, tries=(Try(began=0.0, seconds=1e9, steps=(step("x", 5, "unfinished", 1e6),)),))
    for text in (page(RUN), page(run(odd)), page(run()), page(run(replace(odd, tries=(), began=0.0)))):
        for left, width in re.findall(r"left:([\d.]+)%;width:([\d.]+)%", text):
            assert 0 <= float(left) <= 100
            assert float(left) + float(width) <= 100.01


def test_sizes_and_the_compile_cache_where_they_are_known() -> None:
    compiled = CompileStatistics(tool="sccache", on=True, cubin=Counts(hits=3, misses=1))
    layers = (("sha256:" + "b" * 64, 4_000_000), ("sha256:" + "c" * 64, 1_000_000))
    one = replace(
        built("good", 5), layers=layers, weights=Weights(archs=(("90", 12_000), ("p90", 3_000))), compile_cache=compiled
    )
    text = page(run(one))
    assert "5.0 MB in 2 layers" in text
    assert "1 sha256:bbbbbbbbbbbb" in text
    assert "good: device code: 3 of 4 from cache" in text
    assert '<th scope="row">p90</th>' in text
    assert "device code by library" not in text
    assert "Sizes" not in page(RUN)
    assert "Compile cache" not in page(RUN)


def test_what_its_gpus_cost_where_an_image_was_read() -> None:
    weights = Weights(
        archs=(("90", 12_000), ("p90", 3_000), ("110", 6_000)),
        libraries=(("opt/libbig.so", 20_000), (f"opt/{HOSTILE}.so", 1_000)),
        shorter=(("9.0", 12_000, 6_000), ("11.0", 6_000, 15_000), ("12.0", 0, 21_000)),
        copies=(("opt/libbig.so", 1, 20_000), (f"opt/{HOSTILE}.so", 2, 2_000)),
    )
    text = page(run(replace(built("good", 5), weights=weights)))
    assert '<th scope="row">opt/libbig.so</th><td class="number">20.0 kB</td>' in text
    assert "without 9.0: 12.0 kB less; with 9.0 alone: 6.0 kB less" in text
    assert "without 11.0: 6.0 kB less; with 11.0 alone: 15.0 kB less" in text
    assert "12.0 alone" not in text  # nothing is there for it, so no list with it alone works
    assert "opt/libbig.so: 1 copy of it, 20.0 kB wasted" in text
    assert ": 2 copies of it, 2.0 kB wasted" in text
    assert "<script>" not in text
    parser = Balance()
    parser.feed(text)
    assert not parser.stack


def test_the_table_of_a_terminal() -> None:
    found = lines(RUN, BEFORE)
    assert found[0] == "build of 1970-01-01 00:01:40+00:00, 30.0s: 1 built, 1 failed, 3 cancelled"
    assert found[2:5] == [
        "variant  status  time   before  change  cached  attempts  pulled   sent",
        "good     built   12.0s  10.0s   +20%    1/3     1         30.0 MB  2.0 kB",
        "bad      failed  20.0s  10.0s   -       -       2         0 B      0 B",
    ]
    assert "     9.0s  bad  [b 1/2] RUN" in "\n".join(found)
    assert found[-1] == "3 variants not started: cancelled because bad failed (--fail-fast)"
    assert not [line for line in found if line.startswith("never")]


@pytest.mark.parametrize(("seconds", "said"), [(10.2, "same"), (12, "+20%"), (5, "-50%")])
def test_a_change_is_told_against_the_run_before(seconds: float, said: str) -> None:
    assert said in lines(run(built("good", seconds)), BEFORE)[3].split()
    assert "-" in lines(run(built("good", seconds)))[3].split()


def test_the_builder_is_shown_where_it_is_known() -> None:
    one = run(replace(built("good", 5), builder="far"), FAILED)
    assert lines(one)[2].split()[-1] == "builder"
    assert lines(one)[3].split()[-1] == "far"
    assert lines(one)[4].split()[-1] == "-"
    assert "<td>far</td>" in page(one)


FIRST = Try(began=101.0, seconds=5, reason="reset", steps=(step("[b 1/2] RUN make", 4, "unfinished", 1),))
SECOND = Try(began=110.0, seconds=11, reason="exit code: 1", steps=(step("[b 1/2] RUN make", 9, "failed", 2),))
WHY = ErrorInfo(failure=FailureClass.RUN, message="m", step="RUN make", file="Dockerfile", line=7)
RETRIED = replace(FAILED, error=WHY, tries=(FIRST, SECOND), notes=("look",))
STEPS = (step("[a 1/2] RUN make", 8), step("[a 2/2] COPY x", 0, "cached"))


def looks(told: Told) -> list[str]:
    """The classes of the verdict and of each status."""
    return [kind for kind, _, _ in told.marks if kind.removeprefix("verdict ") in {"ok", "fail", "warn", "excepted"}]


def test_the_page_in_full() -> None:
    text = page(run(built("good", 12, *STEPS), RETRIED, *NEVER), BEFORE)
    told = Told(text)
    assert ("<details><summary>good" in text, "<details open><summary>bad" in text) == (True, True)
    assert told.heads == [
        "Build of 1970-01-01 00:01:40+00:00", "What failed", "Variants", "Where the time went", "Attempts that failed",
        "Steps", "good 12.0s, 1/3 cached", "bad 20.0s, - cached", "attempt 1", "attempt 2", "Notes",
    ]  # fmt: skip
    assert [one for one in told.rows if one] == [
        ["variant", "status", "when", "time", "before", "change", "cached", "attempts", "pulled", "sent", "builder"],
        ["good sha256:aaaaaaaaaaaa", "✓ built", "", "12.0s", "10.0s", "+20%", "1/3", "1", "30.0 MB", "2.0 kB", ""],
        ["bad ", "✗ failed", "", "20.0s", "10.0s", "", "-", "2", "0 B", "0 B", ""],
        ["step", "variant", "state", "time", ""],
        ["[b 1/2] RUN make", "bad", "failed", "9.0s", ""],
        ["[a 1/2] RUN make", "good", "done", "8.0s", ""],
        ["[a 1/2] RUN make", "done", "8.0s", ""],
        ["[a 2/2] COPY x", "cached", "0.0s", ""],
        ["[b 1/2] RUN make", "unfinished", "4.0s", ""],
        ["[b 1/2] RUN make", "failed", "9.0s", ""],
    ]
    bars = [one for one in told.marks if one[1]]
    assert bars == [
        ("", "left:0.00%;width:57.14%", "12.0s attempt 1"),
        ("failed", "left:4.76%;width:23.81%", "5.0s attempt 1: reset"),
        ("failed", "left:47.62%;width:52.38%", "11.0s attempt 2: exit code: 1"),
        ("failed", "left:0.00%;width:100.00%", "9.0s"),
        ("", "left:0.00%;width:88.89%", "8.0s"),
        ("", "left:0.00%;width:100.00%", "8.0s done"),
        ("cached", "left:0.00%;width:0.00%", "0.0s cached"),
        ("unfinished", "left:20.00%;width:80.00%", "4.0s unfinished"),
        ("failed", "left:18.18%;width:81.82%", "9.0s failed"),
    ]
    assert told.items == [
        "took", "30.0s", "logs", ".orchestrate/runs/x", "the run before", "1970-01-01 00:01:40+00:00, 30.0s: 2 built",
        "bad failed (run)Dockerfile:7 RUN makemlog: bad.log",
        "3 variants not started: cancelled because bad failed (--fail-fast)",
        "bad: attempt 1 of 2, 5.0s: reset", "bad: attempt 2 of 2, 11.0s: exit code: 1", "bad: look",
    ]  # fmt: skip
    assert looks(told) == ["verdict fail", "ok", "fail"]


def test_a_run_without_failures_is_in_order() -> None:
    skipped = replace(built("s", 0), status=Status.SKIPPED, tries=(), began=0.0)
    text = page(run(built("good", 0), skipped))
    told = Told(text)
    assert looks(told) == ["verdict ok", "ok", "excepted"]
    assert ["no step took time"] in told.rows
    assert not {"What failed", "Steps", "Notes", "Attempts that failed"} & set(told.heads)
    cancelled = replace(built("c", 1), status=Status.CANCELLED)
    assert looks(Told(page(run(cancelled)))) == ["verdict fail", "warn"]


def test_the_largest_layers_are_shown_in_order() -> None:
    layers = tuple((f"sha256:{number:064}", 1000 * (1 + number % 45)) for number in range(45))
    rows = Told(page(run(replace(built("good", 5), layers=layers)))).rows
    shown = [row[0].partition(" ")[0] for row in rows if len(row) == 3 and "sha256:" in row[0]]
    assert shown == [str(number) for number in range(6, 46)]
    (most,) = [row for row in rows if row and row[0].startswith("45 ")]
    assert most[1] == "45.0 kB"


def test_only_steps_that_took_longest_are_listed() -> None:
    many = tuple(step(f"[a {number}/30] RUN x", number) for number in range(1, 31))
    rows = Told(page(run(built("good", 30, *many)))).rows
    assert [row[3] for row in rows if len(row) == 5 and row[1] == "good"][::19] == ["30.0s", "11.0s"]
    shown = lines(run(built("good", 30, *many)))
    at = shown.index("the steps that took longest:")
    assert shown[at + 1 :] == [f"    {number}.0s  good  [a {number}/30] RUN x" for number in range(30, 25, -1)]


def test_a_terminal_is_told_of_attempts_and_the_compile_cache() -> None:
    compiled = CompileStatistics(tool="sccache", on=True, cubin=Counts(hits=3, misses=1))
    found = lines(run(replace(built("good", 12, *STEPS), compile_cache=compiled), RETRIED, *NEVER))
    assert found[1] == "logs: .orchestrate/runs/x"
    assert found[5:] == [
        "the steps that took longest:",
        "     9.0s  bad  [b 1/2] RUN make",
        "     8.0s  good  [a 1/2] RUN make",
        "bad: attempt 1 of 2 failed: reset",
        "good: compile cache: device code: 3 of 4 from cache (PTX 0/0, cubin 3/4)",
        "bad: failed (run) at Dockerfile:7 RUN make: m",
        "  log: bad.log",
        "3 variants not started: cancelled because bad failed (--fail-fast)",
    ]
    assert lines(run()) == ["build of 1970-01-01 00:01:40+00:00, 30.0s: nothing to build", "logs: .orchestrate/runs/x"]
