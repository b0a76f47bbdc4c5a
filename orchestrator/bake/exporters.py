"""What a target of the project says about its image: how layers are written, attestations, annotations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator.entries import entry, read_entry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.matrix.schema import Attest

_DESTINATIONS = frozenset(
    {"type", "name", "push", "dest", "tar", "push-by-digest", "name-canonical", "dangling-name-prefix", "store"}
)
"""Attributes of an output that say where the result goes: --push, --load and --output decide that."""

_IMAGES = frozenset({"image", "registry", "oci", "docker"})


def written_by(own: Mapping[str, Any]) -> dict[str, str]:
    """How the user's target writes an image: compression, media types, timestamps."""
    found: dict[str, str] = {}
    for one in map(read_entry, own.get("output") or []):
        if one.get("type") in _IMAGES:
            found |= {name: value for name, value in one.items() if name not in _DESTINATIONS}
    return found


def rewrites(how: Mapping[str, str]) -> bool:
    """Return whether an output replaces the timestamps of the files in layers."""
    return how.get("rewrite-timestamp", "").lower() in {"1", "t", "true"}


def attestations(wanted: Attest, own: Mapping[str, Any], *, load: bool) -> list[str]:
    """The attestations: the matrix's word wins, then the target's, then BuildKit's default.

    They go where an index can hold them: the docker exporter refuses them on most drivers.
    """
    if load:
        return ["type=provenance,disabled=true"]
    found = {one["type"]: one for one in map(read_entry, own.get("attest") or []) if "type" in one}
    if wanted.provenance == "off":
        found["provenance"] = {"type": "provenance", "disabled": "true"}
    elif wanted.provenance is not None:
        kept = {name: text for name, text in found.get("provenance", {}).items() if name != "disabled"}
        found["provenance"] = kept | {"type": "provenance", "mode": wanted.provenance}
    found.setdefault("provenance", {"type": "provenance", "mode": "min"})
    if wanted.sbom is False:
        found.pop("sbom", None)
    elif wanted.sbom:
        kept = {name: text for name, text in found.get("sbom", {}).items() if name != "disabled"}
        found["sbom"] = kept | {"type": "sbom"} | ({"generator": wanted.generator} if wanted.generator else {})
    return [entry({"type": one["type"], **one}) for one in found.values()]


def annotations_of(main: Mapping[str, Any]) -> list[str]:
    """The annotations that the exporter takes: an index is written only for attestations.

    Without one BuildKit refuses those of an index ("index annotations not supported for single platform export").
    """
    attested = any(read_entry(one).get("disabled") != "true" for one in main["attest"])
    found = []
    for one in map(str, main.get("annotations") or []):
        kinds, colon, rest = one.partition(":")
        if attested or not colon or "=" in kinds:
            found.append(one)
        elif kept := [kind for kind in kinds.split(",") if not kind.startswith("index")]:
            found.append(f"{','.join(kept)}:{rest}")
    return found
