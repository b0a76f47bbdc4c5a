"""Decides which variants need no build: for `--resume` what their tags name, for `--changed` what their key names.

No matter who built it, or where: an image carries the content key that it was built from, so a fresh machine without a
journal decides as well as the one that built. Each variant that is built after all says why in one line.
"""

from __future__ import annotations

import hashlib
import json
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Self

from msgspec import Struct, field

from orchestrator import reference
from orchestrator.engine import beyond
from orchestrator.errors import InterruptedRunError, OrchestrateError
from orchestrator.labels import KEY
from orchestrator.redact import redact
from orchestrator.reference import Digest, Tag
from orchestrator.registry.clients import Clients
from orchestrator.registry.manifests import ATTESTATION
from orchestrator.runs.outcome import Outcome, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from orchestrator.bake.file import Output
    from orchestrator.reference import Repository
    from orchestrator.registry.client import Registry
    from orchestrator.registry.manifests import Manifest
    from orchestrator.runs.journal import Entry, Journal


class Result(StrEnum):
    """What there is of a variant."""

    THERE = "there"
    OTHER = "other"
    NONE = "none"
    UNKNOWN = "unknown"


class Decision(Struct, frozen=True, kw_only=True):
    """Whether a variant is built.

    Attributes:
        outcome: Of a variant that need not be built; None for one that is built.
        why: Why it is built, one line; "" for no remark.
        result: What is there of it: this one, one of other inputs, none, or nobody knows.
    """

    outcome: Outcome | None = None
    why: str = ""
    result: Result = Result.UNKNOWN


class Wanted(Struct, frozen=True, kw_only=True):
    """What a variant is to be.

    Attributes:
        id: The variant.
        key: Its content key, "" where it is not known.
        unknown: Why the key is not known.
        unseen: What the key does not see, in one sentence, "" for nothing.
        tags: Full references that it gets.
        repositories: Repository -> those of the tags that are in it; at least one repository.
        since: Tells from the journal what changed since the variant was last built, "" where that is not known.
        stale: Tells why an image of this key is too old all the same (a base moved, its age), "" where it is not. It is
            asked with the journal's entry of the build that made the image, None where the journal has none.
        uncompared: Tells which bases could not be compared for that, "" for none; asked in the same way.
        promised: Digest of what its image must have been verified for (`proof.promise`), "" where nothing is verified.
    """

    id: str
    key: str
    unknown: str = ""
    unseen: str = ""
    tags: tuple[str, ...] = ()
    repositories: Mapping[str, Sequence[str]] = field(default_factory=dict)
    since: Callable[[Journal], str] = lambda _: ""
    stale: Callable[[Entry | None], str] = lambda _: ""
    uncompared: Callable[[Entry | None], str] = lambda _: ""
    promised: str = ""


