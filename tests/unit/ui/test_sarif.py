"""Findings as SARIF: rules once, places that code scanning takes, messages that hold nothing but text."""

from __future__ import annotations

import json
import re
from typing import Any

from orchestrator.ui import drift_marks, kernel_sarif, plan_marks
from orchestrator.ui.github import Place
from orchestrator.ui.sarif import Finding, Level, Rule, log

DRIFT = Rule(id="drift", text="A file agrees with the matrix", help="orchestrate check --fix")
KERNELS = Rule(id="kernels", text="A library serves what was promised")


def finding(text: str = "found", *, rule: Rule = DRIFT, level: Level = Level.ERROR, place: Place | None = None) -> Any:
    whole = log([Finding(rule=rule, level=level, text=text, place=place or Place())], elsewhere="matrix.yaml")
    return whole["runs"][0]["results"][0]


def location(result: Any) -> Any:
    return result["locations"][0]["physicalLocation"]


def test_each_rule_is_listed_once_and_results_point_at_it() -> None:
    findings = [
        Finding(rule=KERNELS, level=Level.ERROR, text="one"),
        Finding(rule=DRIFT, level=Level.WARNING, text="two"),
        Finding(rule=KERNELS, level=Level.NOTE, text="three"),
    ]
    run = log(findings, elsewhere="matrix.yaml")["runs"][0]
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == ["kernels", "drift"]
    assert [rule.get("help") for rule in rules] == [None, {"text": "orchestrate check --fix"}]
    assert [(rules[one["ruleIndex"]]["id"], one["level"]) for one in run["results"]] == [
        ("kernels", "error"), ("drift", "warning"), ("kernels", "note"),
    ]  # fmt: skip


def test_nothing_found_is_a_run_without_results() -> None:
    run = log([], elsewhere="matrix.yaml")["runs"][0]
    assert run["results"] == []
    assert run["tool"]["driver"]["rules"] == []


def test_a_place_has_the_numbers_that_are_known() -> None:
    assert location(finding(place=Place(file="a.yml", line=3, column=5, end_column=9)))["region"] == {
        "startLine": 3, "startColumn": 5, "endColumn": 9,
    }  # fmt: skip
    assert location(finding(place=Place(file="a.yml", line=3)))["region"] == {"startLine": 3}
    assert location(finding(place=Place(file="a.yml", line=3, column=5, end_column=5)))["region"] == {
        "startLine": 3, "startColumn": 5,
    }  # fmt: skip
    assert location(finding(place=Place(file="lib.so", column=7)))["region"] == {"startLine": 1}


def test_a_finding_without_a_file_stands_elsewhere() -> None:
    assert location(finding())["artifactLocation"] == {"uri": "matrix.yaml"}


def test_a_path_is_never_taken_for_an_address_or_a_way_out() -> None:
    def uri(path: str) -> str:
        found: str = location(finding(place=Place(file=path)))["artifactLocation"]["uri"]
        return found

    assert uri("/opt/app/lib a.so") == "opt/app/lib%20a.so"
    assert uri("../../etc/passwd") == "etc/passwd"
    assert uri("https://example.com/x?y#z") == "https%3A/example.com/x%3Fy%23z"
    assert uri("usr/lib/lib\x1b[31mx.so") == "usr/lib/libx.so"
    assert uri("/") == "."


def test_a_message_holds_no_placeholder_no_link_and_no_control() -> None:
    assert finding("{0} of ${X}")["message"]["text"] == "{{0}} of ${{X}}"
    assert finding("[click](https://evil.example)")["message"]["text"] == r"\[click\](https://evil.example)"
    assert finding("list[0]")["message"]["text"] == "list[0]"
    assert finding("a\x1b[31mb\n::error::c")["message"]["text"] == "ab\n: :error::c"


def test_it_is_json() -> None:
    text = json.dumps(log([Finding(rule=DRIFT, level=Level.ERROR, text="x")], elsewhere="matrix.yaml"))
    assert json.loads(text)["version"] == "2.1.0"


def test_every_rule_is_named_in_one_way() -> None:
    rules = [one for module in (drift_marks, kernel_sarif, plan_marks) for one in vars(module).values()]
    names = [one.id for one in rules if isinstance(one, Rule)]
    assert len(names) == len(set(names)) >= 10
    assert [name for name in names if not re.fullmatch(r"orchestrate/[a-z]+(-[a-z]+)*", name)] == []
