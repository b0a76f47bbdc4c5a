"""The section `output` of matrix.yaml, and what BuildKit's exporters call its keys.

Annotations are evaluated here (no `from __future__ import annotations`): sections are read from them.
"""

from typing import Annotated, Literal

from orchestrator.matrix.section import Range, Section, key


class OutputSpec(Section):
    """How layers are written, for every variant; what is left out the bake target's own output says."""

    compression: Literal["gzip", "zstd", "estargz", "uncompressed"] | None = key(
        "Compression of the layers.", default=None
    )
    compression_level: Annotated[int, Range(0, 22)] | None = key(
        "As the compression counts it: gzip and estargz 0 to 9, zstd 0 to 22.", default=None
    )
    force_compression: bool | None = key("Compress the layers of base images again.", default=None)
    oci_mediatypes: bool | None = key("Use the media types of OCI in place of Docker's.", default=None)
    rewrite_timestamp: bool | None = key("Set the times of files to the time that the build is given.", default=None)

    def attributes(self) -> dict[str, str]:
        """What BuildKit's exporters call them, of those that the file has."""
        given = {name.replace("_", "-"): getattr(self, name) for name in self.section_keys}
        return {
            name: str(value).lower() if isinstance(value, bool) else str(value)
            for name, value in given.items()
            if value is not None
        }
