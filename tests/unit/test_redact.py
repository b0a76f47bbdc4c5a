"""Credentials leave every text; what only looks like one stays."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.redact import redact, redact_url, redact_values

SECRETS = st.text(string.ascii_letters + string.digits + "._~!$&()*+,;=%-", min_size=6, max_size=40).map("Zq{}".format)


@pytest.mark.parametrize(
    "form", ["{}@", ":{}@", "user:{}@", "{}:x-oauth-basic@", "user:p@{}@", "user@corp:{}@", "{}:@"]
)
@given(secret=SECRETS)
def test_no_form_of_user_information_stays(form: str, secret: str) -> None:
    for scheme in ("https", "http", "git+https", "ftp", "socks5", "redis"):
        text = f'cloning "{scheme}://{form.format(secret)}host.example/n.git#main" failed'
        assert redact(text) == f'cloning "{scheme}://host.example/n.git#main" failed'
        assert secret not in redact_url(f"{scheme}://{form.format(secret)}host.example/n?token={secret}#{secret}")


@given(secret=SECRETS)
def test_passwords_in_ssh_addresses_and_queries_go(secret: str) -> None:
    value = secret.replace("&", "").replace(";", "")
    assert secret not in redact(f"ssh://git:{secret}@host/n.git")
    for name in ("token", "access_token", "X-Amz-Signature", "X-Amz-Security-Token", "sig", "password", "api_key"):
        assert value not in redact(f"https://host/file?a=1&{name}={value}&b=2")
    assert value not in redact(f"Authorization: Bearer {value}")


@pytest.mark.parametrize(
    "text",
    [
        "app:v1@sha256:" + "0f" * 32,
        "docker-image://app:v1@sha256:" + "0f" * 32,
        "docker-image://ghcr.io/acme/app:v1@sha256:" + "0f" * 32,
        "oci-layout://dir:tag@sha256:" + "0f" * 32,
        "git@github.com:acme/app.git",
        "ssh://git@github.com/acme/app.git",
        "https://github.com/acme/app.git#main:dir",
        "https://host/@scope/package?x=1#a@b",
        "mail a@b.example, see https://host",
        "context named a://b and x@y",
        "https://host/ user:password@somewhere",
    ],
)
def test_what_is_no_credential_stays(text: str) -> None:
    assert redact(text) == text


@given(st.text(max_size=200))
def test_any_text_and_twice_is_once(text: str) -> None:
    assert redact(redact(text)) == redact(text)
    redact_url(text)


@pytest.mark.parametrize(
    "text",
    [
        "HTTP_PROXY=user:PASSWORD@127.0.0.1:3128", "https_proxy = user:PASSWORD@proxy:1",
        "export ALL_PROXY='u:PASSWORD@h:1'",
        '"build-arg:http_proxy": "user:PASSWORD@h:1"', "FTP_PROXY=http://user:PASSWORD@h:1",
    ],
)  # fmt: skip
def test_a_proxy_without_a_scheme_has_credentials_too(text: str) -> None:
    assert "PASSWORD" not in redact(text)
    assert redact(text).rstrip("'\"").endswith(":1") or redact(text).endswith(":3128")


def test_a_proxy_without_credentials_stays() -> None:
    for text in ("HTTP_PROXY=proxy.lan:3128", "no_proxy=a@b", "http_proxy is set, mail me@home"):
        assert redact(text) == text


def test_values_of_json_are_redacted_one_by_one() -> None:
    password = "PASS&WORD"  # Go writes the & into JSON as an escape
    value = {
        "a": [f"http://u:{password}@h/", 1, None],
        "build-arg:HTTP_PROXY": f"u:{password}@h:1",
        "http_proxy": "h:1",
    }
    assert redact_values(value) == {"a": ["http://h/", 1, None], "build-arg:HTTP_PROXY": "h:1", "http_proxy": "h:1"}
