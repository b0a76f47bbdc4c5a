"""From a failed step to the file and line of its instruction."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orchestrator.bake.origin import Excerpt, Origin, origin

if TYPE_CHECKING:
    from pathlib import Path

BASE = "FROM scratch AS base\nRUN make \\\n    all\n"
APP = "ARG X\nFROM base AS app\n\nCOPY a b\nRUN --network=none \\\n  echo one\nRUN echo two\n"
UNNAMED = "FROM x\nRUN a\nFROM y\nRUN b\n"
MEMBERS = {"app": {"context": "src", "dockerfile": "Dockerfile"}, "app--base": {"context": ".", "dockerfile": "d/Base"}}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "src").mkdir()
    (tmp_path / "d").mkdir()
    (tmp_path / "src" / "Dockerfile").write_text(APP)
    (tmp_path / "d" / "Base").write_text(BASE)
    return tmp_path


@pytest.mark.parametrize(
    ("step", "place"),
    [
        ("[app 2/4] COPY a b", ("src/Dockerfile", 4)),
        ("[linux/arm64 app 3/4] RUN --network=none   echo one", ("src/Dockerfile", 5)),
        ("[app 4/4] RUN echo two", ("src/Dockerfile", 7)),
        ("[base 1/1] RUN make     all", ("d/Base", 2)),
        ("[app 4/4] RUN echo three", None),
        ("[elsewhere 1/1] RUN echo two", None),
        ("exporting to image", None),
        ("", None),
    ],
)
def test_a_step_that_buildx_prints_no_excerpt_for(root: Path, step: str, place: tuple[str, int] | None) -> None:
    found = origin(root, MEMBERS, step, None)
    assert (None if found is None else (found.file, found.line)) == place


def test_a_stage_without_a_name_is_known_by_its_number(root: Path) -> None:
    members = {"app": {"dockerfile-inline": UNNAMED}}
    assert origin(root, members, "[stage-1 2/2] RUN b", None) == Origin(file="dockerfile-inline", line=4)


def test_an_excerpt_gets_the_directory_of_its_file(root: Path) -> None:
    said = Origin(file="Base", line=2)
    assert origin(root, MEMBERS, "[base 1/1] RUN $changed", said) == Origin(file="d/Base", line=2)
    assert origin(root, MEMBERS, "x", Origin(file="Remote", line=9)) == Origin(file="Remote", line=9)
    # Of two Dockerfiles with one name it is the one that has the step.
    (root / "d" / "Dockerfile").write_text(BASE)
    both = {**MEMBERS, "app--base": {"context": "d"}}
    assert origin(root, both, "[base 1/1] RUN make all", Origin(file="Dockerfile", line=2)) == Origin(
        file="d/Dockerfile", line=2
    )


def test_a_file_outside_of_the_working_directory_is_named_whole(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root / "d")
    assert origin(root, MEMBERS, "[app 4/4] RUN echo two", None) == Origin(file=f"{root}/src/Dockerfile", line=7)


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        (("Dockerfile:12", "--------------------", "  12 | >>> RUN x"), Origin(file="Dockerfile", line=12)),
        (("a b.Dockerfile:1", "-" * 20, "x:9", "-" * 20), Origin(file="a b.Dockerfile", line=1)),
        (("warning: 3", "-" * 20), None),
        (("Dockerfile:12", "", "-" * 20), None),
        (("-" * 20,), None),
    ],
)
def test_the_head_of_an_excerpt(lines: tuple[str, ...], found: Origin | None) -> None:
    excerpt = Excerpt()
    for line in lines:
        excerpt.add(line)
    assert excerpt.found == found
