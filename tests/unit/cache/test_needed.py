"""The steps and images of a plan's builds, which its builders' caches are compared with."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.bake.file import BakeFile
from orchestrator.cache.needed import steps_and_images
from orchestrator.errors import MatrixError

if TYPE_CHECKING:
    from pathlib import Path

TEXT = """\
ARG BASE=debian:12
FROM ${BASE} AS build
ARG TARGETARCH
RUN make
FROM --platform=linux/amd64 tools-${TARGETARCH} AS unused
RUN never
FROM scratch AS last
COPY --from=build /a /a
"""


def of(root: Path, **bodies: dict[str, Any]) -> tuple[Counter[str], set[str]]:
    files = {name: BakeFile(target=name, members={name: body}, origins={}) for name, body in bodies.items()}
    return steps_and_images(root, files)


def test_the_steps_of_stages_that_are_built_and_the_images_below_them(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(TEXT)
    steps, images = of(
        tmp_path, a={"context": "."}, b={"context": ".", "target": "build", "args": {"BASE": "x", "N": None}}
    )
    assert steps == Counter({"ARG TARGETARCH": 2, "RUN make": 2, "COPY --from=build /a /a": 1})
    assert images == {"debian:12", "x"}


def test_a_context_stands_in_for_an_image_or_a_stage(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(TEXT)
    contexts = {"DEBIAN:12": "docker-image://other:1", "dir": "../d"}
    assert of(tmp_path, a={"context": ".", "contexts": contexts})[1] == {"debian:12", "other:1"}
    steps, images = of(tmp_path, a={"context": ".", "contexts": {"build": "docker-image://made:1"}})
    assert (steps, images) == (Counter({"COPY --from=build /a /a": 1}), {"made:1"})


def test_the_platform_of_a_target_is_known_to_its_dockerfile(tmp_path: Path) -> None:
    body = {"context": ".", "dockerfile-inline": "ARG TARGETARCH\nFROM tools-${TARGETARCH}\nRUN a\n"}
    assert of(tmp_path, a={**body, "platforms": ["linux/arm64"]}) == (Counter({"RUN a": 1}), {"tools-arm64"})


def test_a_dockerfile_elsewhere_has_no_steps_here(tmp_path: Path) -> None:
    assert of(tmp_path, a={"context": "https://example.org/x.git"}) == (Counter(), set())
    with pytest.raises(MatrixError):
        of(tmp_path, a={"context": "."})
