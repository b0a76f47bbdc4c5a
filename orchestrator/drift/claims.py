"""Finds the places of a file that a claim means, and what they say now.

Chooses the reader of each file. What the places should say, expect.py computes.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from msgspec.structs import replace

from orchestrator.dockerfile import declared as dockerfile
from orchestrator.dockerfile.commands import SHELLS, commands, script_of
from orchestrator.dockerfile.options import leading
from orchestrator.dockerfile.read import instructions
from orchestrator.dockerfile.spans import Found, Source
from orchestrator.drift.readers import data, regex, tree
from orchestrator.reference import same_repository

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.dockerfile.read import Instruction
    from orchestrator.drift.evaluate import Buildx
    from orchestrator.drift.files import File
    from orchestrator.drift.readers import bake, shell
    from orchestrator.matrix.schema import ClaimSpec

_FENCE = re.compile(r"^[ \t]*(?P<fence>```+|~~~+)[^\n]*\n(?P<body>.*?)^[ \t]*(?P=fence)", re.MULTILINE | re.DOTALL)
_DIRECTIVE = re.compile(
    r"^(?P<indent>[ \t]*)\.\. (?:code-block|code|sourcecode|prompt)::[^\n]*\n"
    r"(?P<body>(?:(?P=indent)[ \t]+\S[^\n]*\n?|[ \t\r]*\n)*)",
    re.MULTILINE,
)
_OTHER_PROGRAM = re.compile(rf"#!(?![^\n]*\b(?:{'|'.join(sorted(SHELLS))})\b)")
_DOCKERFILE_NAME = re.compile(r"(?:^|[._-])(?:dockerfile|containerfile)(?:[._-]|$)", re.IGNORECASE)
_NO_DOCKERFILE = frozenset({".sh", ".py", ".md", ".hcl", ".json", ".yaml", ".yml", ".rst", ".dockerignore"})
_DATA = frozenset({"json", "yaml", "toml"})
_MAKEFILE = re.compile(r"(?:GNU)?[Mm]akefile(?:\..+)?")
_SUFFIXES = {
    ".json": "json", ".yaml": "yaml", ".yml": "yaml", ".toml": "toml", ".sh": "shell", ".bash": "shell",
    ".hcl": "bake", ".md": "text", ".rst": "text", ".txt": "requirements", ".env": "env", ".mk": "make",
    ".cmake": "cmake",
}  # fmt: skip


def reader_of(claim: ClaimSpec, name: str) -> str:
    """Which reader a file is read with: as the claim says, or by its name."""
    if claim.reader is not None:
        return claim.reader
    if claim.variable is not None or claim.target is not None:
        return "json" if name.endswith(".json") else "bake"
    if claim.arg is not None or claim.env is not None or claim.image is not None:
        return "dockerfile"
    return reader_by_name(name)


def reader_by_name(name: str) -> str:
    """Which reader a file's name tells, `shell` where it tells none."""
    base = PurePosixPath(name).name
    if base == ".env" or base.startswith(".env."):
        return "env"
    if _MAKEFILE.fullmatch(base):
        return "make"
    if base == "CMakeLists.txt":
        return "cmake"
    if is_dockerfile(base):
        return "dockerfile"
    return _SUFFIXES.get(PurePosixPath(base).suffix.lower(), "shell")


def is_dockerfile(name: str) -> bool:
    """Whether a file is a Dockerfile by its name."""
    path = PurePosixPath(name)
    return _DOCKERFILE_NAME.search(path.name) is not None and path.suffix.lower() not in _NO_DOCKERFILE


def code_blocks(text: str) -> Iterator[tuple[int, int]]:
    """The code blocks of a page, Markdown's fences and the directives of reStructuredText, as spans."""
    yield from (fence.span("body") for fence in _FENCE.finditer(text))
    yield from (block.span("body") for block in _DIRECTIVE.finditer(text))


def run_steps(text: str) -> Iterator[Source]:
    """The commands of the RUN instructions of a Dockerfile, and the here-documents that a shell runs."""
    for one in instructions(text):
        if one.keyword == "RUN":
            yield one.source.part(one.at, len(one.text))
            if _runs_documents(one):
                scripts = (document for document in one.documents if not _OTHER_PROGRAM.match(document.body))
                yield from (Source(text=document.body, base=document.start) for document in scripts)


