"""Which failures are tried again, on words recorded from a real engine, and when, on a clock of our own."""

from __future__ import annotations

import threading

import pytest

from orchestrator.bake.events import StepKind
from orchestrator.runs.outcome import ERROR_CLASSES
from orchestrator.runs.retry import Kind, RetryPolicy, attempts, classify
from tests.unit.runs.support import failure

HEAD = "unexpected status from HEAD request to http://127.0.0.1:5000/v2/bp/x/manifests/503:"
PUSH = "failed to push 127.0.0.1:5000/bp/x:1:"

# (kind of the failed step, its error as BuildKit 0.25/buildx 0.29 wrote it, what buildx said, judgement)
TABLE = [
    # What the network and registries do for a while.
    (StepKind.METADATA, f"{HEAD} 503 Service Unavailable", "", Kind.TRANSIENT),
    (StepKind.METADATA, f"{HEAD} 500 Internal Server Error", "", Kind.TRANSIENT),
    (StepKind.METADATA, f"{HEAD} 429 Too Many Requests", "", Kind.TRANSIENT),
    (StepKind.METADATA, f"{HEAD} 408 Request Timeout", "", Kind.TRANSIENT),
    (StepKind.METADATA, f"{HEAD} 425 Too Early", "", Kind.TRANSIENT),
    (StepKind.METADATA, 'failed to do request: Head "https://r/v2/": EOF', "", Kind.TRANSIENT),
    (StepKind.METADATA, "failed to do request: read: connection reset by peer", "", Kind.TRANSIENT),
    (StepKind.METADATA, "dial tcp: lookup ghcr.io: i/o timeout", "", Kind.TRANSIENT),
    (StepKind.METADATA, "net/http: TLS handshake timeout", "", Kind.TRANSIENT),
    (StepKind.METADATA, "failed to resolve: context deadline exceeded", "", Kind.TRANSIENT),
    (
        StepKind.AUTH,
        "failed to fetch anonymous token: dial tcp 127.0.0.1:1: connect: connection refused",
        "",
        Kind.TRANSIENT,
    ),
    (StepKind.BASE, "toomanyrequests: You have reached your pull rate limit", "", Kind.TRANSIENT),
    (StepKind.EXPORT, f"{PUSH} unavailable: not now", "", Kind.TRANSIENT),
    (StepKind.EXPORT, f"{PUSH} unavailable", "", Kind.TRANSIENT),
    (StepKind.EXPORT, f"{PUSH} unknown: unknown error", "", Kind.TRANSIENT),
    (StepKind.EXPORT, f"{PUSH} write tcp 1->2: use of closed network connection", "", Kind.TRANSIENT),
    (StepKind.CACHE_EXPORT, f"error writing layer blob: {HEAD} 502 Bad Gateway", "", Kind.TRANSIENT),
    (
        StepKind.AUTH,
        "401 Unauthorized: failed to fetch a token: unexpected status: 503 Service Unavailable",
        "",
        Kind.TRANSIENT,
    ),
    (StepKind.FETCH, "invalid response status 503", "", Kind.TRANSIENT),
    (StepKind.CLIENT, "rpc error: code = Unavailable desc = error reading from server: EOF", "", Kind.TRANSIENT),
    # What stays as it is.
    (StepKind.METADATA, f"{HEAD} 401 Unauthorized", "", Kind.AUTH),
    (StepKind.METADATA, f"{HEAD} 403 Forbidden", "", Kind.AUTH),
    (StepKind.EXPORT, f"{PUSH} unauthorized: authentication required", "", Kind.AUTH),
    (StepKind.EXPORT, f"{PUSH} denied", "", Kind.AUTH),
    (StepKind.EXPORT, f"{PUSH} denied: requested access to the resource is denied", "", Kind.AUTH),
    (
        StepKind.METADATA,
        "pull access denied, repository does not exist or may require authorization: insufficient_scope",
        "",
        Kind.AUTH,
    ),
    (StepKind.METADATA, "127.0.0.1:5000/bp/none:1: not found", "", Kind.NOT_FOUND),
    (StepKind.METADATA, "docker.io/acme/eof: timed out:503: not found", "", Kind.NOT_FOUND),
    (StepKind.EXPORT, f"{PUSH} name unknown: repository name not known to registry", "", Kind.NOT_FOUND),
    (StepKind.FETCH, "invalid response status 404", "", Kind.NOT_FOUND),
    (StepKind.EXPORT, "write /var/lib/x: no space left on device", "", Kind.DISK),
    (StepKind.BASE, "failed to extract layer: write /x: no space left on device", "", Kind.DISK),
    (StepKind.METADATA, "tls: failed to verify certificate: x509: unknown authority", "", Kind.ENVIRONMENT),
    (StepKind.CLIENT, "Cannot connect to the Docker daemon at unix:///var/run/docker.sock.", "", Kind.ENVIRONMENT),
    (StepKind.CLIENT, "unknown flag: --progres", "", Kind.ENVIRONMENT),
    (StepKind.CLIENT, "dockerfile parse error on line 3: unknown instruction: FOO", "", Kind.OTHER),
    (StepKind.FILE, 'failed to calculate checksum of ref x::y: "/nothere": not found', "", Kind.OTHER),
    # A RUN, whatever it says.
    (StepKind.RUN, "exit code: 1", "", Kind.RUN),
    (StepKind.RUN, "exit code: 503 Service Unavailable, connection reset, EOF", "", Kind.RUN),
    (StepKind.RUN, "exit code: 1", "ERROR: connection reset by peer", Kind.RUN),
    (StepKind.RUN, "no space left on device", "", Kind.RUN),
    # Cancelled: by us, or because the builder went away under it.
    (StepKind.RUN, "context canceled", "", Kind.CANCELLED),
    (StepKind.RUN, "context canceled", "rpc error: code = Unavailable desc = error reading: EOF", Kind.TRANSIENT),
]


