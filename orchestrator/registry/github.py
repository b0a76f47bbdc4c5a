"""Asks GitHub what a registry cannot say or do: whether a pull request is closed, and removing a manifest of ghcr.io.

ghcr.io has no DELETE of the distribution API; its packages are removed with GitHub's REST API (GET and DELETE of
`/orgs/ORG/packages/container/NAME/versions`, version 2022-11-28; `/users/USER/…` for the package of a person). A
version of a package is one manifest: it carries the digest as its name, and goes with every tag of it.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote, urlsplit

from orchestrator.errors import EnvironmentLacksError, NetworkError
from orchestrator.reference import is_loopback
from orchestrator.registry.errors import DamagedAnswerError, DeniedError, TransientError
from orchestrator.registry.transport import Request, Transport

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import TracebackType

    from orchestrator.reference import Digest, Repository

HOST = "ghcr.io"

_API = "https://api.github.com"
_LIMIT = 8 << 20  # bytes of an answer: a page of 100 versions has some 100 kB
_PAGES = 200
_WITHIN_S = 30.0
_SLUG = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_ORIGIN = re.compile(r"(?:https://(?:[^@/]*@)?|ssh://git@|git@)github\.com[:/](.+?)(?:\.git)?/?")


def project(env: Mapping[str, str], origin: str) -> str:
    """Return OWNER/NAME of the project on GitHub, "" where it is not known to be there.

    Args:
        env: The environment.
        origin: The address of the checkout's origin.
    """
    match = _ORIGIN.fullmatch(origin)
    slug = env.get("GITHUB_REPOSITORY") or (match[1] if match else "")
    return slug if _SLUG.fullmatch(slug) else ""


class GitHub:
    """GitHub's REST API; a context manager.

    Args:
        env: Names the token (GITHUB_TOKEN, else GH_TOKEN) and another address (GITHUB_API_URL).

    Raises:
        EnvironmentLacksError: There is no token, or the address is not https.
    """

    def __init__(self, env: Mapping[str, str]) -> None:
        self._token = env.get("GITHUB_TOKEN") or env.get("GH_TOKEN") or ""
        self._api = (env.get("GITHUB_API_URL") or _API).rstrip("/")
        if not self._token:
            raise EnvironmentLacksError("GITHUB_TOKEN is not set", hint="set it to a token that may read the project")
        scheme, host = urlsplit(self._api)[:2]
        if scheme != "https" and not is_loopback(host):
            raise EnvironmentLacksError("GITHUB_API_URL is invalid: expected an https address, found another one")
        self._transport = Transport(proxied=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._transport.close()

    def closed(self, slug: str, numbers: Iterable[str]) -> frozenset[str]:
        """Return which pull requests are known to be closed.

        Args:
            slug: OWNER/NAME of the project.
            numbers: Of the pull requests; one that GitHub does not know is not closed.

        Raises:
            NetworkError: GitHub denies access or does not answer.
            DamagedAnswerError: An answer cannot be read.
        """
        found = set()
        for number in numbers:
            status, answer = self.ask("GET", f"repos/{slug}/pulls/{int(number)}")
            if status == 200 and isinstance(answer, dict) and answer.get("state") == "closed":
                found.add(number)
        return frozenset(found)

    def ask(self, method: str, path: str) -> tuple[int, Any]:
        """Return the status of a request, and its answer where that is JSON.

        Raises:
            NetworkError, DamagedAnswerError: As for `closed`.
        """
        headers = {
            "Authorization": f"Bearer {self._token}",
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": "2022-11-28",
        }
        request = Request(method=method, url=f"{self._api}/{path}", headers=headers, within_s=_WITHIN_S)
        try:
            with self._transport.send(request) as answer:
                body = answer.whole(_LIMIT)
                status = answer.status
        except TransientError as error:
            raise NetworkError(f"GitHub: {path}: {error}") from error
        if status in (401, 403, 429):
            raise DeniedError(f"GitHub: {path}: the token may not do this, or too often: status {status}")
        if status >= 500:
            raise NetworkError(f"GitHub: {path}: status {status}")
        try:
            return status, json.loads(body) if body else None
        except (ValueError, RecursionError) as error:
            raise DamagedAnswerError(f"GitHub: {path}: the answer is invalid: expected JSON") from error


class Packages:
    """The versions of one package of ghcr.io.

    Args:
        github: The API.
        repository: The package's repository.
    """

    def __init__(self, github: GitHub, repository: Repository) -> None:
        owner, _, name = repository.path.partition("/")
        tail = f"{quote(owner)}/packages/container/{quote(name, safe='')}/versions"
        self._places = (f"orgs/{tail}", f"users/{tail}")
        self._repository = repository
        self._github = github
        self._ids: dict[str, tuple[str, int]] = {}

    def delete(self, digest: Digest) -> bool:
        """Delete a manifest with every tag of it; False where there is none.

        Raises:
            NetworkError: GitHub denies access, cannot delete or does not answer.
            DamagedAnswerError: An answer cannot be read.
        """
        if str(digest) not in self._ids:  # pushed since the versions were listed
            self._ids = self._listed()
        place, number = self._ids.pop(str(digest), ("", 0))
        if not place:
            return False
        status, _ = self._github.ask("DELETE", f"{place}/{number}")
        if status not in (204, 404):
            raise NetworkError(f"{self._repository}: {digest} cannot be deleted: status {status}")
        return status == 204

    def _listed(self) -> dict[str, tuple[str, int]]:
        """Digest -> where its version is, and its number."""
        found: dict[str, tuple[str, int]] = {}
        for place in self._places:
            for page in range(1, _PAGES + 1):
                status, answer = self._github.ask("GET", f"{place}?per_page=100&page={page}")
                if status != 200 or not isinstance(answer, list):
                    break
                for one in answer:
                    if isinstance(one, dict) and isinstance(one.get("id"), int):
                        found[str(one.get("name"))] = (place, one["id"])
                if len(answer) < 100:
                    return found
        return found
