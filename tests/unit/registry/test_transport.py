"""Where credentials may go, and which proxy is asked."""

from __future__ import annotations

import pytest

from orchestrator.registry.transport import origin, proxy_for


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://ghcr.io/v2/", ("https", "ghcr.io", 443)),
        ("https://GHCR.io:443/x?y", ("https", "ghcr.io", 443)),
        ("http://[::1]:5000/v2/", ("http", "::1", 5000)),
    ],
)
def test_an_origin(url: str, expected: tuple[str, str, int]) -> None:
    assert origin(url) == expected


@pytest.mark.parametrize(
    "url",
    ["", "ghcr.io", "ftp://ghcr.io/", "https://", "https://user:pw@ghcr.io/", "https://@ghcr.io/", "file:///etc/passwd",
     "https://ghcr.io:x/", "https://ghcr.io:99999/", "https://ä.io/", "https://[::1/"],
)  # fmt: skip
def test_what_has_no_origin(url: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - Python words some of them
        origin(url)


def test_the_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    assert proxy_for("https", "ghcr.io") == ""
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    monkeypatch.setenv("NO_PROXY", "inside.example, .corp")
    assert proxy_for("https", "ghcr.io") == "http://proxy:3128"
    assert proxy_for("http", "ghcr.io") == ""
    for host in ("inside.example", "r.inside.example:5000", "a.corp", "127.0.0.1:5000", "localhost"):
        assert proxy_for("https", host) == "", host
    monkeypatch.delenv("HTTPS_PROXY")
    monkeypatch.setenv("ALL_PROXY", "http://every:1")
    assert proxy_for("https", "ghcr.io") == "http://every:1"
