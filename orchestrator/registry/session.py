"""Requests to one repository: login, attempts with pauses, redirects, and what each status means."""

from __future__ import annotations

import contextlib
import json
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urljoin, urlsplit

from msgspec import Struct

from orchestrator import process
from orchestrator.errors import NetworkError
from orchestrator.redact import redact
from orchestrator.registry import trust
from orchestrator.registry.auth import Login
from orchestrator.registry.errors import (
    DamagedAnswerError,
    NotFoundError,
    ReadOnlyError,
    StatusError,
    TransientError,
    UnavailableError,
)
from orchestrator.registry.transport import Answer, Request, Transport, origin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from tenacity import RetryCallState

    from orchestrator.reference import Repository

_LOGINS = 3  # for one request: the first, and one after a token that expired meanwhile
_MAX_ERROR = 64 << 10
_MAX_REDIRECTS = 5
_MAX_WAIT_S = 30.0
_REDIRECTS = (301, 302, 303, 307, 308)
_PASSING = (408, 425, 429)
_NEVER = (501, 505)  # the server has no such call
# What is sent is sent under its own digest, so a registry that finds another one did not get it whole, or read a link
# while it wrote it: distribution 2.8 refuses a manifest so while another upload of one of its layers ends.
_DIGEST_INVALID = "DIGEST_INVALID"
_PROBE_S = 5.0
_Some = TypeVar("_Some")


class Limits(Struct, frozen=True, kw_only=True):
    """How long a registry is waited for.

    Attributes:
        attempts: Of one request, with growing pauses between them.
        answer_s: Seconds from the connection to the last byte of a small answer, or to the headers of a blob.
        window_s: Seconds of reading after which a blob's speed is judged.
        slowest: Bytes a second below which a blob is given up.
    """

    attempts: int = 4
    answer_s: float = 30
    window_s: float = 30
    slowest: int = 4096


class Call(Struct, frozen=True, kw_only=True):
    """A request of the API, not bound to an address or an attempt yet.

    Attributes:
        what: What it is about, for messages: "manifest v1".
        method, path: `path` is below the repository, or a whole URL.
        actions: What a token must allow: "pull", "pull,push", "delete".
        headers, body: As for `Request`.
        expected: Statuses that answer it.
        more_scopes: Scopes beyond the repository's own.
        within_s: Overrides `Limits.answer_s`, for large bodies.
    """

    what: str
    method: str
    path: str
    actions: str = "pull"
    headers: Mapping[str, str] | None = None
    body: Callable[[], Iterable[bytes]] | None = None
    expected: tuple[int, ...] = (200,)
    more_scopes: tuple[str, ...] = ()
    within_s: float = 0


