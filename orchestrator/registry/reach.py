"""Whether the registry of an image answers."""

from __future__ import annotations

import contextlib
import time
from urllib.parse import urljoin, urlsplit

from orchestrator import reference
from orchestrator.engine.machine import Check
from orchestrator.errors import EnvironmentLacksError, NetworkError
from orchestrator.registry import trust
from orchestrator.registry.errors import TransientError
from orchestrator.registry.transport import Request, Transport, origin

_WITHIN_S = 10.0
_MAX_REDIRECTS = 5
_REDIRECTS = (301, 302, 303, 307, 308)
_PLAIN = 400  # what Go and nginx say to plain HTTP where they speak TLS


def check_registry(image: str, *, within_s: float = _WITHIN_S) -> Check:
    """Ask the registry of an image for its API; that it asks for a login is an answer.

    Args:
        image: An image reference or repository ("ghcr.io/acme/vllm-openai", "127.0.0.1:5000/axpy").
        within_s: Seconds for each address that is asked, from the connection to the last header.

    Returns:
        warn, not fail, where it does not answer: images that are not pushed need no registry.

    Raises:
        InvalidReferenceError: The image is not a valid reference.
    """
    found = reference.parse(image).repository
    url = found.api.removesuffix(found.path)
    if trust.directory(found.host):
        url = _secure(url)
    try:
        # A proxy of the environment serves every host but this machine.
        with contextlib.closing(Transport(proxied=not found.loopback)) as transport:
            status = _status(transport, url, within_s)
            if status == _PLAIN and url.startswith("http:"):  # a registry on this machine that speaks TLS
                status = _status(transport, _secure(url), within_s)
    except TransientError as error:
        hint = "start it (scripts/engine up)" if found.loopback else "check the network, the proxy and the image's name"
        return Check(name="registry", status="warn", detail=f"{found.host} does not answer: {error}", hint=hint)
    except (NetworkError, EnvironmentLacksError) as error:
        return Check(name="registry", status="warn", detail=f"{found.host}: {error.message}", hint=error.hint)
    if status in (200, 401, 403):
        login = "" if status == 200 else ", asks for a login (docker login)"
        return Check(name="registry", status="ok", detail=f"{found.host} answers{login}")
    return Check(
        name="registry",
        status="warn",
        detail=f"{found.host} does not serve the registry API: expected status 200 or 401, found {status}",
        hint="check the registry's address and its log",
    )


def _secure(url: str) -> str:
    return f"https://{url.partition('://')[2]}"


def _status(transport: Transport, url: str, within_s: float) -> int:
    """The status of an address, where its redirects lead."""
    until = time.monotonic() + within_s
    for _ in range(_MAX_REDIRECTS):
        request = Request(method="GET", url=url, headers={}, within_s=max(0, until - time.monotonic()))
        with transport.send(request) as answer:
            if answer.status not in _REDIRECTS:
                return answer.status
            host, url = urlsplit(url).netloc, urljoin(url, answer.header("location"))
        try:
            origin(url)
        except ValueError as error:
            raise TransientError(f"{host} redirects to no http address") from error
    raise TransientError(f"more than {_MAX_REDIRECTS} redirects")
