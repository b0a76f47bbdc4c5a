"""An image in a registry, pulled by digest: manifests as JSON, each layer streamed into its reader and nowhere else.

Speaks the OCI distribution API: bearer tokens and basic authentication, with the credentials that the docker client
has (its credential helpers, or the entries of its configuration). Secrets go into headers and nowhere else. Every
manifest and layer is hashed as it arrives and must have the digest by which it was asked for.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from orchestrator import process
from orchestrator.errors import NetworkError, OrchestrateError, UsageError, VerificationError
from orchestrator.image.layers.parallel import Layer
from orchestrator.image.layers.unpack import CHUNK
from orchestrator.image.sources.base import BrokenImageError, Contents, choose, configured
from orchestrator.image.sources.oci import MAX_JSON

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Callable

    import httpx

ACCEPT = (
    "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json"
)
ATTEMPTS = 4
_TIMEOUT = 30.0
_REFERENCE = re.compile(
    r"(?:(?P<host>[A-Za-z0-9][A-Za-z0-9.-]*(?::\d+)?|\[[0-9a-fA-F:]+\](?::\d+)?)/)?"
    r"(?P<name>[a-z0-9]+(?:(?:\.|_|__|-+|/)[a-z0-9]+)*)"
    r"(?::(?P<tag>[\w][\w.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)
_DOCKER_HUB = "docker.io"


@dataclass(frozen=True, kw_only=True, slots=True)
class Reference:
    """Where an image is: `host/name:tag@digest`, with docker's defaults filled in."""

    host: str
    name: str
    tag: str
    digest: str

    @property
    def base(self) -> str:
        """The address of the repository's API."""
        host = "registry-1.docker.io" if self.host == _DOCKER_HUB else self.host
        return f"{'http' if self.local else 'https'}://{host}/v2/{self.name}"

    @property
    def local(self) -> bool:
        """Whether the registry is on this machine, where docker too speaks plain HTTP and asks no proxy."""
        return bool(re.fullmatch(r"(localhost|127(\.\d+){3}|\[::1\])(:\d+)?", self.host))


def parse_reference(text: str) -> Reference:
    """An image reference as docker reads it.

    Raises:
        UsageError: It is none.
    """
    match = _REFERENCE.fullmatch(text)
    if not match or re.match(r"[^.:/]*[A-Z][^.:/]*/", text):  # a host has a dot, a name is small
        raise UsageError(f"{text!r} is neither a file nor an image reference")
    host, name = match["host"] or "", match["name"]
    if host and not ("." in host or ":" in host or host == "localhost"):  # docker's own rule: acme/app is on its hub
        host, name = "", f"{host}/{name}"
    if not host or host in ("index.docker.io", _DOCKER_HUB):
        host, name = _DOCKER_HUB, name if "/" in name else f"library/{name}"
    digest = match["digest"] or ""
    return Reference(host=host, name=name, tag=match["tag"] or ("" if digest else "latest"), digest=digest)


