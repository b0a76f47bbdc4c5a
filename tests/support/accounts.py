"""A real registry with accounts: the registry itself refuses a push whose token grants none.

docker-registry's token authentication (distribution, "Token Authentication Specification"): it sends clients to a token
server, which is this module, and checks the tokens' signatures and grants itself.
"""

from __future__ import annotations

import base64
import contextlib
import json
import secrets
import subprocess
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from tests.support.engine import RegistryProcess, call

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.support.engine import Registry

_ISSUER = "accounts"


READ = frozenset({"pull"})
WRITE = frozenset({"pull", "push", "delete", "*"})


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Signer:
    """Signs tokens with a key whose certificate the registry knows."""

    key: Path
    certificate: str

    def token(self, claims: Mapping[str, Any]) -> str:
        header = {"typ": "JWT", "alg": "RS256", "x5c": [self.certificate]}
        signed = ".".join(_b64(json.dumps(part).encode()) for part in (header, claims))
        argv = ["openssl", "dgst", "-sha256", "-sign", str(self.key)]
        done = subprocess.run(argv, input=signed.encode(), capture_output=True, check=True, timeout=30)
        return f"{signed}.{_b64(done.stdout)}"


@contextlib.contextmanager
def accounts_registry(folder: Path, accounts: Mapping[str, frozenset[str]]) -> Iterator[Registry]:
    """Run a registry that knows these accounts; who does not log in may read, as in a public repository.

    Args:
        folder: Of keys and data, created.
        accounts: What is granted of what is asked for, by password; a user has any name, as with GitHub's tokens.
    """
    folder.mkdir(parents=True)
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    call(
        "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={_ISSUER}",
        "-keyout", key, "-out", certificate,
    )  # fmt: skip
    der = "".join(line for line in certificate.read_text().splitlines() if not line.startswith("-----"))
    signer = _Signer(key=key, certificate=der)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """Give a token for what is asked and granted."""
            user, _, password = self._credentials().partition(":")
            if user and password not in accounts:
                self.send_error(401)
                return
            granted = accounts[password] if user else READ
            asked = parse_qs(urlsplit(self.path).query)
            access = []
            for scope in " ".join(asked.get("scope", [])).split():
                kind, _, rest = scope.partition(":")
                name, _, actions = rest.rpartition(":")
                access.append({"type": kind, "name": name, "actions": sorted(set(actions.split(",")) & granted)})
            now = int(time.time())
            claims = {
                "iss": _ISSUER, "sub": user, "aud": "registry", "nbf": now - 10, "iat": now, "exp": now + 900,
                "jti": secrets.token_hex(8), "access": access,
            }  # fmt: skip
            body = json.dumps({"token": signer.token(claims), "expires_in": 900}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            """No OAuth: clients ask again with GET."""
            self.send_error(404)

        def _credentials(self) -> str:
            kind, _, value = self.headers.get("Authorization", "").partition(" ")
            return base64.b64decode(value).decode() if kind == "Basic" else ""

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
            """Nothing is written."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    auth = {"token": {
        "realm": f"http://127.0.0.1:{server.server_address[1]}/token", "service": "registry", "issuer": _ISSUER,
        "rootcertbundle": str(certificate),
    }}  # fmt: skip
    made = RegistryProcess(folder / "registry", auth=auth)
    try:
        yield made.registry
    finally:
        made.stop()
        server.shutdown()
        server.server_close()
        thread.join()
