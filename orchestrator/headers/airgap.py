"""Everything that one variant's build fetches from outside, and whether something stands in for it.

Read from the resolved bake target and the Dockerfile before the build starts, so that a missing input is named with the
command that prepares it, instead of a step failing after an hour. Asks no network; the caller says which images the
local store has.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from orchestrator import reference
from orchestrator.dockerfile.commands import reached
from orchestrator.dockerfile.declared import declarations
from orchestrator.dockerfile.options import json_form
from orchestrator.dockerfile.predefined import platform_args
from orchestrator.dockerfile.stages import parse
from orchestrator.dockerfile.words import substitute
from orchestrator.entries import read_entry
from orchestrator.headers.followed import Tree, accesses, copied
from orchestrator.headers.steps import run_commands

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from orchestrator.dockerfile.stages import Dockerfile, Stage, Step

_REMOTE = re.compile(r"(?:https?|git|ssh)://|github\.com/|[\w.-]+@[\w.-]+:|\S*\.git(?:#|$)", re.ASCII)
_MOST_SCRIPT = 1 << 20
_LOCAL_CACHE = ("local", "inline")


class Need(Struct, frozen=True, kw_only=True):
    """One thing from outside.

    Attributes:
        kind: `frontend`, `base image`, `context`, `remote file`, `cache`, `network step` or `bundle`.
        name: The thing.
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


class Surroundings(Struct, frozen=True, kw_only=True):
    """What a build may use.

    Attributes:
        root: Directory that relative paths of the target start from.
        image_present: Whether the local store has an image reference.
        registries: Registry hosts that the build may still reach (`127.0.0.1:5000`).
        place: The Dockerfile's name in messages.
        wheelhouse: Named context of a wheelhouse that the build is given, "" for none.
    """

    root: Path
    image_present: Callable[[str], bool]
    registries: Sequence[str] = ()
    place: str = "Dockerfile"
    wheelhouse: str = ""


def needs(target: Mapping[str, Any], text: str, around: Surroundings, *, bundle: str | None = None) -> tuple[Need, ...]:
    """Everything that a build fetches.

    Args:
        target: The resolved bake target (`docker buildx bake --print`), with contexts and arguments injected.
        text: Its Dockerfile.
        around: What the build may use.
        bundle: Digest of the FlashInfer bundle that is injected, "" where the variant carries one and there is none,
            None where it carries none.

    Returns:
        Covered and uncovered needs, in the order in which a build meets them.
    """
    found = _Search(target, text, around)
    listed = [*found.frontends(), *found.contexts(), *found.stages(), *found.caches()]
    if bundle is not None:
        listed.append(_bundle(bundle))
    unique = {(need.kind, need.name, need.place): need for need in listed}
    return tuple(unique.values())


def missing(found: Sequence[Need]) -> tuple[Need, ...]:
    """Return the needs that must be covered before the build starts."""
    return tuple(need for need in found if need.certain and not need.covered)


