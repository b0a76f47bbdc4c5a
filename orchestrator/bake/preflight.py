"""Proves, before a build starts, that every injected argument is one that the target really consumes ("arrived").

BuildKit accepts any argument in silence (moby/buildkit#2128, open): a mis-cased TORCH_CUDA_ARCH_LIST builds for hours
and ships the Dockerfile's default. `--call=outline` lists what the chosen target's stages consume; everything of ours
must be among it. What cannot be checked is reported as not checked, never as passed.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator import process
from orchestrator.bake.arrived import Outlines
from orchestrator.bake.file import escape
from orchestrator.dockerfile.bases import EMPTY, without_bases
from orchestrator.dockerfile.predefined import predefined
from orchestrator.engine import buildx
from orchestrator.errors import FailureClass, MatrixError, Problem, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.bake.file import BakeFile
    from orchestrator.engine.buildx import BakeCall
    from orchestrator.errors import Place

_TIMEOUT = 120.0


class NotArrivedError(MatrixError, failure=FailureClass.ARRIVED):
    """An injected argument is not consumed by the target that it is injected into."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Arrival:
    """What preflight found for one variant.

    Attributes:
        checked: Whether the outline could be made.
        why_not: The reason, where it could not.
        consumed: Argument -> value, as the target's stages consume it.
    """

    checked: bool
    why_not: str = ""
    consumed: Mapping[str, str] | None = None


def arrival(bake: BakeCall, file: BakeFile, target: Mapping[str, Any], outlines: Outlines | None = None) -> Arrival:
    """Ask buildx what the variant's target consumes.

    Args:
        bake: How to call buildx.
        file: The variant's bake file.
        target: What `resolve` gave for it.
        outlines: What earlier runs learned.

    Raises:
        MatrixError: The Dockerfile is missing or not readable.
    """
    text, why = buildx.dockerfile(bake.root, target)
    if text is None:
        return Arrival(checked=False, why_not=why)
    override = _outline_target(target, text)
    content = {"target": {file.target: override}}
    key = Outlines.key(content, bake.docker)
    known = outlines.get(key) if outlines is not None else None
    if known is not None:
        return Arrival(checked=True, consumed=known)
    with tempfile.TemporaryDirectory(prefix="orchestrate-") as directory:
        Path(directory, "empty").mkdir()
        path = Path(directory, "outline.json")
        path.write_text(json.dumps(content), encoding="utf-8")
        named = ("--builder", bake.builder) if bake.builder else ()
        argv = (*bake.docker, "buildx", "bake", *named, "-f", "outline.json", "--call=outline,format=json")
        done = process.run(
            (*argv, file.target), cwd=Path(directory), timeout=_TIMEOUT, env={"BUILDX_NO_DEFAULT_ATTESTATIONS": "1"}
        )
    if not done.ok:
        return Arrival(checked=False, why_not=f"buildx cannot outline it: {buildx.last_error(done.stderr)}")
    try:
        outline = json.loads(done.stdout)["target"][file.target]["outline"]
        consumed = {entry["name"]: entry.get("value", "") for entry in outline.get("args") or []}
    except (ValueError, KeyError, TypeError):
        return Arrival(checked=False, why_not="buildx gave no outline")
    if outlines is not None:
        outlines.put(key, consumed)
    return Arrival(checked=True, consumed=consumed)


def _outline_target(target: Mapping[str, Any], text: str) -> dict[str, Any]:
    """Make a target that has the variant's arguments and stages, and needs no download."""
    contexts = _unescaped(target.get("contexts") or {})
    args = {name: value for name, value in (target.get("args") or {}).items() if value is not None}
    bare = without_bases(text, contexts=contexts, args=_unescaped(args))
    chosen: dict[str, Any] = {
        "context": "empty",
        "dockerfile-inline": escape(bare),
        "args": args,  # as `--print` gave them, escaped already
        "contexts": dict.fromkeys([*contexts, EMPTY], "empty"),  # what is in them does not matter
        "output": ["type=cacheonly"],
    }
    chosen |= {name: target[name] for name in ("target", "platforms") if target.get(name)}
    return chosen


def _unescaped(values: Mapping[str, str]) -> dict[str, str]:
    return {name: buildx.unescape(str(value)) for name, value in values.items()}


def check(
    found: Arrival, *, variant: str, target: str, injected: Mapping[str, str], places: Mapping[str, Place | None]
) -> None:
    """Require that every injected argument reaches the target.

    Args:
        found: What the target consumes.
        variant: The variant, for the message.
        target: The bake target, for the message.
        injected: Argument -> value that we pass.
        places: Argument -> where the matrix says it, None on the command line.

    Raises:
        NotArrivedError: With one problem for each argument that is not consumed.
    """
    if not found.checked or found.consumed is None:
        return
    consumed = found.consumed
    problems: list[Problem] = []
    for name, value in injected.items():
        if predefined(name):
            continue
        if name not in consumed:
            near = did_you_mean(name, consumed)
            hint = near if near.startswith("did you mean") else ""  # the last line lists all that are known
            problems.append(
                Problem.at(places.get(name), f"{variant}: target {target} does not consume {name}", hint=hint)
            )
        elif consumed[name] != value:
            what = f"{variant}: {name} reaches target {target} with another value"
            problem = Problem.at(places.get(name), what)
            problems.append(replace(problem, expected=repr(value), found=repr(consumed[name])))
    if problems:
        names = ", ".join(sorted(consumed)) or "none"
        many = f"{len(problems)} injected arguments do" if len(problems) > 1 else "1 injected argument does"
        raise NotArrivedError(
            f"{variant}: {many} not reach the target",
            problems=problems,
            hint=f"{target} consumes: {names}",
        )
