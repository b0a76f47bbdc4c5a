"""Asks buildx what targets consume (`--call=outline`): once for all of them, without their base images.

Where one Dockerfile cannot be outlined, buildx refuses all that were asked for together; each is then asked for alone.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from orchestrator import process
from orchestrator.bake.arrived import Outline, Outlines
from orchestrator.bake.file import escaped
from orchestrator.dockerfile.bases import EMPTY, without_bases, without_flags
from orchestrator.dockerfile.directives import syntax
from orchestrator.engine import buildx
from orchestrator.engine.plugin import direct

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.engine.buildx import BakeCall

_IMAGE = "docker-image://"
_TIMEOUT = 120.0
_REFUSED = re.compile(
    r"dockerfile parse error on line \d+: .+|target stage \".+\" could not be found|file with no instructions"
    r"|no build stage in current context"
)
SYNTAX = "BUILDKIT_SYNTAX"
"""The argument that names a frontend, in place of `# syntax=`."""

_TOGETHER = 200  # targets of one question: their names are words of one command line


def question(target: Mapping[str, Any], text: str, *, bases: bool = False) -> dict[str, Any]:
    """Make a target that has the same arguments and stages.

    Args:
        target: Target of a bake file, as plain text.
        text: Its Dockerfile.
        bases: Keep the base images, whose ONBUILD instructions and ENV count then; without them nothing is fetched.
    """
    contexts: Mapping[str, Any] = target.get("contexts") or {}
    empty = without_images(contexts) if bases else contexts
    given = (target.get("args") or {}).items()
    args = {name: str(value) for name, value in given if value is not None and name != SYNTAX}
    if bases:
        bare = without_flags(text, contexts=empty, args=args, asked=args)
    else:
        bare = without_bases(text, contexts=contexts, args=args)
    chosen: dict[str, Any] = {
        "context": "empty",
        "dockerfile-inline": bare,
        "args": args,
        # what is in the empty ones does not matter
        "contexts": {**contexts, **dict.fromkeys([*empty, EMPTY], "empty")},
        "output": ["type=cacheonly"],
    }
    return chosen | {name: target[name] for name in ("target", "platforms") if target.get(name)}


def without_images(contexts: Mapping[str, Any]) -> dict[str, Any]:
    """The named contexts that are no images, and so cannot be asked for their ENV."""
    return {name: value for name, value in contexts.items() if not str(value).startswith(_IMAGE)}


def outlines(
    bake: BakeCall, questions: Mapping[str, Mapping[str, Any]], memory: Outlines | None = None
) -> dict[str, Outline | str]:
    """Return the outline of each target, or why buildx makes none.

    Args:
        bake: How to call buildx.
        questions: Name -> target, as `question` makes it.
        memory: What earlier runs learned; None asks again.
    """
    keys = {name: Outlines.key(target, bake.docker) for name, target in questions.items()}
    found: dict[str, Outline | str] = {}  # by key
    for key in keys.values():
        if memory is not None and (known := memory.get(key)) is not None:
            found[key] = known
    asked = {key: name for name, key in keys.items() if key not in found}
    names = list(asked.values())
    for start in range(0, len(names), _TOGETHER):
        some = {name: questions[name] for name in names[start : start + _TOGETHER]}
        answers = _together(bake, some)
        found |= {keys[name]: answer for name, answer in answers.items()}
    if memory is not None:
        memory.put_all({key: found[key] for key in asked})
    return {name: found[key] for name, key in keys.items()}


def refusal(bake: BakeCall, target: Mapping[str, Any], text: str, why: str) -> str:
    """Return why the builder's own frontend refuses a Dockerfile for its form, "" where it may build it.

    What was refused is a copy without base images, so the Dockerfile is asked about again as it is written. One that
    names a frontend of its own may be right for that one.

    Args:
        bake: How to call buildx.
        target: Its target.
        text: The Dockerfile.
        why: Why its copy could not be outlined.
    """
    args = {name: str(value) for name, value in (target.get("args") or {}).items() if value is not None}
    found = _REFUSED.search(why)
    if found is None or syntax(text) or SYNTAX in args:
        return ""
    contexts = dict.fromkeys(target.get("contexts") or {}, "empty")
    again = _ask(bake, {"written": question(target, text) | {"dockerfile-inline": text, "contexts": contexts}})
    return found[0] if isinstance(again, str) and found[0] in again else ""


def _together(bake: BakeCall, questions: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Outline | str]:
    answer = _ask(bake, questions)
    if not isinstance(answer, str):
        return answer
    if len(questions) == 1:
        return dict.fromkeys(questions, answer)
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        jobs = {
            name: pool.submit(process.carried(lambda one: _ask(bake, one)), {name: target})
            for name, target in questions.items()
        }
        alone = {name: job.result() for name, job in jobs.items()}
    return {name: one if isinstance(one, str) else one[name] for name, one in alone.items()}


def _ask(bake: BakeCall, questions: Mapping[str, Mapping[str, Any]]) -> dict[str, Outline] | str:
    with tempfile.TemporaryDirectory(prefix="orchestrate-") as directory:
        Path(directory, "empty").mkdir()
        content = {"target": escaped(dict(questions))}
        Path(directory, "outline.json").write_text(json.dumps(content), encoding="utf-8")
        argv, env = direct(replace(bake, files=("outline.json",)).argv("--call=outline,format=json", *questions))
        done = process.run(
            argv, cwd=Path(directory), timeout=_TIMEOUT, env={**env, "BUILDX_NO_DEFAULT_ATTESTATIONS": "1"}
        )
    if not done.ok:
        return f"buildx cannot outline it: {buildx.last_error(done.stderr)}"
    try:
        answer = json.loads(done.stdout)["target"]
        return {name: _outline(answer[name]["outline"]) for name in questions}
    except (ValueError, KeyError, TypeError, AttributeError):
        return "buildx printed no outline"


def _outline(answer: Mapping[str, Any]) -> Outline:
    return Outline(
        args={entry["name"]: entry.get("value", "") for entry in answer.get("args") or []},
        secrets=[entry["name"] for entry in answer.get("secrets") or []],
    )
