"""A run as one HTML page that needs nothing else: when what ran, what it cost, and what the run before took.

Depends on kept runs alone and decides nothing. What a build, an image or a registry said is untrusted and escaped; no
meaning is carried by colour alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.cache import compile_statistics
from orchestrator.durations import duration
from orchestrator.runs.outcome import Status
from orchestrator.sizes import size_text
from orchestrator.ui.html import escaped, filled
from orchestrator.ui.results import cached_steps, never_started, not_started, summary
from orchestrator.ui.run_view import before, change, longest
from orchestrator.ui.text import UNICODE, short_digest, shorten

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from orchestrator.bake.moved import StepTime
    from orchestrator.runs.kept import Run
    from orchestrator.runs.outcome import Outcome

_STEPS = 20  # of those that took longest
_LAYERS = 40  # of one image, the largest
_NAME = 200  # characters of a step's name
_LOOKS = {Status.BUILT: "ok", Status.FAILED: "fail", Status.CANCELLED: "warn", Status.SKIPPED: "excepted"}


def page(run: Run, previous: Run | None = None) -> str:
    """Return the page.

    Args:
        run: What it shows.
        previous: The run before it; None where there is none.
    """
    begun = [outcome for outcome in run.outcomes if not never_started(outcome)]
    bad = any(outcome.status in (Status.FAILED, Status.CANCELLED) for outcome in run.outcomes)
    return filled(
        "run.html",
        title=escaped(f"build of {run.when}"),
        heading=escaped(f"Build of {run.when}"),
        verdict_class="fail" if bad else "ok",
        verdict_sign="✗" if bad else "✓",
        verdict_text=escaped(summary(run.outcomes)),
        about=_about(run, previous),
        failures=_failures(begun),
        variants=_variants(run, begun, previous),
        waiting=_list("", not_started(run.outcomes)),
        steps=_slowest(begun),
        retries=_retries(begun),
        compiled=_compiled(begun),
        sizes=_sizes(begun),
        timelines=_timelines(begun),
        notes=_list("Notes", (f"{outcome.id}: {note}" for outcome in begun for note in outcome.notes)),
    )


def _about(run: Run, previous: Run | None) -> str:
    rows = {"took": duration(run.seconds), "matrix": run.matrix, "logs": str(run.directory)}
    if previous is not None:
        rows["the run before"] = f"{previous.when}, {duration(previous.seconds)}: {summary(previous.outcomes)}"
    return f"<dl>{''.join(f'<dt>{name}</dt><dd>{escaped(value)}</dd>' for name, value in rows.items() if value)}</dl>"


def _failures(outcomes: Sequence[Outcome]) -> str:
    items = "".join(
        f"<li><strong>{escaped(one.id)}</strong> {one.status.value} ({one.error.failure.value})"
        f"<p>{escaped(' '.join(filter(None, (one.error.place, one.error.step))))}</p>"
        f"<p>{escaped(one.error.message)}</p>"
        f'<p class="soft">{escaped(f"log: {one.log}" if one.log is not None else "")}</p></li>'
        for one in outcomes
        if one.error is not None
    )
    return f'<h2>What failed</h2><ul class="problems" id="failures">{items}</ul>' if items else ""


def _variants(run: Run, outcomes: Sequence[Outcome], previous: Run | None) -> str:
    heads = ("variant", "status", "when", "time", "before", "change", "cached", "attempts", "pulled", "sent", "builder")
    head = "".join(f'<th scope="col">{name}</th>' for name in heads)
    first = min((one.began for one in outcomes if one.began), default=run.started)
    whole = max([one.began + one.seconds - first for one in outcomes if one.began] or [0.0])
    rows = "".join(
        f'<tr><th scope="row">{escaped(one.id)} <small class="soft">{escaped(short_digest(one.digest))}</small></th>'
        f'<td class="{_LOOKS[one.status]}">{getattr(UNICODE, one.status.value)} {one.status.value}</td>'
        f'<td class="grow">{_attempts(one, first, whole)}</td>'
        f'<td class="number">{duration(one.seconds)}</td>'
        f'<td class="number">{escaped(before(one, previous))}</td>'
        f'<td class="number">{escaped(change(one, previous))}</td>'
        f'<td class="number">{cached_steps(one)}</td><td class="number">{one.attempts}</td>'
        f'<td class="number">{size_text(one.moved.pulled)}</td><td class="number">{size_text(one.moved.sent)}</td>'
        f"<td>{escaped(one.builder)}</td></tr>"
        for one in outcomes
    )
    return f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody>"


def _attempts(outcome: Outcome, first: float, whole: float) -> str:
    """Return the lane of a variant: a bar for each attempt."""
    spans = "".join(
        _bar(one.began - first, one.seconds, whole, "failed" if one.reason else "", f"attempt {number}: {one.reason}")
        for number, one in enumerate(outcome.tries, 1)
    )
    return f'<div class="lane">{spans}</div>'


def _bar(began: float, seconds: float, whole: float, looks: str, title: str) -> str:
    left = min(100.0, max(0.0, 100 * began / whole)) if whole > 0 else 0.0
    width = min(100.0 - left, max(0.0, 100 * seconds / whole)) if whole > 0 else 0.0
    shown = f"{duration(seconds)} {title}".strip(" :")
    return (
        f'<span class="{looks}" style="left:{left:.2f}%;width:{width:.2f}%" '
        f'title="{escaped(shorten(shown, _NAME, "…"))}">'
        "</span>"
    )


def _slowest(outcomes: Sequence[Outcome]) -> str:
    head = "".join(f'<th scope="col">{name}</th>' for name in ("step", "variant", "state", "time", ""))
    found = longest(outcomes, _STEPS)
    most = max((step.seconds for _, step in found), default=0.0)
    rows = "".join(
        f'<tr><td class="words"><code>{_named(step)}</code></td><td>{escaped(id_)}</td>'
        f'<td>{escaped(step.state)}</td><td class="number">{duration(step.seconds)}</td>'
        f'<td class="grow"><div class="lane">{_bar(0, step.seconds, most, _looks(step), "")}</div></td></tr>'
        for id_, step in found
    )
    return f"<thead><tr>{head}</tr></thead><tbody>{rows or '<tr><td>no step took time</td></tr>'}</tbody>"


def _named(step: StepTime) -> str:
    return escaped(shorten(step.name, _NAME, "…"))


def _looks(step: StepTime) -> str:
    """Return the class of a step's bar."""
    return step.state if step.state in ("failed", "cached", "unfinished") else ""


