"""Compiles some of vLLM's own kernels and packs them as a wheel: what docker/Dockerfile runs as WHEEL_COMMAND.

    python3 vllm-kernels/build.py [--target NAME]... [--units EXTENSION=SOURCE[,SOURCE...]]...

vLLM's setup.py builds everything or nothing, and several of its targets need git repositories. Here cmake is called
with vLLM's own CMakeLists.txt, and only what is named is compiled:

  --target NAME       a whole extension: _C_stable_libtorch, cumem_allocator
  --units EXT=FILES   some translation units of an extension, linked with the operators of vLLM's torch_bindings.cpp
                      that they define; FILES are the ends of their paths, permute_cols.cu
  --jobs N            compilers at once (default: MAX_JOBS)
  --no-import         import nothing: where torch is one that compiles and does not run

It runs in a directory that holds vLLM's CMakeLists.txt, cmake/ and csrc/, and beside it vllm-kernels/ with cutlass/,
stand-ins/ and cuobjdump (examples/vllm-kernels/prepare). The wheel is written to dist/. Its units.json says of each
object what CMake asked for, what NVIDIA's cuobjdump finds in it, how long it took and how much memory: the table of
`units`.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterable

HERE = Path.cwd()
OURS = Path(__file__).resolve().parent
BUILD = HERE / "build"
DIST = HERE / "dist"
PRECOMPILED = "VLLM_PRECOMPILED_WHEEL_LOCATION"
BINDINGS = {"_C_stable_libtorch": "csrc/libtorch_stable/torch_bindings.cpp", "_moe_C": "csrc/moe/torch_bindings.cpp"}


COMPILERS = {"cicc", "ptxas", "cudafe++", "cc1plus", "fatbinary"}
SAMPLE_S = 0.25


def run(*argv: str | Path, env: dict[str, str] | None = None, cwd: Path | None = None) -> None:
    """Run a command that must succeed; its output is the build's."""
    print("+", shlex.join(map(str, argv)), flush=True)
    subprocess.run([str(word) for word in argv], check=True, env=env, cwd=cwd)


def output(*argv: str | Path) -> str:
    """What a command printed."""
    return subprocess.run([str(word) for word in argv], check=True, stdout=subprocess.PIPE, text=True).stdout


def torch_package() -> Path:
    """The directory of the installed torch."""
    found = importlib.util.find_spec("torch")
    if found is None or found.origin is None:
        sys.exit("torch is not installed: the requirements of the build hold it")
    return Path(found.origin).parent


def packages() -> Path:
    """The directory that torch's own CUDA libraries and headers are installed in."""
    return torch_package().parent / "nvidia" / "cu13"


def toolkit() -> Path:
    """A CUDA toolkit whose headers and libraries include those that come with torch (cuBLAS, cuSPARSE, ...).

    nvcc finds its parts beside itself, so it is copied and not linked to. libcuda belongs to the driver and is on no
    build machine: a library of that name is linked against that defines what cuda.h declares and does nothing. Defines
    it nothing, the linker leaves the name out, and the library loads only where something else has loaded the driver's.
    """
    made, given, torchs = BUILD / "toolkit", Path(os.environ["CUDA_HOME"]), packages()
    if made.exists():
        return made
    shutil.copytree(given, made, symlinks=True)
    for name in ("include", "lib"):
        for path in (torchs / name).rglob("*"):
            link = made / name / path.relative_to(torchs / name)
            if path.is_dir():
                link.mkdir(parents=True, exist_ok=True)
            elif not link.exists():
                link.symlink_to(path)
    for path in list((made / "lib").glob("lib*.so.*")):
        plain = path.with_name(path.name[: path.name.index(".so") + 3])
        if not plain.exists():
            plain.symlink_to(path.name)
    stubs = made / "lib" / "stubs"
    stubs.mkdir(exist_ok=True)
    declared = re.findall(r"\bcu[A-Z]\w+\b", (made / "include" / "cuda.h").read_text())
    driver(stubs / "libcuda.so", declared)
    shutil.copy(stubs / "libcuda.so", made / "lib" / "libcuda.so")
    return made


def driver(library: Path, names: Iterable[str]) -> None:
    """A stand-in for the driver's libcuda: it defines these functions, and they do nothing."""
    source = BUILD / "driver.c"
    source.write_text("".join(f"int {name}(void) {{ return 100; }}\n" for name in sorted(set(names))))
    run("gcc", "-shared", "-Wl,-soname,libcuda.so.1", "-o", library, source)


