"""A registry that is down is tried by one variant of a run; the others wait for its result."""

from __future__ import annotations

import threading
import time

import pytest

from orchestrator.bake.events import StepKind
from orchestrator.process import Stop
from orchestrator.runs.breaker import Breaker, host
from tests.unit.runs.support import failure

HEAD = "unexpected status from HEAD request to"


@pytest.mark.parametrize(
    ("step", "message", "expected"),
    [
        ("exporting to image", f"{HEAD} http://127.0.0.1:5000/v2/bp/x/manifests/1: 503", "127.0.0.1:5000"),
        ("exporting to image", 'failed to do request: Head "https://GHCR.io/v2/": EOF', "ghcr.io"),
        ("exporting to image", "failed to push registry.lan:5000/acme/app:1: unavailable", "registry.lan:5000"),
        ("exporting to image", "failed to push acme/app:1: unavailable", "docker.io"),
        ("[internal] load metadata for ghcr.io/acme/base:1", "dial tcp: i/o timeout", "ghcr.io"),
        ("[internal] load git source https://github.com/a/b.git", "Failed to connect", ""),
        ("exporting to image", "unavailable", ""),
    ],
)
def test_the_host_of_a_failure(step: str, message: str, expected: str) -> None:
    assert host(failure(message, kind=StepKind.EXPORT, step=step)) == expected


def test_one_tries_and_the_others_wait_until_it_got_through() -> None:
    breaker, admitted = Breaker(), list[str]()
    assert breaker.refuses("a", "r", stop=Stop()) == ""

    def other() -> None:
        admitted.append(breaker.refuses("b", "r", stop=Stop()))

    waiting = threading.Thread(target=other)
    waiting.start()
    breaker.ended("a", "r")  # it failed again, and has another attempt
    time.sleep(0.2)
    assert admitted == []
    breaker.ended("a", "")
    waiting.join(5)
    assert admitted == [""]


def test_nobody_tries_again_what_one_has_given_up() -> None:
    breaker = Breaker()
    assert breaker.refuses("a", "r", stop=Stop()) == ""
    breaker.left("a", "r")
    assert breaker.refuses("b", "r", stop=Stop()) == "not tried again: r was down in all attempts of a"
    assert breaker.refuses("b", "elsewhere", stop=Stop()) == ""


def test_a_minute_later_one_tries_again(monkeypatch: pytest.MonkeyPatch) -> None:
    breaker, now = Breaker(), [1000.0]
    monkeypatch.setattr("orchestrator.runs.breaker.time.monotonic", lambda: now[0])
    breaker.refuses("a", "r", stop=Stop())
    breaker.left("a", "r")
    now[0] += 59
    assert breaker.refuses("b", "r", stop=Stop())
    now[0] += 2
    assert breaker.refuses("b", "r", stop=Stop()) == ""


def test_one_that_leaves_without_giving_up_lets_the_next_try() -> None:
    breaker = Breaker()
    breaker.refuses("a", "r", stop=Stop())
    breaker.left("a", "")  # cancelled, or it failed at something else
    assert breaker.refuses("b", "r", stop=Stop()) == ""


def test_a_stop_ends_the_waiting() -> None:
    breaker, stop = Breaker(), Stop()
    breaker.refuses("a", "r", stop=stop)
    stop.set()
    assert breaker.refuses("b", "r", stop=stop) == ""
