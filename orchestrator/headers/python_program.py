"""What a Python program of a build does: failures that it turns into success, and what it fetches.

Read from its syntax tree; nothing is run. A program says in many ways that it goes on after an error: a handler that
neither raises nor exits with an error, `suppress`, a `finally` that returns, a child process whose status nobody looks
at.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from orchestrator.dockerfile.commands import Command

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_MAX_DEPTH = 3  # of exec("exec(…)")
_EXITS = frozenset({"exit", "quit", "sys.exit", "os._exit", "_exit", "SystemExit"})
_UNCHECKED = frozenset({"os.popen", "getoutput", "subprocess.getoutput", "subprocess.Popen", "Popen"})
_RUNS = frozenset({"subprocess.run", "run"})
_RETURNS = frozenset({"subprocess.call", "call", "os.spawnl", "os.spawnv", "os.spawnlp", "os.spawnvp"})
_STATUS = frozenset({"returncode", "check_returncode", "exitcode", "result", "exception"})
_APART = frozenset({"Thread", "Process", "submit", "create_task", "run_in_executor"})
_WORK = ("flashinfer", "cubin", "header", "artifact", "download", "kernel")
_DOWNLOADS = frozenset(
    {"urllib.request.urlopen", "urllib.request.urlretrieve", "urlopen", "urlretrieve", "requests.get", "httpx.get",
     "httpx.stream", "hf_hub_download", "snapshot_download", "huggingface_hub.hf_hub_download",
     "huggingface_hub.snapshot_download"}
)  # fmt: skip
_COMMANDS = _RUNS | _RETURNS | _UNCHECKED | {"subprocess.check_call", "subprocess.check_output", "os.system",
                                             "check_call", "check_output"}  # fmt: skip


def parse(text: str) -> ast.Module | None:
    """Return the syntax tree of a program, None for what is no Python."""
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def swallowed(module: ast.Module, words: Sequence[str] = ()) -> str:
    """Return the construct that lets a program end with success although its work failed, "" where there is none.

    Args:
        module: The program.
        words: Only what names one of these, in lowercase letters, or calls what does is its work; () counts all of it.
    """
    names = _names(module)
    if not words:
        return next(_swallowed(module, names, 0), "")
    work = _work(module, words)
    parts = [node for node in ast.walk(module) if isinstance(node, _PARTS) and _is_work(node, words, work)]
    found = (_swallowed(ast.Module(body=[part], type_ignores=[]), names, 0) for part in parts)
    return next((one for several in found for one in several), "")


_PARTS = (ast.Try, ast.TryStar, ast.With, ast.AsyncWith, ast.Expr)


def _work(module: ast.Module, words: Sequence[str]) -> set[str]:
    """Names that stand for the work: imported from it, and functions that do it."""
    known: set[str] = set()
    functions = [node for node in ast.walk(module) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    for node in ast.walk(module):
        if isinstance(node, ast.Import | ast.ImportFrom) and any(word in ast.unparse(node).lower() for word in words):
            known |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
    while more := {node.name for node in functions if node.name not in known and _is_work(node, words, known)}:
        known |= more
    return known


def _is_work(node: ast.AST, words: Sequence[str], known: set[str]) -> bool:
    text = ast.unparse(node).lower()
    return any(word in text for word in words) or any(
        isinstance(one, ast.Name) and one.id in known for one in ast.walk(node)
    )


def fetches(module: ast.Module) -> Iterator[tuple[str, Command | None]]:
    """Yield what a program fetches itself (`urllib.request.urlopen`), and the commands that it starts.

    Args:
        module: The program.
    """
    for node in ast.walk(module):
        if isinstance(node, ast.Import | ast.ImportFrom) and "setuptools_rust" in _imported(node):
            yield "", Command(words=("cargo", "build"))
        elif isinstance(node, ast.Call) and (name := ast.unparse(node.func)) in _DOWNLOADS:
            yield name, None
        elif isinstance(node, ast.Call) and name in _COMMANDS and node.args and (words := _words(node.args[0])):
            yield "", Command(words=words)


def _imported(node: ast.Import | ast.ImportFrom) -> list[str]:
    own = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
    return [name.partition(".")[0] for name in (*own, *(alias.name for alias in node.names))]


def _words(node: ast.expr) -> tuple[str, ...]:
    """The words of a child process that are written there; a value that is computed is `$`."""
    if isinstance(node, ast.List | ast.Tuple):
        return tuple(one.value if isinstance(one, ast.Constant) and isinstance(one.value, str) else "$"
                     for one in node.elts)  # fmt: skip
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return tuple(node.value.split())
    return ()


def _names(module: ast.Module) -> frozenset[str]:
    """Every attribute and name that the program uses."""
    return frozenset(
        node.attr if isinstance(node, ast.Attribute) else node.id
        for node in ast.walk(module)
        if isinstance(node, ast.Attribute | ast.Name)
    )


def _swallowed(tree: ast.AST, names: frozenset[str], depth: int, *, caught: bool = False) -> Iterator[str]:
    """Yield constructs below a node; `caught` where what follows the loop fails, as in `for …: … else: raise`."""
    for node in ast.iter_child_nodes(tree):
        inside = caught or (isinstance(node, ast.For | ast.While) and _fails(node.orelse))
        if isinstance(node, ast.Try | ast.TryStar):
            yield from _handlers(node, caught=inside)
        elif isinstance(node, ast.With | ast.AsyncWith):
            for item in node.items:
                if isinstance(item.context_expr, ast.Call) and _called(item.context_expr).endswith("suppress"):
                    yield f"with {ast.unparse(item.context_expr)}"
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and _called(node.value) in _RETURNS:
            yield f"{_called(node.value)}(…), whose exit status is ignored"
        elif isinstance(node, ast.Call):
            yield from _call(node, names, depth)
        yield from _swallowed(node, names, depth, caught=inside)


def _handlers(node: ast.Try | ast.TryStar, *, caught: bool) -> Iterator[str]:
    for handler in node.handlers:
        if not (caught or _fails(handler.body) or _works(handler.body)):
            kind = f" {ast.unparse(handler.type)}" if handler.type else ""
            yield f"except{kind}: {' '.join(ast.unparse(handler.body[0]).split())}"[:60]
    for statement in ast.walk(ast.Module(body=node.finalbody, type_ignores=[])):
        leaves = isinstance(statement, ast.Return | ast.Break | ast.Continue)
        if leaves or (isinstance(statement, ast.Call) and _exits_with_success(statement)):
            yield f"finally: {ast.unparse(statement)}"


def _call(node: ast.Call, names: frozenset[str], depth: int) -> Iterator[str]:
    name = _called(node)
    given = {word.arg: word.value for word in node.keywords}
    if name == "os.system":  # its value is no exit status: sys.exit(os.system(…)) of a failure is success
        yield "os.system(…)"
    elif name in _RUNS and name != "run" and not ({"check", None} & given.keys() or names & _STATUS):
        yield f"{name}(…) without check=True"
    elif name in _UNCHECKED and not names & _STATUS:
        yield f"{name}(…), whose exit status is ignored"
    elif name.rpartition(".")[2] in _APART and not names & _STATUS:
        yield f"{name}(…), whose failure is ignored"
    for word, bad in (("check", False), ("return_exceptions", True)):
        if isinstance(value := given.get(word), ast.Constant) and value.value is bad:
            yield f"{name}({word}={bad})"
    if name in {"exec", "eval"} and node.args and isinstance(node.args[0], ast.Constant) and depth < _MAX_DEPTH:
        inner = parse(str(node.args[0].value))
        if inner is not None:
            yield from _swallowed(inner, names | _names(inner), depth + 1)
    if name == "atexit.register" and "_exit" in names:
        yield "atexit.register(…) with os._exit"


def _exits_with_success(node: ast.Call) -> bool:
    return _called(node) in _EXITS and not _error(node.args)


def _called(node: ast.Call) -> str:
    return ast.unparse(node.func)


def _fails(body: Sequence[ast.stmt]) -> bool:
    """Whether statements raise or exit with an error anywhere; a condition on it is the program's own design."""
    for statement in body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        for node in ast.walk(statement):
            if isinstance(node, ast.Raise):
                return not _exits_well(node.exc)
            if isinstance(node, ast.Call) and _called(node) in _EXITS | {"os.abort"} and _error(node.args):
                return True
            if isinstance(node, ast.Assert):
                return True
    return False


def _exits_well(error: ast.expr | None) -> bool:
    """Whether what is raised ends the program with success: `raise SystemExit(0)`."""
    if isinstance(error, ast.Name):
        return error.id == "SystemExit"
    return isinstance(error, ast.Call) and _called(error) == "SystemExit" and not _error(error.args)


def _error(arguments: Sequence[ast.expr]) -> bool:
    """Whether the argument of an exit is an error: no argument, None, 0 and False are success."""
    return bool(arguments) and not (isinstance(arguments[0], ast.Constant) and arguments[0].value in (None, 0))


def _works(body: Sequence[ast.stmt]) -> bool:
    """Whether a handler does the work in another way, as `except ImportError` of an older name does."""
    for statement in body:
        for node in ast.walk(statement):
            said = _imported(node) if isinstance(node, ast.Import | ast.ImportFrom) else []
            if isinstance(node, ast.Call) and not _is_log(node):
                said.append(_called(node))
            if any(word in one.lower() for one in said for word in _WORK):
                return True
    return False


def _is_log(node: ast.Call) -> bool:
    return _called(node).rpartition(".")[2] in {
        "print", "debug", "info", "warning", "warn", "error", "exception", "write", "log"
    }  # fmt: skip
