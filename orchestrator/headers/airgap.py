"""Air gap: everything that one variant's build would fetch from outside, and whether something stands in for it.

Read from the resolved bake target and the Dockerfile before the build starts, so that a missing input is named with the
command that prepares it, instead of a step failing after an hour. It builds nothing and asks no network; whether an
image is in the local store is the caller's knowledge.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.headers import dockerfile as dockerfiles

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from orchestrator.headers.dockerfile import Dockerfile

_REMOTE = re.compile(r"(?:https?|git|ssh)://|^git@|\.git(?:#|$)")
_DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$")
_LOCAL_CACHE = ("local", "inline")
_INSTALL = re.compile(
    r"\b(?:pip3?|uv\s+pip)\s+(?:install|download)\b|\b(?:apt-get|apt|dnf|yum|microdnf)\s+(?:-\S+\s+)*install\b"
)
_FETCH = re.compile(r"\b(?:curl|wget|git\s+clone)\b")


@dataclass(frozen=True, kw_only=True, slots=True)
class Need:
    """One thing from outside.

    Attributes:
        kind: `frontend`, `base image`, `context`, `remote file`, `cache`, `network step` or `bundle`.
        name: What it is.
        place: Where it is asked for.
        covered: Whether the build has it without a network.
        certain: False where the text alone cannot tell whether it will be asked for (an install whose list is empty).
        why: Why it is or is not covered.
        cure: The command or the change that covers it.
    """

    kind: str
    name: str
    place: str
    covered: bool
    certain: bool = True
    why: str = ""
    cure: str = ""


def needs(
    target: Mapping[str, Any],
    text: str,
    *,
    root: Path,
    place: str = "Dockerfile",
    image_present: Callable[[str], bool],
    registries: Sequence[str] = (),
    bundle: str = "",
    bundle_wanted: bool = False,
) -> tuple[Need, ...]:
    """Everything that a build would fetch.

    Args:
        target: The resolved bake target (`docker buildx bake --print`), with contexts and arguments injected.
        text: Its Dockerfile.
        root: Directory that relative paths of the target start from.
        place: The Dockerfile's name in messages.
        image_present: Whether the local store has an image reference.
        registries: Registry hosts that the build may still reach (`127.0.0.1:5000`).
        bundle: Digest of the FlashInfer bundle that is injected, "" for none.
        bundle_wanted: Whether the matrix says that this variant carries one.

    Returns:
        Covered and uncovered needs, in the order in which a build would meet them.
    """
    args = {str(name): str(value) for name, value in (target.get("args") or {}).items() if value is not None}
    found = dockerfiles.parse(text, args)
    contexts = {str(name).lower(): str(value) for name, value in (target.get("contexts") or {}).items()}
    images = _Images(contexts, image_present, tuple(registries))
    listed = [
        *_frontend(found, args, place, images),
        *_contexts(target, contexts, root, images),
        *_stages(found, str(target.get("target") or ""), contexts, place, images, str(target.get("network") or "")),
        *_cache(target, registries),
    ]
    if bundle_wanted or bundle:
        listed.append(_bundle(bundle))
    unique = {(need.kind, need.name, need.place): need for need in listed}
    return tuple(unique.values())


def missing(found: Sequence[Need]) -> tuple[Need, ...]:
    """The needs that must be covered before the build starts."""
    return tuple(need for need in found if need.certain and not need.covered)


@dataclass(frozen=True, kw_only=False, slots=True)
class _Images:
    contexts: Mapping[str, str]
    present: Callable[[str], bool]
    registries: tuple[str, ...]

    def need(self, reference: str, place: str, kind: str = "base image") -> Need:
        """Whether an image reference can be had."""
        host = reference.split("/", 1)[0] if "/" in reference else ""
        pinned = _DIGEST.search(reference) is not None
        if host in self.registries:
            why = f"{host} is allowed" + ("" if pinned else ", but a tag can move: pin it by digest")
            cure = "" if pinned else f"docker buildx imagetools inspect {reference}"
            return Need(kind=kind, name=reference, place=place, covered=pinned, why=why, cure=cure)
        if self.present(reference):
            why = "in the local store" if pinned else "in the local store, but by a tag that can move"
            cure = "" if pinned else "pin it by digest: name@sha256:…"
            return Need(kind=kind, name=reference, place=place, covered=True, why=why, cure=cure)
        cure = f"docker pull {reference} (online), docker save, docker load; or a named context oci-layout://…"
        return Need(kind=kind, name=reference, place=place, covered=False, why="not in the local store", cure=cure)


def _frontend(found: Dockerfile, args: Mapping[str, str], place: str, images: _Images) -> Iterator[Need]:
    for reference in (found.syntax, args.get("BUILDKIT_SYNTAX", "")):
        if reference:
            need = images.need(reference, f"{place}:1", kind="frontend")
            if not need.covered:
                cure = "remove the syntax line: the builder's own frontend needs no registry"
                need = Need(kind="frontend", name=reference, place=need.place, covered=False, why=need.why, cure=cure)
            yield need


def _contexts(target: Mapping[str, Any], contexts: Mapping[str, str], root: Path, images: _Images) -> Iterator[Need]:
    for name, value in {"context": str(target.get("context") or "."), **contexts}.items():
        place = f"context {name}"
        if value.startswith("target:"):
            continue
        if value.startswith("docker-image://"):
            yield images.need(value.removeprefix("docker-image://"), place)
        elif _REMOTE.search(value) and not value.startswith("oci-layout://"):
            cure = f"clone or unpack it, and name the directory: contexts: {{{name}: DIR}}"
            yield Need(
                kind="context", name=value, place=place, covered=False, why="fetched over the network", cure=cure
            )
        else:
            path = root / re.sub(r"[:@][^/]*$", "", value.removeprefix("oci-layout://").removeprefix("file://"))
            there = path.exists()
            why = "a local directory" if there else f"{path} is not there"
            cure = "" if there else f"make {path}"
            yield Need(kind="context", name=value, place=place, covered=there, why=why, cure=cure)


def _stages(
    found: Dockerfile, target: str, contexts: Mapping[str, str], place: str, images: _Images, network: str
) -> Iterator[Need]:
    replaced = frozenset(contexts)
    known = {stage.name for stage in found.stages} | replaced | {"scratch", "context", ""}
    for stage in found.needed(target, replaced=replaced):
        if stage.name in replaced:
            continue
        if stage.base.lower() not in known:
            yield images.need(stage.base, f"{place}:{stage.line}")
        for step in stage.steps:
            at = f"{place}:{step.line}"
            for source in step.sources:
                if source.lower() not in known and not source.isdigit():
                    yield images.need(source, at)
            if step.keyword == "ADD":
                for word in step.text.split()[:-1]:
                    if _REMOTE.search(word) or word.startswith("$"):
                        cure = f"give a named context {stage.name} that holds it"
                        yield Need(kind="remote file", name=word, place=at, covered=False, why="ADD fetches", cure=cure)
            if step.keyword == "RUN":
                yield from _step(step, at, network)


def _step(step: dockerfiles.Step, at: str, network: str) -> Iterator[Need]:
    if step.network == "host":
        cure = "remove --network=host"
        yield Need(
            kind="network step", name="RUN --network=host", place=at, covered=False, why="host network", cure=cure
        )
        return
    run = f"{step.text}\n{step.body}"
    fetches = _FETCH.search(run) or (_INSTALL.search(run) if "--no-index" not in run else None)
    isolated = network == "none" or step.network == "none"
    if not isolated:
        cure = "orchestrate build --air-gapped sets network = none for every step"
        why = "runs with a network"
        yield Need(kind="network step", name=step.text[:60], place=at, covered=False, why=why, cure=cure)
    elif fetches:
        name = fetches.group(0)
        why = "will find no network, if it comes to it"
        cure = "install in the base image, or from a named context with --no-index --find-links"
        yield Need(kind="network step", name=name, place=at, covered=False, certain=False, why=why, cure=cure)


def _cache(target: Mapping[str, Any], registries: Sequence[str]) -> Iterator[Need]:
    for attribute in ("cache-from", "cache-to"):
        for entry in target.get(attribute) or ():
            fields = (
                entry if isinstance(entry, dict) else dict(part.partition("=")[::2] for part in str(entry).split(","))
            )
            kind, ref = str(fields.get("type", "registry")), str(fields.get("ref", ""))
            host = ref.split("/", 1)[0]
            covered = kind in _LOCAL_CACHE or (kind == "registry" and host in registries)
            why = "local" if covered else "reaches a service outside"
            cure = "" if covered else "cache: {backend: local} or off"
            yield Need(kind="cache", name=ref or kind, place=attribute, covered=covered, why=why, cure=cure)


def _bundle(digest: str) -> Need:
    if digest:
        return Need(kind="bundle", name=digest, place="headers", covered=True, why="materialised and verified")
    cure = "orchestrate headers import BUNDLE.tar.zst"
    return Need(kind="bundle", name="FlashInfer headers", place="headers", covered=False, why="no bundle", cure=cure)
