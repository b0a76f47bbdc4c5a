"""Whether the registry of an image answers."""

from __future__ import annotations

from orchestrator import reference
from orchestrator.engine.machine import Check
from orchestrator.errors import EnvironmentLacksError
from orchestrator.registry import trust

_TIMEOUT = 10.0


def check_registry(image: str) -> Check:
    """Ask the registry of an image for its API; that it asks for a login is an answer.

    Args:
        image: An image reference or repository ("ghcr.io/acme/vllm-openai", "127.0.0.1:5000/axpy").

    Returns:
        warn, not fail, where it does not answer: images that are not pushed need no registry.

    Raises:
        InvalidReferenceError: The image is not a valid reference.
    """
    import httpx

    found = reference.parse(image).repository
    url = found.api.removesuffix(found.path)
    if trust.directory(found.host):
        url = f"https://{url.partition('://')[2]}"

    def ask(url: str) -> httpx.Response:
        # A proxy of the environment serves every host but this machine.
        verify = trust.context(found.host) if url.startswith("https:") else True
        return httpx.get(url, timeout=_TIMEOUT, follow_redirects=True, trust_env=not found.loopback, verify=verify)

    try:
        answer = ask(url)
        if answer.status_code == 400 and url.startswith("http:"):  # a registry on this machine that speaks TLS
            answer = ask(f"https://{url.partition('://')[2]}")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        reason = str(error) or type(error).__name__
        hint = "start it (scripts/engine up)" if found.loopback else "check the network, the proxy and the image's name"
        return Check(name="registry", status="warn", detail=f"{found.host} does not answer: {reason}", hint=hint)
    except EnvironmentLacksError as error:
        return Check(name="registry", status="warn", detail=error.message, hint=error.hint)
    if answer.status_code in (200, 401, 403):
        login = "" if answer.status_code == 200 else ", asks for a login (docker login)"
        return Check(name="registry", status="ok", detail=f"{found.host} answers{login}")
    return Check(
        name="registry",
        status="warn",
        detail=f"{found.host} does not serve the registry API: expected status 200 or 401, found {answer.status_code}",
        hint="check the registry's address and its log",
    )
