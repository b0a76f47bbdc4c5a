"""Options that commands share, and how a plan is opened from them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.matrix.model import Matrix
    from orchestrator.matrix.variants import Plan

SELECT = "Which variants"

File = Annotated[Path, typer.Option("--file", "-f", help="The matrix.", metavar="FILE", show_default="matrix.yaml")]
Directory = Annotated[
    Path | None, typer.Option("--directory", "-C", help="Directory to work in.", metavar="DIR", file_okay=False)
]
CudaOption = Annotated[
    list[str] | None,
    typer.Option("--cuda", help="CUDA release, as in 13.0.", metavar="RELEASE", rich_help_panel=SELECT),
]
PlatformOption = Annotated[
    list[str] | None, typer.Option("--platform", help="As in linux/arm64.", metavar="PLATFORM", rich_help_panel=SELECT)
]
TargetOption = Annotated[
    list[str] | None, typer.Option("--target", help="Bake target.", metavar="TARGET", rich_help_panel=SELECT)
]
AxisOption = Annotated[
    list[str] | None, typer.Option("--axis", help="As in python=3.12.", metavar="NAME=VALUE", rich_help_panel=SELECT)
]
VariantOption = Annotated[
    list[str] | None, typer.Option("--variant", help="Variant id.", metavar="ID", rich_help_panel=SELECT)
]
ArgOption = Annotated[
    list[str] | None, typer.Option("--arg", help="Build argument; wins over the matrix.", metavar="NAME=VALUE")
]
ArchsOption = Annotated[
    str, typer.Option("--archs", help="Arch list; wins over the matrix, as in '9.0 11.0'.", metavar="LIST")
]
ImageOption = Annotated[str, typer.Option("--image", help="Image repository; wins over the matrix.", metavar="NAME")]


def examples(*lines: str) -> str:
    """An epilog of examples whose lines are kept as they are (the form feed of help texts: a backspace)."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


class Format(StrEnum):
    """How a result is printed."""

    TABLE = "table"
    JSON = "json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """What the options of one command line say; every field as typer gives it."""

    file: Path = Path("matrix.yaml")
    directory: Path | None = None
    cuda: Sequence[str] | None = None
    platform: Sequence[str] | None = None
    target: Sequence[str] | None = None
    axis: Sequence[str] | None = None
    variant: Sequence[str] | None = None
    args: Sequence[str] | None = field(default=None)
    archs: str = ""
    image: str = ""


def open_matrix(file: Path, directory: Path | None) -> Matrix:
    """Load the matrix that `--file` and `--directory` name.

    Raises:
        MatrixError: With every problem of the file.
    """
    from orchestrator.matrix.load import load

    path = directory / file if directory is not None else file
    return load(path, shown=str(path))


def open_plan(given: Selection) -> Plan:
    """Load the matrix, expand it, and keep what the options select.

    Raises:
        MatrixError, UsageError: What is wrong with the file or the options.
    """
    from orchestrator.matrix.layers import CommandLine
    from orchestrator.matrix.selectors import Selector, narrow, parse_axes
    from orchestrator.matrix.variants import plan

    matrix = open_matrix(given.file, given.directory)
    selector = Selector(
        cuda=tuple(given.cuda or ()),
        platform=tuple(given.platform or ()),
        target=tuple(given.target or ()),
        variant=tuple(given.variant or ()),
        axes=parse_axes(given.axis or ()),
    )
    values = CommandLine(
        args=_pairs(given.args or ()), archs=given.archs, image=given.image, when=selector.conditions(matrix.spec)
    )
    return narrow(plan(matrix, given=values), selector)


def _pairs(texts: Sequence[str]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"--arg {text}: expected NAME=VALUE")
        pairs[name] = value
    return pairs
