"""A verdict as one HTML page that needs nothing else: the table, what is missing, and what each architecture costs.

Depends on verdicts alone and decides nothing. Everything that comes from an image is untrusted text: it is
escaped, and characters that cannot be seen are spelled out. No meaning is carried by colour alone.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from orchestrator.cuda.devices import device_names
from orchestrator.image.verdict.kernels import Status
from orchestrator.image.verdict.verify import bytes_by_arch, sorted_profiles
from orchestrator.sizes import size_text
from orchestrator.ui.cost_view import sections
from orchestrator.ui.html import escaped, filled
from orchestrator.ui.kernel_table import WORDS, level, unread_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from orchestrator.image.verdict.cost import Cost
    from orchestrator.image.verdict.kernels import Cell, Library
    from orchestrator.image.verdict.verify import Verdict

_MAX_PROFILES = 18
_MEANING = {
    "all": "every translation unit by machine code",
    "part": "some translation units by machine code",
    "ptx": "by PTX alone, compiled by the driver at first use",
    "none": "nothing",
    "damage": "cannot be read",
}
_SAYS = {Status.FAIL: "fails", Status.WARN: "look at this", Status.EXCEPTED: "accepted"}


def page(verdict: Verdict, cost: Cost | None = None) -> str:
    """Return the page.

    Args:
        verdict: What it shows.
        cost: What the image's GPUs cost, shown as well.
    """
    kind, sign, text = _outcome(verdict)
    name = verdict.scanned.source.rstrip("/").rpartition("/")[2] or verdict.scanned.source
    return filled(
        "report.html",
        title=escaped(f"{name}: kernels"),
        heading=escaped(name),
        verdict_class=kind,
        verdict_sign=sign,
        verdict_text=escaped(text),
        about=_about(verdict),
        problems=_problems(verdict),
        table=_table(verdict),
        legend=_legend(),
        bytes=_bytes(verdict),
        libraries=_libraries(verdict),
        toolchains=_toolchains(verdict) + _cost(cost),
        notes=_notes(verdict),
    )


def _outcome(verdict: Verdict) -> tuple[str, str, str]:
    """Return the class, the sign and the words of the whole."""
    if not verdict.promised and verdict.ok:
        return "ptx", "?", "Nothing was promised, so nothing was judged"
    if verdict.ok:
        return "ok", "✓", "Holds GPU code for everything that was promised"
    count = len(verdict.problems)
    return "fail", "✗", f"Does not hold what was promised: {count} problem{'s' if count != 1 else ''}"


def _about(verdict: Verdict) -> str:
    scanned = verdict.scanned
    promise = " ".join(str(arch) for arch in verdict.promised)
    rows = {
        "source": scanned.source,
        "digest": scanned.digest,
        "platform": scanned.platform,
        "promised": f"{promise} (from {verdict.promised_by})" if promise else "",
    }
    return f"<dl>{''.join(f'<dt>{name}</dt><dd>{escaped(value)}</dd>' for name, value in rows.items() if value)}</dl>"


def _problems(verdict: Verdict) -> str:
    if not verdict.problems:
        return ""
    items = "".join(
        f"<li><strong>{escaped(one.file)}</strong><p>{escaped(one.what)}</p>"
        f'<p class="soft">{escaped(one.hint)}</p></li>'
        for one in verdict.problems
    )
    return f'<h2>What is missing</h2><ul class="problems" id="problems">{items}</ul>'


def _table(verdict: Verdict) -> str:
    heads = "".join(_head(cc, verdict) for cc in verdict.ccs)
    required = [library for library in verdict.table if library.required]
    others = [library for library in verdict.table if not library.required]
    width = len(verdict.ccs) + 2
    judged = bool(verdict.promised)
    rows = "".join(_row(library, judged=judged) for library in required)
    if required and others:
        rows += f'<tr class="group"><th colspan="{width}">also there, not required to serve every GPU</th></tr>'
    rows += "".join(_row(library, judged=judged) for library in others)
    return (
        "<caption>Translation units served by machine code, + those served by PTX alone, / all that hold kernels"
        '</caption><thead><tr><th scope="col">library</th><th scope="col">size</th>'
        f"{heads}</tr></thead><tbody>{rows}</tbody>"
    )


def _head(cc: str, verdict: Verdict) -> str:
    """A column's head: the compute capability, its best known GPU, and whether the required libraries serve it."""
    cells = [cell for library in verdict.table if library.required for cell in library.cells if cell.cc == cc]
    states = {cell.status for cell in cells}
    pill = ""
    for status, kind, text in (
        (Status.FAIL, "fail", "✗ fails"), (Status.WARN, "warn", "! look"), (Status.EXCEPTED, "excepted", "accepted"),
        (Status.OK, "ok", "✓ served"),
    ):  # fmt: skip
        if status in states:
            pill = f'<span class="pill {kind}">{text}</span>'
            break
    names = device_names(cc)
    title = f' title="{escaped(", ".join(names))}"' if names else ""
    return f'<th scope="col"{title}>{escaped(cc)}<small>{escaped(names[0] if names else "")}</small>{pill}</th>'


