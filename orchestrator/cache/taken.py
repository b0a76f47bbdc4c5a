"""Tells whether inputs that changed can be in an image: a log that somebody writes into a context is in none.

A step can take what its Dockerfile names as source, so a file that no source can name changes nothing. What is not
certain counts: variables, wildcards, links, ONBUILD, every context but the main one.
"""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING

from msgspec.structs import replace

from orchestrator.cache.contents import Kind
from orchestrator.dockerfile.stages import parse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.cache.contents import Listing
    from orchestrator.cache.keys import Inputs, Member

_WILD = re.compile(r"[*?\[\\]")


def taken(before: Inputs, after: Inputs) -> bool:
    """Return whether an image may tell two readings of a variant's inputs apart."""
    if before.key == after.key:
        return False
    if before.unknown or after.unknown or before.members.keys() != after.members.keys():
        return True
    for name, member in after.members.items():
        if _without_main(before.members[name]) != _without_main(member):
            return True
        old, new = before.listings.get((name, "")), after.listings.get((name, ""))
        if old is not None and new is not None and _changed(old, new, member):
            return True
    return False


def _without_main(member: Member) -> object:
    return replace(member, contexts={**member.contexts, "": ""}).content()


def _changed(old: Listing, new: Listing, member: Member) -> bool:
    rows = [
        {(one.path, one.kind, one.executable, one.content) for one in listing.entries if one.kind is not Kind.DIRECTORY}
        for listing in (old, new)
    ]
    paths = {row[0] for row in rows[0] ^ rows[1]}
    links = [one.path for one in (*old.entries, *new.entries) if one.kind is Kind.LINK] if paths else []
    for source in _sources(member) if paths else ():
        if any(path.startswith(source) for path in paths):
            return True
        if any(link.startswith(source) or source.startswith(link) for link in links):  # to a place that is not known
            return True
    return False


def _sources(member: Member) -> Iterator[str]:
    """What paths begin with that a step of a Dockerfile can take from its main context."""
    for stage in parse("\n".join(text for _, text in member.dockerfile), member.args).stages:
        for step in stage.steps:
            if step.keyword == "ONBUILD":
                yield ""
            elif step.keyword in {"COPY", "ADD"} and not step.sources:
                yield from map(_start, step.words[:-1])
            elif step.keyword == "RUN":
                mounts = [option.fields for option in step.options if option.name == "mount"]
                binds = [one for one in mounts if one.get("type", "bind") == "bind" and not one.get("from")]
                yield from (_start(one.get("source") or one.get("src") or "") for one in binds)


def _start(source: str) -> str:
    """The part of a source that is the same in every path that it can name."""
    fixed = _WILD.split(source.partition("$")[0])[0]
    whole = posixpath.normpath(f"/{fixed}").lstrip("/")
    return f"{whole}/" if fixed == source and fixed.endswith("/") and whole else whole
