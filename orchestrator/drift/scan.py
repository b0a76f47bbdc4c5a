"""Looks through one file for arch lists, CUDA versions and arguments, recognized by their names and values."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from orchestrator.cuda.dialects import parse_cmake, render_matrix
from orchestrator.cuda_image import is_cuda
from orchestrator.dockerfile.spans import Source
from orchestrator.drift import claims
from orchestrator.drift.files import File, UnreadableError, read_text
from orchestrator.drift.locator import Locator
from orchestrator.drift.loose import mentions
from orchestrator.drift.readers import bake, cmake, compose, data, pointers, requirements, shell, tree
from orchestrator.drift.readers.errors import ReadError
from orchestrator.drift.recognize import (
    cuda_version,
    is_arch_list,
    list_dialect,
    minor,
    tag_variables,
    version_of_tag,
)
from orchestrator.drift.sights import Kind, Seen, Sight, Subject
from orchestrator.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from orchestrator.dockerfile.spans import Found
    from orchestrator.drift.readers.tree import Node

_MAX_BYTES = 1_000_000
_WORDS = (b"arch", b"cuda", b"build-arg", b"flashinfer")
_LISTED = re.compile(rb"\.\d[af]?(?:\+PTX)?[ ;]+\d{1,2}\.\d[af]?(?:\+PTX)?[ ;]+\d{1,2}\.\d")
_ASSIGNS = re.compile(r"(?:arch|cuda)\w*\+?=", re.IGNORECASE)
_GIVES = re.compile(r"--build-arg|--set[= ]")
_REPOSITORIES = ("repository", "image", "name")
_SEPARATORS = re.compile(r"[\"', ;]+")
_PACKAGES = ("flashinfer-python", "flashinfer-cubin", "flashinfer-jit-cache")
_PROGRAMS = frozenset({"conanfile.py", "dodo.py", "fabfile.py", "noxfile.py", "setup.py", "tasks.py"})
"""Programs that build a project."""
_PIPELINES = frozenset({".buildkite", ".ci", ".circleci", ".github", ".gitlab", "ci", "docker"})
"""Folders of programs that build it in a pipeline."""
_SOURCE = frozenset(
    {".c", ".cc", ".cpp", ".cu", ".cuh", ".csv", ".h", ".hpp", ".inl", ".ipynb", ".js", ".lock", ".patch", ".po", ".rs",
     ".svg", ".ts"}
)  # fmt: skip
"""Suffixes of source code and data: a version there is a threshold, a list is numbers."""


def reader_by_name(name: str) -> str:
    """The reader of a file by its path; `lines` where a line at a time is all that can be read, "" for none."""
    base = name.rpartition("/")[2]
    dot = base.rfind(".")
    suffix = base[dot:].lower() if dot > 0 else ""
    if suffix in _SOURCE or base.upper().startswith("CHANGELOG") or base == "PKG-INFO":
        return ""
    if suffix == ".py":
        return "lines" if base in _PROGRAMS or _PIPELINES.intersection(name.split("/")[:-1]) else ""
    reader = claims.reader_by_name(name)
    if reader == "requirements":
        named = "require" in base.lower() or "cuda" in base.lower()
        return "requirements" if named else "lines"
    return "lines" if reader == "shell" and suffix not in {".sh", ".bash"} else reader


def scan(path: Path, name: str, seen: Seen) -> None:
    """Note everything that one file holds; a file that is not what its name says is noted as skipped.

    Args:
        path: The file.
        name: The same below the root.
        seen: Where it is noted.
    """
    try:
        if path.stat().st_size > _MAX_BYTES or not _tells(content := path.read_bytes()) or b"\0" in content:
            return
        file = File(name, read_text(path))
    except UnreadableError as error:
        seen.skipped.append(Problem(file=name, what=str(error)))
        return
    except OSError as error:
        seen.skipped.append(Problem(file=name, what=f"the file cannot be read: {error.strerror}"))
        return
    before = len(seen.sights)
    reader = reader_by_name(name)
    try:
        if reader == "yaml" and any(
            root.member("arch_lists") and root.member("variants") for root in file.parsed("yaml")
        ):
            return  # a matrix: it owns what it says
        _Scan(file=file, seen=seen).run(reader)
    except ReadError as error:
        line, column = error.place(file.lines)
        seen.skipped.append(Problem(file=name, line=line, column=column, what=error.what))
    except ValueError as error:
        seen.skipped.append(Problem(file=name, what=str(error)))
    known: dict[int, str] = {}
    for sight in seen.sights[before:]:
        if sight.subject.kind is Kind.ARGUMENT:  # shown only where several files have it
            continue
        known[sight.line] = f"{known.get(sight.line, '')}{_joined(sight.value)}\n{_joined(sight.written)}\n"
    seen.mentions += [one for one in mentions(file, reader) if _joined(one.value) not in known.get(one.line, "")]


def _tells(content: bytes) -> bool:
    """Whether a text may say something; a pattern of words without regard to case costs ten times as much."""
    small = content.lower()
    return any(word in small for word in _WORDS) or _LISTED.search(content) is not None


def _with_literal_version(found: Found, version: Callable[[str], str]) -> Found:
    """A place with its version as it is written there: nvidia/cuda:13.0.2-devel-ubuntu${UBUNTU_VERSION}.

    Its claim holds the same variables; that of a string of HCL what they say, as the file itself gives them values.
    """
    literal = version(found.written) if found.via and not found.computed and "$" in found.written else ""
    if not literal or f"{literal}$" in found.written or literal != version(found.value):
        return found
    return replace(found, value=found.value if found.written.startswith('"') else found.written, via="")


def _beyond_arguments(steps: Sequence[pointers.Step]) -> bool:
    """Whether a value of a bake file is neither a variable nor an argument: a member of a list, or of `contexts`."""
    return any(one.item for one in steps) or any(one.text == "contexts" for one in steps[:-1])


def _joined(value: str) -> str:
    return _SEPARATORS.sub(";", value)


class _Scan(Struct, frozen=True, kw_only=True):
    """Looks through one file.

    Attributes:
        file: The file.
        seen: Where places are noted.
        dockerfile: As in `Sight`, for what is noted from here on.
        within: As in `Sight`.
        command: As in `Sight`.
        mapping: As in `Sight`.
        arguments: As in `Sight`.
    """

    file: File
    seen: Seen
    dockerfile: str = ""
    within: tuple[str, ...] = ()
    command: str = ""
    mapping: tuple[str, ...] = ()
    arguments: tuple[tuple[str, str], ...] = ()

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
                self.look_lists("hcl")
            case "json":
                if '"variable"' in text or '"target"' in text:
                    self.look_bake(bake.parse(text, json=True))
                self.look_data("json")
            case "yaml" | "toml":
                self.look_data("yaml" if reader == "yaml" else "toml")
            case "requirements":
                self.look_requirements()
            case "text":
                for span in claims.code_blocks(text):
                    self.look_shell(Source(text=text).part(*span), {})
            case "env" | "make" | "cmake" | "lines":
                for name, found in claims.variables(text, reader) if reader != "lines" else ():
                    own = replace(found, via="") if found.via == cmake.SEVERAL else found
                    self.note(name, own, Locator(file=self.file.name, name=name))
                if reader == "make":
                    self.look_build_args(data.Part(source=Source(text=text)), {})
            case _:
                self.look_shell(Source(text=text), {})

    def look_dockerfile(self) -> None:
        """Note what ARG and ENV instructions hold."""
        declared = [(one, one.found) for one in self.file.declared if one.found is not None]
        tags = [one for one in self.file.images if one.tag is not None]
        cuda = [one for one in tags if is_cuda(one.repository)]
        named_by_from = {name for one in cuda for name in tag_variables(one.written)}
        for one, found in declared:
            several = {other.value for same, other in declared if same.name == one.name} - {""}
            stage = one.stage if len(several) > 1 else ""
            arg, env = (one.name, "") if one.kind == "ARG" else ("", one.name)
            locator = Locator(file=self.file.name, arg=arg, env=env, stage=stage)
            if self.note(one.name, found, locator) or (
                one.name in named_by_from and self.tag(one.name, found, locator)
            ):
                self.seen.cuda_dockerfiles.add(self.file.name)
            elif arg:
                self.argument(one.name, found, locator)
        differ = len({one.tag.written or one.tag.value for one in cuda if one.tag is not None}) > 1
        for image in cuda:
            locator = Locator(file=self.file.name, image=image.repository, stage=image.stage if differ else "")
            if image.tag is not None and self.tag("FROM", image.tag, locator):
                self.seen.cuda_dockerfiles.add(self.file.name)
        for part in claims.run_steps(self.file.text):
            self.look_shell(part, {})

    def tag(self, name: str, found: Found, locator: Locator) -> bool:
        """Note the tag of an image that begins with a CUDA version; returns whether it does."""
        found = _with_literal_version(found, version_of_tag)
        version = version_of_tag(found.value)
        if not version or found.via:
            return False
        self.add(Subject(kind=Kind.CUDA, name=minor(version)), name, version, found, locator)
        return True

    def look_bake(self, defined: bake.BakeFile) -> None:
        """Note what variables and arguments of targets hold."""
        for variable in defined.variables:
            given = replace(self, arguments=tuple(dict.fromkeys(defined.arguments(variable))))
            locator = Locator(file=self.file.name, variable=variable)
            given.note_or_argument(variable, defined.variable(variable), locator)
        for name, target in defined.targets.items():
            for arg in target.args:  # a variable's default is found once, as the variable's
                found = defined.own_arg(name, arg)
                given = replace(self, arguments=tuple(defined.heirs(name, arg)))
                given.note_or_argument(arg, found, Locator(file=self.file.name, target=name, arg=arg))

    def look_lists(self, format_: data.Format) -> None:
        """Note what lists and named contexts of a bake file hold: the axes of a matrix, the default of a variable."""
        noted: set[tuple[str, ...]] = set()
        for root in self.file.parsed(format_):
            for steps, key, node in pointers.values(root, (), ""):
                if node.kind == "list" or _beyond_arguments(steps):
                    replace(self, mapping=pointers.pointer(steps[:-1])).look_value(steps, key, node, noted)

    def look_value(self, steps: tuple[pointers.Step, ...], key: str, node: Node, noted: set[tuple[str, ...]]) -> None:
        """Note what one value says; a list of architectures says one thing, and its members nothing more.

        Args:
            steps: The pointer to it.
            key: The key of the nearest mapping above it.
            node: A scalar or a list of scalars.
            noted: Pointers to the lists that were noted as a whole.
        """
        pointer = pointers.pointer(steps)
        locator = Locator(file=self.file.name, pointer=pointer)
        key = pointers.named_by(steps, key)
        found = claims.as_written(self.file.name, data.place(node))
        if node.kind == "list":
            if is_arch_list(key, [item.value for item in node.items]):
                self.note(key, replace(found, via=""), locator)
                noted.add(pointer)
        elif pointer[:-1] not in noted:
            followed = bool(found.written) and "$" not in found.value  # nvidia/cuda:${VERSION:-13.0.2}-devel
            if not self.note(key, replace(found, via="") if followed else found, locator) and key == "tag":
                self.look_tag(steps, found, locator)

    def look_tag(self, steps: tuple[pointers.Step, ...], found: Found, locator: Locator) -> None:
        """Note a tag beside the name of NVIDIA's image of CUDA: `repository: nvidia/cuda`, `tag: 13.0.2-devel`."""
        for root in self.file.parsed(claims.data_format(reader_by_name(self.file.name))):
            for around in tree.select(root, pointers.pointer(steps[:-1])):
                named = [around.member(name) for name in _REPOSITORIES]
                if any(one is not None and is_cuda(one.value) for one in named):
                    self.tag("tag", found, locator)

    def look_data(self, format_: data.Format) -> None:
        """Note what the values of a data file hold, and the commands in them."""
        roots = self.file.parsed(format_)
        environment = data.environment(roots)
        noted: set[tuple[str, ...]] = set()
        bake_like = format_ == "json" and any(root.member("variable") or root.member("target") for root in roots)
        for root in roots:
            for steps, key, node in pointers.values(root, (), ""):
                step = replace(self, within=pointers.named_part(steps), mapping=pointers.pointer(steps[:-1]))
                if node.kind == "list":
                    step.look_value(steps, key, node, noted)
                    continue
                part = data.part_of(key, node)
                if part.flag:
                    step.look_build_args(part, environment)
                elif part.listed:
                    for one in claims.assigned(self.file.name, part):
                        locator = Locator(file=self.file.name, name=one.name)
                        step.note_or_argument(one.name, one.found, locator)
                elif _GIVES.search(node.value) or "\n" in node.value or _ASSIGNS.search(node.value):
                    step.look_shell(part.source, environment)
                elif not bake_like or _beyond_arguments(steps):
                    step.look_value(steps, key, node, noted)

    def look_shell(self, source: Source, environment: Mapping[str, str]) -> None:
        """Note what a script assigns, and the build arguments of its commands."""
        if not _tells(source.text.encode("utf-8", "surrogateescape")):
            return
        assigned = shell.assignments(source)
        for index, one in enumerate(assigned):
            branch = one.branches[-1][0] if one.branches else ""
            found = replace(one.found, via="") if one.own else one.found
            # What extends it in a branch says more on purpose.
            extended = any(other.name == one.name and other.found.via for other in assigned[index + 1 :])
            first = "false" if extended and not branch else ""
            self.note(one.name, found, Locator(file=self.file.name, name=one.name, branch=branch, all=first))
        self.look_build_args(data.Part(source=source), environment)

    def look_build_args(self, part: data.Part, environment: Mapping[str, str]) -> None:
        """Note the build arguments of the commands of a script."""
        for given in data.build_args(part, environment) if _GIVES.search(part.source.text) else ():
            if given.found is not None and ("$" not in given.found.value or cuda_version("", given.found.written)):
                locator = Locator(file=self.file.name, build_arg=given.name)
                dockerfile = given.command.option("-f", "--file")
                step = replace(self, dockerfile=dockerfile, command=given.command.text)
                step.note_or_argument(given.name, given.found, locator)
                if given.found.via:
                    plain = replace(step, seen=Seen())
                    plain.note(given.name, replace(given.found, via=""), locator)
                    self.seen.followed += plain.seen.sights

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
        found = _with_literal_version(found, lambda text: cuda_version("", text))
        if found.via:
            return False
        dialect = list_dialect(name, found.value, self.file.name)
        if dialect:
            value = render_matrix(parse_cmake(found.value)) if dialect == "cmake" else found.value
            written = replace(locator, dialect="" if dialect == "torch" else dialect)
            self.add(Subject(kind=Kind.ARCH_LIST), name, value, found, written)
            return True
        version = cuda_version(name, found.value)
        if version and not found.via:
            self.add(Subject(kind=Kind.CUDA, name=minor(version)), name, version, found, locator)
        return bool(version)

    def argument(self, name: str, found: Found, locator: Locator) -> None:
        """Note a place that may be an argument which several files know."""
        if found.value and not found.via:
            self.add(Subject(kind=Kind.ARGUMENT, name=name.lower()), name, found.value, found, locator)

    def of_service(self, name: str) -> tuple[tuple[str, str], ...]:
        """The Compose service that is built with an argument, with its name."""
        if self.mapping[-2:] != ("build", "args") or not compose.is_compose(self.file.name.rpartition("/")[2]):
            return ()
        return ((self.mapping[-3], name),) if self.mapping[:-3] == ("services",) else ()

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
                written=found.value,
                command=self.command,
                mapping=self.mapping,
                arguments=self.arguments or self.of_service(name),
                conditional=any(line in lines for lines in self.file.conditional),
            )
        )
