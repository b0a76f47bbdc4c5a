"""HTTP downloads of single artifacts, with resume and a diagnosis of what went wrong.

Which files, which sources and how often is the fetcher's decision. Proxies, CA bundles and netrc come from the standard
variables. A credential never leaves this module: messages name a source by its redacted URL.
"""

from __future__ import annotations

import contextlib
import email.utils
import hashlib
import json
import os
import re
import ssl
import threading
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from msgspec import Struct

from orchestrator.errors import EnvironmentLacksError, UsageError
from orchestrator.files import write_whole
from orchestrator.headers.request import RefusedError, RetryLaterError, UnreachableError, WrongBytesError

if TYPE_CHECKING:
    from orchestrator.headers.request import Options, Tally, Wanted
    from orchestrator.headers.sources import HttpSource
    from orchestrator.headers.store import Store

_RETRIED = frozenset({403, 408, 421, 423, 425, 429})  # 403: the artifact server answers it in bursts (flashinfer#3164)
_LONGEST_ASKED = 3600.0
_CHUNK = 1024 * 1024
_WORTH_RESUMING = 256 * 1024  # bytes; a smaller file is fetched again sooner than its beginning is looked after


def client(options: Options) -> httpx.Client:
    """Return a connection pool for one fetch.

    Raises:
        UsageError: A proxy variable or the netrc file cannot be read.
        EnvironmentLacksError: The CA bundle that the environment names cannot be read.
    """
    _check_proxies()
    limits = httpx.Limits(max_connections=options.jobs, max_keepalive_connections=options.jobs)
    try:
        return httpx.Client(
            auth=_netrc(),
            follow_redirects=True,
            limits=limits,
            max_redirects=5,
            timeout=httpx.Timeout(options.read, connect=options.connect, pool=None),
            headers={"User-Agent": "orchestrate-headers", "Accept-Encoding": "identity"},
            **_trust(limits),
        )
    except (ssl.SSLError, OSError) as error:
        raise EnvironmentLacksError(f"the CA bundle of the environment cannot be read: {error}") from error


_CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")


def _context() -> ssl.SSLContext:
    """TLS with the authorities that the environment names: the first variable that is set, as pip, curl and Python do.

    Raises:
        EnvironmentLacksError: What it names is missing or holds no certificates.
    """
    variable = next((name for name in _CA_VARIABLES if os.environ.get(name)), "")
    if not variable:
        return httpx.create_ssl_context()
    hint = f"correct {variable}, or unset it"
    context: ssl.SSLContext | None = None
    for path in _bundles(variable):
        if not path.exists():
            raise EnvironmentLacksError(f"{variable}: the CA bundle {path} was not found", hint=hint)
        file, folder = (None, str(path)) if path.is_dir() else (str(path), None)
        try:
            if context is None:
                context = ssl.create_default_context(cafile=file, capath=folder)
            else:
                context.load_verify_locations(cafile=file, capath=folder)
        except (ssl.SSLError, OSError) as error:
            raise EnvironmentLacksError(f"{variable}: the CA bundle {path} is invalid: {error}", hint=hint) from error
    return context or httpx.create_ssl_context()


def _bundles(variable: str) -> list[Path]:
    """What a variable names: SSL_CERT_DIR may be a list of directories, as OpenSSL reads it."""
    told = os.environ[variable]
    if variable != "SSL_CERT_DIR" or Path(told).exists():
        return [Path(told)]
    return [Path(part) for part in told.split(os.pathsep) if part]


def _trust(limits: httpx.Limits) -> dict[str, Any]:
    """Whom TLS trusts. Reading 140 certificates takes 50 ms: without a proxy it waits for the first https address."""
    if _PROXIED & urllib.request.getproxies().keys():
        return {"verify": _context()}
    trusts_nobody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return {
        "transport": httpx.HTTPTransport(verify=trusts_nobody, limits=limits),
        "mounts": {"https://": _LateTls(limits)},
    }


class _LateTls(httpx.BaseTransport):
    """The transport for https, made at its first request."""

    def __init__(self, limits: httpx.Limits) -> None:
        self._limits = limits
        self._guard = threading.Lock()
        self._inner: httpx.HTTPTransport | None = None

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        with self._guard:
            if self._inner is None:
                self._inner = httpx.HTTPTransport(verify=_context(), limits=self._limits)
        return self._inner.handle_request(request)

    def close(self) -> None:
        if self._inner is not None:
            self._inner.close()


_PROXIED = frozenset({"http", "https", "all"})


