"""Commands of RUN steps that install packages, fetch over the network, or prove checksums."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from orchestrator.dockerfile.commands import Command, commands
from orchestrator.dockerfile.options import json_form
from orchestrator.headers.outcome import Shell, shell_of, swallows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orchestrator.dockerfile.stages import Step

_PYTHON = re.compile(r"python[\d.]*")
_PIP = re.compile(r"pip[\d.]*")
_SYSTEM = frozenset({"apt-get", "apt", "aptitude", "dnf", "yum", "microdnf", "zypper", "conda", "mamba", "micromamba"})
_FETCHERS = frozenset({"curl", "wget", "aria2c"})
_VERBS = {
    "cargo": frozenset({"build", "install", "fetch", "update", "add", "vendor", "test", "run", "check"}),
    "rustup": frozenset({"install", "update", "toolchain", "component", "target", "default", "self"}),
    "rustup-init": frozenset({""}), "rustup-init.sh": frozenset({""}),
    "maturin": frozenset({"build", "develop"}),
    "npm": frozenset({"install", "i", "ci", "update", "exec"}), "npx": frozenset({""}),
    "pnpm": frozenset({"install", "i", "add", "fetch"}), "yarn": frozenset({"install", "add"}),
    "go": frozenset({"get", "install", "mod", "build", "run", "test"}),
    "gem": frozenset({"install"}), "bundle": frozenset({"install"}),
    "poetry": frozenset({"install", "add", "lock"}), "pdm": frozenset({"install", "sync"}),
    "pixi": frozenset({"install"}),
    "apt-get": frozenset({"update", "source", "build-dep", "download", "upgrade", "dist-upgrade"}),
    "apt": frozenset({"update", "upgrade"}), "add-apt-repository": frozenset({""}),
    "dnf": frozenset({"update", "upgrade", "download", "builddep", "makecache", "group"}),
    "yum": frozenset({"update", "upgrade", "makecache", "groupinstall"}), "apk": frozenset({"update", "upgrade"}),
    "docker": frozenset({"pull", "build"}), "skopeo": frozenset({"copy"}), "crane": frozenset({"pull", "export"}),
    "huggingface-cli": frozenset({"download"}), "hf": frozenset({"download"}), "svn": frozenset({"checkout", "co"}),
}  # fmt: skip
_GIT = frozenset({"clone", "fetch", "pull", "submodule", "ls-remote"})


def run_commands(step: Step) -> list[Command]:
    """Everything that a RUN step starts: its own commands, and those of its here-documents."""
    if step.keyword != "RUN":
        return []
    return [command for text in (step.text, *step.documents) for command in commands(text)]


def program_of(command: Command) -> str:
    """Return the program that a command gives to Python (`python3 -c …`), "" for none."""
    if not _PYTHON.fullmatch(command.name):
        return ""
    for at, word in enumerate(command.words[1:-1], 1):
        if re.fullmatch(r"-[A-Za-z]*c", word):
            return command.words[at + 1]
        if not word.startswith("-"):
            break
    return ""


def installs(command: Command) -> str:
    """Return the package manager's call in a few words (`pip install`), "" for a command that installs nothing."""
    name, arguments = command.name, [word for word in command.words[1:] if not word.startswith("-")]
    if _PYTHON.fullmatch(name) and "-m" in command.words and arguments[:1] == ["pip"]:
        name, arguments = "pip", arguments[1:]
    if name == "uv" and arguments[:1] == ["pip"]:
        name, arguments = "uv pip", arguments[1:]
    verb = next((word for word in arguments if word in {"install", "download", "add", "sync"}), "")
    if _PIP.fullmatch(name) or name == "uv pip":
        return f"{name} {verb}" if verb in {"install", "download"} else ""
    if name in {"uv", "uvx"}:
        first = "".join(arguments[:1])
        known = verb or (first if first in {"run", "tool", "lock", "build"} or name == "uvx" else "")
        if first == "venv" and "--no-python-downloads" not in command.words:
            known = "venv"  # an interpreter that is not there is downloaded
        return f"{name} {known}".strip() if known else ""
    if name == "apk":
        return "apk add" if verb == "add" else ""
    return f"{name} install" if name in _SYSTEM and verb == "install" else ""


def fetches(command: Command) -> str:
    """Return the call that needs a network in a few words (`git clone`), "" for a command that needs none."""
    if command.name in _FETCHERS:
        return command.name
    verbs = [word for word in command.words[1:] if not word.startswith(("-", "+"))]
    verb = "".join(verbs[:1])
    if command.name == "git" and (found := next((word for word in verbs if word in _GIT), "")):
        return f"git {found}"
    if command.name == "flashinfer" and verb.startswith(("download", "install-")):
        return f"flashinfer {verb}"
    if "--offline" in command.words or "--no-index" in command.words:
        return ""
    if verb in _VERBS.get(command.name, ()) or (command.name in {"yarn", "bundle"} and not verb):
        return f"{command.name} {verb}".strip()
    if _builds_python(command, verbs):
        return f"{' '.join(command.words[:3])} (build isolation installs packages)"
    return "" if "--no-index" in command.words else installs(command)


