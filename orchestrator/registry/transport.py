"""HTTP/1.1 exchanges with a deadline from the connection to the last byte, and bodies as they were sent.

Bodies are never decoded: a digest needs the bytes as stored, and 600 kB of gzip can unpack to 6 GB.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import httpcore
from msgspec import Struct

import orchestrator
from orchestrator.errors import EnvironmentLacksError, NetworkError
from orchestrator.reference import is_loopback
from orchestrator.registry import trust
from orchestrator.registry.errors import DamagedAnswerError, TransientError
from orchestrator.registry.network import Backend, Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

_FINISH = 64 << 10  # bytes
_SILENCE_S = 30.0  # without a single byte
_PORTS = {"http": 80, "https": 443}


class Request(Struct, frozen=True, kw_only=True):
    """What is sent in one exchange.

    Attributes:
        method: GET, HEAD, PUT…
        url: Absolute.
        headers: Name -> value, without Host and User-Agent.
        body: Makes the bytes to send, None for none; called once for each exchange.
        within_s: Seconds from the connection to the last byte of the answer (of its headers, where `Answer.chunks` is
            read).
    """

    method: str
    url: str
    headers: Mapping[str, str]
    body: Callable[[], Iterable[bytes]] | None = None
    within_s: float


class Answer:
    """The answer to a request, its body not read yet."""

    def __init__(self, response: httpcore.Response, url: str, watch: Watch) -> None:
        self.status = response.status
        self.url = url
        self._headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in response.headers]
        self._response = response
        self._watch = watch

    def header(self, name: str) -> str:
        """The first header of this name (lower case), "" where there is none."""
        return next(iter(self.headers(name)), "")

    def headers(self, name: str) -> Sequence[str]:
        """Every header of this name (lower case)."""
        return [value for known, value in self._headers if known == name]

    def whole(self, limit: int) -> bytes:
        """The whole body, as sent.

        Raises:
            DamagedAnswerError: It has more than `limit` bytes, or is compressed, which nobody asked for.
            TransientError: It did not arrive in time.
        """
        place = urlsplit(self.url).netloc
        if (encoding := self.header("content-encoding").strip().lower()) not in ("", "identity"):
            what = f"expected identity, found {encoding[:40]!r}"
            raise DamagedAnswerError(f"{place}: the content encoding of an answer is invalid: {what}")
        length = self.header("content-length")
        parts: list[bytes] = []
        size = int(length) if length.isascii() and length.isdigit() and len(length) < 20 else 0
        if size <= limit:
            size = 0
            for part in self._parts():
                size += len(part)
                if size > limit:
                    break
                parts.append(part)
        if size > limit:
            raise DamagedAnswerError(f"{place}: an answer is too large: expected {limit} bytes at most")
        return b"".join(parts)

    def finish(self) -> None:
        """Read a body that nobody needs, so that the connection can be used again; a long one is left."""
        size = 0
        for part in self._parts():
            size += len(part)
            if size > _FINISH:
                return

    def chunks(self) -> Iterator[bytes]:
        """The body piece by piece, as sent; the deadline of the exchange no longer holds.

        Raises:
            TransientError: The connection broke, or was silent for 30 s.
        """
        self._watch.until = math.inf
        return self._parts()

    def _parts(self) -> Iterator[bytes]:
        with _translated():
            yield from self._response.iter_stream()


class Transport:
    """Connections to a registry and to the hosts that it names; safe to share between threads.

    Args:
        proxied: Whether the proxies of the environment are asked (HTTPS_PROXY, NO_PROXY).
    """

    def __init__(self, *, proxied: bool) -> None:
        self._proxied = proxied
        self._watch = Watch()
        self._pools: dict[tuple[str, str, str], httpcore.ConnectionPool] = {}
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            for pool in self._pools.values():
                pool.close()
            self._pools.clear()

    @contextlib.contextmanager
    def send(self, request: Request) -> Iterator[Answer]:
        """Send a request; the connection returns to the pool when the block ends.

        Raises:
            TransientError: No connection, no answer in time, or a broken one.
            NetworkError: The server's certificate is not trusted, or the client has none that it trusts.
            EnvironmentLacksError: A certificate that docker has for the host cannot be used.
            InterruptedRunError: A stop was asked for (`process.stoppable`).
        """
        scheme, host = urlsplit(request.url)[:2]
        fixed = {"Host": host, "User-Agent": f"orchestrate/{orchestrator.__version__}", "Accept-Encoding": "identity"}
        body = iter(request.body()) if request.body else None
        self._watch.until = time.monotonic() + request.within_s
        try:
            with (
                _translated(),
                self._pool(scheme, host).stream(
                    request.method,
                    request.url,
                    headers=list({**fixed, **request.headers}.items()),
                    content=body,
                    extensions={"timeout": {"connect": _SILENCE_S, "read": _SILENCE_S, "write": _SILENCE_S}},
                ) as response,
            ):
                yield Answer(response, request.url, self._watch)
        finally:
            self._watch.until = math.inf

    def _pool(self, scheme: str, host: str) -> httpcore.ConnectionPool:
        proxy = proxy_for(scheme, host) if self._proxied else ""
        own = host if scheme == "https" and (is_loopback(host) or trust.directory(host)) else ""
        with self._lock:
            if (scheme, proxy, own) not in self._pools:
                self._pools[scheme, proxy, own] = _make_pool(scheme, proxy, own, Backend(self._watch))
            return self._pools[scheme, proxy, own]


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port of a URL: what must be the same for credentials to be sent again.

    Raises:
        ValueError: It is not a valid http or https URL.
    """
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname or parts.username is not None or not url.isascii():
        raise ValueError("not an http or https URL")
    return parts.scheme, parts.hostname, parts.port or _PORTS[parts.scheme]


