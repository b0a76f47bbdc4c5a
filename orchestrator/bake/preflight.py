"""Proves, before a build starts, that every injected argument is one that the target really consumes ("arrived").

BuildKit accepts any argument in silence (moby/buildkit#2128, open): a mis-cased TORCH_CUDA_ARCH_LIST builds for hours
and ships the Dockerfile's default. `--call=outline` lists what the chosen target's stages consume; everything of ours
must be among it, in the target or in one that it links to. What cannot be checked is reported as not checked, never as
passed.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator import process
from orchestrator.bake.arrived import Outline, Outlines
from orchestrator.bake.file import escaped
from orchestrator.dockerfile.bases import EMPTY, without_bases
from orchestrator.dockerfile.contexts import unused_contexts
from orchestrator.dockerfile.predefined import platform_args, predefined
from orchestrator.engine import buildx
from orchestrator.errors import FailureClass, MatrixError, Problem, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from orchestrator.bake.file import BakeFile
    from orchestrator.engine.buildx import BakeCall
    from orchestrator.errors import Place

_TIMEOUT = 120.0
_TAKEN_BY_BUILDKIT = ("GIT_AUTH_", "HTTP_AUTH_")  # secrets for sources that BuildKit fetches; no step mounts them


class NotArrivedError(MatrixError, failure=FailureClass.ARRIVED):
    """An injected argument is not consumed by the target that it is injected into."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Consumer:
    """What one target of a variant's bake file consumes.

    Attributes:
        target: Its name in the project's bake files.
        args: Argument -> value.
        secrets: Ids of the secrets that its steps mount.
        unused: Named contexts that nothing in it refers to.
    """

    target: str
    args: Mapping[str, str]
    secrets: Collection[str] = ()
    unused: Collection[str] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Arrival:
    """What preflight found for one variant.

    Attributes:
        checked: Whether the outline could be made.
        why_not: The reason, where it could not.
        consumers: The target that is built, then those that it links to.
    """

    checked: bool
    why_not: str = ""
    consumers: tuple[Consumer, ...] = ()

    @property
    def consumed(self) -> dict[str, str]:
        """Argument -> value, of all consumers; of two values that of the target that is built."""
        return {name: value for one in reversed(self.consumers) for name, value in one.args.items()}


@dataclass(frozen=True, kw_only=True, slots=True)
class Injected:
    """What the matrix, the command line and other features give to a variant.

    Attributes:
        args: Argument -> value.
        contexts: Names of named contexts.
        secrets: Ids of secrets.
        places: Name of any of them -> where the matrix says it, None on the command line.
    """

    args: Mapping[str, str] = field(default_factory=dict)
    contexts: Collection[str] = ()
    secrets: Collection[str] = ()
    places: Mapping[str, Place | None] = field(default_factory=dict)


def arrival(bake: BakeCall, file: BakeFile, outlines: Outlines | None = None) -> Arrival:
    """Ask buildx what the targets of a variant's bake file consume.

    Args:
        bake: How to call buildx.
        file: The variant's bake file.
        outlines: What earlier runs learned.

    Raises:
        MatrixError: A Dockerfile is missing or not readable.
    """
    outlines = outlines or Outlines(None)
    asked: dict[str, dict[str, Any]] = {}
    unused: dict[str, tuple[str, ...]] = {}
    for name, member in file.members.items():
        text, why = buildx.dockerfile(bake.root, member)
        if text is None:
            where = "" if name == file.target else f"target {file.origins.get(name, name)}: "
            return Arrival(checked=False, why_not=f"{where}{why}")
        asked[name] = _outline_target(member, text)
        args = platform_args("".join(member.get("platforms") or [])) | asked[name]["args"]
        unused[name] = unused_contexts(
            text, member.get("contexts") or {}, target=str(member.get("target") or ""), args=args
        )
    keys = {name: Outlines.key(target, bake.docker) for name, target in asked.items()}
    found = {name: known for name, key in keys.items() if (known := outlines.get(key)) is not None}
    if missing := {name: target for name, target in asked.items() if name not in found}:
        made = _outlined(bake, missing)
        if isinstance(made, str):
            return Arrival(checked=False, why_not=made)
        for name, outline in made.items():
            outlines.put(keys[name], outline)
        found |= made
    consumers = [
        Consumer(
            target=file.origins.get(name, name),
            args=found[name].args,
            secrets=tuple(found[name].secrets),
            unused=unused[name],
        )
        for name in file.members
    ]
    return Arrival(checked=True, consumers=tuple(consumers))


