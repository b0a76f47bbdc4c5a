"""Names that FlashInfer and a bundle of its headers are known by, in the matrix, in builds and in images."""

from __future__ import annotations

LOCK_NAME = "flashinfer.lock.json"
"""The lock file, beside matrix.yaml and inside a bundle."""

NO_DOWNLOAD = "FLASHINFER_NO_DOWNLOAD"
"""Variable that keeps FlashInfer from downloading; safe with a complete bundle only (see `Lock.complete`)."""

CUBIN_DIR = "FLASHINFER_CUBIN_DIR"
"""Variable that names the directory of a placed bundle."""

REPOSITORY = "FLASHINFER_CUBINS_REPOSITORY"
"""Variable that names the server that FlashInfer downloads from."""
