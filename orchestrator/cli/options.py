"""The options that several commands share: each is declared once, and a command gets them as one value."""

from __future__ import annotations

import functools
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.common import Format, Location, Selection
from orchestrator.cli.kit import EnumChoice, Heading, Option

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from enum import StrEnum

    from click.shell_completion import CompletionItem

Declared = partial[Option]


def declared(*declarations: str, heading: Heading, **settings: Any) -> Declared:
    """An option that commands add with `selection`, `collected` or `alone`."""
    return partial(Option, declarations, heading=heading, **settings)


def completed(what: str) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
    """What a shell is offered for an option: values of `what` (`cli.candidates`)."""

    def offer(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        from orchestrator.cli.candidates import beginning, candidates

        del param
        return [CompletionItem(name, help=text) for name, text in beginning(candidates(what, ctx), incomplete)]

    return offer


FILE = declared(
    "-f", "--file", heading=Heading.GENERAL, type=click.Path(path_type=Path), metavar="FILE",
    help="Read this matrix file.", default_text="matrix.yaml",
)  # fmt: skip
LONG_FILE = declared(
    "--file", heading=Heading.GENERAL, type=click.Path(path_type=Path), metavar="FILE",
    help="Read this matrix file.", default_text="matrix.yaml",
)  # fmt: skip
DIRECTORY = declared(
    "-C", "--directory", heading=Heading.GENERAL, type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
    help="Look for the matrix in this directory.", default_text="the current one, and above it in the checkout",
)  # fmt: skip
CUDA = declared(
    "--cuda", heading=Heading.SELECT, multiple=True, metavar="RELEASE",
    help="Select CUDA releases, as in 13.0.", default_text="all", shell_complete=completed("cuda"),
)  # fmt: skip
PLATFORM = declared(
    "--platform", heading=Heading.SELECT, multiple=True, metavar="PLATFORM",
    help="Select platforms, as in linux/arm64.", default_text="all", shell_complete=completed("platform"),
)  # fmt: skip
TARGET = declared(
    "--target", heading=Heading.SELECT, multiple=True, metavar="TARGET",
    help="Select bake targets by name, as in openai.", default_text="all", shell_complete=completed("target"),
)  # fmt: skip
AXIS = declared(
    "--axis", heading=Heading.SELECT, multiple=True, metavar="NAME=VALUE",
    help="Select values of the project's own axes, as in python=3.12.", default_text="all",
    shell_complete=completed("axis"),
)  # fmt: skip
VARIANT = declared(
    "--variant", heading=Heading.SELECT, multiple=True, metavar="ID",
    help="Select variants by id or glob, as in openai-cu130-amd64 or '*-arm64'.", default_text="all",
    shell_complete=completed("variant"),
)  # fmt: skip
ARG = declared(
    "--arg", "args", heading=Heading.OVERRIDE, multiple=True, metavar="NAME=VALUE",
    help="Set a build argument, as in max_jobs=8.", default_text="the matrix",
)  # fmt: skip
ARCHS = declared(
    "--archs", heading=Heading.OVERRIDE, default="", metavar="LIST",
    help="Set the arch list, as in '9.0 11.0'.", default_text="the matrix",
)  # fmt: skip
IMAGE = declared(
    "--image", heading=Heading.OVERRIDE, default="", metavar="NAME",
    help="Set the image repository, as in ghcr.io/acme/app.", default_text="the matrix",
)  # fmt: skip
CACHE = declared(
    "--cache", heading=Heading.BEHAVIOUR, type=click.Choice(["read-write", "read-only", "off"]), default="read-write",
    help="Use the layer cache this way; for a pull request or a fork, the event can allow less.",
)  # fmt: skip

ALLOW = declared(
    "--allow", heading=Heading.BEHAVIOUR, multiple=True, metavar="PRIVILEGE",
    help="Allow what a target asks for, as in network.host, ssh or fs.read=/etc/ssl.",
    default_text="bake.allow of the matrix",
)  # fmt: skip

PLACE = (FILE, DIRECTORY)
VARIANTS = (CUDA, PLATFORM, TARGET, AXIS, VARIANT)
OVERRIDES = (ARG, ARCHS, IMAGE)


def collected(into: str, kind: type[Any], wanted: Sequence[Declared]) -> Callable[[Callable[..., Any]], Any]:
    """Add options to a command, which gets their values as one.

    Args:
        into: The parameter that gets the value.
        kind: Its type: a dataclass with a field for each option; the fields of the others keep their defaults.
        wanted: The options, in the order of the help text.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        made = [make() for make in wanted]
        names = [str(option.name) for option in made]

        @functools.wraps(function)
        def call(**values: Any) -> Any:
            value = kind(**{name: values.pop(name) for name in names})
            return function(**{into: value}, **values)

        # click collects parameters from the last decorator to the first, and turns the list round
        parameters: list[click.Parameter] = getattr(function, "__click_params__", [])
        call.__click_params__ = [*parameters, *reversed(made)]  # type: ignore[attr-defined]  # as click's decorators do
        return call

    return decorate


def alone(wanted: Declared) -> Callable[[Callable[..., Any]], Any]:
    """Add one option that is declared elsewhere; it arrives under its own name."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        parameters: list[click.Parameter] = getattr(function, "__click_params__", [])
        function.__click_params__ = [*parameters, wanted()]  # type: ignore[attr-defined]  # as click's decorators do
        return function

    return decorate


def location(function: Callable[..., Any]) -> Any:
    """Add -f and -C; they arrive as `given`, a Location."""
    return collected("given", Location, PLACE)(function)


def location_without_f(function: Callable[..., Any]) -> Any:
    """Add --file and -C where -f means to follow; they arrive as `given`, a Location."""
    return collected("given", Location, (LONG_FILE, DIRECTORY))(function)


def selection(*more: Declared) -> Callable[[Callable[..., Any]], Any]:
    """Add the options that select variants, and -f and -C; they arrive as `given`, a Selection.

    Args:
        more: Further options with a field in Selection.
    """
    return collected("given", Selection, (*VARIANTS, *more, *PLACE))


def formats(kind: type[StrEnum] = Format, *, explanation: str = "") -> Callable[[Any], Any]:
    """Add --format; it arrives as `format_`.

    Args:
        kind: The formats; the first is the default.
        explanation: The help text.
    """
    text = explanation or "Print the result for people or for programs."
    return click.option(
        "--format", "format_", cls=Option, heading=Heading.OUTPUT, type=EnumChoice(list(kind)),
        default=next(iter(kind)), help=text,
    )  # fmt: skip
