"""Credentials leave every text; what only looks like one stays."""

from __future__ import annotations

import string
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.redact import redact, redact_url, redact_values
from tests.support.generated import QUICK, examples

SECRETS = st.text(string.ascii_letters + string.digits + "._~!$&()*+,;=%-", min_size=6, max_size=40).map("Zq{}".format)


@pytest.mark.parametrize(
    "form", ["{}@", ":{}@", "user:{}@", "{}:x-oauth-basic@", "user:p@{}@", "user@corp:{}@", "{}:@"]
)
@examples()
@given(secret=SECRETS)
def test_no_form_of_user_information_stays(form: str, secret: str) -> None:
    for scheme in ("https", "http", "git+https", "ftp", "socks5", "redis"):
        text = f'cloning "{scheme}://{form.format(secret)}host.example/n.git#main" failed'
        assert redact(text) == f'cloning "{scheme}://host.example/n.git#main" failed'
        assert secret not in redact_url(f"{scheme}://{form.format(secret)}host.example/n?token={secret}#{secret}")


@examples()
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
        "docker://app:v1@sha256:" + "0f" * 32,
        "oci-layout://dir@v1",
        "docker-image://registry/app@v1",
        "git@github.com:acme/app.git",
        "SSH://git@github.com/acme/app.git",
        "git+ssh://git@github.com/acme/app.git",
        '<a href="https://host/?token=">',
        "ssh://git@github.com/acme/app.git",
        "https://github.com/acme/app.git#main:dir",
        "https://host/@scope/package?x=1#a@b",
        "mail a@b.example, see https://host",
        "context named a://b and x@y",
        "https://host/ user:password@somewhere",
        """see 'https://host','a@b.example'""",
        '{"url":"https://host:8080","author":"a@b.example"}',
        r'"{\"url\":\"https://host\",\"author\":\"a@b.example\"}"',
        '{"https://host":"a@b.example"}',
        '<a href="https://[::1]:80">a@b.example</a>',
        "<https://host>,a@b.example",
        "https://host<br>a@b.example",
        r"https://host\na@b.example",
        "HTTPS_PROXY='proxy.lan:3128','a@b.example'",
    ],
)
def test_what_is_no_credential_stays(text: str) -> None:
    assert redact(text) == text


PIECES = st.sampled_from(
    ["https", "oci-layout", "ssh", "://", "a", "@", ":", "1", "'", '"', "<", ">", "\\", "/", " ", ",", "?token="]
)


@examples()
@given(st.text(max_size=200) | st.lists(PIECES, max_size=30).map("".join))
def test_any_text_and_twice_is_once(text: str) -> None:
    assert redact(redact(text)) == redact(text)
    redact_url(text)


@pytest.mark.parametrize("sign", list("'\"<>\\"))
@pytest.mark.parametrize(
    "form", ["user:SEC{}RET@", "SEC{}RET@", ":{}SECRET@", "SECRET{}:SECRET@", "user:SECRET{},SECRET@"]
)
@pytest.mark.parametrize("around", ["{}", "'{}'", '"{}"', "<{}>", "fatal: unable to access '{}/n.git/': 403"])
def test_a_sign_that_closes_other_texts_is_a_part_of_a_password(sign: str, form: str, around: str) -> None:
    text = around.format(f"https://{form.format(sign)}host.example")
    assert redact(text) == around.format("https://host.example")
    assert "SEC" not in redact(f"HTTP_PROXY={form.format(sign)}host.example:3128")


@pytest.mark.parametrize("sign", list("'\"<>\\"))
def test_a_sign_in_a_query_or_a_header_hides_nothing(sign: str) -> None:
    assert redact(f"'https://host/f?token=SEC{sign}RET'") == "'https://host/f?token=***'"
    assert redact(f"'Authorization: Bearer SEC{sign}RET'") == "'Authorization: Bearer ***'"
    assert redact('{"url":"https://host/f?sig=SECRET","x":"y"}') == '{"url":"https://host/f?sig=***","x":"y"}'
    assert redact(r'"-H \"Authorization: Basic SECRET\", next"') == r'"-H \"Authorization: Basic ***\", next"'


@pytest.mark.parametrize(
    "unit",
    ["x", "://", "a://", "a://b'", "a://b@", "'\"", "<a", "?token", "&sig=", "http_proxy=", "authorization: basic ",
     "\\", "a:"],
)  # fmt: skip
def test_long_lines_cost_linear_time(unit: str) -> None:
    """A quadratic reading of 400,000 characters takes minutes; this takes some hundredths of a second."""
    begun = time.process_time()
    redact(f"@ https://{unit * ((40_000 if QUICK else 400_000) // len(unit))}")
    assert time.process_time() - begun < 10


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