def _outlined(bake: BakeCall, targets: Mapping[str, Mapping[str, Any]]) -> dict[str, Outline] | str:
    """The outlines of targets, or why buildx makes none."""
    with tempfile.TemporaryDirectory(prefix="orchestrate-") as directory:
        Path(directory, "empty").mkdir()
        content = {"target": escaped(dict(targets))}
        Path(directory, "outline.json").write_text(json.dumps(content), encoding="utf-8")
        call = replace(bake, files=("outline.json",))
        done = process.run(
            call.argv("--call=outline,format=json", *targets),
            cwd=Path(directory),
            timeout=_TIMEOUT,
            env={"BUILDX_NO_DEFAULT_ATTESTATIONS": "1"},
        )
    if not done.ok:
        return f"buildx cannot outline it: {buildx.last_error(done.stderr)}"
    try:
        answer = json.loads(done.stdout)["target"]
        return {name: _outline(answer[name]["outline"]) for name in targets}
    except (ValueError, KeyError, TypeError):
        return "buildx gave no outline"


def _outline(answer: Mapping[str, Any]) -> Outline:
    return Outline(
        args={entry["name"]: entry.get("value", "") for entry in answer.get("args") or []},
        secrets=[entry["name"] for entry in answer.get("secrets") or []],
    )


def _outline_target(target: Mapping[str, Any], text: str) -> dict[str, Any]:
    """Make a target that has the variant's arguments and stages, and needs no download."""
    contexts = list(target.get("contexts") or {})
    args = {name: str(value) for name, value in (target.get("args") or {}).items() if value is not None}
    chosen: dict[str, Any] = {
        "context": "empty",
        "dockerfile-inline": without_bases(text, contexts=contexts, args=args),
        "args": args,
        "contexts": dict.fromkeys([*contexts, EMPTY], "empty"),  # what is in them does not matter
        "output": ["type=cacheonly"],
    }
    return chosen | {name: target[name] for name in ("target", "platforms") if target.get(name)}


def check(found: Arrival, injected: Injected, *, variant: str) -> None:
    """Require that everything injected reaches the target, or one that it links to, and each with its value.

    Args:
        found: What the targets consume.
        injected: What is passed.
        variant: The variant, for the message.

    Raises:
        NotArrivedError: With one problem for each that does not arrive.
    """
    if not found.checked or not found.consumers:
        return
    arguments = list(_arguments(found.consumers, injected, variant))
    others = [*_contexts(found.consumers, injected, variant), *_secrets(found.consumers, injected, variant)]
    count = len(arguments) + len(others)
    if not count:
        return
    kind = "value" if others else "argument"
    many = f"{count} injected {kind}s do" if count > 1 else f"1 injected {kind} does"
    consumes = [f"{one.target} consumes: {', '.join(sorted(one.args)) or 'none'}" for one in found.consumers]
    raise NotArrivedError(
        f"{variant}: {many} not reach the target",
        problems=[*arguments, *others],
        hint="; ".join(consumes) if arguments else "",
    )


def _arguments(consumers: tuple[Consumer, ...], injected: Injected, variant: str) -> Iterator[Problem]:
    """The arguments that nothing consumes, or that a target consumes with another value."""
    known = {name for one in consumers for name in one.args}
    for name, value in injected.args.items():
        if predefined(name):
            continue
        place = injected.places.get(name)
        if name not in known:
            near = did_you_mean(name, known)
            hint = near if near.startswith("did you mean") else ""  # the last line lists all that are known
            yield Problem.at(place, f"{variant}: {_nobody(consumers, 'consume')} {name}", hint=hint)
        for one in consumers:
            if one.args.get(name, value) != value:
                problem = Problem.at(place, f"{variant}: {name} reaches target {one.target} with another value")
                yield replace(problem, expected=repr(value), found=repr(one.args[name]))


def _contexts(consumers: tuple[Consumer, ...], injected: Injected, variant: str) -> Iterator[Problem]:
    for name in injected.contexts:
        if all(name in one.unused for one in consumers):
            what = f"{variant}: {_nobody(consumers, 'use')} the named context {name}"
            yield Problem.at(injected.places.get(name), what)


def _secrets(consumers: tuple[Consumer, ...], injected: Injected, variant: str) -> Iterator[Problem]:
    known = {name for one in consumers for name in one.secrets}
    for name in injected.secrets:
        if name not in known and not name.startswith(_TAKEN_BY_BUILDKIT):
            near = did_you_mean(name, known)
            what = f"{variant}: {_nobody(consumers, 'mount')} the secret {name}"
            yield Problem.at(injected.places.get(name), what, hint=near)


def _nobody(consumers: tuple[Consumer, ...], verb: str) -> str:
    """`target app does not consume`, or the same of a target with those that it links to."""
    first, *linked = (one.target for one in consumers)
    if not linked:
        return f"target {first} does not {verb}"
    return f"target {first} and the linked {', '.join(linked)} do not {verb}"
