from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.drift import fix as fixing
from orchestrator.drift.check import check
from orchestrator.drift.report import Edit
from orchestrator.drift.second import objection
from orchestrator.errors import MatrixError
from tests.support.generated import examples
from tests.unit.drift.matrices import matrix

if TYPE_CHECKING:
    from pathlib import Path

WANTED = "8.0 8.6 9.0 10.0 12.0"
CLAIMS = {
    "Dockerfile": 'arg: LIST, says: "{arch_lists.x86}"',
    "docker-bake.hcl": 'variable: LIST, says: "{arch_lists.x86}"',
    "v.json": 'pointer: /variable/LIST/default, says: "{arch_lists.x86}"',
    "p.yaml": 'pointer: /env/LIST, says: "{arch_lists.x86}"',
    "c.yaml": 'build_arg: LIST, says: "{arch_lists.x86}"',
    "b.sh": 'name: LIST, says: "{arch_lists.x86}"',
    ".env": 'name: LIST, says: "{arch_lists.x86}"',
    "Makefile": 'name: LIST, says: "{arch_lists.x86}"',
    "CMakeLists.txt": 'name: LIST, says: "{arch_lists.x86}"',
    "s.yaml": 'name: LIST, says: "{arch_lists.x86}"',
    "l.yaml": 'name: LIST, says: "{arch_lists.x86}"',
    "p.toml": 'pointer: /tool/list, says: "{arch_lists.x86}"',
}


def claimed(*names: str) -> str:
    return "".join(f"  - {{file: {name}, {CLAIMS[name]}}}\n" for name in names)


# -- generated files: the text before the value, the value as it is spelled, the text after --------------------------

printable = st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"], exclude_characters="\x85\ufeff")
noise = st.text(printable, max_size=12)
values = st.sampled_from(["8.0 9.0", "9.0", "8.0;9.0", "7.0 12.0+PTX", "old", "", "10.1"])
ends = st.sampled_from(["\n", "\r\n"])


@st.composite
def dockerfiles(draw: st.DrawFn) -> str:
    comment, value = draw(noise), draw(values)
    quote = draw(st.sampled_from(["'", '"', ""]))
    spelled = f"{quote}{value}{quote}" if quote else value.replace(" ", "\\ ")
    before = draw(st.sampled_from(["", "OTHER=1 ", "\\\n  # in between\n  "]))
    after = draw(st.sampled_from(["", " LAST='x y'", " \\\n  LAST=2"]))
    return f"# {comment}\nFROM scratch AS one\nARG {before}LIST={spelled}{after}\nRUN echo ARG LIST=no"


@st.composite
def bakes(draw: st.DrawFn) -> str:
    comment, value = draw(noise), draw(values)
    mark = draw(st.sampled_from(["#", "//"]))
    return (
        f'{mark} {comment}\nvariable "A" {{ default = 1 }}\n'
        f'variable "LIST" {{\n  default   = "{value}" {mark} {comment}\n}}\n'
        f'target "t" {{ args = {{ LIST = LIST }} }}'
    )


@st.composite
def jsons(draw: st.DrawFn) -> str:
    content: dict[str, Any] = {
        "_comment": draw(noise), "variable": {"A": {"default": 1}, "LIST": {"default": draw(values)}},
    }  # fmt: skip
    return json.dumps(content, indent=draw(st.sampled_from([None, 2, "\t"])), ensure_ascii=draw(st.booleans()))


@st.composite
def yamls(draw: st.DrawFn) -> str:
    comment, value = draw(noise), draw(values)
    spelled = draw(st.sampled_from([f'"{value}"', f"'{value}'", value or "''"]))
    flow = draw(st.booleans())
    body = (
        f"{{A: 1, LIST: {spelled}, B: 'it''s'}}"
        if flow
        else f"\n  A: 1\n  LIST: {spelled}  # {comment}\n  B: >-\n    x"
    )
    return f"# {comment}\nenv: {body}\nlast: [1, 2]"


@st.composite
def pipelines(draw: st.DrawFn) -> str:
    value = draw(values)
    quote = draw(st.sampled_from(["'", '"']))
    command = f"docker build --build-arg A=1 --build-arg LIST={quote}{value}{quote} ."
    spelled = draw(
        st.sampled_from(
            [
                json.dumps(command),
                "'" + command.replace("'", "''") + "'",
                "|\n      set -e\n      " + command + "\n      echo done",
                ">-\n      " + command.replace(" --build", "\n      --build"),
                "|\n      " + command.replace(" --build", " \\\n        --build"),
            ]
        )
    )
    return f"# {draw(noise)}\nsteps:\n  - run: {spelled}\n  - run: echo LIST=no"


