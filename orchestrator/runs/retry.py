"""Decides which failures are worth another attempt, and when the next one comes.

A failure is judged by the step that failed and by that step's own error; the log is never searched, because a build's
log may hold any words ("network x not found" in a test's output made other tools retry, or not). Does not depend on
how an attempt is made.

Sources: the vertex names and error texts of BuildKit, of containerd's resolver, of git and of curl, recorded from a
real engine. A `RUN` that failed is never retried, which is a promise to users: it may have published something. One
that BuildKit ended because the engine or the connection to it went away, or that it never began, is.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeVar

import tenacity
from msgspec import Struct
from msgspec.structs import replace

from orchestrator.bake.events import StepKind
from orchestrator.bake.progress import SAID_NOTHING
from orchestrator.errors import FailureClass

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.bake.progress import Failure
    from orchestrator.process import Stop

T = TypeVar("T")


class Judgement(Struct, frozen=True, kw_only=True):
    """What sort of failure it is, whether it is worth another attempt, and how long a registry asks to wait before."""

    failure: FailureClass
    again: bool = False
    after_s: float = 0.0


_AGAIN = Judgement(failure=FailureClass.NETWORK, again=True)
_BACK_SOON = Judgement(failure=FailureClass.ENVIRONMENT, again=True)

_RETRIED_STATUS = frozenset({408, 425, 429})
_OWN_TREE = frozenset({StepKind.RUN, StepKind.FILE})  # nothing of the network is in them

# `re` compiles (and keeps) each pattern when it is first used: a build that fails nowhere needs none.
# `re` compiles each of them when it is first asked for, and keeps it: a build without a failure needs none.
_DISK = r"(?i)no space left on device|disk quota exceeded"
_CANCELLED = r"(?i)context canceled|code = canceled\b"
_AWAY = (  # an engine or BuildKit that restarts is back within some seconds
    r"(?i)cannot connect to the docker daemon|failed to connect to the docker api|is the docker daemon running"
    r"|error while dialing|server preface|the server is shutting down"
)
# The image store removed, or another build made, what this one needs in the same moment; another attempt heals it. Seen
# at exports and in front of steps, never in a RUN that had begun: moby/buildkit#6521, moby/buildkit#6977 (snapshots),
# kubernetes-sigs/dra-driver-nvidia-gpu#908 (image), moby/moby#44450, moby/buildkit#6422 (session).
_HEALS = (
    r"(?i)\bsnapshot \S+ does not exist|\b(?:image|snapshot) \S+:? already exists|\bno active session for "
    r"|\bdatabase not open\b"  # bbolt's words, of an engine that is being restarted
)
_EXIT = r"^exit code: \d+"
# What buildx says when the connection to BuildKit itself breaks, in mid-build or before it (buildx 0.29).
_BROKEN = (
    r"(?i)\bUnavailable: (?:error reading from server|closing transport|connection error|transport is closing)"
    r"|failed to receive status: rpc error: code = Unavailable|^\[internal\] waiting for connection"
    r"|error reading from server: EOF|error while dialing|server preface|cannot connect to the docker daemon"
    r"|failed to connect to the docker api|the server is shutting down|\bdatabase not open\b"
)
_MAY_BE_LOST = frozenset({FailureClass.NETWORK, FailureClass.ENVIRONMENT, FailureClass.CANCELLED})
_KILLED_RUN = r"exit code: (?:137|143)$"
# As GitHub's and Amazon's registries write it: "toomanyrequests: retry-after: 370.121µs, allowed: 44000/minute".
_AFTER = r"(?i)\bretry[- ]?after:? +(?P<number>\d+(?:\.\d+)?)(?P<unit>ns|[uµμ]s|ms|s|m|h)?\b"
_UNITS_S = {"ns": 1e-9, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "": 1.0}
_MOST_ASKED_S = 600.0
_MACHINE = (
    r"(?i)no builder .* found|unknown flag: "
    r"|is not a docker command|x509: |certificate signed by unknown|server gave http response to https client"
    r"|does not look like a tls handshake|ssl certificate problem|server certificate verification failed"
)
# As in "503 Service Unavailable" (net/http), "status: 503", "status code 503", "RPC failed; HTTP 502" (git) and
# "returned error: 503" (curl). Three digits anywhere also match a port or a tag.
_STATUS = (
    r"\b(?:status(?: code)?:?|RPC failed; HTTP|returned error:) ([45]\d\d)\b|(?<![\w:.-])([45]\d\d) (?=[A-Z][a-z])"
)
# What an exporter or a cache says of its own settings, before it moves a byte.
_EXPORTERS = frozenset(
    {StepKind.CLIENT, StepKind.EXPORT, StepKind.CACHE_EXPORT, StepKind.CACHE_IMPORT, StepKind.INTERNAL}
)
_UNSUPPORTED = (
    r"(?i)(?:is|are) not supported for the \S+ driver|does not currently support exporting|switch to a different driver"
    r"|invalid empty ssh agent socket|failed to convert agent config|failed to (?:open|stat) |^mkdir "
)
_CONFIGURED = (
    r"(?i)exporter \S+ could not be found|unknown cache exporter|cache exporter requires|failed to configure \S+ cache"
    r"|unknown attestation type|network mode \S+ not supported|invalid host \S+\Z"
    r"|unsupported compression type|non-(?:bool|integer) value|tag is needed when pushing|dest is required for"
    r"|^(?:failed to solve: )?invalid (?:mode|annotation|output|compression)|failed to get build context"
)
_TOO_MANY = r"(?i)toomanyrequests|too many requests|rate limit"
_AUTH = (
    r"(?i)\bunauthorized\b|authorization failed|authentication required|no basic auth credentials|insufficient_scope"
    r"|access denied|\bdenied(?::|$)|permission_denied|\bforbidden\b"
    r"|authentication failed for|could not read (?:username|password)|permission denied \(publickey"
)
_NOT_FOUND = (
    r"(?i)not found\b|manifest unknown|manifest_unknown|name_unknown|name unknown|does not exist|no such manifest"
    r"|no match for platform|couldn't find remote ref"
)
_TRANSIENT = (
    r"(?i)connection reset|connection refused|broken pipe|i/o timeout|timed? ?out\b|deadline exceeded"
    r"|tls handshake timeout"
    r"|\beof\b|unexpected eof|no route to host|network is unreachable|no such host|temporary failure in name resolution"
    r"|server misbehaving|use of closed network connection|http2: |stream error|code = unavailable"
    r"|connection error|\bunavailable(?:: |$)|unknown: unknown error|blob upload unknown"
    r"|service unavailable|bad gateway|internal server error|early eof|remote end hung up"
    # distribution 2.8, of a manifest that is pushed while it writes the link to one of its layers for another push
    r"|provided digest did not match uploaded content"
    # curl, and git over it
    r"|failed to connect to|could(?: not|n't) connect to server|could not resolve (?:host|proxy)"
    r"|empty reply from server|transfer closed with|ssl_error_syscall|ssl connect error|gnutls_handshake\(\) failed"
    r"|gnutls recv error|was not closed cleanly|unexpected disconnect|recv failure|send failure"
    # git over ssh
    r"|connection closed by|connection timed out"
)


def judge(failure: Failure, *, unknown: FailureClass = FailureClass.RUN) -> Judgement:
    """Judge a failure by its step and that step's error.

    Args:
        failure: What `Progress.failure` found.
        unknown: The class of a failure whose words say nothing.

    Returns:
        ENVIRONMENT, worth another attempt, for what the image store mends by itself; RUN for every failed `RUN`,
        whatever it printed; DISK for a full disk; AUTH (401, 403) and NOT_FOUND (404) as a
        registry answered; NETWORK, worth another attempt, for 408, 425, 429, 5xx, resets, timeouts, an early end of a
        connection; CANCELLED if BuildKit was told to stop; ENVIRONMENT, worth another attempt, if the engine does not
        answer, and ENVIRONMENT for what is missing on the machine or the builder; MATRIX for an exporter or a cache
        that is not configured as it must be; else `unknown`.
    """
    text = failure.message
    if _said_nothing(failure):
        return _AGAIN
    if re.search(_HEALS, text) and not re.match(_EXIT, text):
        return _BACK_SOON
    if failure.kind is StepKind.RUN and not re.search(_CANCELLED, text):
        return Judgement(failure=FailureClass.RUN)
    if re.search(_DISK, text):
        return Judgement(failure=FailureClass.DISK)
    if re.search(_CANCELLED, text):
        # A step that was cancelled though nobody asked: the builder or the connection to it went away.
        return (
            _AGAIN
            if re.search(_TRANSIENT, failure.client) or re.search(_AWAY, failure.client)
            else Judgement(failure=FailureClass.CANCELLED)
        )
    if failure.kind in _OWN_TREE:
        return Judgement(failure=unknown)
    if re.search(_AWAY, text):
        return _BACK_SOON
    if re.search(_MACHINE, text):
        return Judgement(failure=FailureClass.ENVIRONMENT)
    if failure.kind in _EXPORTERS and re.search(_UNSUPPORTED, text):
        return Judgement(failure=FailureClass.ENVIRONMENT)
    if failure.kind in _EXPORTERS and re.search(_CONFIGURED, text):
        return Judgement(failure=FailureClass.MATRIX)
    return _by_answer(text) or Judgement(failure=unknown)


def broke(failure: Failure, judged: Judgement) -> bool:
    """Return whether a failure's words say that the connection to the builder broke."""
    return _said_nothing(failure) or (
        judged.again and bool(re.search(_BROKEN, failure.message) or re.search(_BROKEN, failure.client))
    )


