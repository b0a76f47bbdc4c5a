"""How a plan looks: the table, the JSON of `--format json`, GitHub's matrix, and the explanation of one variant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator.errors import UsageError
from orchestrator.untrusted import json_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rich.console import Console

    from orchestrator.cuda.arch import Arch
    from orchestrator.matrix.layers import Value
    from orchestrator.matrix.variants import Plan, Variant

SCHEMA = 1
GITHUB_JOBS = 256  # a matrix of more jobs is refused by GitHub Actions
_HOSTED = {"amd64": "ubuntu-latest", "386": "ubuntu-latest", "arm64": "ubuntu-24.04-arm", "arm": "ubuntu-24.04-arm"}
GITHUB_BYTES = 1_000_000  # an output of more than 1 MB is refused


COLUMNS = ("variant", "CUDA", "platform", "architectures", "dropped")


def show(plan: Plan, screen: Console) -> None:
    """Print the variants on a terminal, then what is dropped and why."""
    from rich.table import Table
    from rich.text import Text

    screen.print(_heading(plan), markup=False)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in COLUMNS:
        table.add_column(name, overflow="fold", no_wrap=name in {"variant", "CUDA", "platform"})
    for variant in plan.variants:
        table.add_row(*map(Text, _cells(variant)))
    screen.print(table)
    for title, lines in _dropped_sections(plan):
        screen.print(f"\n[bold]{title}[/bold]")
        for line in lines:
            screen.print(f"  {line}", markup=False, soft_wrap=True)


def plain(plan: Plan) -> str:
    """The same for a file or a pipe: nothing is fitted to a width, and rich is not imported (a tenth of the run)."""
    rows = [COLUMNS, *(_cells(variant) for variant in plan.variants)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    lines = [_heading(plan)]
    lines += ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    for title, found in _dropped_sections(plan):
        lines += ["", title, *(f"  {line}" for line in found)]
    return "\n".join(lines) + "\n"


def _heading(plan: Plan) -> str:
    count = len(plan.variants)
    return f"{plan.image}: {count} variant{'s' if count != 1 else ''}"


def _cells(variant: Variant) -> tuple[str, ...]:
    effective, dropped = variant.archs.effective, variant.archs.dropped
    return (variant.id, variant.cuda_version, variant.platform, words(effective), words(item.arch for item in dropped))


def _dropped_sections(plan: Plan) -> list[tuple[str, list[str]]]:
    sections = [
        ("not built", [f"{row.id}: {row.why} ({row.origin.place})" for row in plan.dropped]),
        ("architectures dropped", _dropped(plan)),
        ("notes", _notes(plan)),
    ]
    return [(title, lines) for title, lines in sections if lines]


def words(archs: Iterable[Arch]) -> str:
    """Architectures in matrix notation."""
    return " ".join(str(arch) for arch in archs)


def _dropped(plan: Plan) -> list[str]:
    """Return one line for each architecture and CUDA release, not one for each variant."""
    lines: dict[str, None] = {}
    for variant in plan.variants:
        for item in variant.archs.dropped:
            lines[f"{item.arch} on CUDA {variant.cuda}: {item.why}"] = None
    return list(lines)


def _notes(plan: Plan) -> list[str]:
    return list(dict.fromkeys((*plan.notes, *(note for variant in plan.variants for note in variant.archs.notes))))


def as_json(plan: Plan) -> dict[str, Any]:
    """Return the plan as `--format json` prints it; stable, versioned, documented in docs/build.md."""
    publish = plan.matrix.spec.publish
    return {
        "schema": SCHEMA,
        "matrix": {"file": plan.matrix.positions.file, "digest": plan.matrix.digest},
        "image": plan.image,
        "signs": publish is not None and publish.sign is not None,
        "variants": [_variant(variant) for variant in plan.variants],
        "dropped": [{"id": row.id, "why": row.why, "place": str(row.origin.place)} for row in plan.dropped],
        "notes": list(plan.notes),
    }


def _variant(variant: Variant) -> dict[str, Any]:
    return {
        "id": variant.id,
        "target": variant.target,
        "cuda": variant.cuda,
        "cuda_version": variant.cuda_version,
        "platform": variant.platform,
        "runner": _runner(variant.runner),
        "axes": dict(variant.axes),
        "arch_list": variant.arch_list.text,
        "archs": {
            "requested": [str(arch) for arch in variant.archs.requested],
            "effective": [str(arch) for arch in variant.archs.effective],
            "dropped": [{"arch": str(item.arch), "why": item.why} for item in variant.archs.dropped],
            "notes": list(variant.archs.notes),
        },
        "args": _texts(variant.args),
        "tags": [tag.text for tag in variant.tags],
        "index_tags": [tag.text for tag in variant.index_tags],
        "floating_tags": [tag.text for tag in variant.floating_tags],
        "labels": _texts(variant.labels),
        "contexts": _texts(variant.contexts),
    }


def _texts(values: Mapping[str, Value]) -> dict[str, str]:
    return {name: value.text for name, value in values.items()}


def as_github(plan: Plan) -> dict[str, Any]:
    """`{"include": […]}` for `strategy.matrix: ${{ fromJSON(…) }}`.

    Raises:
        UsageError: GitHub would refuse it (more than 256 jobs, or more than 1 MB), or it has no runner for a platform.
    """
    rows = [
        {
            "variant": variant.id,
            "runner": _runner(variant.runner) or _hosted_runner(variant.platform),
            "target": variant.target,
            "cuda": variant.cuda,
            "platform": variant.platform,
            "archs": words(variant.archs.effective),
            **variant.axes,
        }
        for variant in plan.variants
    ]
    found = {"include": rows}
    text = json_text(found, indent=None)
    if len(rows) > GITHUB_JOBS or len(text) > GITHUB_BYTES:
        raise UsageError(
            f"{len(rows)} variants ({len(text):,} bytes) do not fit GitHub's matrix: {GITHUB_JOBS} jobs, 1 MB",
            hint="select fewer with --cuda, --platform, --target or --axis, one workflow job for each part",
        )
    return found


def _runner(labels: Sequence[str]) -> str | list[str]:
    """Return what `runs-on` takes: one label, or a list of several; "" for none."""
    return list(labels) if len(labels) > 1 else "".join(labels)


def _hosted_runner(platform: str) -> str:
    """GitHub's own runner for a platform that names none.

    Raises:
        UsageError: There is none: emulation on another one is for the matrix to ask for.
    """
    system, _, rest = platform.partition("/")
    label = _HOSTED.get(rest.partition("/")[0], "") if system == "linux" else ""
    if not label:
        raise UsageError(
            f"platform {platform} has no runner, and GitHub hosts none for it",
            hint=f"set platforms: {{{platform}: {{runner: LABEL}}}}",
        )
    return label


def explain(plan: Plan, variant: Variant, screen: Console, *, more: Sequence[tuple[str, Sequence[str]]] = ()) -> None:
    """Print every value of a variant with where it comes from.

    Args:
        plan: The plan.
        variant: The variant.
        screen: Where to.
        more: Further sections: (title, lines).
    """
    sections: list[tuple[str, list[str]]] = [
        ("variant", [f"{variant.id}: {variant.target}, CUDA {variant.cuda_version}, {variant.platform}"]),
        ("arch list", _explain_archs(plan, variant)),
        ("arguments", _explain_named(variant.args)),
        ("tags", [_explained(tag) for tag in variant.tags]),
        ("index tags", [_explained(tag) for tag in variant.index_tags]),
        ("floating tags", [_explained(tag) for tag in variant.floating_tags]),
        ("labels", _explain_named(variant.labels)),
        ("named contexts", _explain_named(variant.contexts)),
        ("secrets", [_explained(secret) for secret in variant.secrets]),
    ]
    for title, lines in (*sections, *more):
        if lines:
            screen.print(f"[bold]{title}[/bold]")
            for line in lines:
                screen.print(f"  {line}", markup=False, soft_wrap=True)


def _explain_archs(plan: Plan, variant: Variant) -> list[str]:
    chosen = variant.arch_list
    if chosen.text:
        line = plan.matrix.positions.place(("arch_lists", chosen.text))
        lines = [f"{chosen.text} ({line}), chosen by {chosen.origin}"]
    else:
        lines = [f"{chosen.template}, from the {chosen.origin}"]
    kept = set(variant.archs.effective)
    reasons = {item.arch: item.why for item in variant.archs.dropped}
    for arch in dict.fromkeys(variant.archs.requested):
        state = f"dropped: {reasons[arch]}" if arch in reasons else "compiled" if arch in kept else "folded, see below"
        lines.append(f"{arch!s:<9} {state}")
    return [*lines, *variant.archs.notes]


def _explain_named(values: Mapping[str, Value]) -> list[str]:
    return [f"{name} = {_explained(value)}" for name, value in values.items()]


def _explained(value: Value) -> str:
    filled = f" <- {value.template}" if value.template != value.text else ""
    return f"{value.text}{filled}    {value.origin}"
