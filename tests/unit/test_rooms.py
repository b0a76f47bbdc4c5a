"""The floor plan of docs/architecture.md, held by a test: a room imports only rooms below it."""

from __future__ import annotations

import ast
from pathlib import Path

import orchestrator

ROOT = Path(orchestrator.__file__).parent

# The ground floor first; rooms of one line do not import each other unless listed in ALLOWED.
FLOORS = [
    ["errors", "cuda"],
    ["process"],
    ["engine"],
    ["matrix"],
    ["headers"],
    ["drift"],
    ["cache"],
    ["bake"],
    ["image"],
    ["build"],
    ["publish"],
    ["ui"],
    ["cli"],
]
LEVEL = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}


def imports(path: Path) -> set[str]:
    """The rooms that a module imports, at any depth of the file."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "orchestrator":
            parts = node.module.split(".")
            found |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("orchestrator.")}
    return found - {"__version__"}


def test_rooms_import_only_rooms_below() -> None:
    rooms = {path: path.relative_to(ROOT).parts[0].removesuffix(".py") for path in ROOT.rglob("*.py")}
    wrong = [
        f"{path.relative_to(ROOT)} imports {other}"
        for path, room in rooms.items()
        if room not in {"__init__", "__main__"}
        for other in imports(path)
        if other != room and LEVEL[other] >= LEVEL[room]
    ]
    assert not wrong, "\n".join(wrong)


def test_modules_stay_small() -> None:
    large = {
        str(path.relative_to(ROOT)): lines
        for path in ROOT.rglob("*.py")
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > 400
    }
    assert not large
