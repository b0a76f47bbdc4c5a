"""The package's own source, parsed once for all tests that look at it."""

from __future__ import annotations

import ast
import functools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@functools.cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    """Every node of a module's syntax tree, as `ast.walk` gives them."""
    return tuple(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