def _row(library: Library, *, judged: bool) -> str:
    cells = "".join(_cell(cell, library, judged=judged) for cell in library.cells)
    kind = ' class="other"' if judged and not library.required else ""
    size = f'<td class="number" title="{library.code.size:,} bytes">{size_text(library.code.size)}</td>'
    return f'<tr{kind}><th scope="row">{escaped(library.path)}</th>{size}{cells}</tr>'


def _cell(cell: Cell, library: Library, *, judged: bool) -> str:
    sign = level(cell, damaged=bool(library.code.damage))
    looks = cell.status.value
    if cell.status is Status.OK or not judged:
        looks = {"all": "ok", "part": "part", "ptx": "part" if judged else "ptx"}.get(sign, "")
    count = f"{cell.direct}{f'+{cell.ptx}' if cell.ptx else ''}/{cell.total}" if sign not in ("none", "damage") else ""
    more = cell.why or ", ".join(f"{number} {how.value}" for how, number in cell.how.items())
    says = f"<small>{_SAYS[cell.status]}</small>" if cell.status in _SAYS else ""
    return (
        f'<td class="{looks}" title="{escaped(more)}"><span aria-hidden="true">{WORDS[sign]}</span>'
        f'<span class="hidden">{_MEANING[sign]}</span> {count}{says}</td>'
    )


def _legend() -> str:
    items = "".join(f'<li><span aria-hidden="true">{WORDS[sign]}</span> {text}</li>' for sign, text in _MEANING.items())
    return f'<ul class="legend">{items}</ul>'


def _bytes(verdict: Verdict) -> str:
    total = bytes_by_arch(verdict.table)
    if not total:
        return "<tbody><tr><td>no device code</td></tr></tbody>"
    whole = sum(total.values())
    head = '<th scope="col">architecture</th><th scope="col" colspan="3">as stored in all libraries above</th>'
    return (
        f"<thead><tr>{head}<th></th></tr></thead><tbody>{_bars(total)}</tbody>"
        f'<tfoot><tr><th scope="row">all</th><td class="number">{size_text(whole)}</td>'
        f'<td class="number soft">{whole:,} bytes</td><td></td><td></td></tr></tfoot>'
    )


def _bars(sizes: Mapping[str, int]) -> str:
    most = max(sizes.values(), default=1) or 1
    whole = sum(sizes.values()) or 1
    return "".join(
        f'<tr><th scope="row">{escaped(_arch(tag))}</th><td class="number">{size_text(size)}</td>'
        f'<td class="number soft">{size:,} bytes</td><td class="number soft">{size / whole:.1%}</td>'
        f'<td class="room"><span class="bar{" jit" if tag.startswith("p") else ""}" style="width:{size / most:.2%}">'
        "</span></td></tr>"
        for tag, size in sorted(sizes.items(), key=lambda one: -one[1])
    )