def _check_proxies() -> None:
    """Refuse a proxy that is not a URL: it looks like a dead mirror. Its text is not shown: it may hold a password."""
    for scheme, address in urllib.request.getproxies().items():
        if scheme not in _PROXIED:
            continue
        try:
            parts = urllib.parse.urlsplit(address if "://" in address else f"http://{address}")
            good, kind = bool(parts.hostname) and parts.port != 0, parts.scheme.lower()
        except ValueError:
            good, kind = False, ""
        if not good:
            raise UsageError(f"the environment's proxy for {scheme} is not a URL", hint=f"see {scheme.upper()}_PROXY")
        if kind not in {"http", "https"}:
            shown = kind if kind.startswith(("socks", "ftp")) else "such a"  # a password may stand before a ://
            raise UsageError(
                f"{scheme.upper()}_PROXY: {shown} proxy is not supported: expected http:// or https://",
                hint="unset it for this command, or put an HTTP proxy in front of it",
            )


def _netrc() -> httpx.NetRCAuth | None:
    import netrc

    path = Path(os.environ.get("NETRC") or Path.home() / ".netrc")
    if not path.is_file():
        return None
    try:
        return httpx.NetRCAuth(str(path))
    except (netrc.NetrcParseError, OSError, UnicodeDecodeError) as error:
        line = getattr(error, "lineno", None)
        raise UsageError(f"{path}: not a netrc file" + (f" (line {line})" if line else "")) from error


class _Beginning(Struct, frozen=True, kw_only=True):
    """The part of a file that an earlier try left: its length, and the validator for If-Range."""

    size: int
    validator: str


class Downloads(Struct, frozen=True, kw_only=True):
    """The HTTP transfers of one fetch.

    Attributes:
        pool: The connection pool.
        store: Where files go; an interrupted download leaves its beginning there.
        options: Limits and timeouts.
        tally: Counts requests and bytes.
        deadline: `time.monotonic()` at which the whole fetch ends.
    """

    pool: httpx.Client
    store: Store
    options: Options
    tally: Tally
    deadline: float

    def fetch(self, source: HttpSource, item: Wanted) -> None:
        """Download one artifact into the store; the caller holds the store's lock for it.

        Raises:
            RetryLaterError: The source failed in a way that may pass (UnreachableError: no connection).
            RefusedError: The source does not have the file, or never serves it.
            WrongBytesError: Other bytes came than the digest says; they are gone already.
        """
        partial = self.store.partial(item.sha256)
        partial.parent.mkdir(parents=True, exist_ok=True)
        begun = _beginning(partial, source, item)
        headers = {}
        if begun.size:
            headers = {"Range": f"bytes={begun.size}-", "If-Range": begun.validator}
        self.tally.add(requests=1)
        try:
            with self.pool.stream("GET", source.address(item.path), headers=headers) as answer:
                _judge(answer, source, partial)
                offset = begun.size if answer.status_code == httpx.codes.PARTIAL_CONTENT else 0
                if offset and not _continues(answer, offset):
                    _forget(partial)
                    raise RetryLaterError(f"{source.name}: answered with another range than was asked for")
                _remember(partial, source, answer)
                page = _is_page(answer)
                actual = self._receive(answer, source, item, offset)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
            raise UnreachableError(f"{source.name}: {_reason(error)}") from error
        except (httpx.UnsupportedProtocol, httpx.TooManyRedirects, httpx.InvalidURL) as error:
            raise RefusedError(f"cannot be asked: {_reason(error)}") from error
        except httpx.TransportError as error:
            raise RetryLaterError(f"{source.name}: {_reason(error)}") from error
        if actual != item.sha256:
            _forget(partial)
            raise WrongBytesError(_PAGE if page else f"wrong bytes (sha256 {actual[:12]}…, pinned {item.sha256[:12]}…)")
        self.store.adopt(partial, item.sha256)
        _validator_file(partial).unlink(missing_ok=True)
        self.tally.add(fetched=1)

    def _receive(self, answer: httpx.Response, source: HttpSource, item: Wanted, offset: int) -> str:
        """Write the body behind what is there already and return the sha256 of the whole file."""
        partial, options = self.store.partial(item.sha256), self.options
        limit = item.size if item.size is not None else options.limit
        declared = answer.headers.get("Content-Length", "")
        if declared.isdigit() and offset + int(declared) > limit:
            _forget(partial)
            raise RefusedError(f"sends {offset + int(declared)} bytes, expected at most {limit}" + _page_hint(answer))
        started, received, digest = time.monotonic(), 0, hashlib.sha256()
        with partial.open("r+b" if offset else "wb") as sink:
            while sink.tell() < offset:
                digest.update(sink.read(min(_CHUNK, offset - sink.tell())))
            sink.truncate()
            for chunk in answer.iter_raw():
                received += len(chunk)
                self.tally.add(received=len(chunk))
                if offset + received > limit:
                    sink.close()
                    _forget(partial)
                    raise RefusedError(f"sends more than {limit} bytes")
                sink.write(chunk)
                digest.update(chunk)
                now = time.monotonic()
                if now > self.deadline:
                    raise RetryLaterError(f"{source.name}: still sending when the time was over")
                if now - started > options.patience and received / (now - started) < options.slowest:
                    raise RetryLaterError(f"{source.name}: slower than {options.slowest} bytes/s")
        total = offset + received
        if item.size is not None and total < item.size:
            if declared.isdigit() or _is_page(answer):  # it is all that the server has: another file, or a page
                _forget(partial)
                raise WrongBytesError(_PAGE if _is_page(answer) else f"expected {item.size} bytes, found {total}")
            raise RetryLaterError(f"{source.name}: ended after {total} of {item.size} bytes")
        return digest.hexdigest()


