"""Names the cache references of a build: those that it reads, in order, and those that it writes.

Each branch and each pull request has a reference of its own beside main's, so that none overwrites another's. A build
reads its own first, then that of the branch it goes to, then main's. Pull requests write into a repository of their
own. What a build may do is `Standing`; where that comes from is not known here.
"""

from __future__ import annotations

import hashlib
import re
from enum import StrEnum
from typing import TYPE_CHECKING

from msgspec import Struct

from orchestrator.reference import MAX_TAG

if TYPE_CHECKING:
    from collections.abc import Iterator

_UNFIT = re.compile(r"[^A-Za-z0-9_.-]+")
_COMMIT = 12  # digits of a commit in a reference


class Kind(StrEnum):
    """Whose reference it is."""

    MAIN = "main"
    BRANCH = "branch"
    TAG = "tag"
    PULL_REQUEST = "pull request"
    COMMIT = "commit"


class Scope(Struct, frozen=True, kw_only=True):
    """Whose cache.

    Attributes:
        kind: A branch's, a pull request's…
        name: The name of the branch or tag, the number of the pull request, the digits of the commit.
    """

    kind: Kind
    name: str = ""

    @property
    def suffix(self) -> str:
        """What the reference has behind main's; two names never give one suffix."""
        match self.kind:
            case Kind.MAIN:
                return ""
            case Kind.PULL_REQUEST:
                return f"-pr-{_fit(self.name)}"
            case Kind.COMMIT:
                return f"-commit-{_fit(self.name[:_COMMIT])}"
            case _:
                return f"-{self.kind}-{_fit(self.name)}"

    def __str__(self) -> str:
        return f"{self.kind} {self.name}".strip()


MAIN = Scope(kind=Kind.MAIN)


class Standing(Struct, frozen=True, kw_only=True):
    """Where a build stands, and what it may do with caches.

    Attributes:
        own: Whose cache it writes, and reads first.
        below: Whose it reads next, in order.
        also: Whose it writes besides.
        unread: Why it reads none, "" where it reads.
        unwritten: Why it writes none, "" where it writes.
    """

    own: Scope = MAIN
    below: tuple[Scope, ...] = ()
    also: tuple[Scope, ...] = ()
    unread: str = ""
    unwritten: str = ""


class Names(Struct, frozen=True, kw_only=True):
    """The references that the matrix gives to a variant.

    Attributes:
        ref: Main's.
        pull_request: What those of pull requests begin with, "" for `-pr` behind the repository of `ref`.
        more: Further ones to read, in order.
        tagged: Whether they are image references, whose tag has at most 128 characters.
    """

    ref: str
    pull_request: str = ""
    more: tuple[str, ...] = ()
    tagged: bool = True

    def of(self, scope: Scope) -> str:
        """Return the reference of a scope."""
        base = (self.pull_request or _beside(self.ref)) if scope.kind is Kind.PULL_REQUEST else self.ref
        return _suffixed(base, scope.suffix, tagged=self.tagged) if scope.suffix else base


class Rung(Struct, frozen=True, kw_only=True):
    """One reference of a ladder, and whose it is (as it is shown)."""

    ref: str
    whose: str


class Ladder(Struct, frozen=True, kw_only=True):
    """The references of one build of one variant.

    Attributes:
        read: In the order in which they are asked.
        write: Those that are written.
    """

    read: tuple[Rung, ...] = ()
    write: tuple[Rung, ...] = ()


def ladder(names: Names, standing: Standing) -> Ladder:
    """Return the references that a build reads and writes, each once."""
    read: dict[str, str] = {}
    if not standing.unread:
        for scope in (standing.own, *standing.below):
            read.setdefault(names.of(scope), str(scope))
        for ref in names.more:
            read.setdefault(ref, "cache.read")
    write = {names.of(scope): str(scope) for scope in (standing.own, *standing.also)} if not standing.unwritten else {}
    return Ladder(
        read=tuple(Rung(ref=ref, whose=whose) for ref, whose in read.items()),
        write=tuple(Rung(ref=ref, whose=whose) for ref, whose in write.items()),
    )


def explained(found: Ladder, standing: Standing) -> Iterator[str]:
    """Yield one line for each reference, and the reason where none is read or written."""
    for word, rungs, why in (("read", found.read, standing.unread), ("write", found.write, standing.unwritten)):
        for rung in rungs:
            yield f"{word:<5} {rung.ref}    {rung.whose}"
        if not rungs:
            yield f"{word:<5} nothing{f': {why}' if why else ''}"


def _fit(name: str) -> str:
    """A name as part of a tag; one that had to be changed gets a digest, so that `a/b` and `a-b` stay two."""
    fit = _UNFIT.sub("-", name)
    return fit if fit == name else f"{fit}-{_digest(name)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _beside(ref: str) -> str:
    """The same reference in the repository of pull requests."""
    head, tag = _split(ref)
    return f"{head}-pr:{tag}" if tag else f"{ref}-pr"


def _suffixed(ref: str, suffix: str, *, tagged: bool) -> str:
    head, tag = _split(ref)
    if not tagged:
        return f"{ref}{suffix}"
    whole = f"{tag}{suffix}" if tag else suffix.lstrip("-")
    if len(whole) > MAX_TAG:
        whole = f"{whole[: MAX_TAG - 9]}-{_digest(whole)}"
    return f"{head}:{whole}"


def _split(ref: str) -> tuple[str, str]:
    head, colon, tag = ref.rpartition(":")
    return (head, tag) if colon and "/" not in tag else (ref, "")
