"""A tiny base image without any registry: a shell and a few programs of this machine with the libraries they need.

    FROM scratch
    ADD rootfs.tar /

The archive's bytes depend on the programs alone, so that builds share it in the cache.
"""

from __future__ import annotations

import io
import re
import shutil
import tarfile
from pathlib import Path

from tests.support.engine import call

PROGRAMS = ("sh", "sleep", "yes", "head", "cat", "ls", "mkdir", "dd")


def write_rootfs(folder: Path) -> Path:
    """Write `rootfs.tar` into a folder (made if missing) and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / "rootfs.tar"
    files: dict[str, Path] = {}
    for name in PROGRAMS:
        program = shutil.which(name)
        assert program, f"no {name} on this machine"
        files[f"bin/{name}"] = Path(program).resolve()
        for library in re.findall(r"(/\S+) \(0x", call("ldd", program).stdout):
            files[library.lstrip("/")] = Path(library).resolve()
    with tarfile.open(target, "w") as archive:
        for folder_name in ("bin", "tmp", "etc"):
            entry = tarfile.TarInfo(folder_name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(entry)
        for name, source in sorted(files.items()):
            data = source.read_bytes()
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o755
            archive.addfile(entry, io.BytesIO(data))
    return target