def _said_nothing(failure: Failure) -> bool:
    """Whether buildx ended while no step had failed, without a word: so it ends at times when its session is lost.

    Seen with buildx 0.29 and a connection that was killed during a RUN, once in about ten.
    """
    return failure.kind is StepKind.CLIENT and failure.returncode == 1 and failure.message.endswith(SAID_NOTHING)


def may_be_lost(failure: Failure, judged: Judgement) -> bool:
    """Return whether a failure may come from a builder that went away: then the builder is asked.

    An engine that ends kills its steps first, so a `RUN` that was killed counts.
    """
    return judged.failure in _MAY_BE_LOST or bool(re.search(_KILLED_RUN, failure.message))


def _by_answer(text: str) -> Judgement | None:
    if re.search(_TOO_MANY, text):  # Docker Hub answers some of these with 403 or with "denied"
        return replace(_AGAIN, after_s=_asked(text))
    status = [int(first or second) for first, second in re.findall(_STATUS, text)]
    if status:
        judged = _by_status(status[-1])
        return replace(judged, after_s=_asked(text)) if judged is not None and judged.again else judged
    if text.endswith(": not found"):  # names in front of it are the user's and may hold any word
        return Judgement(failure=FailureClass.NOT_FOUND)
    if re.search(_TRANSIENT, text):
        return _AGAIN
    for pattern, found in ((_AUTH, FailureClass.AUTH), (_NOT_FOUND, FailureClass.NOT_FOUND)):
        if re.search(pattern, text):
            return Judgement(failure=found)
    return None


