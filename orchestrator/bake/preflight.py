"""Proof, before a build starts, that every injected argument is one that the target really consumes ("arrived").

BuildKit accepts any argument in silence (moby/buildkit#2128, open): a mis-cased TORCH_CUDA_ARCH_LIST builds for hours
and ships the Dockerfile's default. `--call=outline` lists what the chosen target's stages consume; everything of ours
must be among it. What cannot be checked is reported as not checked, never as passed.
"""

from __future__ import annotations

import json
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator import process
from orchestrator.bake.arrived import Outlines
from orchestrator.bake.bases import EMPTY, without_bases
from orchestrator.bake.file import escape
from orchestrator.errors import EnvironmentLacksError, MatrixError, Problem, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orchestrator.bake.file import BakeFile

# BuildKit's predefined arguments: consumed without an ARG (docs.docker.com/reference/dockerfile, "Predefined ARGs").
_PREDEFINED = re.compile(r"(?i:(?:https?|ftp|no|all)_proxy)|SOURCE_DATE_EPOCH|BUILDKIT_\w+", re.ASCII)
_LAYOUT_REFERENCE = re.compile(r"(:[\w.-]+)?(@sha256:[0-9a-f]+)?$", re.ASCII)  # oci-layout://DIR:tag@digest
_TIMEOUT = 120.0


class NotArrivedError(MatrixError):
    """An injected argument is not consumed by the target that it is injected into."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Arrival:
    """What preflight found for one variant.

    Attributes:
        checked: Whether the outline could be made.
        why_not: The reason, where it could not.
        consumed: Argument -> value, as the target's stages consume it.
    """

    checked: bool
    why_not: str = ""
    consumed: Mapping[str, str] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Bake:
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


def resolve(bake: Bake, files: Sequence[BakeFile]) -> dict[str, dict[str, Any]]:
    """The targets as buildx resolves them (`bake --print`), all in one call: everything inherited filled in.

    Args:
        bake: How to call buildx.
        files: The bake files of the variants; at least one.

    Returns:
        Variant id -> target.

    Raises:
        MatrixError: buildx refuses the bake files; its own words are in the message.
        EnvironmentLacksError: What buildx says is no JSON of the expected shape.
    """
    merged = {"target": {file.target: file.content["target"][file.target] for file in files}}
    with tempfile.TemporaryDirectory(prefix="orchestrate-") as directory:
        path = Path(directory, "variants.json")
        path.write_text(json.dumps(merged), encoding="utf-8")
        names = [file.target for file in files]
        done = process.run(bake.argv("-f", str(path), "--print", *names), cwd=bake.root, timeout=_TIMEOUT)
    if not done.ok:
        names_ = ", ".join(bake.files)
        raise MatrixError(f"buildx cannot resolve the variants with {names_}: {last_error(done.stderr)}")
    try:
        targets: dict[str, dict[str, Any]] = json.loads(done.stdout)["target"]
        return {file.target: targets[file.target] for file in files}
    except (ValueError, KeyError, TypeError) as error:
        raise EnvironmentLacksError(
            f"`buildx bake --print` gave no targets that can be read ({type(error).__name__}: {error})",
            hint="`orchestrate doctor` looks at buildx",
        ) from error


def last_error(stderr: str) -> str:
    """The line of buildx's output that says what is wrong."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")]
    return (errors or lines or ["no output"])[-1].removeprefix("ERROR: ")


def arrival(bake: Bake, file: BakeFile, target: Mapping[str, Any], outlines: Outlines | None = None) -> Arrival:
    """Ask buildx what the variant's target consumes.

    Args:
        bake: How to call buildx.
        file: The variant's bake file.
        target: What `resolve` gave for it.
        outlines: What earlier runs learned.

    Raises:
        MatrixError: The Dockerfile is not there or not readable.
    """
    text, why = dockerfile(bake.root, target)
    if text is None:
        return Arrival(checked=False, why_not=why)
    override = _outline_target(target, text)
    content = {"target": {file.target: override}}
    key = Outlines.key(content, bake.docker)
    known = outlines.get(key) if outlines is not None else None
    if known is not None:
        return Arrival(checked=True, consumed=known)
    with tempfile.TemporaryDirectory(prefix="orchestrate-") as directory:
        Path(directory, "empty").mkdir()
        path = Path(directory, "outline.json")
        path.write_text(json.dumps(content), encoding="utf-8")
        named = ("--builder", bake.builder) if bake.builder else ()
        argv = (*bake.docker, "buildx", "bake", *named, "-f", "outline.json", "--call=outline,format=json")
        done = process.run(
            (*argv, file.target), cwd=Path(directory), timeout=_TIMEOUT, env={"BUILDX_NO_DEFAULT_ATTESTATIONS": "1"}
        )
    if not done.ok:
        return Arrival(checked=False, why_not=f"buildx cannot outline it: {last_error(done.stderr)}")
    try:
        outline = json.loads(done.stdout)["target"][file.target]["outline"]
        consumed = {entry["name"]: entry.get("value", "") for entry in outline.get("args") or []}
    except (ValueError, KeyError, TypeError):
        return Arrival(checked=False, why_not="buildx gave no outline")
    if outlines is not None:
        outlines.put(key, consumed)
    return Arrival(checked=True, consumed=consumed)


