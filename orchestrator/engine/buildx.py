"""How buildx is called for a project: its bake files, targets resolved by `bake --print`, its errors."""

from __future__ import annotations

import contextlib
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from orchestrator.engine.outputs import renamed
from orchestrator.engine.plugin import direct
from orchestrator.errors import EnvironmentLacksError, MatrixError, Place, Problem, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from typing import Self

    from orchestrator import process

_TIMEOUT = 120.0


class BakeCall(Struct, frozen=True, kw_only=True):
    """How buildx is called for one project.

    Attributes:
        docker: The docker client's argv.
        files: The project's bake files, relative to `root` or absolute.
        root: The directory that relative paths of the bake files refer to.
        builder: Builder name, "" for the current one.
    """

    docker: tuple[str, ...]
    files: tuple[str, ...]
    root: Path
    builder: str = ""

    def argv(self, *more: str) -> tuple[str, ...]:
        """`docker buildx bake -f … MORE`."""
        named = ("--builder", self.builder) if self.builder else ()
        files = tuple(word for file in self.files for word in ("-f", file))
        return (*self.docker, "buildx", "bake", *named, *files, *more)

    def about_builder(self, *command: str, words: tuple[str, ...] = ()) -> tuple[str, ...]:
        """`docker buildx COMMAND --builder NAME WORDS`: a question to the builder of these builds."""
        named = ("--builder", self.builder) if self.builder else ()
        return (*self.docker, "buildx", *command, *named, *words)


def resolve(
    call: BakeCall, targets: Mapping[str, Place | None], *, linked: Collection[str] = ()
) -> dict[str, dict[str, Any]]:
    """Resolve targets, and those that they link to with `target:` contexts.

    One `bake --print`, which opens no output; one more beside it where the bake files say `output`.

    Args:
        call: How to call buildx.
        targets: Name -> where the matrix says it; at least one.
        linked: Further targets, which other contexts than those of the bake files link to.

    Returns:
        Name -> target with everything that it inherits, as plain text: without the escapes of `--print`. A target that
        is only linked to has no output. `cache-to` is left out, because the matrix alone says where a cache is written.

    Raises:
        MatrixError: buildx refuses the bake files, or there is no such target; the message holds the reason.
        EnvironmentLacksError: buildx printed no targets.
    """
    asked = {f"orchestrate-{number}": name for number, name in enumerate(targets)}
    # buildx opens what `output` names even to print, and empties a file that exists; linked targets have none.
    quiet: dict[str, Any] = {"cache-to": [], "output": ["type=cacheonly"]}
    queries: dict[str, Any] = {query: {"inherits": [name], **quiet} for query, name in asked.items()}
    if linked:
        queries["orchestrate-linked"] = {"contexts": {f"l{n}": f"target:{name}" for n, name in enumerate(linked)}}
    with _Outputs(call, asked) as outputs:
        done = _print(call, queries)
        if not done.ok:
            raise _unresolved(call, targets, last_error(done.stderr))
        printed = _targets_of(done)
        if missing := [query for query in queries if query not in printed]:
            raise _no_targets(f"{missing[0]} is missing")
        said = outputs.found()
    found = {name: _plain(target, "output", "cache-to") for name, target in printed.items() if name not in queries}
    for query, name in asked.items():
        found[name] = _plain(printed[query], "output", "cache-to") | (
            {"output": said[query]} if said.get(query) else {}
        )
    return found


_ESCAPED = frozenset({"annotations", "args", "dockerfile-inline", "labels"})
"""The attributes whose values `--print` escapes as templates; all others are printed as they are (buildx 0.29)."""


def _plain(target: Mapping[str, Any], *without: str) -> dict[str, Any]:
    """A printed target without the escapes of `--print`."""
    return {
        name: _unescaped(value) if name in _ESCAPED else value for name, value in target.items() if name not in without
    }


def _unescaped(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _unescaped(item) for name, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_unescaped(item) for item in value]
    return unescape(str(value))


def _print(call: BakeCall, queries: Mapping[str, Any]) -> process.Completed:
    import tempfile

    from orchestrator import process

    with tempfile.TemporaryDirectory(prefix="orchestrate-") as directory:
        path = Path(directory, "queries.json")
        path.write_text(json.dumps({"target": queries}), encoding="utf-8")
        argv, env = direct(call.argv("-f", str(path), "--print", *queries))
        agent = _agent(call, Path(directory, "agent"))
        return process.run(argv, cwd=call.root, timeout=_TIMEOUT, env={**env, **agent} or None)


