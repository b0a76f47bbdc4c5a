# ruff: noqa: INP001 - a setup.py stands beside its package, not in one
"""Builds axpy: plain nvcc for TORCH_CUDA_ARCH_LIST, plain setuptools for the wheel, nothing from a package index.

It reads the environment variables that vLLM's setup.py reads, so that docker/Dockerfile can build either:

    TORCH_CUDA_ARCH_LIST              7.5 8.0 9.0a 12.0+PTX: cubins for each, PTX where asked
    MAX_JOBS, NVCC_THREADS            MAX_JOBS // NVCC_THREADS compilers at once, each with NVCC_THREADS threads
    SETUPTOOLS_SCM_PRETEND_VERSION    the wheel's version
    AXPY_PRECOMPILED_WHEEL_LOCATION   a wheel whose libraries are taken instead of compiling
    CUDA_HOME                         the toolkit; else the one that nvcc on PATH belongs to
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).resolve().parent
SOURCES = sorted(path.name for path in (HERE / "csrc").glob("*.cu"))
ITEM = re.compile(r"(\d+)\.(\d)([af]?)(\+PTX)?")


def gencode(arch_list: str) -> list[str]:
    """The nvcc options for a torch architecture list: a cubin for each entry, PTX as well for +PTX."""
    options: list[str] = []
    for item in arch_list.replace(";", " ").split():
        match = ITEM.fullmatch(item)
        if match is None:
            msg = f"TORCH_CUDA_ARCH_LIST: {item!r} is no compute capability like 9.0, 9.0a or 12.0+PTX"
            raise SystemExit(msg)
        number = match[1] + match[2] + match[3]
        options += ["-gencode", f"arch=compute_{number},code=sm_{number}"]
        if match[4]:
            options += ["-gencode", f"arch=compute_{number},code=compute_{number}"]
    if not options:  # nvcc's own default would be one old architecture, and nobody would notice
        msg = "TORCH_CUDA_ARCH_LIST is empty: there is nothing to compile for"
        raise SystemExit(msg)
    return options


def toolkit() -> Path:
    """The CUDA toolkit's directory."""
    home = os.environ.get("CUDA_HOME", "")
    nvcc = shutil.which("nvcc", path=f"{home}/bin") if home else shutil.which("nvcc")
    if nvcc is None:
        msg = f"no nvcc in {home}/bin" if home else "no nvcc on PATH; set CUDA_HOME"
        raise SystemExit(msg)
    return Path(nvcc).resolve().parent.parent


def run(argv: list[str]) -> None:
    """Run a compiler or the linker; its own words are the error, not a traceback below them."""
    print(" ".join(argv), flush=True)
    status = subprocess.run(argv, check=False).returncode
    if status:
        msg = f"{Path(argv[0]).name} ended with {status} for {argv[-1]}"
        raise SystemExit(msg)


def compile_library(directory: Path) -> None:
    """Compile the sources, link libaxpy.so into `directory`, and put the CUDA runtime beside it."""
    home = toolkit()
    threads = max(1, int(os.environ.get("NVCC_THREADS", "1")))
    jobs = max(1, int(os.environ.get("MAX_JOBS", os.cpu_count() or 1)) // threads)
    launcher = next(([tool] for tool in ("sccache", "ccache") if shutil.which(tool)), [])
    architectures = gencode(os.environ.get("TORCH_CUDA_ARCH_LIST", ""))
    objects = HERE / "build" / "objects"
    objects.mkdir(parents=True, exist_ok=True)

    def compile_one(source: str) -> str:
        target = str(objects / f"{source}.o")
        argv = [*launcher, str(home / "bin" / "nvcc"), "-O3", "-std=c++17", "--threads", str(threads)]
        argv += ["-Xcompiler", "-fPIC,-fvisibility=hidden", *architectures]
        run([*argv, "-o", target, "-c", str(HERE / "csrc" / source)])
        return target

    with ThreadPoolExecutor(jobs) as pool:
        compiled = list(pool.map(compile_one, SOURCES))
    # The shared runtime, because the wheels of CUDA 12 come without the static one; it goes beside the library, so that
    # the package needs nothing but a driver.
    runtime = max((home / "lib64").glob("libcudart.so.*"), key=lambda path: -len(path.name))
    directory.mkdir(parents=True, exist_ok=True)
    run(["g++", "-shared", "-Wl,-rpath,$ORIGIN", *compiled, str(runtime), "-o", str(directory / "libaxpy.so")])
    shutil.copyfile(runtime, directory / runtime.name)


class BuildWithLibrary(build_py):
    """setuptools' copying of modules, and the library beside them."""

    def run(self) -> None:
        """Copy the modules, then compile, or take the libraries of an earlier wheel."""
        super().run()
        directory = Path(self.build_lib) / "axpy"
        earlier = os.environ.get("AXPY_PRECOMPILED_WHEEL_LOCATION")
        if not earlier:
            compile_library(directory)
            return
        directory.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(earlier) as wheel:
            libraries = [name for name in wheel.namelist() if re.fullmatch(r"axpy/[^/]+\.so(\.\d+)*", name)]
            if "axpy/libaxpy.so" not in libraries:
                msg = f"{earlier} holds no axpy/libaxpy.so"
                raise SystemExit(msg)
            for name in libraries:
                (directory / Path(name).name).write_bytes(wheel.read(name))


class BinaryDistribution(Distribution):
    """A wheel for this machine alone, though setuptools compiles nothing itself."""

    def has_ext_modules(self) -> bool:
        """Yes, so that the wheel gets a platform tag."""
        return True


setup(
    name="axpy",
    version=os.environ.get("SETUPTOOLS_SCM_PRETEND_VERSION") or "0.1.0",
    description="Two CUDA kernels: the example that the orchestrator builds",
    packages=["axpy"],
    python_requires=">=3.8",
    cmdclass={"build_py": BuildWithLibrary},
    distclass=BinaryDistribution,
)
