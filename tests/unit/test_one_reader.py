"""Each fact is read in one module: the table of docs/architecture.md is true, and no second reader bears its marks."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import orchestrator

ROOT = Path(orchestrator.__file__).parent
ARCHITECTURE = (ROOT.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
SOURCES = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in sorted(ROOT.rglob("*.py"))}

# What a module is known by that reads a fact, and the modules that may bear it (each beyond the first with its reason).
MARKS = {
    "YAML is composed": (
        r"\byaml\.(?:compose|parse|load|safe_load|CSafeLoader|SafeLoader)\b",
        # second.py judges an edit by a parser that did not find its place, on purpose.
        {"matrix/yaml_nodes.py", "drift/second.py"},
    ),
    # Lock files of package managers are large, and need no places: flashinfer.py asks tomllib alone.
    "TOML is read": (r"\btomllib\.loads?\b", {"drift/readers/toml_.py", "drift/flashinfer.py", "drift/second.py"}),
    "a file is replaced": (
        r"\bmkstemp\(|\bNamedTemporaryFile\(|\bos\.replace\(",
        # The store and the layers of a spool name files by the digest that is known only once they are written.
        {"files.py", "headers/store.py"},
    ),
    "a digest is recognized": (r"sha256:\[0-9a-f\]", {"reference.py"}),
    "user information is cut out of addresses": (r"://\((\?=\()?\?P<user>|\]\+:\[\^", {"redact.py"}),
    "NVIDIA's image of CUDA is named": (r"\"nvidia/cuda\"|cuda:\(", {"cuda_image.py"}),
    "a label is named": (r"com\.orchestrate", {"labels.py"}),
    "FlashInfer's lock file is named": (r"\"flashinfer\.lock\.json\"", {"flashinfer.py"}),
    "FlashInfer's variable is named": (r"\"FLASHINFER_NO_DOWNLOAD\"", {"flashinfer.py"}),
    "a workflow command is written": (r"f?\"::(?:\{|error|warning|notice|group|add-mask)", {"ui/github.py"}),
    "the event of a workflow is read": (r"GITHUB_EVENT_(?:PATH|NAME)", {"cache/rights.py"}),
    "docker's credentials are read": (r"credsStore|credHelpers", {"registry/credentials.py"}),
    "free space is asked for": (r"\bdisk_usage\(|\bstatvfs\(", {"engine/machine.py"}),
    "units of sizes": (r"\"[KMG]i?B\"", {"sizes.py"}),
    # Three languages, three grammars of here-documents.
    "a here-document is recognized": (
        r"<<-\?",
        {"dockerfile/heredoc.py", "dockerfile/shell.py", "drift/readers/hcl.py"},
    ),
    "operators of the shell": (r"&&\|\\\|", {"dockerfile/shell.py"}),
    "arguments that need no ARG": (r"BUILDKIT_\\w|SOURCE_DATE_EPOCH", {"dockerfile/predefined.py"}),
}


def table() -> dict[str, list[str]]:
    """Fact -> modules, as the page says."""
    section = ARCHITECTURE.split("## Each fact is read in one place")[1].split("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")][2:]
    return {fact: re.findall(r"`([^`]+\.py)`", modules) for fact, modules in rows}


def test_the_table_names_modules_that_exist() -> None:
    found = table()
    assert len(found) > 30
    assert not {fact: modules for fact, modules in found.items() if not modules or not set(modules) <= SOURCES.keys()}


@pytest.mark.parametrize("fact", MARKS)
def test_no_second_reader(fact: str) -> None:
    mark, homes = MARKS[fact]
    bearing = {name for name, text in SOURCES.items() if re.search(mark, text)}
    assert bearing <= homes, f"{fact}: {sorted(bearing - homes)}"
    assert bearing, f"nothing bears the mark any more: {fact}"


def test_every_module_is_named_on_the_page() -> None:
    """Each package has a section, and in it one line for each of its modules; nothing else is listed there."""
    section = ARCHITECTURE.split("\n## Packages\n")[1].split("\n## ")[0]
    lines = []
    for part in section.split("\n### ")[1:]:
        package = re.match(r"`([a-z]+/)`", part)
        lines += [
            f"{package[1]}{name}.py" if package else name for name in re.findall(r"^- `([^`]+)`: ", part, re.MULTILINE)
        ]
    listed = set(lines)
    assert sorted(name for name in listed if lines.count(name) > 1) == [], "docs/architecture.md names these twice"
    modules = {name for name in SOURCES if not name.endswith(("__init__.py", "__main__.py"))}
    assert sorted(modules - listed) == [], "docs/architecture.md does not name these modules"
    assert sorted(listed - modules) == [], "docs/architecture.md names modules that were not found"
