"""Where artifacts come from, told from what a user wrote; no password in any message."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orchestrator.errors import UsageError
from orchestrator.headers import sources
from orchestrator.headers.sources import HttpSource

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://a/b", "https://a/b/p/x.h"),
        ("https://a/b//", "https://a/b/p/x.h"),
        ("https://a", "https://a/p/x.h"),
        ("https://a/b?sig=S%2F1&se=2", "https://a/b/p/x.h?sig=S%2F1&se=2"),
        ("http://u:w@a:81/b/#part", "http://u:w@a:81/b/p/x.h"),
        ("HTTPS://A/b", "https://A/b/p/x.h"),
    ],
)
def test_the_address_of_an_artifact(url: str, address: str) -> None:
    source = sources.source_of(url)
    assert isinstance(source, HttpSource)
    assert source.address("p/x.h") == address
    assert not any(secret in source.name for secret in ("sig", "u:w", "part"))


@pytest.mark.parametrize(
    "text",
    [
        "https:/user:hunter2@host/x", "https://user:hunter2@host:port/x", "htps://user:hunter2@host/x",
        "ftp://user:hunter2@host/x", "user:hunter2@host/x", "https://user:hunter2@/x", "https://user:hunter2@ho st/x",
        "https:user:hunter2@host", "//user:hunter2@host/x", "https://user:hunter2@host:0/", "https://h:99999/?sig=hunter2",
        "https:/host/x?sig=hunter2", "http://[user:hunter2@host/x",
    ],
)  # fmt: skip
def test_a_mistyped_mirror_is_one_line_without_its_password(text: str) -> None:
    with pytest.raises(UsageError, match=r"^mirror ") as caught:
        sources.source_of(text)
    assert "hunter2" not in str(caught.value)


def test_an_empty_mirror_is_an_unset_variable() -> None:
    with pytest.raises(UsageError, match=r"a mirror is empty"):
        sources.source_of("")


def test_the_default_repository_can_be_left_out(tmp_path: Path) -> None:
    told = {"FLASHINFER_CUBINS_REPOSITORY": "https://own/x"}
    names = [one.name for one in sources.chain([str(tmp_path)], environment=told)]
    assert names == [str(tmp_path), "https://own/x"]
    assert [one.name for one in sources.chain([str(tmp_path)], environment=told, default=False)] == [str(tmp_path)]
    with pytest.raises(UsageError, match=r"no source is left"):
        sources.chain([], environment=told, default=False)


def test_mirrors_that_differ_in_a_signature_alone_are_two() -> None:
    found = sources.chain(["https://a/x?sig=1", "https://a/x?sig=2", "https://a/x?sig=1"], default=False)
    assert [one.name for one in found] == ["https://a/x", "https://a/x (2)"]
