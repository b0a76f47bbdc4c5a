"""FlashInfer's own loader, without torch and without a GPU: the real code decides whether our tree is right.

`unpack(version)` unpacks the Python files of the real wheel. `run(...)` starts a process in which the real modules
`flashinfer.artifacts`, `flashinfer.jit.env`, `flashinfer.jit.cubin_loader` and the real `gen_*` functions of the TRTLLM
modules run; what they would compile with (torch, tvm-ffi, the build specs) is replaced, because nothing is compiled
here. The process has a network namespace of its own, without any interface.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
import zipfile
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from orchestrator.headers import pins
from tests.support.artifacts import cache_dir, download

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

# what each wheel is, so that a changed index is noticed before a confusing failure
WHEELS = {
    "0.6.6": "078f158636969eec1a0d3dea19c3ca90b426b66df89bbf7b7b8276ce2ec08148",
    "0.6.8.post1": "818f9b8cc2fe66c42a1f6264be4841ac8821ada703685a02cfccb2b5124a710b",
    "0.6.13": "239e6ddc3cbbaf0bee251861a8c7c69438b1171830d69ddfa133ddea4494850d",
    "0.6.17": "ab7ce3aec42faf2f6079aa840c2407ac00ecd277a0524cdb708a8ff4a64dad90",
    "0.7.2.post1": "bfdc18b9e1e4d8d0730fe4343dc0e284cd0c160086de80f99888bc4867922d49",
}
CUBINS = {
    "0.6.6": "36508dfc792eb5ecfb15d2c140a7702812e1fa1ab0fb03929b2ed55e3e8191f3",
    "0.6.8.post1": "43636d4cd39e694a83d76a89f87fefcdf4cecb4c4f7dd22dac25ec368c1e901f",
    "0.6.13": "41e4848c2d09d220e8394489b2fb6cfec6b6ad09f897b5ab8b39fc23055f6c24",
}


REAL = (
    "artifacts", "version", "_build_meta", "jit.env", "jit._cuda_architecture", "jit.utils",
    "jit.cubin_loader", "jit.fused_moe", "jit.moe_utils",
    "jit.gemm.core", "jit.attention.modules",
)  # fmt: skip
"""FlashInfer's modules that run as they are."""


def wheel(version: str) -> Path:
    """The real flashinfer-python wheel."""
    return download(f"flashinfer-python=={version}", digest=WHEELS[version])


def cubin_wheel(version: str) -> Path:
    """The real flashinfer-cubin wheel, 268 to 458 MB."""
    return download(f"flashinfer-cubin=={version}", digest=CUBINS[version])


def unpack(version: str) -> Path:
    """A directory with the wheel's `flashinfer` package, Python files alone."""
    folder = cache_dir() / "unpacked" / f"flashinfer-{version}"
    with FileLock(f"{folder}.lock"):
        if not (folder / ".complete").exists():
            with zipfile.ZipFile(wheel(version)) as archive:
                for name in archive.namelist():
                    inside = name.startswith("flashinfer/") and name.endswith(".py") and "/data/" not in name
                    if inside or ".dist-info/METADATA" in name:
                        archive.extract(name, folder)
            (folder / ".complete").touch()
    return folder


def retargeted(version: str, folder: Path) -> Path:
    """The package of a version whose artifacts are not public, with its pins turned to those of 0.6.13.

    Args:
        version: Whose code it is.
        folder: Where it is put.
    """
    package = folder / f"retargeted-{version}"
    shutil.copytree(unpack(version), package)
    new = {pin.attr: pin for pin in pins.read(wheel("0.6.13")).pins}
    source = package / "flashinfer" / "artifacts.py"
    text = source.read_text()
    for pin in pins.read(wheel(version)).pins:
        goal = new[pin.attr.removesuffix("_RUBIN")]
        assert pin.path in text
        text = text.replace(pin.path, goal.path).replace(pin.sha256, goal.sha256)
    source.write_text(text)
    return package


