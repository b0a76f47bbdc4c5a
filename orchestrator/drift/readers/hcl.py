"""HCL, as far as bake files use it: blocks, attributes, objects and lists, with the place of every literal.

Says which attribute is a literal, a reference or a template, and leaves every other expression to buildx. What a
variable or a target is, bake.py says.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from msgspec import Struct, field

from orchestrator.dockerfile.spans import Style
from orchestrator.drift.readers.errors import MAX_DEPTH, ReadError, too_deep

if TYPE_CHECKING:
    from collections.abc import Iterator

_TOKEN = re.compile(
    r"(?P<space>[ \t\r\ufeff]+)|(?P<comment>\#[^\n]*|//[^\n]*|/\*.*?(?:\*/|\Z))|(?P<newline>\n)"
    r"|(?P<heredoc><<-?(?P<word>[A-Za-z_][\w-]*)[ \t\r]*\n(?:.*\n)*?[ \t]*(?P=word)[ \t\r]*(?=\n|\Z))"
    r"|(?P<number>\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)|(?P<name>[A-Za-z_][\w-]*)|(?P<other>[^\"])",
    re.ASCII,
)
_BLOCK_COMMENT = re.compile(r"/\*.*?(?:\*/|\Z)", re.DOTALL)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\"}
_REFERENCE = re.compile(r"[ \t]*([A-Za-z_][\w-]*)[ \t]*", re.ASCII)


class Expression(Struct, frozen=True, kw_only=True):
    """The right side of an attribute.

    Attributes:
        kind: A literal, a reference to a name, a template of both, an object, a list, or anything else.
        start: Offset of its first character.
        end: Offset after its last one.
        parts: Of a literal or template: text (False, …) and names (True, …) in order; of a reference, its name.
        inner: The span that a fix of a literal replaces.
        style: How a new literal is written there.
        members: Of an object.
        items: Of a list.
    """

    kind: Literal["literal", "reference", "template", "object", "list", "other"]
    start: int
    end: int
    parts: tuple[tuple[bool, str], ...] = ()
    inner: tuple[int, int] = (0, 0)
    style: Style = Style.HCL_STRING
    members: tuple[tuple[str, Expression], ...] = ()
    items: tuple[Expression, ...] = ()


class Block(Struct, kw_only=True):
    """A block, or the whole file: its type and labels, its attributes, and the blocks in it."""

    type: str = ""
    labels: tuple[str, ...] = ()
    attributes: dict[str, Expression] = field(default_factory=dict)
    blocks: list[Block] = field(default_factory=list)


class _Token(Struct, frozen=True, kw_only=True):
    kind: str
    start: int
    end: int
    text: str
    parts: tuple[tuple[bool, str], ...] | None = None  # of a string; None where it holds an expression


def parse(text: str) -> Block:
    """The blocks and attributes of an HCL text.

    Raises:
        ReadError: Its brackets do not match, or are nested too deeply.
    """
    return _Parser(text).body(Block(), closing="")


class _Parser:
    """Reads tokens into blocks."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = [token for token in _tokens(text) if token.kind not in {"space", "comment"}]
        self.at = 0
        self.depth = 0

    def body(self, block: Block, *, closing: str) -> Block:
        """Read attributes and blocks up to `closing` (the end of the text for "")."""
        while True:
            self.skip_newlines()
            token = self.peek()
            if token is None or token.text == closing:
                if closing and token is None:
                    raise ReadError.at(self.text, len(self.text), f"not HCL: a {block.type or 'block'} is not closed")
                self.at += 1
                return block
            if token.kind != "name":
                raise self.wrong(token, "expected a block or an attribute")
            self.at += 1
            following = self.peek()
            if following is not None and following.text == "=" and following.kind == "other":
                self.at += 1
                block.attributes[token.text] = self.expression("\n", closing)
            else:
                block.blocks.append(self.block(token))

    def block(self, head: _Token) -> Block:
        """Read the rest of a block whose type stands at `head`."""
        labels = []
        while (token := self.peek()) is not None and token.kind in {"string", "name"}:
            labels.append("".join(text for _, text in token.parts or ()) if token.kind == "string" else token.text)
            self.at += 1
        if token is None or token.text != "{":
            raise self.wrong(token or head, "expected {")
        with self.deeper(token):
            return self.body(Block(type=head.text, labels=tuple(labels)), closing="}")

    def expression(self, *stops: str) -> Expression:
        """Read one expression, up to a newline, a comma or the bracket that closes what it stands in."""
        first = self.peek()
        if first is None:
            return Expression(kind="other", start=len(self.text), end=len(self.text))
        if first.text in {"{", "["} and first.kind == "other" and not self.computes():
            with self.deeper(first):
                whole = self.object(first) if first.text == "{" else self.list(first)
            follower = self.peek()
            if follower is None or follower.text in {*stops, ",", "}", "]", "\n"}:
                return whole
        begin, depth, last = self.at, 0, first
        while (token := self.peek()) is not None:
            if token.kind == "other" and token.text in "([{":
                depth += 1
            elif token.kind == "other" and token.text in ")]}":
                if depth == 0:
                    break
                depth -= 1
            elif depth == 0 and (token.kind == "newline" or token.text == ","):
                break
            last = token
            self.at += 1
        if self.at == begin + 1:
            return _single(first)
        return Expression(kind="other", start=first.start, end=last.end)

    def computes(self) -> bool:
        """Whether the bracket that comes next opens a `for` expression."""
        following = [one for one in self.tokens[self.at + 1 : self.at + 8] if one.kind != "newline"][:2]
        return [one.kind for one in following] == ["name", "name"] and following[0].text == "for"

    @contextmanager
    def deeper(self, opening: _Token) -> Iterator[None]:
        """Skip the opening bracket and read one level deeper.

        Raises:
            ReadError: That is one level too deep.
        """
        if self.depth == MAX_DEPTH:
            raise too_deep(self.text, opening.start)
        self.at += 1
        self.depth += 1
        yield
        self.depth -= 1

    def object(self, opening: _Token) -> Expression:
        """Read the rest of `{ key = value … }`."""
        members: list[tuple[str, Expression]] = []
        while True:
            self.skip_newlines(",")
            token = self.take(opening)
            if token.text == "}" and token.kind == "other":
                return Expression(kind="object", start=opening.start, end=token.end, members=tuple(members))
            key = "".join(text for _, text in token.parts or ()) if token.kind == "string" else token.text
            while token.text not in {"=", ":"}:
                token = self.take(opening)
            members.append((key, self.expression("}")))

    def list(self, opening: _Token) -> Expression:
        """Read the rest of `[ value, … ]`."""
        items: list[Expression] = []
        while True:
            self.skip_newlines(",")
            token = self.peek()
            if token is None:
                raise self.wrong(opening, "a list is not closed")
            if token.text == "]" and token.kind == "other":
                self.at += 1
                return Expression(kind="list", start=opening.start, end=token.end, items=tuple(items))
            before = self.at
            items.append(self.expression("]"))
            if self.at == before:
                raise self.wrong(token, "expected a value")

    def peek(self) -> _Token | None:
        """The next token, None at the end."""
        return self.tokens[self.at] if self.at < len(self.tokens) else None

    def take(self, opening: _Token) -> _Token:
        """The next token, skipped."""
        token = self.peek()
        if token is None:
            raise self.wrong(opening, "a bracket is not closed")
        self.at += 1
        return token

    def skip_newlines(self, also: str = "\n") -> None:
        """Skip line breaks, and the separator `also`."""
        while (token := self.peek()) is not None and (token.kind == "newline" or token.text == also):
            self.at += 1

    def wrong(self, token: _Token, what: str) -> ReadError:
        """The error for a token."""
        return ReadError.at(self.text, token.start, f"not HCL: {what}")


