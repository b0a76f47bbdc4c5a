"""Makes the content key of a variant: equal keys mean that a build gives the same image, as far as inputs can be seen.

In a key is what decides the content: every target of the variant's bake file with its arguments, labels and settings,
the instructions of the Dockerfiles, the files of the contexts, images by the reference that names them, secrets by
name. Not in it: tags, caches, outputs, labels that name a commit, resources, where a checkout is. What a network
gives while a step runs cannot be seen; `Inputs.unseen` names it.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from orchestrator.bake.closure import LINK
from orchestrator.dockerfile.directives import escape_character, syntax
from orchestrator.dockerfile.predefined import platform_args, predefined
from orchestrator.dockerfile.read import instructions
from orchestrator.dockerfile.stages import parse
from orchestrator.engine import buildx
from orchestrator.entries import read_entry
from orchestrator.errors import OrchestrateError
from orchestrator.labels import KEY, MATRIX
from orchestrator.redact import redact

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from orchestrator.bake.file import BakeFile
    from orchestrator.cache.contents import Contents, Listing
    from orchestrator.dockerfile.stages import Step
    from orchestrator.matrix.variants import Variant

SCHEMA = 1
"""Number of the key's form: a key of another one is never equal. Raised when what is in a key changes."""

MAX_JOBS = "max-jobs"
"""The secret with the compile jobs that a machine carries: it decides how long a build takes, and no content."""

_SETTINGS = ("target", "network", "extra-hosts", "attest", "annotations", "ssh")
"""Attributes of a target that decide its content, beside arguments, labels, Dockerfile, contexts and secrets."""

_COMMIT_LABELS = frozenset(
    f"org.opencontainers.image.{name}" for name in ("revision", "created", "ref.name", "version")
) | {MATRIX, KEY}
_IMAGE, _LAYOUT = "docker-image://", "oci-layout://"
_DIGEST = "@sha256:"
_PINNED_GIT = re.compile(r"#(?:[0-9a-f]{40}|[0-9a-f]{64})(?::|$)")
_REMOTE_FILE = re.compile(r"(?:https?|git|ssh)://|git@")
_MOST_UNSEEN = 4


class Member(Struct, frozen=True, kw_only=True):
    """What goes into one target: the variant's own, or one that it links to.

    Attributes:
        args: Build arguments.
        settings: Labels, stage, network, secrets and others, as text by name.
        contexts: Name -> digest of a directory, or the reference of an image; "" is the main context.
        dockerfile: Line and text of each instruction, here-documents in it.
        path: The Dockerfile, for messages.
    """

    args: Mapping[str, str]
    settings: Mapping[str, str]
    contexts: Mapping[str, str]
    dockerfile: tuple[tuple[int, str], ...]
    path: str

    def content(self) -> dict[str, Any]:
        """What the key is made from: no line numbers, no paths."""
        return {
            "args": dict(self.args),
            "settings": dict(self.settings),
            "contexts": dict(self.contexts),
            "dockerfile": [text for _, text in self.dockerfile],
        }


