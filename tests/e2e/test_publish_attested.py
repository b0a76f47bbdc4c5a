"""Provenance and software bills are with the images after publish, in both registries; checked with buildx and oras."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support.artifacts import debian_program
from tests.support.base import write_rootfs
from tests.support.engine import call
from tests.support.project import write_project

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.engine import MakeRegistry

BILL = {
    "_type": "https://in-toto.io/Statement/v0.1",
    "predicateType": "https://spdx.dev/Document",
    "predicate": {"spdxVersion": "SPDX-2.3", "SPDXID": "SPDXRef-DOCUMENT", "name": "what the stand-in found"},
}
GENERATOR = """\
FROM scratch
ADD rootfs.tar /
COPY bill.json /bill.json
ENTRYPOINT ["/bin/sh", "-c", "cat /bill.json > \\"$BUILDKIT_SCAN_DESTINATION/bill.spdx.json\\""]
"""


@pytest.mark.download
def test_what_rides_with_an_image_rides_on(throwaway_registry: MakeRegistry, tmp_image: str, tmp_path: Path) -> None:
    oras = debian_program("oras")
    scanner = tmp_path / "scanner"
    write_rootfs(scanner)
    (scanner / "bill.json").write_text(json.dumps(BILL))
    (scanner / "Dockerfile").write_text(GENERATOR)
    generator = f"{tmp_image}-cache:generator"  # a repository that the fixture removes as well
    call("docker", "buildx", "build", "--push", "--provenance=false", "--tag", generator, scanner)
    project = write_project(tmp_path, tmp_image, app="RUN : built")
    other = f"{throwaway_registry().address}/mirror/app"
    matrix = project.root / "matrix.yaml"
    text = matrix.read_text().replace(
        "variants:\n", f"variants:\n  attest: {{provenance: max, sbom: true, generator: {generator}}}\n"
    )
    matrix.write_text(f'{text}publish: {{tags: ["{{image}}:v1"], to: ["{{image}}", "{other}"]}}\n')
    done = project.build("--push")
    assert done.returncode == 0, done.stderr
    done = project.run("publish")
    assert done.returncode == 0, done.stdout + done.stderr
    for repository in (tmp_image, other):
        for what, expected in (("SBOM", "what the stand-in found"), ("Provenance", "buildConfig")):
            said = call(
                "docker", "buildx", "imagetools", "inspect", "--format", f"{{{{json .{what}}}}}", f"{repository}:v1"
            ).stdout
            assert expected in said, said[:500]
        index = json.loads(call(oras, "manifest", "fetch", "--plain-http", f"{repository}:v1").stdout)
        (rider,) = [one for one in index["manifests"] if one["platform"]["architecture"] == "unknown"]
        manifest = json.loads(call(oras, "manifest", "fetch", "--plain-http", f"{repository}@{rider['digest']}").stdout)
        kinds = {layer["annotations"]["in-toto.io/predicate-type"] for layer in manifest["layers"]}
        assert len(kinds) == 2
        for layer in manifest["layers"]:
            done_ = subprocess.run(
                [str(oras), "blob", "fetch", "--plain-http", "--output", "-", f"{repository}@{layer['digest']}"],
                capture_output=True, check=True,
            )  # fmt: skip
            assert json.loads(done_.stdout)["predicateType"] in kinds
