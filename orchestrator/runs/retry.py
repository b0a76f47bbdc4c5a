"""Which failures are worth another attempt, and when the next one comes.

A failure is judged by the step that failed and by that step's own error; the log is never searched, because a build's
log may hold any words ("network x not found" in a test's output made other tools retry, or not). It must not know how
an attempt is made.

Sources: the vertex names and error texts of BuildKit and containerd's resolver, recorded from a real engine; that a
`RUN` is never retried is a promise to users: its effects are their own (it may have published something).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, TypeVar

from orchestrator.bake.events import StepKind

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from tenacity import RetryCallState

    from orchestrator.bake.progress import Failure

T = TypeVar("T")


class Kind(StrEnum):
    """What sort of failure it is; TRANSIENT alone is tried again."""

    TRANSIENT = "transient"
    RUN = "run"
    AUTH = "auth"
    NOT_FOUND = "not-found"
    DISK = "disk"
    CANCELLED = "cancelled"
    ENVIRONMENT = "environment"
    OTHER = "other"

    @property
    def error_class(self) -> str:
        """The `error.class` of the report (one of `outcome.ERROR_CLASSES`)."""
        return _CLASSES[self]


_CLASSES = {
    Kind.TRANSIENT: "network",
    Kind.RUN: "run",
    Kind.AUTH: "auth",
    Kind.NOT_FOUND: "not-found",
    Kind.DISK: "disk",
    Kind.CANCELLED: "interrupted",
    Kind.ENVIRONMENT: "environment",
    Kind.OTHER: "run",
}

_RETRIED_STATUS = frozenset({408, 425, 429})
_OWN_TREE = frozenset({StepKind.RUN, StepKind.FILE})  # nothing of the network is in them

_DISK = re.compile(r"no space left on device|disk quota exceeded", re.IGNORECASE)
_CANCELLED = re.compile(r"context canceled|code = canceled\b", re.IGNORECASE)
_MACHINE = re.compile(
    r"cannot connect to the docker daemon|failed to connect to the docker api|no builder .* found|unknown flag: "
    r"|is not a docker command|x509: |certificate signed by unknown|server gave http response to https client"
    r"|does not look like a tls handshake",
    re.IGNORECASE,
)
# "503 Service Unavailable" (net/http), "status: 503", "status code 503": three digits anywhere would also match a port
# or a tag.
_STATUS = re.compile(r"\bstatus(?: code)?:? ([45]\d\d)\b|(?<![\w:.-])([45]\d\d) (?=[A-Z][a-z])")
_TOO_MANY = re.compile(r"toomanyrequests|too many requests|rate limit", re.IGNORECASE)
_AUTH = re.compile(
    r"\bunauthorized\b|authorization failed|authentication required|no basic auth credentials|insufficient_scope"
    r"|access denied|\bdenied(?::|$)|permission_denied|\bforbidden\b",
    re.IGNORECASE,
)
_NOT_FOUND = re.compile(
    r"not found\b|manifest unknown|manifest_unknown|name_unknown|name unknown|does not exist|no such manifest"
    r"|no match for platform",
    re.IGNORECASE,
)
_TRANSIENT = re.compile(
    r"connection reset|connection refused|broken pipe|i/o timeout|timed? ?out\b|deadline exceeded|tls handshake timeout"
    r"|\beof\b|unexpected eof|no route to host|network is unreachable|no such host|temporary failure in name resolution"
    r"|server misbehaving|use of closed network connection|http2: |stream error|code = unavailable"
    r"|connection error|\bunavailable(?:: |$)|unknown: unknown error|blob upload unknown"
    r"|service unavailable|bad gateway|internal server error|early eof|remote end hung up",
    re.IGNORECASE,
)


def classify(failure: Failure) -> Kind:
    """Judge a failure by its step and that step's error.

    Args:
        failure: What `Progress.failure` found.

    Returns:
        RUN for every failed `RUN`, whatever it printed; DISK for a full disk; AUTH (401, 403) and NOT_FOUND (404) as a
        registry answered; TRANSIENT for 408, 425, 429, 5xx, resets, timeouts, an early end of a connection; CANCELLED
        if BuildKit was told to stop; ENVIRONMENT if the engine is not there; OTHER for the rest.
    """
    text = failure.message
    if failure.kind is StepKind.RUN and not _CANCELLED.search(text):
        return Kind.RUN
    if _DISK.search(text):
        return Kind.DISK
    if _CANCELLED.search(text):
        # A step that was cancelled though nobody asked: the builder or the connection to it went away.
        return Kind.TRANSIENT if _TRANSIENT.search(failure.client) else Kind.CANCELLED
    if failure.kind in _OWN_TREE:
        return Kind.OTHER
    if _MACHINE.search(text):
        return Kind.ENVIRONMENT
    return _by_answer(text)


def _by_answer(text: str) -> Kind:
    if _TOO_MANY.search(text):  # Docker Hub answers some of these with 403 or with "denied"
        return Kind.TRANSIENT
    status = [int(first or second) for first, second in _STATUS.findall(text)]
    if status:
        return _by_status(status[-1])
    if text.endswith(": not found"):  # names in front of it are the user's and may hold any word
        return Kind.NOT_FOUND
    for pattern, kind in ((_TRANSIENT, Kind.TRANSIENT), (_AUTH, Kind.AUTH), (_NOT_FOUND, Kind.NOT_FOUND)):
        if pattern.search(text):
            return kind
    return Kind.OTHER


def _by_status(status: int) -> Kind:
    if status >= 500 or status in _RETRIED_STATUS:
        return Kind.TRANSIENT
    if status in (401, 403):
        return Kind.AUTH
    return Kind.NOT_FOUND if status in (404, 410) else Kind.OTHER


@dataclass(frozen=True, kw_only=True, slots=True)
class RetryPolicy:
    """How often and how soon.

    Attributes:
        attempts: Attempts in all, at least 1.
        initial: Seconds before the second attempt, about; doubled before each one after.
        maximum: The longest wait in seconds, before jitter.
        jitter: Seconds, at most, added by chance, so that many variants do not come back at the same moment.
    """

    attempts: int = 3
    initial: float = 2.0
    maximum: float = 30.0
    jitter: float = 1.0


def attempts(
    once: Callable[[int], T],
    *,
    again: Callable[[T], bool],
    policy: RetryPolicy,
    stop: threading.Event,
    before_wait: Callable[[int, float, T], None],
    sleep: Callable[[float], object] | None = None,
) -> T:
    """Make attempts until one need not be repeated, none is left, or a stop is asked for.

    Args:
        once: Makes attempt number n (from 1). What it raises ends the attempts.
        again: Whether what it gave is worth another attempt.
        policy: How often and how soon.
        stop: Ends the waiting at once when set, and forbids further attempts.
        before_wait: Told the number of the attempt that failed, the seconds until the next, and what it gave.
        sleep: Waits; `stop.wait` if not given (tests give a clock of their own).

    Returns:
        What the last attempt gave.
    """
    import tenacity

    made: list[T] = []

    def attempt() -> T:
        if not (made and stop.is_set()):  # woken from the wait by the wish to stop: what there is, is the answer
            made.append(once(len(made) + 1))
        return made[-1]

    def tell(state: RetryCallState) -> None:
        if state.next_action is not None:
            before_wait(len(made), state.next_action.sleep, made[-1])

    def pause(seconds: float) -> None:
        (sleep or stop.wait)(seconds)

    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_result(again),
        stop=tenacity.stop_any(
            tenacity.stop_after_attempt(max(1, policy.attempts)), tenacity.stop_when_event_set(stop)
        ),
        wait=tenacity.wait_exponential(multiplier=policy.initial, max=policy.maximum)
        + tenacity.wait_random(0, policy.jitter),
        sleep=pause,
        before_sleep=tell,
        retry_error_callback=lambda _: made[-1],
    )
    return retrying(attempt)
