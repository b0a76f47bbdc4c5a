"""What a build gets of a bundle, where its version is read, and what status says."""

from __future__ import annotations

import importlib.util
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from orchestrator.errors import DriftError, EnvironmentLacksError, UsageError, VerificationError
from orchestrator.headers import bundle, inject, status, work
from orchestrator.headers import lock as locks
from orchestrator.headers.sources import chain, source_of
from orchestrator.headers.store import Store
from orchestrator.matrix.schema import HeadersSpec
from tests.unit.headers import samples

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.headers.lock import Lock
    from orchestrator.matrix.variants import Plan


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def lock(tmp_path: Path, store: Store) -> Lock:
    made = samples.bundle(tmp_path, store)
    bundle.write_lock(made, tmp_path / "flashinfer.lock.json")
    return made


def injection(spec: HeadersSpec, store: Store, **options: Any) -> inject.Injection | None:
    return inject.injection(spec, store, version=lambda: spec.version or "", **options)


def test_a_bundle_becomes_a_context_with_its_digest(tmp_path: Path, store: Store, lock: Lock) -> None:
    found = injection(HeadersSpec(version="0.6.13"), store, directory=tmp_path)
    assert found is not None
    assert found.context_name == "flashinfer-headers"
    assert found.args == {"FLASHINFER_BUNDLE_DIGEST": locks.bundle_digest(lock)}
    assert bundle.verify_directory(lock, found.context_dir) == ()
    header = found.context_dir / lock.headers[0].path
    header.chmod(0o644)
    header.write_bytes(b"changed")
    again = injection(HeadersSpec(), store, directory=tmp_path)
    assert again is not None
    assert again.context_dir == found.context_dir
    assert bundle.verify_directory(lock, found.context_dir) == ()


def test_no_download_is_set_for_a_complete_bundle_alone(tmp_path: Path, store: Store) -> None:
    for sm, complete in (((), True), (("10.0",), False)):
        bundle.write_lock(samples.bundle(tmp_path, store, tier="cubins", sm=sm), tmp_path / "flashinfer.lock.json")
        found = injection(HeadersSpec(tier="cubins"), store, directory=tmp_path)
        assert found is not None
        assert found.args.get("FLASHINFER_NO_DOWNLOAD", "") == ("1" if complete else "")


@pytest.mark.parametrize(
    ("spec", "error", "says"),
    [
        ({"version": "0.6.14"}, DriftError, "expected 0.6.14, found 0.6.13"),
        ({"tier": "cubins"}, DriftError, "another tier"),
        ({"lock": "other.json"}, UsageError, "orchestrate headers lock"),
    ],
)
def test_a_lock_that_does_not_fit_is_an_error_before_the_build(
    tmp_path: Path, store: Store, lock: Lock, spec: dict[str, Any], error: type[Exception], says: str
) -> None:
    (tmp_path / "versions.json").write_text('{"variable": {"FLASHINFER_VERSION": {"default": "0.6.12"}}}')
    with pytest.raises(error) as caught:
        injection(HeadersSpec(**spec), store, directory=tmp_path)
    assert says in str(caught.value)


def test_policies(tmp_path: Path, store: Store) -> None:
    for policy in ("off", "optional"):
        assert injection(HeadersSpec(policy=policy), store, directory=tmp_path) is None
    with pytest.raises(UsageError):
        injection(HeadersSpec(policy="required"), store, directory=tmp_path)


def test_missing_files_are_fetched_or_named(tmp_path: Path, store: Store, lock: Lock) -> None:
    empty = Store(tmp_path / "empty")
    with pytest.raises(VerificationError, match="9 of 9 files"):
        injection(HeadersSpec(), empty, directory=tmp_path)
    asked: list[Lock] = []

    def obtain(wanted: Lock) -> None:
        asked.append(wanted)
        for file in wanted.files:
            empty.add([store.read(file.sha256)], file.sha256)

    assert injection(HeadersSpec(), empty, directory=tmp_path, obtain=obtain) is not None
    assert asked == [lock]
    with pytest.raises(VerificationError, match="9 of 9"):
        work.require_complete(lock, Store(tmp_path / "none"))


def test_damage_is_named_and_repair_removes_it(store: Store, lock: Lock) -> None:
    first = lock.files[0]
    store.path(first.sha256).chmod(0o644)
    store.path(first.sha256).write_bytes(b"x" * first.size)
    assert work.verify_store(lock, store, repair=False) == {first.path: "damaged"}
    assert work.verify_store(lock, store, repair=True) == {first.path: "damaged"}
    assert work.verify_store(lock, store, repair=False) == {first.path: "missing"}


def a_plan(root: Path, spec: HeadersSpec | None, carries: bool = True) -> Plan:
    variant = SimpleNamespace(id="axpy-cu130-amd64", headers=carries, target="axpy")
    matrix = SimpleNamespace(root=root, spec=SimpleNamespace(headers=spec))
    return cast("Plan", SimpleNamespace(matrix=matrix, variants=(variant,)))