class _Search:
    """One look at a target and its Dockerfile."""

    def __init__(self, target: Mapping[str, Any], text: str, around: Surroundings) -> None:
        self.target = target
        self.around = around
        self.followed: set[tuple[str, str, str]] = set()
        self.args = {str(name): str(value) for name, value in (target.get("args") or {}).items() if value is not None}
        self.named = {str(name).lower(): str(value) for name, value in (target.get("contexts") or {}).items()}
        platforms = list(target.get("platforms") or [""])
        self.file: Dockerfile = parse(text, {**platform_args(str(platforms[0])), **self.args}, replaced=self.named)
        self.defaults = {one.name: one.found.value for one in declarations(text) if one.found is not None}
        self.registries = frozenset(map(_host, around.registries))
        self.network = str(target.get("network") or "")
        inline = {path.rsplit("/", 1)[-1]: text for path, text in self.file.scripts.items()}
        self.tree = Tree(read=self._context_text, inline=inline, copied=copied(self.file))

    def image(self, text: str, place: str, kind: str = "base image") -> Need:
        """Return whether an image can be had."""
        try:
            named = reference.parse(text)
        except reference.InvalidReferenceError as error:
            return Need(kind=kind, name=text, place=place, covered=False, why=error.message, cure=error.hint)
        if named.repository.host in self.registries:
            tag = "" if named.pinned else ", but a tag can move: pin it by digest"
            why = f"{named.repository.host} is allowed{tag}"
            cure = "" if named.pinned else f"docker buildx imagetools inspect {text}"
            return Need(kind=kind, name=text, place=place, covered=named.pinned, why=why, cure=cure)
        if self.around.image_present(text):
            why = "in the local store" if named.pinned else "in the local store, but by a tag that can move"
            cure = "" if named.pinned else "pin it by digest: name@sha256:…"
            return Need(kind=kind, name=text, place=place, covered=True, why=why, cure=cure)
        cure = f"docker pull {text} (online), docker save, docker load; or a named context oci-layout://…"
        return Need(kind=kind, name=text, place=place, covered=False, why="not in the local store", cure=cure)

    def frontends(self) -> Iterator[Need]:
        """Yield the frontend that the file or an argument asks for."""
        for text in (self.file.syntax, self.args.get("BUILDKIT_SYNTAX", "")):
            if text:
                need = self.image(text, f"{self.around.place}:1", kind="frontend")
                if not need.covered:
                    cure = "remove the syntax line: the builder's own frontend needs no registry"
                    need = Need(kind="frontend", name=text, place=need.place, covered=False, why=need.why, cure=cure)
                yield need

    def contexts(self) -> Iterator[Need]:
        """Yield the build context and the named ones."""
        for name, value in {"context": str(self.target.get("context") or "."), **self.named}.items():
            place = f"context {name}"
            if value.startswith("target:"):
                continue
            if value.startswith("docker-image://"):
                yield self.image(value.removeprefix("docker-image://"), place)
            elif _REMOTE.match(value):
                cure = f"clone or unpack it, and name the directory: contexts: {{{name}: DIR}}"
                why = "fetched over the network"
                yield Need(kind="context", name=value, place=place, covered=False, why=why, cure=cure)
            else:
                path = self.around.root / _local_path(value)
                there = path.exists()
                why = "a local directory" if there else f"{path} was not found"
                cure = "" if there else f"create {path}"
                yield Need(kind="context", name=value, place=place, covered=there, why=why, cure=cure)

    def stages(self) -> Iterator[Need]:
        """Base images, files and network steps of the stages that the target is built from."""
        for stage in self.file.needed(str(self.target.get("target") or ""), replaced=self.named.keys()):
            for image, line in self.file.images(stage, replaced=self.named.keys()):
                yield self.image(image, f"{self.around.place}:{line}")
            for step in stage.steps:
                place = f"{self.around.place}:{step.line}"
                if step.keyword == "ADD":
                    yield from self._added(stage, step, place)
                elif step.keyword == "RUN":
                    yield from self._run(stage, step, place)

    def _added(self, stage: Stage, step: Step, place: str) -> Iterator[Need]:
        for word in (json_form(step.text) or list(step.words))[:-1]:
            value = substitute(word, lambda name: self.args.get(name, self.defaults.get(name)), unset=None)
            if _REMOTE.match(value) or value.startswith("$"):
                cure = f"give a named context {stage.name} that holds it"
                yield Need(kind="remote file", name=value, place=place, covered=False, why="ADD fetches", cure=cure)

    def _run(self, stage: Stage, step: Step, place: str) -> Iterator[Need]:
        if step.network == "host":
            name, why, cure = "RUN --network=host", "host network", "remove --network=host"
            yield Need(kind="network step", name=name, place=place, covered=False, why=why, cure=cure)
            return
        if "none" not in (self.network, step.network):
            name = (step.text or "RUN")[:60]
            cure = "orchestrate build --air-gapped sets network = none for every step"
            yield Need(kind="network step", name=name, place=place, covered=False, why="runs with a network", cure=cure)
        near = place if stage.name.isdigit() else f"{place} ({stage.name})"
        for name, script in dict.fromkeys(accesses(reached(run_commands(step)), self.tree)):
            if script and (stage.name, name, script) in self.followed:  # a script that every step sources
                continue
            self.followed.add((stage.name, name, script))
            inside = f" in {script}" if script else ""
            if self.around.wheelhouse.lower() in map(str.lower, step.sources) and _PACKAGES.search(name):
                why = "installs from the wheelhouse"
                yield Need(kind="network step", name=f"{name}{inside}", place=near, covered=True, why=why)
                continue
            yield Need(
                kind="network step", name=f"{name}{inside}", place=near,
                covered=False, certain=False, why="may need the network", cure=cure_of(name),
            )  # fmt: skip

    def _context_text(self, path: str) -> str:
        """Return a text file of the local build context, "" where there is none."""
        context = str(self.target.get("context") or ".")
        if _REMOTE.match(context) or context.startswith(("target:", "docker-image://")):
            return ""
        root = (self.around.root / _local_path(context)).resolve()
        file = (root / path).resolve()
        try:
            if not file.is_relative_to(root) or not file.is_file() or file.stat().st_size > _MOST_SCRIPT:
                return ""
            return file.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    def caches(self) -> Iterator[Need]:
        """Build caches that are read or written."""
        for attribute in ("cache-from", "cache-to"):
            for entry in self.target.get(attribute) or ():
                fields = _cache_fields(entry)
                kind, ref = fields.get("type", "registry"), fields.get("ref", "")
                near = kind == "registry" and reference.host_of(ref) in self.registries
                covered = kind in _LOCAL_CACHE or near
                why = "local" if covered else "reaches a service outside"
                cure = "" if covered else "cache: {backend: local} or off"
                yield Need(kind="cache", name=ref or kind, place=attribute, covered=covered, why=why, cure=cure)


