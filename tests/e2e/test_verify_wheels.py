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

from tests.support.artifacts import unpacked
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
