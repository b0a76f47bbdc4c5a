"""Proves, before a build starts, that every injected argument is one that the target really consumes ("arrived").

BuildKit accepts any argument in silence (moby/buildkit#2128, open): a mis-cased TORCH_CUDA_ARCH_LIST builds for hours
and ships the Dockerfile's default. `--call=outline` lists what the chosen target's stages consume; everything of ours
must be among it, in the target or in one that it links to. What cannot be checked is reported as not checked, never as
passed.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from orchestrator.bake import outline
from orchestrator.bake.closure import LINK
from orchestrator.dockerfile.bases import external_bases, images_env
from orchestrator.dockerfile.contexts import unused_contexts
from orchestrator.dockerfile.directives import is_docker_frontend, syntax
from orchestrator.dockerfile.lives import Loss, doubtful, lost
from orchestrator.dockerfile.predefined import platform_args, predefined
from orchestrator.dockerfile.stages import parse
from orchestrator.engine import buildx
from orchestrator.errors import FailureClass, MatrixError, Place, Problem, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from orchestrator.bake.arrived import Outline, Outlines
    from orchestrator.bake.file import BakeFile
    from orchestrator.bake.leftover import Leftover
    from orchestrator.dockerfile.lives import Lost
    from orchestrator.engine.buildx import BakeCall

_LINE = re.compile(r"error on line (\d+)")
_REPLACED = frozenset({Loss.ENV, Loss.BASE})
_TAKEN_BY_BUILDKIT = ("GIT_AUTH_", "HTTP_AUTH_")  # secrets for sources that BuildKit fetches; no step mounts them


class NotArrivedError(MatrixError, failure=FailureClass.ARRIVED):
    """An injected argument is not consumed by the target that it is injected into."""


class Consumer(Struct, frozen=True, kw_only=True):
    """What one target of a variant's bake file consumes.

    Attributes:
        target: Its name in the project's bake files.
        args: Argument -> value.
        secrets: Ids of the secrets that its steps mount.
        unused: Named contexts that nothing in it refers to.
        lost: Arguments whose value does not get where its Dockerfile names them.
        bases: Whether a stage is FROM an image, whose ONBUILD instructions the outline does not have.
        doubtful: Arguments whose value an ENV of a base may replace, where the base was not asked.
        leftovers: What it consumes of the bake file that holds a version which the matrix replaces.
    """

    target: str
    args: Mapping[str, str]
    secrets: Collection[str] = ()
    unused: Collection[str] = ()
    lost: tuple[Lost, ...] = ()
    bases: bool = False
    doubtful: frozenset[str] = frozenset()
    leftovers: tuple[Leftover, ...] = ()


class Arrival(Struct, frozen=True, kw_only=True):
    """What preflight found for one variant.

    Attributes:
        checked: Whether the outline could be made.
        why_not: The reason, where it could not.
        consumers: The target that is built, then those that it links to and whose contexts its stages refer to.
        idle: Linked targets of which nothing gets into the image.
    """

    checked: bool
    why_not: str = ""
    consumers: tuple[Consumer, ...] = ()
    idle: tuple[Consumer, ...] = ()

    @property
    def consumed(self) -> dict[str, str]:
        """Argument -> value, of all consumers; of two values that of the target that is built."""
        return {name: value for one in reversed(self.consumers) for name, value in one.args.items()}


class Injected(Struct, frozen=True, kw_only=True):
    """What the matrix, the command line and other features give to a variant.

    Attributes:
        args: Argument -> value.
        contexts: Names of named contexts.
        secrets: Ids of secrets.
        locked: Base images that the lock of the bases names for the variant.
        places: Name of any of them -> where the matrix says it, None on the command line.
        cuda: The variant's CUDA version.
    """

    args: Mapping[str, str] = field(default_factory=dict)
    contexts: Collection[str] = ()
    secrets: Collection[str] = ()
    locked: Collection[str] = ()
    places: Mapping[str, Place | None] = field(default_factory=dict)
    cuda: str = ""


def arrival(bake: BakeCall, file: BakeFile, outlines: Outlines | None = None) -> Arrival:
    """Ask buildx what the targets of a variant's bake file consume.

    Args:
        bake: How to call buildx.
        file: The variant's bake file.
        outlines: What earlier runs learned.

    Raises:
        MatrixError: A Dockerfile is missing, not readable or refused.
    """
    (found,) = arrivals(bake, [file], outlines)
    if isinstance(found, MatrixError):
        raise found
    return found


def arrivals(
    bake: BakeCall, files: Sequence[BakeFile], memory: Outlines | None = None, *, bases: bool = False
) -> list[Arrival | MatrixError]:
    """Ask buildx what the targets of many variants consume: one question for all of them.

    Args:
        bake: How to call buildx.
        files: Bake files of variants.
        memory: What earlier runs learned.
        bases: Ask with the base images, for what their ONBUILD instructions declare and for their ENV.

    Returns:
        For each bake file what was found, or the error for a Dockerfile that is missing, not readable or refused.
    """
    read = [_read(bake, file) for file in files]
    asked = {
        name: outline.question(file.members[name], text, bases=bases)
        for file, texts in zip(files, read, strict=True)
        if isinstance(texts, dict)
        for name, text in texts.items()
    }
    answers = outline.outlines(bake, asked, memory) if asked else {}
    return [
        _arrival(bake, file, texts, answers, bases=bases) if isinstance(texts, dict) else texts
        for file, texts in zip(files, read, strict=True)
    ]


def _read(bake: BakeCall, file: BakeFile) -> dict[str, str] | Arrival | MatrixError:
    """The Dockerfile of each target, or why there is none."""
    texts: dict[str, str] = {}
    for name, member in file.members.items():
        try:
            text, why = buildx.dockerfile(bake.root, member)
        except MatrixError as error:
            return error
        if text is not None and not text.strip():
            return MatrixError(f"target {file.origins.get(name, name)}: its Dockerfile is empty")
        if text is not None:
            frontend = str((member.get("args") or {}).get(outline.SYNTAX) or syntax(text))
            why = (
                f"its frontend {frontend} is not Docker's own" if frontend and not is_docker_frontend(frontend) else ""
            )
        if text is None or why:
            where = "" if name == file.target else f"target {file.origins.get(name, name)}: "
            return Arrival(checked=False, why_not=f"{where}{why}")
        texts[name] = text
    return texts


def _arrival(
    bake: BakeCall, file: BakeFile, texts: Mapping[str, str], answers: Mapping[str, Outline | str], *, bases: bool
) -> Arrival | MatrixError:
    consumers: dict[str, Consumer] = {}
    for name, member in file.members.items():
        answer = answers[name]
        if isinstance(answer, str):
            refused = "" if bases else outline.refusal(bake, member, texts[name], answer)
            if refused:
                return _refused(bake, member, texts[name], refused, target=file.origins.get(name, name))
            return Arrival(checked=False, why_not=answer)
        stage = str(member.get("target") or "")
        contexts = member.get("contexts") or {}
        passed = {key: str(value) for key, value in (member.get("args") or {}).items() if value is not None}
        args = platform_args("".join(member.get("platforms") or [])) | passed
        consumed, env = images_env(answer.args)
        asked = outline.without_images(contexts) if bases else contexts
        unused = unused_contexts(texts[name], contexts, target=stage, args=args)
        consumers[name] = Consumer(
            target=file.origins.get(name, name),
            args=consumed,
            secrets=tuple(answer.secrets),
            unused=unused,
            lost=lost(texts[name], passed, target=stage, contexts=contexts, args=args, bases=env),
            bases=external_bases(texts[name], contexts=contexts, args=args),
            doubtful=doubtful(texts[name], passed, target=stage, contexts=asked, args=args, known=bases),
            leftovers=tuple(
                one
                for one in file.leftovers.get(name, ())
                if (one.name in consumed if one.kind == "argument" else one.name not in unused)
            ),
        )
    reached = _reached(file, consumers)
    return Arrival(
        checked=True,
        consumers=tuple(one for name, one in consumers.items() if name in reached),
        idle=tuple(one for name, one in consumers.items() if name not in reached),
    )


def _reached(file: BakeFile, consumers: Mapping[str, Consumer]) -> set[str]:
    """The targets of which something gets into the image: one that no stage refers to is linked for nothing."""
    found: set[str] = set()
    waiting = [file.target]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            contexts = (file.members[name].get("contexts") or {}).items()
            links = [str(value) for context, value in contexts if context not in consumers[name].unused]
            waiting += [value.removeprefix(LINK) for value in links if value.startswith(LINK)]
    return found


def _refused(bake: BakeCall, member: Mapping[str, Any], text: str, why: str, *, target: str) -> MatrixError:
    """The error for a Dockerfile that the builder refuses, with its line, or the bake file's that names the stage."""
    stage = str(member.get("target") or "")
    if "target stage" in why:
        known = [one.name for one in parse(text).stages if one.name != str(one.index)]
        place = buildx.place_of(bake, "target", stage)
        problem = Problem.at(
            place, f"target {target}: stage {stage} was not found", hint=did_you_mean(stage.lower(), known)
        )
    else:
        line = _LINE.search(why)
        path = buildx.dockerfile_path(bake.root, member)
        file = os.path.relpath(path, bake.root) if path is not None else "dockerfile-inline"
        place = Place(file=file, line=int(line[1]) if line else 1)
        problem = Problem.at(place, f"target {target}: {why}")
    return MatrixError(f"target {target} cannot be built", problems=[problem])


