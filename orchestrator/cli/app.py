"""The `orchestrate` command: its commands, and the one place where errors become exit codes."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
from typing import TYPE_CHECKING

import click

from orchestrator.cli import completion
from orchestrator.cli.kit import Lazy, LazyGroup, Option, Verbosity
from orchestrator.errors import EnvironmentLacksError, InterruptedRunError, OrchestrateError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import FrameType

NAME = "orchestrate"

COMMANDS = {
    name: Lazy(module=f"orchestrator.cli.{name}", summary=summary)
    for name, summary in {
        "plan": "Show what is built, what is not, and why.",
        "build": "Build the selected variants; one that fails does not stop the others.",
        "logs": "Show the log of a variant's last build, and follow one that runs.",
        "report": "Show what earlier runs of `orchestrate build` did.",
        "check": "Compare the repository's other files with the matrix.",
        "init": "Write a first matrix.yaml for a repository that has none.",
        "headers": "Carry FlashInfer's headers into images that run without a network.",
        "wheels": "Carry the Python packages of a build into places without a network.",
        "cache": "Show what the caches hold, say why a step was not taken from them, and remove what is not needed.",
        "lock": "Lock what builds start from, so that two builds of one commit start from the same bytes.",
        "publish": "Move the tags of multi-platform indexes, all or nothing.",
        "verify": "Verify from an image's own bytes which GPUs it has code for.",
        "doctor": "Check engine, buildx, builder, disk, memory, processors and registry.",
        "clean": "List what earlier runs left on this machine; with --yes, remove it.",
        "schema": "Print the JSON Schema of matrix.yaml.",
        "plugin": "Make `docker orchestrate` run this program.",
        "help": "Print a topic, or the help text of a command.",
    }.items()
}
"""In the order of the help text. Each is the module of its name in this package, which has a `command`."""

_HELP = """Build CUDA container images for every GPU that a project promises.

One matrix.yaml says which CUDA versions, platforms and architectures are shipped; orchestrate drives docker buildx bake
from it, proves that the build arguments arrive, and verifies what the images hold.
"""
_EXAMPLES = (
    "orchestrate plan                        show what is built, what is not, and why",
    "orchestrate build --cuda 13.0 --push    build and push, print digests",
    "orchestrate check                       compare the repository's other files with the matrix",
    "orchestrate verify IMAGE --device thor  does it run on my GPU, and how",
)
_NOTES = (
    "Exit codes:",
    "  0 done                         4 verification failed",
    "  1 a variant failed             5 something is missing: engine, disk",
    "  2 matrix or arguments invalid  6 network or registry failed",
    "  3 drift found                  130 interrupted",
)


def create() -> click.Group:
    """The root of all commands; none of them is imported yet."""
    return LazyGroup(
        name=NAME,
        help=_HELP,
        lazy=COMMANDS,
        examples=_EXAMPLES,
        notes=_NOTES,
        params=[
            Option(["--version"], is_flag=True, is_eager=True, expose_value=False, callback=_version,
                   help="Print the version and exit."),
            *completion.options(),
        ],
    )  # fmt: skip


def _version(ctx: click.Context, param: click.Parameter, value: bool) -> None:  # noqa: FBT001  # click's own order
    del param
    if value:
        from orchestrator import __version__

        click.echo(f"{NAME} {__version__}")
        ctx.exit()


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code.

    Args:
        argv: Arguments without the program's name; by default the process's own.
    """
    # Looking for pydantic plugins reads the metadata of every installed package; this program has none to offer them.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    _open_missing_streams()
    _interrupt_on_signals()
    try:
        code = run(list(sys.argv[1:] if argv is None else argv))
    except Exception as error:  # noqa: BLE001  # a fault of this program: the one case that ends with a traceback
        code = _show_fault(error)
    _forget_broken_streams()
    sys.exit(code)


def _open_missing_streams() -> None:
    """Let what a caller has closed (`orchestrate plan >&-`, a daemon) lead to the null device.

    The next file that is opened takes the number of a stream that is closed, and what is printed is written into it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w" if number else "r", encoding="utf-8", closefd=False))  # noqa: SIM115  # as long as it runs


def _interrupt_on_signals() -> None:
    """SIGTERM and SIGHUP do what Ctrl-C does, from the first moment on; a build takes them over once it has a plan."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # SIGHUP is ignored under nohup
            signal.signal(number, interrupt)


