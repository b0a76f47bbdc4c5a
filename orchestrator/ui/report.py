"""A verdict as one HTML page that needs nothing else: the table, what is missing, and what each architecture costs.

It knows verdicts and shows them; it decides nothing. Everything that comes from an image is a stranger's text and is
escaped.
"""

from __future__ import annotations

from html import escape
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING

from orchestrator.cuda.devices import device_names
from orchestrator.image.kernels import Status
from orchestrator.image.verify import bytes_by_arch, sorted_profiles
from orchestrator.ui.kernel_table import WORDS, level, size_text

if TYPE_CHECKING:
    from orchestrator.image.kernels import Cell, Library
    from orchestrator.image.verify import Verdict

_MAX_PROFILES = 18


def page(verdict: Verdict) -> str:
    """The page.

    Args:
        verdict: What it shows.
    """
    template = Template(files("orchestrator.ui").joinpath("report.html").read_text(encoding="utf-8"))
    scanned = verdict.scanned
    promise = " ".join(str(arch) for arch in verdict.promised)
    about = [scanned.platform, scanned.digest, f"promised: {promise} (from {verdict.promised_by})" if promise else ""]
    text = "holds what was promised" if verdict.ok else "does not hold what was promised"
    return template.substitute(
        title=escape(f"{scanned.source}: kernels"),
        source=escape(scanned.source),
        verdict_class=("ok" if verdict.ok else "fail") if promise else "ptx",
        verdict_text=text if promise else "nothing was promised",
        about=escape(" · ".join(filter(None, about))),
        problems=_list("", [str(problem) for problem in verdict.problems]),
        table=_table(verdict),
        bars=_bars(verdict),
        profiles="".join(_profiles(library) for library in verdict.table if library.required),
        notes=_list("Also found", _notes(verdict)),
    )


def _list(title: str, lines: list[str]) -> str:
    if not lines:
        return ""
    heading = f"<h2>{escape(title)}</h2>" if title else ""
    return f"{heading}<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>"


def _table(verdict: Verdict) -> str:
    heads = "".join(
        f"<th>{escape(cc)}<small>{escape(', '.join(device_names(cc)[:1]))}</small></th>" for cc in verdict.ccs
    )
    rows = "".join(_row(library) for library in verdict.table)
    return f"<thead><tr><th>library</th><th>size</th>{heads}</tr></thead><tbody>{rows}</tbody>"


def _row(library: Library) -> str:
    cells = "".join(_cell(cell, library) for cell in library.cells)
    kind = "" if library.required else ' class="other"'
    return f"<tr{kind}><td>{escape(library.path)}</td><td>{size_text(library.code.size)}</td>{cells}</tr>"


def _cell(cell: Cell, library: Library) -> str:
    sign = level(cell, damaged=bool(library.code.damage))
    looks = {Status.OK: {"all": "ok"}.get(sign, "part"), Status.INFO: {"all": "ok"}.get(sign, sign)}
    ways = ", ".join(f"{how.value} {count}" for how, count in cell.how.items())
    text = f"{WORDS[sign]} {cell.direct}{f'+{cell.ptx}' if cell.ptx else ''}/{cell.total}"
    return f'<td class="{looks.get(cell.status, cell.status.value)}" title="{escape(cell.why or ways)}">{text}</td>'


def _bars(verdict: Verdict) -> str:
    total = bytes_by_arch(verdict.table)
    most = max(total.values(), default=1) or 1
    rows = sorted(total.items(), key=lambda one: -one[1])
    return "".join(
        f"<tr><td>{escape(tag)}</td><td>{size_text(size)}</td>"
        f'<td style="text-align:left"><span class="bar" style="width:{size / most * 30:.2f}rem"></span></td></tr>'
        for tag, size in rows
    )


def _profiles(library: Library) -> str:
    rows = sorted_profiles(library.code.profiles)
    if not rows:
        return ""
    items = "".join(
        f"<li>{count} &times; <code>{escape(' '.join(tags))}</code></li>" for tags, count in rows[:_MAX_PROFILES]
    )
    more = f"<li>and {len(rows) - _MAX_PROFILES} more</li>" if len(rows) > _MAX_PROFILES else ""
    return f"<h2>What the translation units of {escape(library.path)} hold</h2><ul>{items}{more}</ul>"


def _notes(verdict: Verdict) -> list[str]:
    lines = list(verdict.warnings)
    if verdict.later:
        names = ", ".join(f"{name} {version}".strip() for name, version in verdict.later.items())
        lines.append(f"compiles on the GPU's host, so nothing here shows what it reaches: {names}")
    lines += [f"{one.path} is of CUDA {one.release}" for one in verdict.compilers if not one.cannot]
    lines += [
        f"{one.path} is there again ({', '.join(one.others)}): {size_text(one.wasted)} that serve nobody"
        for one in verdict.duplicates
    ]
    lines += [
        f"{place}: {sum(counts.values())} cubins: {' '.join(f'{tag}:{count}' for tag, count in counts.items())}"
        for place, counts in verdict.cubins.items()
    ]
    return lines
