"""Guard: a Dockerfile must not lose its headers unnoticed.

vLLM's pre-download block vanished in a diff that was about something else (vllm-project/vllm#39233); a reviewer saw it.
This module sees it every time: the stage that receives the bundle, the stand-in with its marker, the proof without a
network, and nothing around them that turns a failure into success. It reads text; it builds nothing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from orchestrator.errors import Problem
from orchestrator.headers import dockerfile as dockerfiles
from orchestrator.headers import layout

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from orchestrator.headers.dockerfile import Dockerfile, Stage, Step

_OLD_CALL = re.compile(r"\bdownload_trtllm_headers\b")
_BULK = re.compile(r"\bflashinfer\s+download-cubin\b|--download-cubin\b")
_SWALLOW = re.compile(r"\|\|\s*(?:true|:|exit\s+0|echo\b)|;\s*true\s*$|\bset\s+\+e\b", re.MULTILINE)
_PROOF = re.compile(r"\bsha256sum\b[^\n]*\s(?:-c|--check)\b")
_INSTALL = re.compile(
    r"\b(?:pip3?|uv\s+pip)\s+install\b|\b(?:apt-get|apt|dnf|yum|microdnf)\s+(?:-\S+\s+)*install\b"
    r"|\b(?:py_install|apt_install)\b|\bflashinfer\s+(?:download-kernels|install-\S+)"
)
_LAST_OLD = "0.6.7.post1"  # the first version without download_trtllm_headers (flashinfer-ai/flashinfer#2903)
_DOCS = "docs/air-gapped.md has the stage that belongs here"


def guard(
    text: str,
    *,
    name: str = "Dockerfile",
    version: str = "",
    targets: Sequence[str] = (),
    context: str = "flashinfer-headers",
    digest_arg: str = "FLASHINFER_BUNDLE_DIGEST",
    required: bool = True,
) -> tuple[Problem, ...]:
    """What is wrong with the way a Dockerfile carries FlashInfer's headers.

    Args:
        text: The Dockerfile.
        name: Its name in messages.
        version: FlashInfer's version, "" if it is not known.
        targets: Stages whose images must hold the headers; none names the last stage.
        context: Named context and stand-in stage of the bundle.
        digest_arg: Argument that carries the bundle digest.
        required: Whether the bundle must be received at all (the matrix has `headers:`); false looks only for steps
            that do harm wherever they stand.

    Returns:
        Problems in the file's order; empty when all is well.
    """
    found = dockerfiles.parse(text)
    problems = list(_harm(found, name, version))
    if required:
        problems += _stand_in(found, name, context)
        for target in targets or ("",):
            problems += _received(found, name, target, context, digest_arg)
    unique = {(problem.line, problem.what): problem for problem in problems}
    return tuple(sorted(unique.values(), key=lambda problem: problem.line))


def _harm(found: Dockerfile, name: str, version: str) -> Iterator[Problem]:
    for stage in found.stages:
        for step in stage.steps:
            run = stage.calls(step, found.scripts) if step.keyword == "RUN" else ""
            if _OLD_CALL.search(run) and (not version or layout.key(version) >= layout.key(_LAST_OLD)):
                since = f"FlashInfer {version}" if version else f"FlashInfer from {_LAST_OLD} on"
                yield _problem(name, step, f"download_trtllm_headers is not in {since}: the import fails")
            if _BULK.search(run):
                what = "flashinfer download-cubin as a build step: it exits 0 when it failed"
                yield _problem(name, step, what)
            touches = "flashinfer" in run.lower() and ("headers" in run.lower() or "cubin" in run.lower())
            if touches and (swallowed := _swallowed(run)):
                yield _problem(name, step, f"{swallowed!r} around the FlashInfer headers: a failure would pass")
            if step.keyword == "ENV" and re.search(r"FLASHINFER_NO_DOWNLOAD[= ]\s*[\"']?\w", step.text):
                what = (
                    "FLASHINFER_NO_DOWNLOAD is set for every bundle: with a cubin missing, FlashInfer runs another one"
                )
                yield _problem(name, step, what, "set it from an argument that orchestrate gives for a complete bundle")


def _swallowed(run: str) -> str:
    """The construct that hides a failure; `|| { echo …; exit 1; }` hides none."""
    for line in run.splitlines():
        match = _SWALLOW.search(line)
        if match and "exit 1" not in line and not line.strip().startswith("fail()"):
            return match.group(0).strip()
    return ""


def _stand_in(found: Dockerfile, name: str, context: str) -> Iterator[Problem]:
    stage = found.stage(context)
    if stage is None:
        what = f"no stage {context}: a forgotten context would be pulled as docker.io/library/{context}"
        yield Problem(file=name, line=1, what=what, hint=_DOCS)
    elif not any(step.keyword in ("COPY", "ADD", "RUN") for step in stage.steps):
        what = f"stage {context} is empty: with a warm cache a build without the bundle would pass"
        yield Problem(file=name, line=stage.line, what=what, hint="let it hold a marker file; " + _DOCS)


def _received(found: Dockerfile, name: str, target: str, context: str, digest_arg: str) -> Iterator[Problem]:
    line = found.line_of(target)
    if not line:
        yield Problem(file=name, line=1, what=f"no stage {target or '(last)'}")
        return
    steps = [(stage, step) for stage in line for step in stage.steps]
    takes = [at for at, (_, step) in enumerate(steps) if context in step.sources]
    shown = target or line[-1].name
    if not takes:
        what = f"nothing in {shown} takes the FlashInfer headers from {context}"
        yield Problem(file=name, line=line[-1].line, what=what, hint=_DOCS)
        return
    proofs = [at for at, (stage, step) in enumerate(steps) if at >= takes[0] and _proves(found, stage, step)]
    if not proofs:
        what = f"the FlashInfer headers in {shown} are not proven: no RUN --network=none with sha256sum --check"
        yield _problem(name, steps[takes[-1]][1], what)
        return
    if not any(step.keyword == "ARG" and _declares(step, digest_arg) for _, step in steps[: proofs[-1]]):
        what = f"ARG {digest_arg} is not declared before the proof: its cache key does not follow the bundle"
        yield _problem(name, steps[proofs[-1]][1], what)
    for _, step in steps[takes[0] + 1 :]:
        if step.keyword == "RUN" and _INSTALL.search(f"{step.text}\n{step.body}"):
            what = f"packages are installed after the FlashInfer headers in {shown}: they may move or replace them"
            yield _problem(name, step, what, "receive the bundle after the last package install")


def _proves(found: Dockerfile, stage: Stage, step: Step) -> bool:
    return step.keyword == "RUN" and step.network == "none" and bool(_PROOF.search(stage.calls(step, found.scripts)))


def _declares(step: Step, name: str) -> bool:
    return re.search(rf"(?:^|\s){re.escape(name)}(?:=|\s|$)", step.text) is not None


def _problem(name: str, step: Step, what: str, hint: str = _DOCS) -> Problem:
    return Problem(file=name, line=step.line, what=what, hint=hint)