DRIVER = textwrap.dedent('''
    """Runs in the process of its own; reads a plan from standard input, writes a result to standard output."""
    import importlib, importlib.machinery, json, logging, os, pathlib, sys, time, types

    plan = json.load(sys.stdin)
    package = pathlib.Path(plan["package"])
    os.environ.update(plan["environment"])


    class Anything:
        """Stands for what is only needed to compile."""
        def __getattr__(self, name):
            return Anything()
        def __call__(self, *args, **kwargs):
            return Anything()
        def __iter__(self):
            return iter(())
        def __or__(self, other):
            return self
        __ror__ = __or__
        def __getitem__(self, key):
            return self
        def __add__(self, other):
            return other
        __radd__ = __add__
        def __mro_entries__(self, bases):
            return ()


    class Context:
        TARGET_CUDA_ARCHS = {(10, "0a")}
        def get_nvcc_flags_list(self, **_):
            return []


    VALUES = {
        "flashinfer.compilation_context": {"CompilationContext": Context},
        "flashinfer.jit.core": {
            "logger": logging.getLogger("flashinfer.jit"), "current_compilation_context": Context(),
        },
    }


    class Stubs:
        """Every module of FlashInfer that is not REAL, and every package that it wants besides, is empty."""
        ROOTS = {"flashinfer", "torch", "jinja2", "tvm_ffi", "ninja", "tqdm", "packaging", "cuda", "pynvml"}

        def find_spec(self, name, path=None, target=None):
            if name.split(".")[0] in self.ROOTS and name not in plan["real"]:
                return importlib.machinery.ModuleSpec(name, self, is_package=True)

        def create_module(self, spec):
            return None

        def exec_module(self, module):
            name = module.__name__
            module.__path__ = [str(package / name.replace(".", "/"))]
            module.__dict__.update(VALUES.get(name, {}))


            def attribute_of(attribute):
                if f"{name}.{attribute}" in plan["real"]:
                    return importlib.import_module(f"{name}.{attribute}")
                return Anything() if attribute[:2] != "__" else getattr(object, attribute)

            module.__getattr__ = attribute_of


    sys.meta_path.insert(0, Stubs())
    from pip._vendor import requests  # the real requests, as pip carries it
    sys.modules["requests"] = requests

    time.sleep = lambda seconds: None  # its pauses between two tries would only make these tests slow
    started = time.monotonic()
    artifacts = importlib.import_module("flashinfer.artifacts")
    env = importlib.import_module("flashinfer.jit.env")
    sys.modules["flashinfer.jit"].env = env

    def functions():
        found = {}
        for module, names in (
            ("flashinfer.jit.fused_moe", ["gen_trtllm_gen_fused_moe_sm100_module", "gen_trtllm_gen_routing_module"]),
            ("flashinfer.jit.moe_utils", ["gen_moe_utils_module"]),
            ("flashinfer.jit.gemm.core", ["gen_trtllm_gen_gemm_module", "gen_trtllm_low_latency_gemm_module"]),
            ("flashinfer.jit.attention.modules", ["gen_trtllm_gen_fmha_module"]),
        ):
            loaded = importlib.import_module(module)
            for name in names:
                if hasattr(loaded, name):
                    found[name] = getattr(loaded, name)
        return found

    generators = functions()
    imported = time.monotonic() - started
    root = pathlib.Path(env.FLASHINFER_CUBIN_DIR)

    def judge(every):
        """The generators' verdicts, "" or the error; up to the first error unless every one is asked for."""
        verdicts = {}
        for name, function in generators.items():
            try:
                function()
                verdicts[name] = ""
            except Exception as error:
                verdicts[name] = f"{type(error).__name__}: {str(error)[:200]}"
                if not every:
                    break
        return verdicts

    started = time.monotonic()
    results = [judge(every=True)]
    seconds = time.monotonic() - started
    for change in plan["changes"]:
        path = root / change["path"]
        before = path.read_bytes()
        if change["how"] == "remove":
            path.unlink()
        elif change["how"] == "flip":
            path.write_bytes(bytes([before[0] ^ 1]) + before[1:])
        else:
            path.write_bytes((root / change["how"]).read_bytes())
        results.append(judge(every=False))
        path.write_bytes(before)
    listed = {url: artifacts.get_available_header_files(url) for url in plan["listing"]}
    if plan["historical"]:  # what vLLM's Dockerfile did up to FlashInfer 0.6.7
        from flashinfer.jit.cubin_loader import download_trtllm_headers, get_cubin
        pin = artifacts.ArtifactPath.TRTLLM_GEN_BMM
        download_trtllm_headers(
            "bmm", root / "flashinfer/trtllm/batched_gemm/trtllmGen_bmm_export", f"{pin}/include/trtllmGen_bmm_export",
            pin, get_cubin(f"{pin}/checksums.txt", artifacts.CheckSumHash.TRTLLM_GEN_BMM),
        )
    told = {"cubin_dir": str(root), "imported": imported, "results": results, "listed": listed, "seconds": seconds}
    print(json.dumps(told))
''')


def run(
    version: str,
    cubin_dir: Path,
    workspace: Path,
    *,
    package: Path | None = None,
    changes: Sequence[Mapping[str, str]] = (),
    repository: str = "",
    listing: Sequence[str] = (),
    historical: bool = False,
    prefix: Sequence[str] = (),
) -> dict[str, Any]:
    """Ask the real loader of a version about a tree, and again after each change to it.

    Args:
        version: Whose code runs.
        cubin_dir: FLASHINFER_CUBIN_DIR.
        workspace: FLASHINFER_WORKSPACE_BASE, writable.
        package: Another unpacked package than the version's own.
        changes: `{"path": …, "how": "remove" | "flip" | <path of the file to put there>}`, each undone afterwards.
        repository: A mirror that it may download from; "" takes the network away and forbids downloads.
        listing: URLs whose headers FlashInfer shall list, by its own reading of the HTML.
        historical: Run the block of vLLM's Dockerfile too (FlashInfer 0.6.5 to 0.6.7).
        prefix: A command to run the process through, inside its network namespace.

    Returns:
        `{"cubin_dir", "imported", "results": [{generator: "" or error}, …], "listed"}`; the first result is the
        unchanged tree.
    """
    plan = {
        "package": str(package or unpack(version)),
        "real": [f"flashinfer.{name}" for name in REAL],
        "changes": list(changes),
        "listing": list(listing),
        "historical": historical,
        "environment": {
            "FLASHINFER_CUBIN_DIR": str(cubin_dir),
            "FLASHINFER_WORKSPACE_BASE": str(workspace),
            "FLASHINFER_CUDA_ARCH_LIST": "10.0a",
            "FLASHINFER_LOGGING_LEVEL": "CRITICAL",
            **({"FLASHINFER_CUBINS_REPOSITORY": repository} if repository else {"FLASHINFER_NO_DOWNLOAD": "1"}),
        },
    }
    argv = [*([] if repository else ["unshare", "-n", "-m"]), *prefix, sys.executable, "-c", DRIVER]
    done = subprocess.run(
        argv, input=json.dumps(plan), capture_output=True, text=True, timeout=120, cwd=workspace,
        env={name: value for name, value in os.environ.items() if not name.startswith("FLASHINFER")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result