def _runs_documents(step: Instruction) -> bool:
    """Whether a shell runs the here-documents of a RUN instruction: `RUN <<EOF`, `RUN bash -e <<EOF`."""
    if not step.documents:
        return False
    started = commands(step.text[leading(step.text, step.at)[1] :])
    shells = [one for one in started if one.name in SHELLS and not script_of(one.words)[0]]
    return not started or (len(step.documents) == 1 and bool(shells))


def describe(claim: ClaimSpec) -> str:
    """The place of a claim in words: "ARG torch_cuda_arch_list in stage base"."""
    pointer = f" under {claim.pointer}" if claim.pointer else ""
    if claim.arg is not None and claim.target is not None:
        return f"arg {claim.arg} of target {claim.target}"
    if claim.arg is not None or claim.env is not None:
        stage = f" in stage {claim.stage}" if claim.stage else ""
        return (f"ARG {claim.arg}" if claim.arg is not None else f"ENV {claim.env}") + stage
    if claim.image is not None:
        return f"FROM {claim.image}" + (f" in stage {claim.stage}" if claim.stage else "")
    if claim.variable is not None:
        return f"variable {claim.variable}"
    if claim.name is not None:
        return f"{claim.name}=" + (f" in branch {claim.branch}" if claim.branch else "") + pointer
    if claim.build_arg is not None:
        return f"--build-arg {claim.build_arg}" + pointer + (f" where {claim.where}" if claim.where else "")
    if claim.build_args is not None:
        return "a docker build line with a Dockerfile of this repository" + pointer
    if claim.package is not None:
        return f"requirement {claim.package}"
    return f"regex {claim.regex}" if claim.regex is not None else f"{claim.pointer}"


def places(claim: ClaimSpec, file: File, buildx: Buildx | None = None) -> list[Found]:
    """Every place of a file that a claim means, in order.

    Args:
        claim: The claim.
        file: The file.
        buildx: Evaluates expressions of bake files, where it may.

    Raises:
        ReadError: The file is not in the format that it is read as.
        ValueError: The pattern or the pointer of the claim is invalid.
    """
    reader = reader_of(claim, file.name)
    if claim.regex is not None:
        return regex.read(file.text, claim.regex)
    if claim.variable is not None or claim.target is not None:
        return _bake(claim, _defined(file, reader), buildx)
    if claim.arg is not None:
        return dockerfile.pick(file.declared, "ARG", claim.arg, claim.stage)
    if claim.env is not None:
        return dockerfile.pick(file.declared, "ENV", claim.env, claim.stage)
    if claim.image is not None:
        named = (one for one in file.images if same_repository(one.repository, claim.image))
        return [
            replace(one.tag, where=f"stage {one.stage}")
            for one in named
            if one.tag is not None and (claim.stage is None or one.stage.lower() == claim.stage.lower())
        ]
    if claim.name is not None:
        return _named(claim, file, reader)
    if claim.build_arg is not None:
        given = [one.found for one in build_args(claim, file) if one.name == claim.build_arg and one.found is not None]
        # What a command takes from elsewhere says nothing, beside one that says it.
        return [one for one in given if not one.via or "$" not in one.value] or given
    if claim.package is not None:
        from orchestrator.drift.readers import requirements

        return [found for source in _texts(file, reader) for found in requirements.read(source, claim.package)]
    steps = tree.split_pointer(claim.pointer or "")
    roots = file.parsed(data_format(reader))
    selected = [node for root in roots for node in tree.select(root, steps)]
    found = [data.place(node) for node in selected if node.kind == "scalar" or tree.is_list(node)]
    return [as_written(file.name, one) for one in found]


def _named(claim: ClaimSpec, file: File, reader: str) -> list[Found]:
    """Every value of a variable; the grammar is that of the place: a script, an env file, a Makefile, a list."""
    from orchestrator.drift.readers import shell

    needle = claim.name or ""
    if reader in {"env", "make", "cmake"}:
        return [found for variable, found in variables(file.text, reader) if variable == needle]
    key = reader, claim.pointer or "", needle if reader in _DATA else ""

    def read() -> list[shell.Assigned]:
        return [one for part in scripts(claim, file, needle) for one in assigned(file.name, part)]

    return shell.pick(file.assigned(key, read), needle, claim.branch)


def assigned(name: str, part: data.Part) -> list[shell.Assigned]:
    """Every assignment of a part of a file; in a list of a Compose file, Compose fills in variables."""
    found = data.assigned(part)
    return [replace(one, found=as_written(name, one.found)) for one in found] if part.listed else found


def as_written(name: str, found: Found) -> Found:
    """A value of a data file as the program reads it that the file is written for."""
    from orchestrator.drift.readers import compose

    return compose.place(found) if compose.is_compose(PurePosixPath(name).name) else found


