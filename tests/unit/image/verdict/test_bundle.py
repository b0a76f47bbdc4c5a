"""The runtime sees the sum of all layers; what a later one did to the bundle is found."""

from __future__ import annotations

import io
import json
import tarfile
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from orchestrator.errors import UsageError
from orchestrator.flashinfer import LOCK_NAME
from orchestrator.headers import lock as locks
from orchestrator.headers.store import Store
from orchestrator.image.layers import artifacts
from orchestrator.image.layers.merge import LayerScan, merge
from orchestrator.image.layers.scan import scan_layer
from orchestrator.image.verdict import bundle
from orchestrator.image.verdict.policy import Policy
from orchestrator.image.verdict.scanned import Scanned
from orchestrator.image.verdict.users import account
from orchestrator.image.verdict.verify import verdict
from orchestrator.labels import FLASHINFER
from tests.unit.headers import samples

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from orchestrator.headers.lock import Lock

DIRECTORY = "/opt/flashinfer/cubins"
ENVIRONMENT = {"FLASHINFER_CUBIN_DIR": DIRECTORY}
Members = dict[str, bytes | str | None]
"""Path -> bytes of a file, target of a link, or None for a directory."""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def lock(tmp_path: Path, store: Store) -> Lock:
    return samples.bundle(tmp_path, store)


def placed(lock: Lock, store: Store, root: str = DIRECTORY) -> Members:
    files: Members = {
        f"{root}/{entry.path}": store.read(entry.sha256) for entry in locks.tree(lock) if not entry.content
    }
    files |= {f"{root}/{entry.path}": entry.content for entry in locks.tree(lock) if entry.content is not None}
    files[f"{root}/flashinfer"] = "/tmp"
    files[f"{root}/SHA256SUMS"] = locks.sums(lock).encode()
    files[f"{root}/flashinfer.lock.json"] = locks.dumps(lock).encode()
    return files


def layer(files: Members, *, modes: Mapping[str, int] | None = None) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for path, content in files.items():
            info = tarfile.TarInfo(path.strip("/"))
            info.mode = (modes or {}).get(path, 0o755 if content is None else 0o644)
            if content is None:
                info.type = tarfile.DIRTYPE
            elif isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
            else:
                info.size = len(content)
            tar.addfile(info, io.BytesIO(content if isinstance(content, bytes) else b""))
    return raw.getvalue()


TOOLS: Members = {
    "/usr/bin/g++-12": b"ELF",
    "/usr/bin/c++": "g++-12",
    "/usr/local/cuda-13.0/bin/nvcc": b"ELF",
    "/usr/local/cuda": "cuda-13.0",
    "/opt/venv/bin/ninja": b"#!",
    "/bin": "usr/bin",
}
"""What FlashInfer compiles with, where distributions and NVIDIA put it."""
PATH = {"PATH": "/opt/venv/bin:/usr/local/bin:/usr/bin:/bin"}


def scanned(*layers: bytes, environment: Mapping[str, str] | None = None, **words: Any) -> Scanned:
    scans = [scan_layer(io.BytesIO(data), len(data)) for data in (layer(TOOLS), *layers)]
    kept = [LayerScan.from_json(json.loads(json.dumps(scan.to_json()))) for scan in scans]
    known = PATH | (ENVIRONMENT if environment is None else dict(environment))
    return Scanned(source="image", environment=known, files=merge(kept), image=True, **words)


def seen(*layers: Members, environment: Mapping[str, str] | None = None, expected: str = "") -> bundle.Carried:
    return bundle.judge(scanned(*map(layer, layers), environment=environment), expected=expected)


def whats(found: bundle.Carried) -> list[str]:
    return [problem.what for problem in found.problems]


def test_a_whole_bundle(lock: Lock, store: Store) -> None:
    found = seen(placed(lock, store), {"/etc/passwd": b"later"}, expected=locks.bundle_digest(lock))
    assert found.problems == ()
    assert found.lock == lock
    assert found.directory == DIRECTORY
    assert found.warnings == ()