def _judge(answer: httpx.Response, source: HttpSource, partial: Path) -> None:
    """Turn every status that is not a body into what the fetcher can act on."""
    status = answer.status_code
    if status in (httpx.codes.OK, httpx.codes.PARTIAL_CONTENT):
        return
    if status == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
        _forget(partial)
        raise RetryLaterError(f"{source.name}: HTTP 416")
    if status in (httpx.codes.NOT_FOUND, httpx.codes.GONE):
        raise RefusedError(f"HTTP {status}", absent=True)
    if status in _RETRIED or status >= httpx.codes.INTERNAL_SERVER_ERROR:
        raise RetryLaterError(f"{source.name}: HTTP {status}", after=_retry_after(answer))
    raise RefusedError(f"HTTP {status}")


_PAGE = "answered with an HTML page instead of the file: a captive portal or a proxy's login page?"


def _is_page(answer: httpx.Response) -> bool:
    kind: str = answer.headers.get("Content-Type", "")
    return kind.lower().startswith("text/html")


def _page_hint(answer: httpx.Response) -> str:
    return f" ({_PAGE})" if _is_page(answer) else ""


def _validator_file(partial: Path) -> Path:
    return partial.with_suffix(".json")


def _beginning(partial: Path, source: HttpSource, item: Wanted) -> _Beginning:
    """What can be resumed: only from the same source, and only with a validator that it gave for this very part."""
    nothing = _Beginning(size=0, validator="")
    try:
        size = partial.stat().st_size
        told = json.loads(_validator_file(partial).read_text(encoding="utf-8"))
        validator, same = str(told["validator"]), told["source"] == source.name
    except (OSError, ValueError, KeyError, TypeError):
        return nothing
    if not same or not validator or (item.size is not None and size >= item.size):
        return nothing
    return _Beginning(size=size, validator=validator)


def _remember(partial: Path, source: HttpSource, answer: httpx.Response) -> None:
    if _length(answer) < _WORTH_RESUMING and answer.status_code == httpx.codes.OK:
        _validator_file(partial).unlink(missing_ok=True)
        return
    tag = answer.headers.get("ETag", "")
    validator = tag if tag and not tag.startswith("W/") else answer.headers.get("Last-Modified", "")
    write_whole(_validator_file(partial), json.dumps({"source": source.name, "validator": validator}))


def _length(answer: httpx.Response) -> int:
    declared: str = answer.headers.get("Content-Length", "")
    return int(declared) if declared.isdigit() else 0


def _forget(partial: Path) -> None:
    for path in (partial, _validator_file(partial)):
        with contextlib.suppress(FileNotFoundError):
            path.unlink()


def _continues(answer: httpx.Response, offset: int) -> bool:
    found = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
    return found is not None and int(found.group(1)) == offset


def _retry_after(answer: httpx.Response) -> float | None:
    told = answer.headers.get("Retry-After", "").strip()
    if told.isdigit():
        return min(float(told), _LONGEST_ASKED)
    with contextlib.suppress(ValueError, TypeError):
        when = email.utils.parsedate_to_datetime(told)
        return min(max(0.0, when.timestamp() - time.time()), _LONGEST_ASKED)
    return None


def _reason(error: Exception) -> str:
    """Return the error in words, without the URLs that some messages hold."""
    text = re.sub(r"\w+://\S+", "(URL)", str(error)).strip()
    return text or type(error).__name__
