"""Which FlashInfer a build installs, read from where the repository says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orchestrator.drift.flashinfer import version, wanted_version
from orchestrator.errors import UsageError
from orchestrator.matrix.schema import HeadersSpec

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("name", "text", "place"),
    [
        ("versions.json", '{"variable": {"FLASHINFER_VERSION": {"default": "0.6.8.post1"}}}', "versions.json"),
        ("v.json", '{"variable": {"FI": {"default": "0.6.8.post1"}}}', "v.json#FI"),
        ("Dockerfile", "FROM x\nARG FLASHINFER_VERSION=0.6.8.post1\n", "Dockerfile"),
        ("Dockerfile", 'ARG FI="0.6.8.post1"\n', "Dockerfile#FI"),
        ("cuda.txt", "torch==2.9\nflashinfer-python==0.6.8.post1  # with the Dockerfile\n", "cuda.txt"),
        ("pyproject.toml", 'dependencies = ["flashinfer-python==0.6.8.post1"]', "pyproject.toml"),
        ("uv.lock", '[[package]]\nname = "flashinfer-python"\nversion = "0.6.8.post1"\n', "uv.lock#flashinfer-python"),
    ],
)
def test_the_version_is_read_where_the_repository_says_it(tmp_path: Path, name: str, text: str, place: str) -> None:
    (tmp_path / name).write_text(text)
    assert version(place, tmp_path) == "0.6.8.post1"


@pytest.mark.parametrize(
    ("text", "place", "says"),
    [
        ("flashinfer-python>=0.6\n", "f.txt", "names no version"),
        ("flashinfer-python==0.6.6\nflashinfer-python==0.6.7\n", "f.txt", "more than one"),
        ("flashinfer-python==latest\n", "f.txt", "not a FlashInfer version"),
        ("ARG FLASHINFER_VERSON=0.6.6\n", "f.txt#FLASHINFER_VERSION", "did you mean FLASHINFER_VERSON"),
        ("{", "f.json", "is not JSON"),
        ("", "none.txt", "cannot be read"),
    ],
)
def test_a_version_that_cannot_be_read_is_an_error(tmp_path: Path, text: str, place: str, says: str) -> None:
    if "none" not in place:
        (tmp_path / place.split("#", maxsplit=1)[0]).write_text(text)
    with pytest.raises(UsageError) as caught:
        version(place, tmp_path)
    assert says in str(caught.value)


def test_a_file_that_contradicts_the_matrix_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "versions.json").write_text('{"variable": {"FLASHINFER_VERSION": {"default": "0.6.12"}}}')
    spec = HeadersSpec(version="0.6.13", version_from="versions.json")
    with pytest.raises(UsageError, match=r"found 0\.6\.12"):
        wanted_version(spec, tmp_path)
    assert wanted_version(HeadersSpec(version="0.6.13"), tmp_path) == "0.6.13"
    assert wanted_version(HeadersSpec(), tmp_path) == ""


def test_a_here_document_and_a_comment_name_no_version(tmp_path: Path) -> None:
    text = "# ARG FLASHINFER_VERSION=0.6.1\nFROM x\nRUN <<EOF\nARG FLASHINFER_VERSION=0.6.2\nEOF\n"
    (tmp_path / "Dockerfile").write_text(text + "RUN pip install 'flashinfer-python==0.6.13'\n")
    assert version("Dockerfile", tmp_path) == "0.6.13"
