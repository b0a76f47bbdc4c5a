"""Signatures of published digests, by cosign itself."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from functools import partial

import pytest

from orchestrator.reference import Repository, Tag
from orchestrator.registry.client import Registry as Client
from orchestrator.registry.manifests import described
from tests.support.artifacts import debian_program
from tests.support.releases import AMD, Release, pushed, report, stand_ins


@pytest.mark.download
def test_each_digest_is_signed_once_before_a_tag_names_it(
    release: Release, secured: tuple[str, dict[str, str]]
) -> None:
    cosign = debian_program("cosign").parent
    address, env = secured
    other = Repository(host=address, path="mirror/app")
    env = {**env, "PATH": f"{cosign}:{os.environ['PATH']}", "COSIGN_PASSWORD": "pw"}
    root = release.project.root
    run = partial(subprocess.run, cwd=root, env={**os.environ, **env}, capture_output=True, text=True)
    made = run(["cosign", "generate-key-pair"])
    assert made.returncode == 0, made.stderr
    matrix = root / "matrix.yaml"
    sign = "  sign: {private_key: cosign.key, public_key: cosign.pub, transparency_log: false}"
    text = matrix.read_text().replace("  to: []\n", f'  to: ["{{image}}", "{other}"]\n')
    matrix.write_text(text.replace("  immutable: true", sign))
    (root / ".gitignore").write_text(".orchestrate\ncosign.*\n")
    (root / ".dockerignore").write_text("cosign.*\nmatrix.yaml\n")
    signed = replace(release, env=env)
    digests = pushed(signed, stand_ins(signed, signed.commit("two")))
    named = report(signed, digests)
    said = signed.run("--report", named)
    assert f"{release.source}: 3 digests signed, 0 had a signature" in said
    # cosign itself verifies the index and each image, by tag and by digest, in both registries
    with Client(release.source) as client:
        index = client.manifest(Tag("v1"))
        children = [str(one.digest) for one in described(index)][::2]
        before = {str(tag): client.head(tag) for tag in client.tags()}
    verify = ["cosign", "verify", "--key", "cosign.pub", "--insecure-ignore-tlog=true"]
    for repository in (release.source, other):
        for name in (f"{repository}:v1", f"{repository}:latest", *(f"{repository}@{digest}" for digest in children)):
            done = run([*verify, name])
            assert done.returncode == 0, f"{name}: {done.stderr}"
    # another tag of the same digests: they are not signed a second time
    matrix.write_text(matrix.read_text().replace("nightly", "weekly"))
    said = signed.run("--report", named)
    assert f"{release.source}: 0 digests signed, 3 had a signature" in said
    with Client(release.source) as client:
        assert all(client.head(Tag(tag)) == there for tag, there in before.items() if tag != "orchestrate-publish")
    again = pushed(signed, stand_ins(signed, signed.commit("three")))
    done = signed.project.run("verify", f"{release.source}:v1", "--signature", env=env)
    assert (done.returncode, done.stdout) == (0, f"{release.source}:v1: the signature is valid\n")
    unsigned = f"{release.source}@{again[AMD]}"
    done = signed.project.run("verify", unsigned, "--signature", env=env)
    assert done.returncode == 4
    assert f"{unsigned}: the signature is not valid: no signatures found" in done.stderr
    # without cosign, or without the key, nothing moves
    said = replace(signed, env={**env, "COSIGN_PASSWORD": "wrong"}).run("--report", report(signed, again), code=5)
    assert "was not signed: " in said
    (root / "cosign.key").unlink()
    said = signed.run("--report", report(signed, again), code=2)
    assert "publish.sign: the key cosign.key was not found" in said
    with Client(release.source) as client:
        assert client.head(Tag("v1")) == before["v1"]
