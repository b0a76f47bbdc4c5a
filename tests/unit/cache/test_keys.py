"""Content keys: what is in them, what is not, and what makes them unknown."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.bake.file import BakeFile, Output, with_key
from orchestrator.cache.contents import Contents
from orchestrator.cache.keys import Inputs, inputs, unseen_note
from orchestrator.cache.statcache import StatCache
from orchestrator.labels import KEY
from orchestrator.matrix import load
from orchestrator.matrix.expand import plan

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from orchestrator.matrix.variants import Variant

MATRIX = b"""\
version: 1
image: registry.lan/app
bake: {files: [docker-bake.json], targets: [app]}
arch_lists: {release: 9.0}
cuda: {"13.0": {version: 13.0.2}}
platforms: {linux/amd64: {}}
variants: {arch_list: release, labels: {commit: "{git.sha}", kind: release}}
"""
DOCKERFILE = """\
ARG BASE=ubuntu:24.04
FROM ${BASE} AS build
RUN curl -O https://example.com/x && pip install torch
FROM build
ADD https://example.com/y /y
COPY . /src
"""


def variant(root: Path) -> Variant:
    (one,) = plan(load.parse(MATRIX, path=root / "matrix.yaml", shown="matrix.yaml")).variants
    return one


def member(**fields: Any) -> dict[str, Any]:
    return {
        "context": ".",
        "args": {"A": "1"},
        "labels": {"kind": "release", "commit": "1"},
        "platforms": ["linux/amd64"],
    } | fields


def found(root: Path, members: dict[str, dict[str, Any]] | None = None) -> Inputs:
    file = BakeFile(target="v", members=members or {"v": member()}, origins={"v": "app", "v--base": "base"})
    return inputs(file, variant(root), root, Contents(root=root, cache=StatCache(root.parent / "stat")))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from orchestrator.matrix import git

    monkeypatch.setattr(git.Checkout, "fact", lambda *_: "0" * 40)
    root = tmp_path / "project"
    (root / "base").mkdir(parents=True)
    (root / "Dockerfile").write_text(DOCKERFILE)
    (root / "base" / "Dockerfile").write_text("FROM scratch\n")
    (root / ".dockerignore").write_text("Dockerfile\nbase\n")
    (root / "a.cu").write_text("a")
    return root


SAME: dict[str, dict[str, Any]] = {
    "tags": {"tags": ["x:y"]},
    "caches": {"cache-from": ["type=gha"], "cache-to": ["type=gha"]},
    "output": {"output": ["type=image,push=true"]},
    "resources": {"ulimits": ["nofile=1:1"], "shm-size": "1g", "cgroup-parent": "x"},
    "a label that names a commit": {
        "labels": {"kind": "release", "commit": "2", "org.opencontainers.image.revision": "2"}
    },
    "the label of matrix.yaml": {"labels": {"kind": "release", "com.orchestrate.matrix": "sha256:2"}},
    "a proxy": {"args": {"A": "1", "HTTPS_PROXY": "http://proxy:1", "no_proxy": "x"}},
}
OTHER: dict[str, dict[str, Any]] = {
    "an argument": {"args": {"A": "2"}},
    "a label": {"labels": {"kind": "debug"}},
    "the stage": {"target": "build"},
    "the network": {"network": "none"},
    "an attestation": {"attest": ["type=sbom"]},
    "a secret": {"secret": ["id=token,env=TOKEN"]},
    "an annotation": {"annotations": ["manifest:a=b"]},
    "an image": {"contexts": {"tools": "docker-image://tools:2"}},
    "a pinned repository": {"contexts": {"tools": f"https://github.com/a/b.git#{'a' * 40}"}},
    "SOURCE_DATE_EPOCH": {"args": {"A": "1", "SOURCE_DATE_EPOCH": "1"}},
}


@pytest.mark.parametrize("name", SAME)
def test_what_does_not_decide_the_content_is_not_in_the_key(project: Path, name: str) -> None:
    assert found(project, {"v": member(**SAME[name])}).key == found(project).key != ""


@pytest.mark.parametrize("name", OTHER)
def test_what_decides_the_content_is_in_the_key(project: Path, name: str) -> None:
    assert found(project, {"v": member(**OTHER[name])}).key not in {found(project).key, ""}


CHANGES: dict[str, tuple[Callable[[Path], object], bool]] = {
    "a file": (lambda root: (root / "a.cu").write_text("b"), False),
    "an ignored file": (lambda root: (root / "base" / "x").write_text("b"), True),
    "a comment": (lambda root: (root / "Dockerfile").write_text(f"# x\n{DOCKERFILE}"), True),
    "an instruction": (lambda root: (root / "Dockerfile").write_text(f"{DOCKERFILE}ENV A=1\n"), False),
    "another escape character": (lambda root: (root / "Dockerfile").write_text(f"# escape=`\n{DOCKERFILE}"), False),
    "the usual escape character": (lambda root: (root / "Dockerfile").write_text(f"# escape=\\\n{DOCKERFILE}"), True),
    "another frontend": (lambda root: (root / "Dockerfile").write_text(f"# syntax=x/y\n{DOCKERFILE}"), False),
}


@pytest.mark.parametrize("name", CHANGES)
def test_files_decide_by_their_content(project: Path, name: str) -> None:
    before = found(project).key
    change, same = CHANGES[name]
    change(project)
    assert (found(project).key == before) is same


@pytest.mark.parametrize(("beside", "ignored"), [("link", True), ("base/Dockerfile", False)])
def test_the_ignore_file_of_a_dockerfile_lies_beside_its_link(project: Path, beside: str, *, ignored: bool) -> None:
    (project / "link").symlink_to("base/Dockerfile")
    (project / f"{beside}.dockerignore").write_text("a.cu\n")
    before = found(project, {"v": member(dockerfile="link")})
    (project / "a.cu").write_text("b")
    assert (found(project, {"v": member(dockerfile="link")}).key == before.key) is ignored


def test_a_linked_target_is_a_part_of_the_key(project: Path, tmp_path: Path) -> None:
    members = {"v": member(contexts={"base": "target:v--base"}), "v--base": {"context": "base"}}
    before = found(project, members)
    assert set(before.members) == {"", "base"}
    shutil.copytree(project, tmp_path / "elsewhere")
    assert found(tmp_path / "elsewhere", members).key == before.key
    (project / "base" / "x").write_text("x")
    assert found(project, members).key != before.key


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"context": "https://TOKEN123456@github.com/a/b.git"}, "remote"),
        ({"contexts": {"x": "https://ghp_SECRETTOKEN@github.com/a/b.git#main"}}, "names no commit"),
        ({"dockerfile": "none"}, "no such Dockerfile"),
        ({"contexts": {"x": "nowhere"}}, "the context nowhere"),
        (
            {
                "context": f"https://github.com/a/b.git#{'1' * 40}",
                "contexts": {"x": "old"},
                "dockerfile-inline": "FROM scratch",
            },
            "the context x holds files whose times were set",
        ),
    ],
)
def test_what_cannot_be_seen_has_no_key_and_says_why(project: Path, fields: dict[str, Any], said: str) -> None:
    (project / "old").mkdir()
    (project / "old" / "f").touch()
    os.utime(project / "old" / "f", (1, 1))
    unknown = found(project, {"v": member(**fields)})
    assert unknown.key == ""
    assert said in unknown.unknown
    assert "TOKEN" not in unknown.unknown


def test_what_steps_fetch_and_images_that_move_are_named(project: Path) -> None:
    seen = found(project)
    assert seen.bases == ("ubuntu:24.04",)
    assert seen.unseen == ("curl (Dockerfile:3)", "pip install (Dockerfile:3)", "https://example.com/y (Dockerfile:5)")
    assert unseen_note(seen).startswith("not seen by the content key: curl (Dockerfile:3), pip install")
    fixed = found(project, {"v": member(args={"BASE": f"ubuntu@sha256:{'a' * 64}"})})
    assert (fixed.bases, fixed.pinned) == ((), (f"ubuntu@sha256:{'a' * 64}",))
    assert seen.pinned == ()
    assert unseen_note(Inputs()) == ""


def test_images_that_steps_copy_or_mount_from_may_move_too(project: Path) -> None:
    (project / "Dockerfile").write_text(
        "FROM debian AS build\nCOPY --from=uv:latest /uv /\nRUN --mount=type=bind,from=busybox,target=/b true\n"
        "FROM scratch\nCOPY --from=build --chmod=1 /a /a\nCOPY --from=0 /b /b\n"
        f"COPY --from=other@sha256:{'a' * 64} /c /\n"
        "COPY --from=named /d /\nFROM scratch AS unused\nCOPY --from=nobody /e /\n"
    )
    seen = found(project, {"v": member(target="1", contexts={"named": "base"})})
    assert seen.bases == ("debian", "uv:latest", "busybox")
    assert seen.pinned == (f"other@sha256:{'a' * 64}",)


def test_a_key_is_an_annotation_or_a_label() -> None:
    file = BakeFile(target="v", members={"v": member(annotations=["manifest:a=b"])})
    pushed = with_key(file, "sha256:1", Output(push=True)).definition
    assert pushed["annotations"] == ["manifest:a=b", f"manifest:{KEY}=sha256:1", f"manifest-descriptor:{KEY}=sha256:1"]
    assert KEY not in pushed["labels"]
    loaded = with_key(file, "sha256:1", Output(load=True)).definition
    assert (loaded["labels"][KEY], loaded["annotations"]) == ("sha256:1", ["manifest:a=b"])
    assert (
        with_key(file, "sha256:1", Output()).definition
        == file.definition
        == with_key(file, "", Output(load=True)).definition
    )