@st.composite
def scripts(draw: st.DrawFn) -> str:
    comment, value = draw(noise), draw(values)
    escaped = value.replace(" ", "\\ ").replace(";", "\\;")
    spelled = draw(st.sampled_from([f'"{value}"', f"'{value}'", f'"${{LIST:-{value}}}"', escaped]))
    branch = draw(st.booleans())
    body = f"if true; then\n\texport LIST={spelled} # {comment}\nfi" if branch else f'LIST={spelled}; echo "$LIST"'
    return f"#!/bin/sh\n# {comment}\n{body}\necho LIST=no"


@st.composite
def tomls(draw: st.DrawFn) -> str:
    value = draw(values)
    spelled = draw(st.sampled_from([f'"{value}"', f"'{value}'"]))
    return f"# {draw(noise)}\n[tool]\na.b = 1\nlist = {spelled} # after\n[[other]]\nlist = 'no'"


@st.composite
def envs(draw: st.DrawFn) -> str:
    value = draw(values)
    quote = draw(st.sampled_from(["'", '"', ""]))
    after = draw(st.sampled_from(["", " # after"]))
    return f"# {draw(noise)}\nA=1\n{draw(st.sampled_from(['', 'export ']))}LIST={quote}{value}{quote}{after}\nLISTS=no"


@st.composite
def makefiles(draw: st.DrawFn) -> str:
    value = draw(values).replace(" ", draw(st.sampled_from([" ", " \\\n  "])))
    after = draw(st.sampled_from(["", " # after", "# after"]))
    how = draw(st.sampled_from(["=", " = ", " := ", " ?= "]))
    return f"A = 1\nLIST{how}{value}{after}\nLISTS = no\nall:\n\techo LIST=no"


@st.composite
def cmakes(draw: st.DrawFn) -> str:
    value = draw(values)
    spelled = draw(st.sampled_from([f'"{value}"', value.replace(" ", ";") or '""', value or '""']))
    after = draw(st.sampled_from(["", ' CACHE STRING "list"', " PARENT_SCOPE"]))
    return f"# {draw(noise)}\nset(A 1)\nset(LIST {spelled}{after}) # after\nset(LISTS no)"


@st.composite
def lists(draw: st.DrawFn) -> str:
    return f"# {draw(noise)}\nwith:\n  build-args: |\n    A=1\n    LIST={draw(values)}\n    LISTS=no\n"


GENERATED = st.one_of(
    envs().map(lambda text: (".env", text)),
    makefiles().map(lambda text: ("Makefile", text)),
    cmakes().map(lambda text: ("CMakeLists.txt", text)),
    lists().map(lambda text: ("l.yaml", text)),
    lists().map(lambda text: ("s.yaml", text.replace("build-args:", "set:").replace("LIST=", "*.args.LIST="))),
    dockerfiles().map(lambda text: ("Dockerfile", text)),
    bakes().map(lambda text: ("docker-bake.hcl", text)),
    jsons().map(lambda text: ("v.json", text)),
    yamls().map(lambda text: ("p.yaml", text)),
    pipelines().map(lambda text: ("c.yaml", text)),
    scripts().map(lambda text: ("b.sh", text)),
    tomls().map(lambda text: ("p.toml", text)),
)


@examples(150, shared_fixtures=True)
@given(GENERATED, ends, st.booleans(), st.sampled_from(["", "\ufeff"]))
def test_fix_then_check_is_clean_and_nothing_else_changes(
    tmp_path: Path, generated: tuple[str, str], end: str, last: bool, mark: str
) -> None:
    name, text = generated
    text = mark + (text + ("\n" if last else "")).replace("\n", end)
    path = tmp_path / name
    path.write_bytes(text.encode())
    loaded = matrix(claimed(name), root=tmp_path)
    before = check(loaded)
    (places,) = [report.places for report in (before,)]
    assert places == 1  # the place is read, whatever its spelling
    spans = [(one.edit.start, one.edit.end) for one in before.disagreements if one.edit is not None]
    fixed = fixing.fix(loaded)
    assert fixed.after.clean, [str(one) for one in fixed.after.disagreements]
    fixing.write(fixed.texts, tmp_path)
    after = path.read_bytes().decode()
    if before.clean:
        assert after == text
    else:
        ((start, stop),) = spans
        assert after[:start] == text[:start]
        assert after[len(after) - (len(text) - stop) :] == text[stop:]
    assert check(loaded).clean
    again = fixing.fix(loaded)
    assert (again.texts, again.diff) == ({}, "")


