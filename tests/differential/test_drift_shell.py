"""Our reading of scripts beside bash's own: what variables hold, and what docker would really be called with."""

from __future__ import annotations

import random
import subprocess
from typing import TYPE_CHECKING

import pytest

from orchestrator.dockerfile.spans import Source
from orchestrator.drift.readers import shell

if TYPE_CHECKING:
    from pathlib import Path

WORDS = ("8.0 9.0", "12.0+PTX", "x", "é ü", "a;b", "it's", 'say "x"', "a\\b", "-", "", "#no", "$HOME", "tab\there")
FAKE = """\
docker() { printf '%s\\0' "$@" >> "$OUT"; }
podman() { docker "$@"; }
"""


def spelled(value: str, draw: random.Random) -> str:
    double = '"' + "".join(f"\\{char}" if char in '"\\$`' else char for char in value) + '"'
    bare = "".join(char if char.isalnum() or char in "._+-é" else f"\\{char}" for char in value)
    ways = [double, bare or '""']
    if "'" not in value:
        ways.append(f"'{value}'")
    if len(value) > 2:
        ways.append(f"{bare[:1]}{double[:1]}{double[2:]}" if bare[:1].isalnum() else double)
        ways.append(double.replace(" ", ' "\\\n" ', 1) if " " in value else double)
    return draw.choice(ways)


def script(seed: int) -> str:
    draw = random.Random(seed)
    lines = ["#!/usr/bin/env bash", "V=13.0"]
    for number in range(14):
        value = spelled(draw.choice(WORDS), draw)
        match draw.randrange(8):
            case 0:
                lines.append(f"export A{number}={value}  # comment with ' a quote")
            case 1:
                lines.append(f'A{number}="${{UNSET:-{draw.choice(["8.0 9.0", "x", "1.2"])}}}"')
            case 2:
                lines.append(f"A{number}=pre-$V-${{V}}")
            case 3:
                lines.append(f"if [[ $V == 13.* ]]; then\n\tA{number}={value}\nfi")
            case 4:
                lines.append(f"case $V in\n12.*) : ;;\n13.* | 14.*) A{number}={value} ;;\n*) : ;;\nesac")
            case 5:
                lines.append(f": <<'EOF'\nA{number}=no\nEOF\ndeclare A{number}={value}")
            case 6:
                lines.append(f"true && A{number}={value}; : 'A{number}=no'")
            case _:
                lines.append(f"A{number}={value} B{number}=$(echo 'A{number}=no')")
    option = draw.choice(["--build-arg ", "--build-arg=", "--build-arg \\\n  "])
    given = [f"{option}N{number}={spelled(draw.choice(WORDS), draw)}" for number in range(5)]
    lines.append("docker buildx build -f docker/Dockerfile \\\n  " + " \\\n  ".join(given) + " --target x .")
    whole = draw.choice(WORDS).replace("'", "")
    lines.append(f"DOCKER_BUILDKIT=1 podman build --build-arg 'Q={whole}' --build-arg FROM_ENV . && echo done | cat")
    return "\n".join(lines) + draw.choice(["", "\n"])


@pytest.mark.parametrize("seed", range(40))
def test_values_are_bashs(tmp_path: Path, seed: int) -> None:
    text = script(seed)
    out = tmp_path / "out"
    names = [f"A{number}" for number in range(14)]
    show = "\n".join(f'printf "%s\\0" "${{{name}-}}" >&3' for name in names)
    done = _bash(f"{FAKE}\n{text}\n{show}\n", out)
    theirs = dict(zip(names, done, strict=True))
    ours = {one.name: one.found.value for one in shell.assignments(Source(text=text))}
    assert {name: ours[name] for name in names} == theirs, text
    words = out.read_bytes().decode().split("\0")
    expected = [
        word.removeprefix("--build-arg=")
        for before, word in zip(["", *words], words, strict=False)
        if before == "--build-arg" or word.startswith("--build-arg=")
    ]
    found = [
        f"{given.name}={given.found.value}" if given.found is not None else given.name
        for given in shell.build_args(Source(text=text))
    ]
    assert found == expected, text


def _bash(text: str, out: Path) -> list[str]:
    """Run a script; what it printed on descriptor 3, taken apart at its null bytes."""
    shown = out.with_name("shown")
    done = subprocess.run(
        ["bash", "-c", f"exec 3> {shown}\n{text}"],
        env={"OUT": str(out), "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr + text
    return shown.read_bytes().decode().split("\0")[:-1]
