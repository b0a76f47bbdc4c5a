"""Random bake files: the target of our bake file beside plain `bake --print`, equal but for what the matrix owns.

The bake files hold inheritance, variables, linked targets and every list attribute, with values that mean something to
HCL, JSON and CSV.
"""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from orchestrator.bake.closure import LINK, closure
from orchestrator.bake.file import escape, render
from orchestrator.engine.buildx import BakeCall, resolve
from orchestrator.entries import read_entry
from orchestrator.matrix import expand, load

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

TARGETS = 20  # of one bake file; a print of all of them takes as long as of one
EXAMPLES = 10
QUICK = settings(max_examples=EXAMPLES, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
MATRIX = """\
version: 1
image: acme/app
bake: {files: docker-bake.json, targets: [TARGETS]}
arch_lists: {all: 8.0 9.0}
cuda: {"13.0": {version: 13.0.2}}
platforms: {linux/amd64: {}}
variants: {arch_list: all, args: {OURS: "{cuda.version}"}, labels: {ours: "${x}"}}
cache: {backend: "off"}
"""
OWNED = {"args", "labels", "platforms", "tags", "cache-from", "cache-to", "output", "attest", "call", "description"}
"""What the matrix decides, judged one by one; everything else must be equal."""

WORD = st.text(alphabet="ab1-_", min_size=1, max_size=4).filter(lambda text: text[0] not in "-_1")
VALUE = st.lists(
    st.sampled_from(["a", "B", "$", "{", "}", "%", "${X}", "%{if}", '"', "'", "\\", " ", ",", "=", "é", "1"]),
    max_size=5,
).map(lambda parts: escape("".join(parts)))
VALUE = VALUE | st.just("${X}-evaluated")
NAMES = [f"t{number}" for number in range(TARGETS)]


def mapping(value: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, str]]:
    return st.dictionaries(WORD, value, max_size=3)


def listed(*texts: str) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(texts), max_size=2, unique=True)


ATTRIBUTES: dict[str, st.SearchStrategy[Any]] = {
    "annotations": listed("manifest:a=1", "manifest:b=$${x}", "manifest:c=x=y"),
    "args": mapping(VALUE),
    "attest": listed("type=sbom", "type=provenance,mode=max", "type=provenance,disabled=true"),
    "cache-from": listed("type=registry,ref=a", "user/b"),
    "cache-to": listed("type=registry,ref=a", "type=local,dest=x"),
    "call": st.sampled_from(["build", "check", "outline"]),
    "context": st.sampled_from([".", "src", "cwd://src", "https://example.org/x.git#v1"]),
    "contexts": st.dictionaries(
        WORD, st.sampled_from(["docker-image://a:1", "src", "https://example.org/y"]), max_size=2
    ),
    "description": VALUE,
    "dockerfile": st.sampled_from(["Dockerfile", "a/b", "cwd://x"]),
    "dockerfile-inline": VALUE.map(lambda text: f"FROM scratch\n# {text}\n"),
    "entitlements": listed("network.host", "security.insecure"),
    "extra-hosts": st.dictionaries(WORD, st.just("10.0.0.1"), max_size=2),
    "labels": mapping(VALUE),
    "network": st.sampled_from(["none", "default", "host"]),
    "no-cache": st.booleans(),
    "no-cache-filter": listed("a", "b"),
    "output": listed("type=image,compression=zstd", "type=registry,oci-mediatypes=true", "type=cacheonly"),
    "platforms": listed("linux/amd64", "linux/arm64"),
    "pull": st.booleans(),
    "secret": listed("id=a,env=A", "id=b,src=Dockerfile", "id=c,env=C"),
    "shm-size": st.sampled_from(["64m", "1g"]),
    "tags": listed("a:1", "b:2"),
    "target": WORD,
    "ulimits": listed("nofile=1:1", "nproc=2:2"),
}


@st.composite
def bake_files(draw: st.DrawFn) -> dict[str, Any]:
    """A bake file whose targets inherit from earlier ones and link to earlier ones."""
    targets: dict[str, Any] = {}
    for number, name in enumerate(NAMES):
        chosen = draw(st.lists(st.sampled_from(sorted(ATTRIBUTES)), max_size=8, unique=True))
        target = {attribute: draw(ATTRIBUTES[attribute]) for attribute in chosen}
        if number and draw(st.booleans()):
            target["inherits"] = draw(st.lists(st.sampled_from(NAMES[:number]), max_size=2, unique=True))
        if number and draw(st.integers(0, 3)) == 0:
            target.setdefault("contexts", {})["linked"] = f"{LINK}{draw(st.sampled_from(NAMES[:number]))}"
        targets[name] = target
    return {"variable": {"X": {"default": "evaluated"}}, "target": targets}


