"""The tools that other tests break things with, put to the test on real pushes and requests."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.engine import Registry, call, request
from tests.support.faults import Fault

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.engine import MakeFaulty, MakeRegistry


def push(folder: Path, name: str, content: str = "one") -> str:
    """Build an image of one file, push it, and give its digest."""
    (folder / "file").write_text(content)
    (folder / "Dockerfile").write_text("FROM scratch\nCOPY file /file\n")
    metadata = folder / "metadata.json"
    output = f"type=image,name={name},push=true"
    done = call(
        "docker", "buildx", "build", "--progress", "plain", "--provenance", "false", "--output", output,
        "--metadata-file", metadata, folder, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return str(json.loads(metadata.read_text())["containerimage.digest"])


def test_a_push_goes_through_the_proxy_unchanged(
    faulty_registry: MakeFaulty, throwaway_registry: MakeRegistry, tmp_path: Path
) -> None:
    behind = throwaway_registry()
    proxy = faulty_registry(upstream=behind.address)
    digest = push(tmp_path, f"{proxy.address}/a/b:one", content="x" * 300_000)
    assert behind.digest("a/b", "one") == digest
    layer = behind.manifest("a/b", "one")["layers"]
    assert isinstance(layer, list)
    assert Registry(address=proxy.address).blob("a/b", layer[0]["digest"]) == behind.blob("a/b", layer[0]["digest"])
    assert proxy.count(method="PUT", path="/manifests/one", status=201) == 1


def test_a_busy_registry_is_busy_for_as_long_as_told(faulty_registry: MakeFaulty) -> None:
    proxy = faulty_registry(Fault(path="^/v2/$", status=503, times=2, headers={"Retry-After": "7"}))
    answers = [request("GET", f"http://{proxy.address}/v2/") for _ in range(3)]
    assert [status for status, _, _ in answers] == [503, 503, 200]
    assert answers[0][1]["retry-after"] == "7"
    assert proxy.count(status=503) == 2
    assert proxy.count(status=200) == 1


def test_faults_meet_only_what_they_name(faulty_registry: MakeFaulty) -> None:
    proxy = faulty_registry(Fault(method="HEAD", path="/manifests/", status=429, times=-1))
    assert request("GET", f"http://{proxy.address}/v2/")[0] == 200
    assert request("GET", f"http://{proxy.address}/v2/a/manifests/x")[0] == 404
    assert [request("HEAD", f"http://{proxy.address}/v2/a/manifests/x")[0] for _ in range(2)] == [429, 429]


def test_a_connection_is_cut_and_an_answer_is_late(faulty_registry: MakeFaulty) -> None:
    proxy = faulty_registry(Fault(reset=True), Fault(status=0, delay=0.3))
    with pytest.raises(ConnectionResetError):
        request("GET", f"http://{proxy.address}/v2/")
    begin = time.monotonic()
    assert request("GET", f"http://{proxy.address}/v2/")[0] == 200
    assert time.monotonic() - begin >= 0.3
    assert [seen.status for seen in proxy.seen] == [0, 200]


def test_what_a_test_leaves_behind_is_removed(registry: Registry, tmp_image: str, tmp_path: Path) -> None:
    from tests.support.engine import remove_images

    push(tmp_path, f"{tmp_image}:one")
    name = tmp_image.partition("/")[2]
    assert registry.tags(name) == ["one"]
    remove_images(tmp_image)
    registry.forget(name)
    assert registry.tags(name) == []
    assert call("docker", "image", "ls", "-q", "--filter", f"reference={tmp_image}").stdout == ""
