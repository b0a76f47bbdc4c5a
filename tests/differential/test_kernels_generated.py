"""Which units hold kernels, beside cuobjdump's symbols: 60 libraries linked at random from units of every awkward kind.

Each unit is compiled by a real nvcc and judged alone by cuobjdump (symbols marked ENTRY, `.entry` in PTX); a library is
then bound to hold exactly the sets of its units, read as a file, in deep mode, and as a stream.
"""

from __future__ import annotations

import random
import re
import subprocess
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from orchestrator.image.code.forward import Forward
from orchestrator.image.code.reader import read_file
from orchestrator.image.code.stream import scan
from tests.support.engine import call
from tests.support.toolchain import cuobjdump, toolkit
from tests.support.wheels import wheel

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.download

LIBRARIES = 60
SEED = 13
TABLE = "__device__ int NAME_table[9000] = {1,2,3};\n"
SOURCES = {
    "kernel": "__global__ void NAME(float *p) { p[threadIdx.x] += 1; }\n",
    "table": f"{TABLE}__device__ __noinline__ int NAME_get(int i) {{ return NAME_table[i]; }}\n",
    "pointer": "__device__ __noinline__ float NAME_f(float x) { return x * 2; }\n"
    "__device__ float (*NAME_p)(float) = NAME_f;\n",
    "guarded": f"{TABLE}#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ < 900\n"
    "__global__ void NAME(float *p) { p[threadIdx.x] += 1; }\n#endif\n",
    "later": f"{TABLE}#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900\n"
    "__global__ void NAME(float *p) { p[threadIdx.x] += 1; }\n#endif\n",
    "body": "__global__ void NAME(float *p) {\n#if __CUDA_ARCH__ >= 900\n  p[threadIdx.x] += 1;\n#endif\n}\n",
    "template": "template <int N> __global__ void NAME(float *p) { p[N] += 1; }\n"
    "template __global__ void NAME<3>(float *);\n",
    "static": "static __global__ void NAME(float *p) { p[0] += 1; }\nvoid NAME_run(float *p) { NAME<<<1, 1>>>(p); }\n",
}
ARCHS = {"13.0": ("80", "90a", "100f", "p90"), "12.4": ("75", "80", "90", "p80")}
MODES = {
    "13.0": ((), ("--compress-mode=size",), ("--compress-mode=speed",), ("-no-compress",)),
    "12.4": ((), ("-Xfatbin", "-compress-all")),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Unit:
    """One object file, and the set of architectures for which it holds kernels, as cuobjdump says."""

    path: Path
    holds: tuple[str, ...]


@pytest.fixture(scope="module")
def units(tmp_path_factory: pytest.TempPathFactory) -> list[Unit]:
    folder = tmp_path_factory.mktemp("units")
    chance = random.Random(SEED)
    made = []
    for release, known in ARCHS.items():
        nvcc = toolkit(release, folder / release) / "bin" / "nvcc"
        for number, (kind, text) in enumerate(SOURCES.items()):
            name = f"{kind}{number}_{release.replace('.', '')}"
            source, path = folder / f"{name}.cu", folder / f"{name}.o"
            source.write_text(text.replace("NAME", name))
            archs = sorted(chance.sample(known, chance.randint(2, 3)))
            flags = [_gencode(arch) for arch in archs]
            mode = MODES[release][number % len(MODES[release])]
            call(nvcc, "-Xcompiler", "-fPIC", "-c", *flags, *mode, "-o", path, source, timeout=300)
            made.append(Unit(path=path, holds=nvidias_kernels(path)))
    return made


def _gencode(arch: str) -> str:
    number = arch.removeprefix("p")
    return f"-gencode=arch=compute_{number},code={'compute' if arch.startswith('p') else 'sm'}_{number}"


def nvidias_images(path: Path) -> Counter[str]:
    """Tag -> images that hold a kernel, by cuobjdump."""
    found: Counter[str] = Counter()
    for word, prefix, mark in (("-elf", "", r"\bFUNC\b.*\bENTRY\b"), ("-ptx", "p", r"^\s*(?:\.\w+\s+)*\.entry\s")):
        text = call(cuobjdump(), word, path, timeout=300).stdout
        for part in re.split(r"^Fatbin (?:elf|ptx) code:$", text, flags=re.MULTILINE)[1:]:
            arch = re.search(r"^arch = sm_(\d+[af]?)$", part, re.MULTILINE)
            assert arch
            if re.search(mark, part, re.MULTILINE):
                found[f"{prefix}{arch[1]}"] += 1
    return found


def nvidias_kernels(path: Path) -> tuple[str, ...]:
    return tuple(sorted(nvidias_images(path)))


def test_units_without_kernels_are_among_them(units: list[Unit]) -> None:
    assert sum(not unit.holds for unit in units) >= 2
    assert sum(bool(unit.holds) for unit in units) >= 8


def test_libraries_hold_what_their_units_hold(units: list[Unit], tmp_path: Path) -> None:
    chance = random.Random(SEED)
    for number in range(LIBRARIES):
        chosen = chance.sample(units, chance.randint(1, 7))
        path = tmp_path / f"{number}.so"
        objects = [str(unit.path) for unit in chosen]
        subprocess.run(["g++", "-shared", "-o", str(path), *objects], check=True, stdin=subprocess.DEVNULL)
        data = path.read_bytes()
        expected = Counter(unit.holds for unit in chosen if unit.holds)
        step = chance.choice((4099, 1 << 20))
        pieces = iter([data[at : at + step] for at in range(0, len(data), step)])
        for found in (read_file(data), read_file(data, deep=True), scan(Forward(pieces), len(data))):
            assert found is not None
            assert Counter(found.profiles) == expected, (number, [unit.path.name for unit in chosen])
            assert found.empty == sum(not unit.holds for unit in chosen)
        path.unlink()


def test_a_device_link_holds_what_its_objects_hold(tmp_path: Path) -> None:
    """`-rdc`: the kernels of two objects in one linked image; without a kernel in either it serves nobody."""
    nvcc = toolkit("13.0", tmp_path / "13.0") / "bin" / "nvcc"
    for kinds in (("kernel", "table"), ("table", "pointer")):
        objects = []
        for kind in kinds:
            source = tmp_path / f"{kind}.cu"
            source.write_text(SOURCES[kind].replace("NAME", kind))
            objects.append(tmp_path / f"{kind}.o")
            words = ("-Xcompiler", "-fPIC", "-rdc=true", "-c", "-arch=sm_80", "-o", objects[-1], source)
            call(nvcc, *words, timeout=300)
        linked = tmp_path / "linked.o"
        call(nvcc, "-Xcompiler", "-fPIC", "-dlink", "-arch=sm_80", "-o", linked, *objects, timeout=300)
        found = read_file(linked.read_bytes())
        assert found is not None
        assert Counter(found.profiles) == Counter([("80",)] if "kernel" in kinds else [])


def test_every_image_of_a_real_wheel_as_its_symbols_say() -> None:
    (path,) = [one for one in wheel("xformers==0.0.35", "x86_64").libraries if one.name == "_C.so"]
    found = read_file(path.read_bytes())
    assert found is not None
    ours: Counter[str] = Counter()
    for tags, count in found.profiles.items():
        ours.update(dict.fromkeys(tags, count))
    assert ours == nvidias_images(path)
