"""What a careful person greps for in a source tree: arch lists and CUDA versions, line by line, without any grammar.

    python -m tests.facts.careful_grep DIR

prints `file<TAB>line<TAB>value` for every hit. The truth tables beside this file hold its hits in six source
distributions with a verdict for each. Most verdicts came from a script of rules, which is not kept, and were then read
through; the others were given by hand. tests/e2e/test_find_truth.py compares `check --find`, `init` and `check` with
them. The grep shares nothing with `orchestrator.drift`, which is what it judges.

Left out: the program's own source (C++, CUDA, Rust, Python except setup.py), where versions are thresholds and lists
are floats; generated metadata; changelogs; vendored trees; tests.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_CC = r"3\.[57]|5\.[023]|6\.[012]|7\.[025]|8\.[06-9]|9\.0|10\.[0137]|11\.0|12\.[01]"
_ONE = rf"(?:{_CC})[af]?(?:\+PTX)?"
_NUMBER = r"(?:[5-9]\d|1[0-2]\d)[af]?(?:-real|-virtual)?"
_VERSION = r"1[0-3]\.\d{1,2}(?:\.\d)?(?![\w.]*\d)"
_LISTS = (
    re.compile(rf"""(?<![\w.+-]){_ONE}(?:(?:[ ;]+|["']?,\s*["']?){_ONE})+(?![\w.+-])"""),
    re.compile(rf"(?<![\w.-]){_NUMBER}(?:;{_NUMBER})+(?![\w.])"),
)
_NAMED = (
    re.compile(rf"""(?i)(?:cuda_?arch\w*|arch_?list\w*)["'}}]*\s*(?:\)|[=:|`]+|\s)\s*[`"']*({_ONE})(?![\w.])"""),
    re.compile(rf"""(?i)cuda_?arch\w*["'}}]*\s*(?:[=:]+|\s)\s*["']?({_NUMBER})(?![\w.])"""),
)
_CUDA = re.compile(
    rf"""(?ix) cuda (?:[_ -]?(?:toolkit|version|ver|major|tag|image|release|runtime|driver))* ["'}}`*)]*
    \s* (?::-|[=:]{{1,2}}|>=|-|\s|\|)? \s* ["'`\[(@*v]* ({_VERSION} (?:["']?,\s*["']? {_VERSION})*)"""
)
_SKIPPED_FOLDERS = frozenset({"_deps", "tests", "third_party", "3rdparty", "vendor", "node_modules"})
_SOURCE = frozenset(
    {".cu", ".cuh", ".h", ".hpp", ".cpp", ".cc", ".c", ".inl", ".rs", ".js", ".ts", ".svg", ".ipynb", ".po", ".lock",
     ".csv", ".jsonl", ".embd", ".patch"}
)  # fmt: skip


def hits(root: Path) -> Iterator[tuple[str, int, str]]:
    """Yield file, line and value of every hit below a directory."""
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root)
        if path.is_file() and not path.is_symlink() and path.stat().st_size <= 1_000_000 and not _skipped(name):
            data = path.read_bytes()
            if b"\0" not in data:
                for number, line in enumerate(data.decode("utf-8", "replace").split("\n"), 1):
                    yield from ((name.as_posix(), number, value) for value in values(line))


def values(line: str) -> list[str]:
    """Return the arch lists and CUDA versions of one line."""
    found = [match[0] for pattern in _LISTS for match in pattern.finditer(line)]
    found += [match[1] for pattern in _NAMED for match in pattern.finditer(line) if not _inside(match[1], found)]
    for match in _CUDA.finditer(line):
        found += [version for version in re.findall(_VERSION, match[1]) if not _inside(version, found)]
    return list(dict.fromkeys(found))


def _inside(value: str, found: list[str]) -> bool:
    return any(value in other and value != other for other in found)


def _skipped(name: Path) -> bool:
    return (
        bool(_SKIPPED_FOLDERS.intersection(name.parts))
        or name.suffix in _SOURCE
        or (name.suffix == ".py" and name.name != "setup.py")
        or name.name == "PKG-INFO"
        or any(part.endswith(".egg-info") for part in name.parts)
        or name.name.upper().startswith("CHANGELOG")
    )


if __name__ == "__main__":
    for hit in hits(Path(sys.argv[1])):
        print(*hit, sep="\t")