def run(argv: list[str]) -> int:
    """Run the command line; every error that a user or a network can cause becomes one message and its exit code."""
    _never_fail_to_encode()
    verbosity = Verbosity()
    try:
        with _click_errors():
            _refuse_bytes(argv)
            root = create()
            if completion.asked(os.environ):
                return completion.complete(root, os.environ)
            with root.make_context(NAME, list(argv), obj=verbosity) as context:
                result = root.invoke(context)
        sys.stdout.flush()  # a full disk or a reader that went away shows here, not at the interpreter's end
    except click.exceptions.Exit as done:
        return done.exit_code
    except OrchestrateError as error:
        _say(error, causes=verbosity.causes)
        return error.exit_code
    except KeyboardInterrupt:
        _say(InterruptedRunError("interrupted"))
        return InterruptedRunError.exit_code
    except BrokenPipeError:
        # the reader (head, less) went away: nothing more can be said, and the interpreter must not try at exit
        _silence_stdout()
        return 0
    except OSError as error:
        # no space on a disk, a directory of another user: never foreseen everywhere, never worth a traceback
        where = f"{error.filename}: " if error.filename else ""
        _say(EnvironmentLacksError(f"{where}{error.strerror or error}"))
        _silence_stdout()
        return EnvironmentLacksError.exit_code
    return result if isinstance(result, int) else 0


@contextlib.contextmanager
def _click_errors() -> Iterator[None]:
    """Raise what click says about the arguments as our own error."""
    try:
        yield
    except click.UsageError as error:
        of = error.ctx.command_path if error.ctx else f"{NAME} COMMAND"
        raise UsageError(error.format_message(), hint=f"`{of} --help` lists the options") from None
    except click.ClickException as error:
        raise UsageError(error.format_message()) from None
    except click.Abort:
        raise KeyboardInterrupt from None


def _never_fail_to_encode() -> None:
    """Characters that are not in the terminal's encoding are shown as escapes; standard error does so by itself."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _refuse_bytes(argv: Sequence[str]) -> None:
    """Refuse arguments that are not UTF-8, because a bake file cannot hold them.

    Raises:
        UsageError: Naming the first of them.
    """
    for word in argv:
        try:
            word.encode()
        except UnicodeEncodeError as error:
            raise UsageError(
                f"{word.encode(errors='backslashreplace').decode()}: the argument is not valid UTF-8"
            ) from error


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


def _say(error: OrchestrateError, *, causes: bool = False) -> None:
    """Print an error where that is possible: with both streams on a full disk the exit code still tells."""
    with contextlib.suppress(OSError):
        show(error, causes=causes)


def show(error: OrchestrateError, *, causes: bool = False) -> None:
    """Print an error on standard error: what happened, each problem on its line, then the hint.

    Names in it may be untrusted (files of an image): nothing of them reaches the terminal as a control sequence.

    Args:
        error: The error.
        causes: Also print the errors that caused it.
    """
    from orchestrator.ui import github
    from orchestrator.ui.streams import flush_results
    from orchestrator.untrusted import clean, clean_lines

    flush_results()
    lines = [("error: ", "bold red", error.message)] if error.message else []
    lines += [("", "", clean(str(problem))) for problem in error.problems]
    lines += [("hint: ", "bold", error.hint)] if error.hint else []
    lines += [("caused by: ", "dim", cause) for cause in (_causes(error) if causes else ())]
    if sys.stderr.isatty() or os.environ.get("FORCE_COLOR"):
        _show_styled(lines)
    else:  # rich takes longer to import than a failing command takes
        sys.stderr.write("".join(f"{label}{clean_lines(text)}\n" for label, _, text in lines))
    if github.running(os.environ):
        for problem in error.problems:
            place = github.Place(file=problem.file, line=problem.line, column=problem.column)
            sys.stderr.write(
                github.command("error", str(problem).removeprefix(f"{problem.place}: "), place=place) + "\n"
            )


def _show_styled(lines: Sequence[tuple[str, str, str]]) -> None:
    from rich.text import Text

    from orchestrator.ui import console
    from orchestrator.untrusted import clean_lines

    screen = console.err()
    for label, style, text in lines:
        screen.print(Text.assemble((label, style), clean_lines(text)), soft_wrap=True)


def _show_fault(error: Exception) -> int:
    """Print the traceback of an internal error, without credentials."""
    import traceback

    from orchestrator.redact import redact
    from orchestrator.untrusted import clean_lines

    with contextlib.suppress(OSError):  # a full disk
        sys.stderr.write(redact(clean_lines("".join(traceback.format_exception(error)))))
        sys.stderr.write(
            "error: internal error: this is a fault of orchestrate, please report it with the lines above\n"
        )
    return OrchestrateError.exit_code


def _causes(error: BaseException) -> Iterator[str]:
    """What caused an error, outermost first, without credentials."""
    from orchestrator.redact import redact

    seen = {id(error)}
    cause = error.__cause__
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        kind = type(cause)
        name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
        yield redact(f"{name}: {cause}")
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
