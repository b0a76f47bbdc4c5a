from __future__ import annotations

import json
from typing import TYPE_CHECKING

from orchestrator.drift.check import check
from orchestrator.drift.find import Findings, find
from orchestrator.drift.loose import Mention
from orchestrator.drift.replaced import Replaced
from orchestrator.drift.report import Disagreement, Report
from orchestrator.errors import Problem
from orchestrator.ui import drift_marks, drift_view
from tests.unit.drift.matrices import matrix

if TYPE_CHECKING:
    from pathlib import Path

CLAIMS = """\
  - {file: b.sh, name: A, says: "2", why: "100% needed, always"}
  - {file: b.sh, name: B, says: "1"}
  - {file: b.sh, name: C, says: "1", fix: false}
"""


def report(root: Path) -> Report:
    (root / "b.sh").write_text("A=1\nB=1\nC=2\n")
    return check(matrix(CLAIMS, root=root))


def test_lines_for_people(tmp_path: Path) -> None:
    assert drift_view.lines(report(tmp_path)) == [
        "b.sh:1: A=: says 1, the matrix says 2: another value",
        "    why: 100% needed, always",
        "b.sh:3: C=: says 2, the matrix says 1: another value",
        "    not fixed by --fix: the claim says fix: false",
    ]
    assert drift_view.summary(report(tmp_path)) == "3 claims, 3 places in 1 file: 2 disagreements"


def test_a_clean_report_says_its_counts(tmp_path: Path) -> None:
    (tmp_path / "b.sh").write_text("A=2\n")
    found = check(matrix('  - {file: b.sh, name: A, says: "2"}\n', root=tmp_path))
    assert drift_view.lines(found) == []
    assert drift_view.summary(found) == "1 claim, 1 place in 1 file: all agree"


def test_json(tmp_path: Path) -> None:
    content = drift_view.as_json(report(tmp_path), diff="d")
    assert json.loads(json.dumps(content)) == content
    assert (content["schema"], content["claims"], content["files"], content["diff"]) == (1, 3, ["b.sh"], "d")
    assert (content["places"], content["skipped"]) == (3, list(report(tmp_path).skipped))
    assert content["notes"] == list(report(tmp_path).notes)
    first, second = content["disagreements"]
    assert first == {
        "file": "b.sh", "line": 1, "column": 3, "end_column": 4, "claim": 0, "place": "A=", "says": "1",
        "expected": "2", "words": ["another value"], "why": "100% needed, always", "fixable": True,
        "unfixable": "", "hint": "",
    }  # fmt: skip
    assert (second["fixable"], second["unfixable"]) == (False, "the claim says fix: false")
    assert "diff" not in drift_view.as_json(report(tmp_path))


def test_every_format_shows_the_same_places(tmp_path: Path) -> None:
    found = report(tmp_path)
    results = drift_marks.as_sarif(found, "sub/", "matrix.yaml")["runs"][0]["results"]
    places = [one["locations"][0]["physicalLocation"] for one in results]
    assert [(one["artifactLocation"]["uri"], one["region"]["startLine"]) for one in places] == [
        ("sub/b.sh", one.line) for one in found.disagreements
    ]
    assert len(drift_marks.as_github(found)) == len(drift_view.as_json(found)["disagreements"]) == len(results)


def test_github_annotations_are_escaped(tmp_path: Path) -> None:
    first, second = drift_marks.as_github(report(tmp_path), "sub/")
    assert first == (
        "::error file=sub/b.sh,line=1,col=3,endColumn=4,title=A=::A=: says 1, the matrix says 2: another value "
        "(100%25 needed, always)"
    )
    assert second.startswith("::error file=sub/b.sh,line=3,")


def test_groups_as_json(tmp_path: Path) -> None:
    (tmp_path / "b.sh").write_text('TORCH_CUDA_ARCH_LIST="8.0 9.0"\n')
    content = drift_view.findings_as_json(find(tmp_path))
    (subject,) = content["subjects"]
    (value,) = subject["values"]
    assert value["value"] == "8.0 9.0"
    assert value["places"] == [
        {"file": "b.sh", "line": 1, "name": "TORCH_CUDA_ARCH_LIST", "written": "8.0 9.0",
         "claim": {"file": "b.sh", "name": "TORCH_CUDA_ARCH_LIST"}}
    ]  # fmt: skip


