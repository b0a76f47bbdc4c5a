"""How the registry's answer, or its silence, is judged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

from orchestrator.registry import reach

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[tuple[str, dict[str, Any]]]]:
    def say(*answers: int | Exception) -> list[tuple[str, dict[str, Any]]]:
        asked: list[tuple[str, dict[str, Any]]] = []
        left = list(answers)

        def get(url: str, **options: Any) -> httpx.Response:
            asked.append((url, options))
            found = left.pop(0)
            if isinstance(found, Exception):
                raise found
            return httpx.Response(found)

        monkeypatch.setattr(httpx, "get", get)
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
def test_an_answer(answer: Callable[..., list[tuple[str, Any]]], status: int, judged: str, detail: str) -> None:
    asked = answer(status)
    check = reach.check_registry("127.0.0.1:5000/acme/app:v1")
    assert (check.name, check.status, check.detail) == ("registry", judged, detail)
    assert bool(check.hint) == (judged == "warn")
    ((url, options),) = asked
    assert url == "http://127.0.0.1:5000/v2/"
    assert (options["trust_env"], options["timeout"], options["verify"]) == (False, 10, True)


def test_silence_is_a_warning_with_a_hint(answer: Callable[..., list[tuple[str, Any]]]) -> None:
    answer(httpx.ConnectError("refused"))
    check = reach.check_registry("127.0.0.1:5000/acme/app")
    assert (check.status, check.detail) == ("warn", "127.0.0.1:5000 does not answer: refused")
    assert "scripts/engine up" in check.hint
    asked = answer(httpx.ReadTimeout(""))
    check = reach.check_registry("ghcr.io/acme/app")
    assert (check.status, check.detail) == ("warn", "ghcr.io does not answer: ReadTimeout")
    assert check.hint == "check the network, the proxy and the image's name"
    assert asked[0][0] == "https://ghcr.io/v2/"
    assert asked[0][1]["trust_env"] is True


def test_a_registry_on_this_machine_may_speak_tls(answer: Callable[..., list[tuple[str, Any]]]) -> None:
    asked = answer(400, 401)
    assert reach.check_registry("127.0.0.1:5000/acme/app").status == "ok"
    assert [url for url, _ in asked] == ["http://127.0.0.1:5000/v2/", "https://127.0.0.1:5000/v2/"]
