"""`orchestrate cache explain` and the report name the planted cause of a step that ran."""

from __future__ import annotations

import json
import os
import uuid
from typing import TYPE_CHECKING

from tests.support.project import write_project

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.engine import Registry
    from tests.support.project import Project

STEPS = """COPY src /src
RUN : before
RUN echo "$torch_cuda_arch_list" > /archs
RUN : after
"""


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def linked(root: Path) -> None:
    content = json.loads((root / "docker-bake.json").read_text())
    content["target"]["base"] = {"context": "base"}
    content["target"]["app"]["contexts"] = {"extra": "target:base"}
    (root / "docker-bake.json").write_text(json.dumps(content))
    (root / "base").mkdir()
    (root / "base" / "f").write_text("1")
    (root / "base" / "Dockerfile").write_text("FROM scratch\nCOPY f /f\n")
    edit(root / "Dockerfile", "RUN : after", "COPY --from=extra /f /f\nRUN : after")


PLANTED: list[tuple[str, Callable[[Path], object], str]] = [
    ("a file", lambda root: (root / "src" / "a").write_text("2"), "COPY src /src ran because src/a changed"),
    ("a mode bit", lambda root: (root / "src" / "a").chmod(0o664), "the mode of src/a changed: 644 -> 664"),
    ("executable", lambda root: (root / "src" / "a").chmod(0o775), "the mode of src/a changed: 664 -> 775"),
    ("a new file", lambda root: (root / "src" / "b").write_text("1"), "src/b is new"),
    ("back to what it was", lambda root: (root / "src" / "b").unlink(), "every step came from the cache"),
    ("an empty directory", lambda root: (root / "src" / "empty").mkdir(), "src/empty is new"),
    ("a link", lambda root: (root / "src" / "l").symlink_to("a"), "src/l is new"),
    ("an ignored file", lambda root: (root / "src" / "x.log").write_text("2"), "every step came from the cache"),
    ("another place", lambda root: (root / "notes").write_text("1"), "every step came from the cache"),
    ("time alone", lambda root: os.utime(root / "src" / "a", ns=(1, 1)), "every step came from the cache"),
    (".dockerignore", lambda root: (root / ".dockerignore").write_text(""), ".dockerignore changed"),
    ("a file that is gone", lambda root: (root / "src" / "l").unlink(), "src/l is gone"),
    (
        "an added arch",
        lambda root: edit(root / "matrix.yaml", "9.0 11.0", "9.0 10.0 11.0"),
        "argument torch_cuda_arch_list changed: '8.0 9.0 11.0' -> '8.0 9.0 10.0 11.0'",
    ),
    (
        "a line above",
        lambda root: edit(root / "Dockerfile", "RUN : before", "RUN : sooner"),
        "RUN : before -> RUN : sooner",
    ),
    (
        "a line below",
        lambda root: edit(root / "Dockerfile", "RUN : after", "RUN : later"),
        "RUN : after -> RUN : later",
    ),
    ("an ENV above", lambda root: edit(root / "Dockerfile", "RUN : sooner", "ENV A=1\nRUN : sooner"), "ENV A=1 is new"),
    ("a comment", lambda root: edit(root / "Dockerfile", "ENV A=1", "# a\nENV A=1"), "every step came from the cache"),
    ("a tag", lambda root: edit(root / "matrix.yaml", "{target}-", "new-{target}-"), "every step came from the cache"),
    ("a linked target's file", lambda root: (root / "base" / "f").write_text("2"), "linked target base: f changed"),
]


def planted(project: Project) -> str:
    assert project.build().returncode == 0, project.log("app")
    said = project.reported()["app"]["cache"]
    shown = project.run("cache", "explain", "app-cu130-amd64")
    assert (shown.returncode, said in shown.stdout) == (0, True), shown.stdout
    return str(said)


def test_planted_causes_are_named(engine: str, tmp_path: Path) -> None:
    project = write_project(tmp_path, "127.0.0.1:5000/unused", app=STEPS)
    (project.root / "src").mkdir()
    (project.root / "src" / "a").write_text("1")
    (project.root / "src" / "a").chmod(0o644)
    (project.root / "src" / "x.log").write_text("1")
    (project.root / ".dockerignore").write_text("**/*.log\n")
    never = project.run("cache", "explain", "app-cu130-amd64")
    assert (never.returncode, "never built here" in never.stdout) == (0, True)
    linked(project.root)
    assert "no earlier success" in planted(project)
    wrong = {}
    for name, plant, said in PLANTED:
        plant(project.root)
        found = planted(project)
        if said not in found:
            wrong[name] = (found, said)
    assert not wrong
    assert project.run("cache", "explain", "app-cu13-amd64").returncode == 2


