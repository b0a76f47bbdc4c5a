"""`orchestrate check --find`: every place of a repository that holds an arch list, a CUDA version or a known argument.

It knows which names and values look like those three; it needs no matrix. What it finds it proposes as claims, grouped
by value, contradictions first: that is how an old repository begins.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.cuda.arch import parse_list
from orchestrator.cuda.dialects import parse_cmake, render_matrix
from orchestrator.cuda.toolkit import first_toolkit
from orchestrator.dockerfile.spans import Source
from orchestrator.drift.claims import FENCE
from orchestrator.drift.files import File, UnreadableError, read_text, walk
from orchestrator.drift.readers import bake, data, requirements, shell

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from orchestrator.dockerfile.spans import Found
    from orchestrator.drift.readers.tree import Node

_MAX_BYTES = 1_000_000
_DOCKERFILE = re.compile(r"(?:^|[._-])(?:dockerfile|containerfile)(?:[._-]|$)", re.IGNORECASE)
_TELLING = re.compile(
    rb"arch_?list|cuda_?arch|cuda_?version|build-arg|nvidia/cuda|flashinfer|"
    rb"\d\.\d[af]?(?:\+PTX)?[ ;]+\d{1,2}\.\d[af]?(?:\+PTX)?[ ;]+\d{1,2}\.\d",
    re.IGNORECASE,
)
_LIST_NAME = re.compile(r"arch", re.IGNORECASE)
_CUDA_NAME = re.compile(r"^(?:[a-z0-9]*_)*cuda[_-]?version$", re.IGNORECASE)
_CUDA_VALUE = re.compile(r"\d{2}\.\d{1,2}(?:\.\d+)?")
_CUDA_IMAGE = re.compile(r"nvidia/cuda:(\d{2}\.\d{1,2}(?:\.\d+)?)-")
_PLAIN_KEY = re.compile(r"[\w.-]+")
_ARCH_ARGS = frozenset({"torch_cuda_arch_list", "cuda_arch_list", "cuda_architectures", "cmake_cuda_architectures"})
_LABELS = ("id", "key", "name", "label")


@dataclass(frozen=True, kw_only=True, slots=True)
class Sight:
    """One place that holds something a matrix would own.

    Attributes:
        subject: "arch list", "CUDA 13.0" or "argument max_jobs".
        name: The variable, argument or key it stands under.
        value: What it says.
        file: Path below the root.
        line: 1-based line.
        claim: The claim's file and locator: {"file": "docker/Dockerfile", "arg": "torch_cuda_arch_list"}.
        whole: The text around a CUDA version: nvidia/cuda:13.0.2-devel-ubuntu22.04.
        dockerfile: The Dockerfile that a --build-arg goes to, "" where not said.
        within: Pointer to the step of a pipeline that it stands in, "" where there is none.
    """

    subject: str
    name: str
    value: str
    file: str
    line: int
    claim: Mapping[str, str]
    whole: str = ""
    dockerfile: str = ""
    within: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """Everything found about one subject.

    Attributes:
        subject: As in `Sight`.
        values: Value -> the places that say it, the most frequent first.
    """

    subject: str
    values: Mapping[str, tuple[Sight, ...]]

    @property
    def contradicts(self) -> bool:
        """Whether the places say different things."""
        return len(self.values) > 1


def find(root: Path) -> list[Group]:
    """Look through a repository.

    Args:
        root: Its directory.

    Returns:
        The subjects, contradictions first; of these arch lists, then CUDA releases, then arguments.
    """
    seen = _Seen()
    for path in walk(root):
        if _kind(path.name):
            _look(path, path.relative_to(root).as_posix(), seen)
    sights = [sight for sight in seen.sights if not sight.subject.startswith("argument ")]
    sights += _arguments(seen)
    grouped: dict[str, dict[str, list[Sight]]] = defaultdict(lambda: defaultdict(list))
    for sight in sights:
        grouped[sight.subject][_normal(sight.value)].append(sight)
    groups = [
        Group(
            subject=subject,
            values={value: tuple(places) for value, places in sorted(values.items(), key=lambda one: -len(one[1]))},
        )
        for subject, values in grouped.items()
    ]
    kinds = ("arch", "CUDA", "argument")
    return sorted(groups, key=lambda one: (not one.contradicts, kinds.index(one.subject.split(" ")[0]), one.subject))


@dataclass(kw_only=True, slots=True)
class _Seen:
    """What was found so far."""

    sights: list[Sight] = field(default_factory=list)
    cuda_dockerfiles: set[str] = field(default_factory=set)


def _normal(value: str) -> str:
    """A value as groups compare it: separators of lists do not count."""
    return " ".join(re.split(r"[\s;]+", value.strip())) if ";" in value else value.strip()


def _arguments(seen: _Seen) -> list[Sight]:
    """The arguments that a CUDA Dockerfile gives a default and another file repeats."""
    given = [sight for sight in seen.sights if sight.subject.startswith("argument ")]
    defaults = {sight.subject for sight in given if sight.file in seen.cuda_dockerfiles}
    others = {sight.subject for sight in given if sight.file not in seen.cuda_dockerfiles}
    return [
        sight
        for sight in given
        if sight.subject in defaults & others
        and (not sight.dockerfile or sight.dockerfile in seen.cuda_dockerfiles)
        and (sight.file in seen.cuda_dockerfiles or not _DOCKERFILE.search(Path(sight.file).name))
    ]


def _kind(name: str) -> str:
    """The reader of a file by its name, "" where none would look at it."""
    suffix = Path(name).suffix.lower()
    if suffix in {".yaml", ".yml"}:
        return "yaml"
    if _DOCKERFILE.search(name) and suffix not in {".sh", ".py", ".md", ".hcl", ".json"}:
        return "dockerfile"
    if suffix == ".txt":
        return "requirements" if "require" in name.lower() or "cuda" in name.lower() else ""
    known = {".json": "json", ".toml": "toml", ".hcl": "bake", ".sh": "shell", ".bash": "shell", ".md": "text"}
    return known.get(suffix, "")


def _look(path: Path, name: str, seen: _Seen) -> None:
    """Everything that one file holds; a file that is not what its name says holds nothing."""
    try:
        if path.stat().st_size > _MAX_BYTES or not _TELLING.search(path.read_bytes()):
            return
        text = read_text(path)
        file = File.of(name, text)
        match _kind(path.name):
            case "dockerfile":
                _look_dockerfile(file, seen)
            case "bake":
                _look_bake(file, bake.parse(text, json=False), seen)
            case "json":
                if '"variable"' in text or '"target"' in text:
                    _look_bake(file, bake.parse(text, json=True), seen)
                _look_data(file, "json", seen)
            case "yaml":
                _look_data(file, "yaml", seen)
            case "toml":
                _look_data(file, "toml", seen)
            case "requirements":
                _look_requirements(file, seen)
            case "text":
                for fence in FENCE.finditer(text):
                    _look_shell(file, Source(text=text).part(*fence.span("body")), {}, seen)
            case _:
                _look_shell(file, Source(text=text), {}, seen)
    except (OSError, ValueError, UnreadableError):
        return


def _look_dockerfile(file: File, seen: _Seen) -> None:
    declared = [one for one in file.declared() if one.found is not None]
    for one in declared:
        assert one.found is not None  # noqa: S101 - filtered above, for the type checker
        claim = {one.kind.lower(): one.name}
        several = {other.found.value for other in declared if other.name == one.name and other.found} - {""}
        if len(several) > 1:
            claim["stage"] = one.stage
        if _note(file, one.name, one.found, claim, seen):
            seen.cuda_dockerfiles.add(file.name)
        elif one.kind == "ARG" and not one.found.via and one.found.value:
            _argument(file, one.name, one.found, claim, seen)


def _look_bake(file: File, defined: bake.BakeFile, seen: _Seen) -> None:
    for variable in defined.variables:
        found = defined.variable(variable)
        claim = {"variable": variable}
        if found is not None and not found.via and not _note(file, variable, found, claim, seen):
            _argument(file, variable, found, claim, seen)
    for name, target in defined.targets.items():
        for arg in target.args:
            found = defined.arg(name, arg)
            claim = {"target": name, "arg": arg}
            if found is None or found.via or "variable" in found.where:
                continue  # a variable's default is found once, as the variable's
            if not _note(file, arg, found, claim, seen):
                _argument(file, arg, found, claim, seen)


def _look_data(file: File, format_: data.Format, seen: _Seen) -> None:
    roots = file.parsed(format_)
    environment = data.environment(roots)
    bake_like = file.name.endswith(".json") and any(root.member("variable") or root.member("target") for root in roots)
    if any(root.member("arch_lists") and root.member("variants") for root in roots):
        return  # a matrix: it owns what it says
    for root in roots:
        for pointer, key, node in _scalars(root, "", ""):
            if "--build-arg" in node.value or "\n" in node.value:
                if node.source is not None:
                    before = len(seen.sights)
                    _look_shell(file, node.source, environment, seen)
                    step = _step(pointer)
                    seen.sights[before:] = [replace(sight, within=step) for sight in seen.sights[before:]]
            elif not bake_like:
                _note(file, key, data.place(node), {"pointer": pointer}, seen)


def _step(pointer: str) -> str:
    """The part of a pointer that leads to the nearest list member with a name of its own, "" without one."""
    steps = pointer.split("/")
    named = [index for index, step in enumerate(steps) if "=" in step]
    return "/".join(steps[: named[-1] + 1]) if named else ""


def _scalars(node: Node, pointer: str, key: str) -> Iterator[tuple[str, str, Node]]:
    """Every scalar with its pointer and the key above it; list members by id or name where they have one."""
    if node.kind == "scalar":
        yield pointer, key, node
    for name, member in node.members:
        step = name.replace("~", "~0").replace("/", "~1")
        yield from _scalars(member, f"{pointer}/{step}", name)
    for index, item in enumerate(node.items):
        step = str(index)
        for label in _LABELS:
            named = item.member(label)
            if named is not None and named.kind == "scalar" and _PLAIN_KEY.fullmatch(named.value):
                step = f"{label}={named.value}"
                break
        yield from _scalars(item, f"{pointer}/{step}", key)


def _look_shell(file: File, source: Source, environment: Mapping[str, str], seen: _Seen) -> None:
    for name, found, branches in shell.assignments(source):
        claim = {"name": name}
        if branches:
            claim["branch"] = branches[-1][0]
        if not found.via:
            _note(file, name, found, claim, seen)
    for given in shell.build_args(source, environment):
        if given.found is not None and not given.found.via and "$" not in given.found.value:
            claim = {"build_arg": given.name}
            before = len(seen.sights)
            if not _note(file, given.name, given.found, claim, seen):
                _argument(file, given.name, given.found, claim, seen)
            dockerfile = given.command.option("-f", "--file")
            seen.sights[before:] = [replace(sight, dockerfile=dockerfile) for sight in seen.sights[before:]]


def _look_requirements(file: File, seen: _Seen) -> None:
    for package in ("flashinfer-python", "flashinfer-cubin", "flashinfer-jit-cache"):
        for found in requirements.read(Source(text=file.text), package):
            if not found.via:
                _argument(file, "FLASHINFER_VERSION", found, {"package": package}, seen)


def _note(file: File, name: str, found: Found, claim: dict[str, str], seen: _Seen) -> bool:
    """Note an arch list or a CUDA version; whether it was one."""
    if found.via:
        return False
    dialect = _list_dialect(name, found.value, file.name)
    if dialect:
        more = {} if dialect == "torch" else {"dialect": dialect}
        value = render_matrix(parse_cmake(found.value)) if dialect == "cmake" else found.value
        seen.sights.append(_sight(file, "arch list", name, value, found, claim | more))
        return True
    image = _CUDA_IMAGE.search(found.value)
    if image is not None:
        seen.sights.append(_sight(file, f"CUDA {_minor(image[1])}", name, image[1], found, claim))
        return True
    if _CUDA_NAME.match(name) and _CUDA_VALUE.fullmatch(found.value):
        seen.sights.append(_sight(file, f"CUDA {_minor(found.value)}", name, found.value, found, claim))
        return True
    return False


def _argument(file: File, name: str, found: Found, claim: dict[str, str], seen: _Seen) -> None:
    if found.value and not found.via:
        seen.sights.append(_sight(file, f"argument {name.lower()}", name, found.value, found, claim))


def _sight(file: File, subject: str, name: str, value: str, found: Found, claim: Mapping[str, str]) -> Sight:
    line, _ = file.lines.place(found.start)
    return Sight(
        subject=subject,
        name=name,
        value=value,
        file=file.name,
        line=line,
        claim={"file": file.name, **claim},
        whole=found.value,
    )


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _list_dialect(name: str, value: str, file: str) -> str:
    """The dialect of a value that is an arch list, "" where it is none."""
    if name.lower() in {"cmake_cuda_architectures", "cuda_architectures"}:
        try:
            parse_cmake(value)
        except ValueError:
            return ""
        return "cmake"
    try:
        archs = parse_list(value)
    except ValueError:
        return ""
    if any(first_toolkit(arch.plain()) is None for arch in archs):
        return ""  # versions of something else
    if len(archs) < (1 if name.lower() in _ARCH_ARGS else 2 if _LIST_NAME.search(name) else 3):
        return ""
    family = any(arch.suffix == "f" for arch in archs)
    named = re.match(r"(?:fi|flashinfer)_", name, re.IGNORECASE) or "flashinfer" in Path(file).name.lower()
    return "flashinfer" if family or (named and not any(arch.ptx for arch in archs)) else "torch"
