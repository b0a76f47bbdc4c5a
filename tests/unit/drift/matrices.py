"""A small matrix for tests of the drift room: two releases, two platforms, one claim list at a time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.matrix import load

if TYPE_CHECKING:
    from orchestrator.matrix.model import Matrix

BASE = """\
version: 1
image: ghcr.io/acme/app
bake: {files: [docker-bake.hcl], targets: [app, app-big]}
arch_lists:
  release:
    archs: 8.0 8.6 9.0 10.0 11.0 12.0+PTX
    forbid:
      - {arch: "7.0", why: Volta is no longer tested}
  x86: 8.0 8.6 9.0 10.0 12.0
  flashinfer: 8.0 9.0a 10.0f 11.0 12.0f
cuda:
  "13.0": {version: 13.0.2}
  "12.9": {version: 12.9.1, tag_suffix: -cu129}
platforms:
  linux/amd64: {arch_list: x86}
  linux/arm64: {}
axes:
  python: {"3.12": {}, "3.13": {}}
variants:
  arch_list: release
  args: {CUDA_VERSION: "{cuda.version}", ARCHS: "{archs.torch}", max_jobs: 16, PYTHON_VERSION: "{python}"}
  tags: ["{image}:{git.sha}-{target}-{python}-{platform.machine}{cuda.tag_suffix}"]
overrides:
  - {when: {target: app-big}, args: {max_jobs: 64}}
"""


def matrix(claims: str, *, root: Path = Path("/nowhere"), base: str = BASE) -> Matrix:
    """The matrix with a `claims:` section, as if it lay in `root`."""
    text = f"{base}claims:\n{claims}" if claims else base
    return load.parse(text.encode(), path=root / "matrix.yaml", shown="matrix.yaml")
