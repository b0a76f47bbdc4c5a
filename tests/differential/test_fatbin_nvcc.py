"""Our reader beside cuobjdump, and beside how it was compiled, on what real nvcc's write.

Every target of CUDA 13.0 and 12.4, five compression modes, relocatable code, archives, LTO IR, stripped files, and the
empty images of a device link.
"""

from __future__ import annotations

import subprocess
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from orchestrator.cuda.toolkit import toolkit_for
from orchestrator.image.code.fatbin import RELOCATABLE
from orchestrator.image.code.forward import Forward
from orchestrator.image.code.library import FileCode
from orchestrator.image.code.reader import read_file
from orchestrator.image.code.stream import scan
from tests.support.engine import call
from tests.support.toolchain import toolkit
from tests.support.wheels import containers_of, nvidias_answer, our_answer

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.download

KERNEL = "__global__ void k(float *p) { p[threadIdx.x] += 1; }\n"


@pytest.fixture(scope="module")
def nvcc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toolkit("13.0", tmp_path_factory.mktemp("cuda") / "13.0") / "bin" / "nvcc"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "k.cu"
    path.write_text(KERNEL)
    return path


def gencode(target: str, *, ptx: bool = False) -> str:
    return f"-gencode=arch=compute_{target},code={'compute' if ptx else 'sm'}_{target}"


def build(nvcc: Path, out: Path, *words: str | Path) -> Path:
    call(nvcc, "-Xcompiler", "-fPIC", "-t", "2", "-o", out, *words, timeout=300)
    return out


def compared(path: Path) -> Counter[str]:
    """Both answers about a file, which must be one; and the stream's about the file as a whole."""
    theirs = nvidias_answer(path)
    assert theirs is not None
    data = path.read_bytes()
    ours = our_answer(*(members(data) if data.startswith(b"!<arch>\n") else [data]))
    assert ours is not None
    assert ours.entries == theirs.entries
    steps = iter([data[at : at + 4099] for at in range(0, len(data), 4099)])
    assert scan(Forward(steps), len(data)) == read_file(data)
    return ours.tags


def members(archive: bytes) -> list[bytes]:
    found, at = [], 8
    while at < len(archive):
        size = int(archive[at + 48 : at + 58])
        found.append(archive[at + 60 : at + 60 + size])
        at += 60 + size + size % 2
    return [data for data in found if data.startswith(b"\x7fELF")]


def targets(release: str) -> list[str]:
    return sorted(f"{sm}{suffix}" for sm, suffix in toolkit_for(release).targets)


@pytest.mark.parametrize("release", ["13.0", "12.4"])
def test_every_target_of_a_toolkit(release: str, source: Path, tmp_path: Path) -> None:
    nvcc = toolkit(release, tmp_path / "cuda") / "bin" / "nvcc"
    found: Counter[str] = Counter()
    wanted = targets(release)
    # nvcc 13.0 refuses sm_100 and sm_100f in one call: "The same GPU code generated for non family-specific and …"
    for name, part in (
        ("f", [one for one in wanted if "f" in one]),
        ("rest", [one for one in wanted if "f" not in one]),
    ):
        flags = [gencode(target, ptx=ptx) for target in part for ptx in (False, True)]
        if flags:
            found += compared(build(nvcc, tmp_path / name, "-c", "-Wno-deprecated-gpu-targets", *flags, source))
    assert found == Counter(wanted) + Counter(f"p{target}" for target in wanted)


@pytest.mark.parametrize("mode", ["default", "size", "speed", "balance", "none"])
def test_compression_modes(mode: str, nvcc: Path, source: Path, tmp_path: Path) -> None:
    flags = [gencode("80"), gencode("100f"), gencode("120", ptx=True)]
    path = build(nvcc, tmp_path / "k.o", "-c", f"--compress-mode={mode}", *flags, source)
    assert compared(path) == Counter(["80", "100f", "p120"])
    packings = {image.tag: image.compression for one in containers_of(path.read_bytes()) for image in one.images}
    assert (
        packings
        == {
            "default": {"80": "", "100f": "", "p120": "zstd"},
            "balance": {"80": "", "100f": "", "p120": "zstd"},
            "size": {"80": "zstd", "100f": "zstd", "p120": "zstd"},
            "speed": {"80": "", "100f": "", "p120": "lz4"},
            "none": {"80": "", "100f": "", "p120": ""},
        }[mode]
    )


@pytest.mark.parametrize("mode", ["size", "speed"])
def test_every_way_of_packing_is_unpacked(mode: str, nvcc: Path, source: Path, tmp_path: Path) -> None:
    words = [f"--compress-mode={mode}", "-Xfatbin", "-compress-all", gencode("80"), gencode("90a")]
    path = build(nvcc, tmp_path / "k.o", "-c", *words, source)
    packings = {image.compression for one in containers_of(path.read_bytes()) for image in one.images}
    assert packings == {"zstd" if mode == "size" else "lz4"}
    code = read_file(path.read_bytes(), deep=True)
    assert code is not None
    assert not code.damage
    assert code.kernels == {"80": 1, "90a": 1}


