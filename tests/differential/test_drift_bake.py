"""Our reading of bake files beside buildx's own (`bake --print`): what arguments a target gets when nothing is set."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from orchestrator.drift.check import check
from orchestrator.drift.evaluate import Buildx
from orchestrator.drift.readers import bake
from orchestrator.engine.buildx import BakeCall, resolve
from tests.support.engine import ROOT
from tests.unit.drift.matrices import matrix

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("engine")  # it brings the docker command

ATTRIBUTES = ("context", "dockerfile", "dockerfile-inline", "target")

WORDS = (
    "8.0 9.0",
    "12.0+PTX",
    "x",
    "é",
    'say "x"',
    "a\\b",
    "${literal}",
    "%{if}",
    "#",
    "// no",
    "}",
    "{",
    "a=b",
    "",
    "$5",
)


def printed(folder: Path, name: str) -> dict[str, dict[str, str]]:
    """Target -> its arguments, as buildx evaluates them."""
    argv = ["docker", "buildx", "bake", "-f", name, "--print", "all"]
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr + (folder / name).read_text()
    return {
        # what --print writes is a bake file again: its own strings are templates, and escaped
        target: {key: value.replace("$${", "${").replace("%%{", "%{") for key, value in body.get("args", {}).items()}
        for target, body in json.loads(done.stdout)["target"].items()
    }


def quoted(value: str) -> str:
    text = value.replace("\\", "\\\\").replace('"', '\\"').replace("${", "$${").replace("%{", "%%{")
    return f'"{text}"'


def hcl(seed: int) -> str:
    draw = random.Random(seed)
    lines = ["# a } comment", "/* and { another\n} */"]
    for number in range(6):
        value = draw.choice([quoted(draw.choice(WORDS)), "16", "2.5", "true", quoted(draw.choice(WORDS))])
        if number and draw.random() < 0.4:
            value = f'"a-${{V{draw.randrange(number)}}}-${{ V{draw.randrange(number)} }}"'
        comment = draw.choice(["", " # after", " // after"])
        lines.append(f'variable "V{number}" {{\n  default = {value}{comment}\n}}')
    names = [f"t{number}" for number in range(5)]
    for number, name in enumerate(names):
        inherits = draw.sample(names[:number], k=min(number, draw.randrange(3)))
        args = []
        for _ in range(4):
            value = draw.choice(
                [quoted(draw.choice(WORDS)), f"V{draw.randrange(6)}", f'"${{V{draw.randrange(6)}}}x"', "7", "false"]
            )
            key = draw.choice([f"a{draw.randrange(6)}", f'"a{draw.randrange(6)}"'])
            args.append(f"{key} {draw.choice(['=', ':'])} {value}")
        unique = {item.split(" ")[0].strip('"'): item for item in args}.values()
        joined = draw.choice(["\n    ", ", "]).join(unique)
        lines.append(
            f'target "{name}" {{\n  inherits = [{", ".join(quoted(one) for one in inherits)}]\n'
            f"  dockerfile-inline = <<EOT\nFROM scratch\nARG x = {{\nEOT\n  args = {{\n    {joined}\n  }}\n}}"
        )
    lines.append(f'group "all" {{ targets = [{", ".join(quoted(one) for one in names)}] }}')
    return draw.choice(["\n", "\n\n"]).join(lines) + "\n"


@pytest.mark.parametrize("seed", range(24))
def test_hcl_says_what_buildx_says(tmp_path: Path, seed: int) -> None:
    text = hcl(seed)
    (tmp_path / "docker-bake.hcl").write_text(text)
    _compare(bake.parse(text, json=False), printed(tmp_path, "docker-bake.hcl"), text)


@pytest.mark.parametrize("seed", range(8))
def test_json_says_what_buildx_says(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    escaped = [word.replace("${", "$${").replace("%{", "%%{") for word in WORDS]
    names = ["t0", "t1", "t2"]
    content = {
        "variable": {f"V{number}": {"default": draw.choice([*escaped, "8", "7"])} for number in range(4)},
        "target": {
            name: {
                "inherits": names[:number][: draw.randrange(3)],
                "args": {
                    f"a{arg}": draw.choice([*escaped, f"${{V{draw.randrange(4)}}}-x"])
                    for arg in range(draw.randrange(5))
                },
            }
            for number, name in enumerate(names)
        },
        "group": {"all": {"targets": names}},
    }  # fmt: skip
    text = json.dumps(content, indent=draw.choice([None, 2]), ensure_ascii=draw.random() < 0.5)
    (tmp_path / "bake.json").write_text(text)
    _compare(bake.parse(text, json=True), printed(tmp_path, "bake.json"), text)


@pytest.mark.parametrize("seed", range(6))
def test_which_dockerfile_targets_build_is_what_buildx_says(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    (tmp_path / "Dockerfile").write_text("FROM scratch")
    names = [f"t{number}" for number in range(9)]
    lines = []
    for number, name in enumerate(names):
        inherits = draw.sample(names[:number], k=min(number, draw.randrange(4)))
        attributes = {
            key: draw.choice(["a", "b/c", "d e", "f-${literal}"]) for key in ATTRIBUTES if draw.random() < 0.4
        }
        body = [f"inherits = [{', '.join(map(quoted, inherits))}]"] if inherits or draw.random() < 0.3 else []
        body += [f"{key} = {quoted(value)}" for key, value in attributes.items()]
        draw.shuffle(body)
        lines.append(f'target "{name}" {{\n' + "\n".join(body) + "\n}")
    draw.shuffle(lines)
    text = "\n".join(lines)
    (tmp_path / "docker-bake.hcl").write_text(text)
    call = BakeCall(docker=("docker",), files=("docker-bake.hcl",), root=tmp_path)
    theirs = resolve(call, dict.fromkeys(names))
    found = bake.dockerfiles([bake.parse(text, json=False)], names)
    assert found is not None
    defaults = {"context": ".", "dockerfile": "Dockerfile"}
    for name in names:
        assert {key: theirs[name][key] for key in ATTRIBUTES if key in theirs[name]} == defaults | found[name], text


EXPRESSIONS = """\
variable "A" { default = upper("x y") }
variable "LIST" { default = A == "X Y" ? "8.0 8.6" : "9.0" }
target "t" {
  dockerfile-inline = "FROM scratch"
  args = { a = lower(A), b = join(" ", ["8.0", "8.6"]), c = "$${x}${upper("y")}" }
}
"""


@pytest.mark.parametrize(
    ("locator", "value"),
    [
        ("variable: LIST", "8.0 8.6"),
        ("variable: A", "X Y"),
        ("target: t, arg: a", "x y"),
        ("target: t, arg: b", "8.0 8.6"),
        ("target: t, arg: c", "${x}Y"),
    ],
)
def test_claimed_expressions_have_buildxs_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, locator: str, value: str
) -> None:
    monkeypatch.setenv("A", "an environment that must not count")
    (tmp_path / "docker-bake.hcl").write_text(EXPRESSIONS)
    agreed, other = (
        matrix(f"  - {{file: docker-bake.hcl, {locator}, says: '{says}'}}\n", root=tmp_path) for says in (value, "no")
    )
    assert check(agreed, buildx=Buildx(tmp_path)).clean
    (one,) = check(other, buildx=Buildx(tmp_path)).disagreements
    assert (one.says, one.edit) == (value, None)
    without = check(agreed)  # no buildx: the expression is shown, never taken for a value
    assert without.disagreements[0].unfixable.startswith("it is the expression")


def test_a_file_that_buildx_refuses_is_no_agreement(tmp_path: Path) -> None:
    (tmp_path / "docker-bake.hcl").write_text('variable "A" { default = nonsense("x") }\n')
    loaded = matrix("  - {file: docker-bake.hcl, variable: A, says: x}\n", root=tmp_path)
    assert not check(loaded, buildx=Buildx(tmp_path)).clean


def test_this_repositorys_own() -> None:
    for folder, name in ((ROOT, "docker/docker-bake.hcl"), (ROOT / "examples/axpy", "docker-bake.hcl")):
        text = (folder / name).read_text()
        file = bake.parse(text, json=False)
        targets = [target for target in file.targets if not target.startswith("_")]
        argv = ["docker", "buildx", "bake", "-f", name, "--print", *targets]
        done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        theirs = json.loads(done.stdout)["target"]
        for target in targets:
            for key, value in theirs[target].get("args", {}).items():
                found = file.arg(target, key)
                assert found is not None
                assert found.value == value or found.via.startswith("it is the expression")


def _compare(file: bake.BakeFile, theirs: dict[str, dict[str, str]], text: str) -> None:
    assert theirs
    for target, args in theirs.items():
        ours = {}
        for key in {*args, *(name for body in file.targets.values() for name in body.args)}:
            found = file.arg(target, key)
            if found is not None:
                ours[key] = found.value
        assert ours == args, (target, text)


def test_the_docker_command_that_the_user_chose_evaluates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    docker, env = shutil.which("docker"), shutil.which("env")
    assert docker is not None
    assert env is not None
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/env").symlink_to(env)
    monkeypatch.setenv("ORCHESTRATE_DOCKER", docker)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "docker-bake.hcl").write_text(EXPRESSIONS)
    claims = "  - {file: docker-bake.hcl, target: t, arg: b, says: '8.0 8.6'}\n"
    assert check(matrix(claims, root=tmp_path), buildx=Buildx(tmp_path)).clean
    monkeypatch.delenv("ORCHESTRATE_DOCKER")
    assert not check(matrix(claims, root=tmp_path), buildx=Buildx(tmp_path)).clean  # shown as it is written
