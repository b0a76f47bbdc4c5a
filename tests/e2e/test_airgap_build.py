"""examples/axpy with FlashInfer's headers, built and run where there is no network: an engine behind an air gap."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orchestrator.headers import bundle, pins, sources, work
from orchestrator.headers import lock as locks
from orchestrator.headers.store import Store
from tests.support import flashinfer
from tests.support.isolated_engine import Isolated, isolated_engine
from tests.support.toolchain import Axpy, axpy

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

pytestmark = pytest.mark.download

COMMAND = str(Path(sys.executable).parent / "orchestrate")
IMAGE = "airgap.test/axpy"
TAG = f"{IMAGE}:cu130-amd64"
ENUMS = "include/trtllmGen_bmm_export/Enums.h"


@pytest.fixture(scope="module")
def apart() -> Iterator[Isolated]:
    with isolated_engine() as found:
        yield found


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("headers"))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, store: Store) -> Axpy:
    """What was carried over the gap: the repository with its toolchain, and the bundle in the store."""
    found = axpy(tmp_path_factory.mktemp("project"), "13.0")
    mirror = sources.source_of(str(flashinfer.cubin_wheel("0.6.13")))
    lock, _ = work.make_lock(pins.read(flashinfer.wheel("0.6.13")), store, [mirror])
    bundle.write_lock(lock, found.root / "flashinfer.lock.json")
    matrix = found.root / "matrix.yaml"
    matrix.write_text(f"{matrix.read_text()}\nheaders:\n  version: 0.6.13\n")
    return found


def orchestrate(apart: Isolated, root: Path, store: Store, *words: str) -> subprocess.CompletedProcess[str]:
    return apart.run(COMMAND, *words, cwd=root, env={"ORCHESTRATE_HEADERS_STORE": str(store.root)})


def docker(apart: Isolated, root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return apart.run("docker", *words, cwd=root)


@pytest.fixture(scope="module")
def built(apart: Isolated, project: Axpy, store: Store) -> str:
    """The image, built once for the tests of this file."""
    done = orchestrate(
        apart,
        project.root,
        store,
        "build",
        "--allow",
        "fs.read=../../docker",
        "--cuda",
        "13.0",
        "--air-gapped",
        "--load",
        "--image",
        IMAGE,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return TAG


def test_the_engine_is_behind_the_gap(apart: Isolated, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM debian:bookworm\n")
    done = docker(apart, tmp_path, "buildx", "build", ".")
    assert done.returncode != 0
    assert "debian:bookworm" in done.stderr


def test_the_image_holds_the_headers_where_flashinfer_looks(
    apart: Isolated, built: str, project: Axpy, store: Store, tmp_path: Path
) -> None:
    done = orchestrate(apart, project.root, store, "headers", "verify", "--image", built)
    assert done.returncode == 0, done.stderr
    assert "34 headers of FlashInfer 0.6.13 verified in /opt/flashinfer/cubins" in done.stdout
    # FlashInfer itself, on the files of the image
    made = docker(apart, tmp_path, "create", built, "true")
    copied = docker(apart, tmp_path, "cp", f"{made.stdout.strip()}:/opt/flashinfer/cubins", str(tmp_path / "cubins"))
    assert copied.returncode == 0, copied.stderr
    found = flashinfer.run("0.6.13", tmp_path / "cubins", tmp_path)
    assert set(found["results"][0].values()) == {""}


def test_the_image_proves_itself_read_only_as_another_user_without_a_network(
    apart: Isolated, built: str, tmp_path: Path
) -> None:
    script = "cd $FLASHINFER_CUBIN_DIR && sha256sum --check SHA256SUMS && readlink flashinfer && id -u"
    done = docker(
        apart,
        tmp_path,
        "run",
        "--rm",
        "--network",
        "none",
        "--read-only",
        "--user",
        "1000:0",
        built,
        "sh",
        "-c",
        script,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(": OK") == 38
    assert done.stdout.splitlines()[-2:] == ["/tmp", "1000"]
    # what FlashInfer 0.6.13 writes at run time goes through that link
    script = (
        'mkdir -p "$FLASHINFER_CUBIN_DIR/flashinfer/trtllm" && ln -s x "$FLASHINFER_CUBIN_DIR/flashinfer/trtllm/gemm"'
    )
    words = ("run", "--rm", "--network", "none", "--read-only", "--tmpfs", "/tmp", "--user", "1000:0", built)
    assert docker(apart, tmp_path, *words, "sh", "-c", script).returncode == 0
    # no more than what is covered is claimed
    done = docker(
        apart, tmp_path, "run", "--rm", "--network", "none", built, "sh", "-c", "echo [$FLASHINFER_NO_DOWNLOAD]"
    )
    assert done.stdout.strip() == "[]"


def test_without_the_bundle_the_build_fails_with_our_message_and_a_warm_cache(
    apart: Isolated, built: str, project: Axpy, tmp_path: Path
) -> None:
    """By hand, as somebody would who forgot the context; every step before is in the cache of the build above."""
    lock = bundle.read_lock(project.root / "flashinfer.lock.json")
    planned = orchestrate(apart, project.root, Store(tmp_path), "plan", "--cuda", "13.0", "--format", "json")
    (variant,) = json.loads(planned.stdout)["variants"]
    by_hand = {
        "args": {**variant["args"], "FLASHINFER_BUNDLE_DIGEST": locks.bundle_digest(lock)},
        "contexts": {"cuda-toolkit": str(project.root / ".toolchain" / "13.0")},
        "network": "none",
    }
    (tmp_path / "by-hand.json").write_text(json.dumps({"target": {"axpy": by_hand}}))
    words = ["docker", "buildx", "bake", "-f", "docker-bake.hcl", "-f", str(tmp_path / "by-hand.json"), "axpy"]
    words += ["--progress", "plain", "--allow", "fs.read=../.."]
    done = apart.run(*words, cwd=project.root)
    assert done.returncode != 0
    assert "the named context flashinfer-headers is missing" in done.stderr
    assert "CACHED" in done.stderr

    other = tmp_path / "other"
    shutil.copytree(bundle_directory(project, tmp_path), other)
    header = next(other.glob(f"*/*/{ENUMS}"))
    header.write_bytes(header.read_bytes() + b"\n")
    done = apart.run(*words, "--set", f"axpy.contexts.flashinfer-headers={other}", "--allow", f"fs.read={other}",
                     cwd=project.root)  # fmt: skip
    assert done.returncode != 0
    assert "a file is missing or damaged" in done.stderr


def bundle_directory(project: Axpy, tmp_path: Path) -> Path:
    """The bundle as a directory, from a store of its own."""
    mirror = sources.source_of(str(flashinfer.cubin_wheel("0.6.13")))
    lock = bundle.read_lock(project.root / "flashinfer.lock.json")
    own = Store(tmp_path / "own-store")
    work.obtain_lock(lock, own, [mirror])
    bundle.materialise(lock, own, tmp_path / "bundle")
    return tmp_path / "bundle"


def test_orchestrate_names_what_is_missing_before_anything_is_built(
    apart: Isolated, project: Axpy, tmp_path: Path
) -> None:
    empty = Store(tmp_path / "empty")
    done = orchestrate(
        apart,
        project.root,
        empty,
        "build",
        "--allow",
        "fs.read=../../docker",
        "--cuda",
        "13.0",
        "--air-gapped",
        "--image",
        IMAGE,
    )
    assert done.returncode == 4, done.stderr
    assert "37 of 37 files of the FlashInfer bundle are not in the store" in done.stderr
    assert "orchestrate headers import" in done.stderr

    done = orchestrate(apart, project.root, empty, "headers", "status", "--cuda", "13.0")
    assert "orchestrate headers fetch" in done.stdout


def test_a_base_image_that_is_not_there_is_named_with_its_cure(
    apart: Isolated, project: Axpy, store: Store, tmp_path: Path
) -> None:
    root = tmp_path / "examples" / "axpy"
    shutil.copytree(project.root, root, symlinks=True)
    shutil.copytree(project.root.parent.parent / "docker", tmp_path / "docker")
    bake = root / "docker-bake.hcl"
    bake.write_text(
        bake.read_text().replace('FINAL_BASE_IMAGE = "debian-base"', 'FINAL_BASE_IMAGE = "debian:bookworm"')
    )
    done = orchestrate(
        apart,
        root,
        store,
        "build",
        "--allow",
        "fs.read=../../docker",
        "--cuda",
        "13.0",
        "--air-gapped",
        "--image",
        IMAGE,
    )
    assert done.returncode == 5, done.stdout + done.stderr
    assert "base image debian:bookworm" in done.stderr
    assert "docker pull debian:bookworm" in done.stderr
    assert "started" not in done.stderr


@pytest.mark.parametrize(("version", "code"), [("0.6.13", 0), ("0.6.17", 3)])
def test_a_lock_is_compared_with_the_flashinfer_of_an_image(
    apart: Isolated, project: Axpy, store: Store, tmp_path: Path, version: str, code: int
) -> None:
    shutil.copytree(flashinfer.unpack(version), tmp_path / "site")
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY site /opt/venv/lib/python3.12/site-packages/\n")
    image = f"{IMAGE}:flashinfer-{version}"
    done = docker(apart, tmp_path, "buildx", "build", "--tag", image, ".")
    assert done.returncode == 0, done.stderr
    done = orchestrate(apart, project.root, store, "headers", "lock", "--check", "--from-image", image)
    assert done.returncode == code, done.stderr
    assert (
        "fresh for FlashInfer 0.6.13" if code == 0 else "pin TRTLLM_GEN_BMM moved with FlashInfer 0.6.17"
    ) in done.stderr


def test_a_later_step_of_the_build_itself_is_caught_before_anything_is_tagged(
    apart: Isolated, built: str, project: Axpy, store: Store, tmp_path: Path
) -> None:
    """The proof inside the build holds for its own layer; the step after it removes a header, verification sees it."""
    root = tmp_path / "examples" / "axpy"
    shutil.copytree(project.root, root, symlinks=True)
    shutil.copytree(project.root.parent.parent / "docker", tmp_path / "docker")
    dockerfile = tmp_path / "docker" / "Dockerfile"
    added = f"FROM runtime-headers AS shipped\nRUN --network=none rm /opt/flashinfer/cubins/*/*/{ENUMS}\n"
    dockerfile.write_text(f"{dockerfile.read_text()}\n{added}")
    bake = root / "docker-bake.hcl"
    bake.write_text(bake.read_text().replace('"runtime-headers"', '"shipped"'))
    words = (
        "build",
        "--allow",
        "fs.read=../../docker",
        "--cuda",
        "13.0",
        "--air-gapped",
        "--output",
        "out",
        "--image",
        IMAGE,
        "--verify",
    )
    done = orchestrate(apart, root, store, *words)
    assert done.returncode == 4, done.stdout + done.stderr
    assert "the image does not hold its FlashInfer headers" in done.stdout + done.stderr


def test_a_later_layer_that_deletes_a_header_is_caught_after_the_build(
    apart: Isolated, built: str, project: Axpy, store: Store, tmp_path: Path
) -> None:
    (tmp_path / "Dockerfile").write_text(f"FROM {built}\nRUN --network=none rm /opt/flashinfer/cubins/*/*/{ENUMS}\n")
    broken = f"{IMAGE}:broken"
    done = docker(apart, tmp_path, "buildx", "build", "--tag", broken, ".")
    assert done.returncode == 0, done.stderr
    done = orchestrate(apart, project.root, store, "headers", "verify", "--image", broken)
    assert done.returncode == 4
    assert f"{ENUMS}: is missing: a later layer removed it" in done.stderr
    done = orchestrate(apart, project.root, store, "verify", broken)
    assert done.returncode == 4, "the same pass that proves the kernels proves the headers"
    assert f"{ENUMS}: is missing: a later layer removed it" in done.stderr
    done = orchestrate(apart, project.root, store, "verify", built)
    assert done.returncode == 0, done.stderr
    assert "34 headers are whole and readable in /opt/flashinfer/cubins" in done.stdout
    script = "cd $FLASHINFER_CUBIN_DIR && sha256sum --check --quiet SHA256SUMS"
    ran = docker(apart, tmp_path, "run", "--rm", "--network", "none", broken, "sh", "-c", script)
    assert ran.returncode != 0
    assert "Enums.h: FAILED" in ran.stdout
