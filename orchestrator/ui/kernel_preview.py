"""What the project's own CMake will make of a variant's arch list, before an hour is spent on it.

It joins the port of vLLM's filter (`cuda.filters`) with the plan; with a source tree at hand it reads the kernel lists
of its CMakeLists.txt. It knows nothing of terminals beyond a console that it is given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.cuda import filters
from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from orchestrator.cuda.arch import Arch
    from orchestrator.cuda.filters import Behaviour
    from orchestrator.matrix.variants import Plan, Variant


def filter_lines(plan: Plan, variant: Variant) -> list[tuple[str, Sequence[str]]]:
    """The section of `plan --explain` on what the project's CMake keeps; empty where the matrix names no filter."""
    behaviour = plan.matrix.spec.filter
    if behaviour == "none":
        return []
    kept = filters.effective_archs(variant.archs.effective, variant.toolkit, behaviour)
    lines = [f"{_words(kept) or 'nothing at all'}    kept by filter {behaviour} (CUDA_ARCHS)"]
    lines += warnings(variant, behaviour)
    return [("kernels", lines)]


def warnings(variant: Variant, behaviour: Behaviour) -> list[str]:
    """What the filter loses of a variant's list, and what it would have made of the entries that we drop before it."""
    passed = filters.warnings_for(variant.archs.effective, variant.toolkit, behaviour)
    asked = filters.warnings_for(variant.archs.requested, variant.toolkit, behaviour)
    return [*passed, *(f"had it been passed on: {text}" for text in asked if text not in passed)]


def show_kernels(plan: Plan, screen: Console) -> None:
    """Print kernel family x architectures for each different (CUDA, arch list) of the plan.

    Raises:
        UsageError: The matrix names no filter, or there is no CMakeLists.txt beside it.
    """
    from rich.table import Table

    from orchestrator.cuda.cmake import kernel_families

    behaviour = plan.matrix.spec.filter
    if behaviour == "none":
        raise UsageError("--kernels needs `filter:` in the matrix", hint="filter: vllm-0.20, vllm-0.29 or vllm-0.33")
    path = plan.matrix.root / "CMakeLists.txt"
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read: {error}", hint="run it where the source tree is") from error
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
        for family in kernel_families(text, toolkit):
            built = filters.kernel_archs(family.archs, kept, behaviour)
            table.add_row(family.name, _words(family.archs), _words(built) or "nothing", str(family.line))
        screen.print(table)


def _words(archs: Sequence[Arch]) -> str:
    return " ".join(str(arch) for arch in archs)
