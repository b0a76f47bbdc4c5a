"""OCI layouts made by hand, so that their layers can hold what no builder would write."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from typing import TYPE_CHECKING, Any

import zstandard

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_LAYER = "application/vnd.oci.image.layer.v1.tar"


class Layout:
    """The files of an OCI layout with one image.

    Args:
        layers: Tar archives, the lowest first.
        packing: "gzip", "zstd" or "" for every layer.
        labels: Of the image.
        environment: Of the image, `NAME=value`.
        name: Under which `docker load` puts it into the engine.
    """

    def __init__(
        self,
        layers: Sequence[bytes],
        *,
        packing: str = "gzip",
        labels: Mapping[str, str] | None = None,
        environment: Sequence[str] = (),
        name: str = "",
    ) -> None:
        self.files: dict[str, bytes] = {"oci-layout": b'{"imageLayoutVersion": "1.0.0"}'}
        config = {
            "os": "linux", "architecture": "amd64", "config": {"Labels": dict(labels or {}), "Env": list(environment)},
            "rootfs": {"type": "layers", "diff_ids": [digest(layer) for layer in layers]},
            "history": [{"created_by": "by hand"} for _ in layers],
        }  # fmt: skip
        kind = _LAYER + (f"+{packing}" if packing else "")
        stored = [self.blob(packed(layer, packing), kind) for layer in layers]
        manifest = {
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "layers": stored,
            "config": self.blob(json.dumps(config).encode(), "application/vnd.oci.image.config.v1+json"),
        }  # fmt: skip
        entry = self.blob(json.dumps(manifest).encode(), str(manifest["mediaType"]))
        if name:
            entry["annotations"] = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name}
        self.digest: str = entry["digest"]
        self.layers: list[str] = [one["digest"] for one in stored]
        self.files["index.json"] = json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()

    def blob(self, data: bytes, kind: str) -> dict[str, Any]:
        """Put a blob into the layout; its descriptor."""
        self.files[f"blobs/{digest(data).replace(':', '/')}"] = data
        return {"mediaType": kind, "digest": digest(data), "size": len(data)}

    def directory(self, path: Path) -> Path:
        """Write the layout as a directory."""
        for name, data in self.files.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(data)
        return path

    def archive(self, path: Path) -> Path:
        """Write the layout as a tar file."""
        with tarfile.open(path, "w") as out:
            for name, data in self.files.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                out.addfile(info, io.BytesIO(data))
        return path


def digest(data: bytes) -> str:
    """`sha256:…`."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def packed(layer: bytes, packing: str) -> bytes:
    """A layer as it is stored."""
    if packing == "zstd":
        return zstandard.ZstdCompressor().compress(layer)
    return gzip.compress(layer, mtime=0) if packing else layer
