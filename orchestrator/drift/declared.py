"""What the stages of a target declare with ARG, those of the targets that it links to included."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from orchestrator.dockerfile.predefined import predefined
from orchestrator.dockerfile.stages import assignments, parse
from orchestrator.drift.files import UnreadableError, outside
from orchestrator.drift.readers import bake
from orchestrator.engine import buildx

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orchestrator.dockerfile.stages import Dockerfile, Stage
    from orchestrator.drift.files import File, Files

_FRONTEND = re.compile(r"(?:docker\.io/)?docker/dockerfile(?:-upstream)?(?:[:@].*)?|")
_LINK = "target:"
_IMAGE_MARK = re.compile(r"[:/@]")
"""What no name of a stage holds."""
_ANY = "\0"
"""Stands for the value of an argument that is given, and in no file."""


class Reach(Struct, frozen=True, kw_only=True):
    """What targets run of a Dockerfile.

    Attributes:
        names: The arguments that its stages declare or are FROM.
        lines: The lines of its stages.
        first: The line of the first FROM.
    """

    names: frozenset[str] = frozenset()
    lines: tuple[range, ...] = ()
    first: int = 0

    def holds(self, line: int, name: str) -> bool:
        """Whether an instruction is among them; one before the first FROM is, where its argument is."""
        return name in self.names if line < self.first else any(line in lines for lines in self.lines)


class Targets(Struct, kw_only=True):
    """What the targets of the bake files declare.

    Attributes:
        files: The files of the repository.
        read: The project's bake files.
        computed: Targets as buildx resolves them.
        given: The arguments that the matrix or a bake file gives.
        parsed: Dockerfiles by text and named contexts: many targets build one.
        known: What was worked out: the arguments that a target and those that it links to declare, None if unknown.
    """

    files: Files
    read: Sequence[tuple[File, bake.BakeFile]]
    given: frozenset[str]
    computed: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    parsed: dict[tuple[str, frozenset[str]], Dockerfile] = field(default_factory=dict)
    known: dict[str, frozenset[str] | None] = field(default_factory=dict)

    @property
    def defined(self) -> list[bake.BakeFile]:
        """What the bake files define."""
        return [one for _, one in self.read]

    def resolved(self, name: str) -> Mapping[str, Any] | None:
        """Which stage of which Dockerfile a target builds, with its named contexts; None where it is not known."""
        if name in self.computed:
            return self.computed[name]
        written = bake.dockerfiles(self.defined, [name])
        named = bake.contexts(self.defined, name)
        return None if written is None or named is None else {**written[name], "contexts": named}

    def loses(self, target: str, name: str) -> bool:
        """Whether it is certain that no stage of a target declares an argument."""
        declared = self.declared(target)
        return declared is not None and name not in declared and not predefined(name)

    def declared(self, target: str) -> frozenset[str] | None:
        """The arguments that a target, and those that it links to, declare; None where one of them is not known."""
        if target not in self.known:
            self.known[target] = frozenset()  # of a circle, which buildx refuses
            self.known[target] = self._declared(target)
        return self.known[target]

    def unread(self, target: str) -> list[str]:
        """Why Dockerfiles of a target, and of those that it links to, cannot be read, though they should be here."""
        found = []
        for one in self.linked(target):
            body = self.resolved(one) or {"dockerfile-inline": "not known"}
            name = "" if body.get("dockerfile-inline") else self._name(body)
            try:
                if name and not outside(name):
                    self.files.read(name)
            except UnreadableError as error:
                found.append(f"target {one}: {name}: {error}")
        return found

    def linked(self, name: str) -> list[str]:
        """A target and those that it links to with `target:` contexts."""
        found: dict[str, None] = {}
        waiting = [name]
        while waiting:
            one = waiting.pop()
            if one not in found:
                found[one] = None
                named = self.contexts(one).values()
                waiting += [str(value).removeprefix(_LINK) for value in named if str(value).startswith(_LINK)]
        return list(found)

    def contexts(self, name: str) -> Mapping[str, Any]:
        """The named contexts of a target, as far as they are known."""
        return (self.resolved(name) or {}).get("contexts") or {}

    def bases(self, name: str, values: Mapping[str, str]) -> list[str]:
        """What the stages that a target runs are FROM, stages left out; an argument without a value stays a mark.

        Args:
            name: The target.
            values: The arguments that it is built with, as far as they are known.
        """
        body = self.resolved(name)
        text = None if body is None else self._text(body)
        if body is None or text is None:
            return []
        file = parse(text, dict.fromkeys(self.given, _ANY) | dict(values), replaced=_replaced(body))
        return list(dict.fromkeys(one.base for one in _needed(file, body) if one.parent is None and one.base))

    def values(self, name: str) -> dict[str, str]:
        """The arguments that the bake files give to a target, as far as their values are known."""
        if name in self.computed:
            given = self.computed[name].get("args") or {}
            return {key: buildx.unescape(str(value)) for key, value in given.items() if value is not None}
        found: dict[str, str] = {}
        for one in self.defined:
            owners = bake.lineage([one], name) if name in one.targets else []
            for key in dict.fromkeys(key for owner in owners for key in one.targets[owner].args):
                place = one.arg(name, key)
                if place is not None and not place.computed:
                    found[key] = place.value
        return found

    def _declared(self, name: str) -> frozenset[str] | None:
        body = self.resolved(name)
        own = None if body is None else self._dockerfile(body)
        if body is None or own is None:
            return None
        found = set(own)
        for value in (body.get("contexts") or {}).values():
            if str(value).startswith(_LINK):
                linked = self.declared(str(value).removeprefix(_LINK))
                if linked is None:
                    return None
                found |= linked
        return frozenset(found)

    def _dockerfile(self, body: Mapping[str, Any]) -> frozenset[str] | None:
        """The arguments that the stages of a target declare; one before the first FROM counts for all of them."""
        text = self._text(body)
        file = None if text is None else self._parsed(text, body)
        if file is None:
            return None
        return file.arguments.union(*map(_names, _needed(file, body)))

    def _parsed(self, text: str, body: Mapping[str, Any]) -> Dockerfile | None:
        """A Dockerfile with an unknown value for each argument that is given, None if another frontend reads it."""
        key = text, _replaced(body)
        if key not in self.parsed:
            self.parsed[key] = parse(text, dict.fromkeys(self.given, _ANY), replaced=key[1])
        file = self.parsed[key]
        return file if file.stages and _FRONTEND.fullmatch(file.syntax) else None

    def reach(self, target: str) -> dict[str, Reach] | None:
        """What a target and those that it links to run, by Dockerfile; None where one of them is not known.

        Unlike `declared`, an ARG before the first FROM counts only where a FROM of theirs, or an ARG in them, names it.
        """
        found: dict[str, Reach] = {}
        for one in self.linked(target):
            body = self.resolved(one)
            text = None if body is None else self._text(body)
            file = None if body is None or text is None else self._parsed(text, body)
            if body is None or text is None or file is None:
                return None
            needed = _needed(file, body)
            names = frozenset[str]().union(*map(_names, needed))
            for name in file.arguments - names:
                other = parse(text, {name: _ANY}, replaced=_replaced(body))
                if any(_ANY in other.stages[stage.index].base for stage in needed):
                    names |= {name}
            starts = [*(stage.line for stage in file.stages), text.count("\n") + 2]
            lines = [range(stage.line, starts[stage.index + 1]) for stage in needed]
            before = found.get(path := self._name(body), Reach())
            found[path] = Reach(names=before.names | names, lines=(*before.lines, *lines), first=starts[0])
        return found

    def _text(self, body: Mapping[str, Any]) -> str | None:
        if body.get("dockerfile-inline"):
            return str(body["dockerfile-inline"])
        name = self._name(body)
        with contextlib.suppress(UnreadableError):
            return None if not name or outside(name) else self.files.read(name).text
        return None

    def _name(self, body: Mapping[str, Any]) -> str:
        """The Dockerfile of a target below the root, "" for one that is inline or elsewhere."""
        path = buildx.dockerfile_path(self.files.root, body)
        if path is None or not path.is_relative_to(self.files.root):
            return ""
        return path.relative_to(self.files.root).as_posix()


def _replaced(body: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(str(name).lower() for name in body.get("contexts") or {})


def _needed(file: Dockerfile, body: Mapping[str, Any]) -> Sequence[Stage]:
    """The stages that a target runs: all, where a value says which stage is built from which."""
    if any(_ANY in stage.base and not _IMAGE_MARK.search(stage.base) for stage in file.stages):
        return file.stages
    return file.needed(str(body.get("target") or ""), replaced=_replaced(body))


def _names(stage: Stage) -> set[str]:
    """The arguments that a stage declares, those of its ONBUILD included."""
    found: set[str] = set()
    for step in stage.steps:
        words = step.text.split(None, 1)
        if step.keyword == "ARG":
            found.update(name for name, _ in assignments(step.text))
        elif step.keyword == "ONBUILD" and len(words) == 2 and words[0].upper() == "ARG":
            found.update(name for name, _ in assignments(words[1]))
    return found
