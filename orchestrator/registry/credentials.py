"""The credentials that the docker client has for a registry: credential helpers, configuration entries, tokens.

Reads what `docker login` writes and changes nothing. Source: docker/cli `cli/config` (`GetAuthConfig`,
`ConvertToHostname`), docker-credential-helpers' protocol.
"""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

from msgspec import Struct

from orchestrator import process
from orchestrator.errors import InterruptedRunError, OrchestrateError
from orchestrator.reference import DOCKER_HUB

_HELPER_TIMEOUT_S = 30
_HUB_KEY = f"https://index.{DOCKER_HUB}/v1/"  # under which docker keeps the login of its own hub
_TOKEN_USER = "<token>"  # noqa: S105 - docker's marker: what a helper calls a secret is an identity token


class Credentials(Struct, frozen=True, kw_only=True):
    """How to log in to a registry.

    Attributes:
        user: "" where there is none.
        password: Of the user.
        identity_token: An OAuth 2 refresh token, in place of user and password.
        trouble: Why a credential helper gave nothing, for the message when access is denied.
    """

    user: str = ""
    password: str = ""
    identity_token: str = ""
    trouble: str = ""

    def __repr__(self) -> str:
        """Without what must stay secret."""
        return f"Credentials(user={self.user!r}, trouble={self.trouble!r})"

    @property
    def basic(self) -> str:
        """The value of a Basic Authorization header, "" without a user."""
        if not self.user:
            return ""
        return f"Basic {base64.b64encode(f'{self.user}:{self.password}'.encode()).decode()}"


def find(host: str) -> Credentials:
    """What the docker client has for a registry; empty where it has nothing.

    Args:
        host: `ghcr.io`, `127.0.0.1:5000`, `docker.io`.

    Raises:
        InterruptedRunError: A stop was asked for while a helper ran.
    """
    config = _config()
    key = _HUB_KEY if host == DOCKER_HUB else host
    helpers = _mapping(config.get("credHelpers"))
    helper = helpers.get(key) or helpers.get(host) or config.get("credsStore")
    trouble = ""
    if isinstance(helper, str) and helper:
        found = _from_helper(helper, key)
        if found.user or found.identity_token:
            return found
        trouble = found.trouble
    for name, entry in _mapping(config.get("auths")).items():
        if (name == key or _host(name) == host) and (known := _from_entry(entry)):
            return known
    return Credentials(trouble=trouble)


def _config() -> dict[str, Any]:
    directory = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")
    try:
        return _mapping(json.loads((directory / "config.json").read_bytes()))
    except (OSError, ValueError, RecursionError):
        return {}


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _host(name: str) -> str:
    """The host of a configuration entry, which old clients wrote as a URL."""
    host = name.removeprefix("https://").removeprefix("http://").partition("/")[0]
    return DOCKER_HUB if host in (f"index.{DOCKER_HUB}", f"registry-1.{DOCKER_HUB}") else host


def _from_helper(helper: str, key: str) -> Credentials:
    program = f"docker-credential-{helper}"
    try:
        answer = process.run([program, "get"], stdin=key, timeout=_HELPER_TIMEOUT_S)
    except InterruptedRunError:
        raise
    except OrchestrateError as error:
        return Credentials(trouble=error.message)
    if not answer.ok:
        said = " ".join((answer.stdout or answer.stderr).split())[:200]  # its complaint; a secret only after status 0
        return Credentials(trouble=f"{program} ended with status {answer.returncode}: {said}")
    try:
        value = _mapping(json.loads(answer.stdout))
    except (ValueError, RecursionError):
        return Credentials(trouble=f"the answer of {program} is invalid: expected JSON")
    user, secret = str(value.get("Username") or ""), str(value.get("Secret") or "")
    return Credentials(identity_token=secret) if user == _TOKEN_USER else Credentials(user=user, password=secret)


def _from_entry(entry: Any) -> Credentials | None:
    values = _mapping(entry)
    if token := values.get("identitytoken"):
        return Credentials(identity_token=str(token))
    user, secret = str(values.get("username") or ""), str(values.get("password") or "")
    if values.get("auth"):
        try:
            user, _, secret = base64.b64decode(str(values["auth"]), validate=True).decode().partition(":")
        except ValueError:
            return None
    return Credentials(user=user, password=secret.rstrip("\0")) if user else None
