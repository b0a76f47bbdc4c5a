"""A real engine and real registries for tests: fixtures, throw-away registries, and a proxy that breaks things.

Loaded as a pytest plugin by tests/conftest.py, so the fixtures are there without an import:

- `engine`: the engine answers (started with `scripts/engine up` where it does not).
- `registry`: `host:port` of the shared local registry; choose repository names with `tmp_image`.
- `tmp_image`: a repository name of this test's own; what it leaves behind is removed by id.
- `mount_name`: a name for cache mounts of this test's own, which are removed by id.
- `throwaway_registry()`: a registry with its own port and directory, gone after the test.
- `faulty_registry(*faults)`: a proxy in front of the shared registry that answers with faults first.
- `buildx_home`: a buildx configuration of this test's own, so that builders made in it disturb nobody.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest
from filelock import FileLock

from orchestrator.engine import build_cache
from orchestrator.engine.build_cache import RecordType
from tests.support.faults import Fault, FaultyProxy

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "engine"

_MANIFESTS = (
    "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json"
)


def call(*argv: str | Path, timeout: float = 120, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a program to its end; a failure shows what it said."""
    done = subprocess.run(
        [str(word) for word in argv], capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL
    )
    if check and done.returncode != 0:
        msg = f"{argv[0]} ended with {done.returncode}: {done.stdout[-2000:]}{done.stderr[-4000:]}"
        raise AssertionError(msg)
    return done


def request(
    method: str, url: str, *, accept: str = _MANIFESTS, timeout: float = 30
) -> tuple[int, dict[str, str], bytes]:
    """One HTTP request to a registry: status, headers with lower-case names, body. No proxy is used."""
    wanted = urllib.request.Request(url, method=method, headers={"Accept": accept})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(wanted, timeout=timeout) as answer:
            headers = {name.lower(): value for name, value in answer.headers.items()}
            return answer.status, headers, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, {name.lower(): value for name, value in error.headers.items()}, error.read()


@dataclass(frozen=True, kw_only=True, slots=True)
class Registry:
    """A registry that speaks plain HTTP on this machine; prints as its `host:port`."""

    address: str

    def __str__(self) -> str:
        return self.address

    def repository(self, name: str) -> str:
        """The full name of a repository in it."""
        return f"{self.address}/{name}"

    def tags(self, name: str) -> list[str]:
        """The tags of a repository, sorted; none if it does not exist."""
        status, _, body = request("GET", f"http://{self.address}/v2/{name}/tags/list")
        return sorted(json.loads(body).get("tags") or []) if status == 200 else []

    def digest(self, name: str, reference: str) -> str:
        """The digest behind a tag (`sha256:…`), "" if there is none."""
        status, headers, _ = request("HEAD", f"http://{self.address}/v2/{name}/manifests/{reference}")
        return headers["docker-content-digest"] if status == 200 else ""

    def manifest(self, name: str, reference: str) -> dict[str, object]:
        """A manifest or index, parsed."""
        status, _, body = request("GET", f"http://{self.address}/v2/{name}/manifests/{reference}")
        if status != 200:
            msg = f"{self.address}/{name}:{reference} answers {status}: {body[:500]!r}"
            raise AssertionError(msg)
        found = json.loads(body)
        assert isinstance(found, dict)
        return found

    def blob(self, name: str, digest: str) -> bytes:
        """The bytes of a blob."""
        status, _, body = request("GET", f"http://{self.address}/v2/{name}/blobs/{digest}", accept="*/*")
        if status != 200:
            msg = f"{self.address}/{name}@{digest} answers {status}"
            raise AssertionError(msg)
        return body

    def forget(self, name: str) -> None:
        """Remove every tag of a repository with what it points to; its blobs stay until the registry is gone."""
        for digest in {self.digest(name, tag) for tag in self.tags(name)} - {""}:
            request("DELETE", f"http://{self.address}/v2/{name}/manifests/{digest}")


def write_certificate(folder: Path, host: str) -> tuple[Path, Path]:
    """Write a certificate for an IP address that signs itself, and its key: `folder/ca.pem` and `folder/key.pem`."""
    certificate, key = folder / "ca.pem", folder / "key.pem"
    call(
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
        "-days", "2",
        "-subj", f"/CN={host}", "-addext", f"subjectAltName=IP:{host}",
        "-keyout", key, "-out", certificate,
    )  # fmt: skip
    return certificate, key


