"""The bug that this program exists for, with the installed command: wheels of vLLM released while it was live.

vLLM #39233: images for Jetson Thor held no kernel for it, and nobody could see that without the GPU.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
import zstandard

from tests.support.artifacts import download, unpacked
from tests.support.wheels import wheel

pytestmark = pytest.mark.download

COMMAND = Path(sys.executable).parent / "orchestrate"
LISTS = {
    ("vllm==0.33.0", "x86_64"): "7.5 8.0 8.6 8.9 9.0 10.0 12.0",
    ("vllm==0.33.0", "aarch64"): "8.0 8.7 8.9 9.0 10.0 11.0 12.0",
    ("vllm==0.19.0", "x86_64"): "7.0 7.5 8.0 8.9 9.0 10.0 12.0",
    ("vllm==0.19.0", "aarch64"): "8.7 8.9 9.0 10.0 12.0",
}
"""What each wheel was built for."""


def verify(*words: str | Path, cache: Path | None = None) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **({"XDG_CACHE_HOME": str(cache)} if cache else {})}
    return subprocess.run(
        [COMMAND, "verify", *map(str, words)], capture_output=True, text=True, timeout=300, env=env,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip


def image(path: Path, labels: dict[str, str], files: dict[str, Path]) -> Path:
    """An OCI archive with one zstd layer of large files, written without holding them in memory."""
    layer = path.with_suffix(".layer")
    with (
        layer.open("wb") as out,
        zstandard.ZstdCompressor(level=1, threads=2).stream_writer(out) as packed,
        tarfile.open(fileobj=packed, mode="w|") as archive,
    ):
        for name, file in files.items():
            archive.add(file, name)
    with layer.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    blobs: dict[str, bytes] = {}

    def blob(value: Any) -> dict[str, Any]:
        data = json.dumps(value).encode()
        name = hashlib.sha256(data).hexdigest()
        blobs[f"blobs/sha256/{name}"] = data
        return {"digest": f"sha256:{name}", "size": len(data)}

    config = blob({"os": "linux", "architecture": "arm64", "config": {"Labels": labels}})
    stored = {"digest": f"sha256:{digest}", "size": layer.stat().st_size}
    index = {"manifests": [blob({"config": config, "layers": [stored]})]}
    with tarfile.open(path, "w") as archive:
        archive.add(layer, f"blobs/sha256/{digest}")
        for name, data in {**blobs, "index.json": json.dumps(index).encode()}.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    layer.unlink()
    return path


def test_the_bug_in_an_image(tmp_path: Path) -> None:
    site = "usr/local/lib/python3.12/dist-packages"
    libraries = {
        f"{site}/vllm/{path.name}": path
        for path in wheel("vllm==0.19.0", "aarch64").libraries
        if path.name in ("_C.abi3.so", "_moe_C.abi3.so", "_flashmla_C.abi3.so")
    }
    labels = {"com.orchestrate.archs": LISTS["vllm==0.19.0", "aarch64"]}
    path = image(tmp_path / "image.tar", labels, libraries)

    thor = verify(path, "--device", "thor", cache=tmp_path / "cache")
    assert thor.returncode == 4
    for name in ("_C.abi3.so", "_moe_C.abi3.so"):
        assert f"{site}/vllm/{name}: 11.0 (Jetson Thor" in thor.stderr
    assert "_flashmla_C" not in thor.stderr, "it is for 9.0 and 10.x by design"
    assert "no kernel image is available for execution on the device" in thor.stderr
    assert "22 x 87 89 90 100 120" in thor.stdout
    assert "Traceback" not in thor.stderr

    own = verify(path, cache=tmp_path / "cache")
    assert own.returncode == 0, own.stderr
    assert "promised: 8.7 8.9 9.0 10.0 12.0  (from the image's labels)" in own.stdout
    more = verify(path, "--archs", "9.0 11.0", "--format", "json", cache=tmp_path / "cache")
    assert more.returncode == 4
    value = json.loads(more.stdout)
    assert value["platform"] == "linux/arm64"
    cell = {one["path"]: one for one in value["libraries"]}[f"{site}/vllm/_C.abi3.so"]["served"]["11.0"]
    assert (cell["direct"], cell["ptx"], cell["total"], cell["status"]) == (0, 20, 87, "fail")


def test_what_gpus_cost_in_an_image_that_holds_cuda_three_times(tmp_path: Path) -> None:
    site = "usr/local/lib/python3.12/dist-packages"
    places = {
        "usr/local/cuda-13.0": "13.0.88",
        f"{site}/nvidia/cu13": "13.0.88",
        f"{site}/triton/backends/nvidia": "13.3.73",
    }
    files: dict[str, Path] = {}
    for place, version in places.items():
        root = unpacked(download(f"nvidia-cuda-nvcc=={version}"))
        files |= {f"{place}/bin/{name}": next(root.rglob(f"bin/{name}")) for name in ("nvcc", "ptxas")}
    (xformers,) = (path for path in wheel("xformers==0.0.35", "x86_64").libraries if path.name == "_C.so")
    nccl = next(iter(wheel("nvidia-nccl-cu13==2.32.3", "x86_64").libraries))
    files |= {f"{site}/xformers/_C.so": xformers, f"{site}/nvidia/nccl/lib/libnccl.so.2": nccl}
    path = image(tmp_path / "image.tar", {"com.orchestrate.archs": "7.5 8.0 9.0"}, files)
    page = tmp_path / "page.html"
    words = (path, "--require", "*/xformers/_C.so", "--cost")
    done = verify(*words, "--html", page, "--format", "json", cache=tmp_path / "cache")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    cost = found["cost"]
    assert cost["bytes"] == found["bytes"]
    # counted here by another program's rules: the sum over containers of what the fatbins' headers say
    own = {one["path"]: one["bytes"] for one in found["libraries"]}
    assert {one["path"]: one["bytes"] for one in cost["places"]} == own
    copies = {tuple(one["paths"]): one for one in cost["copies"]}
    roots = list(places)
    for name in ("nvcc", "ptxas"):
        one = copies.pop((f"{roots[0]}/bin/{name}", f"{roots[1]}/bin/{name}"))
        data = files[f"{roots[0]}/bin/{name}"].read_bytes()
        assert one == {
            "sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "paths": one["paths"], "wasted": len(data),
        }  # fmt: skip
    assert copies == {}
    assert [(one["root"], one["release"]) for one in cost["toolkits"]] == sorted(
        (root, "13.0.88" if version == "13.0.88" else "13.3.73") for root, version in places.items()
    )
    # code of 12.0 serves nothing that was promised; what 9.0 alone needs goes with it
    bytes_ = cost["bytes"]
    assert cost["without"]["9.0"] == bytes_["90"] + bytes_["90a"]
    assert cost["without"]["7.5"] == bytes_["75"]
    assert cost["only"]["9.0"] == bytes_["75"] + bytes_["80"]
    text = page.read_text()
    assert f"2 copies: {roots[0]}/bin/ptxas, {roots[1]}/bin/ptxas" in text
    told = verify(*words, cache=tmp_path / "cache").stdout
    assert "The same file more than once: " in told
    assert "without 9.0: " in told
    print(told[told.index("Device code by library") :])


def test_the_mended_wheel_runs_on_thor() -> None:
    done = verify(wheel("vllm==0.33.0", "aarch64").file, "--device", "Jetson Thor")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("requirement", "machine"), LISTS)
def test_each_wheel_holds_its_own_list(requirement: str, machine: str, tmp_path: Path) -> None:
    promised = LISTS[requirement, machine]
    folder = libraries(requirement, machine, tmp_path)
    assert verify(folder, "--archs", promised).returncode == 0
    if "11.0" not in promised:
        missing = verify(folder, "--archs", f"{promised} 11.0")
        assert missing.returncode == 4
        assert "11.0 (Jetson Thor" in missing.stderr
        assert "12.0 (" not in missing.stderr


def libraries(requirement: str, machine: str, folder: Path) -> Path:
    """The wheel's libraries and NCCL's in one tree: NCCL alone holds sm_110, so a union over the tree would pass."""
    nccl = wheel("nvidia-nccl-cu13==2.32.3", "x86_64").libraries
    for path in (*wheel(requirement, machine).libraries, *nccl):
        name = "nvidia/nccl/lib" if path in nccl else "vllm"
        (folder / "site" / name).mkdir(parents=True, exist_ok=True)
        target = folder / "site" / name / path.name
        try:
            target.hardlink_to(path)
        except OSError:  # another file system
            target.write_bytes(path.read_bytes())
    return folder / "site"


def test_a_device_is_asked_by_any_name() -> None:
    file = wheel("xformers==0.0.35", "x86_64").file
    assert verify(file, "--device", "A100").returncode == 0
    jit = verify(file, "--device", "RTX 5090")
    assert jit.returncode == 0
    assert "only by compiling PTX" in jit.stdout
    assert verify(file, "--device", "V100").returncode == 4
    wrong = verify(file, "--device", "RTX 9999x")
    assert wrong.returncode == 2
    assert "Traceback" not in wrong.stderr


def test_two_releases_side_by_side() -> None:
    old, new = (unpacked(wheel("vllm==0.33.0", machine).file) for machine in ("x86_64", "aarch64"))
    done = verify("--compare", old, new, "--format", "json")
    assert done.returncode == 0, done.stderr
    value = json.loads(done.stdout)
    found = {one["path"]: one for one in value["libraries"]}["vllm/_C_stable_libtorch.abi3.so"]
    assert found["gained"] == ["87", "110", "110f"]
    assert found["lost"] == ["75"]
    assert value["bytes"]["110"][0] == 0 < value["bytes"]["110"][1]
    assert "_C_stable_libtorch" in verify("--compare", old, new).stdout


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["missing.whl"], 2),
        (["./missing"], 2),
        (["a.so", "b.so"], 2),
        (["x.so", "--archs", "sm_90"], 2),
        (["x.so", "--archs", "9.0", "--device", "thor"], 2),
        (["--compare", "x.so"], 2),
        ([], 2),
        (["docker://127.0.0.1:9/x"], 6),
    ],
)
def test_wrong_words_are_one_clear_error(words: list[str], code: int, tmp_path: Path) -> None:
    done = verify(*words, cache=tmp_path)
    assert done.returncode == code, done.stderr
    assert "error: " in done.stderr
    assert "Traceback" not in done.stderr
