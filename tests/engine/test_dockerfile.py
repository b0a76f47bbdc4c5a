"""docker/Dockerfile on a real engine: its arguments, its two stages for the arch list, its builds with real nvcc's."""

from __future__ import annotations

import json
import re
import subprocess
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.engine import ROOT, Registry, call
from tests.support.toolchain import EFFECTIVE, FULL, Axpy, Pushed, axpy, device_code, promised

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

pytestmark = pytest.mark.download

SCRATCH = ("--set", "*.args.BUILD_BASE_IMAGE=scratch", "--set", "*.args.FINAL_BASE_IMAGE=scratch")
RELEASE = "7.5 8.0 8.6 8.9 9.0 10.0 11.0 12.0+PTX"


def outline(dockerfile: Path, target: str) -> dict[str, str]:
    """Argument -> value, as one stage of a Dockerfile consumes them, without pulling anything."""
    argv = ["docker", "buildx", "build", "--call", "outline,format=json", "--target", target, "-f", str(dockerfile)]
    bases = ("--build-arg", "BUILD_BASE_IMAGE=scratch", "--build-arg", "FINAL_BASE_IMAGE=scratch")
    found: Mapping[str, Any] = json.loads(call(*argv, *bases, dockerfile.parent).stdout)
    return {entry["name"]: entry.get("value", "") for entry in found["args"]}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Axpy:
    return axpy(tmp_path_factory.mktemp("project"), *FULL)


@pytest.mark.parametrize("target", ["openai", "openai-ubuntu2404", "test"])
def test_every_argument_of_the_bake_file_arrives(engine: str, target: str) -> None:
    # what is looked for is what resolves from the bake file, so that a name that is misspelt there cannot pass
    argv = ["docker", "buildx", "bake", "-f", str(ROOT / "docker/docker-bake.hcl")]
    done = subprocess.run([*argv, *SCRATCH, "--call", "outline,format=json", target],
                          cwd=ROOT, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL)  # fmt: skip
    found = json.loads(done.stdout)["target"][target]
    consumed = {entry["name"]: entry.get("value", "") for entry in found["outline"]["args"]}
    given = found["build"]["args"]
    # consulted in a default of FINAL_BASE_IMAGE alone, which is `scratch` here
    assert set(given) - set(consumed) <= {"UBUNTU_VERSION"}
    assert consumed["torch_cuda_arch_list"] == "8.0 8.9 9.0 10.0 11.0 12.0"
    assert given["CUDA_VERSION"] == consumed["CUDA_VERSION"] == "13.0.2"
    assert found["build"]["contexts"] == {"source": "https://github.com/vllm-project/vllm.git#v0.20.0"}


def test_the_arch_list_has_two_consumers_with_one_default(engine: str, tmp_path: Path) -> None:
    text = (ROOT / "docker/Dockerfile").read_text()
    stages = re.split(r"(?m)^(?=FROM )", text)
    lines = {stage.split(maxsplit=4)[3]: stage for stage in stages[1:]}
    assert [name for name, stage in lines.items() if re.search("(?m)^ARG torch_cuda_arch_list=", stage)] == [
        "base", "runtime-kv",
    ]  # fmt: skip
    for stage in ("base", "runtime-kv"):
        alone = tmp_path / stage
        other = "runtime-kv" if stage == "base" else "base"
        # the other one's ARG is taken away: the outline of the whole must still list it, from this stage
        changed = lines[other].replace("ARG torch_cuda_arch_list", "ARG other_list")
        alone.write_text(text.replace(lines[other], changed))
        assert outline(alone, "openai")["torch_cuda_arch_list"] == RELEASE
        assert outline(alone, "openai")["other_list"] == RELEASE


