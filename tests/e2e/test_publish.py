"""`orchestrate publish` with the installed command: two platforms, two registries."""

from __future__ import annotations

import json
import re
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.reference import Repository
from orchestrator.registry.client import Registry as Client
from tests.support.engine import call
from tests.support.releases import PASSWORD, USER, Release, write
from tests.support.toolchain import installed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.support.engine import MakeRegistry


pytestmark = pytest.mark.download  # skopeo, where it is missing


def inspected(name: str, env: Mapping[str, str], *, tls: bool) -> dict[str, Any]:
    """The raw index that skopeo, an independent client, reads under a tag."""
    options = ["--creds", f"{USER}:{PASSWORD}", "--cert-dir", env["CERTIFICATES"]] if tls else ["--tls-verify=false"]
    said = call(installed("skopeo", "skopeo"), "inspect", "--raw", *options, f"docker://{name}").stdout
    found = json.loads(said)
    assert isinstance(found, dict)
    return found


def test_built_images_are_published_to_two_registries(
    throwaway_registry: MakeRegistry, secured: tuple[str, dict[str, str]], tmp_path: Path
) -> None:
    address, env = secured
    source = Repository(host=throwaway_registry().address, path="acme/app")
    other = Repository(host=address, path="mirror/app")
    project = write(tmp_path, source, to=["{image}", other], tags=("{git.short}", "v1.2.3", "v1.2"))
    release = Release(project=project, source=source, env=env)
    commit = release.commit("one")
    done = project.build("--push", "--jobs", "2")
    assert done.returncode == 0, done.stderr
    said = release.run("--dry-run")
    assert said.count("new tag ->") == 40
    assert "would move" in said
    with Client(source) as client:
        assert not [tag for tag in client.tags() if str(tag).startswith(("v", "nightly", "latest", "orchestrate"))]
    said = release.run()
    assert "complete: every tag names the new digest" in said
    print(said)
    windows = [float(text) for text in re.findall(r"([0-9.]+) s between", said)]
    assert len(windows) == 3
    certificates = tmp_path / "certificates"
    certificates.mkdir()
    shutil.copy(env["SSL_CERT_FILE"], certificates / "ca.crt")
    for suffix in ("", "-cu129", "-slim", "-cu129-slim"):
        digests: set[str] = set()
        index: dict[str, Any] = {}
        for tag in (commit[:12], "v1.2.3", "v1.2", "nightly", "latest"):
            for repository, tls in ((source, False), (other, True)):
                index = inspected(f"{repository}:{tag}{suffix}", {**env, "CERTIFICATES": str(certificates)}, tls=tls)
                digests.add(json.dumps(index))
        assert len(digests) == 1
        platforms = [f"{one['platform']['os']}/{one['platform']['architecture']}" for one in index["manifests"]]
        assert platforms == ["linux/amd64", "unknown/unknown", "linux/arm64", "unknown/unknown"]
        assert index["annotations"] == {"org.opencontainers.image.revision": commit}
    # what rode with the images is there as well, as buildx reads it
    provenance = call(
        "docker", "buildx", "imagetools", "inspect", "--format", "{{json .Provenance}}", f"{source}:v1.2.3"
    ).stdout
    assert set(json.loads(provenance)) == {"linux/amd64", "linux/arm64"}
    assert "nothing to move" in release.run()
    # another commit: its tags are new, the floating ones move, and the record brings them back
    before = inspected(f"{source}:latest", env, tls=False)
    release.commit("two")
    assert project.build("--push", "--jobs", "2").returncode == 0
    assert "complete" in release.run()
    assert inspected(f"{source}:latest", env, tls=False) != before
    said = release.run("--rollback", str(source))
    assert "rolled back" in said
    assert inspected(f"{source}:latest", env, tls=False) == before
    assert inspected(f"{source}:v1.2", env, tls=False) == before