def test_each_header_that_a_later_layer_takes_away_or_changes_is_named(lock: Lock, store: Store) -> None:
    base = placed(lock, store)
    for entry in locks.tree(lock):
        path = f"{DIRECTORY}/{entry.path}"
        folder, _, name = path.rpartition("/")
        gone = seen(base, {f"{folder}/.wh.{name}": b""})
        assert [problem.file for problem in gone.problems] == [path]
        assert "is missing: a later layer removed it" in gone.problems[0].what
        changed = seen(base, {path: b"// other\n"})
        assert whats(changed) == ["was changed"]
        assert f"{entry.size:,} bytes" in changed.warnings[0]


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("/srv/kept.h", "is a link to /srv/kept.h, which is not read: expected a file"),
        ("{itself}", "is a circular link"),
    ],
)
def test_a_header_that_is_a_link_is_not_called_missing(lock: Lock, store: Store, target: str, says: str) -> None:
    header = f"{DIRECTORY}/{lock.headers[0].path}"
    files = {**placed(lock, store), header: target.format(itself=header), "/srv/kept.h": b"x"}
    found = seen(files)
    assert [(problem.file, problem.what) for problem in found.problems] == [(header, says)]
    moved = {path.replace(DIRECTORY, "/opt/real"): content for path, content in placed(lock, store).items()}
    del moved[header.replace(DIRECTORY, "/opt/real")]
    found = seen({**moved, DIRECTORY: "/opt/real"})
    assert ["is missing" in what for what in whats(found)] == [True]


@pytest.mark.parametrize(
    ("change", "environment", "lacking"),
    [
        ({}, {}, ""),
        ({"/opt/venv/bin/.wh.ninja": b""}, {}, "ninja"),
        ({"/usr/local/.wh.cuda": b""}, {}, "nvcc"),
        ({"/usr/local/cuda-13.0/.wh..wh..opq": b""}, {}, "nvcc"),
        ({"/usr/bin/.wh.g++-12": b""}, {}, "a C++ compiler"),
        ({}, {"PATH": "/nowhere"}, "ninja, a C++ compiler"),
        ({}, {"CUDA_HOME": "/opt/cuda"}, "nvcc"),
        ({"/opt/cuda/bin/nvcc": b""}, {"CUDA_HOME": "/opt/cuda"}, ""),
        ({"/usr/local/.wh.cuda": b"", "/usr/bin/nvcc": b""}, {}, ""),
        ({}, {"CXX": "clang++"}, "a C++ compiler"),
        ({}, {"CXX": "/bin/c++"}, ""),
        (
            {"/opt/venv/bin/.wh.ninja": b"", "/x/flashinfer_jit_cache-0.6.13+cu130.dist-info/METADATA": b"Name: x"},
            {},
            "",
        ),
    ],
)
def test_an_image_without_a_compiler_is_told(
    lock: Lock, store: Store, change: Members, environment: dict[str, str], lacking: str
) -> None:
    found = seen(placed(lock, store), change, environment=ENVIRONMENT | environment)
    assert found.problems == ()
    assert [warning.split(":")[0] for warning in found.warnings] == ([lacking] if lacking else [])


@pytest.mark.parametrize(
    "harm",
    [
        {f"{DIRECTORY.rpartition('/')[0]}/.wh.cubins": b""},
        {f"{DIRECTORY}/.wh..wh..opq": b""},
        {DIRECTORY: b"a file instead"},
        {DIRECTORY: "/elsewhere"},
    ],
    ids=["removed", "made opaque", "replaced by a file", "replaced by a link"],
)
def test_a_directory_that_goes_takes_the_bundle_with_it(lock: Lock, store: Store, harm: Members) -> None:
    assert whats(seen(placed(lock, store), harm)) == [
        f"no FlashInfer bundle in {DIRECTORY}: flashinfer.lock.json is not there"
    ]


def test_a_bundle_that_is_put_back_is_whole_again(lock: Lock, store: Store) -> None:
    base = placed(lock, store)
    assert seen(base, {f"{DIRECTORY}/.wh..wh..opq": b""}, base).problems == ()


def test_through_a_link_to_the_package(lock: Lock, store: Store) -> None:
    package = "/opt/venv/lib/python3.12/site-packages/flashinfer_cubin"
    files = {f"{package}/__init__.py": b"x", **placed(lock, store, f"{package}/cubins"), DIRECTORY: f"{package}/cubins"}
    installed = {"/opt/venv/lib/python3.12/site-packages/flashinfer_python-0.6.13.dist-info/METADATA": b"x"}
    assert seen({**files, **installed}).problems == ()


