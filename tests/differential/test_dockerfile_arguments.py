"""Our reading of a Dockerfile's ARGs beside BuildKit's own (`--call=outline`): each value and its line."""

from __future__ import annotations

import json
import random
import subprocess
from typing import TYPE_CHECKING

import pytest

from orchestrator.dockerfile import declared as dockerfile
from orchestrator.dockerfile.spans import Lines
from tests.support.engine import ROOT

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("engine")

WORDS = ("8.0", "9.0a", "12.0+PTX", "a b", "8.0 9.0", "é", "x=y", "a:b", "-", "x#y", "1.2.3", "", "'", "back`tick")


def outline(folder: Path, text: str) -> dict[str, tuple[str, int]]:
    (folder / "Dockerfile").write_text(text, encoding="utf-8", newline="")
    argv = ["docker", "buildx", "build", "--call=outline,format=json", "--build-arg", "BASE=scratch", "."]
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr + text
    args = json.loads(done.stdout)["args"]
    return {
        arg["name"]: (arg.get("value", ""), arg["location"]["ranges"][0]["start"]["line"])
        for arg in args
        if "location" in arg
    }


def spelled(value: str, draw: random.Random) -> str:
    """A value in one of the ways that a Dockerfile can write it."""
    ways = ['"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$").replace("`", "\\`") + '"']
    if "'" not in value:
        ways.append(f"'{value}'")
    if value and not set(value) & set("'\"`#"):
        ways.append(value.replace(" ", "\\ "))
        ways.append(f'{value[:1].replace(" ", chr(92) + " ")}"{value[1:]}"')
    return draw.choice(ways)


def generated(seed: int) -> str:
    draw = random.Random(seed)
    end = draw.choice(["\n", "\r\n"])
    lines = [f"ARG G{number}={spelled(draw.choice(WORDS), draw)}" for number in range(4)]
    lines.append("FROM scratch AS one")
    for number in range(12):
        name = f"A{number}"
        value = spelled(draw.choice(WORDS), draw)
        known = [f"A{other}" for other in range(number)]  # an unknown name is text to us, and nothing to BuildKit
        match draw.randrange(7) if known else 6:
            case 0:
                lines.append(f"ARG {name}=pre-${{{draw.choice(known)}}}-post")
            case 1:
                lines.append(f'ARG {name}="${draw.choice(known)}"')
            case 2:
                lines.append(f"ARG \\{end}# a comment in between{end}  {name}={value}")
            case 3:
                lines.append(f"ARG {name}=${{{draw.choice([*known, 'NONE'])}:-{draw.choice(['d', '8.0', 'x.y'])}}}")
            case 4:
                lines.append(f"ARG G{draw.randrange(4)}")
                lines.append(f"arg {name}={value} EXTRA{number}='a b'")
            case 5:
                lines.append(f"ENV E{number}={value} OTHER=1")
                lines.append(f"ARG {name}=${{E{number}}}")
            case _:
                lines.append(f"ARG {name}={value}")
        if draw.random() < 0.2:
            lines.append(f"RUN <<EOF{end}ARG {name}=not this{end}EOF")
    lines += ["FROM one", "ARG LAST=${A3}"]
    return end.join(lines) + draw.choice(["", end])


@pytest.mark.parametrize("seed", range(24))
def test_every_value_and_line_is_buildkits(tmp_path: Path, seed: int) -> None:
    text = generated(seed)
    expected = outline(tmp_path, text)
    lines = Lines.of(text)
    ours = {
        one.name: (one.found.value, lines.place(one.found.start)[0])
        for one in dockerfile.declarations(text)
        if one.kind == "ARG" and one.found is not None
    }
    assert len(expected) > 8
    for name, (value, line) in expected.items():
        assert name in ours, text
        assert ours[name][0] == value, (name, text)
        assert line <= ours[name][1] <= line + 2, (name, text)  # BuildKit names the instruction's first line


@pytest.mark.parametrize("name", ["docker/Dockerfile", "examples/axpy/Dockerfile"])
def test_this_repositorys_own(tmp_path: Path, name: str) -> None:
    path = ROOT / name
    if not path.exists():
        path = ROOT / "docker/Dockerfile"
    text = path.read_text()
    done = subprocess.run(
        ["docker", "buildx", "build", "--call=outline,format=json", "-f", str(path), "--build-arg",
         "BUILD_BASE_IMAGE=scratch", "--build-arg", "FINAL_BASE_IMAGE=scratch", str(tmp_path)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    theirs = {arg["name"]: arg.get("value", "") for arg in json.loads(done.stdout)["args"]}
    ours = {
        one.name: one.found.value
        for one in dockerfile.declarations(text)
        if one.kind == "ARG" and one.found is not None and "$" not in one.found.value
    }
    common = (set(theirs) & set(ours)) - {"BUILD_BASE_IMAGE", "FINAL_BASE_IMAGE"}
    assert len(common) > 8
    assert {name: ours[name] for name in common} == {name: theirs[name] for name in common}