def test_status_says_why_an_image_will_not_work_offline(tmp_path: Path, store: Store, lock: Lock) -> None:
    def row(spec: HeadersSpec | None, where: Store, carries: bool = True) -> status.Row:
        (found,) = status.of(a_plan(tmp_path, spec, carries), where, lambda: (spec and spec.version) or "")
        return found

    assert row(None, store).offline == "no"
    assert "targets leaves axpy out" in row(HeadersSpec(), store, carries=False).why[0]
    assert row(HeadersSpec(), store).offline == "compile"
    assert any("cubin" in line for line in row(HeadersSpec(), store).why)
    assert "orchestrate headers fetch" in row(HeadersSpec(), Store(tmp_path / "none")).why[0]
    stale = row(HeadersSpec(version="0.6.14"), store)
    assert (stale.offline, "stale" in stale.why[0]) == ("no", True)
    bundle.write_lock(samples.bundle(tmp_path, store, tier="cubins"), tmp_path / "flashinfer.lock.json")
    assert row(HeadersSpec(tier="cubins"), store).offline == "yes"


def test_sources_in_order_without_repetition(tmp_path: Path) -> None:
    samples.wheel(tmp_path / "c.whl", {"flashinfer_cubin/cubins/p/a.h": "text"})
    (tmp_path / "d" / "cubins" / "p").mkdir(parents=True)
    (tmp_path / "d" / "cubins" / "p" / "a.h").write_text("other")
    found = chain(
        [
            "https://u:p@m.example/x?token=t",
            str(tmp_path / "c.whl"),
            f"file://{tmp_path}/d",
            "https://u:p@m.example/x?token=t",
        ],
        environment={"FLASHINFER_CUBINS_REPOSITORY": "https://own.example/"},
    )
    assert [source.name for source in found] == [
        "https://m.example/x", str(tmp_path / "c.whl"), str(tmp_path / "d"), "https://own.example/",
    ]  # fmt: skip
    wheel, folder = found[1], found[2]
    assert b"".join(wheel.open("p/a.h") or ()) == b"text"  # type: ignore[union-attr]  # a wheel, not a server
    assert b"".join(folder.open("p/a.h") or ()) == b"other"  # type: ignore[union-attr]  # a directory
    assert wheel.open("p/b.h") is None  # type: ignore[union-attr]  # as above
    assert "edge.urm.nvidia.com" in chain([], environment={})[0].name


@pytest.mark.parametrize(
    "text", ["ftp://h/x", "https://h:99999999/x", "/nowhere/at/all", "file:///nowhere/at/all", __file__]
)
def test_a_mirror_that_is_none_is_an_error(text: str) -> None:
    with pytest.raises(UsageError, match="mirror"):
        source_of(text)


@pytest.mark.parametrize(
    ("own", "there", "argv"),
    [
        (True, ["pip", "uv"], ["PYTHON", "-P", "-m", "pip"]),
        (False, ["pip", "pip3", "uv"], ["PATH/pip3"]),
        (False, ["pip", "uv"], ["PATH/pip"]),
        (False, ["uv"], ["PATH/uv", "tool", "run", "pip"]),
    ],
)
def test_pip_is_found_in_environments_that_uv_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, own: bool, there: list[str], argv: list[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name if own else None)
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in there:
        (tmp_path / name).touch(mode=0o755)
    assert work.pip_command() == [
        word.replace("PATH", str(tmp_path)).replace("PYTHON", sys.executable) for word in argv
    ]


def test_without_pip_the_hint_names_the_way_round(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EnvironmentLacksError) as caught:
        work.pip_command()
    assert "--from WHEEL" in caught.value.hint


def test_each_row_of_the_status_in_full(tmp_path: Path, store: Store, lock: Lock) -> None:
    def row(spec: HeadersSpec | None, where: Store, carries: bool = True) -> tuple[str, str, tuple[str, ...]]:
        (found,) = status.of(a_plan(tmp_path, spec, carries), where, lambda: (spec and spec.version) or "")
        return found.variant, found.offline, found.why

    compiles = (
        "the image must hold nvcc, ninja and a C++ compiler, or flashinfer-jit-cache: without them FlashInfer compiles "
        "nothing; `orchestrate headers verify --image` looks for them"
    )
    size, count = sum(file.size for file in lock.files), len(lock.files)
    off = ("axpy-cu130-amd64", "no", ("matrix.yaml has no headers section, or its policy is off",))
    assert row(None, store) == row(HeadersSpec(policy="off"), store) == off
    assert row(HeadersSpec(), store, carries=False)[1:] == ("no", ("headers.targets leaves axpy out",))
    missing = f"{count} files ({size:,} bytes) are not in the store: orchestrate headers fetch"
    assert row(HeadersSpec(), Store(tmp_path / "none"))[1:] == ("no", (missing,))
    headers = f"{len(lock.headers)} headers of FlashInfer 0.6.13"
    assert row(HeadersSpec(), store)[1:] == ("compile", (headers, compiles, *lock.not_covered))
    stale = row(HeadersSpec(version="0.6.14"), store)
    assert stale[1] == "no"
    assert len(stale[2]) >= 2
    bundle.write_lock(samples.bundle(tmp_path, store, tier="cubins"), tmp_path / "flashinfer.lock.json")
    whole = row(HeadersSpec(tier="cubins"), store)
    assert whole[1:] == ("yes", ("every header and cubin of FlashInfer 0.6.13", compiles))