def test_a_package_that_wins_over_the_variable(lock: Lock, store: Store) -> None:
    site = "/usr/lib/python3/dist-packages"
    later: Members = {
        f"{site}/flashinfer_cubin/__init__.py": b"x",
        f"{site}/flashinfer_python-0.6.13.dist-info/METADATA": b"x",
    }
    found = seen(placed(lock, store), later)
    assert any("looks in" in what and "flashinfer_cubin is installed" in what for what in whats(found))
    newer = {path.replace("0.6.13", "0.6.17"): content for path, content in later.items()}
    assert not any("looks in" in what for what in whats(seen(placed(lock, store), newer)))


def test_another_version_another_bundle_and_a_promise_too_much(lock: Lock, store: Store) -> None:
    base = placed(lock, store)
    newer: Members = {"/usr/lib/python3/dist-packages/flashinfer_python-0.6.14.dist-info/METADATA": b"x"}
    (problem,) = seen(base, newer).problems
    assert (problem.expected, problem.found) == ("0.6.13", "0.6.14")
    assert whats(seen(base, expected="sha256:" + "0" * 64)) == ["another bundle than the build was given"]
    (problem,) = seen(base, environment={**ENVIRONMENT, "FLASHINFER_NO_DOWNLOAD": "1"}).problems
    assert "does not hold every cubin" in problem.what


def test_the_pins_of_an_installed_flashinfer(tmp_path: Path) -> None:
    site = "/opt/venv/lib/python3.12/site-packages"
    old: Members = {f"{site}/{name}": text.encode() for name, text in samples.source("0.6.12").items()}
    new: Members = {f"{site}/{name}": text.encode() for name, text in samples.source("0.6.13").items()}
    removed: Members = {f"{site}/.wh.flashinfer_python-0.6.12.dist-info": b""}
    expected = replace(samples.known(tmp_path), wheel_sha256="")
    assert bundle.pins_of(scanned(layer({**new, "/etc/os-release": b"x"}))) == expected
    assert bundle.pins_of(scanned(*map(layer, (old, removed, new)))) == expected
    with pytest.raises(UsageError, match="no FlashInfer installed"):
        bundle.pins_of(scanned(layer({"/etc/os-release": b"x"})))
    twice = {f"/usr/lib/python3/dist-packages/{name}": text.encode() for name, text in samples.source().items()}
    with pytest.raises(UsageError, match="FlashInfer in /opt/venv"):
        bundle.pins_of(scanned(layer({**new, **twice})))


def test_a_lock_of_other_pins_than_the_installed_flashinfer_is_a_problem(lock: Lock, store: Store) -> None:
    """A nightly says the version of a release, and asks for other artifacts."""
    site = "/opt/venv/lib/python3.12/site-packages"
    base = placed(lock, store)
    installed: Members = {f"{site}/{name}": text.encode() for name, text in samples.source("0.6.13").items()}
    assert not seen(base, installed).problems
    source = f"{site}/flashinfer/artifacts.py"
    moved = {**installed, source: samples.source()["flashinfer/artifacts.py"].replace("c" * 40, "9" * 40).encode()}
    (problem,) = seen(base, moved).problems
    assert "asks for other artifacts of TRTLLM_GEN_GEMM" in problem.what
    assert problem.found.startswith("c" * 40)


def test_an_image_without_any(lock: Lock, store: Store) -> None:
    assert "below the user's home" in whats(seen({"/x": b"y"}, environment={}))[0]
    assert "no FlashInfer bundle" in whats(seen({"/x": b"y"}))[0]
    damaged = {**placed(lock, store), f"{DIRECTORY}/flashinfer.lock.json": b"{"}
    assert "not a FlashInfer lock file" in whats(seen(damaged))[0]


def test_what_a_user_of_the_image_may_not_read_is_named(lock: Lock, store: Store) -> None:
    files: Members = {DIRECTORY: None, **placed(lock, store)}
    secret = f"{DIRECTORY}/{locks.tree(lock)[0].path}"
    image = layer(files, modes={secret: 0o640})
    for user in ("1000:20", "1000:1000", "app"):
        (problem,) = bundle.judge(scanned(image, user=user)).problems
        assert (problem.file, problem.what) == (secret, f"user {user} of the image may not read it")
    for user in ("", "0", "root", "0:1000", "1000:0", "1000"):  # the engine gives group 0 to a number that is all
        found = bundle.judge(scanned(image, user=user))
        assert found.problems == ()
        assert found.warnings == (f"{secret}: only some users can read it, and FlashInfer fails under any other",)
    closed = layer(files, modes={DIRECTORY: 0o700})
    shut, place = bundle.judge(scanned(closed, user="1000")).problems
    assert (shut.file, shut.what) == (DIRECTORY, "user 1000 of the image may not enter it")
    assert place.what == f"user 1000 of the image may not enter {DIRECTORY}"
    opened = layer({DIRECTORY: None})
    assert bundle.judge(scanned(closed, opened, user="1000")).problems == ()
    assert bundle.judge(scanned(layer(files), user="1000")).warnings == ()