class Resume:
    """The decisions of one run; a context manager, safe to share between threads.

    Args:
        output: Where results go.
        changed: Whether an image is looked for under its key and given the tags (`--changed`), not under the tags.
        connect: Makes the client of a repository.
    """

    def __init__(
        self, output: Output, *, changed: bool = False, connect: Callable[[Repository], Registry] | None = None
    ) -> None:
        self._output = output
        self._changed = changed
        self._clients = Clients(connect=connect)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._clients.close()

    def decide(self, wanted: Wanted, journal: Journal) -> Decision:
        """Decide about one variant.

        Raises:
            InterruptedRunError: A stop was asked for.
        """
        if not wanted.key:
            return Decision(why=f"its inputs are not known: {wanted.unknown}")
        entry = journal.built(wanted.id, wanted.key)
        try:
            found = self._found(wanted, entry, journal)
            if isinstance(found, _Found):
                # What is there need not be what was built last: another machine pushed it, or another output got that.
                made = journal.made(wanted.id, wanted.key, found.digest) if found.digest else entry
                stale = wanted.stale(made)
                if not stale:
                    return Decision(outcome=self._skipped(wanted, found, made), result=Result.THERE)
                return Decision(why=stale, result=Result.OTHER)
        except InterruptedRunError:
            raise
        except OrchestrateError as error:
            return Decision(why=f"{error.message.splitlines()[0]}")
        since = wanted.since(journal) if entry is None else ""
        return Decision(why=redact(f"{found.why}; {since}" if since else found.why), result=found.result)

    # -- where a result is ------------------------------------------------------------------------------------------

    def _found(self, wanted: Wanted, entry: Entry | None, journal: Journal) -> _Found | _Lack:
        """The result that is there, or why there is none; with the journal's entry for these inputs."""
        if self._output.push:
            return self._pushed_key(wanted) if self._changed else self._pushed(wanted, entry)
        if wanted.promised:  # nothing says so but a registry
            return _other("whether what is there was verified is not known")
        if self._output.load:
            return _loaded(wanted, journal.digests(wanted.id, wanted.key))
        archive = self._output.archive(wanted.id)
        if archive is not None:
            return _archived(archive, entry)
        return _Found(digest=entry.digest) if entry is not None else _none("was not built from these inputs here")

    def _pushed(self, wanted: Wanted, entry: Entry | None) -> _Found | _Lack:
        if not wanted.tags:
            digest = entry.digest if entry is not None else None
            if digest is None:
                return _none("has no tags, and its digest is not in the journal")
            held = {repository: self._manifest(repository, digest) for repository in wanted.repositories}
            if not all(held.values()):
                return _none(f"{digest} was not found in the registry")
            return self._unverified(wanted, held) or _Found(digest=digest)
        digests: dict[str, None] = {}
        there: dict[str, Manifest | None] = {}
        missing: list[str] = []
        for repository, tags in wanted.repositories.items():
            for tag in tags:
                manifest = self._manifest(repository, tag.rpartition(":")[2])
                if manifest is None:
                    missing.append(tag)
                    continue
                if problem := _other_key(tag, key_of(manifest), wanted.key):
                    return problem
                digests[str(manifest.digest)] = None
                there[repository] = manifest
        if missing:
            why = f"{missing[0]} was not found in the registry"
            return _other(why) if digests else _none(why)
        if len(digests) > 1:
            return _other(f"its tags name {len(digests)} different digests")
        return self._unverified(wanted, there) or _Found(digest=next(iter(digests)))

    def _pushed_key(self, wanted: Wanted) -> _Found | _Lack:
        """The image under the tag of its key, in every repository; its tags are moved to it."""
        name = key_tag(wanted.key)
        found: dict[str, Manifest] = {}
        for repository in wanted.repositories:
            manifest = self._manifest(repository, name)
            if manifest is None:
                return _none(f"no image in {repository} was built from these inputs")
            if problem := _other_key(f"{repository}:{name}", key_of(manifest), wanted.key):
                return problem
            found[repository] = manifest
        if len({manifest.digest for manifest in found.values()}) > 1:
            return _other("its repositories hold different images of these inputs")
        if problem := self._unverified(wanted, found):
            return problem
        moved = []
        for repository, manifest in found.items():
            moved += [tag for tag in wanted.repositories[repository] if self._moved(repository, tag, manifest)]
        return _Found(digest=str(next(iter(found.values())).digest), moved=tuple(moved))

    def _unverified(self, wanted: Wanted, found: Mapping[str, Manifest | None]) -> _Lack | None:
        """Why images (by repository) do not count as verified, None where they do or need not be."""
        from orchestrator.runs.proof import proven, pushed_image

        for repository, manifest in found.items() if wanted.promised else ():
            image = pushed_image(manifest) if manifest is not None else None
            if image is None or not proven(self._registry(repository), image, wanted.promised):
                return _other(f"nothing in {repository} says that it was verified for what is promised now")
        return None

    def _moved(self, repository: str, tag: str, manifest: Manifest) -> bool:
        """Point a tag at a manifest of its repository; False where it does already."""
        name = Tag(tag.rpartition(":")[2])
        registry = self._registry(repository)
        there = registry.head(name)
        if there is not None and there.digest == manifest.digest:
            return False
        registry.put_manifest(manifest, name)
        return True

    def remember(self, wanted: Wanted, digest: str) -> str:
        """With `--changed`, let the tag of a key name what was built from it; return what went wrong, or ""."""
        if not (self._changed and wanted.key):
            return ""
        try:
            for repository in wanted.repositories:
                manifest = self._manifest(repository, digest)
                if manifest is not None and key_of(manifest) == wanted.key:
                    self._registry(repository).put_manifest(manifest, Tag(key_tag(wanted.key)))
        except InterruptedRunError:
            raise
        except OrchestrateError as error:
            return f"the tag {key_tag(wanted.key)[:16]}… was not set, --changed will build it again: {error.message}"
        return ""

    def _manifest(self, repository: str, selector: str) -> Manifest | None:
        from orchestrator.registry.errors import NotFoundError

        named: Tag | Digest = Digest(selector) if ":" in selector else Tag(selector)
        try:
            return self._registry(repository).manifest(named)
        except NotFoundError:
            return None

    def _registry(self, text: str) -> Registry:
        return self._clients.of(reference.repository(text))

    def _skipped(self, wanted: Wanted, found: _Found, entry: Entry | None) -> Outcome:
        when = f" at {entry.at}" if entry is not None else ""
        option = "--changed" if self._changed else "--resume"
        notes = [f"built from the same inputs{when}; not built again ({option})"]
        notes += [f"{tag} now names it" for tag in found.moved]
        notes += [note for note in (wanted.unseen, wanted.uncompared(entry)) if note]
        return Outcome(
            id=wanted.id,
            status=Status.SKIPPED,
            digest=found.digest,
            key=wanted.key,
            tags=wanted.tags if self._output.push or self._output.load else (),
            size=entry.size if entry is not None else 0,
            notes=tuple(notes),
        )