class Registry:
    """One repository of a registry, and the token that opens it."""

    def __init__(self, reference: Reference) -> None:
        import httpx

        self.reference = reference
        self._authorization = ""
        self._client = httpx.Client(timeout=_TIMEOUT, follow_redirects=True, trust_env=not reference.local)

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    def json(self, path: str, digest: str = "") -> tuple[Any, str]:
        """A manifest or configuration, and its digest.

        Args:
            path: Below the repository: `manifests/…` or `blobs/…`.
            digest: What it must have, "" when a tag was asked for.

        Raises:
            NetworkError: It could not be fetched.
            BrokenImageError: It has another digest, or is no JSON.
        """
        body = b""

        def keep(response: httpx.Response) -> None:
            nonlocal body
            parts = []
            size = 0
            for part in response.iter_bytes(CHUNK):
                size += len(part)
                if size > MAX_JSON:
                    raise BrokenImageError(f"{self.reference.name}: {path} has more than {MAX_JSON} bytes")
                parts.append(part)
            body = b"".join(parts)

        self.fetch(path, keep)
        found = f"sha256:{hashlib.sha256(body).hexdigest()}"
        if digest and found != digest:
            raise BrokenImageError(f"{self.reference.name}: {path} has the digest {found}")
        try:
            return json.loads(body), found
        except (ValueError, RecursionError) as error:
            raise BrokenImageError(f"{self.reference.name}: {path} is no JSON") from error

    def feed(self, digest: str, size: int, sink: IO[bytes]) -> None:
        """Stream a layer into `sink`.

        A connection that breaks is taken up again where it broke.

        Raises:
            NetworkError: It could not be fetched.
            VerificationError: It has another digest or another size.
        """
        hashed = hashlib.sha256()
        done = 0

        def forward(response: httpx.Response) -> None:
            nonlocal done
            skip = done if response.status_code != 206 else 0  # a registry without ranges starts again
            for part in response.iter_raw(CHUNK):
                fresh = part[skip:] if skip else part
                skip -= min(skip, len(part))
                if not fresh:
                    continue
                done += len(fresh)
                if done > size:
                    raise VerificationError(f"layer {digest[:19]}: longer than its declared {size} bytes")
                hashed.update(fresh)
                sink.write(fresh)

        self.fetch(f"blobs/{digest}", forward, resume=lambda: done)
        if done != size or f"sha256:{hashed.hexdigest()}" != digest:
            raise VerificationError(f"layer {digest[:19]}: {done} bytes arrived that do not have this digest")

    def fetch(
        self, path: str, use: Callable[[httpx.Response], None], *, resume: Callable[[], int] | None = None
    ) -> None:
        """GET with a token, with retries.

        Args:
            path: Below the repository.
            use: Reads the response; called once an attempt.
            resume: How many bytes are there already.

        Raises:
            NetworkError: All attempts failed, or the registry refused.
        """
        import httpx
        from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential, wait_random

        class TransientError(Exception):
            """Worth another attempt."""

        def attempt() -> None:
            with self._get(path, resume) as response:
                if response.status_code != 401:
                    return answer(response)
                before = self._authorization
                self._authorization = self._authorize(response.headers.get("www-authenticate", ""))
                if before == self._authorization:
                    raise NetworkError(
                        f"{self.reference.host} does not let you read {self.reference.name}",
                        hint=f"docker login {self.reference.host}",
                    )
            with self._get(path, resume) as response:
                return answer(response)

        def answer(response: httpx.Response) -> None:
            status = response.status_code
            if status in (408, 425, 429) or status >= 500:
                raise TransientError(f"status {status}")
            if status in (401, 403):
                raise NetworkError(
                    f"{self.reference.host} does not let you read {self.reference.name} (status {status})",
                    hint=f"docker login {self.reference.host}",
                )
            if status == 404:
                raise NetworkError(f"{self.reference.host} has no {self.reference.name} {path}")
            if status not in (200, 206):
                raise NetworkError(f"{self.reference.host}: status {status} for {path}")
            use(response)

        retrying = Retrying(
            stop=stop_after_attempt(ATTEMPTS),
            wait=wait_exponential(multiplier=0.2, max=10) + wait_random(0, 0.3),
            retry=retry_if_exception_type((TransientError, httpx.TransportError)),
            reraise=True,
        )
        try:
            retrying(attempt)
        except (TransientError, httpx.HTTPError) as error:
            reason = str(error) or type(error).__name__
            raise NetworkError(f"{self.reference.host}: {path}: {reason}, after {ATTEMPTS} attempts") from error

    def _get(self, path: str, resume: Callable[[], int] | None) -> contextlib.AbstractContextManager[httpx.Response]:
        headers = {"Accept": ACCEPT}
        if self._authorization:
            headers["Authorization"] = self._authorization
        if resume and resume():
            headers["Range"] = f"bytes={resume()}-"
        return self._client.stream("GET", f"{self.reference.base}/{path}", headers=headers)

    def _authorize(self, challenge: str) -> str:
        """The Authorization header that a challenge asks for."""
        scheme, _, rest = challenge.partition(" ")
        values = dict(re.findall(r'(\w+)="([^"]*)"', rest))
        user, secret = credentials(self.reference.host)
        basic = base64.b64encode(f"{user}:{secret}".encode()).decode()
        if scheme.lower() == "basic":
            return f"Basic {basic}" if user else ""
        if scheme.lower() != "bearer" or "realm" not in values:
            return ""
        query = {"service": values.get("service", ""), "scope": f"repository:{self.reference.name}:pull"}
        if user == "<token>":  # an identity token of `docker login`
            form = {**query, "grant_type": "refresh_token", "refresh_token": secret, "client_id": "orchestrate"}
            answer = self._client.post(values["realm"], data=form)
        else:
            headers = {"Authorization": f"Basic {basic}"} if user else {}
            answer = self._client.get(values["realm"], params=query, headers=headers)
        try:
            value = answer.json()
            token = value.get("token") or value.get("access_token") or ""
        except (ValueError, AttributeError):
            token = ""
        if answer.status_code != 200 or not token:
            raise NetworkError(
                f"{self.reference.host} gives no token for {self.reference.name} (status {answer.status_code})",
                hint=f"docker login {self.reference.host}",
            )
        return f"Bearer {token}"


