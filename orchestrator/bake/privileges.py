"""Works out which privileges a bake file asks for, and compares them with what was allowed.

With `--progress rawjson` buildx checks no entitlement at all (measured, buildx 0.29.1): host network, an SSH agent and
any file of the machine reach a build that `docker buildx bake` refuses with another progress mode. So the check is done
here, before the build, with the rules of buildx, which a test compares for every kind. Nothing is allowed silently:
what lies in the project's own directory needs no consent, everything else needs a word of the user.
"""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from orchestrator.bake.closure import LINK
from orchestrator.dockerfile.predefined import platform_args
from orchestrator.dockerfile.stages import parse as parse_dockerfile
from orchestrator.engine import buildx
from orchestrator.entries import read_entry
from orchestrator.errors import MatrixError, Place, Problem, UsageError, did_you_mean
from orchestrator.matrix.schema import ALLOWED_IN_MATRIX

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from orchestrator.bake.file import BakeFile
    from orchestrator.dockerfile.stages import Step


class Privilege(StrEnum):
    """What a build may be allowed; the value is the word of `--allow`."""

    NETWORK = "network.host"
    INSECURE = "security.insecure"
    SSH = "ssh"
    DEVICE = "device"
    READ = "fs.read"
    WRITE = "fs.write"


_PATHS = {"fs": (Privilege.READ, Privilege.WRITE), "fs.read": (Privilege.READ,), "fs.write": (Privilege.WRITE,)}
_WORDS = (*Privilege, "fs")
_EVERYWHERE = "*"

_MEANING = {
    Privilege.NETWORK: "the network of the host",
    Privilege.INSECURE: "privileged steps",
    Privilege.SSH: "the SSH agent",
    Privilege.DEVICE: "devices",
    Privilege.READ: "reading",
    Privilege.WRITE: "writing",
}


class NotAllowedError(MatrixError):
    """A bake file asks for a privilege that was not allowed."""


class Ask(Struct, frozen=True, kw_only=True):
    """One privilege that a target asks for.

    Attributes:
        kind: Which.
        value: The absolute path, links followed, or the device; "" for the others.
        target: The target of the project's bake files.
        attribute: Where the target asks: `network`, `contexts.base`, `secret.ca`.
        text: What is written there.
    """

    kind: Privilege
    value: str = ""
    target: str
    attribute: str
    text: str = ""

    @property
    def word(self) -> str:
        """What allows it, for `--allow`."""
        return f"{self.kind}={self.value}" if self.value else str(self.kind)

    @property
    def meaning(self) -> str:
        """What it is, in words."""
        return f"{_MEANING[self.kind]} {self.value}".rstrip()


class Allowed(Struct, frozen=True, kw_only=True):
    """What a build is allowed.

    Attributes:
        words: (privilege, absolute path, device or "*"), "" for all that a privilege without a value means.
    """

    words: frozenset[tuple[Privilege, str]] = frozenset()

    def __or__(self, other: Allowed) -> Allowed:
        return Allowed(words=self.words | other.words)

    def covers(self, ask: Ask) -> bool:
        """Return whether it allows what is asked: the same device, the same path or one above it."""
        values = [value for kind, value in self.words if kind is ask.kind]
        if ask.kind in {Privilege.READ, Privilege.WRITE}:
            return any(value == _EVERYWHERE or Path(ask.value).is_relative_to(value) for value in values)
        return ask.value in values


def parse(words: Iterable[str], root: Path, *, option: str = "--allow") -> Allowed:
    """Read what is allowed, in the words of `docker buildx bake --allow`.

    Args:
        words: `network.host`, `security.insecure`, `ssh`, `device[=NAME]`, `fs=PATH`, `fs.read=PATH`, `fs.write=PATH`;
            a path may be `*`.
        root: What relative paths start from.
        option: What they were given with, for the message.

    Raises:
        UsageError: A word is not one of them.
    """
    found: set[tuple[Privilege, str]] = set()
    for word in words:
        name, equals, value = word.partition("=")
        if name in _PATHS and value:
            path = value if value == _EVERYWHERE else str(Path(root, value).resolve())
            found |= {(kind, path) for kind in _PATHS[name]}
        elif name in _PATHS:
            raise UsageError(f"{option} {word}: the path is missing", hint=f"{name}=PATH, as in {name}=/etc/ssl/ca.crt")
        elif name not in _WORDS or (equals and not (name == Privilege.DEVICE and value)):
            expected = did_you_mean(name, _WORDS) if name not in _WORDS else f"{name} takes no value"
            raise UsageError(f"{option}: {word} is not a privilege", hint=expected)
        else:
            found.add((Privilege(name), value))
    return Allowed(words=frozenset(found))


