"""`orchestrate publish` with the installed command: two platforms, two registries, and all that is refused."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from filelock import FileLock

from orchestrator.matrix import expand, load
from orchestrator.reference import Repository, Tag
from orchestrator.registry.client import Registry as Client
from orchestrator.registry.manifests import described
from orchestrator.runs import proof
from orchestrator.runs.planned import planned
from tests.support.artifacts import cache_dir, downloads
from tests.support.engine import RegistryProcess, call
from tests.support.project import Project
from tests.support.publishing import StandIn, push

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from orchestrator.reference import Digest
    from tests.support.engine import MakeRegistry

USER, PASSWORD = "me", "s3:cret"
HTPASSWD = f"{USER}:$2b$05$Oizmo2nWyuhk6OH6SpCOSO/9RDKyCLCCCXQ2El5cwjWcFhX6QSfeq"
BRIDGE = "172.17.0.1"
"""The engine's own network: an address of this machine for which nobody speaks plain HTTP."""

MATRIX = """\
version: 1
image: {image}
bake:
  files: [docker-bake.json]
  targets: {{app: {{}}, app-slim: {{tag_suffix: -slim}}}}
arch_lists:
  release: 8.0 9.0
cuda:
  "12.9": {{version: 12.9.1, tag_suffix: -cu129}}
  "13.0": {{version: 13.0.2}}
platforms:
  linux/amd64:
  linux/arm64:
variants:
  arch_list: release
  args: {{CUDA_VERSION: "{{cuda.version}}"}}
  tags: ["{{image}}:{{git.short}}-{{variant.id}}"]
publish:
  to: [{to}]
  tags:
{tags}
  floating:
    - "{{image}}:nightly{{cuda.tag_suffix}}{{target.tag_suffix}}"
    - "{{image}}:latest{{cuda.tag_suffix}}{{target.tag_suffix}}"
  require_platforms: [linux/amd64, linux/arm64]
{more}
cache: {{backend: "off"}}
"""
DOCKERFILE = """\
FROM scratch AS app
ARG CUDA_VERSION
LABEL com.acme.cuda=$CUDA_VERSION
COPY data /data

FROM app AS app-slim
ARG CUDA_VERSION
LABEL com.acme.slim=$CUDA_VERSION
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Release:
    """A project that publishes, and where to."""

    project: Project
    source: Repository
    env: Mapping[str, str]

    def run(self, *words: str, code: int = 0) -> str:
        """`orchestrate publish WORDS`; what it prints."""
        done = self.project.run("publish", *words, env=self.env)
        assert "Traceback" not in done.stderr, done.stderr
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def commit(self, text: str) -> str:
        """Change the project and commit it; the commit."""
        (self.project.root / "data").write_text(text)
        git = ("git", "-C", str(self.project.root), "-c", "user.name=t", "-c", "user.email=t@example.org")
        call(*git, "add", "-A")
        call(*git, "commit", "-q", "-m", text)
        return call(*git, "rev-parse", "HEAD").stdout.strip()


def write(
    folder: Path, source: Repository, *, to: Sequence[object] = (), tags: Sequence[str] = ("v1",), more: str = ""
) -> Project:
    root = folder / "project"
    root.mkdir(parents=True)
    (root / "Dockerfile").write_text(DOCKERFILE)
    (root / ".gitignore").write_text(".orchestrate\n")
    bake = {"target": {name: {"context": ".", "target": name} for name in ("app", "app-slim")}}
    (root / "docker-bake.json").write_text(json.dumps(bake))
    lines = "\n".join(f'    - "{{image}}:{tag}{{cuda.tag_suffix}}{{target.tag_suffix}}"' for tag in tags)
    (root / "matrix.yaml").write_text(
        MATRIX.format(image=source, to=", ".join(f'"{one}"' for one in to), tags=lines, more=more)
    )
    call("git", "init", "-q", root)
    return Project(root=root, report=folder / "report.json")


@pytest.fixture
def secured(engine: str, tmp_path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """A registry with a password and TLS: its address, and the environment in which it can be reached."""
    made = RegistryProcess(tmp_path / "secured", htpasswd=HTPASSWD, host=BRIDGE)
    address = made.registry.address
    home = tmp_path / "docker"
    home.mkdir()
    login = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    (home / "config.json").write_text(json.dumps({"auths": {address: {"auth": login}}}))
    yield address, {"DOCKER_CONFIG": str(home), "SSL_CERT_FILE": str(tmp_path / "secured/ca.pem"), "NO_PROXY": BRIDGE}
    made.stop()


def inspected(name: str, env: Mapping[str, str], *, tls: bool) -> dict[str, Any]:
    """The raw index that skopeo, an independent client, reads under a tag."""
    options = ["--creds", f"{USER}:{PASSWORD}", "--cert-dir", env["CERTIFICATES"]] if tls else ["--tls-verify=false"]
    said = call("skopeo", "inspect", "--raw", *options, f"docker://{name}").stdout
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


# -- what is refused -----------------------------------------------------------------------------------------------


@pytest.fixture
def release(throwaway_registry: MakeRegistry, tmp_path: Path) -> Release:
    """One target and release of stand-ins, pushed and named by a report."""
    source = Repository(host=throwaway_registry().address, path="acme/app")
    project = write(tmp_path, source, more="  immutable: true")
    text = (project.root / "matrix.yaml").read_text()
    text = text.replace("{app: {}, app-slim: {tag_suffix: -slim}}", "[app]")
    text = re.sub(r'  "12.9".*\n', "", text)
    (project.root / "matrix.yaml").write_text(text)
    made = Release(project=project, source=source, env={})
    made.commit("one")
    return made


def stand_ins(release: Release, revision: str) -> dict[str, StandIn]:
    """Variant -> the image that this plan means: nobody built it, but it carries the key."""
    plan = expand.plan(load.load(release.project.root / "matrix.yaml"))
    keys = planned(plan, tell=print).inputs
    return {
        variant.id: StandIn(variant=variant.id, platform=variant.platform, key=keys[variant.id].key, revision=revision)
        for variant in plan.variants
    }


def report(release: Release, digests: Mapping[str, object], name: str = "report.json") -> str:
    """A build report that names these digests."""
    rows = [{"id": id_, "status": "built", "digest": str(digest)} for id_, digest in digests.items()]
    path = release.project.root.parent / name
    path.write_text(json.dumps({"schema": 1, "variants": rows}))
    return str(path)


def pushed(release: Release, images: Mapping[str, StandIn]) -> dict[str, Digest]:
    with Client(release.source) as client:
        return {id_: push(client, image) for id_, image in images.items()}


AMD, ARM = "app-cu130-amd64", "app-cu130-arm64"


def test_what_is_right_is_published_once(release: Release) -> None:
    revision = release.commit("two")
    digests = pushed(release, stand_ins(release, revision))
    one = report(release, {AMD: digests[AMD]}, "one.json")
    two = report(release, {ARM: digests[ARM]}, "two.json")
    said = release.run("--report", one, "--report", two)
    assert "complete" in said
    found = json.loads(release.run("--report", one, "--report", two, "--format", "json"))
    assert found["schema"] == 1
    assert found["moves"] == []
    assert len(found["settled"]) == 3


def test_each_wrong_digest_is_refused_with_its_sentence(release: Release) -> None:
    revision = release.commit("two")
    images = stand_ins(release, revision)
    good = pushed(release, images)
    never = f"sha256:{'a' * 64}"
    bad = pushed(
        release,
        {
            "other inputs": replace(images[ARM], key=f"sha256:{'b' * 64}"),
            "foreign": replace(images[ARM], key=""),
            "another variant": replace(images[ARM], variant="app-slim-cu130-arm64"),
        },
    )
    cases: list[tuple[dict[str, object], str]] = [
        ({AMD: good[AMD]}, f"linux/arm64 is missing: {ARM}: it is not named by the reports"),
        (
            {AMD: good[AMD], ARM: good[AMD]},
            f"{ARM}: {good[AMD]} the platform does not match: expected linux/arm64, found",
        ),
        ({AMD: good[AMD], ARM: never}, f"{ARM}: {never} was not found in {release.source}: it was deleted, or never"),
        ({AMD: good[AMD], ARM: bad["other inputs"]}, "was built from other inputs: expected key sha256:"),
        ({AMD: good[AMD], ARM: bad["foreign"]}, "carries no content key: orchestrate build did not push it"),
        (
            {AMD: good[AMD], ARM: bad["another variant"]},
            f"is another variant: expected {ARM}, found app-slim-cu130-arm64",
        ),
    ]
    for digests, sentence in cases:
        said = release.run("--report", report(release, digests), code=1)
        assert sentence in said, said
        assert "app-cu130  is not published" in said
    said = release.run(
        "--report", report(release, good, "one.json"), "--report", report(release, {AMD: never}, "two.json"), code=1
    )
    assert f"{AMD}: two images do not match: {good[AMD]} (" in said
    with Client(release.source) as client:
        assert client.tags() == ()


def test_an_image_for_a_platform_that_the_plan_leaves_out_is_refused(release: Release) -> None:
    matrix = release.project.root / "matrix.yaml"
    digests = pushed(release, stand_ins(release, release.commit("two")))
    text = matrix.read_text().replace("  require_platforms: [linux/amd64, linux/arm64]\n", "")
    matrix.write_text(f"{text}exclude:\n  - {{when: {{platform: linux/arm64}}, why: no machine}}\n")
    said = release.run("--report", report(release, digests), code=1)
    assert f"{ARM}: " in said
    assert f"names {digests[ARM]} for linux/arm64, which the plan leaves out: no machine" in said


def test_a_required_platform_that_is_excluded_is_missing(release: Release) -> None:
    matrix = release.project.root / "matrix.yaml"
    digests = pushed(release, stand_ins(release, release.commit("two")))
    matrix.write_text(f"{matrix.read_text()}exclude:\n  - {{when: {{platform: linux/arm64}}, why: no machine}}\n")
    said = release.run("--report", report(release, {AMD: digests[AMD]}), code=1)
    assert "linux/arm64 is missing: publish.require_platforms names it" in said


def test_commits_must_be_one_where_the_matrix_says_so(release: Release) -> None:
    revision = release.commit("two")
    images = stand_ins(release, revision)
    images[ARM] = replace(images[ARM], revision="f" * 40)
    named = report(release, pushed(release, images))
    said = release.run("--report", named, "--dry-run")
    assert f"its images name different commits: {AMD} {revision[:12]}, {ARM} ffffffffffff" in said
    matrix = release.project.root / "matrix.yaml"
    matrix.write_text(matrix.read_text().replace("  immutable: true", "  immutable: true\n  same_commit: true"))
    release.commit("three")
    images = {id_: replace(one, revision=images[id_].revision) for id_, one in stand_ins(release, "").items()}
    said = release.run("--report", report(release, pushed(release, images)), code=1)
    assert f"{ARM}: the commit does not match: expected " in said


def test_an_immutable_tag_is_not_moved_and_nothing_floats(release: Release) -> None:
    first = stand_ins(release, release.commit("two"))
    release.run("--report", report(release, pushed(release, first)))
    with Client(release.source) as client:
        before = {str(tag): client.head(tag) for tag in client.tags()}
    second = stand_ins(release, release.commit("three"))
    said = release.run("--report", report(release, pushed(release, second)), code=1)
    assert f"{release.source}:v1 is immutable and does not match: expected sha256:" in said
    with Client(release.source) as client:
        assert {str(tag): client.head(tag) for tag in client.tags()} == before


def test_a_floating_tag_does_not_go_back_in_time(release: Release) -> None:
    matrix = release.project.root / "matrix.yaml"
    matrix.write_text(matrix.read_text().replace("  immutable: true", ""))
    old = release.commit("two")
    new = release.commit("three")
    release.run("--report", report(release, pushed(release, stand_ins(release, new))))
    call("git", "-C", release.project.root, "checkout", "-q", old)
    named = report(release, pushed(release, stand_ins(release, old)))
    said = release.run("--report", named, code=1)
    assert f"{release.source}:nightly is newer: it names commit {new}, which is not an ancestor of {old}" in said
    assert "complete" in release.run("--report", named, "--allow-older")


def test_a_commit_that_is_not_known_here_needs_a_word(release: Release) -> None:
    matrix = release.project.root / "matrix.yaml"
    matrix.write_text(matrix.read_text().replace("  immutable: true", ""))
    revision = release.commit("two")
    images = stand_ins(release, revision)
    release.run(
        "--report",
        report(release, pushed(release, {id_: replace(one, revision="e" * 40) for id_, one in images.items()})),
    )
    said = release.run("--report", report(release, pushed(release, images)), code=1)
    assert f"nightly may be newer: expected an ancestor of {revision}, found {'e' * 40}" in said
    assert ":v1 may be newer" not in said


def test_what_is_not_verified_is_refused(release: Release) -> None:
    matrix = release.project.root / "matrix.yaml"
    matrix.write_text(matrix.read_text().replace("  immutable: true", "  verified: true"))
    digests = pushed(release, stand_ins(release, release.commit("two")))
    said = release.run("--report", report(release, digests), "--dry-run")
    assert f"{AMD}: is not verified yet; publish verifies it before its tags move" in said
    said = release.run("--report", report(release, digests), code=1)
    assert f"{AMD}: {digests[AMD]} is not verified: " in said
    # an artifact that says for which promise each was verified is enough
    plan = expand.plan(load.load(matrix))
    for variant in plan.variants:  # as `build --push --verify` does
        promised = proof.promise(variant, plan.matrix.spec.verify)
        assert proof.prove_pushed(str(release.source), str(digests[variant.id]), promised) == ""
    assert "complete" in release.run("--report", report(release, digests))


@pytest.fixture(scope="module")
def cosign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of Debian's cosign, unpacked: it needs nothing beside itself."""
    folder = cache_dir() / "cosign"
    folder.mkdir(exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not (folder / "usr/bin/cosign").exists():
            got = tmp_path_factory.mktemp("cosign")
            downloads.made_available("cosign", "apt-get", "download", "cosign/forky", cwd=got)
            (package,) = got.glob("cosign_*.deb")
            call("dpkg", "-x", package, folder)
    return folder / "usr/bin"


@pytest.mark.download
def test_each_digest_is_signed_once_before_a_tag_names_it(
    release: Release, secured: tuple[str, dict[str, str]], cosign: Path
) -> None:
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


def test_records_that_are_damaged_stop_a_publish(release: Release) -> None:
    named = report(release, pushed(release, stand_ins(release, release.commit("two"))))
    release.run("--report", named)
    with Client(release.source) as client:
        client.put_manifest(client.manifest(Tag("v1")), Tag("orchestrate-publish"))
    said = release.run("--report", named, code=4)
    assert f"{release.source}:orchestrate-publish: the record was not found: expected an index that names a" in said


def test_nothing_that_was_built_by_itself(release: Release) -> None:
    release.commit("two")
    said = release.run(code=1)
    assert f"linux/amd64 is missing: {AMD}: this machine has not built it; try --report FILE or --from-registry" in said
    said = release.run("--from-registry", code=1)
    assert "was not found" in said
    said = release.run("--report", str(release.project.root / "matrix.yaml"), code=2)
    assert "the build report is invalid: expected schema 1 with variants" in said
    said = release.run("--rollback", str(release.source), code=2)
    assert "the record was not found: expected a file or a repository that holds one" in said
