"""Shell completion: `--install-completion`, `--show-completion`, and the answers that the shell asks for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.kit import Option
from orchestrator.errors import EnvironmentLacksError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

NAME = "orchestrate"
VARIABLE = "_ORCHESTRATE_COMPLETE"
SHELLS = ("bash", "zsh", "fish")
_DETECT = "auto"


def options() -> list[click.Parameter]:
    """The two options of the root command."""
    choice = click.Choice([*SHELLS, _DETECT])
    install = Option(
        ["--install-completion"], is_flag=False, flag_value=_DETECT, type=choice, expose_value=False,
        callback=_install, metavar="[SHELL]", help="Install completion for bash, zsh or fish.",
        default_text="the shell of $SHELL",
    )  # fmt: skip
    show = Option(
        ["--show-completion"], is_flag=False, flag_value=_DETECT, type=choice, expose_value=False,
        callback=_show, metavar="[SHELL]", help="Print the completion script, to install it by hand.",
        default_text="the shell of $SHELL",
    )  # fmt: skip
    return [install, show]


def asked(env: Mapping[str, str]) -> bool:
    """Whether a shell asks for completions."""
    return bool(env.get(VARIABLE))


def complete(root: click.Command, env: Mapping[str, str]) -> int:
    """Print completions for the words in the environment.

    Args:
        root: The root of all commands.
        env: The environment, as the script of the shell sets it.

    Returns:
        The exit code.
    """
    from click.shell_completion import get_completion_class

    shell, _, action = env[VARIABLE].partition("_")
    if shell not in SHELLS or action != "complete":
        raise UsageError(
            f"{VARIABLE}={env[VARIABLE]} is invalid: expected bash_complete, zsh_complete or fish_complete",
            hint="`orchestrate --install-completion` installs the script of this version",
        )
    if shell != "fish" and not env.get("COMP_CWORD", "").isdecimal():
        raise UsageError(f"COMP_CWORD is invalid: expected a number, found {env.get('COMP_CWORD')!r}")
    if "COMP_WORDS" not in env:
        raise UsageError("COMP_WORDS was not found: the script of the shell sets it")
    kind = get_completion_class(shell)
    assert kind is not None, shell  # noqa: S101  # of SHELLS
    answer = kind(root, {}, NAME, VARIABLE)
    words, incomplete = answer.get_completion_args()
    cut = 0
    if shell == "bash":
        words, incomplete, cut = _joined(words, incomplete)
    for item in answer.get_completions(words, incomplete):
        item.value = item.value[cut:]
        click.echo(answer.format_completion(item))
    return 0


def _joined(words: list[str], incomplete: str) -> tuple[list[str], str, int]:
    """The words as they were typed: bash ends a word at `=`, and replaces only what follows the last one.

    Returns:
        The words, the one to complete, and how much of the front of a candidate bash has already.
    """
    joined: list[str] = []
    glue = False
    for word in (*words, incomplete):
        if joined and (glue or word == "="):
            joined[-1] += word
        else:
            joined.append(word)
        glue = word == "="
    *before, last = joined
    value = last.partition("=")[2] if last.startswith("--") else last
    return before, last, value.rfind("=") + 1


def script(shell: str) -> str:
    """The completion script of a shell."""
    from click.shell_completion import ShellComplete, get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None, shell  # noqa: S101  # of SHELLS
    # The base class's: bash's own starts a bash only to learn its version.
    return ShellComplete.source(kind(click.Command(NAME), {}, NAME, VARIABLE))


def place(shell: str, env: Mapping[str, str]) -> Path:
    """Where a shell looks for a user's completions."""
    home = Path(env.get("HOME") or Path.home())
    data = Path(env.get("XDG_DATA_HOME") or home / ".local" / "share")
    config = Path(env.get("XDG_CONFIG_HOME") or home / ".config")
    return {
        "bash": data / "bash-completion" / "completions" / NAME,
        "zsh": data / "zsh" / "site-functions" / f"_{NAME}",
        "fish": config / "fish" / "completions" / f"{NAME}.fish",
    }[shell]


def _install(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    del param
    if value is None:
        return
    from orchestrator.files import write_whole

    shell = _shell(value)
    path = place(shell, os.environ)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, script(shell) + "\n", mode=0o644)
    except OSError as error:
        raise EnvironmentLacksError(f"{path}: cannot be written: {error.strerror}") from error
    click.echo(f"{path}: installed, for new shells")
    if shell == "bash":
        click.echo(f"hint: without the package bash-completion, add this to ~/.bashrc: source {path}", err=True)
    if shell == "zsh":
        click.echo(f"hint: add this to ~/.zshrc, before compinit: fpath+=({path.parent})", err=True)
    ctx.exit()


def _show(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    del param
    if value is not None:
        click.echo(script(_shell(value)))
        ctx.exit()


def _shell(value: str) -> str:
    name = Path(os.environ.get("SHELL", "")).name if value == _DETECT else value
    if name not in SHELLS:
        raise UsageError(
            f"SHELL: the shell {name or 'of this terminal'} has no completion script: expected {', '.join(SHELLS)}",
            hint="name one: `orchestrate --show-completion bash`",
        )
    return name
