"""The structure of a shell script: lists, `&&` and `||`, pipelines, groups, `if`, loops, `case`, functions.

Reads the tokens of `commands` by the grammar of POSIX (2.10). Text that the grammar does not have is read as far as it
goes: a script is judged, and never refused.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec import Struct

from orchestrator.dockerfile.commands import tokens

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.dockerfile.commands import Token

_MOST_DEPTH = 40
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*\+?=", re.ASCII)
_ENDS = frozenset({"then", "else", "elif", "fi", "do", "done", "esac", "}"})


class Simple(Struct, frozen=True, kw_only=True):
    """A simple command: its words without assignments, the texts of its command substitutions, its here-document."""

    words: tuple[str, ...]
    inner: tuple[str, ...] = ()
    document: str = ""


class Pipeline(Struct, frozen=True, kw_only=True):
    """Commands that are joined by `|`; `negated` has a `!` in front."""

    parts: tuple[Node, ...]
    negated: bool = False


class AndOr(Struct, frozen=True, kw_only=True):
    """Pipelines that are joined by `&&` and `||`: the first, then (operator, pipeline)."""

    first: Node
    rest: tuple[tuple[str, Node], ...]


class Script(Struct, frozen=True, kw_only=True):
    """Commands one after another, each with whether it runs in the background."""

    items: tuple[tuple[Node, bool], ...]


class Group(Struct, frozen=True, kw_only=True):
    """`{ …; }`, or `( … )` in a shell of its own."""

    body: Node
    subshell: bool


class If(Struct, frozen=True, kw_only=True):
    """Conditions with what runs where they hold, and what runs where none does."""

    cases: tuple[tuple[Node, Node], ...]
    otherwise: Node | None


class Loop(Struct, frozen=True, kw_only=True):
    """`for` (without a condition), `while` or `until`."""

    word: str
    condition: Node | None
    body: Node


class Case(Struct, frozen=True, kw_only=True):
    """`case`: one of the bodies runs, or none."""

    bodies: tuple[Node, ...]


class Function(Struct, frozen=True, kw_only=True):
    """The definition of a function."""

    name: str
    body: Node


Node = Simple | Pipeline | AndOr | Script | Group | If | Loop | Case | Function


def parse(text: str) -> Script:
    """Read a script."""
    return _Parser(text).script(frozenset())


class _Parser:
    def __init__(self, text: str) -> None:
        self.tokens: list[Token] = list(tokens(text))
        self.at = 0
        self.depth = 0

    def operator(self, *wanted: str) -> str:
        """Take one of the operators, "" where another token comes."""
        if self.at < len(self.tokens) and self.tokens[self.at].operator in (wanted or ("",)):
            self.at += 1
            return self.tokens[self.at - 1].operator
        return ""

    def next_word(self) -> str:
        """The next word where it may be a reserved one, else ""."""
        if self.at < len(self.tokens) and not self.tokens[self.at].quoted:
            return self.tokens[self.at].word
        return ""

    def word(self, *wanted: str) -> bool:
        """Take a reserved word."""
        if self.next_word() in wanted:
            self.at += 1
            return True
        return False

    def newlines(self) -> None:
        while self.operator("\n"):
            pass

    def script(self, ends: frozenset[str]) -> Script:
        """A list of commands up to a reserved word, `)` or `;;`."""
        items: list[tuple[Node, bool]] = []
        while True:
            while self.operator(";", "\n", "&"):
                pass
            if self.at >= len(self.tokens) or self.next_word() in ends or self.depth > _MOST_DEPTH:
                break
            if self.tokens[self.at].operator in {")", ";;"}:
                if ends or self.depth:
                    break
                self.at += 1  # a stray one
                continue
            before = self.at
            node = self.and_or()
            items.append((node, bool(self.operator("&"))))
            if self.at == before:
                self.at += 1
        return Script(items=tuple(items))

    def and_or(self) -> Node:
        first = self.pipeline()
        rest = []
        while operator := self.operator("&&", "||"):
            self.newlines()
            rest.append((operator, self.pipeline()))
        return AndOr(first=first, rest=tuple(rest)) if rest else first

    def pipeline(self) -> Node:
        negated = False
        while self.word("!"):
            negated = not negated
        parts = [self.command()]
        while self.operator("|", "|&"):
            self.newlines()
            parts.append(self.command())
        return Pipeline(parts=tuple(parts), negated=negated) if len(parts) > 1 or negated else parts[0]

    def command(self) -> Node:
        self.depth += 1
        try:
            return self._compound()
        finally:
            self.depth -= 1

    def _compound(self) -> Node:
        read: dict[str, Callable[[], Node]] = {
            "{": self._braces, "if": self._if, "while": self._loop, "until": self._loop, "for": self._for,
            "case": self._case, "function": self._function,
        }  # fmt: skip
        if self.operator("("):
            body = self.script(frozenset())
            self.operator(")")
            return Group(body=body, subshell=True)
        reader = read.get(self.next_word())
        if reader is not None and self.depth <= _MOST_DEPTH:
            return reader()
        return self._simple()

    def _braces(self) -> Node:
        self.at += 1
        body = self.script(frozenset({"}"}))
        self.word("}")
        return Group(body=body, subshell=False)

    def _if(self) -> Node:
        cases = []
        otherwise: Node | None = None
        while self.word("if", "elif"):
            condition = self.script(frozenset({"then"}))
            self.word("then")
            cases.append((condition, self.script(frozenset({"elif", "else", "fi"}))))
        if self.word("else"):
            otherwise = self.script(frozenset({"fi"}))
        self.word("fi")
        return If(cases=tuple(cases), otherwise=otherwise)

    def _loop(self) -> Node:
        word = self.next_word()
        self.at += 1
        condition = self.script(frozenset({"do"}))
        return Loop(word=word, condition=condition, body=self._do())

    def _for(self) -> Node:
        while self.at < len(self.tokens) and self.next_word() != "do":
            self.at += 1
        return Loop(word="for", condition=None, body=self._do())

    def _do(self) -> Node:
        self.word("do")
        body = self.script(frozenset({"done"}))
        self.word("done")
        return body

    def _case(self) -> Node:
        bodies: list[Node] = []
        while self.at < len(self.tokens) and not self.word("in"):
            self.at += 1
        while self.at < len(self.tokens) and not self.word("esac"):
            while self.at < len(self.tokens) and not self.operator(")"):  # the pattern
                self.at += 1
                if self.word("esac"):
                    return Case(bodies=tuple(bodies))
            bodies.append(self.script(frozenset({"esac"})))
            self.operator(";;")
            self.newlines()
        return Case(bodies=tuple(bodies))

    def _function(self) -> Node:
        self.at += 1
        name = self.next_word()
        self.at += 1
        if self.operator("("):
            self.operator(")")
        self.newlines()
        return Function(name=name, body=self.command())

    def _simple(self) -> Node:
        words: list[str] = []
        inner: list[str] = []
        document = ""
        while self.at < len(self.tokens) and not self.tokens[self.at].operator:
            token = self.tokens[self.at]
            if not words and token.word in _ENDS and not token.quoted:
                break
            self.at += 1
            if words or not _ASSIGNMENT.match(token.word):
                words.append(token.word)
            inner += filter(None, token.inner)
            document = token.document or document
        if len(words) == 1 and self.operator("("):
            self.operator(")")
            self.newlines()
            return Function(name=words[0], body=self.command())
        return Simple(words=tuple(words), inner=tuple(inner), document=document)