@pytest.mark.parametrize("mode", ["size", "speed", "none"])
def test_a_device_link_leaves_labels_without_code(mode: str, nvcc: Path, source: Path, tmp_path: Path) -> None:
    """Linking with sm_110 in the flags puts that label into a library whose objects never had it."""
    thing = build(nvcc, tmp_path / "k.o", "-c", gencode("90"), source)
    pack = [] if mode == "none" else ["-Xfatbin", "-compress-all"]
    flags = [f"--compress-mode={mode}", *pack, gencode("90"), gencode("110")]
    path = build(nvcc, tmp_path / "k.so", "-shared", *flags, thing)
    assert compared(path) == Counter({"90": 2, "110": 1})
    code = read_file(path.read_bytes())
    assert code is not None
    assert code.profiles == {("90",): 1}
    assert code.empty == 1


def test_a_source_without_kernels_is_no_code(nvcc: Path, tmp_path: Path) -> None:
    (tmp_path / "e.cu").write_text("#include <cuda_runtime.h>\nint f() { return 0; }\n__device__ int used;\n")
    path = build(nvcc, tmp_path / "e.o", "-c", gencode("80"), gencode("80", ptx=True), tmp_path / "e.cu")
    assert compared(path) == Counter(["80", "p80"])
    code = read_file(path.read_bytes())
    assert code is not None
    assert (code.profiles, code.empty) == ({}, 1)


def test_relocatable_code_and_archives(nvcc: Path, source: Path, tmp_path: Path) -> None:
    flags = [gencode("80"), gencode("90a"), gencode("90", ptx=True)]
    thing = build(nvcc, tmp_path / "k.o", "-dc", *flags, source)
    assert compared(thing) == Counter(["80", "90a", "p90"])
    assert {one.section for one in containers_of(thing.read_bytes())} == {RELOCATABLE}

    library = build(nvcc, tmp_path / "k.so", "-shared", "-rdc=true", *flags[:2], thing)
    assert compared(library) == Counter({"80": 2, "90a": 2, "p90": 1})
    code = read_file(library.read_bytes())
    assert code is not None
    assert code.relocatable == {("80", "90a", "p90"): 1}
    assert code.profiles == {("80", "90a"): 1}

    plain = build(nvcc, tmp_path / "with-a-name-that-is-long.o", "-c", *flags, source)
    archive = build(nvcc, tmp_path / "k.a", "-lib", plain, thing)
    assert compared(archive) == Counter({"80": 2, "90a": 2, "p90": 2})
    folded = read_file(archive.read_bytes())
    assert folded is not None
    assert folded.profiles == {("80", "90a", "p90"): 1}


def test_lto_serves_nobody(nvcc: Path, source: Path, tmp_path: Path) -> None:
    flags = ["-gencode=arch=compute_90,code=lto_90", "-gencode=arch=compute_100f,code=lto_100f", gencode("80")]
    path = build(nvcc, tmp_path / "k.o", "-dc", *flags, source)
    assert compared(path) == Counter(["lto90", "lto100f", "80"])


def test_stripped_files_and_what_debug_files_leave(nvcc: Path, source: Path, tmp_path: Path) -> None:
    path = build(nvcc, tmp_path / "k.so", "-shared", gencode("80"), gencode("110f"), source)
    expected = compared(path)
    call("strip", "--strip-all", "-o", tmp_path / "stripped.so", path)
    assert compared(tmp_path / "stripped.so") == expected
    call("objcopy", "--only-keep-debug", path, tmp_path / "debug.so")
    assert containers_of((tmp_path / "debug.so").read_bytes()) == []
    assert read_file((tmp_path / "debug.so").read_bytes()) is None


def test_the_short_form_adds_plain_ptx(nvcc: Path, source: Path, tmp_path: Path) -> None:
    """`-arch=sm_90a` alone: three images, one of them PTX that later GPUs compile."""
    assert compared(build(nvcc, tmp_path / "k.o", "-c", "-arch=sm_90a", source)) == Counter(["p90", "90a", "p90a"])
    assert compared(build(nvcc, tmp_path / "f.o", "-c", "-gencode=arch=compute_100f,code=[sm_100,sm_103]", source)) == (
        Counter(["100f", "103f"])
    )


@pytest.mark.parametrize("target", ["80", "90a", "100", "100a", "100f", "103f", "110", "110f", "120", "121f"])
def test_bare_cubins_say_how_they_were_compiled(target: str, nvcc: Path, source: Path, tmp_path: Path) -> None:
    path = build(nvcc, tmp_path / "k.cubin", "-cubin", f"-arch=sm_{target}", source)
    code = read_file(path.read_bytes())
    assert isinstance(code, FileCode)
    assert code.bare == target


def test_containers_elsewhere_are_no_coverage(nvcc: Path, source: Path, tmp_path: Path) -> None:
    """A fatbin that a program carries as data is loaded by the program or not at all."""
    packed = build(nvcc, tmp_path / "k.fatbin", "-fatbin", gencode("80"), source)
    whole = read_file(packed.read_bytes())
    assert whole is not None
    assert whole.profiles == {("80",): 1}
    data = tmp_path / "data.S"
    data.write_text(f'.section .rodata\n.balign 8\n.incbin "{packed}"\n.section .note.GNU-stack,"",@progbits\n')
    subprocess.run(["gcc", "-shared", "-o", str(tmp_path / "data.so"), str(data)], check=True, stdin=subprocess.DEVNULL)
    assert nvidias_answer(tmp_path / "data.so") is None
    carried = read_file((tmp_path / "data.so").read_bytes())
    assert carried is not None
    assert (carried.containers, carried.unread.rpartition(": ")[2]) == (0, "1 in .rodata")