def configure(cuda: Path) -> list[dict[str, str]]:
    """Run cmake; returns the compile commands of all objects."""
    cutlass, stand_ins = OURS / "cutlass", OURS / "stand-ins"
    environment = dict(
        os.environ, CUDA_HOME=str(cuda), CUDACXX=str(cuda / "bin" / "nvcc"), PATH=f"{cuda}/bin:{os.environ['PATH']}",
        TRITON_KERNELS_SRC_DIR=str(stand_ins / "triton_kernels"),
    )  # fmt: skip
    options = {
        "CMAKE_BUILD_TYPE": "Release",
        "CMAKE_EXPORT_COMPILE_COMMANDS": "ON",
        "VLLM_PYTHON_EXECUTABLE": sys.executable,
        "VLLM_TARGET_DEVICE": "cuda",
        "CUDA_TOOLKIT_ROOT_DIR": cuda,
        "CUDAToolkit_ROOT": cuda,
        "CUDA_CUDA_LIBRARY": cuda / "lib" / "stubs" / "libcuda.so",
        "FETCHCONTENT_BASE_DIR": BUILD / "deps",
        "VLLM_CUTLASS_SRC_DIR": cutlass,
        "CUTLASS_DIR": cutlass,
        "CUTLASS_INCLUDE_DIR": cutlass / "include",
        "CUTLASS_TOOLS_UTIL_INCLUDE_DIR": cutlass / "tools" / "util" / "include",
        "FLASH_MLA_SRC_DIR": stand_ins / "flashmla",
        "DEEPGEMM_SRC_DIR": stand_ins / "deepgemm",
        "QUTLASS_SRC_DIR": stand_ins / "qutlass",
        "VLLM_FLASH_ATTN_SRC_DIR": stand_ins / "vllm-flash-attn",
    }
    threads = os.environ.get("NVCC_THREADS", "1")
    if threads != "1":
        options["NVCC_THREADS"] = threads
    run("cmake", "-G", "Ninja", "-B", BUILD, "-S", HERE, *(f"-D{k}={v}" for k, v in options.items()), env=environment)
    commands: list[dict[str, str]] = json.loads((BUILD / "compile_commands.json").read_text())
    return commands


class Memory:
    """The most memory that the compilers of each source held at once, sampled from /proc while they run.

    A compile cache runs them in a server of its own, so nothing is known of them through wait().
    """

    def __init__(self, sources: list[str]) -> None:
        self._stems = {Path(source).stem for source in sources}
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.peaks: dict[str, int] = {}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(SAMPLE_S):
            held: dict[str, int] = {}
            for process in Path("/proc").glob("[0-9]*"):
                try:
                    if (process / "comm").read_text().strip() not in COMPILERS:
                        continue
                    # /tmp/tmpxft_00000f_00000000-6_permute_cols.compute_90.cpp1.ii
                    words = set(re.split(r"[^A-Za-z0-9_]", (process / "cmdline").read_text()))
                    words |= {re.sub(r"^tmpxft_\w+_\d+-\d+_|^\d+_", "", word) for word in words}
                    status = (process / "status").read_text()
                except OSError:  # it has ended
                    continue
                memory = re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
                for stem in self._stems & words if memory else ():
                    held[stem] = held.get(stem, 0) + int(memory[1]) * 1024 if memory else 0
            for stem, size in held.items():
                self.peaks[stem] = max(size, self.peaks.get(stem, 0))


def device_code(path: Path) -> list[str]:
    """The images in a file as cuobjdump lists them, `sm_90a` and `compute_120`, each once."""
    program = OURS / "cuobjdump"
    found = set()
    for option, prefix in (("--list-elf", "sm_"), ("--list-ptx", "compute_")):
        done = subprocess.run([str(program), option, str(path)], capture_output=True, text=True, check=False)
        found |= {f"{prefix}{name}" for name in re.findall(r"\.sm_(\w+)\.(?:cubin|ptx)$", done.stdout, re.MULTILINE)}
    return sorted(found)


def asked(command: str) -> list[str]:
    """What a compile command asks nvcc for: `sm_90a` for code, `compute_120` for PTX."""
    found = set()
    for _, codes in re.findall(r"arch=(compute_\w+),code=[\[\\]*([\w,]+)", command):
        found |= set(codes.split(","))
    return sorted(found)


