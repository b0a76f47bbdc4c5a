"""What the scripts, Python programs and CMake files that a RUN step names fetch.

Scripts are followed into the scripts that they name; functions count where they are called.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec import Struct

from orchestrator.cuda import cmake_fetch
from orchestrator.dockerfile.commands import commands, reached
from orchestrator.headers import python_program
from orchestrator.headers.steps import fetches, program_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from orchestrator.dockerfile.commands import Command
    from orchestrator.dockerfile.stages import Dockerfile

_SCRIPT = re.compile(r"\.(?:sh|bash|py)$|^(?:install|setup|build|bootstrap)[\w-]*$")
_VARIABLE = re.compile(r"^\$(?:\w+|\{\w+\})/+(?=[^$]+$)")
_BUILDERS = re.compile(r"python[\d.]*|pip[\d.]*|uv|poetry|hatch|maturin")
_VALUED = frozenset(
    {"-p", "--python", "-r", "--requirement", "--requirements", "-c", "--constraint", "--constraints", "-b",
     "--build-constraint", "--build-constraints", "-t", "--target", "--prefix", "--root", "-w", "--wheel-dir",
     "-f", "--find-links", "-i", "--index-url", "--extra-index-url", "--index", "--default-index", "--cache-dir",
     "-o", "--out-dir", "--outdir", "-d", "--dest", "--dist-dir", "--log", "--src", "--report", "--override",
     "--overrides", "--excludes", "--cert", "--client-cert", "--config-file", "--torch-backend"}
)  # fmt: skip
"""Options of pip, uv and build whose value is another word, and no project."""
_MAX_DEPTH = 5  # of scripts that name scripts


class Tree(Struct, frozen=True, kw_only=True):
    """Where the files that a step names are found.

    Attributes:
        read: Returns a text file of the build context by its path, "" where there is none.
        inline: File name -> text of the here-documents of the Dockerfile.
        copied: Paths of the context that the Dockerfile copies.
    """

    read: Callable[[str], str]
    inline: Mapping[str, str]
    copied: Sequence[str]


def accesses(found: Sequence[Command], tree: Tree) -> Iterator[tuple[str, str]]:
    """Yield (access, file) for what the commands of a step fetch; the file is "" for the commands themselves.

    Args:
        found: The commands that run.
        tree: Where files are.
    """
    yield from _own(found, tree, "", 0, set())
    if any(_configures(command.words) for command in found):
        declared: dict[str, list[str]] = {}
        for name, file in cmake_fetch.declared(tree.read):
            declared.setdefault(file, []).append(name)
        for file, names in declared.items():
            yield f"cmake FetchContent: {', '.join(dict.fromkeys(names))}", file


def scripts(found: Sequence[Command], tree: Tree) -> dict[str, str]:
    """Return path -> text of the scripts and Python programs that commands name, and of those that these name.

    Args:
        found: The commands of a step.
        tree: Where files are.
    """
    known: dict[str, str] = {}
    waiting = [(tuple(found), "", 0)]
    while waiting:
        commands_, file, depth = waiting.pop(0)
        words = {word for command in commands_ for word in command.words}
        for path, text in _named(words, tree, file.rpartition("/")[0]):
            if path not in known and depth < _MAX_DEPTH:
                known[path] = text
                if not path.endswith(".py"):
                    waiting.append((tuple(commands(text)), path, depth + 1))
    return known


def copied(file: Dockerfile) -> tuple[str, ...]:
    """Return the paths of the build context that a Dockerfile copies."""
    return tuple(
        word.removeprefix("./")
        for stage in file.stages
        for step in stage.steps
        if step.keyword in {"COPY", "ADD"} and not step.sources
        for word in step.words[:-1]
    )


def _own(found: Sequence[Command], tree: Tree, file: str, depth: int, seen: set[str]) -> Iterator[tuple[str, str]]:
    for command in found:
        if name := fetches(command):
            yield name, file
        if program := program_of(command):
            yield from _python(program, file)
    words = {word for command in found for word in command.words}
    for path, text in _named(words, tree, file.rpartition("/")[0]):
        if path in seen or depth == _MAX_DEPTH:
            continue
        seen.add(path)
        if path.endswith(".py"):
            yield from _python(text, path)
        else:
            yield from _own(reached(commands(text), found), tree, path, depth + 1, seen)


def _python(text: str, file: str) -> Iterator[tuple[str, str]]:
    module = python_program.parse(text)
    for name, command in () if module is None else python_program.fetches(module):
        if told := name or (fetches(command) if command is not None else ""):
            yield told, file


def _named(words: set[str], tree: Tree, folder: str) -> Iterator[tuple[str, str]]:
    """Scripts that commands name: here-documents of the Dockerfile, files of the build context or beside the script."""
    for word in sorted(_VARIABLE.sub("", word) for word in words):
        name = word.rsplit("/", 1)[-1]
        if name in tree.inline:
            yield name, tree.inline[name]
        elif _SCRIPT.search(name) and "$" not in word:
            parts = [part for part in word.split("/") if part not in ("", ".", "..")]
            tries = ["/".join(parts[at:]) for at in range(len(parts))]
            tries.append(f"{folder}/{'/'.join(parts)}")
            tries += [source for source in tree.copied if source.rsplit("/", 1)[-1] == name]
            for path in tries:
                if text := tree.read(path):
                    yield path, text
                    break


def _configures(words: tuple[str, ...]) -> bool:
    """Whether a command may configure the context's CMake project: cmake itself, or a build of the Python package."""
    name = words[0].rsplit("/", 1)[-1] if words else ""
    if name == "cmake" or "setup.py" in words:
        return True
    builder = _BUILDERS.fullmatch(name) is not None
    values = [word for at, word in enumerate(words[1:]) if words[at] not in _VALUED]
    local = any(word.startswith((".", "/")) and not word.endswith((".whl", ".txt", ".in")) for word in values)
    return builder and (bool({"wheel", "build", "bdist_wheel"} & set(words[1:4])) or ("install" in words and local))