def test_buildkit_has_no_complaints(engine: str) -> None:
    argv = ["docker", "buildx", "bake", "-f", "docker/docker-bake.hcl", *SCRATCH, "--call", "check", "all", "test"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("no warnings found") == 3


def test_no_argument_of_a_compile_stage_changes_with_every_commit(engine: str) -> None:
    names = set(outline(ROOT / "docker/Dockerfile", "csrc-build"))
    assert not [name for name in names if re.search(r"COMMIT|SHA$|REVISION|TAG|PRETEND|BUILD_(?:ID|URL|NUMBER)", name)]
    assert "SETUPTOOLS_SCM_PRETEND_VERSION" in outline(ROOT / "docker/Dockerfile", "build")


@pytest.mark.parametrize("release", list(FULL))
def test_axpy_is_built_and_holds_what_its_list_says(
    project: Axpy, release: str, registry: Registry, tmp_image: str, tmp_path: Path
) -> None:
    done = project.bake(release, "--set", f"axpy.tags={tmp_image}:{release}", "--push")
    assert f"release {release}," in done.stderr or "[csrc-build-none 1/1] RUN" in done.stderr
    image = Pushed.read(registry, tmp_image.partition("/")[2], release)
    assert image.environment["TORCH_CUDA_ARCH_LIST"] == EFFECTIVE[release]  # from runtime-kv
    assert device_code(image.library(), tmp_path) == promised(EFFECTIVE[release])  # from base
    assert [name for name, _ in image.files(r".*/axpy/libcudart\.so\.\d+")]


def test_a_new_version_compiles_no_kernel(project: Axpy, registry: Registry, tmp_image: str) -> None:
    project.bake("13.0")
    version = f"1.0.{uuid.uuid4().int % 10**6}"
    done = project.bake(
        "13.0", "--set", f"axpy.args.SETUPTOOLS_SCM_PRETEND_VERSION={version}",
        "--set", f"axpy.tags={tmp_image}:v", "--push",
    )  # fmt: skip
    (step,) = re.findall(r"(?m)^#(\d+) \[csrc-build-none 1/1\]", done.stderr)
    assert f"#{step} CACHED" in done.stderr
    image = Pushed.read(registry, tmp_image.partition("/")[2], "v")
    metadata = next(image.files(r".*/axpy-[^/]+\.dist-info/METADATA"))[1].decode()
    assert f"Version: {version}\n" in metadata


def test_another_file_of_the_source_compiles_no_kernel_and_a_kernel_does(tmp_path: Path, engine: str) -> None:
    project = axpy(tmp_path, "13.0")
    project.bake("13.0")
    (project.root / "README.md").write_text("other words\n")
    done = project.bake("13.0")
    (step,) = re.findall(r"(?m)^#(\d+) \[csrc-build-none 1/1\]", done.stderr)
    assert f"#{step} CACHED" in done.stderr
    kernel = project.root / "csrc/reduce.cu"
    kernel.write_text(kernel.read_text() + f"// {uuid.uuid4()}\n")
    done = project.bake("13.0")
    (step,) = re.findall(r"(?m)^#(\d+) \[csrc-build-none 1/1\]", done.stderr)
    assert f"#{step} CACHED" not in done.stderr


def test_each_release_has_a_ccache_of_its_own_and_it_hits(tmp_path: Path, mount_name: str) -> None:
    project = axpy(tmp_path, *FULL)
    settings = project.root / "pyproject.toml"
    # BuildKit puts this argument in front of every id: what this test made, and nothing else
    options = (
        "axpy.target=csrc-build",
        "axpy.output=type=cacheonly",
        f"axpy.args.BUILDKIT_CACHE_MOUNT_NS={mount_name}",
    )
    words = [word for option in options for word in ("--set", option)]
    for release in FULL:
        # the layer's cache is left by an edit that no compiler sees; --no-cache would empty the cache mount as well
        said = ""
        for _ in range(2):
            settings.write_text(settings.read_text() + f"# {uuid.uuid4()}\n")
            said = project.bake(release, *words).stderr
        assert re.search(r"Hits: +2 / +2", said), said[-3000:]
    listed = call("docker", "buildx", "du", "--verbose", "--filter", "type=exec.cachemount").stdout
    ids = set(re.findall(rf'with id "/?{mount_name}/(ccache-[^"]+)"', listed))
    assert ids == {f"ccache-cuda{version}-linux/amd64" for version in FULL.values()}


def test_a_toolkit_of_another_release_is_refused(project: Axpy) -> None:
    done = project.bake("13.0", "--set", "axpy.args.CUDA_VERSION=12.4.1", check=False)
    assert done.returncode != 0
    assert "CUDA_VERSION is 12.4.1, and /run/cuda-toolkit/bin/nvcc is another" in done.stderr


@pytest.mark.parametrize(("argument", "stage"), [("BUILD_PACKAGES", "base"), ("RUNTIME_PACKAGES", "runtime")])
def test_a_package_that_is_not_there_fails_its_step(project: Axpy, argument: str, stage: str) -> None:
    # the shell ignores a failing command inside a function on the left of `&&`: this step once went on without it
    done = project.bake("13.0", "--set", f"axpy.args.{argument}=no-such-package-{uuid.uuid4().hex}", check=False)
    assert done.returncode != 0
    assert re.search(rf"(?m)^ > \[{stage} 1/", done.stderr), done.stderr[-2000:]


def test_the_mirror_takes_the_place_of_every_archive(project: Axpy) -> None:
    settings = ("axpy.args.APT_MIRROR=http://127.0.0.1:9/debian", "axpy.args.BUILD_PACKAGES=libnuma1")
    done = project.bake("13.0", *(word for setting in settings for word in ("--set", setting)), check=False)
    assert done.returncode != 0
    asked = re.findall(r"Err:\d+ (\S+)", done.stderr)
    assert asked
    assert all(url.startswith("http://127.0.0.1:9/debian") for url in asked), asked


def test_a_python_that_nobody_has_fails_its_step(project: Axpy) -> None:
    done = project.bake(
        "13.0",
        "--set",
        "axpy.args.PYTHON_VERSION=3.1",
        "--set",
        "axpy.args.PIP_INDEX_URL=http://127.0.0.1:9",
        check=False,
    )
    assert done.returncode != 0
    assert re.search(r"(?m)^ > \[(base|runtime) 1/", done.stderr), done.stderr[-2000:]


def test_without_a_toolkit_a_warm_cache_gives_no_image(tmp_path: Path, engine: str) -> None:
    project = axpy(tmp_path, "13.0")
    project.bake("13.0")
    argv = [
        "docker",
        "buildx",
        "bake",
        "-f",
        "docker-bake.hcl",
        "--allow",
        f"fs.read={tmp_path}",
        "--progress",
        "plain",
    ]
    settings = {"CUDA_VERSION": "13.0.2", "torch_cuda_arch_list": RELEASE, "max_jobs": "2", "nvcc_threads": "1"}
    words = [word for name, value in settings.items() for word in ("--set", f"axpy.args.{name}={value}")]
    done = subprocess.run([*argv, *words, "axpy"],
                          cwd=project.root, capture_output=True, text=True, stdin=subprocess.DEVNULL)  # fmt: skip
    assert done.returncode != 0
    assert "No nvcc: neither the named context cuda-toolkit nor BUILD_BASE_IMAGE holds one." in done.stderr


def test_versions_json_holds_the_resolved_defaults() -> None:
    """vLLM's rule: the first default of each ARG, variables filled in, what cannot be resolved left out."""
    resolved: dict[str, str] = {}
    for name, value in re.findall(r"(?m)^ARG (\w+)=(.+)$", (ROOT / "docker/Dockerfile").read_text()):
        text = re.sub(r"\$\{(\w+)\}", lambda found: resolved.get(found[1], found[0]), value.strip().strip("\"'"))
        if "$" not in text:
            resolved.setdefault(name, text)
    upper = {"torch_cuda_arch_list", "max_jobs", "nvcc_threads"}
    expected = {name.upper() if name in upper else name: {"default": text} for name, text in resolved.items()}
    assert json.loads((ROOT / "docker/versions.json").read_text())["variable"] == expected


@pytest.mark.parametrize(
    ("version", "archs"),
    [
        ("11.8.0", "7.5 8.0 8.9"),
        ("12.4.1", "7.5 8.0 8.9 9.0a"),
        ("12.7", "7.5 8.0 8.9 9.0a"),
        ("12.8.1", "7.5 8.0 8.9 9.0a 10.0a 10.3a 12.0"),
        ("12.9.1", "7.5 8.0 8.9 9.0a 10.0a 10.3a 12.0"),
        ("13.0.2", "7.5 8.0 8.9 9.0a 10.0f 11.0 12.0f"),
        ("13.4", "7.5 8.0 8.9 9.0a 10.0f 11.0 12.0f"),
    ],
)
def test_flashinfer_build_knows_each_release(version: str, archs: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VERSION", version)
    assert call(ROOT / "docker/flashinfer-build.sh", "--print-archs").stdout == f"{archs}\n"


@pytest.mark.parametrize("version", ["12.10", "10.2", "latest"])
def test_flashinfer_build_refuses_to_guess(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VERSION", version)
    monkeypatch.setenv("FLASHINFER_GIT_REF", "v0.6.8.post1")
    for option in (["--print-archs"], []):
        done = call(ROOT / "docker/flashinfer-build.sh", *option, check=False)
        assert done.returncode == 2
        assert f"CUDA_VERSION={version}: no list for this release" in done.stderr
