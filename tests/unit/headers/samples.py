"""A small FlashInfer that never was: real in shape, tiny in size, for tests that need a whole bundle."""

from __future__ import annotations

import functools
import hashlib
import io
import zipfile
from typing import TYPE_CHECKING

from orchestrator.headers import layout, pins, resolve
from orchestrator.headers.fetch import Report

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from orchestrator.headers.lock import Lock
    from orchestrator.headers.pins import Pins
    from orchestrator.headers.request import Wanted
    from orchestrator.headers.store import Store

BMM = "b" * 40 + "/batched_gemm-1-2"
GEMM = "c" * 40 + "/gemm-1-2"
FMHA = "f" * 40 + "/fmha/trtllm-gen"
DEEP = "a" * 40 + "/deep-gemm"
DSL = "d" * 40 + "/fmha/cute-dsl"


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def artifacts() -> dict[str, bytes]:
    """Every artifact of the sample, manifests included, by repository path."""
    return dict(_artifacts())


@functools.cache
def _artifacts() -> dict[str, bytes]:
    files = {
        f"{BMM}/include/flashinferMetaInfo.h": b"// bmm meta\n",
        f"{BMM}/include/trtllmGen_bmm_export/Enums.h": b"// bmm enums\n",
        f"{BMM}/include/trtllmGen_bmm_export/trtllm/gen/DtypeDecl.h": b"// dtype\n",
        f"{BMM}/Bmm_sm100f.cubin": b"cubin 100f",
        f"{BMM}/Bmm_sm103a.cubin": b"cubin 103a",
        f"{GEMM}/include/flashinferMetaInfo.h": b"// gemm meta\n",
        f"{GEMM}/include/trtllmGen_gemm_export/Enums.h": b"// gemm enums, other bytes\n",
        f"{FMHA}/include/flashInferMetaInfo.h": b"// fmha meta\n",
        f"{FMHA}/fmhaSm100fKernel_x.cubin": b"fmha cubin",
        f"{DEEP}/kernel.one.cubin": b"deep cubin",
    }
    for pin in (BMM, GEMM, FMHA, DEEP):
        lines = [f"{sha(data)}  {path[len(pin) + 1 :]}\n" for path, data in files.items() if path.startswith(f"{pin}/")]
        files[f"{pin}/checksums.txt"] = "".join(sorted(lines)).encode()
    files[f"{DEEP}/kernel_map.json"] = b"{}"
    return files


def source(version: str = "0.6.13", *, slash: str = "/") -> dict[str, str]:
    """The files of flashinfer-python that pins are read from."""
    made = artifacts()

    def digest(pin: str) -> str:
        return sha(made[f"{pin}/checksums.txt"])

    return {
        "flashinfer/artifacts.py": f'''
import torch_is_never_imported
from dataclasses import dataclass

@dataclass(frozen=True)
class ArtifactPath:
    """Paths."""
    TRTLLM_GEN_FMHA: str = "{FMHA}{slash}"
    TRTLLM_GEN_BMM: str = (
        "{BMM}{slash}"
    )
    TRTLLM_GEN_GEMM = "{GEMM}{slash}"
    DEEPGEMM: str = "{DEEP}{slash}"
    DSL_FMHA: str = "{DSL}{slash}"
    DSL_FMHA_ARCHS: tuple[str, ...] = ("sm_100a",)
    SOMETHING_NEW: str = "{"e" * 40}/new/"

class CheckSumHash:
    TRTLLM_GEN_FMHA: str = "{digest(FMHA)}"
    TRTLLM_GEN_BMM: str = "{digest(BMM)}"
    TRTLLM_GEN_GEMM: str = "{digest(GEMM)}"
    DEEPGEMM: str = "{digest(DEEP)}"
    DSL_FMHA_CHECKSUMS: dict[str, dict[str, str]] = {{"x86_64": {{"sm_100a": "{"1" * 64}"}}}}
    map_checksums: dict[str, str] = {{safe_urljoin(ArtifactPath.DEEPGEMM, "checksums.txt"): DEEPGEMM}}
''',
        "flashinfer/deep_gemm.py": f'class KernelMap:\n    KERNEL_MAP_HASH = "{sha(b"{}")}"\n',
        "flashinfer/_build_meta.py": f'__version__ = "{version}"\n__git_version__ = "{"9" * 40}"\n',
        f"flashinfer_python-{version}.dist-info/METADATA": f"Name: flashinfer-python\nVersion: {version}\n\nText\n",
    }


def wheel(path: Path, files: dict[str, str] | None = None) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in (files or source()).items():
            archive.writestr(name, text)
    return path


def tree(root: Path, files: dict[str, str] | None = None) -> Path:
    for name, text in (files or source()).items():
        target = root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    return root


def known(tmp: Path, version: str = "0.6.13") -> Pins:
    return pins.read(wheel(tmp / f"flashinfer_python-{version}-py3-none-any.whl", source(version)))


def bundle(
    tmp: Path, store: Store, *,
    version: str = "0.6.13", tier: str = "headers", sm: Sequence[str] = (), of: Pins | None = None,
) -> Lock:  # fmt: skip
    """A lock whose files are in the store."""
    made = artifacts()

    def obtain(wanted: Sequence[Wanted]) -> Report:
        absent = []
        for item in wanted:
            if item.path in made:
                assert store.add(io.BytesIO(made[item.path]), item.sha256)
            else:
                assert item.optional
                absent.append(item.path)
        return Report(fetched=len(wanted), bytes=0, present=0, requests=0, absent=tuple(absent))

    return resolve.resolve(of or known(tmp, version), store, obtain, layout=layout.of(version), tier=tier, sm=sm)