def _asked(text: str) -> float:
    """Seconds that a registry asks to wait, 0 where it does not say; a wait of hours is not made."""
    found = re.search(_AFTER, text)
    if found is None:
        return 0.0
    unit = (found["unit"] or "").lower()
    seconds = float(found["number"]) * (_UNITS_S.get(unit) or 1e-6)
    return min(seconds, _MOST_ASKED_S)


def _by_status(status: int) -> Judgement | None:
    if status >= 500 or status in _RETRIED_STATUS:
        return _AGAIN
    if status in (401, 403):
        return Judgement(failure=FailureClass.AUTH)
    return Judgement(failure=FailureClass.NOT_FOUND) if status in (404, 410) else None


class RetryPolicy(Struct, frozen=True, kw_only=True):
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
    stop: Stop,
    before_wait: Callable[[int, float, T], None],
    least_s: Callable[[T], float] | None = None,
) -> T:
    """Make attempts until one need not be repeated, none is left, or a stop is asked for.

    Args:
        once: Makes attempt number n (from 1). What it raises ends the attempts.
        again: Whether a result is worth another attempt.
        policy: How often and how soon.
        stop: Ends the waiting at once when set, and forbids further attempts.
        before_wait: Called with the number of the failed attempt, the seconds until the next, and its result.
        least_s: Seconds to wait at least after a result, as its registry asks; None for no such wish.

    Returns:
        The result of the last attempt.
    """
    made: list[T] = []

    def attempt() -> T:
        if not (made and stop.is_set()):  # a stop ended the wait: the last result is the answer
            made.append(once(len(made) + 1))
        return made[-1]

    def tell(state: tenacity.RetryCallState) -> None:
        if state.next_action is not None:
            before_wait(len(made), state.next_action.sleep, made[-1])

    def pause(seconds: float) -> None:
        stop.wait(seconds)

    usual = tenacity.wait_exponential(multiplier=policy.initial, max=policy.maximum) + tenacity.wait_random(
        0, policy.jitter
    )

    def wait(state: tenacity.RetryCallState) -> float:
        asked = least_s(made[-1]) if least_s is not None else 0.0
        return max(usual(state), asked)

    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_result(again),
        stop=tenacity.stop_any(
            tenacity.stop_after_attempt(max(1, policy.attempts)), tenacity.stop_when_event_set(stop)
        ),
        wait=wait,
        sleep=pause,
        before_sleep=tell,
        retry_error_callback=lambda _: made[-1],
    )
    return retrying(attempt)