ACCOUNTS: Members = {
    "/etc/passwd": b"root:x:0:0::/:/bin/sh\napp:x:1500:1600::/:/bin/sh\nodd\n",
    "/etc/group": b"root:x:0:\nappg:x:1600:\nmore:x:1700:nobody,app\nlast:x:1800\n",
}


@pytest.mark.parametrize(
    ("user", "ids"),
    [
        # as Docker 28.5 starts them (Uid, Gid and Groups of /proc/self/status)
        ("", ""),
        ("1000", "1000:0"),
        ("1500", "1500:1600,1700"),
        ("app", "1500:1600,1700"),
        ("app:more", "1500:1700"),
        ("1500:1700", "1500:1700"),
        ("1000:appg", "1000:1600"),
        ("root", "0:0"),
        ("nobody", "nobody"),
    ],
)
def test_what_the_user_of_an_image_stands_for(user: str, ids: str) -> None:
    assert account(scanned(layer(ACCOUNTS)).files, user) == ids
    linked: Members = {"/usr/lib/passwd": b"", "/etc/passwd": "/nowhere"}
    assert account(scanned(layer(linked)).files, "app") == "app"


@pytest.mark.parametrize(
    ("owner", "mode", "user", "good"),
    [
        ((1500, 0), 0o755, "app", True),
        ((1500, 0), 0o755, "1500", True),
        ((0, 1600), 0o775, "app", True),
        ((0, 1700), 0o775, "app", True),
        ((0, 1700), 0o775, "app:appg", False),
        ((0, 0), 0o775, "1000", True),
        ((0, 0), 0o775, "app", False),
        ((0, 0), 0o755, "1000", False),
        ((1500, 1600), 0o770, "nobody", False),
    ],
)
def test_a_named_user_may_write_where_its_ids_may(
    lock: Lock, store: Store, owner: tuple[int, int], mode: int, user: str, good: bool
) -> None:
    files = placed(lock, store) | ACCOUNTS
    del files[f"{DIRECTORY}/flashinfer"]
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        info = tarfile.TarInfo(f"{DIRECTORY}/flashinfer".strip("/"))
        info.type, info.mode, info.uid, info.gid = tarfile.DIRTYPE, mode, *owner
        tar.addfile(info)
    image = scanned(layer(files), raw.getvalue(), user=user)
    said = [problem.what for problem in bundle.judge(image).problems]
    assert (said == []) is good
    assert good or f"user {user} of the image may not" in said[0]
    later = scanned(layer(files), raw.getvalue(), layer(ACCOUNTS), user=user)
    assert not [warning for warning in bundle.judge(later).warnings if "in two layers" in warning]


def test_an_image_is_bound_by_its_label_and_by_its_lock(lock: Lock, store: Store) -> None:
    whole, bare = layer(placed(lock, store)), layer({"/etc/passwd": b"x"})
    elsewhere = layer({"/src/flashinfer.lock.json": locks.dumps(lock).encode()})
    label = {FLASHINFER: locks.bundle_digest(lock)}

    def judged(image: Scanned, bound: str = "") -> tuple[bool, ...]:
        result = verdict(image, (), Policy(), bundle=bound)
        return () if result.headers is None else (not result.headers.problems, result.ok)

    assert judged(scanned(whole)) == (True, True)
    assert judged(scanned(whole, labels=label)) == (True, True)
    assert judged(scanned(bare)) == ()
    assert judged(scanned(elsewhere)) == (), "a lock that was copied with the sources binds nobody"
    assert judged(scanned(bare, labels=label)) == (False, False)
    assert judged(scanned(bare), bound=label[FLASHINFER]) == (False, False)
    assert judged(scanned(whole, labels={FLASHINFER: "sha256:" + "0" * 64})) == (False, False)
    taken = layer({f"{DIRECTORY}/.wh.flashinfer.lock.json": b""})
    assert judged(scanned(whole, taken, labels=label)) == (False, False)
    value = verdict(scanned(whole), (), Policy()).to_json()["headers"]
    assert value == {"ok": True, "directory": DIRECTORY, "flashinfer": lock.version, "files": len(lock.files)}
    assert verdict(scanned(bare), (), Policy()).to_json()["headers"] is None


