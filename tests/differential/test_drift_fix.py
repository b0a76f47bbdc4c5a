"""What `check --fix` writes, read by each format's own reader: tomllib, json, PyYAML, a real shell, make, buildx."""

from __future__ import annotations

import json
import subprocess
import tomllib
from typing import TYPE_CHECKING

import pytest
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from packaging.requirements import Requirement

from orchestrator.drift import fix as fixing
from orchestrator.drift.check import check
from orchestrator.engine.client import docker_command
from orchestrator.reference import parse
from tests.support.artifacts import cmake
from tests.unit.drift.matrices import BASE, matrix

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from _pytest.mark import ParameterSet

VALUES = ("8.0 9.0 12.0+PTX", "13.0.2", "8.0;9.0", "a-b_c/d:1", "x y")


def output(*argv: str, cwd: Path) -> str:
    done = subprocess.run(
        argv, cwd=cwd, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, check=True
    )
    return done.stdout


def from_shell(path: Path) -> str:
    return output("bash", "-c", f'. ./{path.name}; printf %s "$A"', cwd=path.parent)


def from_make(path: Path) -> str:
    lines = output("make", "-pqrRf", path.name, "nothing", cwd=path.parent).splitlines()
    return next(line.partition("= ")[2] for line in lines if line.startswith(("A = ", "A := ")))


def from_bake(path: Path) -> str:
    argv = [*docker_command(), "buildx", "bake", "-f", path.name, "--print", "t"]
    return str(json.loads(output(*argv, cwd=path.parent))["target"]["t"]["args"]["A"])


def from_yaml(path: Path) -> str:
    return str(yaml.safe_load(path.read_text())["x"]["a"])


def from_list(path: Path) -> str:
    lines = yaml.safe_load(path.read_text())["with"]["build-args"].splitlines()
    return next(str(line).removeprefix("A=") for line in lines if line.startswith("A="))


def from_env(path: Path) -> str:
    return output("env", "-i", "bash", "-c", f'set -a; . ./{path.name}; printf %s "$A"', cwd=path.parent)


def from_compose(path: Path) -> str:
    argv = [*docker_command(), "buildx", "bake", "-f", path.name, "--print", "t"]
    value = json.loads(output(*argv, cwd=path.parent))["target"]["t"]["args"]["A"]
    return str(value).replace("$${", "${").replace("%%{", "%{")


def from_set(path: Path) -> str:
    """What bake makes of the `set:` of a workflow: bake-action gives each line to `--set`."""
    lines = yaml.safe_load(path.read_text())["with"]["set"].splitlines()
    given = [word for line in lines for word in ("--set", line)]
    (path.parent / "t.hcl").write_text('target "t" {}\n')
    argv = [*docker_command(), "buildx", "bake", "-f", "t.hcl", *given, "--print", "t"]
    return str(json.loads(output(*argv, cwd=path.parent))["target"]["t"]["args"]["A"])


def from_matrix(path: Path) -> str:
    """The value of the one target of a matrix whose argument is not b."""
    argv = [*docker_command(), "buildx", "bake", "-f", path.name, "--print", "t"]
    targets = json.loads(output(*argv, cwd=path.parent))["target"].values()
    return next(str(one["args"]["A"]) for one in targets if one["args"]["A"] != "b")


def from_outline(path: Path) -> str:
    """The value of an ARG as BuildKit outlines it."""
    argv = [*docker_command(), "buildx", "build", "--call=outline,format=json", "-f", path.name, "."]
    args = json.loads(output(*argv, cwd=path.parent))["args"]
    return next(str(one.get("value", "")) for one in args if one["name"] in {"A", "Z"})


def from_page(path: Path) -> str:
    (path.parent / "block.sh").write_text(path.read_text().split("```")[1].removeprefix("sh\n"))
    return from_shell(path.parent / "block.sh")


BUILDS = 'docker() { for word; do case $word in A=*) printf %s "${word#A=}" ;; esac; done; }\n'