def asks(root: Path, file: BakeFile, *, own: Collection[str] = ()) -> tuple[Ask, ...]:
    """Return what the targets of a bake file ask for, each once.

    Args:
        root: The directory that paths of the targets start from: what lies in it needs no consent.
        file: The bake file.
        own: Directories of this program and of the command line; they need none either.
    """
    inside = [root.resolve(), *(Path(path).resolve() for path in own)]
    found: dict[tuple[str, str], Ask] = {}
    for name, member in file.members.items():
        for ask in _asks(root, member, file.origins.get(name, name)):
            if ask.kind in {Privilege.READ, Privilege.WRITE} and _within(Path(ask.value), inside):
                continue
            found.setdefault((ask.kind, ask.value), ask)
    # a path below one that is asked for as well needs no word of its own
    return tuple(ask for ask in found.values() if not any(_above(other, ask) for other in found.values()))


def _above(one: Ask, other: Ask) -> bool:
    paths = one.kind is other.kind and one.kind in {Privilege.READ, Privilege.WRITE} and one.value != other.value
    return paths and Path(other.value).is_relative_to(one.value)


def _within(path: Path, directories: Iterable[Path]) -> bool:
    return any(path.is_relative_to(directory) for directory in directories)


def _asks(root: Path, member: Mapping[str, Any], target: str) -> Iterator[Ask]:
    if member.get("network") == "host":
        yield Ask(kind=Privilege.NETWORK, target=target, attribute="network", text="host")
    for text in map(str, member.get("entitlements") or []):
        name, _, value = text.partition("=")
        if name in {Privilege.NETWORK, Privilege.INSECURE, Privilege.DEVICE}:  # BuildKit refuses all others
            yield Ask(kind=Privilege(name), value=value, target=target, attribute="entitlements", text=text)
    for one in member.get("ssh") or []:
        paths = ssh_paths(one)
        if not paths:
            yield Ask(kind=Privilege.SSH, target=target, attribute="ssh", text=str(read_entry(one).get("id") or one))
        for path in paths:
            yield Ask(kind=Privilege.READ, value=_real(root, path), target=target, attribute="ssh", text=path)
    if not member.get("ssh") and forwards_agent(member):
        yield Ask(kind=Privilege.SSH, target=target, attribute="context", text=str(member["context"]))
    for attribute, path in _reads(root, member):
        yield Ask(kind=Privilege.READ, value=_real(root, path), target=target, attribute=attribute, text=path)
    for entry in map(read_entry, member.get("cache-to") or []):
        if entry.get("type") == "local" and (path := _parent(entry.get("dest", ""))):
            yield Ask(kind=Privilege.WRITE, value=_real(root, path), target=target, attribute="cache-to", text=path)


