"""A token that a build uses as a BuildKit secret is found nowhere in what the build leaves."""

from __future__ import annotations

import gzip
import json
import os
from typing import TYPE_CHECKING, Any

from orchestrator.reference import Digest, Tag, repository
from orchestrator.registry.client import Registry
from orchestrator.registry.manifests import described
from tests.support.project import write_project

if TYPE_CHECKING:
    from pathlib import Path

TOKEN = "ghp_" + "Zx9" * 12

STEP = """\
RUN --mount=type=secret,id=token read -r found < /run/secrets/token || test -n "$found"
RUN --mount=type=secret,id=token,env=TOKEN test -n "$TOKEN"
"""


def everything(client: Registry, tag: str) -> list[bytes]:
    """All that a tag reaches: manifests, configuration with history, layers, provenance."""
    found: list[bytes] = []
    waiting = [client.manifest(Tag(tag))]
    while waiting:
        manifest = waiting.pop()
        found.append(manifest.raw)
        waiting += [client.manifest(one.digest) for one in described(manifest)]
        for blob in described(manifest, "config", "layers"):
            data = client.blob(Digest(str(blob.digest)), limit=1 << 30)
            found.append(gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data)
    return found


def test_a_planted_token_is_found_nowhere(tmp_image: str, tmp_path: Path) -> None:
    project = write_project(tmp_path, tmp_image, app=STEP)
    matrix = project.root / "matrix.yaml"
    text = matrix.read_text().replace(
        "variants:\n", 'variants:\n  secrets: ["id=token,env=PLANTED"]\n  attest: {provenance: max}\n'
    )
    matrix.write_text(text)
    done = project.build("--push", env={"PLANTED": TOKEN})
    assert done.returncode == 0, done.stderr
    places = {"output": (done.stdout + done.stderr).encode(), "report": project.report.read_bytes()}
    for folder, _, names in os.walk(project.root / ".orchestrate"):
        places |= {f"{folder}/{name}": (project.root / folder / name).read_bytes() for name in names}
    with Registry(repository(tmp_image)) as client:
        held = everything(client, "app-amd64")
    places |= {f"image {number}": data for number, data in enumerate(held)}
    assert len(held) > 4
    assert any(b"slsa.dev/provenance" in data for data in held)
    assert any(b"read -r found" in data for data in held), "the step is in the history"
    assert not [place for place, data in places.items() if TOKEN.encode() in data]
    # the same token as an argument never gets that far
    matrix.write_text(text.replace("  args:\n", f"  args:\n    TOKEN: {TOKEN}\n"))
    done = project.build("--push")
    assert done.returncode == 2
    assert "the value holds a GitHub token" in done.stderr
    assert TOKEN not in done.stdout + done.stderr
    content: dict[str, Any] = json.loads(project.report.read_text())
    assert TOKEN not in json.dumps(content)
