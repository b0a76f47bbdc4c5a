"""Which failures are tried again, on words recorded from a real engine, and when, on a clock of our own."""

from __future__ import annotations

import threading

import pytest
from msgspec.structs import replace

from orchestrator.bake.events import StepKind, step_kind
from orchestrator.bake.progress import Failure
from orchestrator.errors import FailureClass as F  # stands in every line of the table
from orchestrator.process import Stop
from orchestrator.runs.retry import Judgement, RetryPolicy, attempts, broke, judge
from tests.unit.runs.support import failure

HEAD = "unexpected status from HEAD request to http://127.0.0.1:5000/v2/bp/x/manifests/503:"
PUSH = "failed to push 127.0.0.1:5000/bp/x:1:"

# (kind of the failed step, its error as BuildKit 0.25/buildx 0.29 wrote it, what buildx said, judgement)
AGAIN = Judgement(failure=F.NETWORK, again=True)
OTHER = Judgement(failure=F.RUN)
AWAY = Judgement(failure=F.ENVIRONMENT, again=True)

TABLE = [
    # What the network and registries do for a while.
    (StepKind.METADATA, f"{HEAD} 503 Service Unavailable", "", AGAIN),
    (StepKind.METADATA, f"{HEAD} 500 Internal Server Error", "", AGAIN),
    (StepKind.METADATA, f"{HEAD} 429 Too Many Requests", "", AGAIN),
    (StepKind.METADATA, f"{HEAD} 408 Request Timeout", "", AGAIN),
    (StepKind.METADATA, f"{HEAD} 425 Too Early", "", AGAIN),
    (StepKind.METADATA, 'failed to do request: Head "https://r/v2/": EOF', "", AGAIN),
    (StepKind.METADATA, "failed to do request: read: connection reset by peer", "", AGAIN),
    (StepKind.METADATA, "dial tcp: lookup ghcr.io: i/o timeout", "", AGAIN),
    (StepKind.METADATA, "net/http: TLS handshake timeout", "", AGAIN),
    (StepKind.METADATA, "failed to resolve: context deadline exceeded", "", AGAIN),
    (
        StepKind.AUTH,
        "failed to fetch anonymous token: dial tcp 127.0.0.1:1: connect: connection refused",
        "",
        AGAIN,
    ),
    (StepKind.BASE, "toomanyrequests: You have reached your pull rate limit", "", AGAIN),
    (StepKind.EXPORT, f"{PUSH} unavailable: not now", "", AGAIN),
    (StepKind.EXPORT, f"{PUSH} unavailable", "", AGAIN),
    (StepKind.EXPORT, f"{PUSH} unknown: unknown error", "", AGAIN),
    (StepKind.EXPORT, f"{PUSH} unknown: provided digest did not match uploaded content", "", AGAIN),
    (StepKind.EXPORT, f"{PUSH} write tcp 1->2: use of closed network connection", "", AGAIN),
    (StepKind.CACHE_EXPORT, f"error writing layer blob: {HEAD} 502 Bad Gateway", "", AGAIN),
    (
        StepKind.AUTH,
        "401 Unauthorized: failed to fetch a token: unexpected status: 503 Service Unavailable",
        "",
        AGAIN,
    ),
    (StepKind.FETCH, "invalid response status 503", "", AGAIN),
    (StepKind.CLIENT, "rpc error: code = Unavailable desc = error reading from server: EOF", "", AGAIN),
    # What stays as it is.
    (StepKind.METADATA, f"{HEAD} 401 Unauthorized", "", F.AUTH),
    (StepKind.METADATA, f"{HEAD} 403 Forbidden", "", F.AUTH),
    (StepKind.EXPORT, f"{PUSH} unauthorized: authentication required", "", F.AUTH),
    (StepKind.EXPORT, f"{PUSH} denied", "", F.AUTH),
    (StepKind.EXPORT, f"{PUSH} denied: requested access to the resource is denied", "", F.AUTH),
    (
        StepKind.METADATA,
        "pull access denied, repository does not exist or may require authorization: insufficient_scope",
        "",
        F.AUTH,
    ),
    (StepKind.METADATA, "127.0.0.1:5000/bp/none:1: not found", "", F.NOT_FOUND),
    (StepKind.METADATA, "docker.io/acme/eof: timed out:503: not found", "", F.NOT_FOUND),
    (StepKind.EXPORT, f"{PUSH} name unknown: repository name not known to registry", "", F.NOT_FOUND),
    (StepKind.FETCH, "invalid response status 404", "", F.NOT_FOUND),
    (StepKind.EXPORT, "write /var/lib/x: no space left on device", "", F.DISK),
    (StepKind.BASE, "failed to extract layer: write /x: no space left on device", "", F.DISK),
    (StepKind.METADATA, "tls: failed to verify certificate: x509: unknown authority", "", F.ENVIRONMENT),
    # An engine that restarts is back within some seconds.
    (StepKind.CLIENT, "Cannot connect to the Docker daemon at unix:///var/run/docker.sock.", "", AWAY),
    (StepKind.CLIENT, "failed to connect to the docker API at unix:///x.sock: no such file", "", AWAY),
    (StepKind.CLIENT, 'desc = "transport: Error while dialing: dial unix /x.sock: connect: no such file"', "", AWAY),
    (StepKind.RUN, "context canceled", "error while dialing", AGAIN),
    # What the image store mends by itself.
    (
        StepKind.EXPORT,
        'failed to prepare extraction snapshot "extract-1": parent snapshot sha256:22 does not exist: not found',
        "",
        AWAY,
    ),
    (StepKind.FILE, "failed to apply diffs: failed to stat lower snapshot oq: snapshot oq does not exist", "", AWAY),
    (StepKind.RUN, "failed to prepare sha256:e0 as u4: parent snapshot sha256:e0 does not exist: not found", "", AWAY),
    (StepKind.EXPORT, 'image "docker.io/library/app:db70fc24": already exists', "", AWAY),
    (StepKind.EXPORT, 'failed to export layer: snapshot "sha256:8b-parent-view": already exists', "", AWAY),
    (StepKind.METADATA, "failed to authorize: no active session for 94: context deadline exceeded", "", AWAY),
    (StepKind.RUN, 'exit code: 1: snapshot x does not exist, image "a": already exists', "", F.RUN),
    (StepKind.FILE, '"/snapshot": not found', "", OTHER),
    # What exporters, caches, secrets say of their own settings (buildx 0.29 with engine 28.5; no step fails).
    (StepKind.CLIENT, 'exporter "nosuch" could not be found', "", F.MATRIX),
    (StepKind.CLIENT, "unsupported compression type foo", "", F.MATRIX),
    (StepKind.CLIENT, 'unknown attestation type "nope"', "", F.MATRIX),
    (StepKind.CLIENT, 'network mode "nope" not supported by buildkit - you can define a custom network', "", F.MATRIX),
    (StepKind.CLIENT, "invalid host a=nope", "", F.MATRIX),
    (StepKind.RUN, "invalid host a=nope", "", F.RUN),
    (StepKind.CLIENT, 'non-bool value specified for push: strconv.ParseBool: parsing "maybe": invalid', "", F.MATRIX),
    (StepKind.CLIENT, "non-integer value abc specified for compression-level: strconv.ParseInt", "", F.MATRIX),
    (StepKind.CLIENT, "tag is needed when pushing to registry", "", F.MATRIX),
    (StepKind.CLIENT, "dest is required for local exporter", "", F.MATRIX),
    (StepKind.CLIENT, 'unknown cache exporter: "s3"', "", F.MATRIX),
    (StepKind.CLIENT, "registry cache exporter requires ref", "", F.MATRIX),
    (StepKind.CLIENT, "failed to configure gha cache exporter: token is malformed", "", F.MATRIX),
    (StepKind.CLIENT, 'invalid mode "foo"', "", F.MATRIX),
    (StepKind.CLIENT, "failed to get build context x: stat /nowhere: no such file or directory", "", F.MATRIX),
    (StepKind.CLIENT, "failed to open open /nowhere/dir/x.tar: no such file or directory", "", F.ENVIRONMENT),
    (StepKind.CLIENT, "failed to stat /nowhere: stat /nowhere: no such file or directory", "", F.ENVIRONMENT),
    (StepKind.CLIENT, "invalid empty ssh agent socket: make sure SSH_AUTH_SOCK is set", "", F.ENVIRONMENT),
    (StepKind.CLIENT, 'failed to convert agent config for ID: "default": stat /none: no such file', "", F.ENVIRONMENT),
    (StepKind.CLIENT, "Cache export is not supported for the docker driver.", "", F.ENVIRONMENT),
    (StepKind.EXPORT, "docker exporter does not currently support exporting manifest lists", "", F.ENVIRONMENT),
    (StepKind.FILE, 'exporter "nosuch" could not be found', "", OTHER),
    (StepKind.CLIENT, "unknown flag: --progres", "", F.ENVIRONMENT),
    (StepKind.CLIENT, "dockerfile parse error on line 3: unknown instruction: FOO", "", OTHER),
    (StepKind.FILE, 'failed to calculate checksum of ref x::y: "/nothere": not found', "", OTHER),
    # A RUN, whatever it says.
    (StepKind.RUN, "exit code: 1", "", F.RUN),
    (StepKind.RUN, "exit code: 503 Service Unavailable, connection reset, EOF", "", F.RUN),
    (StepKind.RUN, "exit code: 1", "ERROR: connection reset by peer", F.RUN),
    (StepKind.RUN, "no space left on device", "", F.RUN),
    # Cancelled: by us, or because the builder went away under it.
    (StepKind.RUN, "context canceled", "", F.CANCELLED),
    (StepKind.RUN, "context canceled", "rpc error: code = Unavailable desc = error reading: EOF", AGAIN),
]