def took() -> dict[str, float]:
    """Seconds that ninja waited for each output, from its log."""
    lines = (BUILD / ".ninja_log").read_text().splitlines()[1:]
    rows = [line.split("\t") for line in lines]
    return {row[3]: (int(row[1]) - int(row[0])) / 1000 for row in rows if len(row) > 3}


def units(commands: list[dict[str, str]], memory: Memory, libraries: list[Path]) -> dict[str, object]:
    """What is known of every object that was compiled, and of the libraries."""
    seconds = took()
    rows = []
    for one in commands:
        path = BUILD / one["output"]
        made = str(path.relative_to(BUILD))
        if made not in seconds or not path.exists():
            continue
        source = str(Path(one["file"]).relative_to(HERE)) if Path(one["file"]).is_relative_to(HERE) else one["file"]
        rows.append({
            "extension": re.sub(r".*?(\w+)\.dir/.*", r"\1", made),
            "source": source,
            "seconds": round(seconds[made], 1),
            "memory": memory.peaks.get(Path(source).stem, 0),
            "asked": asked(one["command"]),
            "holds": device_code(path),
        })  # fmt: skip
    if not rows:
        sys.exit(f"none of the objects that ninja made is in compile_commands.json: {sorted(seconds)[:3]}")
    return {"units": rows, "libraries": {path.name: device_code(path) for path in libraries}}


def compiled(objects: list[Path], jobs: str) -> None:
    """Compile these objects and nothing else."""
    run("cmake", "--build", BUILD, "--parallel", jobs, "--target", *(path.relative_to(BUILD) for path in objects))


def objects_of(commands: list[dict[str, str]], extension: str, sources: list[str]) -> list[Path]:
    """The object files of some sources of an extension.

    Raises:
        SystemExit: A source is none of its units.
    """
    found = []
    for source in sources:
        matches = [
            BUILD / one["output"] for one in commands
            if one["file"].endswith(f"/{source}") and f"/{extension}.dir/" in f"/{one['output']}"
        ]  # fmt: skip
        if len(matches) != 1:
            sys.exit(f"{source}: expected one unit of {extension}, found {len(matches)}")
        found += matches
    return found


def bindings(extension: str, objects: list[Path], folder: Path) -> Path:
    """Write vLLM's registration of operators, with those alone that these objects define."""
    defined = set()
    for line in output("nm", "--defined-only", "--demangle", *objects).splitlines():
        if match := re.match(r"[0-9a-f]+ T (?:[\w:]+ )?([\w:]+)\(", line):
            defined.add(match[1])
    text = (HERE / BINDINGS[extension]).read_text()
    impl = re.compile(r"^[ \t]*\w+\.impl\(\s*\"([\w.]+)\"[^;]*?&(\w+)\)*;\n", re.MULTILINE)
    kept = {match[1] for match in impl.finditer(text) if match[2] in defined}
    text = impl.sub(lambda match: match[0] if match[2] in defined else "", text)
    definition = re.compile(r"^[ \t]*\w+\.def\(\s*\"([\w.]+)[^\"]*\"(?:[^;\"]|\"[^\"]*\")*;\n", re.MULTILINE)
    text = definition.sub(lambda match: match[0] if match[1] in kept else "", text)
    if not kept:
        sys.exit(f"{extension}: these units define no operator of {BINDINGS[extension]}")
    print(f"{extension}: operators {' '.join(sorted(kept))}", flush=True)
    made = folder / f"{extension}_bindings.cpp"
    made.write_text(text)
    return made


def linked(commands: list[dict[str, str]], extension: str, objects: list[Path], cuda: Path) -> Path:
    """A library of some units, with the operators that they define."""
    folder = BUILD / "units"
    folder.mkdir(exist_ok=True)
    source = bindings(extension, objects, folder)
    (command,) = [
        one["command"] for one in commands
        if one["file"].endswith(BINDINGS[extension]) and f"/{extension}.dir/" in f"/{one['output']}"
    ]  # fmt: skip
    words = shlex.split(command)
    at = words.index("-o")
    here = source.with_suffix(".o")
    original = Path(words[words.index("-c") + 1])
    words = [*words[:at], f"-iquote{original.parent}", "-o", str(here), "-c", str(source)]
    run(*words, cwd=BUILD)
    library = folder / f"{extension}.abi3.so"
    torchs = torch_package() / "lib"
    # What the other units define stays open: a function is looked up when it is called.
    run(
        "g++", "-shared", "-Wl,-z,lazy", "-o", library, here, *objects, f"-L{torchs}", "-ltorch", "-ltorch_cpu",
        "-ltorch_cuda", "-lc10", "-lc10_cuda", f"-L{cuda}/lib", "-lcudart",
    )  # fmt: skip
    return library


