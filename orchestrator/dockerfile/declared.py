"""ARG and ENV of a Dockerfile: every occurrence, in every stage, with the exact characters of each value."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec import Struct, field
from msgspec.structs import replace

from orchestrator.dockerfile.directives import escape_character
from orchestrator.dockerfile.options import leading
from orchestrator.dockerfile.read import instructions
from orchestrator.dockerfile.spans import Style
from orchestrator.dockerfile.words import DOCKERFILE_STOP, place, read_word

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.dockerfile.spans import Found, Source
    from orchestrator.dockerfile.words import Word

GLOBAL = "global"
"""The name of the part before the first FROM."""

_FROM = re.compile(r"(?P<base>\S+)(?:\s+as\s+(?P<name>\S+))?", re.IGNORECASE)
_KEY = re.compile(r"[A-Za-z_][\w.-]*", re.ASCII)


class Declaration(Struct, frozen=True, kw_only=True):
    """One name of one ARG or ENV instruction.

    Attributes:
        kind: "ARG" or "ENV".
        name: The variable's name.
        stage: The stage's name, its number from 0 where it has none, or `global`.
        found: The place of its value; None for an ARG without default.
    """

    kind: str
    name: str
    stage: str
    found: Found | None


class _Scope(Struct, kw_only=True):
    """What variables hold at one point of a stage."""

    name: str
    values: dict[str, str | None] = field(default_factory=dict)


def read(text: str, kind: str, name: str, stage: str | None = None) -> list[Found]:
    """Every value that ARG or ENV instructions give to a name; see `pick`."""
    return pick(declarations(text), kind, name, stage)


def pick(declared: list[Declaration], kind: str, name: str, stage: str | None = None) -> list[Found]:
    """Every value that ARG or ENV instructions give to a name.

    Args:
        declared: The result of `declarations`.
        kind: "ARG" or "ENV".
        name: The variable; case matters, as it does in BuildKit.
        stage: Only in this stage (its name, its number, or `global`); None takes all.
    """
    return [
        declaration.found
        for declaration in declared
        if declaration.found is not None
        and declaration.kind == kind
        and declaration.name == name
        and (stage is None or declaration.stage.lower() == stage.lower())
    ]


def declarations(text: str) -> list[Declaration]:
    """Every ARG and ENV of a Dockerfile, in order."""
    escape = escape_character(text)
    outside = _Scope(name=GLOBAL)
    scope = outside
    stages: dict[str, _Scope] = {}
    count = 0
    found: list[Declaration] = []
    for one in instructions(text):
        if one.keyword == "FROM":
            named = _FROM.match(one.text, leading(one.text, one.at)[1])
            base = stages.get(named["base"].lower()) if named else None
            name = (named["name"] if named else None) or str(count)
            scope = _Scope(name=name, values=dict(base.values) if base else {})
            stages[name.lower()] = stages[str(count)] = scope
            count += 1
        elif one.keyword in {"ARG", "ENV"}:
            found += _Reading(one.keyword, scope, outside, escape).variables(one.source, one.at)
    return found


class _Reading(Struct, frozen=True):
    """How the variables of one instruction are read; `scope` learns their values."""

    kind: str
    scope: _Scope
    outside: _Scope
    escape: str

    def variables(self, source: Source, at: int) -> Iterator[Declaration]:
        """The names that the instruction declares."""
        text, scope = source.text, self.scope
        while at < len(text):
            if text[at] in DOCKERFILE_STOP:
                at += 1
                continue
            key = _KEY.match(text, at)
            if key is None:  # not a name: step over the word, BuildKit would refuse the file anyway
                at = max(read_word(text, at, escape=self.escape, stop=DOCKERFILE_STOP, shell=False).end, at + 1)
                continue
            if text[key.end() : key.end() + 1] == "=":
                word = read_word(text, key.end() + 1, escape=self.escape, stop=DOCKERFILE_STOP, shell=False)
                yield self._assigned(source, key[0], word)
                at = word.end
            elif self.kind == "ENV":  # the old form: ENV NAME the rest of the line
                yield self._rest_of_line(source, key[0], key.end())
                return
            else:
                inherited = self.outside.values.get(key[0]) if scope is not self.outside else None
                scope.values.setdefault(key[0], inherited)
                if inherited is not None:
                    scope.values[key[0]] = inherited
                yield Declaration(kind=self.kind, name=key[0], stage=scope.name, found=None)
                at = key.end()

    def _assigned(self, source: Source, name: str, word: Word) -> Declaration:
        where = f"stage {self.scope.name}" if self.scope is not self.outside else "before the first FROM"
        found = _in_dockerfile(place(source, word, self.scope.values.get, where=where))
        self.scope.values[name] = word.expand(source.text, self.scope.values.get)
        return Declaration(kind=self.kind, name=name, stage=self.scope.name, found=found)

    def _rest_of_line(self, source: Source, name: str, at: int) -> Declaration:
        text = source.text
        while at < len(text) and text[at] in " \t":
            at += 1
        end = len(text.rstrip())
        word = read_word(text[:end], at, escape=self.escape, stop=frozenset(), shell=False)
        found = place(source, word, self.scope.values.get, where=f"stage {self.scope.name}")
        self.scope.values[name] = word.expand(text, self.scope.values.get)
        return Declaration(kind="ENV", name=name, stage=self.scope.name, found=found)


def _in_dockerfile(found: Found) -> Found:
    """A word of ARG or ENV, which no shell reads."""
    first, *outer = found.styles
    return replace(found, styles=(Style.DOCKERFILE, *outer)) if first is Style.WORD else found
