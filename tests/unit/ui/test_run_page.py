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
from tests.unit.ui.test_report import Balance

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
