"""Where instructions begin and end, and what here-documents hold, beside BuildKit's own parser.

An `ARG` behind every generated instruction tells: one that our reader and BuildKit do not both see lies in what one of
them takes for a here-document or a continued line.
"""

from __future__ import annotations

import json
import random
import subprocess
from typing import TYPE_CHECKING

import pytest

from orchestrator.dockerfile.directives import BOM
from orchestrator.dockerfile.read import instructions
from orchestrator.dockerfile.stages import parse

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("engine")

SHELL = (
    'python3 -c "print(1 << 20)"', "cat <<<foo", "[ $((1<<20)) -gt 0 ]", "[ $((1 <<N)) ]", "cat<<EOF", "echo '<<EOF'",
    "cat <<- EOF", 'echo "a <<EOF"', "echo it's <<EOF", "echo ${#a} <<EOF", "echo ${A:-<<EOF}", "echo ${A/x/y} 1",
    "echo \\<<EOF",
    "echo ${A", "echo 'a", 'echo "', "echo $'x' $1 $@ $$", "echo a;b&&c|d", 'echo "${A:-"b c"}"', "echo a\\ <<<b <<",
)  # fmt: skip
OPENED = (
    "<<EOF",
    "<<-EOF",
    "<<'EOF'",
    '<<"EOF"',
    "3<<EOF",
    '<<E"O"F',
    "<<EOF <<TWO",
    "<<-TWO <<EOF",
    "<<E\\OF",
)
BODY = ("ARG NO{n}=in-a-body", "\tEOF", "EOF ", " EOF", "# EOF", "RUN \\", "<<EOF", "", "\t\tx", "E", "\\")


def generated(seed: int) -> str:
    """A Dockerfile of many instructions, each followed by an ARG of its own."""
    draw = random.Random(seed)
    escape = draw.choice(["\\", "\\", "`"])
    end = draw.choice(["\n", "\r\n"])
    lines = (
        [f"# escape={escape}"]
        if escape == "`"
        else draw.choice([[], ["# check=skip=all"], ["# a comment", "# escape=`"]])
    )
    lines += ["FROM scratch AS first", "ARG P0=0"]
    for number in range(1, 16):
        match draw.randrange(6):
            case 0:
                lines.append(f"{draw.choice(['RUN', 'run'])}{draw.choice([' ', chr(9), '  '])}{draw.choice(SHELL)}")
            case 1:
                lines += opened(draw, draw.choice(["RUN cat", "RUN --network=none cat", "COPY", "ONBUILD RUN cat"]))
            case 2:
                lines.append(f"RUN a {escape}{draw.choice(['', ' ', chr(9)])}")
                lines += draw.sample(["# a comment", "", "  # one more", "   "], draw.randrange(4))
                lines.append(f"  b {draw.choice(SHELL)}")
            case 3:
                lines += [f"RUN a {escape}{escape}", f"ENV A={escape}{escape}"]
            case 4:
                lines.append(f'{draw.choice(["", " ", chr(9)])}RUN ["cat", "<<EOF"]')
            case _:
                lines += draw.choice([["# words"], [""], ["ENV A=<<EOF"], ["LABEL a='<<EOF'"], ["CMD cat <<EOF"]])
        lines.append(f"ARG P{number}={number}")
    return draw.choice(["", BOM]) + end.join(lines) + end


def opened(draw: random.Random, start: str) -> list[str]:
    opening = draw.choice(OPENED)
    names = {"<<EOF <<TWO": ["EOF", "TWO"], "<<-TWO <<EOF": ["TWO", "EOF"]}.get(opening, ["EOF"])
    lines = [f"{start} {opening}{' /x/' if start == 'COPY' else ''}"]
    for name in names:
        lines += [text.replace("{n}", str(draw.randrange(99))) for text in draw.sample(BODY, 3)]
        lines.append(name)
    return lines


def buildkits(folder: Path, text: str) -> dict[str, int] | None:
    """The arguments that BuildKit sees, each with its line; None where it refuses the file."""
    (folder / "Dockerfile").write_text(text, encoding="utf-8", newline="")
    argv = ["docker", "buildx", "build", "--call=outline,format=json", "."]
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        assert "parse error" in done.stderr or "unterminated" in done.stderr or "syntax error" in done.stderr, (
            done.stderr + text
        )
        return None
    listed = json.loads(done.stdout)["args"]
    return {one["name"]: one["location"]["ranges"][0]["start"]["line"] for one in listed if "location" in one}


def test_instructions_begin_where_buildkits_do(tmp_path: Path) -> None:
    read = refused = 0
    for seed in range(60):
        text = generated(seed)
        theirs = buildkits(tmp_path, text)
        if theirs is None:
            refused += 1
            continue
        read += 1
        ours = {one.rest.partition("=")[0]: one.line for one in instructions(text) if one.keyword == "ARG"}
        assert ours == theirs, text
    assert read > 30, f"{refused} of {read + refused} files were refused: they compare nothing"


@pytest.mark.parametrize("line", SHELL)
@pytest.mark.parametrize("keyword", ["RUN", "RUN --network=none"])
def test_a_line_of_shell_hides_nothing(tmp_path: Path, keyword: str, line: str) -> None:
    text = f"FROM scratch\n{keyword} {line}\nARG LAST=1\n"
    theirs = buildkits(tmp_path, text)
    ours = {one.rest.partition("=")[0]: one.line for one in instructions(text) if one.keyword == "ARG"}
    assert ours == {"LAST": 3}
    assert theirs in (ours, None)


@pytest.mark.parametrize("seed", range(8))
def test_bodies_are_buildkits(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    end = draw.choice(["\n", "\r\n"])
    lines = ["FROM scratch"]
    for number in range(10):
        dash, quote = draw.choice(["", "-"]), draw.choice(["'", '"', ""])
        lines.append(f"COPY --chmod=644 <<{dash}{quote}E{number}{quote} /file{number}")
        lines += draw.sample(["ARG A=1", "\ttab", "\t\tE", "# words", "", "E", " E0", "<<E"], 4)
        lines.append(f"{'	' if dash else ''}E{number}")
    text = end.join(lines) + end
    (tmp_path / "Dockerfile").write_text(text, encoding="utf-8", newline="")
    argv = ["docker", "buildx", "build", "--output", f"type=local,dest={tmp_path / 'out'}", "--no-cache", "."]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr + text
    ours = parse(text).scripts
    assert len(ours) == 10
    assert {f"/{path.name}": path.read_bytes().decode() for path in (tmp_path / "out").iterdir()} == ours
