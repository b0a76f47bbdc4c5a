"""Commands with grouped help and examples, and groups that import a command when it is called.

Everything that is special about this command line as such; the options themselves are declared in `options.py`.
"""

from __future__ import annotations

import importlib
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource
from msgspec import Struct

from orchestrator.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


class Heading(StrEnum):
    """The groups of options in a help text, in their order."""

    SELECT = "Select variants"
    OVERRIDE = "Override the matrix"
    SOURCE = "Source"
    OUTPUT = "Output"
    BEHAVIOUR = "Behaviour"
    CACHE = "Caches and stores"
    GENERAL = "General"


class Verbosity(Struct):
    """Whether errors show their causes; set by `-v/--verbose` while the arguments are parsed."""

    causes: bool = False


class Option(click.Option):
    """An option that names its heading and says its default in plain words.

    Args:
        declarations: Its names.
        heading: Where the help text lists it.
        default_text: The default where the value itself says nothing ("all" for an empty selection).
        settings: As for click.
    """

    def __init__(
        self,
        declarations: Sequence[str],
        *,
        heading: Heading = Heading.GENERAL,
        default_text: str = "",
        **settings: Any,
    ) -> None:
        self.heading = heading
        self.default_text = default_text
        super().__init__(declarations, **settings)
        if not default_text and not self.is_flag and settings.get("default") not in (None, "", ()):
            self.default_text = str(settings["default"])

    def process_value(self, ctx: click.Context, value: Any) -> Any:
        """The value, converted; an empty text on the command line is an error.

        `--archs "$LIST"` with an unset variable must not mean "no promise", nor `--cuda ""` "all".

        Raises:
            UsageError: It is empty.
        """
        if _given_empty(self, ctx, value):
            raise UsageError(
                f"{self.opts[-1]}: the value is empty: expected {self.metavar or 'a value'}",
                hint=f"leave {self.opts[-1]} out, or set the variable that it is taken from",
            )
        return super().process_value(ctx, value)

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """The names, and the help text with what follows from the declaration: repeatable, default, environment."""
        record = super().get_help_record(ctx)
        return None if record is None else (record[0], self.explained())

    def explained(self) -> str:
        """The help text as it is shown."""
        notes = ["repeatable"] if self.multiple else []
        notes += [f"default: {self.default_text}"] if self.default_text else []
        notes += [f"environment: {self.envvar}"] if self.envvar else []
        text = str(self.help).removesuffix(".")
        return f"{text} ({'; '.join(notes)})." if notes else f"{text}."


def _given_empty(parameter: click.Parameter, ctx: click.Context, value: Any) -> bool:
    """Whether the command line holds an empty text for a parameter."""
    given = value if isinstance(value, (list, tuple)) else (value,)
    return ctx.get_parameter_source(parameter.name or "") is ParameterSource.COMMANDLINE and "" in [
        one.strip() for one in given if isinstance(one, str)
    ]


class Argument(click.Argument):
    """A positional argument with a help text."""

    def __init__(self, declarations: Sequence[str], *, explanation: str, **settings: Any) -> None:
        super().__init__(declarations, **settings)
        self.explanation = explanation

    def process_value(self, ctx: click.Context, value: Any) -> Any:
        """The value, converted; an empty text is an error: as a path, it would be the directory one stands in.

        Raises:
            UsageError: It is empty.
        """
        if _given_empty(self, ctx, value):
            name = self.make_metavar(ctx).strip("[]")
            raise UsageError(f"{name}: the value is empty", hint=f"{name}: {self.explanation}")
        return super().process_value(ctx, value)


class EnumChoice(click.Choice[Any]):
    """One of the values of an enumeration, as a member of it."""

    def normalize_choice(self, choice: Any, ctx: click.Context | None) -> str:
        """What users write: the value, where click takes the name."""
        del ctx
        return str(choice.value) if isinstance(choice, StrEnum) else str(choice)


def option(*declarations: str, heading: Heading, **settings: Any) -> Callable[[Any], Any]:
    """Declare an option of one command; see `Option`."""
    return click.option(*declarations, cls=Option, heading=heading, **settings)


def argument(*declarations: str, **settings: Any) -> Callable[[Any], Any]:
    """Declare a positional argument; see `Argument`."""
    return click.argument(*declarations, cls=Argument, **settings)


def command(
    name: str,
    *,
    examples: Sequence[str],
    conflicts: Mapping[str, Sequence[str]] | None = None,
    needs: Mapping[str, Sequence[str]] | None = None,
) -> Callable[[Callable[..., Any]], Command]:
    """Make a command of a function; its docstring is the help text.

    Args:
        name: How it is called.
        examples: Lines for the end of the help text.
        conflicts: Options that refuse others, by the names that users write: `{"--compare": ("--archs",)}`. A value
            can be part of a name: `--format=github`.
        needs: Options that mean something only together with one of others.
    """

    def decorate(function: Callable[..., Any]) -> Command:
        made: Command = click.command(name, cls=Command, context_settings=CONTEXT)(function)
        made.examples = tuple(examples)
        made.conflicts = dict(conflicts or {})
        made.needs = dict(needs or {})
        return made

    return decorate


