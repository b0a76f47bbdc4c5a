"""What is wrong with a matrix, and what `plan --preflight` refuses, as SARIF.

Only what a file of the repository causes is a finding; a registry that is down says nothing about the code.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.errors import FailureClass
from orchestrator.ui import sarif
from orchestrator.ui.github import Place
from orchestrator.ui.sarif import Finding, Level, Rule

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from orchestrator.errors import OrchestrateError, Problem

MATRIX = Rule(
    id="orchestrate/matrix",
    text="The matrix and the files that it names are valid.",
    help="`orchestrate schema` prints what a matrix may hold; `orchestrate plan` says what it means.",
)
ARRIVED = Rule(
    id="orchestrate/arrived",
    text="Every argument, secret and context that the matrix gives is one that the target consumes.",
    help="`orchestrate plan --preflight` checks it without a build.",
)
BUILDABLE = Rule(
    id="orchestrate/buildable", text="The bake file and the Dockerfile of a variant can be built as the matrix asks."
)
_RULES = {
    FailureClass.MATRIX: MATRIX,
    FailureClass.ARRIVED: ARRIVED,
    FailureClass.USAGE: BUILDABLE,
    FailureClass.RUN: BUILDABLE,
}


def as_sarif(errors: Sequence[OrchestrateError], matrix: str) -> dict[str, Any]:
    """Return what a plan found as a SARIF log, each finding once.

    Args:
        errors: The error that a matrix ended with, or those of the variants that were refused.
        matrix: The path of the matrix, for what stands in no file.
    """
    findings = [finding for error in errors for finding in _findings(error)]
    return sarif.log(list(dict.fromkeys(findings)), elsewhere=_below(matrix))


def _findings(error: OrchestrateError) -> Iterator[Finding]:
    rule = _RULES.get(error.failure)
    if rule is None:
        return
    for problem in error.problems:
        yield Finding(rule=rule, level=Level.ERROR, text=_text(problem, error.hint), place=_place(problem))
    if not error.problems:
        text = f"{error.message}; {error.hint}" if error.hint else error.message
        yield Finding(rule=rule, level=Level.ERROR, text=text)


def _text(problem: Problem, hint: str) -> str:
    text = str(problem).removeprefix(f"{problem.place}: ")
    return text if problem.hint or not hint else f"{text}; {hint}"


def _place(problem: Problem) -> Place:
    return Place(file=_below(problem.file), line=problem.line, column=problem.column)


def _below(path: str) -> str:
    """Return a path as code scanning takes it: below the directory that the command runs in, where it is there."""
    below = os.path.relpath(path) if Path(path).is_absolute() else path
    return path if below.startswith("..") else below
