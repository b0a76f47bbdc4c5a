"""Where the value of a build argument goes, beside real builds of generated Dockerfiles."""

from __future__ import annotations

import base64
import json
import random
import re
import uuid
from typing import TYPE_CHECKING

import pytest

from orchestrator.dockerfile.lives import Loss, lost
from tests.support.base import write_rootfs
from tests.support.engine import call

if TYPE_CHECKING:
    from pathlib import Path

COUNT = 40
VALUE = "1.2.3"
LINES = ("ARG X", "ARG X=default", "ENV X=fixed", "ENV X=$X", "ENV X=${X:-other}", "ENV Y=$X", "RUN", "RUN", "FROM")


def dockerfile(number: int, chance: random.Random, mark: str) -> str:
    """A Dockerfile of one line of stages; each RUN prints what it sees of X."""
    lines = ["FROM scratch AS s0", "ADD rootfs.tar /", chance.choice(["ARG X", "ENV X=old", "ENV Z=1"])]
    stage = 0
    for _ in range(chance.randint(2, 7)):
        line = chance.choice(LINES)
        if line == "FROM":
            stage += 1
            line = f"FROM s{stage - 1} AS s{stage}"
        elif line == "RUN":
            line = f'RUN echo "{mark} {number} <$X>"'
        lines.append(line)
    return "\n".join([*lines, f'RUN echo "{mark} {number} <$X>"', ""])


@pytest.fixture(scope="module")
def seen(engine: str, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, list[str]]]:
    """Dockerfiles, each with what its RUN steps saw."""
    folder: Path = tmp_path_factory.mktemp("lives")
    write_rootfs(folder)
    chance = random.Random(11)
    mark = f"seen-{uuid.uuid4().hex[:8]}"  # no step of an earlier run is taken from the cache
    texts = [dockerfile(number, chance, mark) for number in range(COUNT)]
    targets = {
        f"t{number}": {
            "context": ".",
            "dockerfile-inline": text.replace("${", "$${"),
            "args": {"X": VALUE},
            "network": "none",
            "output": ["type=cacheonly"],
        }
        for number, text in enumerate(texts)
    }
    (folder / "bake.json").write_text(json.dumps({"target": targets}))
    argv = [
        "env",
        f"--chdir={folder}",
        "docker",
        "buildx",
        "bake",
        "--progress",
        "rawjson",
        "-f",
        "bake.json",
        *targets,
    ]
    done = call(*argv)
    output: dict[str, str] = {}
    for line in done.stderr.splitlines():
        for log in json.loads(line).get("logs") or [] if line.startswith("{") else []:
            output[log["vertex"]] = output.get(log["vertex"], "") + base64.b64decode(log["data"]).decode()
    found: dict[int, list[str]] = {}
    for text in output.values():
        for number, value in re.findall(rf"^{mark} (\d+) <(.*)>$", text, re.MULTILINE):
            found.setdefault(int(number), []).append(value)
    return [(text, found[number]) for number, text in enumerate(texts)]


def test_lost_is_what_no_step_saw(seen: list[tuple[str, list[str]]]) -> None:
    for text, values in seen:
        findings = lost(text, {"X": VALUE})
        arrives = VALUE in values or "ENV Y=$X" in text or "ENV X=$" in text
        certain = [one for one in findings if one.certain]
        if certain:
            assert VALUE not in values, text
        if VALUE not in values and not arrives:
            assert [one for one in findings if one.loss in {Loss.ENV, Loss.ABOVE, Loss.UNDECLARED}], (text, values)
        if all(value == VALUE for value in values):
            assert not [one for one in findings if one.loss in {Loss.ABOVE, Loss.UNDECLARED}], (text, values)
    assert {VALUE in values for _, values in seen} == {True, False}
