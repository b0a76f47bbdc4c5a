"""Reads the kernel families of vLLM's CMake files: each call of `cuda_archs_loose_intersection` with its list.

Follows `if` blocks that compare the version of the CUDA compiler, variables that `set` and `list(APPEND …)` give
literals to, functions around the filter, and `include()` of files of the repository. A condition on anything else
counts as met: a preview that shows a kernel too many does less harm than one that hides a kernel. A call that cannot be
followed is reported. `cuda.filters` computes what a list becomes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec import Struct, field

from orchestrator.cuda.arch import Arch, ArchSyntaxError, parse_list
from orchestrator.cuda.cmake_conditions import met
from orchestrator.cuda.cmake_fetch import included
from orchestrator.cuda.cmake_words import CmakeCommand, commands

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from orchestrator.cuda.toolkit import Toolkit

ROOT = "CMakeLists.txt"
"""The file that everything starts from."""

_FILTER = "cuda_archs_loose_intersection"
_FILTERED = "CUDA_ARCHS"
"""The variable that the first call stores what the build asks for in."""

_VARIABLE = re.compile(r"\$\{(\w+)\}")
_MAX_DEPTH = 8  # of includes and of functions that call each other
_MAX_FILES = 200
_MAX_VALUE = 10_000


class Family(Struct, frozen=True, kw_only=True):
    """One call of the filter.

    Attributes:
        name: The variable that the result is stored in: MARLIN_FP8_ARCHS.
        archs: The architectures that the kernels support.
        line: 1-based line of the call.
        file: The file of the call, below the directory of CMakeLists.txt.
    """

    name: str
    archs: tuple[Arch, ...]
    line: int
    file: str = ROOT


class Unfollowed(Struct, frozen=True, kw_only=True):
    """A call of the filter, or an `include`, that was not followed: where, and why."""

    file: str
    line: int
    why: str


class Kernels(Struct, kw_only=True):
    """What CMake files build for a CUDA release, in the order in which CMake runs them."""

    families: list[Family] = field(default_factory=list)
    unfollowed: list[Unfollowed] = field(default_factory=list)


class _Block(Struct, kw_only=True):
    """An open `if`.

    Attributes:
        live: Whether the current branch runs, None if unknown.
        settled: Whether a branch before it certainly runs.
    """

    live: bool | None
    settled: bool


class _Function(Struct, frozen=True, kw_only=True):
    """A function: its parameters, its body and its file."""

    parameters: tuple[str, ...]
    body: tuple[CmakeCommand, ...]


class _Place(Struct, frozen=True, kw_only=True):
    """Where a command is: the file, its text, the line that is shown for all of it ("0" for its own), how deep."""

    file: str
    text: str
    line: int = 0
    depth: int = 0

    def line_of(self, command: CmakeCommand) -> int:
        """1-based line of a command."""
        return self.line or self.text.count("\n", 0, command.start) + 1


def read_kernels(text: str, cuda: Toolkit, include: Callable[[str], str | None] | None = None) -> Kernels:
    """Return the kernel families that are built for a CUDA release, and the calls that were not followed.

    Args:
        text: The text of CMakeLists.txt.
        cuda: The toolkit of the build.
        include: The text of a file by its path below the directory of CMakeLists.txt, None if there is none; by default
            no file is included.
    """
    reading = _Reading(cuda=cuda, include=include)
    reading.run(tuple(commands(text)), _Place(file=ROOT, text=text))
    return reading.kernels


class _Reading(Struct, kw_only=True):
    """Runs CMake files as far as the filter needs it.

    Attributes:
        cuda: The toolkit of the build.
        include: As for `read_kernels`.
        kernels: What was found.
        variables: The variables with literal values.
        functions: The functions and macros, by their names in lowercase letters.
        files: How many files were included.
    """

    cuda: Toolkit
    include: Callable[[str], str | None] | None
    kernels: Kernels = field(default_factory=Kernels)
    variables: dict[str, str] = field(default_factory=dict)
    functions: dict[str, _Function] = field(default_factory=dict)
    files: int = 0

    def run(self, body: Sequence[CmakeCommand], place: _Place) -> None:
        """Run commands in order."""
        blocks: list[_Block] = []
        index = 0
        while index < len(body):
            command = body[index]
            index += 1
            if command.name in {"function", "macro"}:
                end = next((at for at in range(index, len(body)) if body[at].name == f"end{command.name}"), len(body))
                name, *parameters = command.texts or [""]
                self.functions[name.lower()] = _Function(parameters=tuple(parameters), body=tuple(body[index:end]))
                index = end + 1
            elif not self.branch(command, blocks) and all(block.live is not False for block in blocks):
                self.step(command, place)

    def branch(self, command: CmakeCommand, blocks: list[_Block]) -> bool:
        """Follow `if` and what belongs to it; returns whether the command is one of them."""
        match command.name:
            case "if":
                value = met(command.texts, self.cuda)
                blocks.append(_Block(live=value, settled=value is True))
            case "elseif" if blocks:
                value = met(command.texts, self.cuda)
                blocks[-1].live = False if blocks[-1].settled else value
                blocks[-1].settled = blocks[-1].settled or value is True
            case "else" if blocks:
                blocks[-1].live = not blocks[-1].settled
            case "endif" if blocks:
                blocks.pop()
            case _:
                return False
        return True

    def step(self, command: CmakeCommand, place: _Place) -> None:
        """Run one command."""
        words = command.texts
        match command.name:
            case "set" if words:
                self.assign(words[0], words[1:])
            case "list" if words[:1] == ["APPEND"] and len(words) > 1:
                self.assign(words[1], [*filter(None, [self.variables.get(words[1])]), *words[2:]])
            case "include" if words and self.include is not None:
                self.included(words[0], command, place)
            case name if name == _FILTER:
                self.filtered(words, command, place)
            case name if name in self.functions and place.depth < _MAX_DEPTH:
                function = self.functions[name]
                if any(one.name == _FILTER or one.name in self.functions for one in function.body):
                    self.called(function, words, place, place.line_of(command))
            case _:
                pass

    def assign(self, name: str, words: Sequence[str]) -> None:
        """Give a variable a value; one that is not known removes it."""
        kept = []
        for word in words:
            if word in {"CACHE", "PARENT_SCOPE"}:
                break
            kept.append(word)
        value = self.value(";".join(kept))
        if value is None or len(value) > _MAX_VALUE:
            self.variables.pop(name, None)
        else:
            self.variables[name] = value

    def value(self, text: str) -> str | None:
        """A text with its variables filled in, None where one has no literal value."""
        names = _VARIABLE.findall(text)
        if any(name not in self.variables for name in names):
            return None
        whole = _VARIABLE.sub(lambda match: self.variables[match[1]], text)
        return None if "$" in whole else whole

    def included(self, written: str, command: CmakeCommand, place: _Place) -> None:
        """Run a file of the repository; a module of CMake's own has no suffix."""
        if "/" not in written and not written.endswith(".cmake"):
            return
        path = included(written, place.file)
        self.files += 1
        safe = path and place.depth < _MAX_DEPTH and self.files <= _MAX_FILES
        text = self.include(path) if safe and self.include is not None else None
        if text is None:
            why = f"include({written}) is not followed"
            self.kernels.unfollowed.append(Unfollowed(file=place.file, line=place.line_of(command), why=why))
            return
        self.run(tuple(commands(text)), _Place(file=path, text=text, depth=place.depth + 1))

    def called(self, function: _Function, words: Sequence[str], place: _Place, line: int) -> None:
        """Run a function with its arguments; what it sets stays its own."""
        outer = dict(self.variables)
        for name, word in zip(function.parameters, words, strict=False):
            self.variables[name] = word if _VARIABLE.fullmatch(word) else self.value(word) or word
        before = len(self.kernels.families)
        inner = _Place(file=place.file, text=place.text, line=line, depth=place.depth + 1)
        self.run(function.body, inner)
        self.variables = outer
        for index in range(before, len(self.kernels.families)):
            one = self.kernels.families[index]
            self.kernels.families[index] = Family(name=words[0], archs=one.archs, line=one.line, file=one.file)

    def filtered(self, words: Sequence[str], command: CmakeCommand, place: _Place) -> None:
        """One call of the filter."""
        if len(words) != 3 or words[0] == _FILTERED:  # the first call makes CUDA_ARCHS, no kernel
            return
        line = place.line_of(command)
        value = self.value(words[1])
        if value is None:
            why = f"{words[0]}: its list {words[1]} is not known without running CMake"
            self.kernels.unfollowed.append(Unfollowed(file=place.file, line=line, why=why))
            return
        try:
            archs = parse_list(value)
        except ArchSyntaxError:
            return
        self.kernels.families.append(Family(name=words[0], archs=archs, line=line, file=place.file))
