"""What an image must hold to pass: which libraries count, what counts as served, and which holes are known.

A plain value, so that everything that judges can be tested without a matrix.yaml. Does not depend on how an image is
read. The thresholds rest on real wheels: of correct ones the lowest score was 0.26, and the wheel that made this
program necessary scored 0.33, so no ratio separates good from bad. That nothing at all is served directly does.
"""

from __future__ import annotations

import fnmatch
import re
from typing import TYPE_CHECKING

from msgspec import Struct

from orchestrator.cuda.arch import parse_list
from orchestrator.image.layers.installed import Installed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from orchestrator.matrix.schema import VerifySpec

VLLM = ("*/vllm/_C*.abi3.so", "*/vllm/_moe_C*.abi3.so")
"""The libraries of vLLM that hold code for every architecture of its list. Its other libraries are specialised by
design (`_vllm_fa3_C` is 9.0a alone, `_vllm_fa2_C` reaches 9.0 and later by PTX)."""

_INSTALLED = re.compile(
    r"(?:^|/)(?:site|dist)-packages/(?:nvidia|torch|torchvision|torchaudio|triton|pytorch_triton|tilelang|cupy|"
    r"cupy_backends|cupyx|jaxlib|flashinfer|flashinfer_cubin|flashinfer_jit_cache|deep_gemm|xformers|bitsandbytes|"
    r"nvshmem)/"
)
"""Packages of others that were installed without a RECORD; a directory of such a name elsewhere is the image's own."""

_OTHERS = re.compile(
    r"nvidia-.+|torch|torchvision|torchaudio|(?:pytorch-)?triton(?:-.+)?|tilelang|cupy(?:-.+)?|jaxlib|jax-cuda.+|deep-gemm|"
    r"flashinfer-(?:python|cubin|jit-cache)|xformers|bitsandbytes|nvshmem(?:4py)?(?:-.+)?"
)
"""The same packages, as their RECORD files name them."""

_SYSTEM = re.compile(
    r"^usr/local/cuda[^/]*/|^opt/nvidia/"
    r"|^(?:usr/)?(?:local/)?lib(?:64)?/(?:[\w.]+-linux-gnu/)?lib(?:cublas|cudart|cudnn|cufft|cufile|cupti|curand|cusolver|"
    r"cusparse|cutensor|cutlass|nccl|npp|nvcomp|nvinfer|nvjitlink|nvjpeg|nvonnx|nvrtc|nvshmem)[^/]*$",
    re.IGNORECASE,
)
"""NVIDIA's libraries, in the directories of the system."""


class Requirement(Struct, frozen=True, kw_only=True):
    """Libraries that must serve promised devices.

    Attributes:
        glob: Of paths inside the image; `*` crosses slashes, and a leading slash means nothing.
        ccs: Only these compute capabilities; None means all promised ones.
        ptx: PTX alone is enough.
        why: Shown in the report.
    """

    glob: str
    ccs: tuple[str, ...] | None = None
    ptx: bool = False
    why: str = ""


class Exemption(Struct, frozen=True, kw_only=True):
    """A hole that is known and accepted.

    Attributes:
        glob: Of paths inside the image.
        ccs: Compute capabilities that may be missing.
        why: The reason.
    """

    glob: str
    ccs: tuple[str, ...]
    why: str


class Policy(Struct, frozen=True, kw_only=True):
    """How a report is judged.

    Attributes:
        require: Libraries that must serve what was promised; empty chooses them by `default_required`.
        allow_ptx: PTX alone is enough everywhere.
        fail_below: Share of translation units served, against the best served known device, below which it fails.
        warn_below: The same share, below which it is only mentioned.
        exceptions: Known holes.
        strict_tegra: Desktop code does not serve Jetson and Drive GPUs.
        whole_ptx: PTX is enough for a library where it serves every translation unit (asked of one device: it runs).
    """

    require: tuple[Requirement, ...] = ()
    allow_ptx: bool = False
    fail_below: float = 0.25
    warn_below: float = 0.5
    exceptions: tuple[Exemption, ...] = ()
    strict_tegra: bool = True
    whole_ptx: bool = False


def from_spec(spec: VerifySpec) -> Policy:
    """The policy that the `verify:` section of matrix.yaml asks for.

    Args:
        spec: The section, validated.

    Raises:
        ArchSyntaxError: A list of architectures does not parse.
    """
    return Policy(
        require=tuple(
            Requirement(glob=one.glob, ccs=_ccs(one.archs) if one.archs else None, ptx=one.ptx, why=one.why)
            for one in spec.require
        ),
        allow_ptx=spec.allow_ptx,
        fail_below=spec.fail_below,
        warn_below=spec.warn_below,
        exceptions=tuple(Exemption(glob=one.glob, ccs=_ccs(one.archs), why=one.why) for one in spec.exceptions),
        strict_tegra=spec.strict_tegra,
    )


def _ccs(archs: str) -> tuple[str, ...]:
    return tuple(arch.cc for arch in parse_list(archs))


def matches(glob: str, paths: Iterable[str]) -> bool:
    """Whether a glob matches a file by any of its paths.

    Args:
        glob: `*/vllm/_C*.so`, `/opt/app/*.so`, `lib*.so` (a glob without a slash is compared with the file's name).
        paths: Below the image's root, without a leading slash; a file has several when symlinks lead to it.
    """
    if "/" not in glob:
        return any(fnmatch.fnmatchcase(path.rpartition("/")[2], glob) for path in paths)
    return any(fnmatch.fnmatchcase(f"/{path}", glob if glob.startswith(("/", "*")) else f"/{glob}") for path in paths)


def default_required(libraries: Sequence[str], installed: Installed | None = None) -> tuple[str, ...]:
    """The libraries that count where nobody said which.

    vLLM's own two where they are there. Otherwise everything that was not installed as a package of somebody else:
    NVIDIA's libraries, PyTorch and the like cover what their makers promise, not what this image's matrix does. If
    nothing is left, all of them.

    Args:
        libraries: Paths of the libraries that hold device code.
        installed: Whose files they are by the RECORD files of what pip installed.
    """
    vllm = tuple(path for path in libraries if any(matches(glob, [path]) for glob in VLLM))
    if vllm:
        return vllm
    known = installed or Installed()
    return tuple(path for path in libraries if not _is_others(path, known)) or tuple(libraries)


def _is_others(path: str, installed: Installed) -> bool:
    owners = installed.owners.get(path)
    if owners:  # where the image's own package lists it too, the file may be that one's, whichever came last
        return all(_OTHERS.fullmatch(owner.name) for owner in owners)
    if installed.recorded(path):  # it lies among a package's files and is none of them: somebody put it there
        return False
    return bool(_INSTALLED.search(path) or _SYSTEM.search(path))
