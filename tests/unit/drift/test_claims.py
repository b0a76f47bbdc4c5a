"""How a claim names its file's reader and its place, and how `--find` reads a file by its name."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.drift import claims, scan
from orchestrator.matrix.schema import ClaimSpec


def claim(**fields: Any) -> ClaimSpec:
    return ClaimSpec(file="f", says="x", **fields)


BY_NAME = {
    "Dockerfile": "dockerfile", "docker/Dockerfile.cuda": "dockerfile", "cuda.dockerfile": "dockerfile",
    "x-Containerfile": "dockerfile", "Dockerfile_gpu": "dockerfile", "Dockerfile.sh": "shell", "Dockerfile.py": "shell",
    "Dockerfile.md": "text", "Dockerfile.dockerignore": "shell", "Dockerfile.json": "json", "mydockerfile": "shell",
    ".env": "env", ".env.prod": "env", "x.env": "env", "a.env.x": "shell", "Makefile": "make", "makefile": "make",
    "GNUmakefile": "make", "Makefile.cuda": "make", "x.mk": "make", "CMakeLists.txt": "cmake", "x.cmake": "cmake",
    "x.json": "json", "x.YAML": "yaml", "x.yml": "yaml", "x.toml": "toml", "x.sh": "shell", "x.bash": "shell",
    "x.hcl": "bake", "x.md": "text", "x.rst": "text", "x.txt": "requirements", "x": "shell", "x.cfg": "shell",
    "Dockerfile.hcl": "bake", "Dockerfile.yaml": "yaml", "Dockerfile.yml": "yaml", "Dockerfile.rst": "text",
}  # fmt: skip


@pytest.mark.parametrize("name", BY_NAME)
def test_the_reader_of_a_name(name: str) -> None:
    assert claims.reader_by_name(name) == claims.reader_by_name(f"a/b/{name}") == BY_NAME[name]
    assert claims.is_dockerfile(name) is (BY_NAME[name] == "dockerfile")
    assert claims.reader_of(claim(name="A"), name) == BY_NAME[name]


@pytest.mark.parametrize(
    ("fields", "name", "reader"),
    [
        ({"reader": "yaml", "name": "A"}, "x.json", "yaml"),
        ({"variable": "V"}, "x.hcl", "bake"), ({"variable": "V"}, "x.json", "json"),
        ({"target": "t", "arg": "A"}, "x", "bake"), ({"target": "t", "arg": "A"}, "x.json", "json"),
        ({"arg": "A"}, "x.sh", "dockerfile"), ({"env": "A"}, "x.sh", "dockerfile"),
        ({"image": "i"}, "x.sh", "dockerfile"),
        ({"pointer": "/a"}, "x.yaml", "yaml"),
    ],
)  # fmt: skip
def test_what_a_claim_is_about_decides_its_reader(fields: dict[str, Any], name: str, reader: str) -> None:
    assert claims.reader_of(claim(**fields), name) == reader


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"target": "t", "arg": "A"}, "arg A of target t"),
        ({"arg": "A"}, "ARG A"), ({"arg": "A", "stage": "s"}, "ARG A in stage s"),
        ({"env": "A"}, "ENV A"), ({"env": "A", "stage": "s"}, "ENV A in stage s"),
        ({"image": "i"}, "FROM i"), ({"image": "i", "stage": "s"}, "FROM i in stage s"),
        ({"variable": "V"}, "variable V"),
        ({"name": "A"}, "A="), ({"name": "A", "branch": "x*"}, "A= in branch x*"),
        ({"name": "A", "branch": "x*", "pointer": "/a"}, "A= in branch x* under /a"),
        ({"build_arg": "A"}, "--build-arg A"),
        ({"build_arg": "A", "pointer": "/a", "where": "w"}, "--build-arg A under /a where w"),
        ({"build_args": "required"}, "a docker build line with a Dockerfile of this repository"),
        ({"package": "p"}, "requirement p"), ({"regex": "r(.)"}, "regex r(.)"), ({"pointer": "/a/b"}, "/a/b"),
    ],
)  # fmt: skip
def test_the_place_of_a_claim_in_words(fields: dict[str, Any], words: str) -> None:
    assert claims.describe(claim(**fields)) == words


@pytest.mark.parametrize(
    ("name", "reader"),
    [
        *((f"x{suffix}", "") for suffix in (
            ".c", ".cc", ".cpp", ".cu", ".cuh", ".csv", ".h", ".hpp", ".inl", ".ipynb", ".js", ".lock", ".patch", ".po",
            ".rs", ".svg", ".ts", ".py",
        )),
        ("CHANGELOG.md", ""), ("Changelog", ""), ("a/PKG-INFO", ""), ("setup.py", "lines"), ("a/noxfile.py", "lines"),
        *((f"{name}.py", "lines") for name in ("conanfile", "dodo", "fabfile", "tasks")),
        *((f"{folder}/sub/x.py", "lines") for folder in (
            ".buildkite", ".ci", ".circleci", ".github", ".gitlab", "ci", "docker",
        )),
        ("src/x.py", ""), ("x/ci.py", ""),
        ("requirements.txt", "requirements"), ("cuda.txt", "requirements"), ("notes.txt", "lines"),
        ("x.sh", "shell"), ("x.bash", "shell"), ("x.SH", "shell"), ("x", "lines"), ("x.cfg", "lines"),
        (".bashrc", "lines"),
        ("x.yaml", "yaml"), ("Dockerfile", "dockerfile"), ("Makefile", "make"), ("x.C", ""),
    ],
)  # fmt: skip
def test_how_a_file_is_looked_through(name: str, reader: str) -> None:
    assert scan.reader_by_name(name) == reader


@pytest.mark.parametrize(("reader", "format_"), [("json", "json"), ("yaml", "yaml"), ("toml", "toml"), ("bake", "hcl")])
def test_a_pointer_leads_into_data(reader: str, format_: str) -> None:
    assert claims.data_format(reader) == format_


def test_a_pointer_leads_nowhere_else() -> None:
    with pytest.raises(ValueError, match=r"^a pointer leads into JSON, YAML, TOML or HCL: .*, found shell$"):
        claims.data_format("shell")


@pytest.mark.parametrize(
    ("text", "blocks"),
    [
        ("a\n```sh\nb\nc\n```\nd\n", ["b\nc\n"]), ("~~~\nb\n~~~\n", ["b\n"]), ("````\n```\nb\n````\n", ["```\nb\n"]),
        ("```\nb\n", []), ("  ```\n  b\n  ```\n", ["  b\n"]), ("```\na\n```\n```\nb\n```\n", ["a\n", "b\n"]),
        (".. code-block:: sh\n\n   a\n\n   b\nc\n", ["\n   a\n\n   b\n"]), (".. code::\n   a\n", ["   a\n"]),
        (".. prompt:: bash\n   a\n", ["   a\n"]), (".. sourcecode:: x\n   a\n", ["   a\n"]), (".. note::\n   a\n", []),
        ("  .. code:: x\n     a\n  b\n", ["     a\n"]),
    ],
)  # fmt: skip
def test_code_blocks_of_pages(text: str, blocks: list[str]) -> None:
    assert [text[slice(*span)] for span in claims.code_blocks(text)] == blocks


@pytest.mark.parametrize(
    ("step", "parts"),
    [
        ("RUN a b", ["a b"]),
        ("RUN --mount=type=cache a", ["--mount=type=cache a"]),
        ("RUN <<EOF\nx\nEOF", ["<<EOF", "x\n"]),
        ("RUN bash -e <<EOF\nx\nEOF", ["bash -e <<EOF", "x\n"]),
        ("RUN cat <<EOF\nx\nEOF", ["cat <<EOF"]),
        ("RUN bash -c true <<EOF\nx\nEOF", ["bash -c true <<EOF"]),
        ("RUN <<EOF\n#!/usr/bin/env python3\nx\nEOF", ["<<EOF"]),
        ("RUN <<EOF\n#!/bin/bash\nx\nEOF", ["<<EOF", "#!/bin/bash\nx\n"]),
        ("RUN sh <<A <<B\nx\nA\ny\nB", ["sh <<A <<B"]),
        ("COPY a b", []),
    ],
)
def test_what_a_shell_runs_of_a_step(step: str, parts: list[str]) -> None:
    found = [part.text for part in claims.run_steps(f"FROM x\n{step}\n")]
    assert [text.strip(" ") if "\n" not in text else text for text in found] == parts