@pytest.mark.parametrize(("kind", "message", "client", "expected"), TABLE)
def test_judgement(kind: StepKind, message: str, client: str, expected: Kind) -> None:
    assert classify(failure(message, kind=kind, client=client)) is expected


def test_every_kind_has_a_class_of_the_report() -> None:
    assert {kind.error_class for kind in Kind} <= set(ERROR_CLASSES)


class Clock:
    """Time that passes only when somebody waits."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.waits.append(seconds)


def made(
    results: list[str], *, policy: RetryPolicy, stop: threading.Event | None = None, clock: Clock | None = None
) -> tuple[str, list[int], list[tuple[int, str]]]:
    numbers: list[int] = []
    told: list[tuple[int, str]] = []

    def once(number: int) -> str:
        numbers.append(number)
        return results[number - 1]

    result = attempts(
        once,
        again=lambda text: text.startswith("again"),
        policy=policy,
        stop=stop or threading.Event(),
        before_wait=lambda number, _seconds, text: told.append((number, text)),
        sleep=clock or Clock(),
    )
    return result, numbers, told


def test_it_goes_on_until_one_is_good() -> None:
    assert made(["again 1", "again 2", "good"], policy=RetryPolicy()) == (
        "good",
        [1, 2, 3],
        [(1, "again 1"), (2, "again 2")],
    )


def test_the_last_answer_stands_when_no_attempt_is_left() -> None:
    assert made(["again 1", "again 2", "never"], policy=RetryPolicy(attempts=2))[:2] == ("again 2", [1, 2])


@pytest.mark.parametrize("count", [-1, 0, 1])
def test_there_is_always_one_attempt(count: int) -> None:
    assert made(["again", "never"], policy=RetryPolicy(attempts=count))[:2] == ("again", [1])


def test_waits_double_to_a_limit_with_chance_added() -> None:
    clock = Clock()
    policy = RetryPolicy(attempts=6, initial=2, maximum=10, jitter=1)
    made(["again"] * 6, policy=policy, clock=clock)
    for waited, least in zip(clock.waits, [2, 4, 8, 10, 10], strict=True):
        assert least <= waited <= least + 1
    other = Clock()
    made(["again"] * 6, policy=policy, clock=other)
    assert clock.waits[:3] != other.waits[:3]


def test_a_stop_during_the_wait_ends_it() -> None:
    stop = threading.Event()

    class Stopping(Clock):
        def __call__(self, seconds: float) -> None:
            super().__call__(seconds)
            stop.set()

    clock = Stopping()
    assert made(["again 1", "never"], policy=RetryPolicy(), stop=stop, clock=clock)[:2] == ("again 1", [1])
    assert len(clock.waits) == 1


def test_without_a_clock_of_its_own_the_wait_is_the_stop_events() -> None:
    stop = threading.Event()
    threading.Timer(0.05, stop.set).start()
    result = attempts(
        lambda number: f"again {number}",
        again=lambda _: True,
        policy=RetryPolicy(initial=60, maximum=60),
        stop=stop,
        before_wait=lambda *_: None,
    )
    assert result == "again 1"


def test_what_an_attempt_raises_ends_the_attempts() -> None:
    numbers: list[int] = []

    def once(number: int) -> str:
        numbers.append(number)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        attempts(
            once,
            again=lambda _: True,
            policy=RetryPolicy(),
            stop=threading.Event(),
            before_wait=lambda *_: None,
            sleep=Clock(),
        )
    assert numbers == [1]