class Session:
    """The connections to one repository and its login; safe to share between threads."""

    def __init__(self, repository: Repository, limits: Limits) -> None:
        self._repository = repository
        self._limits = limits
        self._transport = Transport(proxied=not repository.loopback)
        self._login = Login(repository, self._transport, within_s=limits.answer_s)
        self._api = repository.api
        self._settled = not repository.loopback  # whether it is known if a registry on this machine speaks TLS
        if trust.directory(repository.host):
            self._speak_tls()

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def do(self, call: Call | Callable[[], Call], use: Callable[[Answer], _Some]) -> _Some:
        """What `use` makes of the answer, with attempts and pauses between them.

        Args:
            call: The request; a function makes a new one for each attempt.
            use: Reads the answer.

        Raises:
            UnavailableError: No attempt gave an answer.
            NetworkError, DamagedAnswerError: The registry denies access or refuses, or its answer cannot be read.
            InterruptedRunError: A stop was asked for.
        """
        from tenacity import Retrying, retry_if_exception_type, stop_after_attempt

        def attempt() -> _Some:
            return self.once(call() if callable(call) else call, use)

        retrying = Retrying(
            stop=stop_after_attempt(self._limits.attempts),
            wait=_wait,
            sleep=process.pause,
            retry=retry_if_exception_type(TransientError),
            reraise=True,
        )
        try:
            return retrying(attempt)
        except TransientError as error:
            what = f"{error}, after {self._limits.attempts} attempts"
            raise UnavailableError(f"{self._repository}: {error.what}: {what}") from error

    def once(self, call: Call, use: Callable[[Answer], _Some]) -> _Some:
        """One attempt of a request, logged in where the registry asks for it.

        Raises:
            TransientError: Another attempt may help.
        """
        try:
            try:
                return self._once(call, use)
            except (TransientError, StatusError) as error:  # status 400: what Go and nginx say to plain HTTP
                plain = error.garbled if isinstance(error, TransientError) else error.status == 400
                if not plain or not self._turned_to_tls():
                    raise
            return self._once(call, use)
        except TransientError as error:
            error.what = error.what or call.what
            raise

    def _speak_tls(self) -> None:
        self._api = f"https://{self._api.partition('://')[2]}"
        self._settled = True

    def _turned_to_tls(self) -> bool:
        """Whether the registry, on this machine and taken for one without TLS, turns out to speak it."""
        if self._settled:
            return False
        self._settled = True
        root = f"https://{self._api.partition('://')[2].removesuffix(self._repository.path)}"
        request = Request(method="GET", url=root, headers={}, within_s=min(self._limits.answer_s, _PROBE_S))
        try:
            with self._transport.send(request) as answer:
                answer.finish()
        except TransientError:
            return False
        self._speak_tls()
        return True

    def _once(self, call: Call, use: Callable[[Answer], _Some]) -> _Some:
        scopes = (f"repository:{self._repository.path}:{call.actions}", *call.more_scopes)
        for _ in range(_LOGINS):
            used = self._login.header(scopes)
            with self._open(call, used) as answer:
                if answer.status != 401 or not self._same_origin(answer.url):
                    self._judge(answer, call)
                    found = use(answer)
                    if call.method != "GET":
                        answer.finish()
                    return found
                challenges = answer.headers("www-authenticate")
                answer.finish()
            self._login.renew(challenges, used, scopes)
        raise self._login.denied("status 401")

    @contextlib.contextmanager
    def _open(self, call: Call, authorization: str) -> Iterator[Answer]:
        """Send a call and follow its redirects; credentials go to the registry's own address alone."""
        url = call.path if "://" in call.path else f"{self._api}/{call.path}"
        for _ in range(_MAX_REDIRECTS):
            headers = dict(call.headers or {})
            if authorization and self._same_origin(url):
                headers["Authorization"] = authorization
            request = Request(
                method=call.method, url=url, headers=headers, body=call.body,
                within_s=call.within_s or self._limits.answer_s,
            )  # fmt: skip
            with self._transport.send(request) as answer:
                if answer.status not in _REDIRECTS or call.method not in ("GET", "HEAD"):
                    yield answer
                    return
                url = self._redirected(url, answer.header("location"))
        raise NetworkError(f"{self._repository}: {call.what}: expected {_MAX_REDIRECTS} redirects at most, found more")

    def _judge(self, answer: Answer, call: Call) -> None:
        """Raise what a status says that is not expected."""
        status = answer.status
        if status in call.expected:
            return
        code, detail = _said(answer)
        passing = status in _PASSING or (status >= 500 and status not in _NEVER)
        if passing or (code == _DIGEST_INVALID and call.method == "PUT"):
            seconds = _seconds(answer.header("retry-after"))
            raise TransientError(f"status {status}{detail}", after_s=min(seconds, _MAX_WAIT_S))
        if status == 404:
            raise NotFoundError(f"{self._repository}: {call.what} was not found")
        if status in (401, 403):
            raise self._login.denied(f"{call.what}: status {status}{detail}")
        if status == 405 and call.method in ("POST", "PUT", "PATCH"):
            raise ReadOnlyError(
                f"{self._repository}: {call.what}: the registry is read-only: status 405{detail}",
                hint="push to another registry with --image, or take it out of its read-only mode",
            )
        what = f"{self._repository}: {call.what}: the request failed: status {status}{detail}"
        raise StatusError(what, status=status)

    def paced(self, parts: Iterator[bytes]) -> Iterator[bytes]:
        """The parts, as they come; the time that their reader takes is not counted.

        Raises:
            TransientError: In `Limits.window_s` fewer than `Limits.slowest` bytes a second arrived.
        """
        spent = 0.0
        size = 0
        while True:
            begun = time.monotonic()
            part = next(parts, b"")
            spent += time.monotonic() - begun
            size += len(part)
            if not part:
                return
            yield part
            if spent > self._limits.window_s:
                if size < spent * self._limits.slowest:
                    raise TransientError(f"{size} bytes arrived in {spent:.0f} s")
                spent, size = 0.0, 0

    def _same_origin(self, url: str) -> bool:
        return origin(url) == origin(self._api)

    def own(self, url: str, link: str) -> str:
        """A link of the registry to itself, absolute.

        Raises:
            DamagedAnswerError: It leads to another host, or is not a valid link.
        """
        found = self._redirected(url, link)
        if not self._same_origin(found):
            raise DamagedAnswerError(
                f"{self._repository}: a link is invalid: expected one to the registry, found {urlsplit(found).netloc}"
            )
        return found

    def _redirected(self, url: str, link: str) -> str:
        """Where a link leads; never from https to http.

        A signed address is a secret, so messages hold its host alone.
        """
        try:
            found = urljoin(url, link)
            scheme, _, _ = origin(found)
        except ValueError as error:
            raise DamagedAnswerError(f"{self._repository}: a redirect is invalid: expected an http URL") from error
        if not link or (scheme != "https" and urlsplit(url).scheme == "https"):
            host = urlsplit(found).netloc
            raise DamagedAnswerError(f"{self._repository}: a redirect is invalid: expected https, found http://{host}")
        return found


def _said(answer: Answer) -> tuple[str, str]:
    """The code of a registry's error, and its message on one line, without controls and credentials; "" if absent."""
    try:
        first = json.loads(answer.whole(_MAX_ERROR))["errors"][0]
        code = str(first.get("code") or "")
        text = str(first.get("message") or code)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError, DamagedAnswerError):
        return "", ""
    shown = "".join(letter if letter.isprintable() else " " for letter in redact(text)[:200]).strip()
    return code, f", {shown}" if shown else ""


def _seconds(after: str) -> float:
    """Seconds of a Retry-After header, a number or a date (RFC 9110, 10.2.3); 0 where it is neither."""
    if after.isascii() and after.isdigit():
        return float(after[:9])
    try:
        return max(0.0, parsedate_to_datetime(after).timestamp() - time.time())
    except (ValueError, OverflowError, TypeError):
        return 0.0


def _wait(state: RetryCallState) -> float:
    """Seconds before the next attempt: what the registry asks for, or a growing pause with jitter."""
    from tenacity import wait_exponential, wait_random

    error = state.outcome.exception() if state.outcome else None
    asked = error.after_s if isinstance(error, TransientError) else 0
    return max(asked, wait_exponential(multiplier=0.2, max=10)(state) + wait_random(0, 0.3)(state))
