"""The job summary of GitHub Actions: the results of a build as Markdown, appended to the file that the runner names.

What a build printed is untrusted: it stands in code blocks that it cannot end, and markup in it is escaped.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.durations import duration
from orchestrator.runs.outcome import Status
from orchestrator.ui.results import (
    SHOWN_LINES,
    cached_steps,
    compile_line,
    never_started,
    not_started,
    references,
    summary,
)
from orchestrator.ui.text import UNICODE, shorten
from orchestrator.untrusted import clean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orchestrator.runs.outcome import Outcome

VARIABLE = "GITHUB_STEP_SUMMARY"
MOST = 900_000
"""Bytes of one summary; the runner refuses one beyond 1 MiB altogether (docs.github.com, workflow commands)."""

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>()#+!|~@&:.-])")  # : and . too: they make links of bare addresses


def append_summary(outcomes: Sequence[Outcome], *, env: Mapping[str, str]) -> str:
    """Append the summary where the environment asks for one; existing content is kept.

    Args:
        outcomes: All outcomes of the run.
        env: The environment; without GITHUB_STEP_SUMMARY nothing happens.

    Returns:
        Why it could not be written, "" if it was: a summary must not fail a build.
    """
    return append_text(markdown(outcomes), env=env) if outcomes else ""


def append_text(text: str, *, env: Mapping[str, str]) -> str:
    """Append Markdown to the summary; as `append_summary`."""
    place = env.get(VARIABLE, "")
    if not place:
        return ""
    try:
        with Path(place).open("a", encoding="utf-8", errors="replace") as file:
            file.write(text)
    except OSError as error:
        return f"{VARIABLE}: {place}: {error.strerror}"
    return ""


def markdown(outcomes: Sequence[Outcome]) -> str:
    """Return the results as Markdown: a table of all variants, then each failure with its last lines."""
    lines = [
        f"### Build: {summary(outcomes)}",
        "",
        "| variant | status | digest | time | cached steps | attempts |",
        "| --- | --- | --- | ---: | ---: | ---: |",
        *(_row(outcome) for outcome in outcomes),
        "",
    ]
    tags = [f"- {code_span(reference)}" for reference in references(outcomes)]
    tags += [f"- {code_span(outcome.id)} {_text(said)}" for outcome in outcomes if (said := compile_line(outcome))]
    tags += [f"- {_text(line)}" for line in not_started(outcomes)]
    text = "\n".join([*lines, *tags, ""] if tags else lines) + "\n"
    for outcome in outcomes:
        more = _failure(outcome)
        if len((text + more).encode()) > MOST:
            return f"{text}…\n"
        text += more
    return text


def _row(outcome: Outcome) -> str:
    sign = getattr(UNICODE, outcome.status.value)
    digest = code_span(outcome.digest) if outcome.digest else ""
    cells = (
        code_span(outcome.id), f"{sign} {outcome.status.value}", digest, duration(outcome.seconds),
        cached_steps(outcome), str(outcome.attempts),
    )  # fmt: skip
    return f"| {' | '.join(cells)} |"


def _failure(outcome: Outcome) -> str:
    if outcome.error is None or never_started(outcome):  # the list has the reason of those, once
        return ""
    error = outcome.error
    first, *more = error.message.splitlines() or [""]
    where = f" at {code_span(error.place)}" if error.place else " at" if error.step else ""
    step = where + (f" {code_span(shorten(clean(error.step), 160, '…'))}" if error.step else "")
    text = f"**{_text(outcome.id)}** {outcome.status.value} ({error.failure}){step}: {_text(first)}\n\n"
    last = outcome.last_lines[-SHOWN_LINES:] if outcome.status is Status.FAILED else ()
    body = [clean(line) for line in more] + [shorten(clean(line), 400, "…") for line in last]
    if body:
        fence = "`" * max(3, 1 + max(len(run) for line in body for run in re.findall(r"`+", line) or [""]))
        text += "\n".join([fence, *body, fence]) + "\n\n"
    return text


def _text(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", clean(text))


def code_span(text: str) -> str:
    """Return a code span whatever is in it; `|` would end a table's cell even there."""
    quoted = clean(text).replace("|", "\\|")
    fence = "`" * (1 + max((len(run) for run in re.findall(r"`+", quoted)), default=0))
    pad = " " if "`" in quoted else ""
    return f"{fence}{pad}{quoted}{pad}{fence}"
