"""Small wheels that never were: real in shape, tiny in size."""

from __future__ import annotations

import hashlib
import zipfile
from typing import TYPE_CHECKING

from orchestrator.wheels.lock import House, Lock, Wheel
from orchestrator.wheels.target import Target

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.headers.store import Store

AMD64 = Target(platform="linux/amd64", python="3.12", glibc="2.28")
ARM64 = Target(platform="linux/arm64", python="3.12", glibc="2.28")


def wheel(folder: Path, name: str, *requires: str) -> Path:
    """A wheel of a few bytes; `name` is its file name."""
    folder.mkdir(parents=True, exist_ok=True)
    package, version = name.split("-")[:2]
    lines = [f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n"]
    lines += [f"Requires-Dist: {text}\n" for text in requires]
    path = folder / name
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(zipfile.ZipInfo(f"{package}-{version}.dist-info/METADATA"), "".join(lines))
    return path


def stored(path: Path, store: Store) -> Wheel:
    """A wheel that the store has."""
    data = path.read_bytes()
    sha256 = hashlib.sha256(data).hexdigest()
    assert store.add([data], sha256)
    return Wheel(name=path.name, sha256=sha256, size=len(data))


def locked(*wheels: Wheel, cuda: str = "13.0", target: Target = AMD64, asked: str = "a" * 64) -> Lock:
    """A lock of one wheelhouse."""
    ordered = tuple(sorted(wheels, key=lambda one: one.name))
    return Lock(houses=(House(cuda=cuda, target=target, asked=asked, wheels=ordered),))
