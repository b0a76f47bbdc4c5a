"""The package: a wheel and a source distribution, built here, installed into an environment that knows nothing else."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from tests.support.artifacts import downloads

pytestmark = pytest.mark.download

ROOT = Path(__file__).parents[2]
# setuptools changes sys.argv
BUILD = "import setuptools.build_meta as b, sys; dist = sys.argv[1]; b.build_wheel(dist); b.build_sdist(dist)"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Wheel and source distribution, of what git tracks or would."""
    tree, dist = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("dist")
    argv = ["git", "ls-files", "-z", "-co", "--exclude-standard"]
    names = subprocess.run(argv, cwd=ROOT, check=True, capture_output=True).stdout.decode().split("\0")
    for name in names:
        if name and (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).write_bytes((ROOT / name).read_bytes())
    subprocess.run([sys.executable, "-c", BUILD, str(dist)], cwd=tree, check=True, capture_output=True)
    (wheel,), (source,) = dist.glob("*.whl"), dist.glob("*.tar.gz")
    return wheel, source


@pytest.fixture(scope="module")
def installed(built: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment with the wheel and what it depends on."""
    folder = tmp_path_factory.mktemp("clean")
    venv.create(folder, with_pip=True)
    pip = [str(folder / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    downloads.made_available("the wheel's dependencies", *pip, built[0])
    return folder / "bin"


def test_the_wheel_holds_the_package_and_its_data_alone(built: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(built[0]) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    tracked = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "orchestrator"], cwd=ROOT, check=True,
                             capture_output=True, text=True).stdout.split()  # fmt: skip
    assert names == {name for name in tracked if (ROOT / name).is_file()}


def test_the_source_distribution_builds_the_same_wheel(built: tuple[Path, Path], tmp_path: Path) -> None:
    with tarfile.open(built[1]) as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # Debian 12's Python 3.11.2 has none
        archive.extractall(tmp_path)
    (tree,) = tmp_path.iterdir()
    subprocess.run([sys.executable, "-c", BUILD, str(tmp_path)], cwd=tree, check=True, capture_output=True)
    (again,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(built[0]) as first, zipfile.ZipFile(again) as second:
        assert {one.filename: one.CRC for one in first.infolist()} == {
            one.filename: one.CRC for one in second.infolist()
        }


@pytest.mark.parametrize("argv", [["--version"], ["--help"], ["schema"], ["build", "--help"], ["verify", "--help"]])
def test_the_program_runs(installed: Path, argv: list[str], tmp_path: Path) -> None:
    env = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    for program in ([installed / "orchestrate"], [installed / "python", "-m", "orchestrator"]):
        done = subprocess.run([*program, *argv], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout


def test_it_plans_another_project(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "matrix.yaml").write_text(
        "version: 1\nimage: localhost:5000/app\nbake: {files: [b.hcl], targets: [app]}\n"
        "arch_lists: {release: 9.0 11.0}\n"
        'cuda: {"13.0": {version: 13.0.2}}\nplatforms: {linux/amd64: {}}\nvariants: {arch_list: release}\n'
    )
    (tmp_path / "b.hcl").write_text('target "app" {}\n')
    done = subprocess.run(
        [installed / "orchestrate", "plan"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "app-cu130-amd64" in done.stdout
