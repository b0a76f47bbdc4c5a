"""Our reader beside cuobjdump, entry for entry, on every shared object of nine real wheels; and its counts beside
those that were taken before it was written."""

from __future__ import annotations

import mmap
import tarfile
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from orchestrator.image.code.fatbin import EXECUTABLE, RELOCATABLE
from orchestrator.image.code.forward import Forward
from orchestrator.image.code.library import FileCode
from orchestrator.image.code.reader import read_file
from orchestrator.image.code.stream import scan
from orchestrator.image.layers.merge import merge
from orchestrator.image.layers.scan import scan_layer
from orchestrator.image.sources.local import open_wheel
from orchestrator.image.verdict.kernels import how_served
from tests.support.artifacts import download
from tests.support.engine import call
from tests.support.toolchain import cuobjdump
from tests.support.wheels import WHEELS, Wheel, containers_of, counts, nvidias_answer, our_answer, wheel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.download

# cuobjdump 13.5.37 stops with "Invalid ELF" on this one file, a sibling of six that it reads.
UNREADABLE = {"libbitsandbytes_cuda121.so"}


@pytest.mark.parametrize("one", WHEELS, ids=str)
def test_every_entry_as_cuobjdump_lists_it(one: Wheel) -> None:
    looked_at = 0
    for path in one.libraries:
        data = path.read_bytes()
        if b".nv_fatbin" not in data or path.name in UNREADABLE:
            continue
        ours, theirs = our_answer(data), nvidias_answer(path)
        assert (ours.entries if ours else None) == (theirs.entries if theirs else None), path.name
        looked_at += ours is not None
    assert looked_at


@pytest.mark.parametrize("one", WHEELS, ids=str)
def test_counts_of_images_and_containers(one: Wheel) -> None:
    images: dict[str, Counter[str]] = {EXECUTABLE: Counter(), RELOCATABLE: Counter()}
    containers: Counter[str] = Counter()
    for path in one.libraries:
        for container in containers_of(path.read_bytes()):
            containers[container.section] += 1
            images[container.section].update(image.tag for image in container.images)
    assert images[EXECUTABLE] == counts(one.executable)
    assert images[RELOCATABLE] == counts(one.relocatable)
    assert (containers[EXECUTABLE], containers[RELOCATABLE]) == one.containers


@pytest.mark.parametrize("one", WHEELS, ids=str)
def test_a_stream_gives_the_same_answer(one: Wheel) -> None:
    for path in one.libraries:
        if path.stat().st_size > 100_000_000 and path.name != "_C.abi3.so":
            continue  # hundreds of MB of the same shape; the largest stays
        with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as pages:
            expected = read_file(pages)
        for step in (1 << 20, 4099):
            found = scan(Forward(chunks(path, step)), path.stat().st_size)
            assert found == expected, (path.name, step)


@pytest.mark.parametrize("name", ["bitsandbytes", "cupy-cuda13x", "xgboost"])
def test_a_wheel_in_a_layer_gives_what_the_wheel_itself_gives(name: str, tmp_path: Path) -> None:
    (one,) = [one for one in WHEELS if one.requirement.startswith(f"{name}==")]
    packed = download(one.requirement, platform=one.platform, python=one.python)
    alone = open_wheel(packed).files
    assert alone is not None
    layer = tmp_path / "layer.tar"
    with tarfile.open(layer, "w") as archive:
        archive.add(packed, f"opt/{packed.name}")
    with layer.open("rb") as stream:
        found = dict(merge([scan_layer(stream, layer.stat().st_size)]).code)
    outer = f"opt/{packed.name}"
    assert found.pop(outer).unread == ""
    expected = {f"{outer}/{path}": replace(code, archive=outer) for path, code in merge([alone]).code.items()}
    assert found == expected
    assert any(code.containers for code in found.values())


def chunks(path: Path, step: int) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while chunk := stream.read(step):
            yield chunk


def test_cuobjdump_still_hides_the_family_suffix() -> None:
    """`--list-elf` prints sm_100f as sm_100: the day this fails, NVIDIA has mended it."""
    (path,) = [one for one in wheel("vllm==0.33.0", "x86_64").libraries if one.name == "_deepselect_C.abi3.so"]
    listed = call(cuobjdump(), "--list-elf", path).stdout
    assert listed.count(".sm_100.cubin") == 78
    assert ".sm_100f.cubin" not in listed
    ours = our_answer(path.read_bytes())
    assert ours is not None
    assert ours.tags == {"100f": 78}