def test_a_base_that_moved_and_another_bundle_are_named(registry: Registry, tmp_image: str, tmp_path: Path) -> None:
    below = write_project(tmp_path / "below", tmp_image, below="RUN echo 1 > /f")
    assert below.build("--push").returncode == 0
    project = write_project(tmp_path / "one", tmp_image, app="ARG FLASHINFER_BUNDLE_DIGEST\nRUN : made")
    base = f"{tmp_image}:below-amd64"
    edit(project.root / "Dockerfile", "FROM base AS app", f"FROM {base} AS app")
    edit(project.root / "matrix.yaml", "  args:\n", "  args:\n    FLASHINFER_BUNDLE_DIGEST: sha256:1\n")
    assert "no earlier success" in planted(project)
    edit(below.root / "Dockerfile", "echo 1", "echo 2")
    assert below.build("--push").returncode == 0
    assert f"ran because the base {base} moved from sha256:" in planted(project)
    edit(project.root / "matrix.yaml", "sha256:1", "sha256:2")
    assert "ran because the FlashInfer bundle changed: 'sha256:1' -> 'sha256:2'" in planted(project)


MORE = """COPY src /src
RUN <<EOF
: one
EOF
RUN --mount=type=bind,source=bound,target=/bound : bound
COPY --from=extra e /e
RUN : after
"""


def bake(root: Path, **fields: object) -> None:
    """Change the target of the bake file."""
    content = json.loads((root / "docker-bake.json").read_text())
    content["target"]["app"] |= fields
    (root / "docker-bake.json").write_text(json.dumps(content))


def relink(path: Path) -> None:
    path.unlink()
    path.symlink_to("b")


def write_with_the_same_time(path: Path) -> None:
    before = path.stat()
    path.write_text("9")
    os.utime(path, ns=(before.st_mtime_ns, before.st_mtime_ns))


def rename(root: Path) -> None:
    bake(root, contexts={"wider": "more"})
    edit(root / "Dockerfile", "=extra", "=wider")


# Each changes docker-bake.json or another file of the context as well, which no step takes.
PLANTED_MORE: list[tuple[str, Callable[[Path], object], str]] = [
    ("a here-document", lambda root: edit(root / "Dockerfile", ": one", ": two"), "RUN <<EOF : two EOF"),
    ("a link", lambda root: relink(root / "src" / "l"), "ran because src/l changed"),
    (
        "a negation",
        lambda root: edit(root / ".dockerignore", "*.log\n", "*.log\n!src/x.log\n"),
        "ran because .dockerignore changed",
    ),
    ("a file of it", lambda root: (root / "src" / "x.log").write_text("2"), "ran because src/x.log changed"),
    ("a mounted file", lambda root: (root / "bound" / "f").write_text("2"), "ran because bound/f changed"),
    (
        "another directory",
        lambda root: bake(root, contexts={"extra": "more"}),
        "ran because context extra: e changed",
    ),
    (
        "a target in place of a directory",
        lambda root: bake(root, contexts={"extra": "target:base"}),
        "ran because the linked target base is new",
    ),
    ("a directory that was built from before", lambda root: bake(root, contexts={"extra": "more"}), "every step came"),
    (
        "a default above",
        lambda root: edit(root / "Dockerfile", "RUN : $FRESH", "ARG X=1\nRUN : $FRESH $X"),
        "RUN : $FRESH -> ARG X=1; RUN : $FRESH $X",
    ),
    ("another default", lambda root: edit(root / "Dockerfile", "ARG X=1", "ARG X=2"), "ARG X=1 -> ARG X=2"),
    (
        "a secret that no step takes",
        lambda root: bake(root, secret=["id=tok,src=matrix.yaml"]),
        "every step came from the cache",
    ),
    (
        "a secret that a step takes",
        lambda root: edit(root / "Dockerfile", "RUN : after", "RUN --mount=type=secret,id=tok : after"),
        "RUN : after -> RUN --mount=type=secret,id=tok : after",
    ),
    (
        "another name of a context",
        rename,
        "every step came from the cache",
    ),
    ("equal size and time", lambda root: write_with_the_same_time(root / "src" / "a"), "ran because src/a changed"),
    ("the network", lambda root: bake(root, network="none"), "ran because network changed: not given -> 'none'"),
]


def test_more_planted_causes_are_named(engine: str, tmp_path: Path) -> None:
    project = write_project(tmp_path, "127.0.0.1:5000/unused", app=MORE)
    root = project.root
    for name, text in (("src/a", "1"), ("src/x.log", "1"), ("bound/f", "1"), ("extra/e", "x"), ("more/e", "y")):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
    (root / "src" / "l").symlink_to("a")
    (root / ".dockerignore").write_text(".orchestrate\n**/*.log\n")
    (root / "base").mkdir()
    (root / "base" / "e").write_text(uuid.uuid4().hex)  # its step starts from nothing and is in no cache either
    (root / "base" / "Dockerfile").write_text("FROM scratch\nCOPY e /e\n")
    content = json.loads((root / "docker-bake.json").read_text())
    content["target"]["base"] = {"context": "base"}
    (root / "docker-bake.json").write_text(json.dumps(content))
    bake(root, contexts={"extra": "extra"})
    assert "no earlier success" in planted(project)
    wrong = {}
    for name, plant, said in PLANTED_MORE:
        plant(root)
        found = planted(project)
        if said not in found:
            wrong[name] = (found, said)
    assert not wrong
