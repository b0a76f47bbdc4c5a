"""What a command line runs behind another program, and whether a program's own options hide that its work failed.

Which words are programs that run others is a table; what is not in it is taken for a program that does its own work.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from orchestrator.dockerfile.commands import SHELLS, script_of
from orchestrator.dockerfile.program import Simple

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence

    from orchestrator.dockerfile.program import Node

_RUNNERS = frozenset(
    {"timeout", "nice", "ionice", "stdbuf", "setsid", "nohup", "env", "time", "command", "exec", "flock", "unshare",
     "setpriv", "taskset", "chrt", "runuser", "su", "sudo", "doas", "chroot", "prlimit", "setarch", "linux64",
     "linux32", "ssh-agent", "xargs", "busybox", "xvfb-run", "eatmydata", "gosu", "su-exec", "tini", "dumb-init",
     "strace", "fakeroot", "parallel", "retry", "unbuffer", "find"}
)  # fmt: skip
"""Programs that run the command line behind their own words and end with its status."""
_WITH_TEXT = frozenset({"su", "runuser", "flock"})
"""Those of them that give the text behind `-c` to a shell."""
_MAKES = frozenset({"make", "gmake"})
_NOT_DONE = frozenset({"--ignore-errors", "--dry-run", "--just-print", "--recon", "--touch"})
_NUMBER = re.compile(r"\d+")
_BEFORE_VALUE = re.compile(r"[^CfIjloEOW]*")  # letters of make's short options, up to one whose value follows


def behind(words: tuple[str, ...], scripts: Container[str], *, stripped: bool = False) -> tuple[str, ...]:
    """The shell or script, with its words, that a program runs with its own status; () where there is none.

    Args:
        words: The program and its arguments.
        scripts: File names of scripts that are known.
        stripped: Whether `env`, `command` or the like stood before and was taken away.
    """
    name = _name(words[0])
    if not stripped and name not in _RUNNERS:
        return ()
    if name in _WITH_TEXT and "-c" in words[1:-1]:
        return ("sh", "-c", words[words.index("-c") + 1])
    for at, word in enumerate(words[1:], 1):
        if _name(word) in SHELLS or _name(word) in scripts:
            return words[at:]
    return ()


def hides(words: tuple[str, ...]) -> bool:
    """Whether a program ends with success although its work failed or was not done: `make -i`, `find -exec`."""
    name = _name(words[0])
    if name == "find":
        return any(word.startswith("-exec") for word in words) and "+" not in words
    if name == "script":
        return not any(re.fullmatch(r"--return|-[a-zA-Z]*e[a-zA-Z]*", word) for word in words[1:])
    if name not in _MAKES:
        return False
    for word in words[1:]:
        letters = word.partition("=")[2].lstrip("-") if word.startswith("MAKEFLAGS=") else ""
        if word.startswith("-") and not word.startswith("--"):
            read = _BEFORE_VALUE.match(word, 1)
            letters = read[0] if read else ""
        if word in _NOT_DONE or {"i", "n", "t"} & set(letters):
            return True
    return False


def leading(words: Sequence[str]) -> Sequence[str]:
    """The options of a shell or of `set`, with their values: what stands before `-`, `--` or any other word."""
    for at, word in enumerate(words):
        before = words[at - 1] if at else ""
        value = before[:1] in {"-", "+"} and (before.startswith("--") or before.endswith(("o", "O")))
        if word in {"-", "--"} or (word[:1] not in {"-", "+"} and not value):
            return words[:at]
    return words


def trapped(words: tuple[str, ...]) -> tuple[str, frozenset[str]]:
    """The text of a `trap`, "" where it is taken away, and the names of its signals in capitals."""
    rest = [word for word in words[1:] if word != "--"]
    names = frozenset(word.upper().removeprefix("SIG") for word in rest[1:])
    return ("" if rest[:1] == ["-"] else "".join(rest[:1])), names


def fed(before: Node, node: Node, scripts: Mapping[str, str]) -> Node:
    """A command of a pipeline; a shell gets the text that is known to come as its here-document.

    Args:
        before: The command whose output it reads.
        node: The command.
        scripts: File name -> text of scripts that are known.
    """
    if not (isinstance(before, Simple) and isinstance(node, Simple) and node.words and not node.document):
        return node
    if _name(node.words[0]) not in SHELLS or script_of(node.words)[0]:
        return node
    name = _name(before.words[0]) if before.words else ""
    text = ""
    if name == "cat":
        text = before.document or "\n".join(scripts.get(_name(word), "") for word in before.words[1:])
    elif name in {"echo", "printf"}:
        text = " ".join(before.words[1:]).replace("\\n", "\n")
    return Simple(words=node.words, inner=node.inner, document=text)


def given(words: tuple[str, ...], status: int) -> int:
    """Return the status that `exit` or `return` names; a variable's is taken for a failure."""
    if len(words) == 1:
        return status
    return int(words[1]) if _NUMBER.fullmatch(words[1]) else 1


def _name(word: str) -> str:
    return word.rsplit("/", 1)[-1]
