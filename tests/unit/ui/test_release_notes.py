"""Release notes: what is untrusted stays text, GPUs have names, and what cannot be read says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.publish.notes import FamilyNotes, PlatformNotes
from orchestrator.reference import Digest
from orchestrator.ui.release_notes import append_notes, architecture, markdown

if TYPE_CHECKING:
    from pathlib import Path

OLD, NEW = Digest(f"sha256:{'a' * 64}"), Digest(f"sha256:{'b' * 64}")


def family(*platforms: PlatformNotes, **fields: Any) -> FamilyNotes:
    given = {"family": "app-cu130", "tag": "ghcr.io/acme/app:latest", "old": OLD, "new": NEW, **fields}
    return FamilyNotes(platforms=platforms, **given)


@pytest.mark.parametrize(
    ("tag", "shown"),
    [
        ("90", "9.0 (H100"),
        ("110", "11.0 ("),
        ("100f", "10.0f ("),
        ("p120", "12.0 PTX"),
        ("lto90", "9.0 LTO"),
        ("x", "`x`"),
    ],
)
def test_architectures_have_the_names_of_their_gpus(tag: str, shown: str) -> None:
    assert architecture(tag).startswith(shown)


def test_a_release_that_changes_things() -> None:
    one = PlatformNotes(
        platform="linux/arm64",
        facts={"CUDA": ("13.0.1", "13.0.2"), "torch": ("2.9.0", "2.9.0"), "triton": ("", "3.5")},
        gained=("110",),
        lost=("80",),
        size=(2_000_000_000, 3_000_000_000),
        pulled=1_000_000_000,
    )
    said = markdown([family(one)])
    assert f"Since `ghcr.io/acme/app:latest` named `{OLD}`; now `{NEW}`." in said
    assert "**`linux/arm64`**" in said
    assert "- gained: 11.0 (" in said
    assert "- **lost**: 8.0 (A100" in said
    assert "- CUDA: `13.0.1` -> `13.0.2`\n- torch: `2.9.0`\n- triton: `none` -> `3.5`\n" in said
    assert " is new to pull" in said


def test_sizes_are_told_by_architecture_and_layer() -> None:
    layers = tuple((f"sha256:{number:064}", 1000 * number, number == 13) for number in range(1, 15))
    archs = {"90": (1000, 2000), "110": (0, 500), "p120": (7, 7)}
    one = PlatformNotes(platform="linux/amd64", archs=archs, layers=layers, size=(5, 5))
    said = markdown([family(one)])
    assert "- device code: 9.0 1.0 kB -> 2.0 kB, 11.0 0 B -> 500 B, 12.0 PTX 7 B\n" in said
    (line,) = [line for line in said.splitlines() if line.startswith("- layers: ")]
    assert line.startswith("- layers: 3 `sha256:000000000000` 3.0 kB, 4 ")
    assert "13 `sha256:000000000000` 13.0 kB (new), 14 " in line
    assert line.endswith(", and 2 smaller ones")
    said = markdown([family(PlatformNotes(platform="linux/amd64", archs=archs, layers=layers[12:]), old=None)])
    assert "- device code: 9.0 2.0 kB, 11.0 500 B, 12.0 PTX 7 B\n" in said
    assert "(new)" not in said


def test_a_first_release_and_one_that_changes_nothing() -> None:
    said = markdown([family(PlatformNotes(platform="linux/amd64", gained=("90",), size=(0, 5), pulled=5), old=None)])
    assert f"First release, `{NEW}`." in said
    assert "- runs on: 9.0 (H100" in said
    assert "- the same architectures" in markdown([family(PlatformNotes(platform="linux/amd64", size=(5, 5)))])


def test_what_images_say_is_no_markup() -> None:
    evil = "x` | <b>::error::\x1b[31m"
    one = PlatformNotes(platform="linux/amd64", facts={"CUDA": (evil, "13.0")}, size=(5, 5))
    said = markdown([family(one), family(PlatformNotes(platform="linux/amd64", problem=evil))])
    assert "\x1b" not in said
    assert "\n::" not in said
    assert "`` x` \\| <b>::error:: ``" in said


def test_the_job_summary_gets_the_notes(tmp_path: Path) -> None:
    path = tmp_path / "summary.md"
    assert append_notes("text\n", env={}) == ""
    assert append_notes("text\n", env={"GITHUB_STEP_SUMMARY": str(path)}) == ""
    assert append_notes("more\n", env={"GITHUB_STEP_SUMMARY": str(path)}) == ""
    assert path.read_text() == "text\nmore\n"
    assert "No such file" in append_notes("text\n", env={"GITHUB_STEP_SUMMARY": str(tmp_path / "none/x")})
