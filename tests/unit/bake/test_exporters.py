"""What a target says about its image, where nothing else decides it."""

from __future__ import annotations

import pytest

from orchestrator.bake.exporters import attestations, rewrites, written_by
from orchestrator.matrix.schema import Attest


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1", True),
        ("t", True),
        ("T", True),
        ("true", True),
        ("True", True),
        ("false", False),
        ("0", False),
        ("", False),
    ],
)
def test_timestamps_are_rewritten_where_buildkit_reads_true(value: str, *, expected: bool) -> None:
    assert rewrites({"rewrite-timestamp": value}) is expected
    assert rewrites({"compression": value}) is False


@pytest.mark.parametrize("kind", ["image", "registry", "oci", "docker"])
def test_how_an_image_is_written_is_taken_from_outputs_of_images_alone(kind: str) -> None:
    where = (
        "name=a,push=true,dest=b,tar=false,push-by-digest=true,name-canonical=true,dangling-name-prefix=c,store=true"
    )
    own = [f"type={kind},{where},compression=zstd", "type=local,platform-split=false", "type=cacheonly"]
    assert written_by({"output": own}) == {"compression": "zstd"}
    assert written_by({"output": None}) == written_by({}) == {}


def test_what_a_target_adds_to_its_attestations_is_kept_when_the_matrix_wants_them() -> None:
    own = {"attest": ["type=sbom,disabled=true,generator=g,x=1", "type=provenance,disabled=true,y=2", "mode=max"]}
    assert attestations(Attest(provenance="max", sbom=True), own, load=False) == [
        "type=sbom,generator=g,x=1",
        "type=provenance,y=2,mode=max",
    ]
    assert attestations(Attest(sbom=True, generator="h"), own, load=False) == [
        "type=sbom,generator=h,x=1",
        "type=provenance,disabled=true,y=2",
    ]
    assert attestations(Attest(provenance="off", sbom=False), own, load=False) == ["type=provenance,disabled=true"]
    assert attestations(Attest(), {}, load=False) == ["type=provenance,mode=min"]
    assert attestations(Attest(sbom=True), own, load=True) == ["type=provenance,disabled=true"]
