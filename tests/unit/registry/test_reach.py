"""How the registry's answer, or its silence, is judged."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from orchestrator.errors import NetworkError
from orchestrator.registry import reach
from orchestrator.registry.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from orchestrator.registry.transport import Request

    Say = Callable[..., list[tuple[str, bool]]]


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Say:
    """Let the transport give these answers: a status, a place that it redirects to, or an error."""

    def say(*answers: int | str | Exception) -> list[tuple[str, bool]]:
        asked: list[tuple[str, bool]] = []
        left = list(answers)

        class Transport:
            def __init__(self, *, proxied: bool) -> None:
                self.proxied = proxied

            @contextlib.contextmanager
            def send(self, request: Request) -> Iterator[SimpleNamespace]:
                asked.append((request.url, self.proxied))
                assert 0 < request.within_s <= 10
                found = left.pop(0)
                if isinstance(found, Exception):
                    raise found
                status, place = (302, found) if isinstance(found, str) else (found, "")
                yield SimpleNamespace(status=status, header=lambda _: place)

            def close(self) -> None:
                """There is nothing to close."""

        monkeypatch.setattr(reach, "Transport", Transport)
        return asked

    return say


@pytest.mark.parametrize(
    ("status", "judged", "detail"),
    [
        (200, "ok", "127.0.0.1:5000 answers"),
        (401, "ok", "127.0.0.1:5000 answers, asks for a login (docker login)"),
        (403, "ok", "127.0.0.1:5000 answers, asks for a login (docker login)"),
        (404, "warn", "127.0.0.1:5000 does not serve the registry API: expected status 200 or 401, found 404"),
    ],
)
def test_an_answer(answer: Say, status: int, judged: str, detail: str) -> None:
    asked = answer(status)
    check = reach.check_registry("127.0.0.1:5000/acme/app:v1")
    assert (check.name, check.status, check.detail) == ("registry", judged, detail)
    assert bool(check.hint) == (judged == "warn")
    assert asked == [("http://127.0.0.1:5000/v2/", False)]


def test_silence_is_a_warning_with_a_hint(answer: Say) -> None:
    answer(TransientError("refused"))
    check = reach.check_registry("127.0.0.1:5000/acme/app")
    assert (check.status, check.detail) == ("warn", "127.0.0.1:5000 does not answer: refused")
    assert "scripts/engine up" in check.hint
    asked = answer(TransientError("no whole answer in time"))
    check = reach.check_registry("ghcr.io/acme/app")
    assert (check.status, check.detail) == ("warn", "ghcr.io does not answer: no whole answer in time")
    assert check.hint == "check the network, the proxy and the image's name"
    assert asked == [("https://ghcr.io/v2/", True)]


def test_what_is_not_trusted_says_what_to_do(answer: Say) -> None:
    answer(NetworkError("the certificate is not trusted", hint="put it there"))
    check = reach.check_registry("ghcr.io/acme/app")
    assert (check.status, check.detail, check.hint) == (
        "warn",
        "ghcr.io: the certificate is not trusted",
        "put it there",
    )


def test_a_registry_on_this_machine_may_speak_tls(answer: Say) -> None:
    asked = answer(400, 401)
    assert reach.check_registry("127.0.0.1:5000/acme/app").status == "ok"
    assert [url for url, _ in asked] == ["http://127.0.0.1:5000/v2/", "https://127.0.0.1:5000/v2/"]


def test_redirects_are_followed_and_end(answer: Say) -> None:
    asked = answer("/other/v2/", "https://mirror.test/v2/", 401)
    assert reach.check_registry("ghcr.io/acme/app").status == "ok"
    assert [url for url, _ in asked] == ["https://ghcr.io/v2/", "https://ghcr.io/other/v2/", "https://mirror.test/v2/"]
    answer(*["/v2/"] * 5)
    assert reach.check_registry("ghcr.io/acme/app").detail == "ghcr.io does not answer: more than 5 redirects"
    answer("ftp://elsewhere/")
    assert "redirects to no http address" in reach.check_registry("ghcr.io/acme/app").detail