def whole(target: str, jobs: str) -> Path:
    """A whole extension, as vLLM's build makes it."""
    run("cmake", "--build", BUILD, "--parallel", jobs, "--target", target)
    (library,) = BUILD.glob(f"{target}*.so")
    return library


def pack(libraries: list[Path], known: str) -> Path:
    """A wheel with these libraries in the package `vllm`, and units.json beside its metadata; returns its path."""
    version = os.environ.get("SETUPTOOLS_SCM_PRETEND_VERSION") or "0.0.0"
    info = f"vllm_kernels-{version}.dist-info"
    files = {f"vllm/{path.name}": path.read_bytes() for path in libraries}
    files["vllm/__init__.py"] = b'"""Some of vLLM\'s kernels, without vLLM."""\n'
    files[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: vllm-kernels\nVersion: {version}\n".encode()
    files[f"{info}/units.json"] = known.encode()
    tag = f"cp38-abi3-linux_{os.uname().machine}"
    files[f"{info}/WHEEL"] = f"Wheel-Version: 1.0\nGenerator: build.py\nRoot-Is-Purelib: false\nTag: {tag}\n".encode()
    record = ""
    for name, contents in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(contents).digest()).rstrip(b"=").decode()
        record += f"{name},sha256={digest},{len(contents)}\n"
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    DIST.mkdir(exist_ok=True)
    wheel = DIST / f"vllm_kernels-{version}-{tag}.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, contents in files.items():
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, contents)
    return wheel


def undefined(library: Path) -> str:
    """What nm says of the symbols that a library takes from others."""
    return output("nm", "-D", "--undefined-only", library)


def imported(wheel: Path) -> None:
    """Import every library of the wheel, beside a stand-in for the driver's libcuda.

    The stand-in defines the driver functions that the libraries name and does nothing, and lies where the loader finds
    it, as the driver's would: this shows that they load and register their operators, and nothing about a GPU.
    """
    folder = BUILD / "imported"
    shutil.rmtree(folder, ignore_errors=True)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    libraries = sorted(folder.glob("vllm/*.so"))
    names = {name for path in libraries for name in re.findall(r" U (cu[A-Z]\w*)", undefined(path))}
    place = BUILD / "driver"
    place.mkdir(exist_ok=True)
    driver(place / "libcuda.so.1", names)
    modules = "".join(f"import vllm.{path.name.split('.')[0]}; " for path in libraries)
    environment = dict(os.environ, LD_LIBRARY_PATH=str(place), PYTHONPATH=str(folder))
    script = f"import torch; {modules}print('imported beside a stand-in libcuda:', {[p.name for p in libraries]})"
    run(sys.executable, "-c", script, env=environment, cwd=folder)


def main() -> None:
    """Build what the arguments name."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--target", action="append", default=[])
    parser.add_argument("--units", action="append", default=[])
    parser.add_argument("--jobs", default=os.environ.get("MAX_JOBS", "1"))
    parser.add_argument("--no-import", action="store_true")
    given = parser.parse_args()
    if precompiled := os.environ.get(PRECOMPILED):  # the second stage: the wheel is there already
        there = BUILD / "precompiled"
        with zipfile.ZipFile(precompiled) as archive:
            archive.extractall(there)
        (known,) = there.glob("*.dist-info/units.json")
        print(pack(sorted(there.glob("vllm/*.so")), known.read_text()))
        return
    if not given.target and not given.units:
        parser.error("nothing to build: name a --target or --units")
    BUILD.mkdir(exist_ok=True)
    cuda = toolkit()
    commands = configure(cuda)
    libraries = []
    with Memory([one["file"] for one in commands]) as memory:
        for one in given.units:
            extension, _, sources = one.partition("=")
            objects = objects_of(commands, extension, sources.split(","))
            compiled(objects, given.jobs)
            libraries.append(linked(commands, extension, objects, cuda))
        libraries += [whole(target, given.jobs) for target in given.target]
    wheel = pack(libraries, json.dumps(units(commands, memory, libraries), indent=1))
    if not given.no_import:
        imported(wheel)
    print(wheel)


if __name__ == "__main__":
    main()
