"""How the cost of an image is shown, for the terminal and for the page: titles, each with its lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.sizes import size_text
from orchestrator.untrusted import clean

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console

    from orchestrator.image.verdict.cost import Cost

_MOST = 12  # lines of each kind


def sections(cost: Cost) -> Iterator[tuple[str, list[str]]]:
    """Titles and their lines; a kind of which there is nothing is left out."""
    total = sum(cost.archs.values())
    places = [
        f"{one.path}  {size_text(sum(one.archs.values()))} of {size_text(one.size)}: "
        + "  ".join(f"{tag} {size_text(size)}" for tag, size in one.archs.items())
        for one in cost.places
    ]
    wasted = sum(one.wasted for one in cost.copies)
    copies = [f"{size_text(one.wasted)}: {len(one.paths)} copies: {', '.join(one.paths)}" for one in cost.copies]
    several = [
        f"{one.name}  {size_text(sum(one.sizes.values()))}: "
        + ", ".join(f"{path} {size_text(size)}" for path, size in one.sizes.items())
        for one in cost.several
    ]
    toolkits = [f"{one.root}  CUDA {one.release}, {size_text(one.size)}" for one in cost.toolkits]
    shorter = [
        f"without {cc}: {size_text(cost.without[cc])} less; with {cc} alone: {size_text(cost.only[cc])} less"
        for cc in cost.without
        if cost.without[cc] or cost.only[cc] < total
    ]
    for title, lines in (
        (f"Device code by library: {size_text(total)}", places),
        ("What a shorter list saves of it", shorter),
        (f"The same file more than once: {size_text(wasted)} that could be saved", copies),
        ("One library in different builds", several),
        ("CUDA toolkits, and parts of them", toolkits),
    ):
        if lines:
            yield title, _cut(lines)


def _cut(lines: Sequence[str]) -> list[str]:
    more = len(lines) - _MOST
    return [*lines[:_MOST], *([f"and {more} more (--format json lists them)"] if more > 0 else [])]


def show(cost: Cost, screen: Console) -> None:
    """Print it."""
    for title, lines in sections(cost):
        screen.print(f"\n{title}", style="bold", markup=False, soft_wrap=True)
        for line in lines:
            screen.print(f"  {clean(line)}", markup=False, soft_wrap=True)
