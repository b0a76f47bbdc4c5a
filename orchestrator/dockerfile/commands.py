"""What a RUN step starts: its simple commands as words, without evaluating anything.

Reads shell text, the JSON form and `sh -c "…"`. A variable stays as it is written; both branches of an `if` are listed.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from orchestrator.dockerfile.options import json_form
from orchestrator.dockerfile.shell import Operator, scan
from orchestrator.dockerfile.words import read_word

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from orchestrator.dockerfile.words import Word

_MAX_DEPTH = 8  # of sh -c "sh -c …" and $( $( … ) )
SHELLS = frozenset({"sh", "bash", "dash", "ash", "zsh"})
"""Programs that run a script."""
_WRAPPED: Mapping[str, tuple[str, int]] = {
    "builtin": ("", 0),
    "chroot": ("", 1),
    "command": ("", 0),
    "env": ("uC", 0),
    "exec": ("a", 0),
    "ionice": ("cn", 0),
    "nice": ("n", 0),
    "nohup": ("", 0),
    "setsid": ("", 0),
    "stdbuf": ("ioe", 0),
    "sudo": ("ughpCrtTUDR", 0),
    "time": ("fo", 0),
    "timeout": ("ks", 1),
    "xargs": ("nPILdEsa", 0),
}
"""Programs that run the command behind them: the letters of options with a value, and how many words come before it."""
_WORDS = frozenset({"if", "then", "elif", "else", "while", "until", "do", "!", "{"})
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=", re.ASCII)
_SUBSTITUTION = re.compile(r"\\.|\$\((?!\()|`", re.DOTALL)
_NAME = re.compile(r"[A-Za-z_][\w-]*", re.ASCII)
_VALUED = frozenset({"--unset", "--chdir", "--user", "--group", "--adjustment", "--signal", "--kill-after"})
_COMPOUND = frozenset(
    {"if", "while", "until", "for", "case", "select", "function", "{", "!", "[[", "eval", "exit", "exec"}
)
_COMPOUND_ENDS = frozenset({"done", "fi", "esac", "}"})
_DECLARE = frozenset({"export", "declare", "typeset", "local", "readonly"})


class Command(Struct, frozen=True, kw_only=True):
    """One simple command.

    Attributes:
        words: Its name and arguments, quotes undone; assignments and words like `if`, `env` and `sudo` before it left
            out.
        before: The operator in front of it: "", "&&", "||", "|", "&", ";" or a line end.
        grouped: Whether it is the first one of a `{ …; }` or `( … )`, whose end is a command named `}` or `)`.
        function: The function whose body it stands in, "" for none.
        set: The assignments before it: `NAME=value`, quotes undone.
        unset: The variables that `env -u NAME` takes away from it.
    """

    words: tuple[str, ...]
    before: str = ""
    grouped: bool = False
    function: str = ""
    set: tuple[str, ...] = ()
    unset: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The program's file name: `pip` for `/usr/bin/pip`."""
        return self.words[0].rsplit("/", 1)[-1] if self.words else ""


def commands(text: str) -> list[Command]:
    """The simple commands of a step's text, those of `$(…)` and `sh -c` included.

    Args:
        text: What follows RUN and its flags, or the content of a here-document.
    """
    words = json_form(text.strip())
    if words is not None:
        return list(_inside(Command(words=tuple(words)), 0))
    return list(_commands(text, 0))


def own_values(text: str) -> list[tuple[str, str | None]]:
    """The variables that a step gives values of its own, each with the value; None where it takes the variable away.

    Args:
        text: What follows RUN and its flags, or the content of a here-document.
    """
    found: list[tuple[str, str | None]] = []
    for command in reached(commands(text)):
        words = [*command.set, *(command.words[1:] if command.name in _DECLARE else ())]
        found += [(name, value) for name, equals, value in (word.partition("=") for word in words) if equals]
        found += [(name, None) for name in command.unset]
        if command.name == "unset":
            found += [(name, None) for name in command.words[1:]]
    return found


