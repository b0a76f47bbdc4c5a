"""A wheelhouse from the lock to an image: examples/axpy with real packages, built where there is no network."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.artifacts import downloads
from tests.support.isolated_engine import Isolated, isolated_engine
from tests.support.toolchain import Axpy, axpy

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.download

COMMAND = str(Path(sys.executable).parent / "orchestrate")
IMAGE = "airgap.test/wheels"
SECTION = """
wheels:
  python: 3.11
  requirements: [requirements.txt]
"""
ALLOW = ("--allow", "fs.read=../../docker")


@pytest.fixture(scope="module")
def apart() -> Iterator[Isolated]:
    with isolated_engine() as found:
        yield found


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Axpy:
    """The example with requirements of its own: one wheel with machine code, one that needs another."""
    found = axpy(tmp_path_factory.mktemp("project"), "13.0")
    (found.root / "requirements.txt").write_text("markupsafe\n-r more.txt\n")
    (found.root / "more.txt").write_text("anyio  # needs idna and typing-extensions\n")
    matrix = found.root / "matrix.yaml"
    matrix.write_text(f"{matrix.read_text()}{SECTION}")
    bake = found.root / "docker-bake.hcl"
    text = bake.read_text()
    for name in ("BUILD_REQUIREMENTS", "RUNTIME_REQUIREMENTS"):
        text, count = text.replace(f"{name}   ", f"{name} "), text.count(name)
        assert count == 1
        start = text.index(name)
        end = text.index("\n", start)
        text = f'{text[:start]}{name} = "requirements.txt"{text[end:]}'
    test = "import markupsafe._speedups, anyio, axpy; print(anyio.__name__, axpy.runtime_version())"
    start = text.index("SMOKE_TEST")
    bake.write_text(f'{text[:start]}SMOKE_TEST = "{test}"{text[text.index(chr(10), start) :]}')
    return found


@pytest.fixture(scope="module")
def store(project: Axpy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the wheels of the lock, which is written here, where there is a network."""
    store = tmp_path_factory.mktemp("wheels")
    downloads.made_available("wheels", COMMAND, "wheels", "lock", "--store", str(store), cwd=project.root)
    return store