@pytest.mark.parametrize(("kind", "message", "client", "expected"), TABLE)
def test_judgement(kind: StepKind, message: str, client: str, expected: Judgement | F) -> None:
    found = judge(failure(message, kind=kind, client=client))
    assert found == (expected if isinstance(expected, Judgement) else Judgement(failure=expected))


def test_what_nobody_has_seen_gets_the_class_that_the_caller_names() -> None:
    odd = failure("something nobody has seen", kind=StepKind.EXPORT)
    assert judge(odd, unknown=F.NETWORK) == Judgement(failure=F.NETWORK)
    assert judge(odd) == OTHER
    assert judge(failure("503 Service Unavailable", kind=StepKind.RUN), unknown=F.NETWORK) == Judgement(failure=F.RUN)


GIT = "failed to fetch remote https://h/n.git: git stderr: fatal: unable to access 'https://h/n.git/': "


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (f"{GIT}Failed to connect to 127.0.0.1 port 9 after 0 ms: Couldn't connect to server: exit status 128", AGAIN),
        (f"{GIT}Failed to connect to github.com port 443: Connection timed out: exit status 128", AGAIN),
        (f"{GIT}Failed to connect to github.com port 443 after 5 ms: Error", AGAIN),
        (f"{GIT}Could not resolve host: no.example: exit status 128", AGAIN),
        (f"{GIT}Could not resolve proxy: proxy.example", AGAIN),
        (f"{GIT}The requested URL returned error: 503", AGAIN),
        (f"{GIT}The requested URL returned error: 429", AGAIN),
        (f"{GIT}Empty reply from server", AGAIN),
        (f"{GIT}OpenSSL SSL_connect: SSL_ERROR_SYSCALL in connection to github.com:443", AGAIN),
        (f"{GIT}gnutls_handshake() failed: Error in the pull function.", AGAIN),
        (f"{GIT}GnuTLS recv error (-110): The TLS connection was non-properly terminated.", AGAIN),
        (f"{GIT}Recv failure: Connection reset by peer", AGAIN),
        ("error: RPC failed; HTTP 502 curl 22 The requested URL returned error: 502 fatal: expected 'packfile'", AGAIN),
        ("error: RPC failed; HTTP 504 curl 22", AGAIN),
        ("error: RPC failed; curl 92 HTTP/2 stream 5 was not closed cleanly: INTERNAL_ERROR (err 2)", AGAIN),
        ("error: RPC failed; curl 18 transfer closed with outstanding read data remaining", AGAIN),
        ("fetch-pack: unexpected disconnect while reading sideband packet fatal: early EOF", AGAIN),
        ("fatal: the remote end hung up unexpectedly", AGAIN),
        ("ssh: connect to host github.com port 22: Connection refused", AGAIN),
        ("kex_exchange_identification: Connection closed by remote host", AGAIN),
        ("ssh: Could not resolve hostname github.com: Temporary failure in name resolution", AGAIN),
        (f"{GIT}The requested URL returned error: 403", F.AUTH),
        (f"{GIT}The requested URL returned error: 404", F.NOT_FOUND),
        ("fatal: Authentication failed for 'https://github.com/acme/private.git/'", F.AUTH),
        ("fatal: could not read Username for 'https://github.com': terminal prompts disabled", F.AUTH),
        ("git@github.com: Permission denied (publickey). fatal: Could not read from remote repository.", F.AUTH),
        ("remote: Repository not found. fatal: repository 'https://github.com/a/b.git/' not found", F.NOT_FOUND),
        ("fatal: couldn't find remote ref refs/heads/none", F.NOT_FOUND),
        (f"{GIT}SSL certificate problem: self-signed certificate in certificate chain", F.ENVIRONMENT),
        (f"{GIT}server certificate verification failed. CAfile: none CRLfile: none", F.ENVIRONMENT),
    ],
)
@pytest.mark.parametrize(
    "step",
    [
        "[internal] load git source https://127.0.0.1:9/n.git",
        "[context src] https://127.0.0.1:9/n.git",
        "[app 1/2] ADD https://127.0.0.1:9/n.git /src",
    ],
)
def test_what_git_and_curl_say(step: str, message: str, expected: Judgement | F) -> None:
    found = judge(failure(message, kind=step_kind(step), step=step))
    assert found == (expected if isinstance(expected, Judgement) else Judgement(failure=expected))