def _retries(outcomes: Sequence[Outcome]) -> str:
    return _list(
        "Attempts that failed",
        (
            f"{outcome.id}: attempt {number} of {len(outcome.tries)}, {duration(one.seconds)}: {one.reason}"
            for outcome in outcomes
            for number, one in enumerate(outcome.tries, 1)
            if one.reason and len(outcome.tries) > 1
        ),
    )


def _compiled(outcomes: Sequence[Outcome]) -> str:
    return _list(
        "Compile cache",
        (
            f"{outcome.id}: {compile_statistics.sentence(outcome.compile_cache)}"
            for outcome in outcomes
            if outcome.compile_cache is not None
        ),
    )


def _sizes(outcomes: Sequence[Outcome]) -> str:
    """Return the sizes of the images that were read: those that were verified."""
    parts = "".join(
        f"<details><summary>{escaped(one.id)} "
        f'<span class="soft">{size_text(sum(size for _, size in one.layers))} in {len(one.layers)} layers</span>'
        f'</summary><div class="two"><div><h3>layers</h3>{_weights(_largest(one.layers))}</div>'
        f"<div><h3>device code by architecture</h3>{_weights(one.weights.archs)}</div></div>"
        f"{_cost(one)}</details>"
        for one in outcomes
        if one.layers or one.weights.archs
    )
    return f"<h2>Sizes</h2>{parts}" if parts else ""


def _cost(outcome: Outcome) -> str:
    """Return which libraries the device code is in, what a shorter list saves, and what is there twice."""
    weights = outcome.weights
    total = sum(size for _, size in weights.archs)
    shorter = (
        f"without {cc}: {size_text(without)} less; with {cc} alone: {size_text(only)} less"
        for cc, without, only in weights.shorter
        if without or only < total
    )
    copies = (
        f"{path}: {others} {'copy' if others == 1 else 'copies'} of it, {size_text(wasted)} wasted"
        for path, others, wasted in weights.copies
    )
    libraries = f"<h3>device code by library</h3>{_weights(weights.libraries)}" if weights.libraries else ""
    parts = (("what a shorter list saves of it", _list("", shorter)), ("device code more than once", _list("", copies)))
    return libraries + "".join(f"<h3>{title}</h3>{lines}" for title, lines in parts if lines)


def _largest(layers: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
    """Return the layers in order, the smallest left out where there are many."""
    least = sorted((size for _, size in layers), reverse=True)[:_LAYERS][-1:] or [0]
    shown = [(f"{number} {short_digest(digest)}", size) for number, (digest, size) in enumerate(layers, 1)]
    return [one for one in shown if one[1] >= least[0]][:_LAYERS]


def _weights(sizes: Sequence[tuple[str, int]]) -> str:
    most = max((size for _, size in sizes), default=0) or 1
    rows = "".join(
        f'<tr><th scope="row">{escaped(name)}</th><td class="number">{size_text(size)}</td>'
        f'<td class="room"><span class="bar" style="width:{100 * size / most:.2f}%"></span></td></tr>'
        for name, size in sizes
    )
    return f'<table class="bars">{rows}</table>'


def _timelines(outcomes: Sequence[Outcome]) -> str:
    parts = "".join(_timeline(one) for one in outcomes if any(attempt.steps for attempt in one.tries))
    return f"<h2>Steps</h2>{parts}" if parts else ""


def _timeline(outcome: Outcome) -> str:
    """Return the steps of each attempt, one a row, on the attempt's own time; open where the variant failed."""
    tables = ""
    for number, attempt in enumerate(outcome.tries, 1):
        whole = max((step.began + step.seconds for step in attempt.steps), default=0.0)
        rows = "".join(
            f'<tr><td class="words"><code>{_named(step)}</code></td><td>{escaped(step.state)}</td>'
            f'<td class="number">{duration(step.seconds)}</td><td class="grow"><div class="lane">'
            f"{_bar(step.began, step.seconds, whole, _looks(step), step.state)}</div></td></tr>"
            for step in attempt.steps
        )
        name = f"<h3>attempt {number}</h3>" if len(outcome.tries) > 1 else ""
        tables += f'{name}<div class="scroll"><table class="data">{rows}</table></div>'
    opened = " open" if outcome.status is Status.FAILED else ""
    return (
        f"<details{opened}><summary>{escaped(outcome.id)} "
        f'<span class="soft">{duration(outcome.seconds)}, {cached_steps(outcome)} cached</span></summary>'
        f"{tables}</details>"
    )


def _list(title: str, lines: Iterable[str]) -> str:
    items = "".join(f"<li>{escaped(line)}</li>" for line in lines)
    head = f"<h2>{title}</h2>" if title else ""
    return f'{head}<ul class="notes">{items}</ul>' if items else ""
