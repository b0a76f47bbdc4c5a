"""Looks through one file for arch lists, CUDA versions and arguments, recognized by their names and values."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.cuda.arch import parse_list
from orchestrator.cuda.dialects import parse_cmake, render_matrix
from orchestrator.cuda.toolkit import first_toolkit
from orchestrator.dockerfile.spans import Source
from orchestrator.drift.claims import FENCE
from orchestrator.drift.files import File, UnreadableError, read_text
from orchestrator.drift.locator import Locator
from orchestrator.drift.readers import bake, data, requirements, shell
from orchestrator.drift.readers.errors import ReadError
from orchestrator.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from orchestrator.dockerfile.spans import Found
    from orchestrator.drift.readers.tree import Node

ARCH_ARGS = frozenset({"torch_cuda_arch_list", "cuda_arch_list", "cuda_architectures", "cmake_cuda_architectures"})
"""Names, in small letters, of variables that hold an arch list whatever its length."""

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
_LABELS = ("id", "key", "name", "label")
_SUFFIXES = {".json": "json", ".toml": "toml", ".hcl": "bake", ".sh": "shell", ".bash": "shell", ".md": "text"}
_PACKAGES = ("flashinfer-python", "flashinfer-cubin", "flashinfer-jit-cache")


class Kind(StrEnum):
    """What a matrix owns, as `check --find` names it."""

    ARCH_LIST = "arch list"
    CUDA = "CUDA"
    ARGUMENT = "argument"


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """What several places say something about: the arch lists, one CUDA release, one argument.

    Attributes:
        kind: Which of the three.
        name: The release (13.0) or the argument in small letters; "" for arch lists.
    """

    kind: Kind
    name: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}".strip()


@dataclass(frozen=True, kw_only=True, slots=True)
class Sight:
    """One place that holds something that a matrix owns.

    Attributes:
        subject: What it is about.
        name: The variable, argument or key that it stands under.
        value: Its value.
        line: 1-based line.
        locator: Where it is.
        whole: The text around a CUDA version: nvidia/cuda:13.0.2-devel-ubuntu22.04.
        dockerfile: The Dockerfile that a --build-arg is for, "" if the command does not say.
        within: Pointer to the step of a pipeline that it is in, empty outside of one.
    """

    subject: Subject
    name: str
    value: str
    line: int
    locator: Locator
    whole: str = ""
    dockerfile: str = ""
    within: tuple[str, ...] = ()

    @property
    def file(self) -> str:
        """Path of its file below the root."""
        return self.locator.file


def is_dockerfile(name: str) -> bool:
    """Whether a file is a Dockerfile by its name."""
    return _DOCKERFILE.search(Path(name).name) is not None


def reader_by_name(name: str) -> str:
    """The reader of a file by its name, "" if none reads it."""
    suffix = Path(name).suffix.lower()
    if suffix in {".yaml", ".yml"}:
        return "yaml"
    if is_dockerfile(name) and suffix not in {".sh", ".py", ".md", ".hcl", ".json"}:
        return "dockerfile"
    if suffix == ".txt":
        return "requirements" if "require" in name.lower() or "cuda" in name.lower() else ""
    return _SUFFIXES.get(suffix, "")


@dataclass(kw_only=True, slots=True)
class Seen:
    """What was found so far.

    Attributes:
        sights: Every place.
        cuda_dockerfiles: The Dockerfiles that hold an arch list or a CUDA version.
        skipped: Files that could not be read, each with its place.
    """

    sights: list[Sight] = field(default_factory=list)
    cuda_dockerfiles: set[str] = field(default_factory=set)
    skipped: list[Problem] = field(default_factory=list)


def scan(path: Path, name: str, seen: Seen) -> None:
    """Note everything that one file holds; a file that is not what its name says is noted as skipped.

    Args:
        path: The file.
        name: The same below the root.
        seen: Where it is noted.
    """
    try:
        if path.stat().st_size > _MAX_BYTES or not _TELLING.search(path.read_bytes()):
            return
        file = File(name, read_text(path))
    except UnreadableError as error:
        seen.skipped.append(Problem(file=name, what=str(error)))
        return
    except OSError as error:
        seen.skipped.append(Problem(file=name, what=f"the file cannot be read: {error.strerror}"))
        return
    try:
        _Scan(file=file, seen=seen).run(reader_by_name(path.name))
    except ReadError as error:
        line, column = error.place(file.lines)
        seen.skipped.append(Problem(file=name, line=line, column=column, what=error.what))
    except ValueError as error:
        seen.skipped.append(Problem(file=name, what=str(error)))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Scan:
    """Looks through one file.

    Attributes:
        file: The file.
        seen: Where places are noted.
        dockerfile: As in `Sight`, for what is noted from here on.
        within: As in `Sight`.
    """

    file: File
    seen: Seen
    dockerfile: str = ""
    within: tuple[str, ...] = ()

    def run(self, reader: str) -> None:
        """Look through the whole file.

        Raises:
            ReadError: It is not in the format that its name says.
        """
        text = self.file.text
        match reader:
            case "dockerfile":
                self.look_dockerfile()
            case "bake":
                self.look_bake(bake.parse(text, json=False))
            case "json":
                if '"variable"' in text or '"target"' in text:
                    self.look_bake(bake.parse(text, json=True))
                self.look_data("json")
            case "yaml":
                self.look_data("yaml")
            case "toml":
                self.look_data("toml")
            case "requirements":
                self.look_requirements()
            case "text":
                for fence in FENCE.finditer(text):
                    self.look_shell(Source(text=text).part(*fence.span("body")), {})
            case _:
                self.look_shell(Source(text=text), {})

    def look_dockerfile(self) -> None:
        """Note what ARG and ENV instructions hold."""
        declared = [(one, one.found) for one in self.file.declared if one.found is not None]
        for one, found in declared:
            several = {other.value for same, other in declared if same.name == one.name} - {""}
            stage = one.stage if len(several) > 1 else ""
            arg, env = (one.name, "") if one.kind == "ARG" else ("", one.name)
            locator = Locator(file=self.file.name, arg=arg, env=env, stage=stage)
            if self.note(one.name, found, locator):
                self.seen.cuda_dockerfiles.add(self.file.name)
            elif arg:
                self.argument(one.name, found, locator)

    def look_bake(self, defined: bake.BakeFile) -> None:
        """Note what variables and arguments of targets hold."""
        for variable in defined.variables:
            self.note_or_argument(variable, defined.variable(variable), Locator(file=self.file.name, variable=variable))
        for name, target in defined.targets.items():
            for arg in target.args:  # a variable's default is found once, as the variable's
                found = defined.own_arg(name, arg)
                self.note_or_argument(arg, found, Locator(file=self.file.name, target=name, arg=arg))

    def look_data(self, format_: data.Format) -> None:
        """Note what the values of a data file hold, and the commands in them."""
        roots = self.file.parsed(format_)
        environment = data.environment(roots)
        bake_like = format_ == "json" and any(root.member("variable") or root.member("target") for root in roots)
        if any(root.member("arch_lists") and root.member("variants") for root in roots):
            return  # a matrix: it owns what it says
        for root in roots:
            for steps, key, node in _scalars(root, (), ""):
                if "--build-arg" in node.value or "\n" in node.value:
                    if node.source is not None:
                        replace(self, within=_named_part(steps)).look_shell(node.source, environment)
                elif not bake_like:
                    self.note(key, data.place(node), Locator(file=self.file.name, pointer=_pointer(steps)))

    def look_shell(self, source: Source, environment: Mapping[str, str]) -> None:
        """Note what a script assigns, and the build arguments of its commands."""
        for one in shell.assignments(source):
            branch = one.branches[-1][0] if one.branches else ""
            self.note(one.name, one.found, Locator(file=self.file.name, name=one.name, branch=branch))
        for given in shell.build_args(source, environment):
            if given.found is not None and "$" not in given.found.value:
                locator = Locator(file=self.file.name, build_arg=given.name)
                dockerfile = given.command.option("-f", "--file")
                replace(self, dockerfile=dockerfile).note_or_argument(given.name, given.found, locator)

    def look_requirements(self) -> None:
        """Note FlashInfer's pins."""
        for package in _PACKAGES:
            for found in requirements.read(Source(text=self.file.text), package):
                self.argument("FLASHINFER_VERSION", found, Locator(file=self.file.name, package=package))

    def note_or_argument(self, name: str, found: Found | None, locator: Locator) -> None:
        """Note a place as what it is; one that is neither a list nor a version may be an argument."""
        if found is not None and not self.note(name, found, locator):
            self.argument(name, found, locator)

    def note(self, name: str, found: Found, locator: Locator) -> bool:
        """Note an arch list or a CUDA version; returns whether it is one."""
        if found.via:
            return False
        dialect = _list_dialect(name, found.value, self.file.name)
        if dialect:
            value = render_matrix(parse_cmake(found.value)) if dialect == "cmake" else found.value
            written = replace(locator, dialect="" if dialect == "torch" else dialect)
            self.add(Subject(kind=Kind.ARCH_LIST), name, value, found, written)
            return True
        image = _CUDA_IMAGE.search(found.value)
        named = _CUDA_NAME.match(name) and _CUDA_VALUE.fullmatch(found.value)
        version = image[1] if image is not None else found.value if named else ""
        if version:
            self.add(Subject(kind=Kind.CUDA, name=_minor(version)), name, version, found, locator)
        return bool(version)

    def argument(self, name: str, found: Found, locator: Locator) -> None:
        """Note a place that may be an argument which several files know."""
        if found.value and not found.via:
            self.add(Subject(kind=Kind.ARGUMENT, name=name.lower()), name, found.value, found, locator)

    def add(self, subject: Subject, name: str, value: str, found: Found, locator: Locator) -> None:
        """Note a place."""
        line, _ = self.file.lines.place(found.start)
        self.seen.sights.append(
            Sight(
                subject=subject,
                name=name,
                value=value,
                line=line,
                locator=locator,
                whole=found.value,
                dockerfile=self.dockerfile,
                within=self.within,
            )
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Step:
    """One step of a pointer; `named` where it selects a list member by a name of its own."""

    text: str
    named: bool = False


def _pointer(steps: tuple[_Step, ...]) -> tuple[str, ...]:
    return tuple(step.text for step in steps)


def _named_part(steps: tuple[_Step, ...]) -> tuple[str, ...]:
    """The part of a pointer that leads to the nearest list member with a name of its own, empty without one."""
    last = max((index for index, step in enumerate(steps) if step.named), default=-1)
    return _pointer(steps[: last + 1])


def _scalars(node: Node, steps: tuple[_Step, ...], key: str) -> Iterator[tuple[tuple[_Step, ...], str, Node]]:
    """Every scalar with its pointer and the key above it; list members by id or name where they have one."""
    if node.kind == "scalar":
        yield steps, key, node
    for name, member in node.members:
        yield from _scalars(member, (*steps, _Step(text=name)), name)
    for index, item in enumerate(node.items):
        step = _Step(text=str(index))
        for label in _LABELS:
            named = item.member(label)
            if named is not None and named.kind == "scalar" and _PLAIN_KEY.fullmatch(named.value):
                step = _Step(text=f"{label}={named.value}", named=True)
                break
        yield from _scalars(item, (*steps, step), key)


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _list_dialect(name: str, value: str, file: str) -> str:
    """The dialect of a value that is an arch list, "" if it is not one."""
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
    if len(archs) < (1 if name.lower() in ARCH_ARGS else 2 if _LIST_NAME.search(name) else 3):
        return ""
    family = any(arch.suffix == "f" for arch in archs)
    named = re.match(r"(?:fi|flashinfer)_", name, re.IGNORECASE) or "flashinfer" in Path(file).name.lower()
    return "flashinfer" if family or (named and not any(arch.ptx for arch in archs)) else "torch"
