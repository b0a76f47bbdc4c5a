"""`rewrite-timestamp` with every way out of a build, on the docker driver, which unpacks what it stores."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING

import pytest

from orchestrator.reference import Digest, repository
from orchestrator.registry.client import Registry
from tests.support.project import write_project

if TYPE_CHECKING:
    from pathlib import Path

EPOCH = 1_000_000_000


@pytest.mark.parametrize("where", ["matrix", "target"])
def test_timestamps_of_layers_that_are_pushed(engine: str, tmp_path: Path, tmp_image: str, where: str) -> None:
    project = write_project(tmp_path, tmp_image, app="COPY Dockerfile /stamped")
    if where == "matrix":
        with (project.root / "matrix.yaml").open("a") as opened:
            opened.write("output: {rewrite_timestamp: true}\n")
    else:
        bake = project.root / "docker-bake.json"
        more = '"target": "app", "output": ["type=image,rewrite-timestamp=true"]'
        bake.write_text(bake.read_text().replace('"target": "app"', more))
    env = {"SOURCE_DATE_EPOCH": str(EPOCH)}
    loaded = project.build("--load", env=env)
    assert loaded.returncode == 2
    error = project.reported()["app"]["error"]
    assert (error["class"], error["step"]) == ("matrix", "")
    assert "rewrite-timestamp does not match --load" in error["message"]

    done = project.build("--push", env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    digest = project.reported()["app"]["digest"]
    with Registry(repository(tmp_image)) as client:
        image = client.manifest(Digest(digest)).content
        if "manifests" in image:
            image = client.manifest(Digest(image["manifests"][0]["digest"])).content
        layer = image["layers"][-1]
        data = client.blob(Digest(layer["digest"]))
    with tarfile.open(fileobj=io.BytesIO(data)) as layers:
        assert {member.name: member.mtime for member in layers} == {"stamped": EPOCH}
