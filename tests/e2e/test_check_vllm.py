"""`orchestrate check` on vLLM's own source distributions, unmodified: the drifts that are really there, and no other.

Each entry of the golden lists was confirmed by eye in the file that it names. The claims are in tests/e2e/vllm.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.support.artifacts import download, extract_all

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.download

COMMAND = Path(sys.executable).parent / "orchestrate"
CLAIMS = Path(__file__).parent / "vllm"
PIPELINE = ".buildkite/release-pipeline.yaml"
NIGHTLY = ".buildkite/image_build/image_build_torch_nightly.sh"
DOCS = "docs/getting_started/installation/gpu.cuda.inc.md"


def orchestrate(*words: str | Path, code: int) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [str(COMMAND), *map(str, words)], capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


def extract(version: str, root: Path) -> Path:
    with tarfile.open(download(f"vllm=={version}", sdist=True)) as archive:
        extract_all(archive, root)
    tree = root / f"vllm-{version}"
    shutil.copy(CLAIMS / f"matrix-{version}.yaml", tree / "matrix.yaml")
    return tree


@pytest.fixture(scope="module")
def v0_20_0(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return extract("0.20.0", tmp_path_factory.mktemp("vllm"))


@pytest.fixture(scope="module")
def v0_19_1(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return extract("0.19.1", tmp_path_factory.mktemp("vllm"))


def report(tree: Path, *, code: int = 3) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(orchestrate("check", "-C", tree, "--format", "json", code=code).stdout)
    return content


def shown(tree: Path) -> list[tuple[str, int, str, list[str]]]:
    found = report(tree)["disagreements"]
    return [(one["file"], one["line"], one["place"].split(" under ")[0], one["words"]) for one in found]


def test_the_drifts_of_0_20_0(v0_20_0: Path) -> None:
    assert shown(v0_20_0) == [
        (NIGHTLY, 48, r"regex regular CI stays on CUDA (\d+\.\d+)", ["names 12.9"]),
        (NIGHTLY, 62, "--build-arg torch_cuda_arch_list", ["missing 11.0 (Jetson Thor, Jetson T5000)"]),
        ("docker/docker-bake.hcl", 23, "variable TORCH_CUDA_ARCH_LIST",
         ["missing 7.5 (T4, RTX 2080)", "missing 8.6 (A2, A10)", "missing +PTX on 12.0"]),
        (DOCS, 39, r"regex are compiled with CUDA (\d+\.\d+) and", ["names 12.9"]),
    ]  # fmt: skip


def test_the_drifts_of_0_19_1(v0_19_1: Path) -> None:
    dead = ["docker/Dockerfile declares no such ARG: docker ignores it silently"]
    arch_list, aot = "--build-arg torch_cuda_arch_list", "--build-arg FLASHINFER_AOT_COMPILE"
    assert shown(v0_19_1) == [
        (PIPELINE, 34, arch_list, ["missing 12.1 (GB10, DGX Spark)"]),
        (PIPELINE, 111, aot, dead),
        (PIPELINE, 124, aot, dead),
        (PIPELINE, 127, arch_list, ["not found in this part"]),
        (PIPELINE, 158, aot, dead),
        (PIPELINE, 158, arch_list,
         ["missing 7.0 (V100, TITAN V)", "missing 7.5 (T4, RTX 2080)", "missing 8.0 (A30, A100)",
          "adds 8.7 (Jetson Orin NX, Jetson AGX Orin)", "adds +PTX to 10.0"]),
        (PIPELINE, 170, aot, dead),
        (PIPELINE, 180, aot, dead),
        (PIPELINE, 180, arch_list,
         ["missing 7.5 (T4, RTX 2080)", "missing 8.0 (A30, A100)", "adds 8.7 (Jetson Orin NX, Jetson AGX Orin)",
          "adds 12.1 (GB10, DGX Spark)", "adds +PTX to 10.0"]),
        (PIPELINE, 192, aot, dead),
        ("docker/docker-bake.hcl", 23, "variable TORCH_CUDA_ARCH_LIST",
         ["missing 7.0 (V100, TITAN V)", "missing 7.5 (T4, RTX 2080)",
          "missing 12.0 (RTX 50, RTX PRO 6000 Blackwell)"]),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def clean(v0_20_0: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The claimed files of 0.20.0 after `check --fix`."""
    tree = tmp_path_factory.mktemp("clean")
    for name in ["matrix.yaml", *report(v0_20_0)["files"]]:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(v0_20_0 / name, tree / name)
    diff = orchestrate("check", "-C", tree, "--diff", code=3).stdout
    assert contents(tree) == {**contents(tree), "matrix.yaml": (v0_20_0 / "matrix.yaml").read_bytes()}
    assert orchestrate("check", "-C", tree, "--fix", code=0).stdout == diff
    done = orchestrate("check", "-C", tree, code=0)
    assert done.stdout == "31 claims, 126 places in 9 files: all agree\n"
    return tree


