"""The lock of the base images: written and read back, refused where it is invalid, and given to the builds it names."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.bake.file import Extras
from orchestrator.errors import EnvironmentLacksError, MatrixError
from orchestrator.labels import BASES
from orchestrator.reference import Digest
from orchestrator.runs import base_lock
from orchestrator.runs.base_lock import LockedBase
from tests.unit.matrix.support import SMALL, planned

if TYPE_CHECKING:
    from pathlib import Path

ONE, TWO = Digest(f"sha256:{'1' * 64}"), Digest(f"sha256:{'2' * 64}")
APP = "app-cu130-amd64"


def locked(name: str, digest: Digest = ONE, *variants: str) -> LockedBase:
    return LockedBase(
        name=name, digest=digest, locked="2026-03-04", platforms={"linux/amd64": TWO}, variants=variants or (APP,)
    )


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    assert base_lock.read(tmp_path) is None
    bases = (locked("ubuntu:24.04"), locked("nvidia/cuda:13.0.2-devel", TWO, APP, "other"))
    base_lock.write(tmp_path, bases)
    assert base_lock.read(tmp_path) == bases
    base_lock.write(tmp_path, ())
    assert base_lock.read(tmp_path) == ()


def test_a_lock_that_cannot_be_read_or_written(tmp_path: Path) -> None:
    (tmp_path / base_lock.LOCK).mkdir()
    with pytest.raises(EnvironmentLacksError, match="the lock cannot be read: Is a directory"):
        base_lock.read(tmp_path)
    with pytest.raises(EnvironmentLacksError, match="the lock cannot be written: "):
        base_lock.write(tmp_path, (locked("a"),))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda content: content.update(schema=9), "expected schema 1, found schema 9"),
        (lambda content: content.pop("schema"), "found 'schema'"),
        (lambda content: content.update(bases=[]), "found "),
        (lambda content: content["bases"]["ubuntu"].update(digest="sha256:1"), "digest 'sha256:1' is invalid"),
        (lambda content: content["bases"]["ubuntu"].update(platforms=1), "found "),
        (lambda content: content["bases"]["ubuntu"].pop("variants"), "found 'variants'"),
        (lambda content: content["bases"].update({"UP": content["bases"]["ubuntu"]}), "image 'UP' is invalid"),
    ],
)
def test_an_invalid_lock_is_refused(tmp_path: Path, change: Any, said: str) -> None:
    base_lock.write(tmp_path, (locked("ubuntu"),))
    path = tmp_path / base_lock.LOCK
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(MatrixError, match="the lock of the base images is invalid") as error:
        base_lock.read(tmp_path)
    assert said in error.value.message
    assert error.value.hint == "orchestrate lock bases"


@pytest.mark.parametrize("text", ["", "[", "[]", "1", "[" * 100_000])
def test_what_is_no_lock_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / base_lock.LOCK).write_text(text)
    with pytest.raises(MatrixError, match="the lock of the base images is invalid"):
        base_lock.read(tmp_path)


def test_builds_start_from_the_digests_that_name_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    plan = planned(SMALL)
    assert base_lock.with_bases(plan, {}) == {}
    bases = (locked("ubuntu:24.04"), locked("cuda:13", TWO), locked("other", TWO, "another-cu130-amd64"))
    base_lock.write(tmp_path, bases)
    before = Extras(args={"A": "b"}, contexts={"wheels": "/w"}, labels={"x": "y"})
    found = base_lock.with_bases(plan, {APP: before})[APP]
    assert found.args == {"A": "b"}
    images = {"ubuntu:24.04": f"docker-image://ubuntu:24.04@{ONE}", "cuda:13": f"docker-image://cuda:13@{TWO}"}
    assert found.contexts == {"wheels": "/w", **images}
    assert found.labels == {"x": "y", BASES: f"ubuntu:24.04@{ONE} cuda:13@{TWO}"}
    own = planned(SMALL + "  contexts: {'ubuntu:24.04': docker-image://mine}\n")
    assert [*base_lock.with_bases(own, {})[APP].contexts] == ["cuda:13"]


def test_bases_that_the_lock_does_not_name_are_told(tmp_path: Path) -> None:
    assert base_lock.unlocked(tmp_path, ["ubuntu:24.04"]) == ""  # there is no lock
    base_lock.write(tmp_path, (locked("ubuntu:24.04"),))
    assert base_lock.unlocked(tmp_path, []) == ""
    assert base_lock.unlocked(tmp_path, ["a:1", "b:2"]) == (
        "not locked, as bases.lock.json does not name it: a:1, b:2 (orchestrate lock bases)"
    )


def test_the_bases_of_a_variant_are_those_of_its_label() -> None:
    assert base_lock.names(Extras()) == ()
    label = f"ubuntu:24.04@{ONE} registry.lan:5000/a/b:1@{TWO}"
    assert base_lock.names(Extras(labels={BASES: label})) == ("ubuntu:24.04", "registry.lan:5000/a/b:1")