class RegistryProcess:
    """A registry of one's own: a process, a port that the kernel chose, and a directory.

    Args:
        folder: Of its data, created.
        htpasswd: A line `user:hash` (bcrypt); the registry then asks for Basic authentication.
        readonly: Whether it takes no pushes.
        tls: The registry's settings `http.tls`: certificate, key and clientcas; None for plain HTTP.
        auth: The registry's settings `auth`, where `htpasswd` is not enough.
        host: The address that it listens on. With another one than this machine's loopback it speaks TLS, with a
            certificate that `folder/ca.pem` signs itself.
    """

    def __init__(
        self,
        folder: Path,
        *,
        htpasswd: str = "",
        readonly: bool = False,
        tls: Mapping[str, object] | None = None,
        auth: Mapping[str, object] | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        self.host = host
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        tls = tls if host == "127.0.0.1" else self._certificate()
        config: dict[str, object] = {
            "version": "0.1",
            "log": {"level": "info"},
            "storage": {
                "filesystem": {"rootdirectory": str(folder / "data")},
                "delete": {"enabled": True},
                "maintenance": {"readonly": {"enabled": readonly}},
            },
            "http": {"addr": f"{host}:0", **({"tls": dict(tls)} if tls else {})},
        }
        if auth:
            config["auth"] = dict(auth)
        if htpasswd:
            (folder / "htpasswd").write_text(f"{htpasswd}\n")
            config["auth"] = {"htpasswd": {"realm": "test", "path": str(folder / "htpasswd")}}
        (folder / "config.yml").write_text(json.dumps(config))  # JSON is YAML
        program = shutil.which("docker-registry") or shutil.which("registry")
        assert program, "no docker-registry: run scripts/engine up"
        self._log = (folder / "log").open("wb")
        self.process = subprocess.Popen(
            [program, "serve", str(folder / "config.yml")],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            self.registry = Registry(address=self._address())
        except BaseException:
            self.stop()
            raise

    def _certificate(self) -> dict[str, str]:
        certificate, key = write_certificate(self.folder, self.host)
        return {"certificate": str(certificate), "key": str(key)}

    def _address(self) -> str:
        """What it says that it listens on."""
        for _ in range(200):
            said = re.search(
                rf"listening on ({re.escape(self.host)}:\d+)", (self.folder / "log").read_text(errors="replace")
            )
            if said:
                return said.group(1)
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        msg = f"the registry did not start: {(self.folder / 'log').read_text(errors='replace')[-2000:]}"
        raise AssertionError(msg)

    def stop(self) -> None:
        """Stop it; its directory stays for whoever owns it."""
        self.process.terminate()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._log.close()


class MakeRegistry(Protocol):
    """The factory behind `throwaway_registry`."""

    def __call__(self, *, htpasswd: str = "", readonly: bool = False) -> Registry: ...


class MakeFaulty(Protocol):
    """The factory behind `faulty_registry`."""

    def __call__(self, *faults: Fault, upstream: str = "") -> FaultyProxy: ...


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The engine's version; it answers when the test starts."""
    shared = tmp_path_factory.getbasetemp().parent  # one for all workers of xdist
    with FileLock(shared / "engine.lock"):
        call(SCRIPT, "up", timeout=600)
    return call("docker", "info", "--format", "{{.ServerVersion}}").stdout.strip()


@pytest.fixture(scope="session")
def registry(engine: str) -> Registry:
    """The shared local registry."""
    said = re.search(r"ORCHESTRATE_REGISTRY=(\S+)", call(SCRIPT, "env").stdout)
    assert said, "scripts/engine env names no registry"
    return Registry(address=said.group(1))


@pytest.fixture
def tmp_image(registry: Registry) -> Iterator[str]:
    """A repository of this test's own in the shared registry (`127.0.0.1:5000/t-3f2a…`), without a tag."""
    name = f"t-{uuid.uuid4().hex[:16]}"
    repository = registry.repository(name)
    yield repository
    with contextlib.suppress(AssertionError, subprocess.TimeoutExpired):
        remove_images(repository)
        registry.forget(name)
        registry.forget(f"{name}-cache")


def remove_images(repository: str) -> None:
    """Remove the engine's images of a repository, by id."""
    ids = call("docker", "image", "ls", "--quiet", "--no-trunc", "--filter", f"reference={repository}").stdout.split()
    if ids:
        call("docker", "image", "rm", "--force", *sorted(set(ids)), check=False)


def remove_cache_mounts(name: str) -> None:
    """Remove the builder's cache mounts whose id contains a name, by the ids of their records."""
    records = build_cache.records()
    mounts = [one for one in records if one.type is RecordType.MOUNT and name in one.description]
    build_cache.remove(mounts, records)


@pytest.fixture
def mount_name(engine: str) -> Iterator[str]:
    """A name for cache mounts of this test's own; those whose id contains it are removed."""
    assert engine
    name = f"test-{uuid.uuid4().hex}"
    yield name
    remove_cache_mounts(name)


@pytest.fixture
def throwaway_registry(engine: str, tmp_path: Path) -> Iterator[MakeRegistry]:
    """Make registries with a port and a directory of their own."""
    running: list[RegistryProcess] = []

    def make(*, htpasswd: str = "", readonly: bool = False) -> Registry:
        made = RegistryProcess(tmp_path / f"registry-{len(running)}", htpasswd=htpasswd, readonly=readonly)
        running.append(made)
        return made.registry

    yield make
    for made in running:
        made.stop()


@pytest.fixture
def faulty_registry(registry: Registry) -> Iterator[MakeFaulty]:
    """Make proxies that forward to a registry (by default the shared one) and break what they were told to."""
    with contextlib.ExitStack() as running:

        def make(*faults: Fault, upstream: str = "") -> FaultyProxy:
            return running.enter_context(FaultyProxy(upstream or registry.address, faults))

        yield make


@pytest.fixture
def buildx_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A buildx configuration directory of this test's own; builders made in it are removed with their containers."""
    home = tmp_path / "buildx"
    home.mkdir()
    monkeypatch.setenv("BUILDX_CONFIG", str(home))
    yield home
    instances = home / "instances"
    for made in sorted(instances.iterdir()) if instances.is_dir() else []:
        call("docker", "buildx", "rm", "--force", made.name, check=False)
