"""What a CMake project downloads while it is configured: the sources that its files declare.

Conditions are not evaluated: a declaration in a branch may be fetched. Included files and subdirectories are followed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.cuda.cmake_words import commands

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = "CMakeLists.txt"
_FETCHING = frozenset({"fetchcontent_declare", "fetchcontent_populate", "externalproject_add", "cpmaddpackage"})
_HERE = ("CMAKE_CURRENT_SOURCE_DIR", "CMAKE_SOURCE_DIR", "PROJECT_SOURCE_DIR")
_LOCAL = frozenset({"SOURCE_DIR", "OVERRIDE_FIND_PACKAGE"})
_REMOTE = frozenset({"URL", "GIT_REPOSITORY", "SVN_REPOSITORY", "HG_REPOSITORY", "CVS_REPOSITORY", "DOWNLOAD_COMMAND"})
_MAX_FILES = 200


def included(written: str, file: str) -> str:
    """Return the path of an included file below the project's directory, "" where a variable or a module names it.

    Args:
        written: The argument of `include` or `add_subdirectory`.
        file: The file that has it, by its path below the project's directory.
    """
    folder = file.rpartition("/")[0]
    path = written
    for name in _HERE:
        path = path.replace(f"${{{name}}}", ".")
    path = path.replace("${CMAKE_CURRENT_LIST_DIR}", folder or ".")
    parts = [part for part in path.split("/") if part not in {"", "."}]
    return "" if "$" in path or ".." in parts else "/".join(parts)


def declared(read: Callable[[str], str]) -> Iterator[tuple[str, str]]:
    """Yield (source, file) for every source that a project declares to be fetched, in the order of its files.

    Args:
        read: Returns a file of the project by its path, "" where there is none.
    """
    waiting, seen = [ROOT], {ROOT}
    while waiting:
        file = waiting.pop(0)
        for command in commands(read(file)):
            words = command.texts
            if command.name in _FETCHING and words and not _is_local(command.name, words):
                yield _name(words), file
            elif command.name == "file" and words[:1] == ["DOWNLOAD"] and len(words) > 1:
                yield words[1], file
            elif command.name in {"include", "add_subdirectory"} and words and len(seen) < _MAX_FILES:
                path = _followed(command.name, words[0], file)
                if path and path not in seen:
                    seen.add(path)
                    waiting.append(path)


def _followed(command: str, written: str, file: str) -> str:
    if command == "include":
        return included(written, file) if "/" in written or written.endswith(".cmake") else ""
    folder = file.rpartition("/")[0]
    inside = written if written.startswith("$") or not folder else f"{folder}/{written}"
    found = included(inside, file)
    return f"{found}/{ROOT}" if found else ""


def _is_local(command: str, words: list[str]) -> bool:
    """Whether a declaration names a directory of its own, or only uses what another one declared."""
    if _REMOTE & set(words):
        return False
    return bool(_LOCAL & set(words)) or (command == "fetchcontent_populate" and len(words) == 1)


def _name(words: list[str]) -> str:
    return words[words.index("NAME") + 1] if "NAME" in words[:-1] else words[0]