def test_a_value_that_comes_from_another_is_right_once_the_other_is(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("ARG V=13.0.1\nARG B=cuda:${V}\nFROM ${B}\n")
    claims = (
        '  - {file: Dockerfile, arg: V, says: "{cuda[13.0].version}"}\n'
        '  - {file: Dockerfile, arg: B, says: "cuda:{cuda[13.0].version}"}\n'
    )
    fixed = fixing.fix(matrix(claims, root=tmp_path))
    assert len(fixed.before.disagreements) == 2
    assert fixed.after.clean
    assert fixed.texts == {"Dockerfile": "ARG V=13.0.2\nARG B=cuda:${V}\nFROM ${B}\n"}


def test_two_claims_that_contradict_each_other(tmp_path: Path) -> None:
    (tmp_path / "b.sh").write_text("A=1\n")
    claims = "  - {file: b.sh, name: A, says: '2'}\n  - {file: b.sh, name: A, says: '3'}\n"
    with pytest.raises(MatrixError, match=r"b\.sh:1: two claims contradict each other"):
        fixing.fix(matrix(claims, root=tmp_path))


def test_one_place_that_two_claims_agree_about_is_edited_once(tmp_path: Path) -> None:
    (tmp_path / "docker-bake.hcl").write_text('variable "A" { default = "1" }\ntarget "t" { args = { a = A } }\n')
    claims = (
        "  - {file: docker-bake.hcl, variable: A, says: '2'}\n"
        "  - {file: docker-bake.hcl, target: t, arg: a, says: '2'}\n"
    )
    fixed = fixing.fix(matrix(claims, root=tmp_path))
    assert fixed.after.clean
    assert 'default = "2"' in fixed.texts["docker-bake.hcl"]


def test_an_edit_that_does_not_take_is_left_to_a_person(tmp_path: Path) -> None:
    text = "A=1\nB=1\n"
    (tmp_path / "b.sh").write_text(text)
    claims = "  - {file: b.sh, regex: '^A=(1)$', says: '2'}\n  - {file: b.sh, name: B, says: '2'}\n"
    fixed = fixing.fix(matrix(claims, root=tmp_path))  # A=2 no longer matches the claim's own regex
    assert fixed.texts == {"b.sh": "A=1\nB=2\n"}
    assert [one.line for one in fixed.after.disagreements] == [1]


def test_places_that_must_not_be_edited(tmp_path: Path) -> None:
    (tmp_path / "b.sh").write_text("A='x' # '\nB=1\n")
    claims = '  - {file: b.sh, name: A, says: "it\'s"}\n  - {file: b.sh, name: B, fix: false, says: "2"}\n'
    fixed = fixing.fix(matrix(claims, root=tmp_path))
    assert fixed.texts == {}
    assert [one.unfixable for one in fixed.after.disagreements] == [
        "the quotes around it cannot hold the value", "the claim says fix: false",
    ]  # fmt: skip


def test_permissions_stay_and_links_out_of_the_root_are_refused(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside.sh"
    root.mkdir()
    script = root / "b.sh"
    script.write_text("A=1\n")
    script.chmod(0o751)
    assert fixing.write({"b.sh": "A=2\n"}, root) == {}
    assert (script.read_text(), stat.S_IMODE(script.stat().st_mode)) == ("A=2\n", 0o751)
    assert [path.name for path in root.iterdir()] == ["b.sh"]
    outside.write_text("A=1\n")
    (root / "link.sh").symlink_to(outside)
    (root / "gone").mkdir()
    unwritten = fixing.write({"link.sh": "A=2\n", "gone": "x", "b.sh": "A=3\n", "no/file.sh": "A=2\n"}, root)
    assert set(unwritten) == {"link.sh", "gone", "no/file.sh"}
    assert "points outside of" in unwritten["link.sh"]
    assert (outside.read_text(), script.read_text()) == ("A=1\n", "A=3\n")  # one file costs no other


def test_apply_edits_out_of_order() -> None:
    edits = [Edit(file="f", start=3, end=4, text="Y"), Edit(file="f", start=0, end=1, text="XX")]
    assert fixing.apply("abcdef", edits) == "XXbcYef"


@pytest.mark.parametrize(
    ("before", "after"),
    [("a\nb\n", "a\nc\n"), ("a\nb", "a\nc"), ("a\nb", "a\nb\n"), ("a\r\nb\r\n", "a\r\nc\r\n"), ("x\ny\nz", "x\nq\nz")],
)
def test_the_diff_is_one_that_patch_understands(before: str, after: str) -> None:
    diff = fixing.unified_diff("f", before, after)
    assert _patched(before, diff) == after


def _patched(before: str, diff: str) -> str:
    """A tiny `patch`: enough for one hunk, and an independent reading of the format."""
    lines = diff.split("\n")[2:]
    old: list[str] = []
    new: list[str] = []
    for number, line in enumerate(lines):
        bare = number + 1 < len(lines) and lines[number + 1].startswith("\\")
        text = line[1:] + ("" if bare else "\n")
        if line[:1] in {" ", "-"}:
            old.append(text)
        if line[:1] in {" ", "+"}:
            new.append(text)
    assert "".join(old) in before
    return before.replace("".join(old), "".join(new))


@pytest.mark.parametrize(
    ("reader", "before", "after", "said"),
    [
        ("bake", 'variable "A" { default = "1" } # "c"\n', 'variable "A" { default = "2 3" } # "c"\n', ""),
        ("bake", "a = 1\n", 'a = "x y"\n', ""),
        ("bake", 'a = "1" # c\n', 'a = "1" # d\n', "it changes more than a string of the file"),
        ("bake", 'a = "1"\n', 'a = "1" + "2"\n', "it changes more than a string of the file"),
        ("bake", 'a = "1"\n', 'a = "\\"\n', "it changes more than a string of the file"),
        ("bake", 'a = "1"\nb = "1"\n', 'a = "2"\nb = "2"\n', "it changes other values as well"),
        ("cmake", "set(A 8.0;9.0)\n", 'set(A "8.0;9.0 x")\n', ""),
        ("cmake", "set(A 80-real 90-real)\n", "set(A 80-real 90-real 100-real)\n", ""),
        ("cmake", "set(A 80 90)\n", "set(A 80\n)\n", "it changes more than a string of the file"),
        ("cmake", "set(A 80 90)\nset(B 80)\n", "set(A 80)\nset(B 90)\n", "it changes other values as well"),
        ("cmake", "set(A 80 90)\n", "set(B 80 90)\n", ""),
        ("cmake", "set(A 8.0)\n", "set(A 8.0 CACHE)\n", "it changes more than a string of the file"),
        ("env", "A='1 # 2' # c\nB=1\n", "A='x # y z' # c\nB=1\n", ""),
        ("env", "A=1 # c\n", "A=2\n", "it changes more than the value of a line"),
        ("env", "A=1\n", "B=1\n", "it changes more than the value of a line"),
        ("env", "A=1\n", "A=1\nB=2\n", "it changes other lines as well"),
        ("env", "A=1\nB=1\n", "A=2\nB=2\n", "it changes other lines as well"),
        ("make", "A := 1 \\\n 2 # c\r\n", "A := 3 # c\r\n", ""),
        ("make", "A = 1# c\n", "A = 1# d\n", "it changes more than the value of a line"),
        ("make", "A = 1\n", "A = 1# d\n", "it changes more than the value of a line"),
        ("make", "A = 1\n", "A += 1\n", "it changes more than the value of a line"),
        ("requirements", "a == 1.0 ; python_version > '3' # c\n", "a == 2.0 ; python_version > '3' # c\n", ""),
        ("requirements", "a[x,y]==1.0\r\n", "a[x,y]==2.0.post1+cu130\r\n", ""),
        ("requirements", "a==1\n", "b==1\n", "it changes more than the version of a requirement"),
        ("requirements", "a==1 # c\n", "a==2 # d\n", "it changes more than the version of a requirement"),
        ("requirements", "a==1\n", "a==2 3\n", "it changes more than the version of a requirement"),
        ("requirements", "a==1\n", "a==x\n", "what it writes is not a version"),
        ("requirements", "a==1\nb==1\n", "a==2\nb==2\n", "it changes other lines as well"),
        (
            "requirements",
            "a==1 --hash=sha256:ab\n",
            "a==2 --hash=sha256:ab\n",
            "the hashes of the requirement are those of its version",
        ),
        (
            "requirements",
            "a==1 \\\n  --hash=sha256:ab\n",
            "a==2 \\\n  --hash=sha256:ab\n",
            "the hashes of the requirement are those of its version",
        ),
        ("dockerfile", "ARG A=1 B=2\n", "ARG A='x y' B=2\n", ""),
        ("dockerfile", "ARG A=1 B=2\n", "ARG A=x y B=2\n", "it changes the words of a command"),
    ],
)
def test_what_a_second_reading_says(reader: str, before: str, after: str, said: str) -> None:
    assert objection(reader, before, after, 1) == said