def settled(text: str, name: str) -> bool:
    """Whether a script gives a variable a value of its own, or takes it away, before anything in it reads it.

    Only what surely runs counts: what stands before the first group, condition, loop, pipe and `||`.

    Args:
        text: The script.
        name: The variable.
    """
    read = re.compile(rf"\$(?:\{{[#!]?)?{re.escape(name)}\b", re.ASCII)
    words: list[str] = []
    for token in (*tokens(text), Token(operator="\n")):
        if not token.operator:
            words.append(token.word)
            if read.search(token.word) or read.search(token.document) or any(map(read.search, token.inner)):
                return False
            continue
        own = [word for word in words if not _ASSIGNMENT.match(word)]
        if (own and own[0] in _COMPOUND) or token.operator not in {"&&", ";", "\n"}:
            return False
        declared = words if not own or own[0] in _DECLARE else ()
        if any(word.startswith(f"{name}=") for word in declared):
            return True
        if own[:1] == ["unset"] and name in own[1:]:
            return True
        words = []
    return False


def reached(found: Iterable[Command], called: Iterable[Command] = ()) -> list[Command]:
    """The commands that run: those outside of functions, and the bodies of functions that are called.

    Args:
        found: The commands of a script.
        called: Commands of another script that runs this one, and may call its functions.
    """
    known = list(found)
    functions = {command.function for command in known} - {""}
    names: set[str] = set()
    more = {command.name for command in (*called, *known) if not command.function} & functions
    while more - names:
        names |= more
        more = {command.name for command in known if command.function in names} & functions
    return [command for command in known if not command.function or command.function in names]


class Token(Struct, frozen=True, kw_only=True):
    """One operator, or one word with the texts of the command substitutions in it.

    Attributes:
        operator: "" for a word.
        word: Quotes undone; "" for an operator.
        quoted: Whether any of it was quoted, so that it is no reserved word.
        inner: What stands in `$(…)` and backticks.
        document: The here-document behind it, "" for none.
    """

    operator: str = ""
    word: str = ""
    quoted: bool = False
    inner: tuple[str, ...] = ()
    document: str = ""


def tokens(text: str) -> Iterator[Token]:
    """The words and operators of shell text; redirections and comments are left out."""
    last: Token | None = None  # held back, as its here-document follows
    target = False
    for item in scan(text, read_word):
        if isinstance(item, Operator) and item.text == "<<":
            document, inner = _expanded(item.document) if item.expanded else (item.document, ())
            last = last and replace(last, document=document, inner=(*last.inner, *inner))
        elif isinstance(item, Operator) and item.text == "<(":
            run = Token(word="/dev/fd/63", quoted=True, inner=(item.document,))
            if target and last is not None and not last.operator and (last.quoted or last.word not in _COMPOUND_ENDS):
                last = replace(last, inner=(*last.inner, item.document))
            else:
                if last is not None:
                    yield last
                last = run
            target = False
        elif isinstance(item, Operator) and item.text in "<>":
            target = True
        elif target and not isinstance(item, Operator):
            target = False
        else:
            target = False
            if last is not None:
                yield last
            last = _token(text, item)
    if last is not None:
        yield last


def _expanded(document: str) -> tuple[str, tuple[str, ...]]:
    """A here-document as its reader gets it, without command substitutions, and what these run before it reads."""
    kept: list[str] = []
    inner: list[str] = []
    at = 0
    for begun in _SUBSTITUTION.finditer(document):
        if begun.start() < at or begun[0].startswith("\\"):
            continue
        part = next(iter(read_word(document, begun.start()).variables), None)
        if part is not None and part.start == begun.start() and (run := _substituted(document[part.start : part.end])):
            kept.append(document[at : part.start])
            inner.append(run)
            at = part.end
    return "".join((*kept, document[at:])), tuple(inner)


def _token(text: str, item: Operator | Word) -> Token:
    if isinstance(item, Operator):
        return Token(operator=item.text)
    found = [_substituted(text[part.start : part.end]) for part in item.variables]
    return Token(word=item.text, quoted=text[item.start : item.end] != item.text, inner=tuple(found))


def _commands(text: str, depth: int) -> Iterator[Command]:
    if depth > _MAX_DEPTH:
        return
    reading = _Reading(depth)
    for token in tokens(text):
        if token.operator:
            yield from reading.operator(token.operator)
        else:
            reading.words.append(token.word)
            reading.inner += token.inner
            reading.document = token.document or reading.document
    yield from reading.finished()


