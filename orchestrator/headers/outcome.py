"""How a shell script ends when the commands that bring FlashInfer's headers fail: with an error, or with success.

Runs nothing: the script's structure is followed as a shell would (`set -e`, pipelines, conditions, functions), every
command that matters fails, and every other one succeeds. Tests (`[ -f … ]`, `sha256sum --check`) go either way before
the failure; after it they are believed to notice it.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from msgspec import Struct, field

from orchestrator.dockerfile import program
from orchestrator.dockerfile.commands import SHELLS, script_of, wrapped
from orchestrator.dockerfile.program import AndOr, Case, Group, If, Loop, Pipeline, Script, Simple
from orchestrator.headers.command_lines import behind, fed, given, hides, leading, trapped
from orchestrator.headers.endings import BreakError, EndlessError, ExitError, ReturnError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from orchestrator.dockerfile.program import Node

_MOST_PATHS = 64
_MOST_STEPS = 2_000
_MOST_DEPTH = 30
_ROUNDS = 3
_TESTS = frozenset({"test", "[", "[[", "grep", "egrep", "cmp", "diff", "which", "type", "sha256sum", "md5sum", "false"})


class Shell(Struct, frozen=True, kw_only=True):
    """What runs a script.

    Attributes:
        errexit: `set -e`.
        pipefail: `set -o pipefail`.
        bash: Whether it is bash, where `$(…)` does not inherit `set -e`.
        scripts: File name -> text of the scripts that it may run.
    """

    errexit: bool = False
    pipefail: bool = False
    bash: bool = False
    scripts: Mapping[str, str] = field(default_factory=dict)


def shell_of(argv: Sequence[str], scripts: Mapping[str, str]) -> Shell:
    """Return the shell that a SHELL instruction or a command line names."""
    run = _Run(Shell(scripts=scripts), lambda _: False, [])
    run.options(argv[1:])
    bash = argv[:1] and argv[0].rsplit("/", 1)[-1] == "bash"
    return Shell(errexit=run.errexit, pipefail=run.pipefail, bash=bool(bash), scripts=scripts)


def swallows(texts: Sequence[str], matters: Callable[[tuple[str, ...]], bool], shell: Shell | None = None) -> bool:
    """Return whether scripts can end with success although a command that matters has failed.

    Args:
        texts: Scripts; each is judged alone.
        matters: Says of a command's words whether its failure must be the script's.
        shell: What runs them.
    """
    return any(_swallows(text, matters, shell or Shell()) for text in texts)


def _swallows(text: str, matters: Callable[[tuple[str, ...]], bool], shell: Shell) -> bool:
    tree = program.parse(text)
    pending: list[list[bool]] = [[]]
    for _ in range(_MOST_PATHS):
        if not pending:
            return False
        choices = pending.pop()
        run = _Run(shell, matters, choices)
        status = run.whole(tree)
        if run.failed and status == 0:
            return True
        # every choice that this path met for the first time, taken the other way
        pending += [[*run.taken[:at], not run.taken[at]] for at in range(len(choices), len(run.taken))]
    return False


class _Run:
    """One path through a script."""

    def __init__(self, shell: Shell, matters: Callable[[tuple[str, ...]], bool], choices: Sequence[bool]) -> None:
        self.errexit = shell.errexit
        self.pipefail = shell.pipefail
        self.bash = shell.bash
        self.scripts = shell.scripts
        self.matters = matters
        self.choices = choices
        self.taken: list[bool] = []
        self.failed = False
        self.functions: dict[str, Node] = {}
        self.trap = ""
        self.on_error = ""
        self.errtrace = False  # whether functions inherit that
        self.looping = 0  # loops with a condition that are running
        self.status = 0
        self.steps = 0
        self.depth = 0
        self.background = False  # whether something that failed runs there
        self.last_background = False  # whether that is the last one

    def whole(self, tree: Node) -> int:
        """Return the exit status of a script; 1 where it never ends."""
        try:
            try:
                status = self.node(tree, tested=False)
            except ExitError as ended:
                status = ended.status
            return self._left(status)
        except (EndlessError, BreakError):
            return 1

    def _left(self, status: int) -> int:
        """Return the status of a shell that ends, after its trap."""
        if self.trap:
            trap, self.trap, self.status = self.trap, "", status
            try:
                self.node(program.parse(trap), tested=True)
            except ExitError as ended:
                return ended.status
        return status

    def choice(self) -> bool:
        """Return one way of a test whose result nobody knows: the way that this path was given, else success."""
        at = len(self.taken)
        self.taken.append(self.choices[at] if at < len(self.choices) else True)
        return self.taken[-1]

    def node(self, node: Node, *, tested: bool) -> int:
        """Run a node; `tested` where its status is a condition, so that `set -e` does not apply."""
        self.steps += 1
        self.depth += 1
        try:
            if self.steps > _MOST_STEPS or self.depth > _MOST_DEPTH:
                raise EndlessError
            self.status = self._any(node, tested=tested)
        finally:
            self.depth -= 1
        checked = isinstance(node, Simple | Pipeline) or (isinstance(node, Group) and node.subshell)
        if checked and self.status and not tested and not _negated(node):
            if self.on_error:
                kept, self.on_error = (self.on_error, self.status), ""
                self.node(program.parse(kept[0]), tested=True)
                self.on_error, self.status = kept
            if self.errexit:
                raise ExitError(self.status)
        return self.status

    def _any(self, node: Node, *, tested: bool) -> int:
        if isinstance(node, Simple):
            return self._simple(node, tested=tested)
        if isinstance(node, Pipeline):
            return self._pipeline(node, tested=tested)
        if isinstance(node, AndOr):
            return self._and_or(node, tested=tested)
        if isinstance(node, Script):
            return self._script(node, tested=tested)
        if isinstance(node, Group):
            return self._apart(node.body, tested=tested) if node.subshell else self.node(node.body, tested=tested)
        if isinstance(node, If):
            return self._if(node, tested=tested)
        if isinstance(node, Loop):
            return self._loop(node, tested=tested)
        if isinstance(node, Case):
            chosen = next((body for body in node.bodies if self.choice()), None)
            return 0 if chosen is None else self.node(chosen, tested=tested)
        self.functions[node.name] = node.body
        return 0

    def _script(self, node: Script, *, tested: bool) -> int:
        status = 0
        for item, background in node.items:
            if background:
                self.last_background = self._apart(item, tested=False) != 0
                self.background = self.background or self.last_background
                status = 0
            else:
                status = self.node(item, tested=tested)
        return status

    def _apart(self, node: Node, *, tested: bool) -> int:
        """In a shell of its own: what it sets and where it exits stays there."""
        kept = self.errexit, self.pipefail, self.functions, self.trap, self.on_error
        self.functions, self.trap, self.on_error = dict(self.functions), "", ""
        try:
            try:
                status = self.node(node, tested=tested)
            except ExitError as ended:
                status = ended.status
            return self._left(status)
        except BreakError:
            return 0
        finally:
            self.errexit, self.pipefail, self.functions, self.trap, self.on_error = kept

    def _pipeline(self, node: Pipeline, *, tested: bool) -> int:
        if len(node.parts) == 1:
            status = self.node(node.parts[0], tested=True)
        else:
            parts = [fed(*pair, self.scripts) for pair in itertools.pairwise((Script(items=()), *node.parts))]
            found = [self._apart(part, tested=tested or node.negated) for part in parts]
            failed = [status for status in found if status]
            status = failed[-1] if self.pipefail and failed else found[-1]
        return int(not status) if node.negated else status

    def _and_or(self, node: AndOr, *, tested: bool) -> int:
        status = self.node(node.first, tested=True)
        for at, (operator, part) in enumerate(node.rest):
            if (operator == "&&") == (status == 0):
                status = self.node(part, tested=tested or at < len(node.rest) - 1)
        return status

    def _if(self, node: If, *, tested: bool) -> int:
        for condition, body in node.cases:
            if self.node(condition, tested=True) == 0:
                return self.node(body, tested=tested)
        return 0 if node.otherwise is None else self.node(node.otherwise, tested=tested)

    def _loop(self, node: Loop, *, tested: bool) -> int:
        status = 0
        self.looping += node.condition is not None
        try:
            return self._rounds(node, status, tested=tested)
        finally:
            self.looping -= node.condition is not None

    def _rounds(self, node: Loop, status: int, *, tested: bool) -> int:
        for _ in range(_ROUNDS):
            try:
                if node.condition is not None:
                    held = self.node(node.condition, tested=True) == 0
                    if held == (node.word == "until"):
                        return status
                status = self.node(node.body, tested=tested)
            except BreakError as end:
                status = 0
                if not end.again:
                    return status
        if node.condition is not None:
            raise EndlessError
        return status

    def _simple(self, node: Simple, *, tested: bool) -> int:
        inner = 0
        words = node.words
        for text in node.inner:
            inherited, self.errexit = self.errexit, self.errexit and not self.bash
            inner = self._apart(program.parse(text), tested=False)
            self.errexit = inherited
            words = tuple(word.replace(f"$({text})", "").replace(f"`{text}`", "") for word in words)
        if not words:
            return inner
        whole = words
        while words[0] != "exec" and 0 < (at := wrapped(words, 0)) < len(words):
            words = words[at:]
            while len(words) > 1 and "=" in words[0]:
                words = words[1:]
        name = words[0].rsplit("/", 1)[-1]
        if name in self.functions:
            return self._function(name, tested=tested)
        own = getattr(self, f"_do_{_BUILTINS.get(name, '')}", None)
        if own is not None:
            status: int = own(words, tested=tested)
            return status
        if name in SHELLS and (known := self._shell(words, node.document)) is not None:
            return known
        if (text := self.scripts.get(name, "")) and not name.endswith(".py"):
            return self._file(text)
        if inside := behind(words, self.scripts, stripped=words != whole):
            status = self._simple(Simple(words=inside, document=node.document), tested=tested)
            return 0 if hides(words) else status
        return self._program(name, words)

    def _program(self, name: str, words: tuple[str, ...]) -> int:
        if self.matters(words):
            self.failed = True
            return 0 if hides(words) else 1
        if name == "read":  # fails at the end of what it reads
            return int(not self.choice())
        if name in _TESTS:  # what ends a loop after so many rounds notices nothing
            noticed = name == "false" or (self.failed and not self.looping)
            return 1 if noticed else int(not self.choice())
        return 0

    def _function(self, name: str, *, tested: bool) -> int:
        kept = self.on_error
        if not self.errtrace:
            self.on_error = ""
        try:
            return self.node(self.functions[name], tested=tested)
        except ReturnError as ended:
            return ended.status
        finally:
            self.on_error = kept

    def _shell(self, words: tuple[str, ...], document: str) -> int | None:
        """Return the status of `sh -c TEXT`, `sh FILE` or `sh <<EOF`, None where the text is not known."""
        at, inline = script_of(words)
        known = words[at] if inline else self.scripts.get(words[at].rsplit("/", 1)[-1])
        text = known if at else document
        if not text:
            return None
        return self._inside(text, shell_of(words[: at or None], self.scripts))

    def _file(self, text: str) -> int:
        """Return the status of a script that is run by itself: its first line says by what."""
        first = text.partition("\n")[0]
        words = first.removeprefix("#!").split() if first.startswith("#!") else ["sh"]
        if words[:1] and words[0].endswith("/env"):
            words = words[1:]
        return self._inside(text, shell_of(words, self.scripts))

    def _inside(self, text: str, shell: Shell) -> int:
        kept = self.errexit, self.pipefail, self.functions, self.trap, self.on_error, self.bash
        self.errexit, self.pipefail, self.functions, self.trap = shell.errexit, shell.pipefail, {}, ""
        self.on_error, self.bash = "", shell.bash
        try:
            return self.whole(program.parse(text))
        finally:
            self.errexit, self.pipefail, self.functions, self.trap, self.on_error, self.bash = kept

    def options(self, words: Sequence[str]) -> None:
        """Do what `set` does with these words."""
        for at, word in enumerate(leading(words)):
            on = word.startswith("-")
            if word[:1] in {"-", "+"} and not word.startswith("--"):
                if "e" in word[1:]:
                    self.errexit = on
                if "E" in word[1:]:
                    self.errtrace = on
                if word.endswith("o") and at + 1 < len(words):
                    if words[at + 1] == "errexit":
                        self.errexit = on
                    elif words[at + 1] == "pipefail":
                        self.pipefail = on

    def _do_set(self, words: tuple[str, ...], *, tested: bool) -> int:
        del tested
        self.options(words[1:])
        return 0

    def _do_exit(self, words: tuple[str, ...], *, tested: bool) -> int:
        del tested
        raise ExitError(given(words, self.status))

    def _do_return(self, words: tuple[str, ...], *, tested: bool) -> int:
        del tested
        raise ReturnError(given(words, self.status))

    def _do_break(self, words: tuple[str, ...], *, tested: bool) -> int:
        del tested
        raise BreakError(again=words[0] == "continue")

    def _do_trap(self, words: tuple[str, ...], *, tested: bool) -> int:
        del tested
        text, signals = trapped(words)
        if {"EXIT", "0"} & signals:
            self.trap = text
        if "ERR" in signals:
            self.on_error = text
        return 0

    def _do_wait(self, words: tuple[str, ...], *, tested: bool) -> int:
        del tested
        return int((self.last_background if words[-1] == "$!" else self.background) and len(words) > 1)

    def _do_eval(self, words: tuple[str, ...], *, tested: bool) -> int:
        return self.node(program.parse(" ".join(words[1:])), tested=tested)

    def _do_source(self, words: tuple[str, ...], *, tested: bool) -> int:
        text = self.scripts.get(words[1].rsplit("/", 1)[-1]) if len(words) > 1 else None
        if text is None:
            return self._program(words[0], words)
        return self.node(program.parse(text), tested=tested)

    def _do_exec(self, words: tuple[str, ...], *, tested: bool) -> int:
        if len(words) > 1:
            inside = behind(words, self.scripts) or words[1:]
            raise ExitError(self._simple(Simple(words=inside), tested=tested))
        return 0


_BUILTINS = {
    "set": "set", "exit": "exit", "return": "return", "break": "break", "continue": "break", "trap": "trap",
    "wait": "wait", "eval": "eval", ".": "source", "source": "source", "exec": "exec",
}  # fmt: skip


def _negated(node: Node) -> bool:
    return isinstance(node, Pipeline) and node.negated
