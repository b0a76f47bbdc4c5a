"""What GitHub is asked and what its answers mean; GitHub itself stands in as a table of answers."""

from __future__ import annotations

import json
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.errors import EnvironmentLacksError, NetworkError
from orchestrator.reference import Digest, Repository
from orchestrator.registry import github
from orchestrator.registry.errors import DamagedAnswerError, DeniedError, TransientError
from orchestrator.registry.github import GitHub, Packages, project

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.registry.transport import Request

TOKEN = {"GITHUB_TOKEN": "secret-token"}
DIGEST = Digest(f"sha256:{'1' * 64}")
PLACE = "https://api.github.com/orgs/acme/packages/container/team%2Fapp/versions"


class Answers:
    """A transport: what it was asked, and what it answers."""

    def __init__(self, answers: dict[tuple[str, str], tuple[int, Any]]) -> None:
        self.answers = answers
        self.asked: list[tuple[str, str]] = []
        self.headers: list[dict[str, str]] = []
        self.open = True

    @contextmanager
    def send(self, request: Request) -> Iterator[SimpleNamespace]:
        self.asked.append((request.method, request.url))
        self.headers.append(dict(request.headers))
        status, body = self.answers.get(self.asked[-1], (404, {"message": "Not Found"}))
        if isinstance(body, Exception):
            raise body
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        yield SimpleNamespace(status=status, whole=lambda _limit: data)

    def close(self) -> None:
        self.open = False


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Answers:
    found = Answers({})
    monkeypatch.setattr(github, "Transport", lambda **_: found)
    return found


def versions(*names: str, first: int = 1) -> list[dict[str, object]]:
    return [{"id": number, "name": name} for number, name in enumerate(names, first)]


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({}, "GITHUB_TOKEN is not set"),
        ({"GITHUB_TOKEN": ""}, "GITHUB_TOKEN is not set"),
        ({**TOKEN, "GITHUB_API_URL": "http://api.example.org"}, "GITHUB_API_URL is invalid: expected an https address"),
    ],
)
def test_a_token_and_an_https_address_are_needed(answers: Answers, env: dict[str, str], said: str) -> None:
    with pytest.raises(EnvironmentLacksError, match=said):
        GitHub(env)
    assert answers.asked == []


def test_the_token_goes_to_the_address_that_the_environment_names(answers: Answers) -> None:
    for env in ({"GH_TOKEN": "t"}, {"GITHUB_TOKEN": "t", "GH_TOKEN": "other"}):
        with GitHub({**env, "GITHUB_API_URL": "https://ghe.lan/api/v3/"}) as api:
            assert api.ask("GET", "x") == (404, {"message": "Not Found"})
        assert answers.asked[-1] == ("GET", "https://ghe.lan/api/v3/x")
        assert answers.headers[-1]["Authorization"] == "Bearer t"
        assert not answers.open
    assert GitHub({**TOKEN, "GITHUB_API_URL": "http://127.0.0.1:1"}).ask("GET", "x")[0] == 404


def test_only_what_github_knows_as_closed_is_closed(answers: Answers) -> None:
    pulls = "https://api.github.com/repos/acme/app/pulls"
    answers.answers = {
        ("GET", f"{pulls}/1"): (200, {"state": "closed"}), ("GET", f"{pulls}/2"): (200, {"state": "open"}),
        ("GET", f"{pulls}/3"): (404, {"state": "closed"}), ("GET", f"{pulls}/4"): (200, ["closed"]),
    }  # fmt: skip
    with GitHub(TOKEN) as api:
        assert api.closed("acme/app", ["1", "2", "3", "4", "5"]) == {"1"}


@pytest.mark.parametrize(
    ("status", "body", "error", "said"),
    [
        (401, {}, DeniedError, "the token may not do this, or too often: status 401"),
        (403, {}, DeniedError, "status 403"),
        (429, {}, DeniedError, "status 429"),
        (500, {}, NetworkError, "GitHub: x: status 500"),
        (502, b"<html>", NetworkError, "status 502"),
        (200, b"<html>", DamagedAnswerError, "the answer is invalid: expected JSON"),
        (200, b"[" * 100_000, DamagedAnswerError, "the answer is invalid"),
        (200, TransientError("no route to host"), NetworkError, "GitHub: x: no route to host"),
    ],
)
def test_each_failure_has_its_words(
    answers: Answers, status: int, body: Any, error: type[Exception], said: str
) -> None:
    answers.answers = {("GET", "https://api.github.com/x"): (status, body)}
    with GitHub(TOKEN) as api, pytest.raises(error, match=said):
        api.ask("GET", "x")


def test_an_answer_without_a_body_is_none(answers: Answers) -> None:
    answers.answers = {("DELETE", "https://api.github.com/x"): (204, b"")}
    with GitHub(TOKEN) as api:
        assert api.ask("DELETE", "x") == (204, None)


def packages(api: GitHub) -> Packages:
    return Packages(api, Repository(host="ghcr.io", path="acme/team/app"))


def test_a_version_is_deleted_by_its_number(answers: Answers) -> None:
    full = versions(*(f"sha256:{number:064x}" for number in range(100)), first=1000)
    answers.answers = {
        ("GET", f"{PLACE}?per_page=100&page=1"): (200, full),
        ("GET", f"{PLACE}?per_page=100&page=2"): (
            200,
            [*versions(str(DIGEST), first=7), "x", {"id": "8", "name": "y"}],
        ),
        ("DELETE", f"{PLACE}/7"): (204, b""),
        ("DELETE", f"{PLACE}/1003"): (404, {}),
        ("DELETE", f"{PLACE}/1004"): (422, {}),
    }
    with GitHub(TOKEN) as api:
        one = packages(api)
        assert one.delete(DIGEST) is True
        assert len(answers.asked) == 3
        assert one.delete(Digest(f"sha256:{3:064x}")) is False  # listed already, gone meanwhile
        with pytest.raises(NetworkError, match=r"ghcr.io/acme/team/app: sha256:0+4 cannot be deleted: status 422"):
            one.delete(Digest(f"sha256:{4:064x}"))
        assert len(answers.asked) == 5
        assert one.delete(Digest(f"sha256:{'f' * 64}")) is False
        assert len(answers.asked) == 7  # asked again for what was pushed since


def test_a_package_of_a_user_is_found_too(answers: Answers) -> None:
    place = PLACE.replace("/orgs/", "/users/")
    answers.answers = {
        ("GET", f"{place}?per_page=100&page=1"): (200, versions(str(DIGEST))), ("DELETE", f"{place}/1"): (204, b""),
    }  # fmt: skip
    with GitHub(TOKEN) as api:
        assert packages(api).delete(DIGEST) is True
    assert answers.asked[0] == ("GET", f"{PLACE}?per_page=100&page=1")


@pytest.mark.parametrize(
    ("env", "origin", "slug"),
    [
        ({"GITHUB_REPOSITORY": "acme/app"}, "https://github.com/other/x", "acme/app"),
        ({}, "git@github.com:acme/app.git", "acme/app"),
        ({}, "https://gitlab.com/acme/app", ""),
        ({"GITHUB_REPOSITORY": "acme/app/../x"}, "", ""),
    ],
)
def test_the_project_of_a_checkout(env: dict[str, str], origin: str, slug: str) -> None:
    assert project(env, origin) == slug
