"""Checks that a Dockerfile does not lose its headers unnoticed.

vLLM's pre-download block vanished in a diff that was about something else (vllm-project/vllm#39233); a reviewer saw it.
This module looks for the stage that receives the bundle, the stand-in with its marker, the proof without a network, and
whatever turns a failure around them into success. It reads text and builds nothing.
"""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING

from msgspec import Struct

from orchestrator.dockerfile.commands import commands
from orchestrator.dockerfile.options import json_form
from orchestrator.dockerfile.stages import assignments, parse
from orchestrator.errors import Problem
from orchestrator.flashinfer import NO_DOWNLOAD
from orchestrator.headers import followed, layout, python_program
from orchestrator.headers.steps import goes_on, ignored_failure, installs, program_of, proves_checksums, run_commands

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from orchestrator.dockerfile.commands import Command
    from orchestrator.dockerfile.stages import Stage, Step

_OLD_CALL = re.compile(r"\bdownload_trtllm_headers\b")  # Python, in a here-document or behind `python -c`
_OWN_INSTALLS = frozenset({"py_install", "apt_install"})  # functions of docker/Dockerfile
_CONCERNING = ("flashinfer", "cubin", "trtllm")  # in the names of every command and function below
_SCRIPTS = re.compile(r"\.(?:sh|bash|py)\b|(?:install|setup|build|bootstrap)")
_QUOTING = re.compile(r"\\\r?\n|['\"\\]")
_COMMENT = re.compile(r"^[ \t]*#[^\n]*$", re.MULTILINE)
_SWALLOWED = re.compile(
    r"except\b[^\n:]*:\s*(?:pass\b|\.\.\.|continue\b|return\b|print\b)"
    r"|\bsuppress\s*\(\s*(?:Base)?Exception|check\s*=\s*False|\bos\.system\s*\("
)
_REQUIRED = re.compile(r"^[ \t]*flashinfer[-_.]python\b", re.MULTILINE | re.IGNORECASE)
_DOWNLOADS = frozenset({"download-cubin", "--download-cubin", "download-kernels", "install-cubin-wheel"})
_CUBIN = re.compile(r"flashinfer[-_]cubin")
_LAST_OLD = "0.6.7.post1"  # the first version without download_trtllm_headers (flashinfer-ai/flashinfer#2903)
_IGNORED = "{!r} around the FlashInfer headers: a failure passes as success"
_GOES_ON = "a step that continues"
_DOCS = "docs/air-gapped.md has the stage that belongs here"


class Promised(Struct, frozen=True, kw_only=True):
    """What the matrix promises about a Dockerfile's headers.

    Attributes:
        version: FlashInfer's version, "" if it is not known.
        targets: Stages whose images must hold the headers; none names the last stage.
        context: Named context and stand-in stage of the bundle.
        digest_arg: Argument that carries the bundle digest.
        required: Whether the bundle must be received at all (the matrix has `headers:`); false looks only for steps
            that do harm wherever they stand.
    """

    version: str = ""
    targets: tuple[str, ...] = ()
    context: str = "flashinfer-headers"
    digest_arg: str = "FLASHINFER_BUNDLE_DIGEST"
    required: bool = True


def guard(
    text: str, promised: Promised, *, name: str = "Dockerfile", read: Callable[[str], str] = lambda _: ""
) -> tuple[Problem, ...]:
    """Find what is wrong with the way a Dockerfile carries FlashInfer's headers.

    Args:
        text: The Dockerfile.
        promised: What it must hold.
        name: Its name in messages.
        read: Returns a file of the build context, "" where there is none: steps run its scripts.

    Returns:
        Problems in the file's order; empty where there is none.
    """
    check = _Check(text, promised, name, read)
    problems = list(check.harm())
    if promised.required:
        problems += check.stand_in()
        for target in promised.targets or ("",):
            problems += check.received(target)
    unique = {(problem.line, problem.what): problem for problem in problems}
    return tuple(sorted(unique.values(), key=lambda problem: problem.line))


def wheelhouse(
    text: str, target: str, *, context: str, digest_arg: str, name: str = "Dockerfile"
) -> tuple[Problem, ...]:
    """Find what is wrong with the way a stage installs from a wheelhouse.

    Args:
        text: The Dockerfile.
        target: The stage that is built, "" for the last one.
        context: Named context and stand-in stage of the wheelhouse.
        digest_arg: Argument that carries its digest.
        name: The Dockerfile's name in messages.
    """
    check = _Check(text, Promised(context=context, digest_arg=digest_arg), name)
    return (*check.stand_in(), *check.installed_from(target))