def missing(found: Arrival, injected: Injected) -> bool:
    """Whether an argument is not consumed by what was found, but may be by an ONBUILD of a base image."""
    known = {name for one in found.consumers for name in one.args}
    return any(one.bases for one in found.consumers) and any(
        name not in known and not predefined(name) for name in injected.args
    )


def unsure(found: Arrival, injected: Injected) -> list[str]:
    """Return the injected arguments whose value an ENV of a base may replace, for all that is known."""
    return sorted({name for one in found.consumers for name in one.doubtful if name in injected.args})


def notes(found: Arrival, injected: Injected) -> tuple[str, ...]:
    """Return what a user should know of a variant that passed: what was not checked, and what is doubtful."""
    if not found.checked:
        return (f"not checked whether the arguments arrive: {found.why_not}",)
    losses = [(one.target, loss.text) for one in found.consumers for loss in one.lost if loss.name in injected.args]
    old = [
        (one.target, left.what(injected.args.get(left.argument, injected.cuda)))
        for one in found.consumers
        for left in one.leftovers
    ]
    return tuple(f"target {target}: {text}" for target, text in (*losses, *old))


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
    arguments = list(_arguments(found, injected, variant))
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


def _arguments(found: Arrival, injected: Injected, variant: str) -> Iterator[Problem]:
    """The arguments that nothing consumes, or that a target consumes with another value."""
    consumers = found.consumers
    known = {name for one in consumers for name in one.args}
    for name, value in injected.args.items():
        if predefined(name):
            continue
        place = injected.places.get(name)
        losses = [(one, loss) for one in consumers for loss in one.lost if loss.name == name]
        if name not in known:
            near = did_you_mean(name, known)
            hint = near if near.startswith("did you mean") else ""  # the last line lists all that are known
            # The same name in other letters is a slip, also where a shell variable of that name is read.
            if losses and name.lower() not in {one.lower() for one in known}:
                hint = f"{losses[0][1].text}: {losses[0][1].hint}"
            if idle := [one.target for one in found.idle if name in one.args]:
                hint = f"the linked {', '.join(idle)} consumes it, and no stage refers to that context"
            yield Problem.at(place, f"{variant}: {_nobody(consumers, 'consume')} {name}", hint=hint)
        else:
            nowhere = all(
                any(loss.certain for of, loss in losses if of is one) for one in consumers if name in one.args
            )
            for one, loss in losses:
                # Declared, but no step can see the value; or every step of one target sees another one.
                if not (nowhere or (loss.certain and loss.loss in _REPLACED)):
                    continue
                what = f"{variant}: {name} does not reach a step of target {one.target}: {loss.text}"
                yield Problem.at(place, what, hint=loss.hint)
        for one in consumers:
            if one.args.get(name, value) != value:
                problem = Problem.at(place, f"{variant}: {name} reaches target {one.target} with another value")
                yield replace(problem, expected=repr(value), found=repr(one.args[name]))
            for left in one.leftovers if value == injected.cuda else ():  # it stands on the image
                if left.argument == name:
                    yield Problem.at(place, f"{variant}: target {one.target}: {left.what(value)}", hint=left.hint)


def _contexts(consumers: tuple[Consumer, ...], injected: Injected, variant: str) -> Iterator[Problem]:
    for name in injected.contexts:
        if all(name in one.unused for one in consumers):
            what = f"{variant}: {_nobody(consumers, 'use')} the named context {name}"
            yield Problem.at(injected.places.get(name), what)
    for name in injected.locked:  # its digest would stand on the image
        if all(name in one.unused for one in consumers):
            what = f"{variant}: {_nobody(consumers, 'start from')} {name}, which the lock names for it"
            yield Problem.at(injected.places.get(name), what, hint="`orchestrate lock bases` writes the lock again")


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