def from_command(path: Path) -> str:
    """The build argument that a command of a script, or of a step in YAML, gives."""
    text = path.read_text()
    script = yaml.safe_load(text)["run"] if path.suffix == ".yaml" else text
    return output("bash", "-c", f"{BUILDS}{script}", cwd=path.parent)


def from_requirements(path: Path) -> str:
    lines = [line.partition(" #")[0] for line in path.read_text().splitlines() if not line.startswith("#")]
    found = {one.name: one for one in map(Requirement, lines)}
    assert found.keys() == {"a", "b", "c"}
    (pin,) = found["a"].specifier
    assert pin.operator == "=="
    return pin.version


def from_stage(path: Path) -> str:
    """The tag of the image, as docker's grammar of references has it."""
    (line,) = (line.split() for line in path.read_text().splitlines() if line.startswith("FROM"))
    assert (line[2:], len(line)) == (["AS", "a"], 4)
    return str(parse(line[1]).tag)


def from_cmake(path: Path) -> str:
    script = path.with_name("read.cmake")
    script.write_text(
        f'include("${{CMAKE_CURRENT_LIST_DIR}}/{path.name}")\nfile(WRITE "${{CMAKE_CURRENT_LIST_DIR}}/said" "${{A}}")\n'
    )
    output(str(cmake()), "-P", script.name, cwd=path.parent)
    return path.with_name("said").read_text()