def test_every_placed_file_is_noted_by_a_scan(lock: Lock) -> None:
    assert artifacts.wanted(f"opt/cubins/{LOCK_NAME}")
    assert all(artifacts.wanted(f"opt/cubins/{entry.path}") for entry in locks.tree(lock))
    assert not artifacts.wanted("usr/lib/python3/dist-packages/flashinfer/jit.py")


def test_hard_links_to_headers_are_headers(lock: Lock, store: Store) -> None:
    entry = locks.tree(lock)[0]
    path, spare = f"{DIRECTORY}/{entry.path}", f"/opt/spare/{entry.path}"
    files = placed(lock, store)
    moved = {spare if name == path else name: content for name, content in files.items()}
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        link = tarfile.TarInfo(path.strip("/"))
        link.type, link.linkname = tarfile.LNKTYPE, spare.strip("/")
        tar.addfile(link)
    assert whats(seen(moved)) == ["is missing: a later layer removed it, or it never was there"]
    assert bundle.judge(scanned(layer(moved), raw.getvalue())).problems == ()


def _without_place(lock: Lock, store: Store) -> Members:
    return {path: data for path, data in placed(lock, store).items() if path != f"{DIRECTORY}/flashinfer"}


PLACE = f"{DIRECTORY}/flashinfer"


@pytest.mark.parametrize(
    ("user", "more", "modes", "says"),
    [
        ("1000", {}, {}, f"is missing, and user 1000 of the image may not make it in {DIRECTORY}"),
        ("", {}, {}, ""),
        ("1000", {PLACE: None}, {PLACE: 0o700}, "may not write to"),
        ("1000", {PLACE: None}, {PLACE: 0o755}, "may not write to"),
        ("1000", {PLACE: None}, {PLACE: 0o1777}, ""),
        ("1000:0", {PLACE: None}, {PLACE: 0o775}, ""),
        ("1000", {PLACE: None}, {PLACE: 0o702}, "may not write to"),  # writable and not to be entered
        ("", {PLACE: "flashinfer"}, {}, "circular link"),
        ("", {PLACE: "/data/fi"}, {}, "is a link to /data/fi, which is not in the image"),
        ("1000", {PLACE: "/data/fi", "/data/fi": None}, {"/data/fi": 0o777}, ""),
        ("1000", {PLACE: "/data/fi", "/data/fi": None}, {}, "may not write to /data/fi"),
        ("1000", {PLACE: "/data/fi", "/data": None, "/data/fi": None}, {"/data": 0o700, "/data/fi": 0o777},
         "may not enter /data"),
        ("", {PLACE: b"x"}, {}, "is a file"),
        ("1000", {PLACE: "/tmp"}, {}, ""),
        ("1000", {PLACE: "/tmp", "/tmp": None}, {"/tmp": 0o700}, "may not write to /tmp"),
        ("1000", {PLACE: "/tmp", "/tmp": None, "/tmp/trtllm/gemm": None}, {"/tmp": 0o1777}, "write to /tmp/trtllm"),
        ("1000", {PLACE: None, f"{PLACE}/trtllm/gemm/trtllmGen_gemm_export.lock": b""},
         {PLACE: 0o777}, "may not open trtllm/gemm/trtllmGen_gemm_export.lock for writing"),
        ("", {PLACE: "/tmp", "/tmp/trtllm": b""}, {}, "/tmp/trtllm is a file"),
    ],
)  # fmt: skip
def test_the_place_that_flashinfer_writes_into(
    lock: Lock, store: Store, user: str, more: Members, modes: Mapping[str, int], says: str
) -> None:
    image = layer({**_without_place(lock, store), **more}, modes=modes)
    found = bundle.judge(scanned(image, user=user))
    if says:
        assert any(says in problem.what for problem in found.problems), found.problems
    else:
        assert found.problems == ()