def _reads(root: Path, member: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Attribute and path of everything on this machine that a target reads."""
    context = str(member.get("context") or ".")
    contexts = {f"contexts.{name}": str(value) for name, value in (member.get("contexts") or {}).items()}
    for attribute, value in {"context": context, **contexts}.items():
        # An OCI layout is no privilege to buildx: only what its index names can be read.
        if not buildx.is_remote(value) and not value.startswith(LINK):
            yield attribute, value.removeprefix("cwd://")
    if (dockerfile := buildx.dockerfile_path(root, member)) is not None:
        yield "dockerfile", str(dockerfile)
    elif buildx.is_remote(context) and not buildx.is_remote(name := str(member.get("dockerfile") or "")):
        yield "dockerfile", name  # of a remote context; buildx judges it as if it were here
    for entry in map(read_entry, member.get("cache-from") or []):
        if entry.get("type") == "local" and (path := _parent(entry.get("src", ""))):
            yield "cache-from", path
    for entry in map(read_entry, member.get("secret") or []):
        name = entry.get("id", "")
        path = entry.get("src") or entry.get("source") or ""
        if not path and "env" not in entry and name not in os.environ:
            path = name  # buildx takes a file of this name, which may be a link
        if path:
            yield f"secret.{name}", path


def _parent(path: str) -> str:
    """The directory that holds the local cache of each variant."""
    return str(Path(path).parent) if path else ""


def ssh_paths(entry: Any) -> Sequence[str]:
    """Return the keys or sockets of an `ssh` entry, none for the agent: an object of `--print`, or `id=path,path`."""
    if isinstance(entry, dict):
        return [str(path) for path in entry.get("paths") or []]
    _, equals, paths = str(entry).partition("=")
    return paths.split(",") if equals else []


def forwards_agent(member: Mapping[str, Any]) -> bool:
    """Return whether a target hands the SSH agent to its builder.

    One without `ssh` does so as well where its context is a Git repository over SSH (buildx 0.29, a test compares).
    """
    entries = member.get("ssh") or []
    if not entries:
        return buildx.is_git_over_ssh(str(member.get("context") or ""))
    return not all(ssh_paths(one) for one in entries)


def _real(root: Path, path: str) -> str:
    return str(Path(root, path).resolve())


def check(asked: Iterable[Ask], allowed: Allowed, *, variant: str, place: Callable[[Ask], Place | None]) -> None:
    """Require that everything asked for is allowed.

    Args:
        asked: What `asks` gave.
        allowed: What is allowed.
        variant: The variant, for the message.
        place: Where it is asked for.

    Raises:
        NotAllowedError: One problem for each that is not, with the word that allows it.
    """
    problems = []
    for ask in asked:
        if not allowed.covers(ask):
            what = f"{variant}: {ask.meaning} is not allowed: target {ask.target} asks for it with {ask.attribute}"
            also = ", or bake: {allow: [" + ask.word + "]} in the matrix" if ask.kind in ALLOWED_IN_MATRIX else ""
            problems.append(Problem.at(place(ask), what, hint=f"allow it with --allow {ask.word}{also}"))
    if problems:
        many = f"{len(problems)} privileges are" if len(problems) > 1 else "1 privilege is"
        raise NotAllowedError(f"{variant}: {many} asked for and not allowed", problems=problems)


def require_entitled(root: Path, file: BakeFile, *, variant: str) -> None:
    """Require that each target asks for what its own RUN steps need, as BuildKit does before their first one.

    No word of `--allow` gives it to a target that does not ask (buildx 0.29, as with bake).

    Args:
        root: The directory that paths of the targets start from.
        file: The bake file.
        variant: The variant, for the message.

    Raises:
        NotAllowedError: One problem for each RUN that needs more.
    """
    problems = []
    for name, member in file.members.items():
        entitled = {*map(str, member.get("entitlements") or []), f"network.{member.get('network')}"}
        for step, privilege, flag in _needed_by_steps(root, member):
            if privilege not in entitled:
                path = buildx.dockerfile_path(root, member)
                place = Place(file=os.path.relpath(path, root) if path else "dockerfile-inline", line=step.line)
                origin = file.origins.get(name, name)
                what = f"{variant}: RUN {flag} needs {_MEANING[privilege]}, which target {origin} does not ask for"
                hint = f'add entitlements = ["{privilege}"] to the target, and allow it with --allow {privilege}'
                problems.append(Problem.at(place, what, hint=hint))
    if problems:
        raise NotAllowedError(f"{variant}: a step needs what its target does not ask for", problems=problems)


_BY_FLAG = {("network", "host"): Privilege.NETWORK, ("security", "insecure"): Privilege.INSECURE}


def _needed_by_steps(root: Path, member: Mapping[str, Any]) -> Iterator[tuple[Step, Privilege, str]]:
    try:
        text, _ = buildx.dockerfile(root, member)
    except MatrixError:  # preflight says so
        return
    if text is None or ("--network" not in text and "--security" not in text):
        return
    replaced = {name.lower() for name in member.get("contexts") or {}}
    args = {name: str(value) for name, value in (member.get("args") or {}).items() if value is not None}
    read = parse_dockerfile(text, platform_args("".join(member.get("platforms") or [])) | args, replaced=replaced)
    for stage in read.needed(str(member.get("target") or ""), replaced=replaced):
        for step in stage.steps:
            for option in step.options if step.keyword == "RUN" else ():
                if privilege := _BY_FLAG.get((option.name, option.value)):
                    yield step, privilege, f"--{option.name}={option.value}"


def options(asked: Iterable[Ask], *, reads: Iterable[str] = (), writes: Path | None = None) -> list[str]:
    """Return the `--allow` options of bake.

    Args:
        asked: What is asked for and allowed.
        reads: Directories of this program that are read.
        writes: Directory of the command line that is written.
    """
    # older buildx refuse a path that does not exist
    words = {ask.word for ask in asked if not ask.value.startswith("/") or Path(ask.value).exists()}
    words |= {f"{Privilege.READ}={path}" for path in reads if not buildx.is_remote(path)}
    words |= {f"{Privilege.WRITE}={writes}"} if writes is not None else set()
    return [option for word in sorted(words) for option in ("--allow", word)]