def unpromised(
    text: str,
    targets: Sequence[str],
    *,
    version: str = "",
    name: str = "Dockerfile",
    read: Callable[[str], str] = lambda _: "",
) -> tuple[Problem, ...]:
    """Find what a matrix without `headers:` leaves unsaid: steps that do harm, and FlashInfer without its headers.

    Args:
        text: The Dockerfile.
        targets: The stages that are built, "" for the last one.
        version: FlashInfer's version, "" if it is not known.
        name: The Dockerfile's name in messages.
        read: Returns a file of the build context, "" where there is none: requirement files name FlashInfer too.
    """
    check = _Check(text, Promised(version=version), name, read)
    found = [*check.harm(), *(problem for target in targets for problem in check.unpromised(target))]
    return tuple(dict.fromkeys(found))


class _Check:
    """One Dockerfile and what is promised about it."""

    def __init__(self, text: str, promised: Promised, name: str, read: Callable[[str], str] = lambda _: "") -> None:
        self.file = parse(text)
        self.read = read
        self.promised = promised
        self.name = name
        self._started: dict[int, list[Command]] = {}
        self._followed: dict[int, dict[str, str]] = {}
        self._harmful: set[int] = set()  # steps that `harm` named
        self.scripts = {path.rsplit("/", 1)[-1]: text for path, text in self.file.scripts.items()}
        self.tree = followed.Tree(read=read, inline=self.scripts, copied=followed.copied(self.file))

    def harm(self) -> Iterator[Problem]:
        """Steps that do harm wherever they stand.

        Only steps that name FlashInfer or a script are cut into commands; a Dockerfile has a hundred more.
        """
        version = self.promised.version
        old_is_gone = not version or layout.key(version) >= layout.key(_LAST_OLD)
        since = f"FlashInfer {version}" if version else f"FlashInfer from {_LAST_OLD} on"
        steps = [(stage, step) for stage in self.file.stages for step in stage.steps if self._concerns(step)]
        for stage, step in steps:
            found, texts = self._runs(step)
            if old_is_gone and any(_OLD_CALL.search(_COMMENT.sub("", text)) for text in texts):
                yield self._problem(step, f"download_trtllm_headers is not in {since}: the import fails")
            if any({"download-cubin", "--download-cubin"} & set(command.words) for command in found):
                yield self._problem(step, "flashinfer download-cubin as a build step: it exits 0 after a failure")
            shown = " ".join(_COMMENT.sub("", text) for text in texts).lower()
            if "flashinfer" in shown and ("headers" in shown or "cubin" in shown):
                programs = [one for name, one in self._named(step).items() if name not in self.scripts]
                ignored = ignored_failure(found) or _swallowed(found, texts, programs)
                if not ignored and self._goes_on(stage, step):
                    ignored = _GOES_ON
                if ignored:
                    self._harmful.add(id(step))
                    yield self._problem(step, _IGNORED.format(ignored))
            if step.keyword == "ENV" and _always_set(step, NO_DOWNLOAD):
                what = f"{NO_DOWNLOAD} is set for every bundle: with a cubin missing, FlashInfer runs another one"
                hint = "set it from an argument that orchestrate gives for a complete bundle"
                yield self._problem(step, what, hint)

    def stand_in(self) -> Iterator[Problem]:
        """Yield what is wrong with the stage that stands in for a forgotten bundle: missing, or without its marker."""
        context = self.promised.context
        stage = self.file.stage(context)
        if stage is None:
            what = f"stage {context} was not found: docker pulls a forgotten context from docker.io/library/{context}"
            yield Problem(file=self.name, line=1, what=what, hint=_DOCS)
        elif not any(step.keyword in {"COPY", "ADD", "RUN"} for step in stage.steps):
            what = f"stage {context} is empty: with a warm cache a build without the bundle passes"
            yield Problem(file=self.name, line=stage.line, what=what, hint="put a marker file into it; " + _DOCS)

    def installed_from(self, target: str) -> Iterator[Problem]:
        """Whether steps of a target mount the context, each below the argument that is its cache key and its proof."""
        ancestry = self.file.ancestry(target)
        steps = [step for stage in ancestry for step in stage.steps]
        takes = [at for at, step in enumerate(steps) if self.promised.context.lower() in map(str.lower, step.sources)]
        shown = target or (ancestry[-1].name if ancestry else "(last)")
        if not takes:
            line = ancestry[-1].line if ancestry else 1
            what = f"no step of {shown} takes packages from {self.promised.context}: its installs ask an index"
            yield Problem(file=self.name, line=line, what=what, hint=_DOCS)
        for at in takes[:1]:
            if not any(step.keyword == "ARG" and _declares(step, self.promised.digest_arg) for step in steps[:at]):
                what = f"ARG {self.promised.digest_arg} is not declared before this step"
                yield self._problem(
                    steps[at], f"{what}: its cache key does not follow the wheelhouse, and nothing proves it"
                )

    def received(self, target: str) -> Iterator[Problem]:
        """Yield what is wrong where a target does not take or prove the headers, or something later replaces them."""
        context, digest_arg = self.promised.context, self.promised.digest_arg
        ancestry = self.file.ancestry(target)
        if not ancestry:
            yield Problem(file=self.name, line=1, what=f"stage {target or '(last)'} was not found")
            return
        steps = [step for stage in ancestry for step in stage.steps]
        takes = [at for at, step in enumerate(steps) if context.lower() in map(str.lower, step.sources)]
        shown = target or ancestry[-1].name
        if not takes:
            brought = next((step for step in steps if self._brings(step)), None)
            if brought is not None:
                what = f"the FlashInfer headers in {shown} are downloaded by this step and not taken from {context}"
                yield self._problem(brought, what)
                return
            what = f"nothing in {shown} takes the FlashInfer headers from {context}"
            yield Problem(file=self.name, line=ancestry[-1].line, what=what, hint=_DOCS)
            return
        proofs = [at for at, step in enumerate(steps) if at >= takes[0] and self._proves(step)]
        if not proofs:
            what = f"the FlashInfer headers in {shown} are not proven: no RUN --network=none with sha256sum --check"
            yield self._problem(steps[takes[-1]], what)
            return
        if not any(step.keyword == "ARG" and _declares(step, digest_arg) for step in steps[: proofs[-1]]):
            what = f"ARG {digest_arg} is not declared before the proof: its cache key does not follow the bundle"
            yield self._problem(steps[proofs[-1]], what)
        for stage in ancestry:
            for step in stage.steps:  # `harm` looks at those alone that name FlashInfer
                proof = step.keyword == "RUN" and self._proves(step)
                if proof and id(step) not in self._harmful and self._goes_on(stage, step):
                    yield self._problem(step, _IGNORED.format(_GOES_ON))
        for step in steps[takes[0] + 1 :]:
            if any(map(_replaces, self._own(step))):
                what = f"packages are installed after the FlashInfer headers in {shown}: they may move or replace them"
                yield self._problem(step, what, "receive the bundle after the last package install")

    def unpromised(self, target: str) -> Iterator[Problem]:
        """Yield a problem for a target with FlashInfer and without its headers, where the matrix promises nothing."""
        ancestry = self.file.ancestry(target)
        steps = [step for stage in ancestry for step in stage.steps]
        installed = next((step for step in steps if self._installs_flashinfer(step)), None)
        taken = any(self.promised.context.lower() in map(str.lower, step.sources) for step in steps)
        if installed is None or taken or any(map(self._brings, steps)):
            return
        shown = target or ancestry[-1].name
        what = f"{shown} has FlashInfer and no step that brings its headers: it downloads them on the user's machine"
        hint = "add headers: to matrix.yaml (docs/air-gapped.md), or headers: {policy: off} to accept that"
        yield self._problem(installed, what, hint)

    def _concerns(self, step: Step) -> bool:
        """Return whether a step can do harm to the headers, by the words in it once quotes and escapes are gone."""
        if step.keyword != "RUN":
            return step.keyword == "ENV"
        text = _QUOTING.sub("", "\n".join((step.text, *step.documents))).lower()
        if any(word in text for word in (*_CONCERNING, *map(str.lower, self.scripts))):
            return True
        return _SCRIPTS.search(text) is not None and bool(self._named(step))

    def _named(self, step: Step) -> dict[str, str]:
        """Return file name -> text of the scripts that a step runs, of the Dockerfile and of the build context."""
        if id(step) not in self._followed:
            found = {
                path.rsplit("/", 1)[-1]: text for path, text in followed.scripts(self._own(step), self.tree).items()
            }
            self._followed[id(step)] = {
                name: text for name, text in found.items() if name in self.scripts or _concerns(text)
            }
        return self._followed[id(step)]

    def _own(self, step: Step) -> list[Command]:
        """Return what a step starts; each step is read once, however many questions are asked about it."""
        if id(step) not in self._started:  # the steps live as long as `file`
            self._started[id(step)] = run_commands(step)
        return self._started[id(step)]

    def _installs_flashinfer(self, step: Step) -> bool:
        if step.keyword in {"ARG", "ENV"}:
            return any(key.upper() == "FLASHINFER_VERSION" for key, _ in assignments(step.text))
        if step.keyword in {"COPY", "ADD"}:
            return not step.sources and any(map(self._requires_flashinfer, step.words[:-1]))
        found = [one for one in self._own(step) if installs(one)]
        return any("flashinfer" in " ".join(one.words).lower() for one in found) or any(
            self._requires_flashinfer(file)
            for one in found
            for flag, file in itertools.pairwise(one.words)
            if flag in {"-r", "--requirement", "--requirements"}
        )

    def _requires_flashinfer(self, path: str) -> bool:
        """Return whether a file of the context is a requirement file that names FlashInfer."""
        return path.endswith((".txt", ".in")) and _REQUIRED.search(self.read(path)) is not None

    def _brings(self, step: Step) -> bool:
        """Return whether a step downloads headers or the package that holds them, in whatever way a release knew."""
        found, texts = self._runs(step)
        if any(_OLD_CALL.search(_COMMENT.sub("", text)) for text in texts):
            return True
        for command in found:
            words = " ".join(command.words).lower()
            if _DOWNLOADS & set(command.words) or (installs(command) and _CUBIN.search(words)):
                return True
        return False

    def _runs(self, step: Step) -> tuple[list[Command], list[str]]:
        """Return what a step starts, with the scripts of the file that it names; and the texts that this stands in."""
        found = self._own(step)
        if step.keyword != "RUN":
            return found, []
        named = self._named(step)
        inner = [one for name, text in named.items() if not name.endswith(".py") for one in commands(text)]
        return found + inner, [step.text, *step.documents, *named.values()]

    def _shell(self, stage: Stage, step: Step) -> list[str]:
        """Return what the SHELL instruction says that holds for a step, [] for Docker's own shell."""
        told: list[str] = []
        for one in self.file.ancestry(stage.name):
            for before in one.steps:
                if before is step:
                    return told
                if before.keyword == "SHELL":
                    told = json_form(before.text.strip()) or told
        return told

    def _goes_on(self, stage: Stage, step: Step) -> bool:
        return step.keyword == "RUN" and goes_on(step, self._shell(stage, step), self._named(step))

    def _proves(self, step: Step) -> bool:
        return step.network == "none" and any(map(proves_checksums, self._runs(step)[0]))

    def _problem(self, step: Step, what: str, hint: str = _DOCS) -> Problem:
        return Problem(file=self.name, line=step.line, what=what, hint=hint)


