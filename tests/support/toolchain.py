"""Real CUDA for tests: the example project with its base image and toolkits, and NVIDIA's own reader of its result.

Everything comes from scripts/base and scripts/toolchain, which keep what they downloaded in a cache of their own; a
second run costs hard links. Each test works on a copy of the project, so that it may edit what it likes.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import tarfile
import zipfile
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import zstandard
from filelock import FileLock

from tests.support.artifacts import cache_dir, download, downloads, unpacked
from tests.support.engine import ROOT, Registry, call

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FULL = {"12.4": "12.4.1", "13.0": "13.0.2"}
"""The releases of the example, and the versions that its matrix gives them."""

EFFECTIVE = {"12.4": "7.5 8.0 8.6 8.9 9.0", "13.0": "7.5 8.0 8.6 8.9 9.0 10.0 11.0 12.0+PTX"}
"""What each release compiles of the example's list."""


def toolkit(release: str, directory: Path) -> Path:
    """A CUDA toolkit in `directory`: its bin/nvcc runs. Releases: 12.4 and 13.0."""
    host_compiler()
    downloads.made_available(f"CUDA {release}", ROOT / "scripts" / "toolchain", release, directory)
    return directory


def newest_toolkit(directory: Path) -> Path:
    """CUDA 13.5 below `directory`, as its wheels are: nvcc compiles sources that include no library."""
    host_compiler()
    for name in ("nvidia-cuda-nvcc", "nvidia-nvvm", "nvidia-cuda-crt", "nvidia-cuda-runtime"):
        with zipfile.ZipFile(download(f"{name}==13.5.37")) as wheel:
            wheel.extractall(directory)
    root = directory / "nvidia" / "cu13"
    for program in (*(root / "bin").iterdir(), *(root / "nvvm" / "bin").iterdir()):
        program.chmod(0o755)  # zipfile drops the executable bit
    return root


def host_compiler() -> None:
    """nvcc calls g++ even for its device half; a machine with Python, git and make alone has none."""
    installed("g++", "g++")


def installed(program: str, *packages: str) -> str:
    """The path of a program; its Debian packages are installed where it is missing, as root."""
    downloads.require_marker(program)
    if shutil.which(program) is None:
        with FileLock(cache_dir() / "apt.lock"):
            if shutil.which(program) is None:
                apt = "apt-get -q -o DPkg::Lock::Timeout=300"
                install = f"{apt} update; {apt} install -y --no-install-recommends {' '.join(packages)}"
                env = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
                downloads.made_available(program, "sh", "-c", install, env=env)
    found = shutil.which(program)
    assert found, f"no {program}: install {' '.join(packages)}"
    return found


def base(destination: Path) -> Path:
    """A Debian base image: a .tar, or an OCI layout directory for any other name."""
    downloads.made_available("a Debian base image", ROOT / "scripts" / "base", destination)
    return destination


