"""Says why a step was not taken from the cache: the first step that ran, and what changed since the last success.

BuildKit's vertex digests differ from run to run, so they explain nothing (measured over five builds of one Dockerfile);
the names of steps and their cached flags are stable, and what goes into a variant is ours to compare (`keys.Inputs`).
BuildKit's cache sees more than a content key: mode bits, empty directories and `.git`, where they are transferred.
"""

from __future__ import annotations

import difflib
import fnmatch
import re
from enum import StrEnum
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from orchestrator.redact import redact
from orchestrator.untrusted import clean

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from orchestrator.cache.contents import Entry, Listing
    from orchestrator.cache.keys import Inputs, Member

_STEP = re.compile(r"\[(?P<where>[^\]]*)\] (?P<keyword>[A-Z]+)\b(?P<rest>.*)", re.DOTALL)
_WIDTH = 160
_MOST = 20


class What(StrEnum):
    """What changed."""

    ARGUMENT = "argument"
    BUNDLE = "bundle"
    FILE = "file"
    MODE = "mode"
    IGNORE = "dockerignore"
    GIT = "git"
    STATE = "state"
    DOCKERFILE = "dockerfile"
    IMAGE = "image"
    BASE = "base"
    SETTING = "setting"
    TARGET = "target"


NOT_IN_KEY = frozenset({What.GIT, What.STATE})
"""What a builder sees and a content key does not hold."""
_OF_FILES = frozenset({What.FILE, What.MODE, What.IGNORE, *NOT_IN_KEY})
_ORDER: Mapping[str, tuple[What, ...]] = {
    "COPY": (
        What.IGNORE,
        What.FILE,
        What.MODE,
        What.BUNDLE,
        What.TARGET,
        What.IMAGE,
        What.GIT,
        What.DOCKERFILE,
        What.BASE,
        What.ARGUMENT,
    ),
    "RUN": (What.DOCKERFILE, What.ARGUMENT, What.BUNDLE, What.BASE, What.IMAGE, What.TARGET, What.SETTING),
}
"""By the keyword of the step that ran: which changes make such a step run, the likeliest first."""


class Cause(Struct, frozen=True, kw_only=True):
    """One input that changed.

    Attributes:
        what: Its kind.
        subject: The file, the argument, the line of a Dockerfile.
        text: What changed, in words.
        context: Of a file the named context that it is in, in lower case; "" for the main one.
        target: Of a file the linked target whose context that is, "" for the variant's own.
    """

    what: What
    subject: str
    text: str
    context: str = ""
    target: str = ""


def causes(old: Inputs, new: Inputs, bases: tuple[Mapping[str, str], Mapping[str, str]] = ({}, {})) -> list[Cause]:
    """Return what changed between two builds of a variant.

    Args:
        old: What went into the earlier one.
        new: What went into the later one.
        bases: Image -> digest that each started from.
    """
    found: list[Cause] = []
    for name, member in new.members.items():
        where = f"linked target {name}: " if name else ""
        before = old.members.get(name)
        if before is None:
            found.append(Cause(what=What.TARGET, subject=name, text=f"the linked target {name} is new"))
            continue
        found += _values(before, member, where)
        found += _lines(before, member, where)
    found += [
        Cause(what=What.TARGET, subject=name, text=f"the linked target {name} is gone")
        for name in old.members.keys() - new.members.keys()
    ]
    for place, listing in new.listings.items():
        known = old.listings.get(place)
        context = f"context {place[1]}: " if place[1] else ""
        where = f"linked target {place[0]}: {context}" if place[0] else context
        files = _listed(known, listing, where) if known is not None else ()
        found += [replace(cause, context=place[1].lower(), target=place[0]) for cause in files]
    earlier, later = bases
    for image in earlier.keys() & later.keys():
        if earlier[image] != later[image]:
            text = f"the base {image} moved from {earlier[image][:19]} to {later[image][:19]}"
            found.append(Cause(what=What.BASE, subject=image, text=text))
    return found


