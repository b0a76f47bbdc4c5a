"""The `orchestrate` command: its subcommands, and the one place where errors become exit codes."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer
from typer.exceptions import TyperException

from orchestrator.cli import common
from orchestrator.errors import EnvironmentLacksError, InterruptedRunError, OrchestrateError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = ("plan", "build", "check", "init", "headers", "verify", "doctor", "schema")
"""In the order of the help text. Each is the module of its name in this room, which has a `register`."""

_HELP = (
    "Build CUDA container images for every GPU that a project promises.\n\n"
    "One matrix.yaml says which CUDA versions, platforms and architectures are shipped; orchestrate drives docker "
    "buildx bake from it, proves that the build arguments arrive, and proves what the images hold."
)
_EPILOG = common.examples(
    "orchestrate plan                        what would be built, what not, and why",
    "orchestrate build --cuda 13.0 --push    build and push, report digests",
    "orchestrate check                       do the repository's other files agree with the matrix",
    "orchestrate verify IMAGE --device thor  will it run on my GPU, and how",
) + (
    "\n\n\b\nExit codes:\n"
    "  0 done                         4 verification failed\n"
    "  1 a variant failed             5 the machine lacks something\n"
    "  2 matrix or arguments wrong    6 network or registry failed\n"
    "  3 drift found                  130 interrupted"
)


def create(only: str = "") -> typer.Typer:
    """The application.

    Args:
        only: The command that will be called: the others' options need not be put together then, which takes longer
            than many a command. "" for all of them, as help texts and shell completion want it.
    """
    app = typer.Typer(
        name="orchestrate",
        help=_HELP,
        epilog=_EPILOG,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback()
    def _top(
        *,
        version: Annotated[bool, typer.Option("--version", help="Print the version.", callback=_version)] = False,
    ) -> None:
        del version

    for name in [only] if only in COMMANDS else COMMANDS:
        importlib.import_module(f"orchestrator.cli.{name}").register(app)
    return app


def _version(wanted: bool) -> None:  # noqa: FBT001  # typer hands the flag over by position
    if wanted:
        from orchestrator import __version__

        sys.stdout.write(f"orchestrate {__version__}\n")
        raise typer.Exit


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code.

    Args:
        argv: Arguments without the program's name; by default the process's own.
    """
    # Looking for pydantic plugins reads the metadata of every installed package; this program has none to offer them.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    code = run(list(sys.argv[1:] if argv is None else argv))
    _forget_broken_streams()
    sys.exit(code)


def run(argv: list[str]) -> int:
    """Run the command line; every error that a user or a network can cause becomes one message and its exit code."""
    _never_fail_to_encode()
    try:
        _refuse_bytes(argv)
        application = create(argv[0] if argv else "")
        result = application(args=argv or ["--help"], prog_name="orchestrate", standalone_mode=False)
        sys.stdout.flush()  # a full disk or a reader that went away shows here, not at the interpreter's end
    except OrchestrateError as error:
        show(error)
        return error.exit_code
    except SystemExit as error:
        if isinstance(error.__context__, BrokenPipeError):  # typer makes 1 of it, the code of a failed build
            return 0
        raise
    except TyperException as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # a group of commands without one
            sys.stdout.write(f"{error.format_message()}\n")
            return 0
        show(UsageError(error.format_message(), hint="`orchestrate COMMAND --help` explains the options"))
        return UsageError.exit_code
    except (typer.Abort, KeyboardInterrupt):
        show(InterruptedRunError("interrupted"))
        return InterruptedRunError.exit_code
    except BrokenPipeError:
        # the reader (head, less) went away: nothing more can be said, and the interpreter must not try at exit
        _silence_stdout()
        return 0
    except OSError as error:
        # no room on a disk, a directory that is not ours: never foreseen everywhere, never worth a traceback
        where = f"{error.filename}: " if error.filename else ""
        show(EnvironmentLacksError(f"{where}{error.strerror or error}"))
        _silence_stdout()
        return EnvironmentLacksError.exit_code
    return result if isinstance(result, int) else 0


def _never_fail_to_encode() -> None:
    """Characters that the terminal's encoding lacks are shown as escapes; standard error does so by itself."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _refuse_bytes(argv: Sequence[str]) -> None:
    """Arguments that are not UTF-8 could be written into no bake file.

    Raises:
        UsageError: Naming the first of them.
    """
    for word in argv:
        try:
            word.encode()
        except UnicodeEncodeError as error:
            raise UsageError(f"{word.encode(errors='backslashreplace').decode()}: not UTF-8") from error


def _forget_broken_streams() -> None:
    """A reader that went away must not make 120 of the exit code, as the interpreter's last flush does (3.11.2)."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _silence_stdout() -> None:
    """What is still in the buffer cannot be written, and the interpreter must not try at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def show(error: OrchestrateError) -> None:
    """Print an error: what happened, each problem on its line, then the next step.

    Names in it may be a stranger's (files of an image): nothing of them reaches the terminal as a control sequence.
    """
    from rich.text import Text

    from orchestrator.ui import console

    screen = console.err()
    if error.message:
        screen.print(Text("error: ", style="bold red") + Text(_harmless(error.message), style=""), soft_wrap=True)
    for problem in error.problems:
        screen.print(Text(_harmless(str(problem))), soft_wrap=True)
    if error.hint:
        screen.print(Text("next: ", style="bold") + Text(_harmless(error.hint), style=""), soft_wrap=True)
    if os.environ.get("GITHUB_ACTIONS") == "true":
        for problem in error.problems:
            place = f"file={problem.file},line={problem.line},col={problem.column}" if problem.file else ""
            sys.stdout.write(f"::error {place}::{_escaped(problem.what)}\n")


def _harmless(text: str) -> str:
    from orchestrator.ui.text import clean

    return "\n".join(clean(line) for line in text.split("\n"))


def _escaped(text: str) -> str:
    """As GitHub's workflow commands want it."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