def test_a_later_layer_may_take_the_place_away_and_give_it_back(lock: Lock, store: Store) -> None:
    base = layer(placed(lock, store))
    gone = layer({f"{DIRECTORY}/.wh.flashinfer": b""})
    back = layer({PLACE: None}, modes={PLACE: 0o777})
    shut = layer({PLACE: None})
    for layers, good in (
        ((base,), True), ((base, gone), False), ((base, gone, back), True), ((base, gone, back, shut), False),
    ):  # fmt: skip
        assert (bundle.judge(scanned(*layers, user="1000")).problems == ()) is good, layers


def test_a_read_only_root_is_told_where_the_place_is_not_on_a_file_system_of_its_own(lock: Lock, store: Store) -> None:
    (told,) = bundle.judge(scanned(layer(_without_place(lock, store)))).warnings
    assert "a read-only root forbids" in told
    assert bundle.judge(scanned(layer(placed(lock, store)))).warnings == ()


def test_generations_that_write_nothing_need_no_place(tmp_path: Path, store: Store) -> None:
    for version in ("0.6.4", "0.6.6", "0.6.17"):
        other = samples.bundle(tmp_path, store, version=version)
        files = {path: data for path, data in placed(other, store).items() if path != PLACE}
        found = bundle.judge(scanned(layer(files), user="1000"))
        assert (found.problems, found.warnings) == ((), ()), version


SITE = "/usr/lib/python3/site-packages"


def _packages(**versions: str) -> Members:
    return {f"{SITE}/flashinfer_{name}-{version}.dist-info/METADATA": b"" for name, version in versions.items()}


@pytest.mark.parametrize(
    ("versions", "refused"),
    [
        ({"python": "0.6.13", "cubin": "0.6.13", "jit_cache": "0.6.13+cu130"}, ""),
        ({"python": "0.6.13", "cubin": "0.6.12"}, "flashinfer-cubin 0.6.12 beside flashinfer-python 0.6.13"),
        ({"python": "0.6.13", "jit_cache": "0.6.12+cu130"}, "flashinfer-jit-cache 0.6.12+cu130 beside"),
        ({"python": "0.6.13", "jit_cache": "0.6.13.post1+cu130"}, "flashinfer-jit-cache 0.6.13.post1+cu130 beside"),
    ],
)
def test_packages_that_flashinfer_refuses_beside_itself(
    lock: Lock, store: Store, versions: Mapping[str, str], refused: str
) -> None:
    found = seen(placed(lock, store), _packages(**versions))
    assert [refused in what for what in whats(found)] == ([True] if refused else [])
    freed = {**ENVIRONMENT, "FLASHINFER_DISABLE_VERSION_CHECK": "1"}
    assert seen(placed(lock, store), _packages(**versions), environment=freed).problems == ()


def test_a_workspace_that_the_user_may_not_write(lock: Lock, store: Store) -> None:
    environment = {**ENVIRONMENT, "FLASHINFER_WORKSPACE_BASE": "/work"}
    image = layer({**placed(lock, store), "/work": None})
    (problem,) = bundle.judge(scanned(image, environment=environment, user="1000")).problems
    assert problem.what.startswith("FLASHINFER_WORKSPACE_BASE")
    assert bundle.judge(scanned(image, environment=environment, user="0")).problems == ()


def test_the_package_that_carries_the_headers_is_judged_by_a_lock_that_is_given(lock: Lock, store: Store) -> None:
    root = f"{SITE}/flashinfer_cubin/cubins"
    described = {LOCK_NAME, "SHA256SUMS", "flashinfer.bundle.json"}
    files = {path: data for path, data in placed(lock, store, root).items() if path.rsplit("/", 1)[-1] not in described}
    package: Members = {f"{SITE}/flashinfer_cubin/__init__.py": b"", **_packages(python="0.6.13", cubin="0.6.13")}
    image = scanned(layer({**files, **package}), environment={})
    found = bundle.judge(image, given=lock)
    assert (found.problems, found.lock, found.directory) == ((), lock, root)
    assert "no FlashInfer bundle" in whats(bundle.judge(image))[0]
    header = next(path for path in files if path.endswith(".h"))
    gone = {path: data for path, data in files.items() if path != header}
    harmed = bundle.judge(scanned(layer({**gone, **package}), environment={}), given=lock)
    assert [problem.file for problem in harmed.problems] == [header]
    labelled = bundle.judge(
        scanned(layer({**files, **package}), environment={}, labels={FLASHINFER: locks.bundle_digest(lock)}), given=lock
    )
    assert "no FlashInfer bundle" in whats(labelled)[0]  # the build gave it one, and it is gone