class _Found(Struct, frozen=True, kw_only=True):
    """A result that is there."""

    digest: str | None
    moved: tuple[str, ...] = ()


class _Lack(Struct, frozen=True, kw_only=True):
    """Why a result is not there."""

    why: str
    result: Result


def _none(why: str) -> _Lack:
    return _Lack(why=why, result=Result.NONE)


def _other(why: str) -> _Lack:
    return _Lack(why=why, result=Result.OTHER)


def key_tag(key: str) -> str:
    """Return the tag under which a registry keeps what was built from a key."""
    return f"key-{key.partition(':')[2]}"


def key_of(manifest: Manifest) -> str:
    """Return the content key that an image carries, "" for none.

    A variant has one platform: an index of several images is none, whatever keys they carry.
    """
    entries: Any = [one for one in manifest.content.get("manifests") or () if isinstance(one, dict)]
    images = [one for one in entries if ATTESTATION not in _annotations(one)]
    for holder in (manifest.content, *images) if len(images) < 2 else ():
        if key := _annotations(holder).get(KEY):
            return str(key)
    return ""


def _annotations(holder: Mapping[str, Any]) -> Mapping[str, Any]:
    found = holder.get("annotations")
    return found if isinstance(found, dict) else {}


def _other_key(name: str, found: str, wanted: str) -> _Lack | None:
    if not found:
        return _other(f"{name} carries no content key")
    return None if found == wanted else _other(f"{name} was built from other inputs")


def _loaded(wanted: Wanted, built: frozenset[str]) -> _Found | _Lack:
    """The image that the engine has under every tag.

    An image that somebody makes FROM it has its labels, the key among them: only what was built here tells them apart.
    """
    if not wanted.tags:
        return _none("has no tags to find it by in the engine")
    done = beyond.inspect_images(wanted.tags)
    try:
        images = json.loads(done.stdout) if done.ok else []
        found = [
            (
                (image.get("Descriptor") or {}).get("digest") or image.get("Id"),
                (image.get("Config") or {}).get("Labels"),
            )
            for image in images
        ]
        keys = [str((labels or {}).get(KEY) or "") for _, labels in found]
    except (ValueError, AttributeError, TypeError):
        return _Lack(why="the engine's answer is not readable", result=Result.UNKNOWN)
    if len(found) != len(wanted.tags):
        return _none("the engine does not have all of its tags")
    for tag, key in zip(wanted.tags, keys, strict=True):
        if problem := _other_key(tag, key, wanted.key):
            return problem
    digests = {digest for digest, _ in found}
    if len(digests) > 1:
        return _other("its tags name different images")
    if built and not digests & built:
        return _other(f"{wanted.tags[0]} is another image than the one that was built here")
    return _Found(digest=found[0][0])


def _archived(path: Path, entry: Entry | None) -> _Found | _Lack:
    """The archive, if it is the one that was written: by size and time, else by its content."""
    if not path.is_file():
        return _none(f"{path} was not found")
    if entry is None or not entry.sha256:
        return _other(f"{path} is not in the journal with these inputs")
    found = path.stat()
    if found.st_size != entry.size:
        return _other(f"{path} does not match: expected {entry.size} bytes, found {found.st_size}")
    if found.st_mtime_ns != entry.mtime_ns:
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        if digest != entry.sha256:
            return _other(f"{path} does not match what was built: its content changed")
    return _Found(digest=entry.digest)
