"""The real wheels that the kernel readers are proven on, and NVIDIA's own answer about them."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orchestrator.image.code.elf import Window, read_sections
from orchestrator.image.code.fatbin import EXECUTABLE, RELOCATABLE, Container, read_containers
from tests.support.artifacts import download, unpacked
from tests.support.engine import call
from tests.support.toolchain import cuobjdump

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Wheel:
    """One wheel, and what was counted in it by hand and with cuobjdump.

    Attributes:
        requirement: Exact.
        platform, python, digest: As `artifacts.download` takes them.
        executable: Tag -> images of `.nv_fatbin`.
        relocatable: Tag -> images of `__nv_relfatbin`.
        containers: Of both sections.
    """

    requirement: str
    platform: str
    executable: str
    containers: tuple[int, int]
    relocatable: str = ""
    python: str = ""
    digest: str = ""

    @property
    def file(self) -> Path:
        """The wheel, downloaded."""
        return download(self.requirement, platform=self.platform, python=self.python, digest=self.digest)

    @property
    def libraries(self) -> list[Path]:
        """Its shared objects, unpacked."""
        return sorted(path for path in unpacked(self.file).rglob("*.so*") if path.is_file() and not path.is_symlink())

    def __str__(self) -> str:
        return f"{self.requirement.replace('==', '-')}-{self.platform.removeprefix('manylinux_')}"


WHEELS = (
    Wheel(
        requirement="xformers==0.0.35", platform="manylinux_2_28_x86_64",
        digest="ccc73c7db9890224ab05f5fb60e2034f9e6c8672a10be0cf00e95cbbae3eda7c",
        executable="75:11 80:11 90a:11 p80:11", containers=(11, 0),
    ),
    Wheel(
        requirement="bitsandbytes==0.50.2", platform="manylinux_2_24_x86_64",
        digest="55348a9a4a21bfd99cf8c7b32fe67b4030ae5c2a05738e03c1747f65fa6ec283",
        executable="60:4 70:5 75:7 80:7 86:7 89:7 90:7 100:3 120:3", containers=(7, 42),
        relocatable="60:24 70:30 75:42 80:42 86:42 89:42 90:42 100:18 120:18 p90:24 p120:18",
    ),
    Wheel(
        requirement="cupy-cuda13x==14.2.0", platform="manylinux2014_x86_64", python="3.12",
        executable="75:3 80:3 86:3 89:3 90:3 100f:3 120f:3 p120:3", containers=(3, 0),
    ),
    Wheel(
        requirement="xgboost==3.4.1", platform="manylinux_2_28_x86_64", python="3.12",
        executable="75:65 80:65 90:65 100:65 120:65 p120:65", containers=(65, 0),
    ),
    Wheel(
        requirement="nvidia-nccl-cu13==2.32.3", platform="manylinux_2_27_x86_64",
        executable="75:56 80:56 90:56 100:56 107:56 110:56 120:56 100f:20 p120:54", containers=(76, 129),
        relocatable="75:129 80:129 90:129 100:129 107:129 110:129 120:129 p120:129",
    ),
    Wheel(
        requirement="vllm==0.33.0", platform="manylinux_2_28_x86_64", containers=(561, 0),
        executable="75:78 80:170 86:59 89:70 90:66 90a:275 100:57 100f:164 120:58 120f:55 p80:110 p89:1 p90:8",
    ),
    Wheel(
        requirement="vllm==0.33.0", platform="manylinux_2_28_aarch64", containers=(547, 0),
        executable="80:170 86:1 87:59 89:70 90:66 90a:275 100:57 100f:164 110:57 110f:21 120:58 120f:55 "
        "p80:110 p89:1 p90:8",
    ),
    Wheel(
        requirement="vllm==0.19.0", platform="manylinux_2_31_x86_64", containers=(414, 0),
        executable="52:1 70:38 75:58 80:127 89:51 90:46 90a:240 100:38 100a:23 100f:24 120:48 120a:16 "
        "p52:1 p80:86 p89:1 p90:8",
    ),
    Wheel(
        requirement="vllm==0.19.0", platform="manylinux_2_31_aarch64", containers=(400, 0),
        executable="52:1 80:86 87:41 89:51 90:46 90a:240 100:38 100a:23 100f:24 120:48 120a:16 "
        "p52:1 p80:86 p89:1 p90:8",
    ),
)  # fmt: skip
"""Nine real wheels; the counts are those of facts that were collected with cuobjdump before this reader was written."""


def wheel(requirement: str, machine: str) -> Wheel:
    """One of `WHEELS`."""
    (found,) = [one for one in WHEELS if one.requirement == requirement and one.platform.endswith(machine)]
    return found


def counts(text: str) -> Counter[str]:
    """`75:11 p80:2` as a counter."""
    return Counter({tag: int(number) for tag, _, number in (item.partition(":") for item in text.split())})


@dataclass(kw_only=True, slots=True)
class Listing:
    """Entries of one file: (kind, architecture, version, whether packed) -> how many."""

    entries: Counter[tuple[str, str, str, bool]] = field(default_factory=Counter)

    @property
    def tags(self) -> Counter[str]:
        """As `DeviceImage.tag` writes them."""
        prefix: Mapping[str, str] = {"elf": "", "ptx": "p", "lto": "lto"}
        found: Counter[str] = Counter()
        for (kind, arch, _, _), number in self.entries.items():
            found[prefix[kind] + arch] += number
        return found


# `Fatbin elf code:` with a line `arch = sm_90a`; an LTO entry calls itself by its own kind of architecture, `lto_90`.
_ENTRY = re.compile(
    r"Fatbin (?P<kind>[\w ]+?) code:\n=+\narch = (?P<arch>\w+)\n"
    r"(?:code version = \[(?P<version>[\d,]+)\]\n)?(?P<rest>(?:.+\n)*)"
)


def nvidias_answer(path: Path) -> Listing | None:
    """What `cuobjdump -all` says of a file; None where it says that there is no device code."""
    done = call(cuobjdump(), "-all", path, check=False, timeout=300)
    if done.returncode == 255 and "does not contain device code" in done.stderr + done.stdout:
        return None
    assert done.returncode == 0, f"{path}: {done.stdout[-300:]}{done.stderr[-300:]}"
    found = Listing()
    for entry in _ENTRY.finditer(done.stdout):
        arch = entry["arch"].rpartition("_")[2]
        kind = entry["kind"]
        if kind not in ("elf", "ptx"):
            kind = "lto"
        packed = "\ncompressed" in "\n" + entry["rest"]
        found.entries[(kind, arch, entry["version"] or "", packed)] += 1
    assert sum(found.entries.values()) == done.stdout.count("Fatbin "), "an entry was not understood"
    return found


def containers_of(data: bytes) -> list[Container]:
    """Every container of an ELF file."""
    source = Window(data)
    return list(read_containers(source, read_sections(source)))


def our_answer(*files: bytes) -> Listing | None:
    """The same of our reader, for one file or for the objects of an archive."""
    found = Listing()
    names = {"sass": "elf", "ptx": "ptx", "lto": "lto"}
    for data in files:
        for container in containers_of(data):
            assert container.section in (EXECUTABLE, RELOCATABLE)
            for image in container.images:
                version = f"{image.isa[0]},{image.isa[1]}"
                found.entries[
                    (names[image.kind.value], f"{image.sm}{image.suffix}", version, bool(image.compression))
                ] += 1
    return found if found.entries else None
