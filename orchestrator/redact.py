"""Takes credentials out of text that is shown, logged or reported: the one place that knows their forms.

In a URL everything between `://` and the last `@` before the path is user information (RFC 3986; git, curl and pip read
it so): `https://TOKEN@host`, `https://:PW@host`, `https://user:p@ss@host`. A user alone is kept in ssh addresses, where
it is part of the address. `git@host:path` and digests (`app:v1@sha256:…`) are no credentials and stay.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit, urlunsplit

_USERINFO = re.compile(r"""(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<user>[^\s/?#'"<>\\]*)@""")
_DIGEST = re.compile(r"sha(?:256|384|512):[0-9a-fA-F]")
_LOCAL = frozenset({"docker-image", "oci-layout", "target"})  # what follows is an image or a name, not a host
_USER_IS_ADDRESS = frozenset({"ssh", "git+ssh", "ssh+git", "scp", "sftp"})
_QUERY = re.compile(
    r"(?P<name>[?&;](?:[\w.-]*(?:token|secret|passw(?:or)?d|signature|credential|api_?key|access_?key)[\w.-]*|sig|auth))"
    r"""=[^&;#\s'"<>]+""",
    re.IGNORECASE | re.ASCII,
)
# Go takes a proxy without a scheme: HTTP_PROXY=user:password@host:3128.
_PROXY = re.compile(
    r"""(?P<name>(?:https?|ftp|all)_proxy["']?\s*[=:]\s*["']?)(?![A-Za-z][A-Za-z0-9+.-]*://)[^\s/"']*@""", re.IGNORECASE
)
_HEADER = re.compile(r"(?P<name>\bauthorization:\s*(?:basic|bearer|token)\s+)[^\s'\"]+", re.IGNORECASE)


def redact(text: str) -> str:
    """The text without the credentials of the URLs and Authorization headers in it.

    Args:
        text: Any text: a log line, an error message, an address.
    """
    if "://" in text:
        text = _USERINFO.sub(lambda match: _without_user(match, text), text)
        text = _QUERY.sub(r"\g<name>=***", text)
    if "@" in text and "_proxy" in text.lower():
        text = _PROXY.sub(r"\g<name>", text)
    return _HEADER.sub(r"\g<name>***", text)


def redact_values(value: Any) -> Any:
    """A value of JSON with `redact` for every text in it, names as well."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, list):
        return [redact_values(item) for item in value]
    if isinstance(value, dict):
        return {redact(name): _redact_member(name, item) for name, item in value.items()}
    return value


def _redact_member(name: str, value: Any) -> Any:
    """A member; what is named like a proxy is one, whatever its form."""
    if isinstance(value, str) and name.lower().endswith("_proxy"):
        return redact(f"{name}={value}")[len(name) + 1 :]
    return redact_values(value)


def _without_user(match: re.Match[str], text: str) -> str:
    scheme = match["scheme"].lower()
    if scheme in _LOCAL or _DIGEST.match(text, match.end()):
        return match[0]
    if scheme in _USER_IS_ADDRESS and ":" not in match["user"]:
        return match[0]
    return f"{match['scheme']}://"


# Forms that only a credential has, by who gives them out; each is long enough to be no ordinary word.
_SECRETS = {
    "an AWS access key": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    "a GitHub token": re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,})"),
    "a GitLab token": re.compile(r"\bglpat-[A-Za-z0-9_-]{20,}"),
    "a Hugging Face token": re.compile(r"\bhf_[A-Za-z0-9]{30,}"),
    "a token of a package index": re.compile(r"\b(?:pypi-[A-Za-z0-9_-]{50,}|npm_[A-Za-z0-9]{36})"),
    "a Slack token": re.compile(r"\bxox[abprs]-[A-Za-z0-9-]{10,}"),
    "a Google API key": re.compile(r"\bAIza[A-Za-z0-9_-]{35}"),
    "a private key": re.compile(r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----"),
    "a JSON Web Token": re.compile(r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}"),
}
_SECRET_NAME = re.compile(
    r"(?:^|_)(?:TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?|API_?KEY|ACCESS_?KEY|SECRET_?KEY|PRIVATE_?KEY)(?:_ID)?$",
    re.IGNORECASE,
)
_NO_SECRET = re.compile(r"(?:^|_)(?:NO|USE|HAS|WITH|WITHOUT|ENABLE|DISABLE)_", re.IGNORECASE)
_SWITCH = frozenset({"", "0", "1", "true", "false", "yes", "no", "on", "off", "none"})


def secret_in(text: str) -> str:
    """What kind of credential a text holds ("a GitHub token"), "" where it holds none that has a form of its own."""
    found = next((kind for kind, form in _SECRETS.items() if form.search(text)), "")
    return found or ("a password in a URL" if redact(text) != text else "")


def named_like_secret(name: str, value: str) -> bool:
    """Whether a variable is named like a credential, and its value is no mere switch.

    `SCCACHE_S3_NO_CREDENTIALS` is none: it says that there are no credentials.
    """
    return bool(_SECRET_NAME.search(name)) and not _NO_SECRET.search(name) and value.lower() not in _SWITCH


def redact_url(url: str) -> str:
    """A URL without user information, query and fragment: each of them may hold a secret."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        host = f"[{host}]" if ":" in host else host
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "(a URL that cannot be read)"
    return urlunsplit((parts.scheme, host + port, parts.path, "", ""))
