"""Values in a generated bake file beside what buildx makes of them: they arrive as written, printed and built.

JSON strings are HCL templates to buildx (`${X}` and `%{if}` are evaluated), so the characters that mean something to
HCL, JSON, shells and Dockerfiles are mixed at random here.
"""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import msgspec.structs
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from orchestrator.bake.file import Output, render
from orchestrator.engine.buildx import BakeCall, resolve
from orchestrator.errors import Place
from orchestrator.matrix import expand, load
from orchestrator.matrix.layers import Origin, Value
from tests.support.base import write_rootfs

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.matrix.variants import Plan

# each example is a call of buildx with many values: shrinking it would take minutes and the values are short anyway
QUICK = settings(deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
MATRIX = """\
version: 1
image: acme/app
bake: {files: docker-bake.hcl, targets: [app]}
arch_lists: {all: 8.0 9.0}
cuda: {"13.0": {version: 13.0.2}}
platforms: {linux/amd64: {}}
variants: {arch_list: all}
cache: {backend: "off"}
"""
BAKE = """\
variable "X" { default = "evaluated" }
target "app" {
  dockerfile = "Dockerfile"
  args = { THEIRS = "kept-${X}" }
}
"""
COUNT = 60
SIGNS = [
    "$",
    "$",
    "{",
    "}",
    "%",
    "%",
    '"',
    "\\",
    "'",
    "\n",
    "\t",
    "é",
    "🎉",
    "~",
    "#",
    "=",
    ",",
    " ",
    "`",
    "*",
    ";",
    "&",
]
WORDS = ["a", "X", "if", "${X}", "%{if true}", "$$", "%%", "$${", "%%{", "\\n", "\r\n", "<<EOF", "\u2028"]
VALUES = st.lists(st.lists(st.sampled_from(SIGNS + WORDS), max_size=7).map("".join), min_size=COUNT, max_size=COUNT)
FIXED = [
    "",
    " ",
    "${X}",
    "$${X}",
    "$$${X}",
    "%{if true}x%{endif}",
    "%%{if",
    "${",
    "%{",
    "$",
    "%",
    "\\",
    '"',
    "a\nb",
    "$X",
]
FIXED += ["${X:-y}", "\\${X}", "x\\", "12.0+PTX", "é🎉", "~/x", '${upper("a")}', "}}", "{{x}}"]


@pytest.fixture(scope="module")
def project(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose image holds the environment of its only step."""
    root = tmp_path_factory.mktemp("project")
    write_rootfs(root)
    (root / "docker-bake.hcl").write_text(BAKE)
    names = "".join(f"ARG A{number}\n" for number in range(COUNT))
    (root / "Dockerfile").write_text(
        f"FROM scratch AS run\nADD rootfs.tar /\nARG THEIRS\n{names}"
        'RUN --network=none ["/bin/sh", "-c", "cat /proc/self/environ > /tmp/environ"]\n'
        "FROM scratch\nCOPY --from=run /tmp/environ /environ\n"
    )
    return root


def plan_with(root: Path, values: list[str]) -> Plan:
    """A plan of one variant that has the values as arguments and as labels, with names alike."""
    matrix = load.parse(MATRIX.encode(), path=root / "matrix.yaml", shown="matrix.yaml")
    plan = expand.plan(matrix, fact=lambda name: name)
    origin = Origin(place=Place(file="matrix.yaml", line=1, column=1), words="test")
    args = {f"A{number}": Value(text=text, origin=origin) for number, text in enumerate(values)}
    labels = {f"l{number}{text}": Value(text=text, origin=origin) for number, text in enumerate(values) if text}
    variant = msgspec.structs.replace(plan.variants[0], args=args, labels=labels)
    return msgspec.structs.replace(plan, variants=(variant,))


def meant(text: str) -> str:
    """What a string of `--print`, which is a template again, stands for."""
    return text.replace("$${", "${").replace("%%{", "%{")


def printed(root: Path, values: list[str]) -> tuple[list[str], dict[str, str]]:
    """Arguments and labels as buildx understood them."""
    plan = plan_with(root, values)
    call = BakeCall(docker=("docker",), files=("docker-bake.hcl",), root=root)
    file = render(plan, plan.variants[0], resolve(call, {"app": None}))
    target = printed_by_buildx(root, file.content)[file.target]
    assert target["args"]["THEIRS"] == "kept-evaluated"
    # names are printed without the escapes
    labels = {name: meant(text) for name, text in target["labels"].items() if name.startswith("l")}
    return [meant(target["args"][f"A{number}"]) for number in range(len(values))], labels


def printed_by_buildx(root: Path, content: dict[str, Any], *files: str) -> dict[str, Any]:
    """The targets of a bake file as `--print` gives them."""
    named = [word for file in files for word in ("-f", file)]
    argv = ["docker", "buildx", "bake", *named, "-f", "-", "--print", *content["target"]]
    done = subprocess.run(argv, cwd=root, input=json.dumps(content).encode(), capture_output=True)
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    found: dict[str, Any] = json.loads(done.stdout)["target"]
    return found


def built(root: Path, values: list[str], out: Path) -> list[str]:
    """Arguments as a step of the build saw them."""
    plan = plan_with(root, values)
    call = BakeCall(docker=("docker",), files=("docker-bake.hcl",), root=root)
    file = render(plan, plan.variants[0], resolve(call, {"app": None}), output=Output())
    content = json.loads(file.text)
    content["target"][file.target]["output"] = [f"type=local,dest={out}"]
    argv = ["docker", "buildx", "bake", "--allow", f"fs.write={out}", "-f", "-", file.target]
    done = subprocess.run(argv, cwd=root, input=json.dumps(content).encode(), capture_output=True)
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    seen = dict(entry.split(b"=", 1) for entry in (out / "environ").read_bytes().split(b"\0") if b"=" in entry)
    return [seen[f"A{number}".encode()].decode() for number in range(len(values))]


def check_print(root: Path, values: list[str]) -> None:
    args, labels = printed(root, values)
    assert args == values
    assert labels == {f"l{number}{text}": text for number, text in enumerate(values) if text}


def test_known_traps_are_printed_as_written(project: Path) -> None:
    check_print(project, FIXED)


@given(VALUES)
@settings(QUICK, max_examples=8)
def test_values_are_printed_as_written(project: Path, values: list[str]) -> None:
    check_print(project, values)


def test_known_traps_reach_the_build_as_written(project: Path, tmp_path: Path) -> None:
    assert built(project, FIXED, tmp_path) == FIXED


@given(VALUES)
@settings(QUICK, max_examples=4)
def test_values_reach_the_build_as_written(
    project: Path, tmp_path_factory: pytest.TempPathFactory, values: list[str]
) -> None:
    assert built(project, values, tmp_path_factory.mktemp("out")) == values