class Inputs(Struct, frozen=True, kw_only=True):
    """What goes into a variant.

    Attributes:
        members: Target of the project's bake files -> what goes into it; "" is the variant's own.
        listings: Member and context -> what it holds.
        unknown: Why the key is not known, "" where it is.
        unseen: What nobody can see before it happens: packages and files that steps fetch.
        bases: Images without a digest that stages start from, or that steps copy or mount from; they may move.
        pinned: Those with a digest.
    """

    members: Mapping[str, Member] = field(default_factory=dict)
    listings: Mapping[tuple[str, str], Listing] = field(default_factory=dict)
    unknown: str = ""
    unseen: tuple[str, ...] = ()
    bases: tuple[str, ...] = ()
    pinned: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The content key, `sha256:…`; "" where a part of the content is not known."""
        if self.unknown:
            return ""
        whole = {"schema": SCHEMA, "targets": {name: member.content() for name, member in self.members.items()}}
        text = json.dumps(whole, sort_keys=True, separators=(",", ":"))
        return f"sha256:{hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()}"

    @property
    def restored(self) -> str:
        """Stands for the files whose times do not tell that they changed, "" for none."""
        found = [[*place, listing.restored] for place, listing in sorted(self.listings.items()) if listing.restored]
        text = json.dumps(found).encode(errors="surrogatepass")
        return hashlib.sha256(text).hexdigest() if found else ""


def inputs(file: BakeFile, variant: Variant, root: Path, contents: Contents) -> Inputs:
    """Collect what goes into a variant.

    Args:
        file: Its bake file.
        variant: The variant.
        root: The directory that the file's paths are relative to.
        contents: Lists contexts.
    """
    reading = _Reading(file=file, variant=variant, root=root, contents=contents)
    try:
        for name in file.members:
            reading.member(name)
    except _UnknownError as error:
        return Inputs(unknown=redact(str(error)), listings=reading.listings)
    return Inputs(
        members=reading.members,
        listings=reading.listings,
        unseen=tuple(dict.fromkeys(reading.unseen)),
        bases=tuple(dict.fromkeys(base for base in reading.bases if _DIGEST not in base)),
        pinned=tuple(dict.fromkeys(base for base in reading.bases if _DIGEST in base)),
    )


class _UnknownError(Exception):
    """A part of a variant's content cannot be seen."""


class _Reading(Struct, kw_only=True):
    file: BakeFile
    variant: Variant
    root: Path
    contents: Contents
    members: dict[str, Member] = field(default_factory=dict)
    listings: dict[tuple[str, str], Listing] = field(default_factory=dict)
    unseen: list[str] = field(default_factory=list)
    bases: list[str] = field(default_factory=list)

    def member(self, name: str) -> None:
        """Read one target of the bake file."""
        target = self.file.members[name]
        origin = "" if name == self.file.target else self.file.origins.get(name, name)
        try:
            text, why = buildx.dockerfile(self.root, target)
        except OrchestrateError as error:  # the preflight reports it
            raise _UnknownError(str(error)) from error
        if text is None:
            raise _UnknownError(why)
        path = buildx.dockerfile_path(self.root, target)
        shown = str(path.relative_to(self.root)) if path and path.is_relative_to(self.root) else str(path or "inline")
        args = {
            key: str(value)
            for key, value in (target.get("args") or {}).items()
            if not _is_proxy(key) and value is not None
        }
        self.members[origin] = Member(
            args=args,
            settings=dict(self._settings(target, text)),
            contexts=dict(self._contexts(origin, target, _beside(path) if path else "")),
            dockerfile=tuple(instruction_texts(text)),
            path=shown,
        )
        if buildx.is_remote(str(target.get("context") or ".")):
            self._require_own_times(origin)
        self._outside(target, text, args, shown)

    def _require_own_times(self, origin: str) -> None:
        """Require that docker sees every change of the named contexts: `sent` renames no main context that is remote.

        Raises:
            _UnknownError: It may take a file for one that the builder holds.
        """
        for (member, name), listing in self.listings.items():
            if member == origin and listing.restored:
                raise _UnknownError(f"the context {name} holds files whose times were set, beside a remote context")

    def _settings(self, target: Mapping[str, Any], text: str) -> Iterator[tuple[str, str]]:
        if frontend := syntax(text):
            yield "syntax", frontend
        if (escape := escape_character(text)) != "\\":  # the same words mean something else
            yield "escape", escape
        commit = {name for name, value in self.variant.labels.items() if "{git." in value.template}
        for name, value in (target.get("labels") or {}).items():
            if name not in _COMMIT_LABELS | commit:
                yield f"label {name}", str(value)
        for secret in target.get("secret") or []:
            fields = read_entry(secret)
            name = fields.get("id") or fields.get("src") or fields.get("env") or "?"
            if name != MAX_JOBS:
                yield f"secret {name}", "present"
        for name in _SETTINGS:
            if value := target.get(name):
                yield name, value if isinstance(value, str) else json.dumps(value, sort_keys=True)

    def _contexts(self, origin: str, target: Mapping[str, Any], dockerfile: str) -> Iterator[tuple[str, str]]:
        yield "", self._context(origin, "", str(target.get("context") or "."), dockerfile)
        for name, value in (target.get("contexts") or {}).items():
            yield name, self._context(origin, name, str(value), "")

    def _context(self, origin: str, name: str, value: str, dockerfile: str) -> str:
        if value.startswith(LINK):
            return LINK + self.file.origins.get(value.removeprefix(LINK), value.removeprefix(LINK))
        if value.startswith(_IMAGE):
            return value
        if value.startswith(_LAYOUT):
            if "@sha256:" in value:
                return f"{_LAYOUT}{value.rpartition('@')[2]}"
            place, _, tag = value.removeprefix(_LAYOUT).partition(":")
            return f"{_LAYOUT}{self._directory(origin, name, place, '')}:{tag}"
        if buildx.is_remote(value):
            if _PINNED_GIT.search(value):
                return redact(value)
            raise _UnknownError(f"the context {value} is remote and names no commit")
        return self._directory(origin, name, value.removeprefix("cwd://"), dockerfile)

    def _directory(self, origin: str, name: str, value: str, dockerfile: str) -> str:
        listing = self.contents.of(value, dockerfile=dockerfile)
        self.listings[origin, name] = listing
        if listing.unknown:
            raise _UnknownError(f"the context {listing.unknown}")
        return f"sha256:{listing.digest}"

    def _outside(self, target: Mapping[str, Any], text: str, args: Mapping[str, str], shown: str) -> None:
        """Note what steps fetch and images that may move, of the stages that are built."""
        contexts = {name.lower(): str(value) for name, value in (target.get("contexts") or {}).items()}
        self.bases += [value.removeprefix(_IMAGE) for value in contexts.values() if value.startswith(_IMAGE)]
        read = parse(text, {**platform_args(self.variant.platform), **args}, replaced=contexts)
        for stage in read.needed(str(target.get("target") or ""), replaced=frozenset(contexts)):
            self.bases += [image for image, _ in read.images(stage, replaced=contexts.keys()) if "$" not in image]
            for step in stage.steps:
                calls = list(_fetches(step))
                if step.keyword == "ADD":
                    pinned = any(option.name == "checksum" for option in step.options)
                    calls += [word for word in step.words[:-1] if _REMOTE_FILE.match(word) and not pinned]
                self.unseen += [redact(f"{call} ({shown}:{step.line})") for call in calls]