def _outline_target(target: Mapping[str, Any], text: str) -> dict[str, Any]:
    """A target that has the variant's arguments and stages, and nothing that would have to be fetched."""
    contexts = _plain(target.get("contexts") or {})
    args = {name: value for name, value in (target.get("args") or {}).items() if value is not None}
    bare = without_bases(text, contexts=contexts, args=_plain(args))
    chosen: dict[str, Any] = {
        "context": "empty",
        "dockerfile-inline": escape(bare),
        "args": args,  # as `--print` gave them, escaped already
        "contexts": dict.fromkeys([*contexts, EMPTY], "empty"),  # what is in them does not matter
        "output": ["type=cacheonly"],
    }
    chosen |= {name: target[name] for name in ("target", "platforms") if target.get(name)}
    return chosen


def _plain(values: Mapping[str, str]) -> dict[str, str]:
    """Values as they are meant: `--print` escapes template characters again."""
    return {name: str(value).replace("$${", "${").replace("%%{", "%{") for name, value in values.items()}


def dockerfile(root: Path, target: Mapping[str, Any]) -> tuple[str | None, str]:
    """The Dockerfile's text, or the reason why there is none to read.

    Args:
        root: What relative paths of the target start from.
        target: A resolved bake target.

    Raises:
        MatrixError: It is not there or not readable.
    """
    inline = target.get("dockerfile-inline")
    if inline:
        return str(inline).replace("$${", "${").replace("%%{", "%{"), ""
    context = str(target.get("context") or ".")
    if "://" in context or context.startswith("git@"):
        return None, f"the context {context.rsplit('@', maxsplit=1)[-1]} is remote"
    path = root / context / str(target.get("dockerfile") or "Dockerfile")
    try:
        return path.read_bytes().decode("utf-8"), ""
    except FileNotFoundError as error:
        raise MatrixError(f"{path}: no such Dockerfile (target {target.get('target') or 'default'})") from error
    except (OSError, UnicodeDecodeError) as error:
        raise MatrixError(f"{path}: cannot be read as UTF-8 text: {error}") from error


def check(found: Arrival, *, variant: str, target: str, injected: Mapping[str, str], places: Mapping[str, str]) -> None:
    """Fail for every injected argument that does not arrive.

    Args:
        found: What the target consumes.
        variant: The variant, for the message.
        target: The bake target, for the message.
        injected: Argument -> value that we pass.
        places: Argument -> where the matrix says it (`matrix.yaml:21:5`).

    Raises:
        NotArrivedError: With one problem for each argument that is not consumed.
    """
    if not found.checked or found.consumed is None:
        return
    consumed = found.consumed
    problems: list[Problem] = []
    for name, value in injected.items():
        if _PREDEFINED.fullmatch(name):
            continue
        if name not in consumed:
            near = did_you_mean(name, consumed)
            hint = near if near.startswith("did you mean") else ""  # all that are known stand in the last line
            problems.append(_problem(places.get(name, ""), f"{variant}: target {target} does not consume {name}", hint))
        elif consumed[name] != value:
            what = f"{variant}: {name} arrives as {consumed[name]!r}"
            problems.append(_problem(places.get(name, ""), what, f"{value!r} was injected"))
    if problems:
        names = ", ".join(sorted(consumed)) or "none"
        raise NotArrivedError(
            f"{variant}: {len(problems)} injected argument{'s do' if len(problems) > 1 else ' does'} not arrive",
            problems=problems,
            hint=f"{target} consumes: {names}",
        )


def _problem(place: str, what: str, hint: str) -> Problem:
    if not place:
        return Problem(what=what, hint=hint)
    file, line, column = place.rsplit(":", 2)
    return Problem(file=file, line=int(line), column=int(column), what=what, hint=hint)


def local_paths(root: Path, target: Mapping[str, Any]) -> tuple[Sequence[str], Sequence[str]]:
    """The directories outside `root` that a resolved target reads and writes, for explicit `--allow` options.

    With `--progress rawjson` buildx skips its own file-system check (measured twice, buildx 0.29.1), so the list is
    computed here and passed whole: nothing but what the variant names is allowed.

    Returns:
        (read, write): absolute paths, sorted, each once.
    """
    reads = [str(target.get("context") or "."), *(target.get("contexts") or {}).values()]
    dockerfile = str(target.get("dockerfile") or "")
    if dockerfile and "://" not in reads[0]:
        reads.append(str(Path(reads[0], dockerfile).parent))
    reads += [entry.get("src", "") for entry in _entries(target, "cache-from") if entry.get("type") == "local"]
    reads += [entry.get("src", "") for entry in _entries(target, "secret") if entry.get("src")]
    writes = [entry.get("dest", "") for entry in (*_entries(target, "cache-to"), *_entries(target, "output"))]
    return _outside(root, reads), _outside(root, [str(Path(path).parent) for path in writes if path])


def _entries(target: Mapping[str, Any], name: str) -> list[dict[str, str]]:
    """Entries of a list attribute; buildx prints them as objects, older ones as `a=b,c=d`."""
    found: list[dict[str, str]] = []
    for entry in target.get(name) or []:
        if isinstance(entry, str):
            found.append(dict(part.partition("=")[::2] for part in entry.split(",")))
        else:
            found.append(entry)
    return found


def _outside(root: Path, paths: Sequence[str]) -> list[str]:
    base = root.resolve()
    outside: set[str] = set()
    for path in paths:
        if path.startswith("oci-layout://"):
            place = _LAYOUT_REFERENCE.sub("", path.removeprefix("oci-layout://"))
        elif not path or "://" in path or path.startswith(("git@", "target:")):
            continue
        else:
            place = path
        absolute = Path(base, place).resolve()
        if not absolute.is_relative_to(base):
            outside.add(str(absolute))
    return sorted(outside)