def cuobjdump() -> Path:
    """NVIDIA's cuobjdump, which reads files of every CUDA release."""
    return next(unpacked(download("nvidia-cuda-cuobjdump==13.5.37")).rglob("bin/cuobjdump"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Axpy:
    """A copy of examples/axpy with docker/ where its bake file looks for it.

    Attributes:
        root: The directory of its matrix.yaml; bake runs there.
    """

    root: Path

    @property
    def dockerfile(self) -> Path:
        """The copy of docker/Dockerfile."""
        return self.root / "../../docker/Dockerfile"

    def bake(
        self, release: str, *options: str, check: bool = True, timeout: float = 300
    ) -> subprocess.CompletedProcess[str]:
        """Plain `docker buildx bake` with the arguments that the matrix gives a release; more options come last."""
        settings = {
            "contexts.cuda-toolkit": f".toolchain/{release}",
            "args.CUDA_VERSION": FULL[release],
            "args.torch_cuda_arch_list": EFFECTIVE[release],
            "args.max_jobs": "2",
            "args.nvcc_threads": "1",
        }
        words = [word for name, value in settings.items() for word in ("--set", f"axpy.{name}={value}")]
        argv = ["docker", "buildx", "bake", "-f", "docker-bake.hcl", "--allow", f"fs.read={self.root.parents[1]}"]
        done = subprocess.run(
            [*argv, "--progress", "plain", *words, *options, "axpy"],
            cwd=self.root, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        if check and done.returncode:
            raise AssertionError(done.stderr[-6000:])
        return done


def axpy(directory: Path, *releases: str) -> Axpy:
    """Copy the example into `directory`, with the base image and the toolkits of `releases` prepared."""
    root = directory / "examples" / "axpy"
    shutil.copytree(
        ROOT / "examples" / "axpy", root, ignore=shutil.ignore_patterns(".toolchain", ".orchestrate", "build", "dist")
    )
    shutil.copytree(ROOT / "docker", directory / "docker")
    base(root / ".toolchain" / "base")
    for release in releases:
        toolkit(release, root / ".toolchain" / release)
    return Axpy(root=root)


@dataclass(frozen=True, kw_only=True, slots=True)
class Pushed:
    """An image of one platform, read back from a registry.

    Attributes:
        config: The image configuration, parsed.
        layers: Layer digests, the lowest first.
    """

    registry: Registry
    name: str
    config: dict[str, Any]
    layers: tuple[tuple[str, str], ...]

    @classmethod
    def read(cls, registry: Registry, name: str, reference: str, platform: str = "linux/amd64") -> Pushed:
        """Read the image behind a tag or a digest; of an index the one for `platform`."""
        manifest = registry.manifest(name, reference)
        entries = manifest.get("manifests")
        if isinstance(entries, list):
            (digest,) = [
                entry["digest"]
                for entry in entries
                if f"{entry['platform']['os']}/{entry['platform']['architecture']}" == platform
            ]
            manifest = registry.manifest(name, digest)
        config, layers = manifest["config"], manifest["layers"]
        assert isinstance(config, dict)
        assert isinstance(layers, list)
        return cls(
            registry=registry,
            name=name,
            config=json.loads(registry.blob(name, config["digest"])),
            layers=tuple((layer["digest"], layer["mediaType"]) for layer in layers),
        )

    @property
    def labels(self) -> dict[str, str]:
        """The image's labels."""
        return dict(self.config["config"].get("Labels") or {})

    @property
    def environment(self) -> dict[str, str]:
        """The image's environment."""
        return dict(entry.partition("=")[::2] for entry in self.config["config"]["Env"])

    @property
    def history(self) -> list[dict[str, str]]:
        """The image's history, the oldest step first; `created_by` of a RUN starts with its build arguments."""
        return list(self.config["history"])

    def files(self, pattern: str) -> Iterator[tuple[str, bytes]]:
        """Files whose whole path matches, from the topmost layer down (whiteouts are not looked at)."""
        for digest, media_type in reversed(self.layers):
            data = self.registry.blob(self.name, digest)
            if media_type.endswith("zstd"):
                data = zstandard.ZstdDecompressor().decompressobj().decompress(data)
            with tarfile.open(fileobj=io.BytesIO(data)) as archive:
                for member in archive:
                    if member.isfile() and re.fullmatch(pattern, member.name):
                        stream = archive.extractfile(member)
                        assert stream is not None
                        yield member.name, stream.read()

    def library(self) -> bytes:
        """The example's libaxpy.so."""
        return next(self.files(r".*/axpy/libaxpy\.so"))[1]


def device_code(library: bytes, directory: Path) -> Counter[str]:
    """What cuobjdump finds in a shared library: `sm_90` and `compute_120` (PTX), each with its number of images."""
    path = directory / "library.so"
    path.write_bytes(library)
    found: Counter[str] = Counter()
    for option, kind in (("--list-elf", "sm"), ("--list-ptx", "compute")):
        # a library without PTX makes --list-ptx end with a message and a status of its own
        listed = call(cuobjdump(), option, path, check=option == "--list-elf").stdout
        found.update(f"{kind}_{number}" for number in re.findall(r"\.sm_(\d+[af]?)\.(?:cubin|ptx)", listed))
    return found


def promised(arch_list: str, translation_units: int = 2) -> Counter[str]:
    """What `device_code` must find for a torch arch list: each entry in every translation unit, and PTX where asked."""
    found: Counter[str] = Counter()
    for item in arch_list.split():
        number = item.removesuffix("+PTX").replace(".", "")
        found[f"sm_{number}"] = translation_units
        if item.endswith("+PTX"):
            found[f"compute_{number}"] = translation_units
    return found