def proxy_for(scheme: str, host: str) -> str:
    """The proxy that the environment names for a host, "" for none and for this machine's own."""
    if is_loopback(host) or proxy_bypass(host):
        return ""
    known = getproxies()
    return known.get(scheme) or known.get("all", "")


def _make_pool(scheme: str, proxy: str, own: str, backend: httpcore.NetworkBackend) -> httpcore.ConnectionPool:
    common: dict[str, Any] = {"max_connections": None, "keepalive_expiry": _SILENCE_S, "network_backend": backend}
    if scheme == "https":
        common["ssl_context"] = trust.context(own)
    if not proxy:
        return httpcore.ConnectionPool(**common)
    parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    if parts.scheme not in _PORTS or not parts.hostname:
        raise EnvironmentLacksError(
            f"{scheme.upper()}_PROXY: the proxy is invalid: expected http://HOST:PORT, found scheme {parts.scheme!r}"
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    login = (unquote(parts.username), unquote(parts.password or "")) if parts.username else None
    url = f"{parts.scheme}://{host}:{parts.port or _PORTS[parts.scheme]}"
    return httpcore.HTTPProxy(url, proxy_auth=login, **common)


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Raise the errors of httpcore as ours."""
    try:
        yield
    except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError, httpcore.ProxyError) as error:
        text = str(error) or type(error).__name__
        if "CERTIFICATE_VERIFY_FAILED" in text:
            raise NetworkError(
                f"the certificate of a registry is not trusted: {text[:300]}",
                hint=f"put the certificate of its CA at {trust.SYSTEM}/HOST:PORT/ca.crt, where docker finds it too, "
                "or set SSL_CERT_FILE to a file that holds it",
            ) from error
        if "ALERT_CERTIFICATE_REQUIRED" in text or "ALERT_BAD_CERTIFICATE" in text or "ALERT_UNKNOWN_CA" in text:
            raise NetworkError(
                f"a registry asks for a certificate of the client, or does not trust it: {text[:300]}",
                hint=f"put it at {trust.SYSTEM}/HOST:PORT/client.cert with client.key",
            ) from error
        raise TransientError(
            text[:300], garbled=isinstance(error, httpcore.ProtocolError | httpcore.ReadError)
        ) from error