def _agent(call: BakeCall, path: Path) -> dict[str, str]:
    """Variables with which buildx resolves a target that forwards an SSH agent where there is none.

    Only the builds of such targets need one: buildx looks at the socket even to print, and does not speak to it.
    """
    known = os.environ.get("SSH_AUTH_SOCK", "")
    texts = _texts(call).values()
    if (known and Path(known).exists()) or not any("ssh" in text.lower() or "@" in text for text in texts):
        return {}
    import socket

    with socket.socket(socket.AF_UNIX) as nobody:
        nobody.bind(str(path))
    return {"SSH_AUTH_SOCK": str(path)}


def _targets_of(done: process.Completed) -> dict[str, dict[str, Any]]:
    try:
        printed = json.loads(done.stdout)["target"]
    except (ValueError, KeyError, TypeError) as error:
        raise _no_targets(f"{type(error).__name__}: {error}") from error
    if not isinstance(printed, dict):
        raise _no_targets(f"expected an object of targets, found {printed!r}")
    return printed


def _no_targets(why: str) -> EnvironmentLacksError:
    return EnvironmentLacksError(
        f"`buildx bake --print` printed no targets ({why})", hint="orchestrate doctor checks buildx"
    )


def _texts(call: BakeCall) -> dict[str, str]:
    found = {}
    for name in call.files:
        with contextlib.suppress(OSError):  # buildx says that it is missing
            found[name] = (call.root / name).read_bytes().decode("utf-8", "replace")
    return found


class _Outputs:
    """Reads the `output` of targets while they are resolved without it, so that no text can make buildx open a file.

    buildx resolves copies of the bake files in which the attribute has the name of another one, `cache-to`: it is
    inherited in the same way, has the same form, and is not opened to be printed. An output in a form that the renaming
    does not find is not read; it is not opened either, as the targets that are asked for say `cacheonly`.
    """

    def __init__(self, call: BakeCall, asked: Mapping[str, str]) -> None:
        self._call = call
        self._asked = asked
        self._copies = {name: renamed(name, text) for name, text in _texts(call).items()}
        self._stop = contextlib.ExitStack()
        self._job: process.Ahead[process.Completed] | None = None

    def __enter__(self) -> Self:
        if any(count for _, count in self._copies.values()):
            from orchestrator.process import Ahead

            self._job = self._stop.enter_context(Ahead(self._ask))
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.close()

    def _ask(self) -> process.Completed:
        import tempfile

        queries = {query: {"inherits": [name], "output": ["type=cacheonly"]} for query, name in self._asked.items()}
        with tempfile.TemporaryDirectory(prefix="orchestrate-") as directory:
            copies = []
            for number, (name, (text, _)) in enumerate(self._copies.items()):
                copies.append(Path(directory, f"{number}-{Path(name).name}"))
                copies[-1].write_text(text, encoding="utf-8")
            return _print(replace(self._call, files=tuple(map(str, copies))), queries)

    def found(self) -> dict[str, Any]:
        """Return query -> the outputs of its target.

        Raises:
            MatrixError: buildx resolves the targets and not their outputs.
            EnvironmentLacksError: buildx does not answer.
        """
        if self._job is None:
            return {}
        done = self._job.result()
        if not done.ok:
            raise MatrixError(
                f"the output of {', '.join(self._asked.values())} cannot be read from {', '.join(self._call.files)}: "
                f"{last_error(done.stderr)}",
                hint="write type=image: where the result goes is what build --push, --load or --output says",
            )
        # A word without a key is a directory as an output, and a reference as a cache.
        return {
            query: [one for one in target.get("cache-to") or [] if "ref" not in one]
            for query, target in _targets_of(done).items()
        }


def _unresolved(call: BakeCall, targets: Mapping[str, Place | None], reason: str) -> MatrixError:
    """The error for targets that buildx does not resolve: which of them are missing, or groups."""
    files = ", ".join(call.files)
    listed = _listed(call)
    problems = []
    for name, place in targets.items() if listed else ():
        if name not in listed:
            what = f"bake target {name} was not found in {files}"
            problems.append(Problem.at(place, what, hint=did_you_mean(name, listed)))
        elif (members := listed[name]) is not None:
            what = f"bake target {name} does not match: expected a target, found a group of {members}"
            problems.append(Problem.at(place, what, hint=f"list its targets: targets: [{members}]"))
    if problems:
        return MatrixError(f"{len(problems)} of {len(targets)} bake targets cannot be built", problems=problems)
    return MatrixError(f"buildx cannot resolve {', '.join(targets)} with {files}: {reason}")