class _Reading:
    """The command that is being read."""

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.before = ""
        self.opened = False
        self.words: list[str] = []
        self.inner: list[str] = []
        self.document = ""
        self.declared = ""  # a function whose body comes next
        self.function = ""
        self.braces = 0

    def operator(self, operator: str) -> Iterator[Command]:
        """End a command; a line end after `&&` only goes on, and `||` in front of a group stays."""
        if operator == "(" and len(self.words) == 1 and _NAME.fullmatch(self.words[0]):
            self.declared, self.words = self.words[0], []
            return
        if operator == ")" and self.declared and not self.words:
            self.before = ""
            return
        yield from self.finished()
        if operator == ")":
            yield Command(words=(")",), function=self.function)
        elif not (self.before and operator in "\n("):
            self.before = operator
        self.opened = self.opened or operator == "("

    def finished(self) -> Iterator[Command]:
        """The command, and those inside its words."""
        if self.words:
            yield from self._command()
            self.before, self.opened = "", False
        for piece in self.inner:
            for command in _commands(piece, self.depth + 1):
                yield replace(command, function=self.function or command.function)
        self.words, self.inner, self.document = [], [], ""

    def _command(self) -> Iterator[Command]:
        grouped = self.opened
        if self.words[0] == "function" and len(self.words) > 1:
            self.declared, self.words = self.words[1], self.words[2:]
        at, unset = 0, list[str]()
        while at < len(self.words):
            word = self.words[at]
            if word in _WORDS or _ASSIGNMENT.match(word):
                if word == "{":
                    grouped = True
                    self._brace()
                at += 1
            elif (behind := wrapped(self.words, at)) > at:
                unset += _taken_away(self.words[at:behind])
                at = behind
            else:
                break
        command = Command(
            words=tuple(self.words[at:]),
            before=self.before,
            grouped=grouped,
            function=self.function,
            set=tuple(word for word in self.words[:at] if _ASSIGNMENT.match(word)),
            unset=tuple(unset),
        )
        if command.words[:1] == ("}",) and self.function:
            self.braces -= 1
            self.function = self.function if self.braces else ""
        yield from _inside(command, self.depth, self.document)

    def _brace(self) -> None:
        """A `{` in the place of a command: the body of a function begins, or a group inside one."""
        if self.declared and not self.function:
            self.function, self.declared = self.declared, ""
        if self.function:
            self.braces += 1


def wrapped(words: Sequence[str], at: int) -> int:
    """The position of the command that a program like `sudo -u NAME` runs with its own status.

    Args:
        words: A command line.
        at: Where the program stands in it; the same is returned for any other program.
    """
    name = words[at].rsplit("/", 1)[-1]
    letters, more = _WRAPPED.get(name, ("", -1))
    if more < 0:
        return at
    here = at + 1
    while here < len(words) and words[here].startswith("-") and words[here] != "-":
        word = words[here]
        here += 1
        if word == "--":
            break
        if name == "command" and word[1:2] in {"v", "V"}:  # tells what it is, and runs nothing
            return at
        valued = not word.startswith("--") and word[-1] in letters and set(word[1:-1]).isdisjoint(letters)
        here += valued or word in _VALUED
    while more and here < len(words) and _ASSIGNMENT.match(words[here]) is None:
        here, more = here + 1, more - 1
    return min(here, len(words))


def _taken_away(words: Sequence[str]) -> Iterator[str]:
    """The variables that `env` takes away with its options."""
    for at, word in enumerate(words if words[0].rsplit("/", 1)[-1] == "env" else ()):
        if word in {"-u", "--unset"}:
            yield from words[at + 1 : at + 2]
        elif word.startswith("--unset="):
            yield word.partition("=")[2]
        elif word.startswith("-u"):
            yield word[2:]


def _substituted(text: str) -> str:
    """The commands inside `$(…)` or backticks, "" for a variable."""
    if text.startswith("$(") and not text.startswith("$(("):
        return text[2:].removesuffix(")")
    return text.strip("`") if text.startswith("`") else ""


def _inside(command: Command, depth: int, document: str = "") -> Iterator[Command]:
    """A command, and those of the script or here-document that it gives to a shell."""
    yield command
    if command.name in SHELLS:
        at, inline = script_of(command.words)
        script = document if not at else command.words[at] if inline else ""
        for one in _commands(script, depth + 1):
            yield replace(one, function=command.function or one.function)


def script_of(words: Sequence[str]) -> tuple[int, bool]:
    """What a shell is given to run.

    Returns:
        The position of the script in the shell's words, 0 for none, and whether it is text (`-c`) and not a file.
    """
    at, inline, fed = 1, False, False
    while at < len(words) and words[at][:1] in {"-", "+"}:
        letters = "" if words[at].startswith("--") else words[at][1:]
        inline = inline or "c" in letters
        fed = fed or "s" in letters
        at += 2 if "o" in letters else 1  # -o pipefail
    return (at if at < len(words) and (inline or not fed) else 0), inline