def variables(text: str, reader: str) -> list[tuple[str, Found]]:
    """The variables of an env file, a Makefile or a CMake file, and the places of their values."""
    from orchestrator.drift.readers import cmake, lines, make

    whole = Source(text=text)
    if reader == "env":
        return list(lines.read_env(whole))
    return make.read(whole) if reader == "make" else cmake.read(whole)


def _defined(file: File, reader: str) -> bake.BakeFile:
    """What a file defines, read as the claim says; a claim may name another format than the file's name does."""
    from orchestrator.drift.readers import bake

    json = reader == "json"
    return file.defined if json == file.name.endswith(".json") else bake.parse(file.text, json=json)


def _bake(claim: ClaimSpec, defined: bake.BakeFile, buildx: Buildx | None) -> list[Found]:
    """The one place of a bake file; an expression has the value that buildx gives it."""
    if claim.target is not None and claim.arg is not None:
        found = defined.arg(claim.target, claim.arg)
        value = buildx.arg(defined, claim.target, claim.arg) if found and found.computed and buildx else None
    else:
        found = defined.variable(claim.variable or "")
        value = buildx.variable(defined, claim.variable or "") if found and found.computed and buildx else None
    if found is None:
        return []
    return [found if value is None else replace(found, value=value)]


def parts(claim: ClaimSpec, file: File) -> list[tuple[int, int]]:
    """The spans of a file that a pointer narrows the search to: each of them must hold the place.

    Raises:
        ReadError: The file is not in the format that it is read as.
        ValueError: The pointer is invalid.
    """
    if claim.pointer is None or (claim.build_arg is None and claim.name is None):
        return []
    steps = tree.split_pointer(claim.pointer)
    roots = file.parsed(data_format(reader_of(claim, file.name)))
    return [(node.start, node.end) for root in roots for node in tree.select(root, steps)]


def build_args(claim: ClaimSpec, file: File) -> Iterator[shell.BuildArg]:
    """The --build-arg and `--set TARGET.args.…` options of a file that a claim means.

    Raises:
        ReadError: The file is not in the format that it is read as.
        ValueError: The pattern or the pointer of the claim is invalid.
    """
    try:
        where = re.compile(claim.where) if claim.where is not None else None
    except re.error as error:
        raise ValueError(f"where is invalid: expected a regular expression: {error}") from error
    reader = reader_of(claim, file.name)

    def read() -> list[shell.BuildArg]:
        known = reader in _DATA
        environment = data.environment(file.parsed(data_format(reader))) if known else {}
        found = (data.build_args(one, environment) for one in scripts(claim, file, "--build-arg", "--set"))
        return [given for group in found for given in group]

    given = file.given(reader, claim.pointer or "", read)
    yield from (one for one in given if where is None or where.search(one.command.text))


def scripts(claim: ClaimSpec, file: File, *needles: str) -> Iterator[data.Part]:
    """The parts of a file that assign: a script whole, strings of data files that hold one of `needles`, code blocks.

    Raises:
        ReadError: The file is not in the format that it is read as.
        ValueError: The pointer of the claim is invalid.
    """
    reader = reader_of(claim, file.name)
    if reader in _DATA:
        steps = tree.split_pointer(claim.pointer) if claim.pointer else ()
        yield from data.scripts(file.parsed(data_format(reader)), steps, *needles)
    elif reader == "text":
        whole = Source(text=file.text)
        for span in code_blocks(file.text):
            yield data.Part(source=whole.part(*span))
    elif reader == "dockerfile":
        yield from (data.Part(source=source) for source in run_steps(file.text))
    else:
        yield data.Part(source=Source(text=file.text))


def _texts(file: File, reader: str) -> Iterator[Source]:
    """The parts of a file that hold requirements: its lines, or the strings of a data file."""
    if reader in _DATA:
        yield from (one.source for one in data.scripts(file.parsed(data_format(reader)), (), ""))
    else:
        yield Source(text=file.text)


def data_format(reader: str) -> data.Format:
    """A reader's name as a data format.

    Raises:
        ValueError: It reads no data.
    """
    if reader == "json":
        return "json"
    if reader == "yaml":
        return "yaml"
    if reader == "toml":
        return "toml"
    if reader == "bake":
        return "hcl"
    expected = "expected reader: json, yaml, toml or bake"
    raise ValueError(f"a pointer leads into JSON, YAML, TOML or HCL: {expected}, found {reader}")