def credentials(host: str) -> tuple[str, str]:
    """User and secret that the docker client has for a registry, ("", "") for none.

    The user `<token>` says that the secret is an identity token.
    """
    directory = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")
    try:
        config = json.loads((directory / "config.json").read_bytes())
    except (OSError, ValueError):
        return "", ""
    if not isinstance(config, dict):
        return "", ""
    names = [host]
    if host == _DOCKER_HUB:
        names = ["https://index.docker.io/v1/", "index.docker.io", host]
    for name in names:
        helper = (config.get("credHelpers") or {}).get(name) or config.get("credsStore")
        if helper and (found := _from_helper(str(helper), name)):
            return found
        entry = (config.get("auths") or {}).get(name) or (config.get("auths") or {}).get(f"https://{name}")
        if entry and (found := _from_entry(entry)):
            return found
    return "", ""


def _from_helper(helper: str, name: str) -> tuple[str, str] | None:
    try:
        answer = process.run([f"docker-credential-{helper}", "get"], stdin=name, timeout=_TIMEOUT)
        value = json.loads(answer.stdout) if answer.ok else {}
        return (value["Username"], value["Secret"]) if value.get("Secret") else None
    except (OrchestrateError, ValueError, KeyError, AttributeError):
        return None


def _from_entry(entry: Any) -> tuple[str, str] | None:
    if not isinstance(entry, dict):
        return None
    if entry.get("identitytoken"):
        return "<token>", str(entry["identitytoken"])
    try:
        user, colon, secret = base64.b64decode(entry.get("auth") or "").decode().partition(":")
    except ValueError:
        return None
    return (user, secret) if colon else None


def open_image(text: str, *, platform: str = "") -> tuple[Contents, Registry]:
    """The image in a registry, its layers not fetched yet.

    Args:
        text: Reference: `host/name:tag`, `host/name@sha256:…`.
        platform: Which one of several, "linux/arm64".

    Returns:
        The image, and the connection that its layers come through; the caller closes it.

    Raises:
        UsageError: No reference, or a platform must be chosen.
        NetworkError: The registry refuses or does not answer.
        BrokenImageError: The manifests contradict themselves.
    """
    reference = parse_reference(text)
    registry = Registry(reference)
    try:
        return _contents(registry, text, platform), registry
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        registry.close()
        raise BrokenImageError(f"{text}: its manifests are damaged: {error!r}") from error
    except BaseException:
        registry.close()
        raise


def _contents(registry: Registry, text: str, platform: str) -> Contents:
    reference = registry.reference
    manifest, digest = registry.json(f"manifests/{reference.digest or reference.tag}", reference.digest)
    for _ in range(4):
        if "layers" in manifest:
            break
        chosen = choose(manifest["manifests"], platform, text)
        manifest, digest = registry.json(f"manifests/{chosen['digest']}", chosen["digest"])
    else:
        raise BrokenImageError(f"{text}: its index leads to no image")
    config, _ = registry.json(f"blobs/{manifest['config']['digest']}", manifest["config"]["digest"])
    layers = []
    for one in manifest["layers"]:
        name, size = str(one["digest"]), int(one["size"])
        if not re.fullmatch(r"sha256:[0-9a-f]{64}", name) or size < 0:
            raise BrokenImageError(f"{text}: a layer has the digest {name[:80]!r} and {size} bytes")
        layers.append(Layer(digest=name, size=size, feed=_feeder(registry, name, size)))
    return Contents(name=text, digest=digest, layers=tuple(layers), **configured(config))


def _feeder(registry: Registry, digest: str, size: int) -> Callable[[IO[bytes]], None]:
    return lambda sink: registry.feed(digest, size, sink)
