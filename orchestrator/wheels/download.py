"""pip, asked for the wheels of a target: what it resolves, and exactly the files of a lock.

Where pip looks is its own configuration (`PIP_INDEX_URL`, pip.conf, netrc); further indexes of the matrix reach it in
its environment, where no process list shows them.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from msgspec import Struct

from orchestrator import process
from orchestrator.errors import NetworkError, OrchestrateError, UsageError
from orchestrator.headers.work import pip_command
from orchestrator.redact import redact

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from orchestrator.wheels.asked import Asked
    from orchestrator.wheels.lock import Wheel
    from orchestrator.wheels.target import Target

_SECONDS = 3600
_SHOWN = 3
_TARGET = "ORCHESTRATE_WHEELS_TARGET"

# pip chooses wheels for another platform (--platform), but judges markers like `platform_machine == "aarch64"` by the
# machine that it runs on (pypa/pip#11664). Its own function that names that machine is replaced; where a future pip has
# none of this name, closure.py sees what is missing.
_WITH_MARKERS = f"""\
import json, os, sys
target = json.loads(os.environ.pop({_TARGET!r}))
try:
    import pip._vendor.packaging.markers as markers
    own = markers.default_environment
    markers.default_environment = lambda: {{**own(), **target}}
except (ImportError, AttributeError):
    pass
from pip._internal.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


class Places(Struct, frozen=True, kw_only=True):
    """Where pip looks beside its own configuration.

    Attributes:
        find_links: Directories with wheels.
        extra_index_urls: Further indexes.
    """

    find_links: tuple[Path, ...] = ()
    extra_index_urls: tuple[str, ...] = ()


def resolve(
    target: Target, asked: Asked, folder: Path, *, more: Iterable[str] = (), places: Places | None = None
) -> None:
    """Download the wheels that requirements resolve to, with everything that they need.

    Args:
        target: Where they are installed.
        asked: The requirements.
        folder: Gets the wheels.
        more: Requirements beside those.
        places: Where pip looks.

    Raises:
        UsageError: The requirements contradict each other.
        NetworkError: A wheel was not found, or an index did not answer.
        EnvironmentLacksError: There is no pip.
    """
    words = [word for file in asked.files for word in ("--requirement", str(file))]
    _pip(target, [*words, *asked.packages, *more], folder, places or Places())


def exactly(target: Target, wheels: Sequence[Wheel], folder: Path, *, places: Places | None = None) -> None:
    """Download the wheels of a lock, each compared with its sha256 by pip.

    Raises:
        NetworkError: One was not found, or is another file.
        EnvironmentLacksError: There is no pip.
    """
    from orchestrator.wheels.lock import identity

    folder.mkdir(parents=True, exist_ok=True)
    pins = folder / "requirements.txt"
    lines = [f"{package}=={version} --hash=sha256:{wheel.sha256}\n"
             for wheel in wheels for package, version in [identity(wheel.name)]]  # fmt: skip
    pins.write_text("".join(lines), encoding="utf-8")
    _pip(target, ["--no-deps", "--require-hashes", "--requirement", str(pins)], folder, places or Places())


def _pip(target: Target, words: Sequence[str], folder: Path, places: Places) -> None:
    argv = pip_command()
    if argv == [*process.python(), "-m", "pip"]:
        argv = [*process.python(), "-c", _WITH_MARKERS]
    argv += ["download", "--quiet", "--disable-pip-version-check", "--no-input", "--only-binary", ":all:"]
    argv += ["--dest", str(folder), "--python-version", target.python, "--implementation", "cp", "--abi", target.abi]
    argv += [word for platform in target.platforms for word in ("--platform", platform)]
    argv += [word for link in places.find_links for word in ("--find-links", str(link))]
    environment = {_TARGET: json.dumps(target.environment())}
    if places.extra_index_urls:
        known = os.environ.get("PIP_EXTRA_INDEX_URL", "")
        environment["PIP_EXTRA_INDEX_URL"] = " ".join(filter(None, (known, *places.extra_index_urls)))
    done = process.run([*argv, *words], timeout=_SECONDS, env=environment)
    if not done.ok:
        raise _failure(target, done.stderr)


def _failure(target: Target, said: str) -> OrchestrateError:
    errors = [redact(line.removeprefix("ERROR: ").strip()) for line in said.splitlines() if line.startswith("ERROR: ")]
    shown = "; ".join(errors[-_SHOWN:]) or redact((said.strip().splitlines() or ["no output"])[-1])
    if "ResolutionImpossible" in said:
        return UsageError(f"wheels for {target}: the requirements contradict each other: {shown}")
    if "DO NOT MATCH THE HASHES" in said or "HASH" in shown.upper():
        hint = "the index has other files than were locked: orchestrate wheels lock, and compare what changed"
        return NetworkError(f"wheels for {target}: pip found other files than the lock names: {shown}", hint=hint)
    return NetworkError(
        f"wheels for {target}: pip could not download them: {shown}",
        hint="a package without a wheel for this target: build one (pip wheel) and name its directory in "
        "wheels.find_links; one for a newer C library: raise wheels.glibc",
    )
