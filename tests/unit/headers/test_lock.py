"""The lock is stable text, and nothing unsafe gets through it."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

import msgspec.structs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import UsageError, VerificationError
from orchestrator.headers import lock as locks
from orchestrator.headers import resolve
from orchestrator.headers.pins import Pin
from orchestrator.headers.staleness import compare
from orchestrator.headers.store import Store
from tests.support.generated import examples
from tests.unit.headers import samples

if TYPE_CHECKING:
    from pathlib import Path

PIN = Pin(attr="X", path="abc/x", sha256="0" * 64, written="abc/x/")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_a_lock_survives_its_own_text(tmp_path: Path, store: Store) -> None:
    for tier, sm in (("headers", ()), ("cubins", ()), ("cubins", ("10.3",))):
        lock = samples.bundle(tmp_path, store, tier=tier, sm=sm)
        text = locks.dumps(lock)
        assert locks.loads(text) == lock
        assert locks.dumps(locks.loads(text)) == text
        json.loads(text)


@pytest.mark.parametrize("tier", ["headers", "cubins"])
def test_two_pins_of_one_directory_are_locked_once(tmp_path: Path, store: Store, tier: str) -> None:
    """A release may give two families of GPUs the same artifacts; no lock is written that no command reads."""
    known = samples.known(tmp_path)
    twins = [msgspec.structs.replace(pin, attr=f"{pin.attr}_RUBIN") for pin in known.pins]
    both = tuple(sorted((*known.pins, *twins), key=lambda pin: pin.attr))
    lock = samples.bundle(tmp_path, store, tier=tier, of=msgspec.structs.replace(known, pins=both))
    assert lock.files == samples.bundle(tmp_path, store, tier=tier).files
    assert len(lock.pins) == 2 * len(known.pins)
    assert locks.loads(locks.dumps(lock)).files == lock.files


def test_the_text_is_sorted_and_has_no_time_in_it(tmp_path: Path, store: Store) -> None:
    raw = json.loads(locks.dumps(samples.bundle(tmp_path, store)))
    paths = [file["path"] for file in raw["files"]]
    assert paths == sorted(paths)
    assert [pin["attr"] for pin in raw["pins"]] == sorted(pin["attr"] for pin in raw["pins"])
    assert set(raw) == {
        "schema", "flashinfer", "layout", "tier", "sm", "bundle", "total", "missing", "not_covered", "pins", "files",
    }  # fmt: skip


def test_the_headers_tier_is_what_the_manifests_call_headers(tmp_path: Path, store: Store) -> None:
    lock = samples.bundle(tmp_path, store)
    assert len(lock.headers) == 6
    assert sorted(file.path for file in lock.files if not file.path.endswith(".h")) == [
        f"{pin}/checksums.txt" for pin in (samples.BMM, samples.GEMM, samples.FMHA)
    ]
    assert {item.pin.attr: item.files for item in lock.pins}["DEEPGEMM"] == 0
    assert any("cubin" in line for line in lock.not_covered)
    assert not lock.complete


def test_the_cubins_tier_takes_all_or_what_a_gpu_can_run(tmp_path: Path, store: Store) -> None:
    lock = samples.bundle(tmp_path, store, tier="cubins")
    assert lock.complete
    assert any(file.path.endswith("kernel_map.json") for file in lock.files)
    narrow = samples.bundle(tmp_path, store, tier="cubins", sm=["10.0"])
    names = [file.path.rsplit("/", 1)[-1] for file in narrow.files if file.path.endswith(".cubin")]
    assert names == ["kernel.one.cubin", "Bmm_sm100f.cubin", "fmhaSm100fKernel_x.cubin"]
    assert not narrow.complete
    assert "cubins of other GPUs than compute capability 10.0" in narrow.not_covered


@pytest.mark.parametrize(
    ("name", "sm", "taken"),
    [
        ("K_sm100f.cubin", ["10.3"], True), ("K_sm100f.cubin", ["11.0"], False), ("K_sm103a.cubin", ["10.3"], True),
        ("K_sm103a.cubin", ["10.0"], False), ("fmhaSm103aKernel_Qkv.cubin", ["10.0"], False),
        ("plain.cubin", ["9.0"], True),
        ("K_sm103f.cubin", ["10.0"], False), ("K_sm120f.cubin", ["12.1"], True), ("K_sm90.cubin", ["9.0"], True),
        ("K_sm100f.cubin", [], True),
    ],
)  # fmt: skip
def test_sm_filter(name: str, sm: list[str], taken: bool) -> None:
    assert resolve.matches_sm(f"pin/{name}", sm) is taken


@pytest.mark.parametrize(
    ("tier", "sm"), [("all", []), ("headers", ["10.0"]), ("cubins", ["sm_100"]), ("cubins", ["10"]), ("cubins", [""])]
)
def test_a_wrong_tier_or_gpu_is_an_error(tmp_path: Path, store: Store, tier: str, sm: list[str]) -> None:
    with pytest.raises(UsageError):
        samples.bundle(tmp_path, store, tier=tier, sm=sm)


def test_a_loose_file_that_no_source_has_is_recorded_and_keeps_the_bundle_incomplete(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = samples.artifacts()
    del whole[f"{samples.DEEP}/kernel_map.json"]
    monkeypatch.setattr(samples, "artifacts", lambda: whole)
    lock = samples.bundle(tmp_path, store, tier="cubins")
    assert lock.missing == (f"{samples.DEEP}/kernel_map.json",)
    assert not lock.complete
    assert any("no source had it" in line for line in lock.not_covered)


def test_the_bundle_digest_is_that_of_sha256sums_and_follows_all_that_the_lock_says(
    tmp_path: Path, store: Store
) -> None:
    lock = samples.bundle(tmp_path, store)
    told = f"sha256:{hashlib.sha256(locks.sums(lock).encode()).hexdigest()}"
    assert locks.bundle_digest(lock) == told
    changed = msgspec.structs.replace(lock.files[0], sha256="1" * 64)
    others: dict[str, Any] = {
        "version": "0.6.12", "commit": "1", "wheel_sha256": "", "layout": "L1", "tier": "cubins", "sm": ("10.0",),
        "missing": ("x",), "not_covered": (), "pins": lock.pins[:-1], "files": (changed, *lock.files[1:]),
    }  # fmt: skip
    assert others.keys() == set(lock.__struct_fields__)
    for name, value in others.items():
        assert locks.bundle_digest(msgspec.structs.replace(lock, **{name: value})) != told, name


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        ({"tier": "cubins"}, "tier is cubins, and no of its files is a cubin"),
        ({"tier": "everything"}, "tier is 'everything', expected headers or cubins"),
        ({"sm": ("10.0",)}, "sm 10.0 narrows the tier cubins, and tier is headers"),
        ({"layout": "L3"}, "layout is L3, FlashInfer 0.6.13 has L2"),
        ({"version": "0.6.17"}, "layout is L2, FlashInfer 0.6.17 has L3"),
        ({"files": ()}, "no header is among its files"),
    ],
)
def test_what_no_lock_can_say_is_refused_also_with_the_right_digest(
    tmp_path: Path, store: Store, harm: dict[str, Any], says: str
) -> None:
    lock = msgspec.structs.replace(samples.bundle(tmp_path, store), **harm)
    with pytest.raises(VerificationError, match=re.escape(says)):
        locks.loads(locks.dumps(lock))


def test_pins_and_files_that_do_not_fit_are_refused(tmp_path: Path, store: Store) -> None:
    lock = samples.bundle(tmp_path, store)
    whole = samples.bundle(tmp_path, store, tier="cubins")
    without = tuple(file for file in lock.files if file.path != f"{samples.BMM}/checksums.txt")
    header = f"{samples.BMM}/include/flashinferMetaInfo.h"
    fewer = tuple(file for file in lock.files if file.path != header)
    deep = tuple(file for file in whole.files if not file.path.startswith(samples.DEEP))
    uncounted = tuple(msgspec.structs.replace(p, files=0) if p.pin.attr == "DEEPGEMM" else p for p in whole.pins)
    for harmed, says in (
        (msgspec.structs.replace(lock, files=without), "TRTLLM_GEN_BMM has 3 files and not the checksums.txt"),
        (msgspec.structs.replace(lock, files=fewer), f"TRTLLM_GEN_BMM says 3 files, 3 lie below {samples.BMM}"),
        (msgspec.structs.replace(whole, files=deep, pins=uncounted), "tier is cubins, and pin DEEPGEMM has no file"),
        (msgspec.structs.replace(lock, missing=(header,)), f"{header} is a file and missing"),
    ):
        with pytest.raises(VerificationError, match=re.escape(says)):
            locks.loads(locks.dumps(harmed))


def test_a_lock_of_an_unknown_version_is_read_and_compared(tmp_path: Path, store: Store) -> None:
    lock = msgspec.structs.replace(samples.bundle(tmp_path, store), version="0.9.0")
    assert locks.loads(locks.dumps(lock)) == lock
    same = msgspec.structs.replace(samples.known(tmp_path), version="0.9.0")
    assert compare(lock, same).state == "fresh"
    with pytest.raises(UsageError, match=r"newer than"):
        compare(lock, msgspec.structs.replace(same, version="0.9.1"))


def test_up_to_0_6_4_only_the_meta_headers_are_locked(tmp_path: Path, store: Store) -> None:
    lock = samples.bundle(tmp_path, store, version="0.6.4")
    assert sorted(file.path.rsplit("/", 1)[-1] for file in lock.headers) == [
        "flashInferMetaInfo.h", "flashinferMetaInfo.h", "flashinferMetaInfo.h",
    ]  # fmt: skip


def test_l1_has_the_flat_copy_and_the_hash_that_flashinfer_compares(tmp_path: Path, store: Store) -> None:
    lock = samples.bundle(tmp_path, store, version="0.6.6")
    placed = {entry.path: entry for entry in locks.tree(lock)}
    flat = "flashinfer/trtllm/batched_gemm/trtllmGen_bmm_export"
    assert placed[f"{flat}/.artifact_hash"].content == f"{samples.BMM}/".encode()
    assert placed[f"{flat}/Enums.h"].sha256 == samples.sha(b"// bmm enums\n")
    assert placed[f"{flat}/trtllm/gen/DtypeDecl.h"].sha256 == samples.sha(b"// dtype\n")
    assert len(placed) == len(lock.files) + 4  # two headers once more, .artifact_hash, flashinfer.bundle.json


@pytest.mark.parametrize(
    "path",
    ["", "/etc/passwd", "../x", "a/../b", "a//b", "a/./b", "a\\b", "a\nb", "a\x00b", "a\x7fb", "C:x", "x" * 1025,
     "cafe\u0301", "a/", "./a"],
)  # fmt: skip
def test_unsafe_paths_are_refused(path: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        locks.clean_path(path)


@examples(100)
@given(st.text(max_size=40))
def test_what_is_let_through_stays_inside(path: str) -> None:
    import posixpath

    try:
        locks.clean_path(path)
    except ValueError:
        return
    joined = posixpath.normpath(posixpath.join("/srv/tree", path))
    assert joined.startswith("/srv/tree/")
    assert joined == f"/srv/tree/{path}"
    assert path.isprintable() or not any(ord(char) < 32 for char in path)


@pytest.mark.parametrize(
    ("paths", "found"),
    [
        (["a/B.h", "a/b.h"], True), (["a", "a/b"], True), (["A", "a/b"], True), (["straße", "STRASSE"], True),
        (["a/b", "a/c", "ab"], False), ([], False),
    ],
)  # fmt: skip
def test_names_that_some_file_system_takes_for_one_are_found(paths: list[str], found: bool) -> None:
    assert (locks.collision(paths) is not None) is found


def test_a_lock_whose_files_would_be_one_on_some_disk_is_refused(tmp_path: Path, store: Store) -> None:
    lock = samples.bundle(tmp_path, store)
    twin = msgspec.structs.replace(lock.headers[0], path=lock.headers[0].path.replace("Meta", "META"))
    both = msgspec.structs.replace(lock, files=tuple(sorted((*lock.files, twin), key=lambda file: file.path)))
    with pytest.raises(VerificationError, match="have the same place"):
        locks.sums(both)
    for name in ("SHA256SUMS", "flashinfer.lock.json", "sha256sums"):
        own = msgspec.structs.replace(lock.headers[0], path=name)
        with pytest.raises(VerificationError, match="have the same place"):
            locks.sums(msgspec.structs.replace(lock, files=(*lock.files, own)))


def test_a_manifest_is_read_as_sha256sum_would() -> None:
    text = f"{'1' * 64}  K.cubin\n\n{'2' * 64} *include/A.h\n".encode()
    assert locks.parse_manifest(PIN, text) == {"abc/x/K.cubin": "1" * 64, "abc/x/include/A.h": "2" * 64}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("<html>", "expected a sha256"), ("1" * 63 + "  x", "expected a sha256"), ("1" * 64, "unsafe path"),
        ("1" * 64 + "  ../x", "unsafe path"), ("1" * 64 + "  /x", "unsafe path"),
        ("1" * 64 + "  x\n" + "2" * 64 + "  x", "two different digests"),
    ],
)  # fmt: skip
def test_a_manifest_that_nobody_can_have_published_is_refused(line: str, says: str) -> None:
    with pytest.raises(VerificationError, match=says) as caught:
        locks.parse_manifest(PIN, line.encode())
    assert "abc/x/checksums.txt:" in caught.value.message


def _broken(text: str, *change: str) -> str:
    assert change[0] in text
    return text.replace(change[0], change[1], 1)


@pytest.mark.parametrize(
    "change",
    [
        ("", ""), ('"schema": 1', '"schema": 2'), ('"size": ', '"size": -'), ('"layout": "L2"', '"layout": "L9"'),
        ("Enums.h", "../../x.h"), ("Enums.h", "EnumsX.h"), ("Enums.h", "flashinferMetaInfo.h"),
        ('"bundle": "sha256:', '"bundle": "sha256:0'),
        ('"files"', '"filez"'), ("{", "[", ), ('"path": "', '"path": 7, "x": "'),
    ],
    ids=str,
)  # fmt: skip
def test_a_damaged_lock_is_one_error(tmp_path: Path, store: Store, change: tuple[str, str]) -> None:
    text = locks.dumps(samples.bundle(tmp_path, store))
    broken = _broken(text, *change) if change != ("", "") else ""
    with pytest.raises(VerificationError) as caught:
        locks.loads(broken, where="some.lock.json")
    assert "some.lock.json" in str(caught.value)


KEYS = st.sampled_from(["schema", "files", "pins", "path", "sha256", "size", "flashinfer"])
PLAIN = st.none() | st.booleans() | st.integers() | st.text(max_size=5)


@examples(60)
@given(st.recursive(PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner), max_leaves=10))
def test_no_json_makes_a_traceback(value: object) -> None:
    with pytest.raises(VerificationError):
        locks.loads(json.dumps(value))


def test_staleness(tmp_path: Path, store: Store) -> None:
    lock = samples.bundle(tmp_path, store)
    pins = samples.known(tmp_path)
    assert compare(lock, pins).state == "fresh"
    assert compare(lock, msgspec.structs.replace(pins, version="0.6.14")).state == "refresh"
    moved = msgspec.structs.replace(pins.pins[1], path="new/place", sha256="3" * 64)
    stale = compare(lock, msgspec.structs.replace(pins, pins=(pins.pins[0], moved, *pins.pins[2:])), where="l.json")
    assert stale.state == "stale"
    (problem,) = stale.problems
    assert "TRTLLM_GEN_BMM moved" in problem.what
    assert samples.BMM in problem.found
    assert "new/place" in problem.expected
    gone = compare(lock, msgspec.structs.replace(pins, pins=pins.pins[1:]))
    assert "DEEPGEMM is gone" in gone.problems[0].what
    new = msgspec.structs.replace(pins.pins[0], attr="ZZZ")
    assert "ZZZ is new" in compare(lock, msgspec.structs.replace(pins, pins=(*pins.pins, new))).problems[0].what


def test_a_version_with_another_place_for_the_same_files_is_stale(tmp_path: Path, store: Store) -> None:
    lock = samples.bundle(tmp_path, store, version="0.6.6")
    problems = compare(lock, samples.known(tmp_path, "0.6.13")).problems
    assert any("looks for the files elsewhere" in problem.what for problem in problems)


def test_wanted_is_every_file_with_its_size(tmp_path: Path, store: Store) -> None:
    lock = samples.bundle(tmp_path, store)
    assert {item.path: item.size for item in resolve.wanted_of(lock)} == {file.path: file.size for file in lock.files}
