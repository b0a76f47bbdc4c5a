"""The pages of docs/: the reference is what the program says, every key is on a written page, every recipe plans."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cli import app
from orchestrator.errors import FailureClass
from orchestrator.matrix.json_schema import json_schema

TOP = Path(__file__).parents[2]
COOKBOOK = TOP / "docs/cookbook"
WRITTEN = {
    str(path.relative_to(TOP)): path.read_text(encoding="utf-8")
    for path in TOP.glob("docs/**/*.md")
    if "reference" not in path.parts
}


def script(name: str) -> Any:
    """A program of scripts/ as a module."""
    loader = importlib.machinery.SourceFileLoader(f"script_{name}", str(TOP / "scripts" / name))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[loader.name] = module  # where dataclasses look for its names
    loader.exec_module(module)
    return module


REFERENCE = script("reference")
TRANSCRIPTS = script("transcripts")
PICTURES = script("pictures").pictures()
TOPICS = (
    "gpu", "axes", "exclude", "overrides", "secrets", "contexts", "linked-targets", "layer-cache", "compile-cache",
    "headers", "wheelhouse", "air-gap", "fleet", "publish", "sign",
)  # fmt: skip


SHOWN = {
    "layer-cache": "cache", "gpu": "arch_lists", "air-gap": "contexts", "fleet": "builders", "wheelhouse": "wheels",
    "linked-targets": "bake", "index": "image",
}  # fmt: skip
"""The section that a recipe is about, where it has another name."""


RECORDED = {
    "docs/replay.md": 3,  # most of an hour of compiling; examples/vllm-kernels/replay
}
"""Samples that no test runs: commands of a page."""


@pytest.mark.parametrize("name", REFERENCE.PAGES)
def test_the_reference_is_what_the_program_says(name: str) -> None:
    path = TOP / "docs/reference" / name
    assert path.read_text(encoding="utf-8") == REFERENCE.PAGES[name](), "run scripts/reference and commit what it wrote"


@pytest.mark.parametrize("name", PICTURES)
def test_the_pictures_are_what_the_script_draws(name: str) -> None:
    path = TOP / "docs/assets" / name
    assert path.read_text(encoding="utf-8") == PICTURES[name], "run scripts/pictures and commit what it wrote"
    assert "http" not in PICTURES[name].replace('xmlns="http://www.w3.org/2000/svg"', "")


def test_the_reference_holds_every_key_with_its_default() -> None:
    page = (TOP / "docs/reference/matrix.md").read_text(encoding="utf-8")
    assert "| `policy` | `required`, `optional`, `off` | `required` |" in page
    assert "| `fail_below` | number, 0 to 1 | `0.25` |" in page
    assert "| `slots` | number, 1 or more | `1` |" in page
    sections = [json_schema(), *json_schema()["$defs"].values()]
    assert len(re.findall(r"^\| `[a-z_]+` \|", page, re.MULTILINE)) == sum(len(one["properties"]) for one in sections)


def test_every_class_of_failure_has_causes_and_cures() -> None:
    page = (TOP / "docs/reference/errors.md").read_text(encoding="utf-8")
    assert "not written yet" not in page
    assert re.findall(r"^### (.*)$", page, re.MULTILINE) == [
        kind.value
        for code in sorted({kind.exit_code for kind in FailureClass})
        for kind in FailureClass
        if kind.exit_code == code
    ]


def test_every_key_of_the_matrix_is_on_a_written_page() -> None:
    """The reference lists them all; a page that a person wrote shows what each is for."""
    text = "\n".join(WRITTEN.values())
    told = {word for code in re.findall(r"`[^`\n]+`", text) for word in re.findall(r"[a-z_]+", code)}
    told |= set(re.findall(r"(?<![\w.])([a-z_]+):(?=\s)", text))
    sections = [json_schema(), *json_schema()["$defs"].values()]
    assert sorted({name for one in sections for name in one["properties"]} - told) == []


def test_every_topic_has_a_recipe_and_the_first_page_names_it() -> None:
    assert {path.stem for path in COOKBOOK.glob("*.md")} == {"index", *TOPICS}
    first = (COOKBOOK / "index.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| \[.*?\]\((.*?)\.md\)", first, re.MULTILINE) == list(TOPICS)


@pytest.mark.parametrize("topic", ["index", *TOPICS])
def test_the_matrix_of_a_recipe_plans(
    topic: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (COOKBOOK / f"{topic}.md").read_text(encoding="utf-8")
    own = TRANSCRIPTS.files(page)
    assert own["matrix.yaml"].startswith("version: 1\n"), "a recipe is a whole file"
    for name, text in (TRANSCRIPTS.files((COOKBOOK / "index.md").read_text(encoding="utf-8")) | own).items():
        TRANSCRIPTS.write(tmp_path / name, text)
    for name, value in {"SHA": "0" * 40, "BRANCH": "main", "TAG": "", "DIRTY": "0"}.items():
        monkeypatch.setenv(f"ORCHESTRATE_GIT_{name}", value)
    code = app.run(["plan", "--format", "json", "--directory", str(tmp_path)])
    told = capsys.readouterr()
    assert code == 0, told.err
    variants = json.loads(told.out)["variants"]
    assert variants
    assert all(one["archs"]["effective"] and one["tags"] for one in variants)
    section = SHOWN.get(topic, topic.replace("-", "_"))
    assert re.search(rf"^ *{section}:", own["matrix.yaml"], re.MULTILINE), f"the recipe shows {section}"


@pytest.mark.parametrize("topic", ["index", *TOPICS])
def test_every_recipe_builds(topic: str) -> None:
    """Its console shows a build that ended well; tests/e2e/test_transcripts.py compares it with a fresh one."""
    page = (COOKBOOK / f"{topic}.md").read_text(encoding="utf-8")
    shown = "".join(one.text for one in TRANSCRIPTS.blocks(page) if one.kind == "console")
    assert re.search(r"^\$ (?:\w+=\S+ )?orchestrate build\b(?:.*\n)+?\S+-cu\d+-\S+ +built +", shown, re.MULTILINE)


def test_every_sample_is_run_but_for_those_that_their_pages_call_recorded() -> None:
    """A block `console` is run by tests/e2e/test_transcripts.py; one of another kind is an exception, listed here."""
    recorded, run = {}, {str(page.relative_to(TOP)) for page in TRANSCRIPTS.PAGES}
    for name, text in {**WRITTEN, "README.md": (TOP / "README.md").read_text(encoding="utf-8")}.items():
        blocks = [one for one in TRANSCRIPTS.blocks(text) if TRANSCRIPTS.commands(one.text)]
        assert name in run or not any(one.kind == "console" for one in blocks), (
            f"scripts/transcripts does not run {name}"
        )
        others = sum(len(TRANSCRIPTS.commands(one.text)) for one in blocks if one.kind != "console")
        others += len(re.findall(r"^ {4}\$ ", text, re.MULTILINE))
        if others:
            recorded[name] = others
            assert "recorded once" in text.lower(), f"{name} does not say that its sample is not run"
    assert recorded == RECORDED


def test_what_a_page_shows_is_compared_but_for_what_differs_in_each_run() -> None:
    shown = "app  built  sha256:00aa00aa  0.5s  1/2  1\npublish 20261126T160838Z-195377f7f3ce  complete\n"
    assert TRANSCRIPTS.same(
        shown, "app  built  sha256:11bb11bb   1m2.5s  2/2  1\npublish 20261127T000000Z-0123456789ab  complete"
    )
    for before, after in (
        ("built", "failed"),
        ("complete", "incomplete"),
        ("app", "app-arm64"),
        ("\npub", "\nnote\npub"),
    ):
        assert not TRANSCRIPTS.same(shown, shown.replace(before, after))
    page = 'a\n```yaml title="m.yaml"\nversion: 1\n```\n```console\n$ one \\\n  two\nout\n$ three\n```\n'
    assert TRANSCRIPTS.files(page) == {"m.yaml": "version: 1\n"}
    assert TRANSCRIPTS.commands(TRANSCRIPTS.blocks(page)[1].text) == ["one \\\n  two", "three"]