def contents(tree: Path) -> dict[str, bytes]:
    return {str(path.relative_to(tree)): path.read_bytes() for path in tree.rglob("*") if path.is_file()}


def test_a_fix_is_a_patch_that_changes_four_lines(v0_20_0: Path, clean: Path, tmp_path: Path) -> None:
    before = {name: (v0_20_0 / name).read_bytes() for name in contents(clean)}
    changed = {name for name, text in contents(clean).items() if text != before[name]}
    assert changed == {NIGHTLY, "docker/docker-bake.hcl", DOCS}
    shutil.copytree(clean, tmp_path, dirs_exist_ok=True)
    for name, text in before.items():
        (tmp_path / name).write_bytes(text)
    diff = orchestrate("check", "-C", tmp_path, "--diff", code=3).stdout.partition("\n.buildkite")[0] + "\n"
    assert sum(line.startswith("+") and not line.startswith("+++") for line in diff.splitlines()) == 4
    patched = subprocess.run(
        ["git", "apply", "-p1", "-"], cwd=tmp_path, input=diff, text=True, capture_output=True, check=False
    )
    assert patched.returncode == 0, patched.stderr
    assert contents(tmp_path) == contents(clean)


def _replace(old: str, new: str, *, count: int = 1) -> Callable[[str], str]:
    def edit(text: str) -> str:
        assert old in text
        return text.replace(old, new, count)

    return edit


@pytest.mark.parametrize(
    ("name", "edit", "line", "words"),
    [
        # the three catches of the review of #39233
        ("docker/Dockerfile", _replace("='7.5 8.0 8.6", "='7.0 7.5 8.0 8.6"), 191,
         "adds 7.0 (V100, TITAN V), which CUDA 13.0 cannot compile, and which the matrix forbids (7.5 is its oldest)"),
        (PIPELINE, _replace("7.5 8.0 8.6 8.9", "7.5 8.0 8.9"), 5, "missing 8.6 (A2, A10)"),
        ("docker/docker-bake.hcl", _replace(" 12.0+PTX", ""), 23, "missing 12.0 (RTX 50, RTX PRO 6000 Blackwell)"),
        # the eight edits of #39233 itself, each forgotten once
        ("docker/Dockerfile", _replace(" 11.0", ""), 191, "missing 11.0 (Jetson Thor, Jetson T5000)"),
        ("docker/versions.json", _replace(" 11.0", ""), 35, "missing 11.0 (Jetson Thor, Jetson T5000)"),
        (PIPELINE, _replace("10.0 11.0", "10.0"), 7, "missing 11.0 (Jetson Thor, Jetson T5000)"),
        ("tools/flashinfer-build.sh", _replace(" 11.0", ""), 38, "missing 11.0 (Jetson Thor, Jetson T5000)"),
        # Thor under the name that CUDA 12 gives it
        ("docker/docker-bake.hcl", _replace("11.0", "10.1"), 23,
         "lists 10.1, the name that CUDA 12 gives Jetson Thor; CUDA 13 calls it 11.0"),
        # a patch release forgotten in one of twelve places
        (PIPELINE, _replace("CUDA_VERSION=13.0.2", "CUDA_VERSION=13.0.1"), 40, None),
    ],
)  # fmt: skip
def test_an_edit_is_reported_with_its_line_and_reason_and_repaired(
    clean: Path, tmp_path: Path, name: str, edit: Callable[[str], str], line: int, words: str | None
) -> None:
    shutil.copytree(clean, tmp_path, dirs_exist_ok=True)
    path = tmp_path / name
    path.write_text(edit(path.read_text()))
    found = report(tmp_path)["disagreements"]
    (one,) = [one for one in found if one["fixable"]]
    assert (one["file"], one["line"]) == (name, line)
    if words is None:
        assert (one["says"], one["expected"]) == ("13.0.1", "13.0.2")
    else:
        assert one["words"] == [words]
    orchestrate("check", "-C", tmp_path, "--fix", code=0)
    assert contents(tmp_path) == contents(clean)