KINDS = {
    "a.env": ("B=1\nA='old' # c\nC=2\n", "name: A", from_env),
    "a.sh": ("B=1\nexport A='old' # c\nC=2\n", "name: A", from_shell),
    "b.sh": ('B=1\nA=old\nC="$A"\n', "name: A", from_shell),
    "Makefile": ("B = 1\nA := old\nC = $(A)\nnothing: ;\n", "name: A", from_make),
    "b.mk": ("B = 1\nA := old# c\nC = $(A)\nnothing: ;\n", "name: A", from_make),
    "a.mk": ("B = 1\nA := old  # c\nC = $(A)\nnothing: ;\n", "name: A", from_make),
    "c.mk": (
        "define T\nA = no\nendef\n# \\\n A = no\nA := old\\\n # c\nC = $(A)\nnothing: ;\nother:\n\techo \\\n A=no\n",
        "name: A", from_make,
    ),
    "a.toml": ('b = 1\n[x]\na = "old" # c\n', "pointer: /x/a", lambda path: tomllib.loads(path.read_text())["x"]["a"]),
    "a.json": ('{"b": 1, "x": {"a": "old"}}', "pointer: /x/a", lambda path: json.loads(path.read_text())["x"]["a"]),
    "a.yaml": ("b: 1\nx:\n  a: old # c\n", "pointer: /x/a", from_yaml),
    "q.yaml": ("b: 1\nx: {a: 'old'}\n", "pointer: /x/a", from_yaml),
    "l.yaml": ("with:\n  build-args: |\n    B=1\n    A=old\n    C=2\n", "name: A", from_list),
    "compose.yaml": (
        "services:\n  t:\n    build:\n      context: .\n      args:\n        B: 1\n        A: 'old' # c\n",
        "pointer: /services/t/build/args/A", from_compose,
    ),
    "s.yaml": ("with:\n  set: |\n    *.args.B=1\n    t.args.A=old\n    t.platform=linux/amd64\n", "name: A", from_set),
    "compose.list.yaml": (
        "services:\n  t:\n    build:\n      args:\n        - B=1\n        - A=old\n        - C=2\n",
        "name: A", from_compose,
    ),
    "docker-compose.yml": (
        "services:\n  t:\n    build:\n      args:\n        B: 1\n        A: ${NOBODY:-old} # c\n",
        "pointer: /services/t/build/args/A", from_compose,
    ),
    "compose.default.yml": (
        "services:\n  t:\n    build:\n      args:\n        - B=1\n        - 'A=${NOBODY-old}' # c\n",
        "name: A", from_compose,
    ),
    "d.env": ('B=1\nA="${NOBODY:-old}" # c\nC=2\n', "name: A", from_env),
    "d.sh": ('B=1\nexport A="${NOBODY:-old}" # c\nC=2\n', "name: A", from_shell),
    "e.sh": ("B=1\nA=${7-old}\nC=2\n", "name: A", from_shell),
    "m.hcl": (
        'target "t" {\n  name = "t-${sanitize(a)}"\n  matrix = { a = ["b", "old"] } # c\n  args = { A = a }\n}\n',
        "pointer: /target/t/matrix/a/1", from_matrix,
    ),
    "o.hcl": (
        'target "t" {\nname = "t-${sanitize(i.a)}"\nmatrix = {i = [{a = "b"},# c\n{a = "old"}]}\nargs = {A = i.a}\n}\n',
        "pointer: /target/t/matrix/i/1/a", from_matrix,
    ),
    "Dockerfile": ("FROM scratch\nARG B=1\nARG A=old\nARG C=2\n", "arg: A", from_outline),
    "Dockerfile.q": ("FROM scratch\nARG B=1 A='old' C=2\n", "arg: A", from_outline),
    "Dockerfile.d": ('FROM scratch\nARG A="${NOBODY:-old}"\n', "arg: A", from_outline),
    "Dockerfile.e": ("FROM scratch\nENV B=1 A=old\nARG Z=${A}\n", "env: A", from_outline),
    "page.md": ("Text.\n\n```sh\nB=1\nexport A='old' # c\n```\n\nA=no\n", "name: A", from_page),
    "run.yaml": (
        "run: |\n  B=1\n  docker build --build-arg B=1 --build-arg A=old . # c\n", "build_arg: A", from_command,
    ),
    "q.run.yaml": ('run: "docker build --build-arg \'A=old\' ."\n', "build_arg: A", from_command),
    "run.sh": ('docker build --build-arg B=1 \\\n  --build-arg "A=old" . # c\n', "build_arg: A", from_command),
    "bake.json": (
        '{"variable": {"A": {"default": "old"}}, "target": {"t": {"args": {"A": "${A}"}}}}', "variable: A", from_bake,
    ),
    "m.bake.json": (
        '{"target": {"t": {"name": "t-${sanitize(a)}", "matrix": {"a": ["b", "old"]}, "args": {"A": "${a}"}}}}',
        "pointer: /target/t/matrix/a/1", from_matrix,
    ),
    "l.toml": ("b = 1\n[x]\na = 'old' # c\n", "pointer: /x/a", lambda path: tomllib.loads(path.read_text())["x"]["a"]),
    "a.cmake": ("set(B 1)\nset(A old) # c\nset(C ${A})\n", "name: A", from_cmake),
    "q.cmake": ('set(B 1)\nset(A "old" CACHE STRING "c")\nset(C 2)\n', "name: A", from_cmake),
    "docker-bake.hcl": (
        'variable "A" { default = "old" } # c\ntarget "t" { args = { A = A } }\n', "variable: A", from_bake,
    ),
}  # fmt: skip
STRICT = {
    "requirements.txt": ("b==1\na==old # c\nc==2\n", "package: a", from_requirements),
    "Dockerfile.from": ("FROM nvidia/cuda:old AS a\nRUN true\n", "image: nvidia/cuda", from_stage),
}
"""Places that hold versions and tags alone."""
BY_DOCKER = {from_outline, from_bake, from_compose, from_matrix, from_set}
KEPT = {"a.mk": "  ", "c.mk": " "}
"""Blanks that the file's own reader counts to the value, and that a fix leaves as they are."""