@functools.lru_cache(maxsize=1024)  # the variants of a plan share the steps of a few Dockerfiles
def _fetches(step: Step) -> tuple[str, ...]:
    """The calls of a step that need a network."""
    from orchestrator.headers.steps import fetches, run_commands

    return tuple(call for command in run_commands(step) if (call := fetches(command)))


def _beside(path: Path) -> str:
    """A Dockerfile's place with the links of its directory followed.

    buildx looks for a `.dockerignore` beside a Dockerfile under the name that it is given, also where that is a link
    (measured, buildx 0.29).
    """
    return f"{os.path.realpath(path.parent)}/{path.name}"


def _is_proxy(name: str) -> bool:
    """Whether an argument is a proxy, which BuildKit keeps out of its own cache as well."""
    return predefined(name) and name.lower().endswith("_proxy")


def instruction_texts(text: str) -> Iterator[tuple[int, str]]:
    """Yield line and text of every instruction of a Dockerfile, here-documents in it; comments are in none."""
    for one in instructions(text):
        documents = "".join(f"\n{document.body}{document.name}" for document in one.documents)
        yield one.line, f"{one.text.strip()}{documents}"


def unseen_note(found: Inputs) -> str:
    """Return one sentence on what a key does not see, "" where it sees everything."""
    if not found.unseen:
        return ""
    more = len(found.unseen) - _MOST_UNSEEN
    names = ", ".join(found.unseen[:_MOST_UNSEEN])
    return f"not seen by the content key: {names}{f' and {more} more' if more > 0 else ''}"