def test_names_and_values_move_no_cursor_and_end_no_line(tmp_path: Path) -> None:
    (tmp_path / "a\n::set-output name=a::evil\n.sh").write_text("A='x\x1b]0;y\x07'\n")
    shown = drift_view.lines(check(matrix('  - {file: "*.sh", name: A, says: "2"}\n', root=tmp_path)))
    assert all(line.isprintable() for line in shown)
    skipped = drift_view.skipped_lines([Problem(file="a\x1b[2J\n.yaml", line=2, what="not YAML")])
    assert all(line.isprintable() for line in skipped)


def test_an_annotation_says_why_and_what_to_do() -> None:
    one = Disagreement(
        claim=None, file="f", line=2, column=1, end_column=1, place="P", says=None, expected="", words=("gone",),
        why="it ships", hint="add it",
    )  # fmt: skip
    report = Report(disagreements=(one,), claims=0, files=(), places=0)
    (command,) = drift_marks.as_github(report)
    assert command.endswith("::P: gone (it ships) (add it)")


def test_everything_that_was_found_as_json(tmp_path: Path) -> None:
    (tmp_path / "docker-bake.hcl").write_text('target "x" { args = { torch_cuda_arch_list = "8.0 9.0" } }\n')
    (tmp_path / "compose.yaml").write_text(
        "services:\n  a:\n    build:\n      args:\n        torch_cuda_arch_list: '8.0 10.0'\n"
    )
    (tmp_path / "notes.txt").write_text("built for 7.5 8.0 8.6\n")
    found = find(tmp_path)
    content = drift_view.findings_as_json(found)
    assert set(content) == {"schema", "subjects", "mentions", "replaced", "skipped"}
    assert content["schema"] == 1
    (subject,) = content["subjects"]
    (group,) = found.groups
    assert (subject["subject"], subject["contradicts"]) == ("arch list", True)
    places = {("compose.yaml", 5, "8.0 10.0"), ("docker-bake.hcl", 1, "8.0 9.0")}
    for one in subject["contradictions"]:
        assert set(one) == {"file", "line", "value", "against", "words"}
        against = one["against"]
        assert {(one["file"], one["line"], one["value"]), tuple(against.values())} == places
        assert list(against) == ["file", "line", "value"]
    assert [one["words"] for one in subject["contradictions"]] == [list(one.words) for one in group.contradictions]
    assert [value["value"] for value in subject["values"]] == list(group.values)
    assert content["mentions"] == [
        {"file": one.file, "line": one.line, "value": one.value, "cuda": one.cuda, "prose": one.prose}
        for one in found.mentions
    ]
    mention = Mention(file="n", line=3, value="12.9.1", cuda=True, prose=False)
    sight = group.values["8.0 9.0"][0]
    bad = Problem(file="x.yaml", line=2, column=3, what="not YAML")
    told = drift_view.findings_as_json(
        Findings(groups=(), mentions=[mention], replaced=[Replaced(sight=sight, by="o.hcl")], skipped=[bad])
    )
    assert told == {
        "schema": 1, "subjects": [],
        "mentions": [{"file": "n", "line": 3, "value": "12.9.1", "cuda": True, "prose": False}],
        "replaced": [{"file": "docker-bake.hcl", "line": 1, "value": "8.0 9.0", "by": "o.hcl"}],
        "skipped": [{"file": "x.yaml", "line": 2, "column": 3, "what": "not YAML"}],
    }  # fmt: skip


def test_places_that_init_cannot_claim_are_counted_in_one_line() -> None:
    def mention(file: str, *, prose: bool = False) -> Mention:
        return Mention(file=file, line=1, value="8.0", cuda=False, prose=prose)

    assert list(drift_view.unclaimed_lines([mention("a", prose=True)])) == []
    (line,) = drift_view.unclaimed_lines([mention("a"), mention("a"), mention("b"), mention("c", prose=True)])
    assert line == (
        "note: 3 places in 2 files with an arch list or a CUDA version, in lines that no reader understands, cannot be "
        "claimed: `orchestrate check --find` shows them"
    )
    assert drift_view.skipped_lines([Problem(file="a.yaml", line=2, what="not YAML")]) == [
        "a.yaml:2: skipped: not YAML"
    ]
