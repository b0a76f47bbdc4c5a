"""How a verdict looks in a terminal: the table library x compute capability, what is missing, and what else was found.

It knows verdicts and shows them; it decides nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.image.verdict.explain import devices_of
from orchestrator.image.verdict.kernels import Status
from orchestrator.image.verdict.verify import bytes_by_arch, sorted_profiles
from orchestrator.sizes import size_text
from orchestrator.untrusted import clean

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from orchestrator.image.verdict.compare import Comparison
    from orchestrator.image.verdict.kernels import Cell, Library
    from orchestrator.image.verdict.verify import Verdict

WORDS = {"all": "●", "part": "◐", "ptx": "○", "none": "✗", "damage": "?"}
ASCII = {"all": "#", "part": "+", "ptx": "o", "none": "x", "damage": "?"}
_STYLES = {
    Status.OK: "green",
    Status.WARN: "yellow",
    Status.FAIL: "bold red",
    Status.EXCEPTED: "cyan",
    Status.INFO: "dim",
}
MAX_OTHERS = 40
MAX_SETS = 18
MAX_UNREAD = 20
MAX_LIBRARIES = 10  # whose sets are shown
_NARROWEST = 46  # columns of a terminal: library, size, units
_CELL = 10  # of each device: "◐ 100+20" and the space between


def level(cell: Cell, *, damaged: bool = False) -> str:
    """In one word how much of a library serves a device: all, part, ptx, none; damage where nothing is known."""
    if damaged:
        return "damage"
    if not cell.direct:
        return "ptx" if cell.ptx else "none"
    return "all" if cell.direct == cell.total else "part"


def show(verdict: Verdict, screen: Console) -> None:
    """Print a verdict."""
    signs = WORDS if _carries(screen) else ASCII
    _head(verdict, screen)
    required = [library for library in verdict.table if library.required]
    others = [library for library in verdict.table if not library.required]
    if required or others:
        table = _table(verdict, required + others[:MAX_OTHERS], signs)
        _print_whole(table, _NARROWEST + _CELL * len(verdict.ccs), screen)
        screen.print(
            f"{signs['all']} all translation units by machine code   {signs['part']} so many of them, + by PTX   "
            f"{signs['ptx']} so many by PTX alone (compiled at first use)   {signs['none']} none   dim: not required",
            style="dim",
            markup=False,
        )
    if len(others) > MAX_OTHERS:
        screen.print(
            f"and {len(others) - MAX_OTHERS} more libraries (--format json lists them)", style="dim", markup=False
        )
    unlike = [
        library
        for library in required
        if not library.code.damage
        and any(cell.status is Status.FAIL or level(cell) == "part" for cell in library.cells)
    ]
    if verdict.promised:
        for library in unlike[:MAX_LIBRARIES]:
            _profiles(library, screen)
        if len(unlike) > MAX_LIBRARIES:
            more = len(unlike) - MAX_LIBRARIES
            screen.print(
                f"\n{more} more libraries with several sets (--format json lists them)", style="dim", markup=False
            )
    _rest(verdict, screen)


def _print_whole(table: Table, columns: int, screen: Console) -> None:
    """Print a table with all its columns; a narrow terminal wraps the lines, where rich leaves columns out."""
    before = screen.width
    screen.width = max(before, columns)
    try:
        screen.print(table, crop=False)
    finally:
        screen.width = before


def _head(verdict: Verdict, screen: Console) -> None:
    scanned = verdict.scanned
    where = "  ".join(filter(None, [scanned.platform, scanned.digest[:19]]))
    screen.print(clean(f"{scanned.source}  {where}".rstrip()), style="bold", markup=False, soft_wrap=True)
    if verdict.promised:
        promise = " ".join(str(arch) for arch in verdict.promised)
        screen.print(f"promised: {promise}  (from {verdict.promised_by})", markup=False, soft_wrap=True)


def _carries(screen: Console) -> bool:
    try:
        "".join(WORDS.values()).encode(screen.encoding)
    except (UnicodeError, LookupError):
        return False
    return True


def _table(verdict: Verdict, libraries: list[Library], signs: dict[str, str]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("library", overflow="fold", min_width=24)
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("units", justify="right", no_wrap=True)
    for cc in verdict.ccs:
        table.add_column(cc, justify="right", no_wrap=True)
    for library in libraries:
        style = "" if library.required else "dim"
        cells = [_cell(cell, library, signs) for cell in library.cells]
        size, units = size_text(library.code.size), str(library.code.containers)
        table.add_row(Text(clean(library.path), style=style), Text(size, style=style), Text(units, style=style), *cells)
    return table


def _cell(cell: Cell, library: Library, signs: dict[str, str]) -> Text:
    from rich.text import Text

    sign = level(cell, damaged=bool(library.code.damage))
    count = {"part": f" {cell.direct}{f'+{cell.ptx}' if cell.ptx else ''}", "ptx": f" {cell.ptx}"}.get(sign, "")
    return Text(signs[sign] + count, style=_STYLES[cell.status])


def _profiles(library: Library, screen: Console) -> None:
    """The sets of architectures that translation units hold: a hole is seen at a glance."""
    screen.print(f"\n{clean(library.path)}: what its {library.code.containers} translation units hold", markup=False)
    sets = sorted_profiles(library.code.profiles)
    for tags, count in sets[:MAX_SETS]:
        screen.print(f"  {count:5} x {' '.join(tags)}", markup=False, soft_wrap=True)
    if len(sets) > MAX_SETS:
        screen.print(f"  and {len(sets) - MAX_SETS} more sets (--format json lists them)", style="dim", markup=False)


def _rest(verdict: Verdict, screen: Console) -> None:
    lines = [("warning", text) for text in verdict.warnings]
    excepted = [
        ("accepted", f"{library.path}: {devices_of(cell.cc)}: {cell.why}")
        for library in verdict.table
        for cell in library.cells
        if cell.status is Status.EXCEPTED
    ]
    lines += excepted
    if verdict.later:
        names = ", ".join(f"{name} {version}".strip() for name, version in verdict.later.items())
        lines.append(("note", f"compiles on the GPU's host, so nothing here shows what it reaches: {names}"))
    lines += [("note", text) for text in unread_lines(verdict)]
    if verdict.headers and verdict.headers.summary:
        lines.append(("note", verdict.headers.summary))
    lines += [("note", f"{one.path} is of CUDA {one.release}") for one in verdict.compilers if not one.cannot]
    lines += [
        ("note", f"{place}: {sum(counts.values())} cubins: {' '.join(f'{tag}:{n}' for tag, n in counts.items())}")
        for place, counts in verdict.cubins.items()
    ]
    lines += [
        ("note", f"{one.path} is there again ({', '.join(one.others)}): {size_text(one.wasted)} that are never loaded")
        for one in verdict.duplicates
    ]
    if lines:
        screen.print()
    styles = {"warning": "yellow", "accepted": "cyan", "note": "dim"}
    for kind, text in lines:
        screen.print(clean(f"{kind}: {text}"), style=styles[kind], markup=False, soft_wrap=True)
    total = bytes_by_arch(verdict.table)
    if total:
        costs = "  ".join(f"{tag} {size_text(size)}" for tag, size in sorted(total.items(), key=lambda one: -one[1]))
        screen.print(f"\nbytes by architecture: {costs}", style="dim", markup=False, soft_wrap=True)


def unread_lines(verdict: Verdict) -> list[str]:
    """Return the files that were not read, each with its size and reason, up to a number."""
    unread = verdict.unread
    lines = [f"{path}: not read ({size_text(size)}): {why}" for path, size, why in unread[:MAX_UNREAD]]
    if len(unread) > MAX_UNREAD:
        whole = size_text(sum(size for _, size, _ in unread[MAX_UNREAD:]))
        lines.append(f"{len(unread) - MAX_UNREAD} more files were not read ({whole}; --format json lists them)")
    return lines


def show_comparison(comparison: Comparison, screen: Console) -> None:
    """Print what changed between two images."""
    from rich.table import Table
    from rich.text import Text

    screen.print(clean(f"{comparison.old} -> {comparison.new}"), style="bold", markup=False, soft_wrap=True)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("library", "gained", "lost", "size"):
        table.add_column(name, overflow="fold", justify="right" if name == "size" else "left")
    for change in comparison.changes:
        if change.state == "same" and change.bytes[0] == change.bytes[1]:
            continue
        table.add_row(
            Text(f"{clean(change.path)}{'' if change.state in ('changed', 'same') else f' ({change.state})'}"),
            " ".join(change.gained),
            " ".join(change.lost),
            _difference(change.bytes),
        )
    screen.print(table if table.row_count else "every library holds the same architectures")
    if comparison.bytes:
        screen.print("\nbytes by architecture", style="bold")
    for tag, pair in comparison.bytes.items():
        if pair[0] != pair[1]:
            screen.print(f"  {tag:>7}  {_difference(pair)}", markup=False)


def _difference(pair: tuple[int, int]) -> str:
    change = pair[1] - pair[0]
    return f"{size_text(pair[1])} ({'+' if change >= 0 else '-'}{size_text(abs(change))})"
