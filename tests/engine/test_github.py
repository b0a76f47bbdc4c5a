"""GitHub's REST API, beside a stand-in of its documented interface: nothing here was tried with GitHub itself."""

from __future__ import annotations

import pytest

from orchestrator.errors import EnvironmentLacksError, NetworkError
from orchestrator.reference import Digest, repository
from orchestrator.registry.errors import DeniedError
from orchestrator.registry.github import GitHub, Packages, project
from tests.support.github import Hub, github


def env(hub: Hub) -> dict[str, str]:
    return {"GITHUB_API_URL": hub.url, "GITHUB_TOKEN": hub.token}


def digest(number: int) -> str:
    return f"sha256:{number:064x}"


def test_only_what_github_calls_closed_is_closed() -> None:
    with github(Hub(pulls={"1": "open", "2": "closed"})) as hub, GitHub(env(hub)) as api:
        assert api.closed("acme/app", ["1", "2", "3"]) == {"2"}
        assert api.closed("acme/other", ["2"]) == frozenset()


@pytest.mark.parametrize("owner", ["orgs/acme", "users/acme"])
def test_a_manifest_of_ghcr_is_deleted_as_a_version_of_its_package(owner: str) -> None:
    held = {number: digest(number) for number in range(1, 251)}
    with github(Hub(owner=owner, versions={"team%2Fapp-cache": held})) as hub, GitHub(env(hub)) as api:
        packages = Packages(api, repository("ghcr.io/acme/team/app-cache"))
        assert packages.delete(Digest(digest(240)))
        assert 240 not in held
        assert len(held) == 249
        asked = len(hub.asked)
        assert packages.delete(Digest(digest(3)))
        assert len(hub.asked) == asked + 1  # the list of versions is read once
        held[999] = digest(999)  # pushed meanwhile
        assert packages.delete(Digest(digest(999)))
        assert not packages.delete(Digest(digest(1000)))


def test_what_cannot_be_asked_is_told_without_the_token() -> None:
    with github(Hub()) as hub, GitHub({**env(hub), "GITHUB_TOKEN": "wrong-token"}) as api:
        with pytest.raises(DeniedError) as denied:
            api.closed("acme/app", ["1"])
        assert "wrong-token" not in str(denied.value)
    with GitHub(env(hub)) as api, pytest.raises(NetworkError):  # it no longer serves
        api.closed("acme/app", ["1"])
    with pytest.raises(EnvironmentLacksError, match="GITHUB_TOKEN is not set"):
        GitHub({})
    with pytest.raises(EnvironmentLacksError, match="expected an https address"):
        GitHub({"GITHUB_TOKEN": "x", "GITHUB_API_URL": "http://example.com"})


@pytest.mark.parametrize(
    ("origin", "found"),
    [("https://github.com/acme/app.git", "acme/app"), ("git@github.com:acme/app.git", "acme/app"),
     ("ssh://git@github.com/acme/app", "acme/app"), ("https://TOKEN@github.com/acme/app/", "acme/app"),
     ("https://gitlab.com/acme/app", ""), ("https://github.com.evil.example/acme/app", ""), ("", "")],
)  # fmt: skip
def test_the_project_is_the_one_of_the_workflow_or_of_the_origin(origin: str, found: str) -> None:
    assert project({}, origin) == found
    assert project({"GITHUB_REPOSITORY": "other/one"}, origin) == "other/one"
    assert project({"GITHUB_REPOSITORY": "../.."}, origin) == ""