def sentence(step: str, found: list[Cause], *, last: str) -> str:
    """Return one sentence on why the first step that ran was not in the cache.

    Args:
        step: The step as BuildKit names it, "" where every step came from the cache.
        found: What changed.
        last: When the variant was last built, "" where the journal does not know.
    """
    if not step:
        return "every step came from the cache"
    shown = _short(step)
    if not last:
        return f"{shown} ran: the journal has no earlier success of this variant to compare with"
    ordered = ranked(step, found)
    if not ordered:
        return f"{shown} ran although nothing changed since {last}: the cache does not hold it any more"
    more = f" (and {len(ordered) - 1} more)" if len(ordered) > 1 else ""
    return f"{shown} ran because {ordered[0].text}{more}"


def ranked(step: str, found: list[Cause]) -> list[Cause]:
    """Return the changes with the one that makes this step run first."""
    parts = _STEP.match(step)
    keyword, rest = (parts["keyword"], parts["rest"]) if parts else ("", "")
    order = _ORDER.get("COPY" if keyword == "ADD" else keyword, ())

    def rank(cause: Cause) -> tuple[bool, bool, int, bool]:
        fits = _concerns(cause, keyword, rest)
        likely = order.index(cause.what) if cause.what in order else len(order)
        elsewhere = not fits and cause.what in _OF_FILES and not cause.target
        return not fits, elsewhere, likely, cause.what is What.STATE

    return sorted(found, key=rank)


def _concerns(cause: Cause, keyword: str, rest: str) -> bool:
    """Whether a change is seen in the step itself."""
    if cause.what in _OF_FILES:
        linked = bool(cause.target)  # its own step has the same words; one that copies from its result, too
        taken = [paths for context, paths in _taken(keyword, rest) if linked or context == cause.context]
        if cause.what is What.IGNORE:  # it explains every file that came or went with it
            return bool(taken)
        path = cause.subject
        return any(
            word in {"", "."} or path == word or path.startswith(f"{word}/") or fnmatch.fnmatch(path, word)
            for words in taken
            for word in words
        )
    if cause.what is What.IMAGE:
        return any(context == cause.subject.lower() for context, _ in _taken(keyword, rest))
    if cause.what is What.DOCKERFILE:
        return keyword != "" and " ".join(f"{keyword}{rest}".split())[:40] in " ".join(cause.text.split())
    if cause.what is What.ARGUMENT:
        return cause.subject in rest or cause.text.rpartition(" -> ")[2].strip("'") in rest
    return False


def _taken(keyword: str, rest: str) -> Iterator[tuple[str, list[str]]]:
    """The contexts that a step takes files from, each with the paths; "" is the main one."""
    words = rest.split()
    flags = [word.removeprefix("--") for word in words if word.startswith("--")]
    if keyword in {"COPY", "ADD"}:
        context = next((flag.removeprefix("from=").lower() for flag in flags if flag.startswith("from=")), "")
        yield context, [_plain(word) for word in words if not word.startswith("--")][:-1]
    for flag in flags if keyword == "RUN" else ():
        if flag.startswith("mount="):
            fields = dict(field.partition("=")[::2] for field in flag.removeprefix("mount=").split(","))
            if fields.get("type", "bind") == "bind":
                yield fields.get("from", "").lower(), [_plain(fields.get("source") or fields.get("src") or "")]


def _plain(word: str) -> str:
    return word.removeprefix("./").strip("/")


