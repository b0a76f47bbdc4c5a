"""Names that FlashInfer and a bundle of its headers are known by, in the matrix, in builds and in images."""

from __future__ import annotations

LOCK_NAME = "flashinfer.lock.json"
"""The lock file, beside matrix.yaml and inside a bundle."""

ABOUT_NAME = "flashinfer.bundle.json"
"""What the lock says beside its files, as one of the files that a bundle's digest covers."""

NO_VERSION_CHECK = "FLASHINFER_DISABLE_VERSION_CHECK"
"""Variable that lets FlashInfer start beside a flashinfer-cubin or flashinfer-jit-cache of another version."""

WORKSPACE = "FLASHINFER_WORKSPACE_BASE"
"""Variable that names the directory below which FlashInfer keeps what it compiles; made when it is imported."""

NO_DOWNLOAD = "FLASHINFER_NO_DOWNLOAD"
"""Variable that keeps FlashInfer from downloading; safe with a complete bundle only (see `Lock.complete`)."""

CUBIN_DIR = "FLASHINFER_CUBIN_DIR"
"""Variable that names the directory of a placed bundle."""

REPOSITORY = "FLASHINFER_CUBINS_REPOSITORY"
"""Variable that names the server that FlashInfer downloads from."""