def cure_of(access: str) -> str:
    """Return what stands in for a network access: a prepared base, a named context, a mirror."""
    for pattern, cure in _CURES:
        if re.search(pattern, access):
            return cure
    return "prepare it in the base image, or give it as a named context"


_PACKAGES = re.compile(r"^(?:pip[\d.]*|uv pip|uv tool) |build isolation")
"""Accesses that a wheelhouse satisfies."""

_CURES = (
    (r"^uv (?:venv|python)", "a base image that has the interpreter"),
    (r"^flashinfer ", "headers: of tier cubins, or the package's wheel in a wheelhouse (wheels:)"),
    (r"pip|^uv|^python|^poetry|^pdm|^pixi|build isolation",
     "a wheelhouse (wheels: in matrix.yaml), or an index mirror (PIP_INDEX_URL)"),
    (r"^(?:apt|dnf|yum|microdnf|apk|zypper|add-apt|conda|mamba|micromamba)",
     "a base image that has the packages, or a package mirror"),
    (r"^git|FetchContent|^svn", "a clone as a named context (FETCHCONTENT_SOURCE_DIR_<NAME> for CMake)"),
    (r"^(?:cargo|maturin)", "vendored crates (cargo vendor) and --offline"),
    (r"^rustup", "a base image that has the toolchain"),
    (r"^(?:npm|npx|pnpm|yarn)", "an offline cache as a named context, or a mirror (npm_config_registry)"),
    (r"^go ", "vendored modules (go mod vendor), or a proxy (GOPROXY)"),
    (r"^(?:curl|wget|aria2c|url|requests|httpx)|urlopen|urlretrieve|_download$",
     "the file as a named context, or a mirror argument"),
)  # fmt: skip


def _host(registry: str) -> str:
    """Return a registry's host as references have it: `index.docker.io` and `docker.io` are one."""
    return reference.host_of(f"{registry}/any/image") or registry


def _local_path(context: str) -> str:
    """Return the directory of a local context, the tag or digest of an OCI layout left out."""
    if context.startswith("oci-layout://"):
        return reference.layout_directory(context)
    return context.removeprefix("file://")


def _cache_fields(entry: Any) -> dict[str, str]:
    if isinstance(entry, str) and "=" not in entry:  # the short form of a cache: an image
        return {"type": "registry", "ref": entry}
    return read_entry(entry)


def _bundle(digest: str) -> Need:
    if digest:
        return Need(kind="bundle", name=digest, place="headers", covered=True, why="materialised and verified")
    cure = "orchestrate headers import BUNDLE.tar.zst"
    return Need(kind="bundle", name="FlashInfer headers", place="headers", covered=False, why="no bundle", cure=cure)
