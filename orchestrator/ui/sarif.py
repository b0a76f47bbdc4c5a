"""Writes findings as SARIF 2.1.0, the format of GitHub's code scanning and of editors.

Source: the OASIS standard, section 3 (3.11 for what a message may hold), and what GitHub's documentation says that its
code scanning requires beyond it: a location with a line for every result, a path without a leading slash.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from msgspec import Struct, field

from orchestrator import __version__
from orchestrator.ui.github import Place
from orchestrator.untrusted import clean, clean_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

VERSION = "2.1.0"


class Level(StrEnum):
    """How much a finding weighs."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


class Rule(Struct, frozen=True, kw_only=True):
    """A kind of finding; suppressions and filters of code scanning name it by its id.

    Attributes:
        id: Stable, `orchestrate/drift`.
        text: One sentence that says what the rule demands.
        help: What to do about it, "" for nothing general.
    """

    id: str
    text: str
    help: str = ""


class Finding(Struct, frozen=True, kw_only=True):
    """One result.

    Attributes:
        rule: Which kind it is.
        level: How much it weighs.
        text: What was found, with its hint; may hold untrusted text.
        place: Where; a finding without a file stands at the place that `log` was given for such.
    """

    rule: Rule
    level: Level
    text: str
    place: Place = field(default_factory=Place)


def log(findings: Sequence[Finding], *, elsewhere: str) -> dict[str, Any]:
    """Return one SARIF log with one run.

    Args:
        findings: In the order in which they are shown; rules are listed in the order of their first finding.
        elsewhere: The file that findings without one are attributed to: the matrix, the image's name.

    Returns:
        A value for `json.dumps`.
    """
    rules = list(dict.fromkeys(finding.rule for finding in findings))
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": VERSION,
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "orchestrate",
                        "semanticVersion": __version__,
                        "rules": [_rule(rule) for rule in rules],
                    }
                },
                "columnKind": "unicodeCodePoints",
                "results": [_result(finding, rules.index(finding.rule), elsewhere) for finding in findings],
            }
        ],
    }


def _rule(rule: Rule) -> dict[str, Any]:
    data: dict[str, Any] = {"id": rule.id, "shortDescription": {"text": _message(rule.text)}}
    if rule.help:
        data["help"] = {"text": _message(rule.help)}
    return data


def _result(finding: Finding, index: int, elsewhere: str) -> dict[str, Any]:
    place = finding.place
    return {
        "ruleId": finding.rule.id,
        "ruleIndex": index,
        "level": finding.level.value,
        "message": {"text": _message(finding.text)},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": _uri(place.file or elsewhere)},
                    "region": _region(place),
                }
            }
        ],
    }


def _region(place: Place) -> dict[str, int]:
    """Return the region; line 1 where none is known, because code scanning refuses a result without a line."""
    region = {"startLine": max(place.line, 1)}
    if place.line > 0 and place.column > 0:
        region["startColumn"] = place.column
        if place.end_column > place.column:
            region["endColumn"] = place.end_column
    return region


def _uri(path: str) -> str:
    """Return a path as a relative reference: nothing in it can be taken for a scheme, a query or a parent directory."""
    parts = [part for part in clean(path).split("/") if part not in ("", ".", "..")]
    return quote("/".join(parts)) or "."


def _message(text: str) -> str:
    """A plain text message: braces are placeholders in SARIF, and `[…](…)` a link, which untrusted text must not be."""
    shown = clean_lines(text).replace("{", "{{").replace("}", "}}")
    return shown.replace("[", "\\[").replace("]", "\\]") if "](" in shown else shown