def _builds_python(command: Command, verbs: list[str]) -> bool:
    """Return the call that builds a Python package, for which pip, uv or build install its requirements first."""
    if {"--no-build-isolation", "--no-isolation"} & set(command.words):
        return False
    if _PIP.fullmatch(command.name) or command.name == "uv":
        return "wheel" in verbs[:2] or (command.name == "uv" and verbs[:1] == ["build"])
    return bool(_PYTHON.fullmatch(command.name)) and "-m" in command.words and verbs[:1] == ["build"]


def proves_checksums(command: Command) -> bool:
    """Return whether a command compares all files of a list with their checksums: `sha256sum --check`."""
    words = command.words[1:]
    checks = any(re.fullmatch(r"--check|-\w*c\w*", word) for word in words)
    return command.name == "sha256sum" and checks and "--ignore-missing" not in words


def ignored_failure(found: list[Command]) -> str:
    """Return the construct that turns a failure into success, "" where there is none.

    `|| { echo …; exit 1; }` is none: the failure stays one.
    """
    piped = any(command.name == "set" and "pipefail" in command.words for command in found)
    for at, command in enumerate(found):
        following = found[at + 1].before if at + 1 < len(found) else "\n"
        if command.name == "set" and "+e" in command.words:
            return "set +e"
        if command.name == "true" and command.before == ";" and following == "\n":
            return "; true"
        if (
            command.name == "exit"
            and command.words[1:2] == ("0",)
            and command.before not in {"&&", "||"}
            and command is found[-1]
        ):
            return "exit 0"  # the last thing that is done; one that is not may stand in a branch
        if command.before == "|" and at and not piped and _works_on_flashinfer(found[at - 1]):
            return f"| {command.name} without pipefail"
        covers = command.before == "||" and command.name in {"true", ":", "echo", "printf", "exit"}
        if covers and not any(map(_fails, _group(found, at))):
            return f"|| {' '.join(command.words[:2] if command.name == 'exit' else [command.name])}"
    return ""


def goes_on(step: Step, shell: Sequence[str], scripts: Mapping[str, str]) -> bool:
    """Return whether a RUN step can end with success although a command that brings or proves headers has failed.

    Args:
        step: The step.
        shell: What its SHELL instruction says, () for Docker's own.
        scripts: File name -> text of the scripts of the Dockerfile.
    """
    documents = " ".join(step.documents).lower()

    def matters(words: tuple[str, ...]) -> bool:
        command = Command(words=words)
        if proves_checksums(command):
            return True
        if command.name in _HARMLESS:
            return False
        own = " ".join(words).lower()
        if _PYTHON.fullmatch(command.name) and len(words) < _SHORT:
            own += documents  # the program that reads the here-document
        for name in {word.rsplit("/", 1)[-1] for word in words if word.endswith(".py")}:
            own += scripts.get(name, "").lower()
        return "flashinfer" in own and any(word in own for word in _BRINGING)

    words = json_form(step.text.strip())
    if words is not None:
        return swallows([shlex.join(words)], matters, Shell(scripts=scripts))
    found = commands(step.text)
    # Docker runs a here-document that no command reads; `sh <<EOF` is the same by hand
    inline = not found or (len(found) == 1 and found[0].name in {"sh", "bash"})
    texts = [one for one in step.documents if not one.startswith("#!")] if inline and step.documents else [step.text]
    return swallows(texts, matters, shell_of((*shell, *(found[0].words if found and inline else ())), scripts))


_HARMLESS = frozenset(
    {"echo", "printf", "cat", "mkdir", "rm", "rmdir", "ls", "chmod", "chown", "touch", "cd", "test", "[", "[[", "ln",
     "du", "export", "unset", "wc", "readlink", "head", "tail", "tee", "sort", "true", ":"}
)  # fmt: skip
"""Commands that may name FlashInfer's files, and bring and prove none."""
_BRINGING = ("headers", "cubin", "download", "kernels")
_SHORT = 4  # words of `python3 -u -`, and not of `python3 -c …` or `python3 script.py --option`


def _works_on_flashinfer(command: Command) -> bool:
    return command.name not in {"echo", "printf", "cat"} and "flashinfer" in " ".join(command.words).lower()


def _group(found: list[Command], at: int) -> list[Command]:
    if not found[at].grouped:
        return [found[at]]
    end = next((index for index in range(at, len(found)) if found[index].name in {"}", ")"}), len(found))
    return found[at:end]


def _fails(command: Command) -> bool:
    return command.name == "false" or (command.name in {"exit", "return"} and command.words[1:2] != ("0",))
