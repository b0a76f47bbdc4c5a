"""TLS: a registry on this machine, private CAs and certificates of the client in docker's `certs.d`."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest

from orchestrator.errors import EnvironmentLacksError, NetworkError
from orchestrator.image.layers.store import LayerStore
from orchestrator.image.verdict.scanned import scan_source
from orchestrator.reference import Repository, Tag
from orchestrator.registry import trust
from orchestrator.registry.client import Registry
from orchestrator.registry.manifests import digest_of
from orchestrator.registry.reach import check_registry
from orchestrator.registry.session import Limits
from tests.support import fatbins
from tests.support.engine import RegistryProcess, call
from tests.support.hostile import Asked, ConnectProxy, HostileServer, answer
from tests.support.layouts import Layout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Make = Callable[..., str]

QUICK = Limits(attempts=2, answer_s=5)
MANIFEST = b'{"schemaVersion": 2, "config": {}, "layers": []}'


class Authority:
    """A CA of one's own."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.certificate = folder / "ca.pem"
        self._key = folder / "ca.key"
        call(
            "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=acme CA",
            "-addext", "keyUsage=keyCertSign", "-keyout", self._key, "-out", self.certificate,
        )  # fmt: skip

    def issue(self, name: str, *names: str) -> tuple[Path, Path]:
        """A certificate and its key."""
        key, asked, made, more = (self.folder / f"{name}.{ending}" for ending in ("key", "csr", "pem", "ext"))
        call("openssl", "req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-keyout", key, "-out", asked)
        more.write_text(f"subjectAltName={','.join(names)}\n" if names else "extendedKeyUsage=clientAuth\n")
        call(
            "openssl", "x509", "-req", "-in", asked, "-CA", self.certificate, "-CAkey", self._key, "-CAcreateserial",
            "-days", "1", "-extfile", more, "-out", made,
        )  # fmt: skip
        return made, key


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for name in ("SSL_CERT_FILE", "no_proxy", "NO_PROXY", "https_proxy", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ca")


@pytest.fixture
def served(authority: Authority, tmp_path: Path) -> Iterator[Make]:
    """Make docker-registry processes that speak TLS; their ports."""
    running: list[RegistryProcess] = []
    certificate, key = authority.issue("registry", "DNS:localhost", "IP:127.0.0.1")

    def make(*, clients: bool = False) -> str:
        tls: dict[str, object] = {"certificate": str(certificate), "key": str(key)}
        if clients:
            tls["clientcas"] = [str(authority.certificate)]
        running.append(RegistryProcess(tmp_path / f"registry-{len(running)}", tls=tls))
        return running[-1].registry.address.rpartition(":")[2]

    yield make
    for one in running:
        one.stop()


def certificates(home: Path, host: str, **files: Path) -> Path:
    """Docker's certificates for a host: `ca_crt=…, client_cert=…, client_key=…`."""
    place = home / "config" / "docker" / "certs.d" / host
    place.mkdir(parents=True)
    for name, source in files.items():
        (place / name.replace("_", ".")).write_bytes(source.read_bytes())
    return place


def stored(host: str) -> bool:
    """Whether a registry holds a tag that nobody put there."""
    with Registry(Repository(host=host, path="acme/app"), limits=QUICK) as registry:
        return registry.head(Tag("none")) is not None


def test_a_registry_on_this_machine_may_speak_tls(served: Make, tmp_path: Path) -> None:
    """As for docker, nobody vouches for it: plain HTTP is trusted there as well."""
    host = f"127.0.0.1:{served()}"
    name = f"{host}/acme/app:1"
    layers = [fatbins.layer({"opt/a.so": fatbins.library([["90"]])})]
    call("docker", "load", "-i", Layout(layers, name=name).archive(tmp_path / "image.tar"))
    call("docker", "push", "-q", name)
    found = scan_source(f"docker://{name}", store=LayerStore(None))
    assert list(found.files.code) == ["opt/a.so"]
    check = check_registry(name)
    assert (check.status, check.detail) == ("ok", f"{host} answers")
    call("docker", "rmi", name)


def test_uploads_too(served: Make) -> None:
    with Registry(Repository(host=f"127.0.0.1:{served()}", path="acme/app"), limits=QUICK) as registry:
        data = b'{"os": "linux"}'
        registry.upload(digest_of(data), len(data), lambda: [data])
        assert registry.blob(digest_of(data)) == data


def test_a_private_ca_is_found_where_docker_keeps_it(served: Make, home: Path, authority: Authority) -> None:
    port = served()
    certificates(home, f"localhost:{port}", ca_crt=authority.certificate)
    assert stored(f"localhost:{port}") is False
    assert check_registry(f"localhost:{port}/app").status == "ok"


def test_another_ca_is_not_trusted(served: Make, home: Path, tmp_path: Path) -> None:
    port = served()
    certificates(home, f"localhost:{port}", ca_crt=Authority(tmp_path / "other").certificate)
    with pytest.raises(NetworkError, match="certificate of a registry is not trusted") as caught:
        stored(f"localhost:{port}")
    assert "/etc/docker/certs.d/HOST:PORT/ca.crt" in caught.value.hint


def test_a_client_shows_its_certificate(served: Make, home: Path, authority: Authority) -> None:
    host = f"localhost:{served(clients=True)}"
    place = certificates(home, host, ca_crt=authority.certificate)
    with pytest.raises(NetworkError, match="asks for a certificate of the client") as caught:
        stored(host)
    assert "client.cert" in caught.value.hint
    certificate, key = authority.issue("me")
    (place / "client.cert").write_bytes(certificate.read_bytes())
    with pytest.raises(EnvironmentLacksError, match=r"client\.key: the key was not found"):
        stored(host)
    (place / "client.key").write_bytes(key.read_bytes())
    assert stored(host) is False


@pytest.mark.parametrize("content", [b"", b"no certificate", b"\x00\xff" * 300])
def test_a_broken_certificate_is_named(served: Make, home: Path, tmp_path: Path, content: bytes) -> None:
    host = f"localhost:{served()}"
    (tmp_path / "broken").write_bytes(content)
    certificates(home, host, ca_crt=tmp_path / "broken")
    with pytest.raises(EnvironmentLacksError, match=r"ca\.crt: the certificate cannot be used"):
        stored(host)
    assert check_registry(f"{host}/app").status == "warn"


def test_a_registry_elsewhere_with_a_private_ca(
    home: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("registry", "DNS:registry.test"))
    where = Repository(host="registry.test", path="app")
    with (
        HostileServer(lambda _: [answer(200, MANIFEST)], tls=context) as server,
        ConnectProxy(server.port) as proxy,
    ):
        monkeypatch.setenv("HTTPS_PROXY", f"http://{proxy.url}")
        with Registry(where, limits=QUICK) as registry, pytest.raises(NetworkError, match="is not trusted"):
            registry.manifest(Tag("v1"))
        certificates(home, "registry.test", ca_crt=authority.certificate)
        with Registry(where, limits=QUICK) as registry:
            assert registry.manifest(Tag("v1")).raw == MANIFEST


def test_a_registry_without_tls_is_not_asked_for_it(home: Path) -> None:
    asked: list[str] = []

    def reply(one: Asked) -> list[bytes]:
        asked.append(one.path)
        return [answer(400)]

    with (
        HostileServer(reply) as server,
        Registry(Repository(host=server.address, path="app"), limits=QUICK) as registry,
    ):
        for _ in range(2):
            with pytest.raises(NetworkError, match="status 400"):
                registry.manifest(Tag("v1"))
    assert asked == ["/v2/app/manifests/v1"] * 2


@pytest.mark.parametrize("host", ["", "../x", "a/b", "."])
def test_a_host_that_is_none_has_no_directory(host: str) -> None:
    assert trust.directory(host) is None
