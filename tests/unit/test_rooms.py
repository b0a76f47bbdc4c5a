"""The packages of docs/architecture.md, kept by a test: each imports only packages below it, and no circle of files."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

import orchestrator
from tests.support.source import nodes

ROOT = Path(orchestrator.__file__).parent

# The lowest first; packages of one line do not import each other.
FLOORS = [
    ["redact"],
    ["errors", "cuda"],
    ["durations", "entries", "files", "flashinfer", "labels", "reference", "sizes", "state", "untrusted"],
    ["process", "cuda_image"],
    ["orphans"],
    ["engine"],
    ["registry"],
    ["dockerfile"],
    ["matrix"],
    ["headers"],
    ["wheels"],
    ["bake"],
    ["cache"],
    ["image"],
    ["drift"],
    ["runs"],
    ["publish"],
    ["ui"],
    ["cli"],
]
LEVEL = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}

# Inside image/: bytes of code, then layers that hold them, then where layers come from, then what they are worth.
IMAGE = {name: level for level, name in enumerate(["code", "layers", "sources", "verdict"])}

MODULES = {".".join(path.relative_to(ROOT.parent).with_suffix("").parts): path for path in ROOT.rglob("*.py")}


@functools.cache
def imported(path: Path) -> set[str]:
    """The modules of ours that a file imports, at any depth of it (`orchestrator.matrix.load`), for types as well."""
    found: set[str] = set()
    for node in nodes(path):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "orchestrator":
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else node.module for name in names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.startswith("orchestrator.")}
    return found - {"orchestrator"}


def room(module: str) -> str:
    return module.split(".")[1]


def test_packages_import_only_packages_below() -> None:
    wrong = [
        f"{module} imports {other}"
        for module, path in MODULES.items()
        if room(f"{module}.") not in {"", "__init__", "__main__"}
        for other in imported(path)
        if room(other) != room(module) and LEVEL[room(other)] >= LEVEL[room(module)]
    ]
    assert not wrong, "\n".join(wrong)


def test_parts_of_image_import_only_parts_below() -> None:
    def level(module: str) -> int:
        return IMAGE.get(module.split(".")[2], -1) if module.startswith("orchestrator.image.") else -1

    wrong = [
        f"{module} imports {other}"
        for module, path in MODULES.items()
        if level(module) >= 0
        for other in imported(path)
        if level(other) > level(module)
    ]
    assert not wrong, "\n".join(wrong)


def test_no_files_import_each_other_in_a_circle() -> None:
    after = {module: imported(path) & MODULES.keys() for module, path in MODULES.items()}
    settled: set[str] = set()
    while ready := {module for module, others in after.items() if module not in settled and others <= settled}:
        settled |= ready
    circle = {module: sorted(after[module] - settled) for module in after.keys() - settled}
    assert not circle, circle


def test_private_names_stay_in_their_file() -> None:
    wrong = [
        f"{module} imports {alias.name} of {node.module}"
        for module, path in MODULES.items()
        for node in nodes(path)
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("orchestrator")
        for alias in node.names
        if alias.name.startswith("_") and not alias.name.startswith("__")
    ]
    assert not wrong, "\n".join(wrong)


def test_modules_stay_small() -> None:
    large = {
        str(path.relative_to(ROOT)): lines
        for path in ROOT.rglob("*.py")
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > 400
    }
    assert not large


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """How many parameters a function has; self and cls, *args and **kwargs are not counted."""
    arguments = function.args
    names = [argument.arg for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    return len([name for name in names if name not in {"self", "cls"}])


def is_command(path: Path, function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether it is a command of cli/: its parameters are what a user can say."""
    return path.is_relative_to(ROOT / "cli") and any(
        "kit.command" in ast.unparse(one) for one in function.decorator_list
    )


def test_functions_take_at_most_six_parameters() -> None:
    found = {
        f"{path.relative_to(ROOT)}:{node.name}": number
        for path in sorted(ROOT.rglob("*.py"))
        for node in nodes(path)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if (number := parameters(node)) > 6 and not is_command(path, node)
    }
    assert not found, f"compose small values instead: {found}"