def _concerns(text: str) -> bool:
    return any(word in _COMMENT.sub("", text).lower() for word in _CONCERNING)


def _swallowed(found: list[Command], texts: list[str], large: list[str]) -> str:
    """Return the Python that goes on after an error, "" where there is none.

    Args:
        found: The commands of a step.
        texts: The step's own text, then its here-documents and the scripts that it names.
        large: Those of the build context, which may do much else.
    """
    inline = [program for command in found if (program := program_of(command))]
    unread = texts[:1]  # another program may write a file of it
    for program in (*inline, *texts[1:]):
        module = python_program.parse(program)
        if module is None:
            unread.append(program)
        elif construct := python_program.swallowed(module, _CONCERNING if program in large else ()):
            return construct
    if inline and len(unread) == 1:
        return ""
    said = next(filter(None, (_SWALLOWED.search(_COMMENT.sub("", text)) for text in unread)), None)
    return " ".join(said[0].split())[:40] if said else ""


def _replaces(command: Command) -> bool:
    verb = "".join(command.words[1:2])
    flashinfer = command.name == "flashinfer" and verb.startswith(("download-kernels", "install-"))
    return bool(installs(command)) or command.name in _OWN_INSTALLS or flashinfer


def _always_set(step: Step, name: str) -> bool:
    """Return whether an ENV gives a variable a value that no argument can take away."""
    pairs = list(assignments(step.text))
    if pairs and pairs[0][1] is None:  # the old form: ENV NAME the rest of the line
        pairs = [(pairs[0][0], step.text.removeprefix(pairs[0][0]).strip())]
    return any(key == name and (value or "").lstrip("\"'")[:1] not in {"", "$"} for key, value in pairs)


def _declares(step: Step, name: str) -> bool:
    return any(key == name for key, _ in assignments(step.text))
