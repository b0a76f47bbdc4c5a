"""Takes credentials out of text that is shown, logged or reported: the one place that knows their forms.

In a URL everything between `://` and the last `@` before the path is user information (RFC 3986; git, curl and pip read
it so): `https://TOKEN@host`, `https://:PW@host`, `https://user:p@ss@host`. A user alone is kept in ssh addresses, where
it is part of the address. `git@host:path` and digests (`app:v1@sha256:…`) are no credentials and stay.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

if TYPE_CHECKING:
    from collections.abc import Callable

_AUTHORITY = re.compile(r"://(?=(?P<user>[^\s/?#]*))")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*\Z")
_SCHEME_LENGTH = 40  # the longest registered one has 36; no bound makes a long word cost its square
_DIGEST = re.compile(r"sha(?:256|384|512):[0-9a-fA-F]")
_LOCAL = frozenset({"docker-image", "oci-layout", "target"})  # what follows is an image or a name, not a host
_USER_IS_ADDRESS = frozenset({"ssh", "git+ssh", "ssh+git", "scp", "sftp"})
_QUERY = re.compile(
    r"(?P<name>[?&;](?:[\w.-]{0,100}(?:token|secret|passw(?:or)?d|signature|credential|api_?key|access_?key)[\w.-]{0,100}|sig|auth))"
    r"=(?P<value>[^&;#\s]+)",
    re.IGNORECASE | re.ASCII,
)
# Go takes a proxy without a scheme: HTTP_PROXY=user:password@host:3128.
_PROXY = re.compile(
    r"""(?P<name>(?:https?|ftp|all)_proxy["']?\s*[=:]\s*["']?)(?![A-Za-z][A-Za-z0-9+.-]*://)(?P<value>[^\s/]{0,4096}@)""",
    re.IGNORECASE,
)
_HEADER = re.compile(r"(?P<name>\bauthorization:\s*(?:basic|bearer|token)\s+)(?P<value>\S+)", re.IGNORECASE)

# A quote, an angle bracket or a backslash may be a part of a password (git and curl take them), or end the URL in the
# text around it. It ends it where such a text goes on as one does, and (in a URL) where a host stands before it.
_BEHIND = r"""[\s,;)\]}<>'"\\]|:[\s"'{\[]|\Z"""
_CLOSING = re.compile(rf"""['"](?={_BEHIND})|\\(?=[nrt"'\\])|<(?=[A-Za-z/!][^@<>]*>)|>(?={_BEHIND})""")
_HOST = re.compile(r"[\w.-]*(?::[0-9]*)?|\[[0-9A-Fa-f:.]*\](?::[0-9]*)?")


def redact(text: str) -> str:
    """The text without the credentials of the URLs and Authorization headers in it.

    Args:
        text: Any text: a log line, an error message, an address.
    """
    if "://" in text:
        text = _without_users(text)
        text = _QUERY.sub(_masked("="), text)
    if "@" in text and "_proxy" in text.lower():
        text = _PROXY.sub(_without_proxy_user, text)
    return _HEADER.sub(_masked(""), text)


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


def _without_users(text: str) -> str:
    pieces, done = [], 0
    for match in _AUTHORITY.finditer(text):
        scheme = _SCHEME.search(text, max(0, match.start() - _SCHEME_LENGTH), match.start())
        if scheme is None:
            continue
        begin = match.end()
        user = text[begin : text.rfind("@", begin, _end(text, begin, match.end("user"))) + 1]
        if user and _is_credential(scheme[0].lower(), user, text[begin + len(user) :][:8]):
            pieces.append(text[done:begin])
            done = begin + len(user)
    return "".join([*pieces, text[done:]])


def _is_credential(scheme: str, user: str, host: str) -> bool:
    if scheme in _LOCAL or _DIGEST.match(host):
        return False
    return scheme not in _USER_IS_ADDRESS or ":" in user


def _end(text: str, begin: int, limit: int) -> int:
    """Where the authority of a URL ends: at its limit, or at what closes the URL in the text around it."""
    host, behind = begin, begin  # where a host would begin, -1 where what follows can be none
    for match in _CLOSING.finditer(text, begin, limit):
        at = text.rfind("@", behind, match.start())
        host = at + 1 if at >= 0 else host
        if host >= 0 and _HOST.fullmatch(text, host, match.start()):
            return match.start()
        host, behind = -1, match.end()
    return limit


def _without_proxy_user(match: re.Match[str]) -> str:
    value = match["value"]
    end = _end(value, 0, len(value))
    return match["name"] + value[value.rfind("@", 0, end) + 1 :]


def _masked(sign: str) -> Callable[[re.Match[str]], str]:
    """A replacement that shows `***` for the value, and what closes the text behind it."""

    def mask(match: re.Match[str]) -> str:
        closing = _CLOSING.search(match["value"])
        end = closing.start() if closing else len(match["value"])
        return f"{match['name']}{sign}{'***' if end else ''}{match['value'][end:]}"

    return mask


# Forms that only a credential has, by who gives them out; each is long enough to be no ordinary word.
# Most commands look for none, so `re` compiles (and keeps) them when they are first used.
_SECRETS = {
    "an AWS access key": r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    "a GitHub token": r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,})",
    "a GitLab token": r"\bglpat-[A-Za-z0-9_-]{20,}",
    "a Hugging Face token": r"\bhf_[A-Za-z0-9]{30,}",
    "a token of a package index": r"\b(?:pypi-[A-Za-z0-9_-]{50,}|npm_[A-Za-z0-9]{36})",
    "a Slack token": r"\bxox[abprs]-[A-Za-z0-9-]{10,}",
    "a Google API key": r"\bAIza[A-Za-z0-9_-]{35}",
    "a private key": r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----",
    "a JSON Web Token": r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}",
}
_SECRET_NAME = re.compile(
    r"(?:^|_)(?:TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?|API_?KEY|ACCESS_?KEY|SECRET_?KEY|PRIVATE_?KEY)(?:_ID)?$",
    re.IGNORECASE,
)
_NO_SECRET = re.compile(r"(?:^|_)(?:NO|USE|HAS|WITH|WITHOUT|ENABLE|DISABLE)_", re.IGNORECASE)
_SWITCH = frozenset({"", "0", "1", "true", "false", "yes", "no", "on", "off", "none"})


def secret_in(text: str) -> str:
    """What kind of credential a text holds ("a GitHub token"), "" where it holds none that has a form of its own."""
    found = next((kind for kind, form in _SECRETS.items() if re.search(form, text)), "")
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