def printed(root: Path, file: str, names: list[str]) -> dict[str, Any]:
    argv = ["docker", "buildx", "bake", "-f", file, "--print", *names]
    done = subprocess.run(argv, cwd=root, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    found: dict[str, Any] = json.loads(done.stdout)["target"]
    return found


def kept(target: Mapping[str, Any]) -> dict[str, Any]:
    """What the matrix does not own, links by the target that they name, empty attributes as if they were not there."""
    found = {name: value for name, value in target.items() if name not in OWNED and value not in ({}, [], None)}
    contexts = found.get("contexts") or {}
    linked = {
        name: LINK + text.rpartition("--")[2].removeprefix(LINK) for name, text in contexts.items() if LINK in text
    }
    return found | ({"contexts": contexts | linked} if contexts else {})


def types(entries: list[Any] | None) -> dict[str, dict[str, str]]:
    return {one["type"]: one for one in map(read_entry, entries or [])}


def judge(ours: Mapping[str, Any], theirs: Mapping[str, Any], *, main: bool) -> None:
    expected = kept(theirs)
    if not main:
        expected.pop("annotations", None)  # of an image that is none
    assert kept(ours) == expected
    assert ours["args"] == (theirs.get("args") or {}) | {"OURS": "13.0.2"}
    assert {name: ours["labels"][name] for name in theirs.get("labels") or {}} == (theirs.get("labels") or {})
    assert ours["labels"]["ours"] == "$${x}"
    assert ours["platforms"] == ["linux/amd64"]
    assert not {"tags", "cache-from", "cache-to", "call"} & {name for name, value in ours.items() if value}
    if main:
        said = types(theirs.get("attest"))
        assert types(ours["attest"]) == {"provenance": {"type": "provenance", "mode": "min"}} | said


@given(bake_files())
@QUICK
def test_targets_are_those_of_plain_bake(engine: str, tmp_path_factory: pytest.TempPathFactory, bake: Any) -> None:
    root = tmp_path_factory.mktemp("bake")
    (root / "Dockerfile").write_text("FROM scratch\n")
    (root / "docker-bake.json").write_text(json.dumps(bake))
    text = MATRIX.replace("TARGETS", ", ".join(NAMES))
    plan = expand.plan(
        load.parse(text.encode(), path=root / "matrix.yaml", shown="matrix.yaml"), fact=lambda name: name
    )
    theirs = printed(root, "docker-bake.json", NAMES)
    targets = resolve(BakeCall(docker=("docker",), files=("docker-bake.json",), root=root), dict.fromkeys(NAMES))
    files = {variant.target: render(plan, variant, targets) for variant in plan.variants}
    content = {name: target for file in files.values() for name, target in file.content["target"].items()}
    (root / "ours.json").write_text(json.dumps({"target": content}))
    ours = printed(root, "ours.json", list(content))
    for name, file in files.items():
        linked = closure(targets, theirs[name].get("contexts") or {})
        assert list(file.origins.values()) == [name, *linked]
        for member, origin in file.origins.items():
            judge(ours[member], theirs[origin], main=origin == name and member == file.target)


def test_the_judge_judges() -> None:
    theirs: dict[str, Any] = {"context": ".", "args": {"A": "1"}, "network": "none"}
    ours: dict[str, Any] = {"args": {"A": "1", "OURS": "13.0.2"}, "network": "none", "labels": {"ours": "$${x}"}}
    ours |= {"context": ".", "platforms": ["linux/amd64"], "attest": [{"type": "provenance", "mode": "min"}]}
    judge(ours, theirs, main=True)
    wrong: dict[str, Any] = {"network": "host", "args": {"OURS": "13.0.2"}, "tags": ["a"], "secret": [{"id": "a"}]}
    for name, value in wrong.items():
        with pytest.raises(AssertionError):
            judge(ours | {name: value}, theirs, main=True)
