"""Labels that a build writes into an image and `verify` reads back: what was promised, and to which variant."""

from __future__ import annotations

PREFIX = "com.orchestrate"
"""The prefix of every label that is this tool's own."""

VARIANT = f"{PREFIX}.variant"
"""Id of the variant, `openai-cu130-arm64`."""

ARCHS = f"{PREFIX}.archs"
"""Effective archs, `8.0 9.0 12.0+PTX`: what the image promises to hold."""

ARCHS_REQUESTED = f"{PREFIX}.archs.requested"
"""The arch list as matrix.yaml has it, before the toolkit's filter."""

CUDA = f"{PREFIX}.cuda"
"""CUDA version, `13.0.2`."""

MATRIX = f"{PREFIX}.matrix"
"""Digest of matrix.yaml, `sha256:…`."""

FLASHINFER = f"{PREFIX}.flashinfer"
"""Digest (`sha256:…`) of the FlashInfer bundle that the image was given."""

WHEELHOUSE = f"{PREFIX}.wheelhouse"
"""Digest (`sha256:…`) of the wheelhouse that the build was given."""

KEY = f"{PREFIX}.key"
"""Content key (`sha256:…`): a label of an image that was loaded, an annotation of one that was pushed or archived."""

BASES = f"{PREFIX}.bases"
"""The locked base images that the build was given: `NAME@sha256:…`, with spaces between them."""

PROMISE = f"{PREFIX}.promise"
"""Annotation of the statement that an image was verified: digest (`sha256:…`) of what it was verified for."""