def wheels(project: Axpy, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [COMMAND, "wheels", *words], cwd=project.root, capture_output=True, text=True, timeout=300,
        stdin=subprocess.DEVNULL, env={**os.environ, "NO_COLOR": "1"},
    )  # fmt: skip
    assert done.returncode == code, (words, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done


def build(apart: Isolated, project: Axpy, store: Path, *words: str) -> subprocess.CompletedProcess[str]:
    argv = [COMMAND, "build", *ALLOW, "--cuda", "13.0", "--air-gapped", "--load", "--image", IMAGE, *words]
    return apart.run(*argv, cwd=project.root, env={"ORCHESTRATE_WHEELS_STORE": str(store)})


def test_the_packages_are_installed_from_the_wheelhouse_alone(
    apart: Isolated, project: Axpy, store: Path, tmp_path: Path
) -> None:
    # over the gap: nothing but files
    wheels(project, "fetch", "--store", str(store), "--output", str(tmp_path / "carried"))
    shutil.rmtree(tmp_path / "far", ignore_errors=True)
    far = tmp_path / "far"
    done = apart.run(
        COMMAND, "wheels", "fetch", "--from", str(tmp_path / "carried"), "--store", str(far), "--cuda", "13.0",
        cwd=project.root,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    done = build(apart, project, far)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "pip install" not in done.stderr, "an installation from the wheelhouse is not a doubt"
    ran = apart.run(
        "docker", "run", "--rm", "--network", "none", f"{IMAGE}:cu130-amd64", "python3", "-c",
        "import anyio, markupsafe; print(markupsafe.escape('<'), markupsafe.__file__)", cwd=tmp_path,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert "&lt; /opt/venv/" in ran.stdout
    labels = apart.run("docker", "inspect", "--format", "{{json .Config.Labels}}", f"{IMAGE}:cu130-amd64", cwd=tmp_path)
    lock = json.loads((project.root / "wheels.lock.json").read_text())
    house = next(one for one in lock["wheelhouses"] if one["cuda"] == "13.0")
    assert json.loads(labels.stdout)["com.orchestrate.wheelhouse"] == house["wheelhouse"]


def test_a_forgotten_or_changed_wheelhouse_fails_with_a_warm_cache(
    apart: Isolated, project: Axpy, store: Path, tmp_path: Path
) -> None:
    """By hand, with the digest and without the right context; the build before has filled the cache."""
    assert build(apart, project, store).returncode == 0
    lock = json.loads((project.root / "wheels.lock.json").read_text())
    digest = next(one for one in lock["wheelhouses"] if one["cuda"] == "13.0")["wheelhouse"]
    by_hand = {
        "args": {"CUDA_VERSION": "13.0.2", "WHEELHOUSE_DIGEST": digest},
        "contexts": {"cuda-toolkit": str(project.root / ".toolchain" / "13.0")},
        "network": "none",
    }
    (tmp_path / "by-hand.json").write_text(json.dumps({"target": {"axpy": by_hand}}))
    argv = ["docker", "buildx", "bake", "-f", "docker-bake.hcl", "-f", str(tmp_path / "by-hand.json")]
    argv += ["--progress", "plain", "--allow", "fs.read=../..", "--allow", f"fs.read={tmp_path}"]
    done = apart.run(*argv, "axpy", cwd=project.root)
    assert done.returncode != 0
    assert "wheelhouse: the named context wheelhouse is missing or is not sha256:" in done.stderr

    wheels(project, "fetch", "--store", str(store), "--output", str(tmp_path / "out"), "--cuda", "13.0")
    (folder,) = (tmp_path / "out").iterdir()
    wheels(project, "verify", str(folder))
    victim = next(folder.glob("anyio-*.whl"))
    victim.write_bytes(victim.read_bytes() + b"\n")
    assert f"{victim}: has " in wheels(project, "verify", str(folder), code=4).stderr
    done = apart.run(*argv, "--set", f"axpy.contexts.wheelhouse={folder}", "axpy", cwd=project.root)
    assert done.returncode != 0
    assert "wheelhouse: the named context wheelhouse is missing or is not sha256:" in done.stderr


def test_what_is_missing_is_named_before_anything_is_built(
    apart: Isolated, project: Axpy, store: Path, tmp_path: Path
) -> None:
    done = build(apart, project, tmp_path / "empty")
    assert done.returncode == 4, done.stderr
    assert "wheels of the wheelhouse are not in the store" in done.stderr
    assert "orchestrate wheels fetch --from DIR" in done.stderr
    assert "started" not in done.stderr
    requirements = project.root / "more.txt"
    before = requirements.read_text()
    try:
        requirements.write_text(f"{before}six\n")
        done = build(apart, project, store)
        assert done.returncode == 3, done.stderr
        assert "was made from other requirements" in done.stderr
        assert "made from other requirements" in wheels(project, "lock", "--check", code=3).stderr
    finally:
        requirements.write_text(before)
    assert "2 wheelhouses" in wheels(project, "lock", "--check").stderr


def test_wheels_for_another_machine_follow_its_markers(project: Axpy, store: Path, tmp_path: Path) -> None:
    """pip judges markers by the machine that it runs on; a wheelhouse for arm64 has what arm64 needs."""
    root = tmp_path / "foreign"
    root.mkdir()
    (root / "matrix.yaml").write_text(
        'version: 1\nimage: e.test/a\nbake: {files: [b.hcl], targets: [a]}\narch_lists: {r: "9.0"}\n'
        'cuda: {"13.0": {version: 13.0.2}}\nplatforms: {linux/arm64: {}, linux/amd64: {}}\n'
        "variants: {arch_list: r, tags: ['{image}:{platform.arch}']}\n"
        "wheels:\n  python: 3.12\n  packages:\n"
        "    - markupsafe; platform_machine == 'aarch64'\n    - six; platform_machine == 'x86_64'\n"
        "    - idna; python_version < '3.12'\n"
    )
    elsewhere = Axpy(root=root)
    wheels(elsewhere, "lock", "--store", str(store))
    lock = json.loads((root / "wheels.lock.json").read_text())
    found = {house["platform"]: [wheel["name"] for wheel in house["wheels"]] for house in lock["wheelhouses"]}
    assert [name.split("-")[0] for name in found["linux/amd64"]] == ["six"]
    assert [name.split("-")[0] for name in found["linux/arm64"]] == ["markupsafe"]
    assert "aarch64" in found["linux/arm64"][0]
    assert "cp312" in found["linux/arm64"][0]
    text = (root / "wheels.lock.json").read_text()
    assert "://" not in text, "a lock names no index"
    wheels(elsewhere, "lock", "--store", str(store))
    assert (root / "wheels.lock.json").read_text() == text


def test_an_index_without_the_package_is_one_message(tmp_path: Path, project: Axpy) -> None:
    root = tmp_path / "broken"
    root.mkdir()
    text = (project.root / "matrix.yaml").read_text().replace(SECTION, "")
    (root / "matrix.yaml").write_text(f"{text}\nwheels: {{python: 3.12, packages: [no-such-thing-of-ours]}}\n")
    environment = {**os.environ, "PIP_INDEX_URL": "http://name:secret@127.0.0.1:9/simple", "PIP_RETRIES": "0",
                   "PIP_NO_INDEX": "", "PIP_CONFIG_FILE": os.devnull}  # fmt: skip
    done = subprocess.run(
        [COMMAND, "wheels", "lock", "--store", str(tmp_path / "s")],
        cwd=root, env=environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 6, done.stderr
    assert "pip could not download them" in done.stderr
    assert "no-such-thing-of-ours" in done.stderr
    assert "secret" not in done.stderr
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "s").glob(".pip*"))
