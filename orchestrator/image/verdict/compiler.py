"""Whether an image holds what FlashInfer compiles with: nvcc, ninja and a C++ compiler.

Headers alone compile nothing. FlashInfer starts `ninja` from PATH, `nvcc` from CUDA_HOME (CUDA_PATH, the directory of
the nvcc in PATH, /usr/local/cuda) and `c++` or $CXX (flashinfer/jit/cpp_ext.py, 0.6.13 and 0.7.2.post1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.image.layers import artifacts
from orchestrator.image.layers.kinds import Kind, kind
from orchestrator.image.layers.links import resolve

if TYPE_CHECKING:
    from orchestrator.image.verdict.scanned import Scanned

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""What a container gets where the image sets no PATH."""


def missing(scanned: Scanned) -> tuple[str, ...]:
    """The programs that FlashInfer needs to compile and that are missing; none where flashinfer-jit-cache is installed.

    Args:
        scanned: What was read of an image.
    """
    names = [match[1] for path in scanned.files.artifacts if (match := artifacts.PACKAGES.search(path))]
    if "flashinfer_jit_cache" in names:
        return ()
    known = scanned.environment
    home = known.get("CUDA_HOME") or known.get("CUDA_PATH")
    nvcc = known.get("FLASHINFER_NVCC") or (f"{home}/bin/nvcc" if home else "")
    found = {
        "nvcc": _there(scanned, nvcc)
        if nvcc
        else _in_path(scanned, "nvcc") or _there(scanned, "/usr/local/cuda/bin/nvcc"),
        "ninja": _in_path(scanned, "ninja"),
        "a C++ compiler": _in_path(scanned, known.get("CXX") or "c++"),
    }
    return tuple(name for name, there in found.items() if not there)


def _in_path(scanned: Scanned, program: str) -> bool:
    if "/" in program:
        return _there(scanned, program)
    folders = (scanned.environment.get("PATH") or _PATH).split(":")
    return any(_there(scanned, f"{folder}/{program}") for folder in folders if folder)


def _there(scanned: Scanned, path: str) -> bool:
    real = resolve(path.strip("/"), scanned.files.links)
    return bool(real) and kind(scanned.files.layers, real) is Kind.FILE
