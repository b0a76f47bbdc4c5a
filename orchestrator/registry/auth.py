"""Logs in to a registry: answers its challenges with Basic credentials or a bearer token.

One login serves all threads of a client. A password goes to the registry itself and to the token server that it
announces, over https, or over http where the registry is on this machine; never anywhere else.
"""

from __future__ import annotations

import json
import re
import threading
import urllib.parse
from typing import TYPE_CHECKING

from orchestrator.registry import credentials
from orchestrator.registry.errors import DeniedError, TransientError
from orchestrator.registry.network import held
from orchestrator.registry.transport import Request, origin

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orchestrator.reference import Repository
    from orchestrator.registry.credentials import Credentials
    from orchestrator.registry.transport import Answer, Transport

_CLIENT_ID = "orchestrate"
_MAX_TOKEN = 1 << 20  # bytes of a token server's answer
_VALUE = re.compile(r'([A-Za-z_]+)\s*=\s*(?:"([^"]*)"|([^\s,"]+))')
_TOKEN = re.compile(r"[\x21-\x7e]+")
_ACTIONS = re.compile(r"[a-z*]+(?:,[a-z*]+)*")


class Login:
    """The authorization of one repository, shared by threads.

    Args:
        repository: Whose.
        transport: Reaches the token server.
        within_s: Seconds that a token server has for its answer.
    """

    def __init__(self, repository: Repository, transport: Transport, *, within_s: float) -> None:
        self._repository = repository
        self._transport = transport
        self._within_s = within_s
        self._lock = threading.Lock()
        self._known: credentials.Credentials | None = None
        self._basic = ""
        self._tokens: dict[Sequence[str], str] = {}

    def header(self, scopes: Sequence[str]) -> str:
        """The Authorization header for requests with these scopes, "" before the first login.

        Args:
            scopes: `repository:acme/app:pull`.
        """
        return self._tokens.get(scopes) or self._basic

    def renew(self, challenges: Sequence[str], used: str, scopes: Sequence[str]) -> None:
        """Log in after a 401, unless another thread has done so since the request was sent.

        Args:
            challenges: The answer's WWW-Authenticate headers.
            used: The Authorization header that was refused.
            scopes: As for `header`.

        Raises:
            DeniedError: There are no credentials, or they were refused.
            TransientError: The token server did not answer.
        """
        with held(self._lock):
            if self.header(scopes) != used:
                return
            scheme, values = choose(challenges)
            if self._known is None:
                self._known = credentials.find(self._repository.host)
            if scheme == "basic":
                header = self._basic = self._known.basic
            elif scheme == "bearer":
                header = self._tokens[scopes] = self._token(values, self._known, scopes)
            else:
                header = ""
            if header == used:
                raise self.denied("status 401")

    def denied(self, reason: str) -> DeniedError:
        """The error that says how to get access."""
        trouble = f" ({self._known.trouble})" if self._known and self._known.trouble else ""
        host = self._repository.host
        return DeniedError(f"{self._repository}: access is denied: {reason}{trouble}", hint=f"docker login {host}")

    def _token(self, values: Mapping[str, str], known: Credentials, scopes: Sequence[str]) -> str:
        realm = values.get("realm", "")
        self._check_realm(realm)
        query = [("service", values.get("service", "")), *(("scope", scope) for scope in self._scopes(values, scopes))]
        if known.identity_token:
            query += [
                ("grant_type", "refresh_token"), ("refresh_token", known.identity_token), ("client_id", _CLIENT_ID),
            ]  # fmt: skip
            form = urllib.parse.urlencode(query).encode()
            headers = {"Content-Type": "application/x-www-form-urlencoded", "Content-Length": str(len(form))}
            request = Request(method="POST", url=realm, headers=headers, body=lambda: [form], within_s=self._within_s)
        else:
            url = f"{realm}{'&' if '?' in realm else '?'}{urllib.parse.urlencode(query)}"
            headers = {"Authorization": known.basic} if known.basic else {}
            request = Request(method="GET", url=url, headers=headers, within_s=self._within_s)
        with self._transport.send(request) as answer:
            return f"Bearer {self._read(answer)}"

    def _read(self, answer: Answer) -> str:
        if answer.status in (408, 425, 429) or answer.status >= 500:
            raise TransientError(f"token server: status {answer.status}")
        if answer.status != 200:  # redirects too: a password follows none
            raise self.denied(f"the token server answers with status {answer.status}")
        try:
            value = json.loads(answer.whole(_MAX_TOKEN))
            token = value.get("token") or value.get("access_token")
        except (ValueError, AttributeError, RecursionError):
            token = None
        if not isinstance(token, str) or not _TOKEN.fullmatch(token):
            raise self.denied("the token server's answer is invalid: expected JSON with a token")
        return token

    def _check_realm(self, realm: str) -> None:
        """A password goes over https, or where the registry itself is reached without it, to a local server."""
        try:
            scheme, host, _ = origin(realm)
        except ValueError:
            scheme = host = ""
        local = self._repository.loopback and host in ("localhost", "127.0.0.1", "::1")
        if scheme != "https" and not (scheme == "http" and local):
            raise self.denied(f"the token server is invalid: expected an https URL, found {realm[:100]!r}")

    def _scopes(self, values: Mapping[str, str], scopes: Sequence[str]) -> list[str]:
        """The scopes of the request; actions that the registry names for this repository are added to its own."""
        own = f"repository:{self._repository.path}:"
        asked = values.get("scope", "")
        actions = asked.removeprefix(own)
        if asked == actions or not _ACTIONS.fullmatch(actions):
            return list(scopes)
        return [
            own + ",".join(dict.fromkeys([*scope.removeprefix(own).split(","), *actions.split(",")]))
            if scope.startswith(own)
            else scope
            for scope in scopes
        ]


def choose(challenges: Sequence[str]) -> tuple[str, dict[str, str]]:
    """Scheme and values of the challenge to answer: a bearer token where the registry offers both."""
    found: dict[str, dict[str, str]] = {}
    for challenge in challenges:
        scheme, _, rest = challenge.strip().partition(" ")
        values = {name.lower(): quoted or plain for name, quoted, plain in _VALUE.findall(rest)}
        found.setdefault(scheme.lower(), values)
    for scheme in ("bearer", "basic"):
        if scheme in found:
            return scheme, found[scheme]
    return "", {}
