"""Every line of `env:` and every `if:` of images.yml does something: without it a run is another one.

action.yml's are tried in test_action.py. `pytest -v` prints the table: a line of the file, and that it was missed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.support import images_workflow
from tests.support.engine import call
from tests.support.images_workflow import DOCKERFILE, MATRIX, Caller, Done

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

TEXT = images_workflow.PATH.read_text(encoding="utf-8")
ROW = {"variant": "small-cu130-amd64", "runner": "x", "platform": "linux/amd64"}


@dataclass(frozen=True, kw_only=True)
class Line:
    """A key of `env:`, or an `if:`: its name, its first line and the one behind its last, from 0."""

    name: str
    start: int
    stop: int


def lines() -> Iterator[Line]:
    """Each once, however often a step is used again."""
    seen: set[int] = set()
    root = yaml.compose(TEXT)
    for job, tree in children(children_of(root, "jobs")):
        yield from found(tree, job, seen)


def children(node: Any) -> list[tuple[str, Any]]:
    return [(key.value, value) for key, value in node.value]


def children_of(node: Any, name: str) -> Any:
    return dict(children(node))[name]


def found(node: Any, name: str, seen: set[int]) -> Iterator[Line]:
    """The lines of a job or a step, and of what is in it."""
    if id(node) in seen or not isinstance(node, yaml.CollectionNode):
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for one in node.value:
            title = dict(children(one)).get("name") if isinstance(one, yaml.MappingNode) else None
            used = dict(children(one)).get("uses") if isinstance(one, yaml.MappingNode) else None
            step = title.value if title else used.value.partition("@")[0] if used else ""
            yield from found(one, f"{name} / {step}", seen)
        return
    for key, value in node.value:
        stop = value.end_mark.line + (value.end_mark.column > 0)
        if key.value == "if":
            yield Line(name=f"{name} / if", start=key.start_mark.line, stop=stop)
        elif key.value == "env":
            for inner, content in value.value:
                end = content.end_mark.line + (content.end_mark.column > 0)
                yield Line(name=f"{name} / {inner.value}", start=inner.start_mark.line, stop=end)
        else:
            yield from found(value, name, seen)


def without(line: Line) -> dict[Any, Any]:
    """The workflow without a line; an `env:` that has no other is empty."""
    kept = TEXT.splitlines(keepends=True)
    del kept[line.start : line.stop]
    read: dict[Any, Any] = yaml.safe_load("".join(kept))
    return read


@dataclass(frozen=True, kw_only=True)
class Call:
    """One job, and what is looked for in its log beside how it ended."""

    job: str
    given: Mapping[str, Any] = field(default_factory=dict)
    push: str = "false"
    row: Mapping[str, Any] = field(default_factory=lambda: ROW)
    results: str = "success"
    event: str = "push"
    secrets: Mapping[str, str] = field(default_factory=dict)
    says: str = ""


BAD = "9.9"
LOST = {"matrix": "none.yaml", "check": False}
PLAN = Call(job="plan", given={"check": False})
LOGIN = PLAN
BUILD = Call(job="build")
PUBLISH = Call(job="publish", given={"cuda": BAD}, push="true", says=BAD)
WRONG = Call(job="build", given=LOST)
SECRET = {"build-secrets": "no"}
CHANGED = Call(job="plan", given={"check": False}, event="pull request", says="against HEAD^")
COMPARED = Call(job="build", given={"compare": True}, says="manifest latest was not found")


def selecting(job: str, name: str, value: str = BAD) -> Call:
    return Call(job=job, given={"check": False, name: value}, push="true", says=value)


CALLS = {
    "plan / Log in to the registry / REGISTRY": LOGIN,
    "plan / Log in to the registry / REGISTRY_USER": LOGIN,
    "plan / Log in to the registry / REGISTRY_PASSWORD": LOGIN,
    "plan / Check the repository / if": PLAN,
    "plan / Check the repository / PYTHON": Call(job="plan"),
    "plan / Check the repository / INPUT_COMMAND": Call(job="plan"),
    "plan / Check the repository / INPUT_MATRIX": Call(job="plan", given={"matrix": "none.yaml"}),
    "plan / Check the repository / INPUT_ARGS": Call(job="plan", given={"matrix": "drift.yaml"}, says="::error file="),
    "plan / Show what the pull request changes / if": PLAN,
    "plan / Show what the pull request changes / PYTHON": CHANGED,
    "plan / Show what the pull request changes / INPUT_COMMAND": CHANGED,
    "plan / Show what the pull request changes / INPUT_MATRIX": Call(
        job="plan", given={"matrix": "drift.yaml", "check": False}, event="pull request", says="has no drift.yaml"
    ),
    "plan / Show what the pull request changes / INPUT_ARGS": CHANGED,
    "plan / Plan / PYTHON": PLAN,
    "plan / Plan / INPUT_COMMAND": PLAN,
    "plan / Plan / INPUT_CUDA": selecting("plan", "cuda"),
    "plan / Plan / INPUT_PLATFORM": selecting("plan", "platform"),
    "plan / Plan / INPUT_TARGET": selecting("plan", "target"),
    "plan / Plan / INPUT_VARIANT": selecting("plan", "variant"),
    "plan / Plan / INPUT_MATRIX": Call(job="plan", given=LOST),
    "plan / Plan / INPUT_ARGS": selecting("plan", "overrides", f"--cuda {BAD}"),
    "plan / Plan / BUILD_SECRETS": Call(job="plan", given={"check": False}, secrets=SECRET),
    "build / if": Call(job="build", given=LOST, push="true"),
    "build / Free disk space / if": WRONG,
    "build / Check the machine / PYTHON": BUILD,
    "build / Check the machine / INPUT_COMMAND": BUILD,
    "build / Check the machine / INPUT_VARIANT": Call(job="build", row={**ROW, "variant": "none"}),
    "build / Check the machine / INPUT_MATRIX": WRONG,
    "build / Build / PYTHON": BUILD,
    "build / Build / INPUT_COMMAND": BUILD,
    "build / Build / INPUT_VARIANT": BUILD,
    "build / Build / INPUT_MATRIX": Call(job="build", given={"matrix": "drift.yaml"}),
    "build / Build / INPUT_PUSH": Call(job="push", push="true"),
    "build / Build / INPUT_ARGS": Call(job="build", given={"args": f"--cuda {BAD}"}),
    "build / Build / BUILD_SECRETS": Call(job="build", secrets=SECRET),
    "build / Compare with what is published / if": BUILD,
    "build / Compare with what is published / PYTHON": COMPARED,
    "build / Compare with what is published / VARIANT": COMPARED,
    "build / Compare with what is published / MATRIX": Call(
        job="build", given={"matrix": "drift.yaml", "compare": True}, says="manifest newest was not found"
    ),
    "build / actions/upload-artifact / if": WRONG,
    "push / if": Call(job="push", given=LOST),
    "results / if": Call(job="results", results="failure"),
    "results / Collect the reports / PYTHON": Call(job="results"),
    "publish / if": Call(job="publish", given={**LOST, "publish": False}, push="true"),
    "publish / sigstore/cosign-installer / if": PUBLISH,
    "publish / Publish / PYTHON": PUBLISH,
    "publish / Publish / INPUT_COMMAND": PUBLISH,
    "publish / Publish / INPUT_CUDA": PUBLISH,
    "publish / Publish / INPUT_PLATFORM": selecting("publish", "platform"),
    "publish / Publish / INPUT_TARGET": selecting("publish", "target"),
    "publish / Publish / INPUT_VARIANT": selecting("publish", "variant"),
    "publish / Publish / INPUT_MATRIX": Call(job="publish", given=LOST, push="true", says="none.yaml"),
    "publish / Publish / INPUT_ARGS": selecting("publish", "overrides", f"--cuda {BAD}"),
}
SIGNING = ["publish / Publish / COSIGN_PRIVATE_KEY", "publish / Publish / COSIGN_PASSWORD"]
"""Tried where an image is signed, in test_workflow_signing.py."""


@pytest.fixture(scope="module")
def caller(tmp_path_factory: pytest.TempPathFactory, engine: str) -> Iterator[Caller]:
    """One project for all: beside its matrix one of another list, which the bake file contradicts."""
    assert engine
    for made in images_workflow.caller(tmp_path_factory.mktemp("caller")):
        made.write(f"{made.registry}/app", dockerfile=DOCKERFILE)
        text = MATRIX.replace("IMAGE", made.image).replace("release: 9.0 11.0", "release: 9.0")
        text = text.replace(":latest{", ":newest{")
        (made.project / "drift.yaml").write_text(text, encoding="utf-8")
        git = ("git", "-C", str(made.project), "-c", "user.name=t", "-c", "user.email=t@example.org")
        call(*git, "add", "-A")
        call(*git, "commit", "-q", "-m", "another matrix")
        yield made


def facts(done: Done, says: str) -> Any:
    """How a run ended: nothing in it changes from one run to the next."""
    reports = {
        path.parent.name: [(row["id"], row["status"], row["archs"]) for row in json.loads(path.read_text())["variants"]]
        for path in sorted(done.artifacts.glob("report-*/*.json"))
    }
    return (
        [(one.job, one.failed, one.ran, one.outputs) for one in done.jobs], done.logins, reports,
        sorted(path.name for path in done.artifacts.glob("*")), says in done.log,
    )  # fmt: skip


def tried(caller: Caller, read: Mapping[Any, Any], wanted: Call) -> Any:
    plan = {"outputs": {"matrix": json.dumps({"include": [dict(wanted.row)]}), "image": f"{caller.registry}/app",
                        "publishes": "true", "push": wanted.push}, "result": "success"}  # fmt: skip
    others = {name: {"outputs": {}, "result": wanted.results} for name in ("build", "push", "results")}
    done = caller.run(
        read, wanted.given, event=wanted.event, secrets=wanted.secrets, only=wanted.job, needs={"plan": plan, **others},
        report={"schema": 1, "variants": []} if wanted.job == "publish" else None,
    )  # fmt: skip
    return facts(done, wanted.says)


LINES = [line for line in lines() if line.name not in SIGNING]
BASES: dict[int, Any] = {}


@pytest.mark.parametrize("line", LINES, ids=lambda line: f"{line.start + 1}: {line.name}")
def test_without_this_line_a_run_is_another_one(caller: Caller, line: Line) -> None:
    wanted = CALLS[line.name]
    key = id(wanted)
    if key not in BASES:
        BASES[key] = tried(caller, images_workflow.read(), wanted)
    assert tried(caller, without(line), wanted) != BASES[key]


def test_what_is_compared_is_the_same_in_two_runs(caller: Caller) -> None:
    push = Call(job="push", push="true")
    tried(caller, images_workflow.read(), push)  # the next one skips what the registry holds
    for wanted in (PLAN, BUILD, push, PUBLISH, WRONG):
        first, second = (tried(caller, images_workflow.read(), wanted) for _ in range(2))
        assert first == second


def test_each_line_has_a_call() -> None:
    assert [line.name for line in LINES] == list(CALLS)
    assert len(list(lines())) == len(CALLS) + len(SIGNING)
