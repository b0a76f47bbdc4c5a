from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.dockerfile.spans import Source, Style
from orchestrator.drift.readers import shell
from tests.support.generated import examples

BRANCHES = """\
#!/usr/bin/env bash
LIST="none"   # before
if [[ "${CUDA_VERSION}" == 11.* ]]; then
    LIST="7.5 8.0"
elif [[ "${CUDA_VERSION}" == 12.[0-7]* ]]; then
    LIST="8.0 9.0"
else
    LIST='9.0 10.0'
fi
case "$1" in
  12.[89] | 12.[89].*) LIST="a" ;;
  (13.*)
    if true; then LIST=b; fi
    ;;
  *) export LIST="c" OTHER=d ;;
esac
"""


def read(text: str, name: str, branch: str | None = None) -> list[str]:
    return [found.value for found in shell.pick(shell.assignments(Source(text=text)), name, branch)]


@pytest.mark.parametrize(
    ("branch", "values"),
    [
        ("11.*", ["7.5 8.0"]),
        ("12.[0-7]*", ["8.0 9.0"]),
        ("else", ["9.0 10.0"]),
        ("12.[89]", ["a"]),
        ("12.[89]|12.[89].*", ["a"]),
        ("13.*", ["b"]),
        ("*", ["c"]),
        ('[[ "${CUDA_VERSION}" == 11.* ]]', ["7.5 8.0"]),
        ("14.*", []),
        (None, ["none", "7.5 8.0", "8.0 9.0", "9.0 10.0", "a", "b", "c"]),
    ],
)
def test_branches(branch: str | None, values: list[str]) -> None:
    assert read(BRANCHES, "LIST", branch) == values


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("A=1", ["1"]),
        ("A=1 B=2 command A=3", ["1"]),
        ("echo A=1", []),
        ("export A=1", ["1"]),
        ("declare -x A='1 2'", ["1 2"]),
        ("env A=1 make", ["1"]),
        ("A+=1", ["1"]),
        ("A=(1 '2 3' # 4\n5)", ["1 2 3 5"]),
        ("A='1 2'; A+=' 3'", ["1 2 3"]),
        ("A=(1); A+=(2 3)", ["1 2 3"]),
        ('A=1\nA="$A 2"\nA="${A} 3"', ["1 2 3"]),
        ("A=1; if x; then A+=2; fi", ["1", "12"]),
        ('A="$2"', ["$2"]),
        ('A=1; case $1 in --a) A="$2"; shift ;; esac', ["1"]),
        ("# A=1", []),
        ("x=1#A=2; A=3", ["3"]),
        ("cat <<EOF\nA=1\nEOF\nA=2", ["2"]),
        ("cat <<'EOF' && A=3\nA=1\nEOF\n", ["3"]),
        ("true && A=1 || A=2", ["1", "2"]),
        ('A="${A:-16}"', ["16"]),
        (': "${A:=16}" "${B:=2}"', ["16"]),
        ("A=$(date +%s) A=2", ["2"]),
        ("A='it''s'", ["its"]),
        ("A=a\\\nb", ["ab"]),
        ("if A=1; then :; fi", ["1"]),
    ],
)
def test_assignments(line: str, values: list[str]) -> None:
    assert read(line, "A") == values


def test_variables_are_followed() -> None:
    text = 'V=13.0.2\nIMAGE="nvidia/cuda:${V}-devel"\n'
    (found,) = shell.pick(shell.assignments(Source(text=text)), "IMAGE")
    assert found.value == "nvidia/cuda:13.0.2-devel"
    assert found.via


def test_a_variable_that_branches_disagree_about_is_unknown() -> None:
    text = "if x; then V=1; else V=2; fi\nA=$V\n"
    (found,) = shell.pick(shell.assignments(Source(text=text)), "A")
    assert found.value == "$V"
    assert found.via


COMMANDS = r"""
docker buildx build --file docker/Dockerfile \
  --build-arg max_jobs=16 \
  --build-arg "LIST=8.0 9.0" \
  --build-arg=QUOTED='x y' \
  --build-arg FROM_ENV \
  -t image . && docker push image
make --build-arg NOT=built
DOCKER_BUILDKIT=1 docker build -f other --build-arg A="$V" .
"""


def test_build_args() -> None:
    found = list(shell.build_args(Source(text=COMMANDS), {"V": "7"}))
    values = {arg.name: arg.found.value if arg.found else None for arg in found}
    expected = {"max_jobs": "16", "LIST": "8.0 9.0", "QUOTED": "x y", "FROM_ENV": None, "NOT": "built", "A": "7"}
    assert values == expected
    builds = {arg.name: (arg.command.builds, arg.command.option("-f", "--file")) for arg in found}
    assert builds["max_jobs"] == (True, "docker/Dockerfile")
    assert builds["A"] == (True, "other")
    assert builds["NOT"][0] is False


@pytest.mark.parametrize("name", ["max_jobs", "LIST", "QUOTED"])
def test_spans_of_build_args(name: str) -> None:
    found = {arg.name: arg.found for arg in shell.build_args(Source(text=COMMANDS))}[name]
    assert found is not None
    assert COMMANDS[found.start : found.end] == found.value


def test_a_whole_word_in_quotes_keeps_its_quotes() -> None:
    found = {arg.name: arg.found for arg in shell.build_args(Source(text=COMMANDS))}["LIST"]
    assert found is not None
    assert found.styles == (Style.DOUBLE,)


@examples(150)
@given(st.text(alphabet="abA=\"'$(){}<>;|&\\\n #`*[]if thenelsecaseinesac", max_size=60))
def test_no_text_breaks_it(text: str) -> None:
    source = Source(text=text)
    for one in shell.assignments(source):
        assert 0 <= one.found.start <= one.found.end <= len(text)
    list(shell.build_args(source))


@pytest.mark.parametrize(
    ("line", "builds"),
    [
        ("docker build .", True), ("docker buildx build .", True), ("podman build .", True),
        ("/usr/bin/docker build", True),
        ("sudo docker --context x build .", True), ("docker -D --x buildx build", False), ("docker run build", True),
        ("docker run x y build", False), ("docker pull x", False), ("echo build", False), ("A=1 docker build", True),
        ("docker", False), ("mydocker build", False),
    ],
)  # fmt: skip
def test_a_command_that_builds_an_image(line: str, builds: bool) -> None:
    (command,) = shell.commands(Source(text=line))
    assert command.builds is builds


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("docker build -f D .", "D"), ("docker build --file D .", "D"), ("docker build --file=D .", "D"),
        ("docker build --file= .", ""), ("docker build .", ""), ("docker build -f", ""), ("docker build -fD", ""),
        ("docker build --files=D -f E", "E"),
    ],
)  # fmt: skip
def test_the_value_of_an_option(line: str, value: str) -> None:
    (command,) = shell.commands(Source(text=line))
    assert command.option("-f", "--file") == value


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("A=1\nexport A=2\ndeclare -x A=3\nreadonly A=4\nlocal A=5\ntypeset A=6\nenv A=7 x\n", list("1234567")),
        ("echo A=1", []), ("x; A=1", ["1"]), ("A=1 B=2 x", ["1"]), ("B=2 A=1", ["1"]), ("cmake -DA=1 .", ["1"]),
        ("A=1; A+=2", ["12"]), ("A='1 2'; A=\"$A 3\"", ["1 2 3"]), ("A=(1 2)", ["1 2"]),
    ],
)  # fmt: skip
def test_what_a_script_assigns(text: str, values: list[str]) -> None:
    assert [one.found.value for one in shell.assignments(Source(text=text)) if one.name == "A"] == values