def _arch(tag: str) -> str:
    """Return a tag in nvcc's words: 90a is sm_90a, p80 is PTX."""
    match = re.fullmatch(r"([a-z]*)(\d+[af]?)", tag)
    if not match:
        return tag
    return {"": f"sm_{match[2]}", "p": f"PTX compute_{match[2]}", "lto": f"LTO lto_{match[2]}"}.get(match[1], tag)


def _libraries(verdict: Verdict) -> str:
    """Return what each required library is made of; open where something is missing."""
    parts = "".join(_library(library) for library in verdict.table if library.required and library.code.profiles)
    return f"<h2>What the required libraries are made of</h2>{parts}" if parts else ""


def _library(library: Library) -> str:
    rows = sorted_profiles(library.code.profiles)
    units = "".join(
        f'<tr><td class="number">{count} &times;</td><td><code>{escaped(" ".join(tags))}</code></td></tr>'
        for tags, count in rows[:_MAX_PROFILES]
    )
    if len(rows) > _MAX_PROFILES:
        units += f"<tr><td></td><td>and {len(rows) - _MAX_PROFILES} other sets</td></tr>"
    failed = any(cell.status is Status.FAIL for cell in library.cells)
    count = library.code.containers
    return (
        f"<details{' open' if failed else ''}><summary>{escaped(library.path)} "
        f'<span class="soft">{count} translation unit{"s" if count != 1 else ""}, {size_text(library.code.size)}</span>'
        f'</summary><div class="two"><div><h3>sets of architectures, p is PTX</h3><table>{units}</table></div>'
        f'<div><h3>bytes</h3><table class="bars">{_bars(library.code.stored)}</table></div></div></details>'
    )


def _toolchains(verdict: Verdict) -> str:
    if not verdict.compilers:
        return ""
    rows = ""
    for one in verdict.compilers:
        reach = f"✗ cannot target {' '.join(one.cannot)}" if one.cannot else "✓" if verdict.promised else ""
        rows += (
            f'<tr><th scope="row"><code>{escaped(one.path)}</code></th><td>CUDA {escaped(one.release)}</td>'
            f"<td>{escaped(reach)}</td></tr>"
        )
    return f'<h2>Compilers in it</h2><table id="compilers" class="bars">{rows}</table>'


def _cost(cost: Cost | None) -> str:
    return "".join(_list(escaped(title), lines) for title, lines in sections(cost)) if cost else ""


def _notes(verdict: Verdict) -> str:
    known = {f"{one.path} is of CUDA {one.release}" for one in verdict.compilers}
    lines = [line for line in verdict.warnings if not any(line.startswith(text) for text in known)]
    lines += [
        f"{library.path}: {cell.cc} is accepted: {cell.why}"
        for library in verdict.table
        for cell in library.cells
        if cell.status is Status.EXCEPTED
    ]
    if verdict.later:
        names = ", ".join(f"{name} {version}".strip() for name, version in verdict.later.items())
        lines.append(f"Compiles on the GPU's host, so nothing here shows what it reaches: {names}")
    lines += unread_lines(verdict)
    if verdict.headers and verdict.headers.summary:
        lines.append(verdict.headers.summary)
    lines += [
        f"{one.path} is there again ({', '.join(one.others)}): {size_text(one.wasted)} that are never loaded"
        for one in verdict.duplicates
    ]
    lines += [
        f"{place}: {sum(counts.values())} cubins: {' '.join(f'{tag}:{count}' for tag, count in counts.items())}"
        for place, counts in verdict.cubins.items()
    ]
    return _list("Also found", lines)


def _list(title: str, lines: Iterable[str]) -> str:
    items = "".join(f"<li>{escaped(line)}</li>" for line in lines)
    return f'<h2>{title}</h2><ul class="notes">{items}</ul>' if items else ""
