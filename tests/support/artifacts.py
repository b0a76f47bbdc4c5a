"""Real input that nobody here wrote: wheels and source distributions, downloaded once into a cache.

They come from the package index that this machine's pip is configured for. The cache lives outside the checkout, so a
fresh clone on the same machine downloads nothing again; nothing of it is ever committed.

A test that downloads has the marker `download`, which `made_available` insists on. Without a network such a test is
skipped and the end of the run lists what was missing; in CI (CI=true) it fails instead.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

NOT_DOWNLOADED = "not downloaded: "
"""How the reason of such a skip begins."""

# What pip, apt and mmdebstrap say where there is no network at all. A wrong name or digest is another fault, and fails.
_NO_NETWORK = re.compile(
    r"NewConnectionError|Temporary failure|name resolution|Network is unreachable|No route to host|Could not connect"
    r"|Cannot initiate the connection|Could not resolve|Connection timed out|ConnectTimeout|Unable to connect",
    re.IGNORECASE,
)


class Downloads:
    """The test that runs, and whether the network was missing once: each further try takes pip half a minute."""

    def __init__(self) -> None:
        self.item: pytest.Item | None = None
        self.missing_network = ""

    def require_marker(self, what: str) -> None:
        """Fail where the test that runs has no marker `download`, also on a machine that has the thing already."""
        if self.item is not None and self.item.get_closest_marker("download") is None:
            pytest.fail(f"{self.item.nodeid} downloads {what}: mark it with pytest.mark.download")

    def made_available(self, what: str, *argv: str | Path, timeout: float = 600, **options: Any) -> None:
        """Run a program that fetches something.

        Args:
            what: Its result, in words for the summary.
            argv: The program and its arguments.
            timeout: Seconds.
            options: For `subprocess.run`.
        """
        self.require_marker(what)
        said = self.missing_network
        if not said:
            done = subprocess.run(
                [str(word) for word in argv], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                stdin=subprocess.DEVNULL, timeout=timeout, **options,
            )  # fmt: skip
            if done.returncode == 0:
                return
            said = done.stdout[-4000:]
        if os.environ.get("CI") or not _NO_NETWORK.search(said):
            pytest.fail(f"{what} could not be made available: {said}")
        self.missing_network = said
        pytest.skip(f"{NOT_DOWNLOADED}{what}")


downloads = Downloads()
"""One for the process: tests/conftest.py tells it which test runs."""


def cache_dir() -> Path:
    """The directory that downloads live in: $ORCHESTRATE_TEST_CACHE, else ~/.cache/orchestrate-tests."""
    root = Path(os.environ.get("ORCHESTRATE_TEST_CACHE") or Path.home() / ".cache" / "orchestrate-tests")
    root.mkdir(parents=True, exist_ok=True)
    return root


_BACKEND = """\
import os, pathlib

def get_requires_for_build_wheel(config_settings=None):
    return []

def prepare_metadata_for_build_wheel(directory, config_settings=None):
    name, version = os.environ["SDIST_REQUIREMENT"].split("==")
    folder = pathlib.Path(directory) / f"{name.replace('-', '_')}-{version}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n")
    return folder.name
"""


def _empty_backend() -> Path:
    """A directory for PYTHONPATH whose setuptools and scikit-build-core answer with name and version alone."""
    root = cache_dir() / "empty-backends"
    for module in ("setuptools/build_meta.py", "scikit_build_core/build.py"):
        path = root / module
        path.parent.mkdir(parents=True, exist_ok=True)
        (path.parent / "__init__.py").touch()
        path.write_text(_BACKEND)
    return root


def sha256(path: Path) -> str:
    """The sha256 of a file, as bare hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def download(requirement: str, *, platform: str = "", python: str = "", sdist: bool = False, digest: str = "") -> Path:
    """One file of a package index, from the cache if it is there.

    Args:
        requirement: Exact, as in `xformers==0.0.35`.
        platform: A wheel's platform tag (`manylinux_2_28_aarch64`); "" takes this machine's.
        python: A wheel's Python version (`3.12`); "" takes this interpreter's.
        sdist: Take the source distribution instead of a wheel.
        digest: The file's sha256 as bare hex, "" where none is known.

    Returns:
        The path of the one file.
    """
    downloads.require_marker(requirement)
    name = requirement.replace("==", "-") + ("-sdist" if sdist else "") + (f"-{platform}" if platform else "")
    folder = cache_dir() / "downloads" / (name + (f"-py{python}" if python else ""))
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not (folder / ".complete").exists():
            argv = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder)]
            env = dict(os.environ)
            if sdist:
                # pip asks a source distribution's build backend for its name before it keeps the file, and vLLM's needs
                # torch for that answer: an empty backend in front of it gives it, and no foreign code runs.
                argv += ["--no-binary", ":all:", "--no-build-isolation"]
                env |= {"PYTHONPATH": str(_empty_backend()), "SDIST_REQUIREMENT": requirement}
            else:
                argv += ["--only-binary", ":all:"]
                argv += ["--platform", platform] if platform else []
                argv += ["--python-version", python] if python else []
            downloads.made_available(requirement, *argv, requirement, timeout=1800, env=env)
            (folder / ".complete").touch()
        (found,) = [path for path in folder.iterdir() if path.name != ".complete"]
        if digest and sha256(found) != digest:
            msg = f"{found.name}: sha256 {sha256(found)}, expected {digest}"
            raise AssertionError(msg)
        return found


def debian_program(name: str) -> Path:
    """A program of a package of Debian's newer suite that has the same name and needs nothing beside itself."""
    downloads.require_marker(name)
    folder = cache_dir() / name
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "usr/bin" / name
    with FileLock(f"{folder}.lock"), tempfile.TemporaryDirectory(dir=folder) as got:
        if not program.exists():
            downloads.made_available(name, "apt-get", "download", f"{name}/forky", cwd=got)
            (package,) = Path(got).glob(f"{name}_*.deb")
            subprocess.run(["dpkg", "-x", package, folder], check=True, timeout=600, capture_output=True)
    return program


def unpacked(wheel: Path, *folders: str) -> Path:
    """A wheel's files in a directory of the cache, with their permissions, unpacked once.

    Args:
        wheel: What `download` gave.
        folders: Beginnings of the names to unpack (`cmake/data/`); none means everything. One wheel is always asked for
            the same ones.
    """
    target = cache_dir() / "unpacked" / wheel.stem
    target.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{target}.lock"):
        if not (target / ".complete").exists():
            with zipfile.ZipFile(wheel) as archive:
                for member in archive.infolist():
                    if member.is_dir() or not member.filename.startswith(folders or ("",)):
                        continue
                    path = Path(archive.extract(member, target))
                    path.chmod((member.external_attr >> 16) & 0o777 or 0o644)  # zipfile drops the executable bit
            (target / ".complete").touch()
    return target


def extract_all(archive: tarfile.TarFile, folder: Path) -> None:
    """Unpack a source distribution with Python's data filter where there is one: Debian 12's 3.11.2 has none yet."""
    options: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
    archive.extractall(folder, **options)


def cmake() -> Path:
    """CMake, from its wheel: a new machine has none."""
    return unpacked(download("cmake==4.4.4"), "cmake/data/bin/cmake", "cmake/data/share/") / "cmake/data/bin/cmake"
