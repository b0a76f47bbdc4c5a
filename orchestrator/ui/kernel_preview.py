"""Shows what the project's own CMake does with the arch list of a variant, before a build spends an hour on it.

Applies the port of vLLM's filter (`cuda.filters`) to a plan; for `plan --kernels` it reads CMakeLists.txt as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.cuda import filters
from orchestrator.errors import UsageError
from orchestrator.untrusted import clean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from orchestrator.cuda.arch import Arch
    from orchestrator.cuda.filters import Behaviour
    from orchestrator.matrix.variants import Plan, Variant


def filter_lines(plan: Plan, variant: Variant) -> list[tuple[str, Sequence[str]]]:
    """Return the section of `plan --explain` on what CMake keeps; empty if the matrix names no filter."""
    behaviour = plan.matrix.spec.filter
    if behaviour == "none":
        return []
    kept = filters.effective_archs(variant.archs.effective, variant.toolkit, behaviour)
    lines = [f"{_words(kept) or 'nothing'}    kept by filter {behaviour} (CUDA_ARCHS)"]
    lines += warnings(variant, behaviour)
    return [("kernels", lines)]


def warnings(variant: Variant, behaviour: Behaviour) -> list[str]:
    """Return what the filter loses of a list, and what it loses of the entries that are dropped before it."""
    passed = filters.warnings_for(variant.archs.effective, variant.toolkit, behaviour)
    asked = filters.warnings_for(variant.archs.requested, variant.toolkit, behaviour)
    return [*passed, *(f"without the drop before it: {text}" for text in asked if text not in passed)]


def show_kernels(plan: Plan, screen: Console) -> None:
    """Print kernel family x architectures for each distinct (CUDA, arch list) of the plan.

    Raises:
        UsageError: The matrix names no filter, or CMakeLists.txt beside it cannot be read.
    """
    from rich.table import Table
    from rich.text import Text

    from orchestrator.cuda.cmake import ROOT, read_kernels

    behaviour = plan.matrix.spec.filter
    if behaviour == "none":
        raise UsageError(
            "--kernels needs `filter:` in the matrix", hint="add `filter:` vllm-0.20, vllm-0.29 or vllm-0.33"
        )
    path = plan.matrix.root / "CMakeLists.txt"
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{path}: cannot be read: {error}", hint="run it in the source tree, beside CMakeLists.txt"
        ) from error

    def include(name: str) -> str | None:
        """Return the text of a file beside CMakeLists.txt."""
        try:
            return (plan.matrix.root / name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return None

    groups: dict[tuple[str, tuple[Arch, ...]], list[Variant]] = {}
    for variant in plan.variants:
        groups.setdefault((variant.cuda, variant.archs.effective), []).append(variant)
    for (cuda, archs), variants in groups.items():
        toolkit = variants[0].toolkit
        kept = filters.effective_archs(archs, toolkit, behaviour)
        names = ", ".join(variant.id for variant in variants)
        screen.print(f"CUDA {cuda}, {_words(archs)} -> {_words(kept) or 'nothing'} ({names})", markup=False)
        for warning in warnings(variants[0], behaviour):
            screen.print(f"  warning: {warning}", markup=False)
        table = Table(box=None, pad_edge=False, header_style="bold")
        for name in ("kernel family", "its list", "built for", "line"):
            table.add_column(name, overflow="fold")
        kernels = read_kernels(text, toolkit, include)
        for family in kernels.families:
            built = filters.kernel_archs(family.archs, kept, behaviour)
            where = str(family.line) if family.file == ROOT else f"{family.file}:{family.line}"
            cells = family.name, _words(family.archs), _words(built) or "nothing", where
            table.add_row(*map(Text, cells))
        screen.print(table)
        for one in kernels.unfollowed:
            screen.print(f"  not followed: {clean(f'{one.file}:{one.line}: {one.why}')}", markup=False)


def _words(archs: Sequence[Arch]) -> str:
    return " ".join(str(arch) for arch in archs)