def _single(token: _Token) -> Expression:
    """An expression of one token."""
    span = (token.start, token.end)
    if token.kind == "string" and token.parts is not None:
        names = any(is_name for is_name, _ in token.parts)
        inner = (token.start + 1, token.end - 1)
        return Expression(
            kind="template" if names else "literal", start=span[0], end=span[1], parts=token.parts, inner=inner
        )
    if token.kind == "number" or token.text in {"true", "false"}:
        parts = ((False, token.text),)
        return Expression(kind="literal", start=span[0], end=span[1], parts=parts, inner=span, style=Style.HCL_BARE)
    kind: Literal["reference", "other"] = "reference" if token.kind == "name" and token.text != "null" else "other"
    return Expression(kind=kind, start=span[0], end=span[1], parts=((True, token.text),), inner=span)


def _tokens(text: str) -> Iterator[_Token]:
    pos = 0
    while pos < len(text):
        if text[pos] == '"':
            end, parts = _string(text, pos)
            yield _Token(kind="string", start=pos, end=end, text=text[pos:end], parts=parts)
            pos = end
            continue
        match = _BLOCK_COMMENT.match(text, pos) or _TOKEN.match(text, pos)
        if match is None:
            return
        kind = "comment" if match.re is _BLOCK_COMMENT else (match.lastgroup or "other")
        yield _Token(kind="heredoc" if kind == "word" else kind, start=pos, end=match.end(), text=match[0])
        pos = match.end()