@pytest.mark.parametrize(
    "name", ["[internal] load git source https://h/n.git#main", "[internal] load remote build context"]
)
def test_a_remote_context_is_fetched(name: str) -> None:
    assert step_kind(name) is StepKind.FETCH


class Clock(Stop):
    """A stop on which waiting takes no time."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout or 0)
        return self.is_set()


def made(
    results: list[str], *, policy: RetryPolicy, stop: Stop | None = None
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
        stop=stop or Clock(),
        before_wait=lambda number, _seconds, text: told.append((number, text)),
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
    made(["again"] * 6, policy=policy, stop=clock)
    for waited, least in zip(clock.waits, [2, 4, 8, 10, 10], strict=True):
        assert least <= waited <= least + 1
    other = Clock()
    made(["again"] * 6, policy=policy, stop=other)
    assert clock.waits[:3] != other.waits[:3]


def test_a_stop_during_the_wait_ends_it() -> None:
    class Stopping(Clock):
        def wait(self, timeout: float | None = None) -> bool:
            self.set()
            return super().wait(timeout)

    clock = Stopping()
    assert made(["again 1", "never"], policy=RetryPolicy(), stop=clock)[:2] == ("again 1", [1])
    assert len(clock.waits) == 1


def test_a_stop_ends_a_wait_that_takes_time() -> None:
    stop = Stop()
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
            stop=Clock(),
            before_wait=lambda *_: None,
        )
    assert numbers == [1]


@pytest.mark.parametrize(
    "text",
    [
        "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?",
        "failed to connect to the docker API at unix:///var/run/docker.sock; check if the path is correct",
    ],
)
def test_an_engine_that_restarts_costs_no_variant(text: str) -> None:
    failure = Failure(step="", kind=StepKind.CLIENT, message=text, returncode=1)
    assert judge(failure) == Judgement(failure=F.ENVIRONMENT, again=True)
    run = Failure(step="RUN docker ps", kind=StepKind.RUN, message=text, returncode=1)
    assert judge(run) == Judgement(failure=F.RUN)


@pytest.mark.parametrize(
    ("message", "seconds"),
    [
        ("toomanyrequests: retry-after: 985.86\u00b5s, allowed: 44000/minute", 0.00098586),
        ("toomanyrequests: retry-after: 370.121\u03bcs, allowed: 44000/minute", 0.000370121),
        ("toomanyrequests: retry-after: 1.16676ms, allowed: 44000/minute", 0.00116676),
        ("unexpected status: 429 Too Many Requests: Retry-After: 90", 90),
        ("unexpected status: 503 Service Unavailable, retry after 2m", 120),
        ("unexpected status: 503 Service Unavailable: retry-after: 5h", 600),
        ("unexpected status: 503 Service Unavailable", 0),
        ("toomanyrequests: You have reached your pull rate limit", 0),
        ("toomanyrequests: retry-after: soon", 0),
    ],
)
def test_what_a_registry_asks_to_wait(message: str, seconds: float) -> None:
    found = judge(failure(message, kind=StepKind.EXPORT))
    assert found.again
    assert found.after_s == pytest.approx(seconds)


def test_a_registry_that_asks_for_a_longer_wait_gets_it() -> None:
    clock = Clock()
    left = ["again", "good"]
    attempts(
        lambda _: left.pop(0),
        again=lambda result: result == "again",
        policy=RetryPolicy(initial=2, maximum=30, jitter=0),
        stop=clock,
        before_wait=lambda *_: None,
        least_s=lambda _: 75.0,
    )
    assert clock.waits == [75.0]


@pytest.mark.parametrize(
    ("message", "client", "lost"),
    [
        ("failed to receive status: rpc error: code = Unavailable desc = error reading from server: EOF", "", True),
        ("context canceled", "failed to solve: Unavailable: error reading from server: EOF", True),
        ("Cannot connect to the Docker daemon at unix:///x.sock", "", True),
        ("unexpected status: 503 Service Unavailable", "", False),
        ("failed to do request: dial tcp 10.0.0.1:443: i/o timeout", "", False),
    ],
)
def test_a_broken_connection_to_the_builder_is_told_from_one_to_a_registry(
    message: str, client: str, lost: bool
) -> None:
    found = failure(message, kind=StepKind.RUN if client else StepKind.CLIENT, client=client)
    assert broke(found, judge(found)) is lost


def test_a_client_that_ends_without_a_word_has_lost_its_builder() -> None:
    mute = Failure(step="", kind=StepKind.CLIENT, message="ended with status 1 and printed nothing", returncode=1)
    assert judge(mute) == Judgement(failure=F.NETWORK, again=True)
    assert broke(mute, judge(mute))
    for other in (replace(mute, returncode=-9), replace(mute, message="x"), replace(mute, kind=StepKind.RUN)):
        assert not judge(other).again
        assert not broke(other, judge(other))


@pytest.mark.parametrize("kind", [StepKind.CONTEXT, StepKind.FILE, StepKind.EXPORT, StepKind.INTERNAL])
def test_an_engine_that_is_restarted_has_closed_its_database(kind: StepKind) -> None:
    found = failure("database not open", kind=kind)
    assert judge(found).again
    assert broke(found, judge(found))