def _values(old: Member, new: Member, where: str) -> Iterator[Cause]:
    for name in dict.fromkeys([*new.args, *old.args]):
        before, after = old.args.get(name), new.args.get(name)
        if before != after:
            what = What.BUNDLE if name.endswith("_BUNDLE_DIGEST") else What.ARGUMENT
            label = "the FlashInfer bundle" if what is What.BUNDLE else f"argument {name}"
            yield Cause(what=what, subject=name, text=f"{where}{label} changed: {_told(before)} -> {_told(after)}")
    for name in dict.fromkeys([*new.settings, *old.settings]):
        if (before := old.settings.get(name)) != (after := new.settings.get(name)):
            text = f"{where}{name} changed: {_told(before)} -> {_told(after)}"
            yield Cause(what=What.SETTING, subject=name, text=text)
    for name in dict.fromkeys([*new.contexts, *old.contexts]):
        before, after = old.contexts.get(name), new.contexts.get(name)
        if before != after and not (str(before).startswith("sha256:") and str(after).startswith("sha256:")):
            text = f"{where}context {name or '.'} changed: {_context_told(before)} -> {_context_told(after)}"
            yield Cause(what=What.IMAGE, subject=name, text=text)


def _lines(old: Member, new: Member, where: str) -> Iterator[Cause]:
    before, after = [text for _, text in old.dockerfile], [text for _, text in new.dockerfile]
    for kind, a, b, c, d in difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if kind == "equal":
            continue
        line = (new.dockerfile[c] if c < d else old.dockerfile[a])[0]
        was, now = "; ".join(before[a:b]), "; ".join(after[c:d])
        said = (
            f"{_short(was)} -> {_short(now)}"
            if was and now
            else f"{_short(was)} is gone"
            if was
            else f"{_short(now)} is new"
        )
        yield Cause(what=What.DOCKERFILE, subject=str(line), text=f"{where}{new.path}:{line} changed: {said}")


def _listed(old: Listing, new: Listing, where: str) -> Iterator[Cause]:
    if (old.ignored_by, old.rules) != (new.ignored_by, new.rules):
        name = new.ignored_by or old.ignored_by
        yield Cause(what=What.IGNORE, subject=name, text=f"{where}{name} changed")
    before, after = ({entry.path: entry for entry in one.entries} for one in (old, new))
    for path in sorted(before.keys() | after.keys()):
        if cause := _changed(path, before.get(path), after.get(path), where):
            yield cause
    if old.git != new.git:
        yield Cause(
            what=What.GIT,
            subject=".git",
            text=f"{where}.git is sent with the context and changed: list it in .dockerignore",
        )
    if new.state:
        text = f"{where}.orchestrate is sent with the context and changes with every run: list it in .dockerignore"
        yield Cause(what=What.STATE, subject=".orchestrate", text=text)


def _changed(path: str, old: Entry | None, new: Entry | None, where: str) -> Cause | None:
    shown = clean(path.encode("utf-8", "backslashreplace").decode())
    if old is None:
        return Cause(what=What.FILE, subject=path, text=f"{where}{shown} is new")
    if new is None:
        return Cause(what=What.FILE, subject=path, text=f"{where}{shown} is gone")
    if old.kind is not new.kind:
        return Cause(what=What.FILE, subject=path, text=f"{where}{shown} was a {old.kind} and is a {new.kind}")
    if old.content != new.content:
        return Cause(what=What.FILE, subject=path, text=f"{where}{shown} changed")
    if old.mode != new.mode:
        return Cause(
            what=What.MODE, subject=path, text=f"{where}the mode of {shown} changed: {old.mode:o} -> {new.mode:o}"
        )
    return None


def _told(value: str | None) -> str:
    return "not given" if value is None else redact(_short(repr(value)))


def _context_told(value: str | None) -> str:
    return "a directory" if str(value).startswith("sha256:") else _told(value)


def _short(text: str) -> str:
    flat = " ".join(redact(text).split())
    return flat if len(flat) <= _WIDTH else f"{flat[: _WIDTH - 3]}..."


def told(step: str, found: list[Cause]) -> tuple[str, ...]:
    """Return every change as a line, the one that explains the step first; at most twenty."""
    lines = [cause.text for cause in ranked(step, found)]
    return (*lines[:_MOST], *([f"and {len(lines) - _MOST} more"] if len(lines) > _MOST else ()))