def _listed(call: BakeCall) -> dict[str, str | None]:
    """The targets of the bake files: name -> None, for a group its targets; {} where buildx does not list them."""
    from orchestrator import process

    done = process.run(call.argv("--list=type=targets,format=json"), cwd=call.root, timeout=_TIMEOUT)
    try:
        rows = json.loads(done.stdout) if done.ok else []
        return {row["name"]: str(row.get("description", "")) if row.get("group") else None for row in rows}
    except (ValueError, KeyError, TypeError):
        return {}


def place_of(call: BakeCall, attribute: str, text: str) -> Place:
    """Return where a bake file says a text for an attribute; its first line where the text is made of others."""
    found: dict[bool, Place] = {}
    for name, content in _texts(call).items():
        for number, line in enumerate(content.splitlines(), start=1):
            if text in line and not line.lstrip().startswith(("#", "//")):
                found.setdefault(attribute in line, Place(file=name, line=number, column=line.index(text) + 1))
    return found.get(True) or found.get(False) or Place(file=next(iter(call.files), ""), line=1)


def last_error(stderr: str) -> str:
    """Return the line of docker's or buildx's output that says what is wrong."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")]
    return (errors or lines or ["no output"])[-1].removeprefix("ERROR: ")


def unescape(text: str) -> str:
    """Undo the escapes that `bake --print` adds for the marks of its templates."""
    return text.replace("$${", "${").replace("%%{", "%{")


def dockerfile_path(root: Path, target: Mapping[str, Any]) -> Path | None:
    """Return where a target's Dockerfile is on this machine; None for one that is inline or remote.

    As buildx finds it: relative to the context, `cwd://` relative to the working directory, and `dockerfile` in place
    of a missing `Dockerfile`.
    """
    name = str(target.get("dockerfile") or "Dockerfile")
    if target.get("dockerfile-inline"):
        return None
    if name.startswith(_CWD):
        path = root / name.removeprefix(_CWD)
    elif is_remote(name):
        return None
    else:
        context = str(target.get("context") or ".")
        if is_remote(context):
            return None
        path = root / context.removeprefix(_CWD) / name
    lower = path.with_name("dockerfile")
    if path.name == "Dockerfile" and lower.exists() and not path.exists():
        return lower
    return path


def is_remote(context: str) -> bool:
    """Return whether a build context is fetched: a URL or a Git repository, not a directory of this machine."""
    return bool(_REMOTE.match(context))


def is_git_over_ssh(context: str) -> bool:
    """Return whether a context is a Git repository that is fetched over SSH: `git@host:path`, `ssh://host/path`."""
    return bool(_OVER_SSH.match(context))


_CWD = "cwd://"
# As buildx 0.29 reads them, measured: any user, never a host without one; another scheme is a directory.
_SSH = r"(?i:ssh)://|[\w-]+@[\w.-]+:"
_OVER_SSH = re.compile(_SSH, re.ASCII)
_REMOTE = re.compile(rf"(?i:https?|git)://|docker-image://|oci-layout://|target:|github\.com/|{_SSH}", re.ASCII)


def dockerfile(root: Path, target: Mapping[str, Any]) -> tuple[str | None, str]:
    """Return a target's Dockerfile, or None and the reason why it cannot be read here.

    Args:
        root: The directory that the target's paths are relative to.
        target: A resolved bake target.

    Raises:
        MatrixError: It was not found, or it is not UTF-8 text.
    """
    inline = target.get("dockerfile-inline")
    if inline:
        return str(inline), ""
    path = dockerfile_path(root, target)
    if path is None:
        name, context = str(target.get("dockerfile") or ""), str(target.get("context") or ".")
        where, what = (name, "Dockerfile") if is_remote(name) else (context, "context")
        return None, f"the {what} {where.rsplit('@', maxsplit=1)[-1]} is remote"
    try:
        return path.read_bytes().decode("utf-8"), ""
    except FileNotFoundError as error:
        raise MatrixError(f"{path}: no such Dockerfile (target {target.get('target') or 'default'})") from error
    except (OSError, UnicodeDecodeError) as error:
        raise MatrixError(f"{path}: cannot be read as UTF-8 text: {error}") from error