class Command(click.Command):
    """A command; made by `command`."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.examples: tuple[str, ...] = ()
        self.conflicts: dict[str, Sequence[str]] = {}
        self.needs: dict[str, Sequence[str]] = {}
        verbose = Option(
            ["-v", "--verbose"], is_flag=True, is_eager=True, expose_value=False, callback=_verbose,
            help="Show the causes of an error.",
        )  # fmt: skip
        self.params.append(verbose)

    def invoke(self, ctx: click.Context) -> Any:
        """Refuse options that do not go together, then run the command.

        Raises:
            UsageError: Naming both.
        """
        for one, others in self.conflicts.items():
            for other in others:
                if self._used(ctx, one) and self._used(ctx, other):
                    raise UsageError(f"{_shown(other)} cannot be combined with {_shown(one)}", hint=_help_of(ctx))
        for one, others in self.needs.items():
            if self._used(ctx, one) and not any(self._used(ctx, other) for other in others):
                raise UsageError(
                    f"{_shown(one)} has no effect without {_either(others)}",
                    hint=f"add {_either(others)}, or leave {_shown(one)} out",
                )
        return super().invoke(ctx)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Arguments, then the options under their headings."""
        arguments = [(one.make_metavar(ctx), one.explanation) for one in self.params if isinstance(one, Argument)]
        if arguments:
            with formatter.section("Arguments"):
                formatter.write_dl(arguments)
        format_options(self, ctx, formatter)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The examples, as they are written."""
        del ctx
        write_examples(formatter, self.examples)

    def _used(self, ctx: click.Context, name: str) -> bool:
        """Whether the command line gives this parameter, and not merely its default value."""
        name, equals, value = name.partition("=")
        found = next(param for param in self.params if name in (*param.opts, param.human_readable_name))
        if ctx.get_parameter_source(str(found.name)) is not ParameterSource.COMMANDLINE:
            return False
        given = ctx.params[str(found.name)]
        # a flag in its other form (--no-verify) asks for nothing
        return str(given) == value if equals else given != found.default and given is not False


class Lazy(Struct, frozen=True, kw_only=True):
    """A command that is imported when it is called.

    Attributes:
        module: Where it is; the module's `command`.
        summary: The first line of its help text, so that a list of commands imports none of them.
    """

    module: str
    summary: str


class LazyGroup(click.Group):
    """A group that imports only the command that is called.

    Args:
        lazy: The commands by name, in the order of the help text.
        examples: Lines for the end of the help text.
        notes: Lines after the examples.
        settings: As for click.
    """

    def __init__(
        self, *, lazy: Mapping[str, Lazy], examples: Sequence[str], notes: Sequence[str] = (), **settings: Any
    ) -> None:
        super().__init__(context_settings=CONTEXT, **settings)
        self.lazy = dict(lazy)
        self.examples = tuple(examples)
        self.notes = tuple(notes)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Without arguments a group shows its help text, which is no error."""
        return super().parse_args(ctx, args or ["--help"])

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order of the help text."""
        del ctx
        return list(self.lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command."""
        del ctx
        if cmd_name not in self.lazy:
            return None
        found: click.Command = importlib.import_module(self.lazy[cmd_name].module).command
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command.

        Raises:
            UsageError: There is none of this name, with a suggestion.
        """
        if args[0] not in self.lazy and not args[0].startswith("-") and not ctx.resilient_parsing:
            raise UsageError(f"No such command '{args[0]}'.", hint=did_you_mean(args[0], self.lazy))
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        """Names of commands and options that begin so, with their summaries."""
        from click.shell_completion import CompletionItem

        found = [
            CompletionItem(name, help=one.summary) for name, one in self.lazy.items() if name.startswith(incomplete)
        ]
        return found + click.Command.shell_complete(self, ctx, incomplete)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands, then the options."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, one.summary.removesuffix(".")) for name, one in self.lazy.items()])
        format_options(self, ctx, formatter)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The examples and notes, as they are written."""
        del ctx
        write_examples(formatter, self.examples)
        if self.notes:
            formatter.write("\n" + "".join(f"{line}\n" for line in self.notes))


def format_options(of: click.Command, ctx: click.Context, formatter: click.HelpFormatter) -> None:
    """Write the options of a command under their headings."""
    records: dict[Heading, list[tuple[str, str]]] = {heading: [] for heading in Heading}
    for param in of.get_params(ctx):
        record = None if isinstance(param, Argument) else param.get_help_record(ctx)
        if record is not None:
            records[param.heading if isinstance(param, Option) else Heading.GENERAL].append(record)
    for heading, rows in records.items():
        if rows:
            with formatter.section(heading.value):
                formatter.write_dl(rows)


def write_examples(formatter: click.HelpFormatter, lines: Sequence[str]) -> None:
    """Write examples whose lines are kept as they are."""
    formatter.write("\nExamples:\n" + "".join(f"  {line}\n" for line in lines))


def _verbose(ctx: click.Context, param: click.Parameter, value: bool) -> None:  # noqa: FBT001  # click's own order
    del param
    if value:
        ctx.ensure_object(Verbosity).causes = True


def _shown(name: str) -> str:
    return name.replace("=", " ")


def _either(names: Sequence[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} or {last}" if first else last


def _help_of(ctx: click.Context) -> str:
    return f"`{ctx.command_path} --help` lists the options"
