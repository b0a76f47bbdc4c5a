from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orchestrator.drift.check import check
from orchestrator.errors import MatrixError
from tests.unit.drift.matrices import matrix

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.drift.report import Disagreement


def found(root: Path, claims: str, **files: str) -> list[Disagreement]:
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="")
    return list(check(matrix(claims, root=root)).disagreements)


def test_agreement_counts_claims_places_and_files(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("ARG A=13.0.2\nFROM x\nARG A=13.0.2\n")
    claims = '  - {file: Dockerfile, arg: A, says: "{cuda[13.0].version}"}\n'
    report = check(matrix(claims, root=tmp_path))
    assert report.clean
    assert (report.claims, report.places, report.files) == (1, 2, ("Dockerfile",))


def test_a_disagreement_has_its_place_and_its_words(tmp_path: Path) -> None:
    claims = '  - {file: Dockerfile, arg: L, says: "{arch_lists.x86}", why: the kernels}\n'
    (one,) = found(tmp_path, claims, Dockerfile="FROM x\nARG B=1 L='7.0 8.0 8.6 9.0 10.0'\n")
    assert (one.file, one.line, one.column, one.end_column, one.why) == ("Dockerfile", 2, 12, 32, "the kernels")
    assert str(one) == (
        "Dockerfile:2: ARG L (stage 0): says 7.0 8.0 8.6 9.0 10.0, the matrix says 8.0 8.6 9.0 10.0 12.0: missing 12.0 "
        "(RTX 50, RTX PRO 6000 Blackwell); adds 7.0 (V100, TITAN V), which CUDA 13.0 cannot compile"
    )


@pytest.mark.parametrize(
    ("claim", "text", "words"),
    [
        ("file: gone.sh, name: A, says: x", "", "the file was not found"),
        ("file: f.sh, name: A, says: x", "B=x\n", "not found"),
        ("file: f.sh, name: A, says: x, places: 2", "A=x\n", "expected in 2 places, found in 1"),
        ("file: f.sh, name: A, branch: else, says: x", "A=x\n", "not found"),
        ("file: f.sh, reader: json, pointer: /a, says: x", "{", "not JSON"),
        ("file: f.sh, pointer: /a, says: x", "{}", "a pointer leads into JSON"),
        ("file: f.sh, reader: bake, variable: a, says: x", "target {", "not HCL"),
        ("file: '*.cfg', regex: 'a=(.)', says: x", "", "the file was not found"),
    ],
)
def test_a_place_that_is_gone_is_drift(tmp_path: Path, claim: str, text: str, words: str) -> None:
    (one,) = found(tmp_path, f"  - {{{claim}}}\n", f_sh=text)
    assert one.says is None
    assert words in "; ".join(one.words)
    assert one.edit is None


def test_of_a_glob_one_file_with_the_place_is_enough(tmp_path: Path) -> None:
    claims = "  - {file: '**/*.sh', name: A, says: x}\n"
    assert found(tmp_path, claims, a_sh="A=x\n", b__c_sh="B=1\n") == []
    (one,) = found(tmp_path, claims, b__d_sh="A=y\n")
    assert one.file == "b/d.sh"


def test_each_step_that_a_pointer_selects_must_hold_the_place(tmp_path: Path) -> None:
    text = "steps:\n  - id: x-1\n    run: docker build --build-arg A=1 .\n  - id: x-2\n    run: docker build .\n"
    claims = '  - {file: p.yaml, pointer: "/steps/id=x-*", build_arg: A, says: "1"}\n'
    (one,) = found(tmp_path, claims, p_yaml=text)
    assert (one.line, one.words) == (4, ("not found in this part",))


@pytest.mark.parametrize(
    ("name", "text", "claim", "line"),
    [
        ("p.toml", 'deps = [\n  "torch==2.8",\n  "x>=1",\n]\n', "package: torch", 2),
        ("p.yaml", "deps:\n  - torch==2.8\n", "package: torch", 2),
        ("r.txt", "# torch==1\ntorch==2.8\n", "package: torch", 2),
        (
            "d.md",
            "docker build --build-arg V=no .\n```bash\ndocker build --build-arg V=2.8 .\n```\n",
            "build_arg: V",
            3,
        ),
        ("d.rst", "~~~\nexport V=2.8\n~~~\n", "name: V", 2),
        ("c.json", '{"run": "docker build --build-arg V=2.8 ."}', "build_arg: V", 1),
        ("c.toml", "run = 'docker build --build-arg V=2.8 .'\n", "build_arg: V", 1),
        ("Makefile", "\tdocker build --build-arg V=2.8 .\n", "build_arg: V", 1),
        ("list", "torch==2.8\n", "reader: requirements, package: torch", 1),
        ("b.json", '{"target": {"t": {"args": {"V": "2.8"}}}}', "target: t, arg: V", 1),
        ("b.hcl", 'V = "2.8"\n', "variable: V", 1),
        ("s", "V=2.8\n", "name: V", 1),
    ],
)
def test_every_reader_and_kind_of_file(tmp_path: Path, name: str, text: str, claim: str, line: int) -> None:
    (tmp_path / name).write_text(text)
    (one,) = found(tmp_path, f"  - {{file: {name}, {claim}, says: '2.9'}}\n")
    assert (one.line, one.says) == (line, "2.8")
    assert one.edit is not None
    assert text[one.edit.start : one.edit.end] == "2.8"
    assert found(tmp_path, f"  - {{file: {name}, {claim}, says: '2.8'}}\n") == []


def test_a_command_whose_spelling_is_escaped_is_compared_and_not_edited(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text('{"run": "docker build \\u002d-build-arg V=\\"2.8\\" ."}')
    (one,) = found(tmp_path, "  - {file: c.json, build_arg: V, says: '2.9'}\n")
    assert (one.line, one.says, one.edit) == (1, "2.8", None)


def test_where_narrows_to_commands(tmp_path: Path) -> None:
    text = "docker build --build-arg V=12 --build-arg A=1 .\ndocker build --build-arg V=13 \\\n  --build-arg A=2 .\n"
    claims = "  - {file: b.sh, build_arg: A, where: V=13, says: '1'}\n"
    (one,) = found(tmp_path, claims, b_sh=text)
    assert (one.line, one.says) == (3, "2")


def test_all_false_means_the_first(tmp_path: Path) -> None:
    claims = "  - {file: s.sh, name: A, all: false, says: x}\n"
    assert found(tmp_path, claims, s_sh="A=x\nA=y\n") == []


def test_build_arguments_that_no_dockerfile_declares(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("ARG A\nFROM x\nARG B=1\n")
    text = (
        "docker build --build-arg A=1 --build-arg B --build-arg HTTP_PROXY=x --build-arg DEAD=1 .\n"
        "docker build -f elsewhere --build-arg UNSEEN=1 .\n"
        "docker build -f $FILE --build-arg UNSEEN=1 .\n"
    )
    (one,) = found(tmp_path, "  - {file: b.sh, build_args: declared}\n", b_sh=text)
    assert one.place == "--build-arg DEAD"
    assert one.line == 1
    assert "docker ignores it silently" in one.words[0]


def test_a_value_from_a_variable_is_compared_and_not_edited(tmp_path: Path) -> None:
    claims = "  - {file: Dockerfile, env: E, says: '2'}\n"
    (one,) = found(tmp_path, claims, Dockerfile="FROM x\nARG A=1\nENV E=${A}\n")
    assert (one.line, one.says, one.edit, one.unfixable) == (3, "1", None, "it comes from ${A}")
    assert found(tmp_path, claims, Dockerfile="FROM x\nARG A=2\nENV E=${A}\n") == []


def test_a_reference_can_be_claimed_as_it_is_written(tmp_path: Path) -> None:
    claims = "  - {file: Dockerfile, env: E, says: '${A}'}\n"
    assert found(tmp_path, claims, Dockerfile="FROM x\nARG A=1\nENV E=${A}\n") == []


def test_every_wrong_claim_is_reported_with_its_line(tmp_path: Path) -> None:
    claims = (
        "  - {file: ../secret, name: A, says: x}\n"
        "  - {file: f, regex: '(', says: x}\n"
        "  - file: f\n    name: A\n    says: '{arch_lists.relese}'\n"
        "  - {file: f, build_arg: A, where: '[', says: x}\n"
        "  - {file: f.json, pointer: a/b, says: x}\n"
        "  - {file: f, name: A, says: '{cuda[9]}'}\n"
    )
    with pytest.raises(MatrixError) as caught:
        check(matrix(claims, root=tmp_path))
    base = str(caught.value)
    for words in (
        "is outside of the repository", "not a regular expression", "did you mean release?", "begins with /",
        "no CUDA release 9",
    ):  # fmt: skip
        assert words in base
    lines = [problem.line for problem in caught.value.problems]
    assert len(lines) == 6
    assert lines == sorted(lines)


def test_an_unreadable_file_is_drift(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_bytes(b"a: \xff\n")
    (one,) = found(tmp_path, "  - {file: b.yaml, pointer: /a, says: x}\n")
    assert "not YAML" in one.words[0]


def test_bytes_that_are_not_utf8_do_not_disturb_a_script(tmp_path: Path) -> None:
    (tmp_path / "b.sh").write_bytes(b"# caf\xe9\nA=x\n")
    assert found(tmp_path, "  - {file: b.sh, name: A, says: x}\n") == []


@pytest.mark.parametrize(
    ("name", "text", "place"),
    [
        ("d.sh", "A=1\n" + "if true; then\n" * 200, (102, 1)),
        ("d.yaml", "steps:\n  - run: |\n      A=1\n" + "      if true; then\n" * 200, (104, 7)),
        ("d.md", "# A\n```\n" + "if true; then\n" * 200 + "```\n", (103, 1)),
    ],
)
def test_a_script_that_is_nested_too_deeply_is_drift_at_its_place(
    tmp_path: Path, name: str, text: str, place: tuple[int, int]
) -> None:
    text = text if "A=" in text else text.replace("if true", "A=1; if true", 1)
    (tmp_path / name).write_text(text)
    (one,) = found(tmp_path, f"  - {{file: {name}, name: A, says: '1'}}\n")
    assert (one.line, one.column, one.words) == (*place, ("nested too deeply, expected at most 100 levels",))


def test_a_file_of_another_format_is_drift_at_its_place(tmp_path: Path) -> None:
    (tmp_path / "v.json").write_text('{"a": 1,\n "b" 2}')
    (one,) = found(tmp_path, "  - {file: v.json, pointer: /a, says: '1'}\n")
    assert (one.line, one.column, one.words) == (2, 6, ("not JSON: expected :",))


def test_the_stage_is_named_once(tmp_path: Path) -> None:
    text = "FROM x AS base\nARG A=1\n"
    (one,) = found(tmp_path, '  - {file: Dockerfile, arg: A, stage: base, says: "2"}\n', Dockerfile=text)
    assert one.place == "ARG A in stage base"
    (one,) = found(tmp_path, '  - {file: Dockerfile, arg: A, says: "2"}\n', Dockerfile=text)
    assert one.place == "ARG A (stage base)"
    (one,) = found(tmp_path, '  - {file: x.sh, name: A, says: "2"}\n', x_sh="A=1\n")
    assert one.place == "A="


def test_an_argument_of_a_target_is_named_with_it(tmp_path: Path) -> None:
    (tmp_path / "docker-bake.hcl").write_text('target "app" { args = { A = "1" } }\n')
    (one,) = found(tmp_path, '  - {file: docker-bake.hcl, target: app, arg: A, says: "2"}\n')
    assert (one.place, one.says) == ("arg A of target app", "1")
    (one,) = found(tmp_path, '  - {file: b.sh, name: A, branch: x, says: "2"}\n', b_sh="case $1 in\nx) A=1;;\nesac\n")
    assert one.place == "A= in branch x"