def test_annotations_for_github(v0_20_0: Path) -> None:
    done = orchestrate("check", "-C", v0_20_0, "--format", "github", code=3)
    (bake,) = [line for line in done.stdout.splitlines() if "docker-bake.hcl" in line]
    assert bake.startswith("::error file=")
    assert "docker/docker-bake.hcl,line=23,col=14,endColumn=40,title=variable TORCH_CUDA_ARCH_LIST::" in bake


EDITED_BY_39233 = {
    ("docker/Dockerfile", 191), ("docker/Dockerfile", 768), ("docker/docker-bake.hcl", 23),
    ("docker/versions.json", 35), ("tools/flashinfer-build.sh", 38),
    (PIPELINE, 5), (PIPELINE, 7), (PIPELINE, 8), (PIPELINE, 9),
}  # fmt: skip


def test_find_alone_names_every_place_that_39233_had_to_edit(v0_20_0: Path) -> None:
    matrix = v0_20_0 / "matrix.yaml"
    text = matrix.read_bytes()
    matrix.unlink()  # --find begins without one
    try:
        found = json.loads(orchestrate("check", "--find", "-C", v0_20_0, "--format", "json", code=0).stdout)
        proposed = yaml.safe_load(orchestrate("check", "--find", "-C", v0_20_0, code=0).stdout)
    finally:
        matrix.write_bytes(text)
    assert (found["subjects"][0]["subject"], found["subjects"][0]["contradicts"]) == ("arch list", True)
    lists = [place for value in found["subjects"][0]["values"] for place in value["places"]]
    assert {(place["file"], place["line"]) for place in lists} >= EDITED_BY_39233
    claimed = [{key: value for key, value in claim.items() if key != "says"} for claim in proposed["claims"]]
    for place in lists:
        if (place["file"], place["line"]) in EDITED_BY_39233:
            assert place["claim"] in claimed


@pytest.mark.parametrize("version", ["0.19.1", "0.20.0"])
def test_init_writes_a_matrix_that_plans_and_shows_the_drift(
    request: pytest.FixtureRequest, version: str, tmp_path: Path
) -> None:
    tree: Path = request.getfixturevalue(f"v{version.replace('.', '_')}")
    text = orchestrate("init", "-C", tree, "--print", code=0).stdout
    if version == "0.20.0":
        matrix = yaml.safe_load(text)
        told = f"matrix.yaml: 8 variants, {len(matrix['claims'])} claims"
        assert told in (Path(__file__).parents[2] / "docs/check.md").read_text()
    assert "matrix.yaml exists already" in orchestrate("init", "-C", tree, code=2).stderr
    for name in ["docker", ".buildkite", "tools", ".github", "docs"]:
        shutil.copytree(tree / name, tmp_path / name)
    (tmp_path / "matrix.yaml").write_text(text)
    planned = json.loads(orchestrate("plan", "-C", tmp_path, "--format", "json", code=0).stdout)
    ids = {variant["id"] for variant in planned["variants"]}
    assert {"openai-cu130-amd64", "openai-cu130-arm64", "openai-cu129-amd64"} <= ids
    drift = report(tmp_path)["disagreements"]
    others = {
        "0.19.1": [  # the Orin list on x86 machines, and a script whose list ends before Blackwell
            (".buildkite/release-pipeline.yaml", 158), (".buildkite/release-pipeline.yaml", 180),
            (".github/workflows/scripts/build.sh", 17),
        ],
        "0.20.0": [(".buildkite/image_build/image_build_torch_nightly.sh", 62)],  # lacks 11.0: tests/facts
    }  # fmt: skip
    # 0.19.1 gives openai-ubuntu2404 FLASHINFER_AOT_COMPILE, which no Dockerfile of the tree declares any more
    lost = [("docker/docker-bake.hcl", 103)] if version == "0.19.1" else []
    expected = [*others[version], ("docker/docker-bake.hcl", 23), *lost]
    assert [(one["file"], one["line"]) for one in drift] == expected