def _string(text: str, pos: int) -> tuple[int, tuple[tuple[bool, str], ...] | None]:
    """The end of the quoted template that starts at `pos`, and its parts.

    Raises:
        ReadError: It does not end in its line.
    """
    end = _nested_end(text, pos, '"')
    if end is None:
        raise ReadError.at(text, pos, "not HCL: the string does not end in its line")
    return end, template(text[pos + 1 : end - 1], escapes=True)


def _interpolation_end(text: str, pos: int) -> int:
    """The offset after the bracket that closes the `{` at `pos`, else of the end; strings inside are skipped."""
    end = _nested_end(text, pos, "{")
    return len(text) if end is None else end


def _nested_end(text: str, pos: int, opening: str) -> int | None:
    """The offset after what opens at `pos`: strings hold `${…}`, which holds brackets and strings, which hold `${…}`.

    None where it does not end, or a string does not end in its line.

    Raises:
        ReadError: Nested too deeply.
    """
    stack = [opening]
    pos += 1
    while pos < len(text):
        if len(stack) > 2 * MAX_DEPTH:  # a string and a bracket for each level
            raise too_deep(text, pos)
        char = text[pos]
        if stack[-1] == '"':
            if char == "\n" or text.startswith("\\\n", pos):
                return None
            if char == '"':
                stack.pop()
                pos += 1
            elif char == "\\":
                pos += 2
            elif text.startswith(("$${", "%%{"), pos):
                pos += 3
            elif text.startswith(("${", "%{"), pos):
                stack.append("{")
                pos += 2
            else:
                pos += 1
        else:
            if char in '"{':
                stack.append(char)
            elif char == "}":
                stack.pop()
            pos += 1
        if not stack:
            return pos
    return None


def template(body: str, *, escapes: bool) -> tuple[tuple[bool, str], ...] | None:
    """The parts of a template's text: literal (False, …) and names (True, …); None where it holds an expression.

    Args:
        body: What stands between the quotes.
        escapes: Whether backslashes escape (in HCL they do; a JSON string is decoded already).
    """
    parts: list[tuple[bool, str]] = []
    literal: list[str] = []
    pos = 0
    while pos < len(body):
        if body.startswith(("$${", "%%{"), pos):
            literal.append(body[pos + 1 : pos + 3])
            pos += 3
        elif body.startswith("%{", pos):
            return None
        elif body.startswith("${", pos):
            end = _interpolation_end(body, pos + 1)
            name = _REFERENCE.fullmatch(body, pos + 2, end - 1)
            if name is None:
                return None
            parts += [(False, "".join(literal)), (True, name[1])]
            literal.clear()
            pos = end
        elif escapes and body[pos] == "\\":
            char, pos = _escape(body, pos)
            literal.append(char)
        else:
            literal.append(body[pos])
            pos += 1
    return (*(part for part in parts if part[1]), (False, "".join(literal)))


def _escape(body: str, pos: int) -> tuple[str, int]:
    code = body[pos + 1 : pos + 2]
    digits = {"u": 4, "U": 8}.get(code, 0)
    if digits:
        try:
            return chr(int(body[pos + 2 : pos + 2 + digits], 16)), pos + 2 + digits
        except ValueError:
            return "", pos + 2 + digits
    return _ESCAPES.get(code, code), pos + 2
