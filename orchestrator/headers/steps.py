"""Commands of RUN steps that install packages, fetch over the network, or prove checksums."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from orchestrator.dockerfile.commands import commands

if TYPE_CHECKING:
    from orchestrator.dockerfile.commands import Command
    from orchestrator.dockerfile.stages import Step

_PYTHON = re.compile(r"python[\d.]*")
_PIP = re.compile(r"pip[\d.]*")
_SYSTEM = frozenset({"apt-get", "apt", "aptitude", "dnf", "yum", "microdnf", "zypper", "conda", "mamba", "micromamba"})
_FETCHERS = frozenset({"curl", "wget", "aria2c"})
_GIT = frozenset({"clone", "fetch", "pull", "submodule", "ls-remote"})


def run_commands(step: Step) -> list[Command]:
    """Everything that a RUN step starts: its own commands, and those of its here-documents."""
    if step.keyword != "RUN":
        return []
    return [command for text in (step.text, *step.documents) for command in commands(text)]


def installs(command: Command) -> str:
    """The package manager's call in a few words (`pip install`), "" for a command that installs nothing."""
    name, arguments = command.name, [word for word in command.words[1:] if not word.startswith("-")]
    if _PYTHON.fullmatch(name) and "-m" in command.words and arguments[:1] == ["pip"]:
        name, arguments = "pip", arguments[1:]
    if name == "uv" and arguments[:1] == ["pip"]:
        name, arguments = "uv pip", arguments[1:]
    verb = next((word for word in arguments if word in {"install", "download", "add", "sync"}), "")
    if _PIP.fullmatch(name) or name == "uv pip":
        return f"{name} {verb}" if verb in {"install", "download"} else ""
    if name == "uv":
        return f"uv {verb}" if verb else ""
    if name == "apk":
        return "apk add" if verb == "add" else ""
    return f"{name} install" if name in _SYSTEM and verb == "install" else ""


def fetches(command: Command) -> str:
    """The call that needs a network in a few words (`git clone`), "" for a command that needs none."""
    if command.name in _FETCHERS:
        return command.name
    verb = next((word for word in command.words[1:] if not word.startswith("-")), "")
    if command.name == "git" and verb in _GIT:
        return f"git {verb}"
    if command.name == "flashinfer" and verb.startswith("download"):
        return f"flashinfer {verb}"
    return "" if "--no-index" in command.words else installs(command)


def proves_checksums(command: Command) -> bool:
    """Whether a command compares files with a list of checksums: `sha256sum --check`."""
    return command.name == "sha256sum" and any(re.fullmatch(r"--check|-\w*c\w*", word) for word in command.words[1:])


def ignored_failure(found: list[Command]) -> str:
    """The construct that turns a failure into success, "" where there is none.

    `|| { echo …; exit 1; }` is none: the failure stays one.
    """
    for at, command in enumerate(found):
        following = found[at + 1].before if at + 1 < len(found) else "\n"
        if command.name == "set" and "+e" in command.words:
            return "set +e"
        if command.name == "true" and command.before == ";" and following == "\n":
            return "; true"
        covers = command.before == "||" and command.name in {"true", ":", "echo", "printf", "exit"}
        if covers and not any(map(_fails, _group(found, at))):
            return f"|| {' '.join(command.words[:2] if command.name == 'exit' else [command.name])}"
    return ""


def _group(found: list[Command], at: int) -> list[Command]:
    if not found[at].grouped:
        return [found[at]]
    end = next((index for index in range(at, len(found)) if found[index].name in {"}", ")"}), len(found))
    return found[at:end]


def _fails(command: Command) -> bool:
    return command.name == "false" or (command.name in {"exit", "return"} and command.words[1:2] != ("0",))