# Library, non-empty containers, and how many of them serve each device (machine code + PTX alone).
CCS = "7.0 7.5 8.0 8.6 8.7 8.9 9.0 10.0 10.3 10.7 11.0 12.0 12.1"
SERVED = [
    ("vllm==0.33.0", "x86_64", "_C_stable_libtorch.abi3.so", 107,
     "0 55 64 64 0+19 69 66+12 64+20 64+20 64+20 0+20 76+6 76+6"),
    ("vllm==0.33.0", "x86_64", "_moe_C_stable_libtorch.abi3.so", 35,
     "0 16 23 23 0+15 28 8+15 8+15 8+15 8+15 0+15 27+1 27+1"),
    ("vllm==0.33.0", "aarch64", "_C_stable_libtorch.abi3.so", 100,
     "0 0 64 64 44+19 69 66+12 64+20 64+20 64+20 61+20 76+6 76+6"),
    ("vllm==0.33.0", "aarch64", "_moe_C_stable_libtorch.abi3.so", 28,
     "0 0 23 23 8+15 28 8+15 8+15 8+15 8+15 8+15 27+1 27+1"),
    ("vllm==0.19.0", "x86_64", "_C.abi3.so", 94, "22 34 44 44 0+19 49 49+12 40+20 22+20 22+20 0+20 41+20 27+20"),
    ("vllm==0.19.0", "x86_64", "_moe_C.abi3.so", 36, "7 15 22 22 0+15 27 9+15 9+15 7+15 7+15 0+15 12+15 12+15"),
    ("vllm==0.19.0", "aarch64", "_C.abi3.so", 87, "0 0 19 19 25+19 49 49+12 40+20 22+20 22+20 0+20 41+20 27+20"),
    ("vllm==0.19.0", "aarch64", "_moe_C.abi3.so", 29, "0 0 15 15 7+15 27 9+15 9+15 7+15 7+15 0+15 12+15 12+15"),
    ("vllm==0.33.0", "x86_64", "_vllm_fa2_C.abi3.so", 76,
     "0 0 76 76 0+76 76 0+76 0+76 0+76 0+76 0+76 0+76 0+76"),
    ("vllm==0.33.0", "x86_64", "_vllm_fa3_C.abi3.so", 192, "0 0 0 0 0 0 192 0 0 0 0 0 0"),
    ("vllm==0.33.0", "x86_64", "_flashmla_C.abi3.so", 53, "0 0 0 0 0 0 53 53 53 53 0 0 0"),
    ("vllm==0.33.0", "x86_64", "_qutlass_C.abi3.so", 5, "0 0 0 0 0 0 0 5 5 5 0 0 0"),
    ("nvidia-nccl-cu13==2.32.3", "x86_64", "libnccl.so.2", 76, "0 56 56 56 0 56 56 76 76 76 56 56 56"),
    ("xformers==0.0.35", "x86_64", "_C.so", 8, "0 8 8 8 0+8 8 8 0+8 0+8 0+8 0+8 0+8 0+8"),
    ("xgboost==3.4.1", "x86_64", "libxgboost.so", 63, "0 63 63 63 0 63 63 63 63 63 0 63 63"),
    ("cupy-cuda13x==14.2.0", "x86_64", "thrust.cpython-312-x86_64-linux-gnu.so", 1, "0 1 1 1 0 1 1 1 1 1 0 1 1"),
]  # fmt: skip


@pytest.mark.parametrize(("requirement", "machine", "name", "full", "expected"), SERVED)
def test_how_many_translation_units_serve_each_device(
    requirement: str, machine: str, name: str, full: int, expected: str
) -> None:
    (path,) = [one for one in wheel(requirement, machine).libraries if one.name == name]
    code = read_file(path.read_bytes())
    assert isinstance(code, FileCode)
    assert code.containers == full
    found = []
    for cc in CCS.split():
        how = how_served(code, cc)
        direct = sum(count for one, count in how.items() if one.direct)
        jit = sum(count for one, count in how.items() if one.value == "ptx")
        found.append(f"{direct}+{jit}" if jit else str(direct))
    assert " ".join(found) == expected


def test_sets_of_architectures_of_the_bug() -> None:
    """vLLM #39233: no translation unit of the aarch64 wheel holds 110; in the mended one 61 of 100 do."""
    (path,) = [one for one in wheel("vllm==0.19.0", "aarch64").libraries if one.name == "_C.abi3.so"]
    code = read_file(path.read_bytes())
    assert code is not None
    assert code.containers + code.empty == 98
    assert not any(tag.startswith("110") for profile in code.profiles for tag in profile)
    (path,) = [one for one in wheel("vllm==0.33.0", "aarch64").libraries if one.name == "_C_stable_libtorch.abi3.so"]
    mended = read_file(path.read_bytes())
    assert mended is not None
    assert mended.profiles[("100", "110", "120", "80", "87", "89", "90")] == 33
    assert sum(count for tags, count in mended.profiles.items() if {"110", "110f"} & set(tags)) == 61