def marked(names: Iterable[str]) -> list[ParameterSet]:
    """The names as parameters; CMake is downloaded."""
    return [pytest.param(name, marks=[pytest.mark.download] if name.endswith(".cmake") else []) for name in names]


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("name", marked(KINDS))
def test_the_files_own_reader_reads_what_a_fix_writes(name: str, value: str, tmp_path: Path) -> None:
    text, locator, read = KINDS[name]
    path = tmp_path / name
    path.write_bytes(text.encode())
    loaded = matrix(f"  - {{file: {name}, {locator}, says: {json.dumps(value)}}}\n", root=tmp_path)
    found = fixing.carry_out(loaded, fixing.fix(loaded))
    assert found.after.clean
    assert check(loaded).clean
    assert read(path) == value + KEPT.get(name, "")
    after = path.read_bytes().decode()
    before, _, behind = text.partition("old")
    assert after.startswith(before.rstrip("\"'"))
    assert after.endswith(behind.lstrip("\"'"))
    again = fixing.fix(loaded)
    assert (again.texts, again.diff) == ({}, "")


@pytest.mark.download
def test_cmake_reads_the_words_of_a_list_that_a_fix_writes(tmp_path: Path) -> None:
    path = tmp_path / "CMakeLists.txt"
    before = "set(B 1)\nset(A\n  80-real 90-real) # c\nset(C 2)\n"
    path.write_text(before)
    base = BASE.replace("arch_lists:\n", "arch_lists:\n  more: 8.0 9.0 12.0+PTX\n", 1)
    claim = '  - {file: CMakeLists.txt, name: A, dialect: cmake, says: "{arch_lists.more}"}\n'
    loaded = matrix(claim, root=tmp_path, base=base)
    found = fixing.carry_out(loaded, fixing.fix(loaded))
    assert found.after.clean
    assert from_cmake(path) == "80-real;90-real;120"
    assert path.read_text() == before.replace("90-real)", "90-real 120)")
    assert fixing.fix(loaded).texts == {}


comments = st.text(
    st.characters(codec="utf-8", min_codepoint=0x20, exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=9
)
asked = st.text(st.sampled_from("89.0 ;+PTXa,:/-_=$\"'\\\\#%é"), min_size=1, max_size=14).filter(
    str.strip
)  # blanks alone no claim says
versions = st.from_regex(r"[0-9]\.[0-9]{1,2}(\.[0-9])?", fullmatch=True)


@pytest.mark.parametrize("name", marked(sorted(KINDS | STRICT)))
def test_any_value_is_written_as_the_files_own_reader_reads_it_or_not_at_all(name: str, tmp_path: Path) -> None:
    text, locator, read = (KINDS | STRICT)[name]

    @settings(max_examples=12 if read in BY_DOCKER else 40, deadline=None, derandomize=True, database=None)
    @given(value=asked | versions, above=comments, below=comments)
    def ask(value: str, above: str, below: str) -> None:
        # Outside of '…' a claim's $ means a variable, of the script or of the Dockerfile.
        assume(name not in {"b.sh", "run.sh", "run.yaml", "Dockerfile", "Dockerfile.e"} or "$" not in value)
        bare = name.endswith(".json")  # which has no comments
        before = text.encode() if bare else f"# {above}.\n{text}# {below}.\n".encode()
        path = tmp_path / name
        path.write_bytes(before)
        loaded = matrix(f"  - {{file: {name}, {locator}, says: {json.dumps(value)}}}\n", root=tmp_path)
        found = fixing.carry_out(loaded, fixing.fix(loaded))
        if not found.after.clean:  # never a file that is half right
            assert path.read_bytes() == before
            assert all(one.unfixable for one in found.after.disagreements)
            return
        assert check(loaded).clean
        assert read(path) == value + KEPT.get(name, "")
        start, _, end = before.partition(b"old")
        after = path.read_bytes()
        assert after.startswith(start.rstrip(b"\"'"))
        assert after.endswith(end.lstrip(b"\"'"))
        assert fixing.fix(loaded).texts == {}

    ask()
