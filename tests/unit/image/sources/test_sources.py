from __future__ import annotations

import gzip
import hashlib
import io
import json
import sys
import tarfile
import zipfile
from typing import TYPE_CHECKING, Any

import pytest
import zstandard

from orchestrator.errors import UsageError, VerificationError
from orchestrator.image.layers import worker
from orchestrator.image.layers.checked import WrongDigestError
from orchestrator.image.layers.merge import LayerScan
from orchestrator.image.layers.scan import scan_layer
from orchestrator.image.layers.store import LayerStore
from orchestrator.image.sources import base, local, oci
from orchestrator.image.sources.base import BrokenImageError
from orchestrator.image.sources.detect import open_source
from orchestrator.image.sources.spool import spool
from tests.support import fatbins

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LAYER = fatbins.layer({"lib.so": fatbins.library([["90"]])})
CONFIG = {
    "os": "linux", "architecture": "arm64", "variant": "v8",
    "config": {"Labels": {"com.orchestrate.archs": "9.0"}, "Env": ["PATH=/bin", "A=b=c"]},
    "rootfs": {"diff_ids": [f"sha256:{hashlib.sha256(LAYER).hexdigest()}"]},
}  # fmt: skip


def blob(files: dict[str, bytes], data: bytes) -> dict[str, Any]:
    digest = hashlib.sha256(data).hexdigest()
    files[f"blobs/sha256/{digest}"] = data
    return {"digest": f"sha256:{digest}", "size": len(data), "mediaType": "x"}


def image(files: dict[str, bytes], config: dict[str, Any], *layers: bytes) -> dict[str, Any]:
    manifest = {
        "config": blob(files, json.dumps(config).encode()), "layers": [blob(files, layer) for layer in layers],
    }  # fmt: skip
    return blob(files, json.dumps(manifest).encode())


def layout(*, platforms: tuple[str, ...] = ("arm64",), nested: bool = False) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    entries = []
    for machine in platforms:
        variant = "v8" if machine == "arm64" else ""
        entry = image(files, {**CONFIG, "architecture": machine, "variant": variant}, gzip.compress(LAYER, mtime=0))
        entries.append({**entry, "platform": {"os": "linux", "architecture": machine}})
    notes = {"vnd.docker.reference.type": "attestation-manifest"}
    unknown = {"os": "unknown", "architecture": "unknown"}
    entries.append({**image(files, {}), "platform": unknown, "annotations": notes})
    index = {"manifests": entries}
    if nested:
        index = {"manifests": [blob(files, json.dumps(index).encode())]}
    files["index.json"] = json.dumps(index).encode()
    files["oci-layout"] = b"{}"
    return files


def archive(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as out:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            out.addfile(info, io.BytesIO(data))
    return path


def directory(path: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


@pytest.mark.parametrize("nested", [False, True])
def test_an_archive_and_a_directory_are_one_layout(tmp_path: Path, nested: bool) -> None:
    files = layout(nested=nested)
    packed = archive(tmp_path / "a.tar", files)
    for places in (oci.archive_files(packed), oci.directory_files(directory(tmp_path / "d", files))):
        found = oci.open_layout(places, "name")
        assert found.platform == "linux/arm64"
        assert found.labels == {"com.orchestrate.archs": "9.0"}
        assert found.environment == {"PATH": "/bin", "A": "b=c"}
        (layer,) = found.layers
        assert layer.path is not None
        with layer.path.open("rb") as stream:
            stream.seek(layer.offset)
            assert gzip.decompress(stream.read(layer.size)) == LAYER


def test_a_platform_is_chosen_or_asked_for(tmp_path: Path) -> None:
    places = oci.directory_files(directory(tmp_path, layout(platforms=("arm64", "amd64"))))
    assert oci.open_layout(places, "name", platform="linux/amd64").platform == "linux/amd64"
    assert oci.open_layout(places, "name", platform="linux/arm64/v8").platform == "linux/arm64"
    with pytest.raises(UsageError, match="several platforms") as caught:
        oci.open_layout(places, "name")
    assert "linux/arm64, linux/amd64" in caught.value.hint
    with pytest.raises(UsageError, match="holds no linux/s390x"):
        oci.open_layout(places, "name", platform="linux/s390x")


def test_what_older_engines_saved(tmp_path: Path) -> None:
    manifest = [{"Config": "abc.json", "Layers": ["1/layer.tar"]}]
    files = {
        "1/layer.tar": LAYER,
        "abc.json": json.dumps(CONFIG).encode(),
        "manifest.json": json.dumps(manifest).encode(),
    }
    found = oci.open_layout(oci.archive_files(archive(tmp_path / "a.tar", files)), "name")
    assert found.layers[0].digest == CONFIG["rootfs"]["diff_ids"][0]  # type: ignore[index]  # the test's own value
    assert found.layers[0].size == len(LAYER)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("index.json", b"{}"), ("index.json", b"[]"), ("index.json", b"{"), ("index.json", b'{"manifests": []}'),
        ("index.json", b'{"manifests": [{"digest": "../../etc/passwd"}]}'), ("index.json", b'{"manifests": [7]}'),
        ("manifest.json", b"[]"), ("manifest.json", b'[{"Config": "x", "Layers": []}]'), ("manifest.json", b"7"),
    ],
)  # fmt: skip
def test_damaged_manifests_are_one_error(tmp_path: Path, name: str, content: bytes) -> None:
    with pytest.raises(BrokenImageError):
        oci.open_layout(oci.directory_files(directory(tmp_path, {name: content})), "name")


def test_a_layer_that_is_missing(tmp_path: Path) -> None:
    files = layout()
    del files[f"blobs/sha256/{hashlib.sha256(gzip.compress(LAYER, mtime=0)).hexdigest()}"]
    with pytest.raises(BrokenImageError, match="is missing"):
        oci.open_layout(oci.directory_files(directory(tmp_path, files)), "name")


def test_a_streamed_archive_is_laid_down_without_what_is_known(tmp_path: Path) -> None:
    files = layout()
    (layer,) = [name for name, data in files.items() if data[:2] == b"\x1f\x8b"]
    data = archive(tmp_path / "a.tar", files).read_bytes()
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    places, written = spool(iter([data]), scratch, lambda _: False, "name")
    assert oci.open_layout(places, "name").layers[0].size == len(files[layer])
    assert written == sum(len(content) for content in files.values())
    again = tmp_path / "again"
    again.mkdir()
    places, less = spool(iter([data]), again, lambda digest: digest.endswith(layer[-64:]), "name")
    assert less == written - len(files[layer])
    assert oci.open_layout(places, "name").layers[0].size == len(files[layer])
    for length in (600, 3000):
        with pytest.raises(VerificationError, match="cut off"):
            spool(iter([data[:length]]), again, lambda _: False, "name")


def test_scans_are_kept_by_digest(tmp_path: Path) -> None:
    store = LayerStore(tmp_path / "s")
    digest = f"sha256:{'a' * 64}"
    scan = LayerScan(plain={"a", "b/c"}, links={"x": "y"})
    assert store.get(digest) is None
    store.put(digest, scan)
    assert store.get(digest) == scan
    assert not store.has(digest, deep=True)
    (file,) = (tmp_path / "s").iterdir()
    for damaged in ("{", "[]", '{"code": 7}'):
        file.write_text(damaged)
        assert store.get(digest) is None
    store.put("sha256:../../x", scan)
    store.put("", scan)
    assert len(list((tmp_path / "s").iterdir())) == 1
    LayerStore(None).put(digest, scan)
    assert LayerStore(None).get(digest) is None


def two(files: dict[str, bytes], *, tags: tuple[str, ...] = ("v1", "v2")) -> dict[str, bytes]:
    """A layout of two images of one platform, under tags."""
    entries = []
    for number, tag in enumerate(tags):
        config = {"os": "linux", "architecture": "amd64", "config": {"Labels": {"n": str(number)}}}
        entries.append({**image(files, config, b"layer %d" % number), "annotations": {base.REF_NAME: tag}})
    return files | {"index.json": json.dumps({"manifests": entries}).encode(), "oci-layout": b"{}"}


def test_nothing_is_chosen_where_several_images_would_do(tmp_path: Path) -> None:
    files = oci.directory_files(directory(tmp_path, two({})))
    for platform in ("", "linux/amd64"):
        with pytest.raises(UsageError, match="several images") as caught:
            oci.open_layout(files, "L", platform=platform)
        assert caught.value.hint == "choose one: L:v1, L:v2"
    digest = json.loads((tmp_path / "index.json").read_bytes())["manifests"][1]["digest"]
    for which in ("v2", digest, "@1"):
        assert oci.open_layout(files, "L", which=which).labels == {"n": "1"}
    with pytest.raises(UsageError, match="no image v3 was found"):
        oci.open_layout(files, "L", which="v3")


def test_an_image_is_called_by_what_no_other_is_called() -> None:
    def image(number: int, **notes: str) -> dict[str, Any]:
        return {"digest": f"sha256:{number}", "annotations": notes}

    tag, full = "org.opencontainers.image.ref.name", "io.containerd.image.name"
    twins = [image(1, **{tag: "v1"}), image(2, **{tag: "v1"}), image(3, **{tag: "v2"})]
    for which, said in (("", "several images"), ("v1", "several images called v1")):
        with pytest.raises(UsageError, match=f"^a holds {said}\n") as caught:
            base.choose(twins, "", "a", which)
        assert "a:sha256:1, a:sha256:2" in caught.value.hint
    assert base.choose(twins, "", "a", "v2")["digest"] == "sha256:3"
    named = [image(1, **{full: "docker.io/library/app:1"}), image(2, **{full: "docker.io/acme/app:1"})]
    assert base.choose(named, "", "a", "app:1")["digest"] == "sha256:1"
    assert base.choose(named, "", "a", "acme/app:1")["digest"] == "sha256:2"
    for which in ("app:2", "a b", "1"):
        with pytest.raises(UsageError, match="was found"):
            base.choose(named, "", "a", which)


def test_a_platform_that_the_configuration_does_not_have_is_refused(tmp_path: Path) -> None:
    files = oci.directory_files(directory(tmp_path, two({}, tags=("v1",))))
    assert oci.open_layout(files, "L", platform="linux/amd64").platform == "linux/amd64"
    with pytest.raises(UsageError, match="holds no linux/arm64"):
        oci.open_layout(files, "L", platform="linux/arm64")


@pytest.mark.parametrize(
    ("wanted", "found", "same"),
    [
        ("linux/arm64", "linux/arm64", True), ("linux/arm64/v8", "linux/arm64", True),
        ("linux/arm", "linux/arm/v7", True), ("linux/arm/v6", "linux/arm/v7", False),
        ("linux/amd64", "linux/arm64", False), ("linux/arm", "linux/arm64", False),
    ],
)  # fmt: skip
def test_which_platforms_are_the_same(wanted: str, found: str, same: bool) -> None:
    assert base.same_platform(wanted, found) is same


def test_a_manifest_or_configuration_with_other_bytes_is_refused(tmp_path: Path) -> None:
    files = two({}, tags=("v1",))
    for number, name in enumerate(name for name in files if name.startswith("blobs/")):
        if files[name].startswith(b"{"):
            lying = files | {name: files[name].replace(b"amd64", b"arm64") + b" "}
            with pytest.raises(WrongDigestError, match="does not match its digest"):
                oci.open_layout(oci.directory_files(directory(tmp_path / str(number), lying)), "L")


class Worker:
    """The program of a worker, in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def run(self, stdin: bytes, *arguments: str) -> list[Any]:
        """Its answers."""
        self._monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        worker.main(list(arguments))
        return [json.loads(line) for line in self._capsys.readouterr().out.splitlines()]

    @staticmethod
    def job(size: int, **more: Any) -> str:
        usual = {"path": "", "offset": 0, "inline": size, "deep": False, "digest": "", "content": False, "asked": []}
        return json.dumps({**usual, "size": size, **more})


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Worker:
    return Worker(monkeypatch, capsys)


@pytest.mark.parametrize("content", [False, True])
def test_a_layer_must_have_the_digest_that_names_it(tmp_path: Path, reader: Worker, content: bool) -> None:
    tar = fatbins.layer({"usr/lib/a.so": fatbins.library([["80"]])})
    stored = gzip.compress(tar) if content else tar
    (tmp_path / "layer").write_bytes(stored)
    digest = f"sha256:{hashlib.sha256(tar if content else stored).hexdigest()}"

    def read(expected: str) -> Any:
        job = reader.job(len(stored), path=str(tmp_path / "layer"), digest=expected, content=content)
        (answer,) = reader.run(job.encode())
        return answer

    assert "scan" in read(digest)
    assert "does not match its digest" in read(f"sha256:{'0' * 64}")["error"]
    assert "is invalid" in read("md5:0")["error"]


def test_several_layers_in_one_process(tmp_path: Path, reader: Worker) -> None:
    """A file, bytes that follow the job, and one that is damaged: each has its own answer."""
    tars = [fatbins.layer({f"usr/lib/{name}.so": fatbins.library([["80"]])}) for name in "abc"]
    (tmp_path / "both").write_bytes(tars[0] + tars[1])
    lines = [
        reader.job(len(tars[1]), path=str(tmp_path / "both"), offset=len(tars[0])).encode() + b"\n",
        reader.job(len(tars[2])).encode() + b"\n" + tars[2],
        reader.job(len(tars[2]) - 1).replace(f'"inline": {len(tars[2]) - 1}', f'"inline": {len(tars[2])}').encode()
        + b"\n" + tars[2],
        reader.job(3, path=str(tmp_path / "missing")).encode() + b"\n",
    ]  # fmt: skip
    found = reader.run(b"".join(lines))
    assert [list(one["scan"]["code"]) for one in found[:2]] == [["usr/lib/b.so"], ["usr/lib/c.so"]]
    assert [one["error"].partition(":")[0] for one in found[2:]] == [
        "the layer is longer than its declared size", "[Errno 2] No such file or directory",
    ]  # fmt: skip


def test_a_layer_that_passes_is_asked_for_again(tmp_path: Path, reader: Worker) -> None:
    """Section names far from their table: from a file at once, from a stream by the answer."""
    data = fatbins.library([["80"], ["90"]])
    table = int.from_bytes(data[40:48], "little")
    gap = 5 << 20
    far = data[:40] + (table + gap).to_bytes(8, "little") + data[48:table] + bytes(gap) + data[table:]
    tar = fatbins.layer({"usr/lib/far.so": far})
    (tmp_path / "layer").write_bytes(tar)
    expected = {"90": 1, "80": 1}
    for stdin in (
        reader.job(len(tar), path=str(tmp_path / "layer")).encode(),
        reader.job(len(tar)).encode() + b"\n" + tar,
    ):
        (answer,) = reader.run(stdin)
        assert answer["scan"]["code"]["usr/lib/far.so"]["images"] == expected
    (answer,) = reader.run(tar, reader.job(len(tar)))
    (again,) = reader.run(tar, reader.job(len(tar), asked=answer["again"]))
    assert again["scan"]["code"]["usr/lib/far.so"]["images"] == expected


def test_one_image_of_an_archive_of_several(tmp_path: Path) -> None:
    config = json.dumps({"os": "linux", "architecture": "amd64", "rootfs": {"diff_ids": []}, "config": {}}).encode()
    entry = {"Config": f"{hashlib.sha256(config).hexdigest()}.json", "Layers": []}
    both = [{**entry, "RepoTags": [f"app:{number}"]} for number in (1, 2)]
    files = {"manifest.json": json.dumps(both).encode(), entry["Config"]: config}
    places = oci.directory_files(directory(tmp_path, files))  # type: ignore[arg-type]  # both are text
    with pytest.raises(UsageError, match="holds 2 images") as caught:
        oci.open_layout(places, "A.tar")
    assert caught.value.hint == "choose one: A.tar:app:1, A.tar:app:2"
    for which in ("app:2", "2", "@1"):
        assert oci.open_layout(places, "A.tar", which=which).platform == "linux/amd64"


def test_an_artifact_is_no_image(tmp_path: Path) -> None:
    files: dict[str, bytes] = {}
    empty = {**blob(files, b"{}"), "mediaType": "application/vnd.oci.empty.v1+json"}
    manifest = {"artifactType": "application/vnd.x", "config": empty, "layers": [blob(files, b"data")]}
    files["index.json"] = json.dumps({"manifests": [blob(files, json.dumps(manifest).encode())]}).encode()
    for name, data in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    with pytest.raises(UsageError, match=r"l is an artifact and not an image: its manifest says application/vnd\.x"):
        oci.open_layout(oci.directory_files(tmp_path), "l")


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.ZstdCompressor().compress])
@pytest.mark.parametrize(
    ("kept", "error", "says"),
    [
        (b"hello\n", UsageError, "x.packed is not an image, wheel, shared object or directory"),
        (bytes(300), UsageError, "x.packed is not an image, wheel, shared object or directory"),
        (None, VerificationError, "cut off"),
    ],
)
def test_what_a_packed_file_is_not(
    tmp_path: Path, kept: bytes | None, error: type[Exception], says: str, pack: Callable[[bytes], bytes]
) -> None:
    if kept is None:  # the packing is whole, and the archive in it ends within its first member
        raw = io.BytesIO()
        with tarfile.open(fileobj=raw, mode="w") as tar:
            info = tarfile.TarInfo("usr/lib/a.so")
            info.size = 100_000
            tar.addfile(info, io.BytesIO(bytes(info.size)))
        kept = raw.getvalue()[:60_000]
    path = tmp_path / "x.packed"
    path.write_bytes(pack(kept))

    def read() -> None:
        with open_source(str(path), LayerStore(tmp_path / "kept")) as contents, path.open("rb") as stream:
            scan_layer(stream, contents.layers[0].size)

    with pytest.raises(error, match=says):
        read()


def wheel_bytes(method: int, name: str = "acme/a.so") -> bytearray:
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w", method) as archive:
        archive.writestr(name, fatbins.library([["90"]]) * 4)
    return bytearray(raw.getvalue())


def flip_payload(data: bytearray) -> None:
    start = 30 + len("acme/a.so")
    data[start : start + 64] = bytes(b ^ 0xFF for b in data[start : start + 64])


def nameless(data: bytearray) -> None:
    """The directory's entry with a name of no letters, and a comment in its place."""
    at = data.rindex(b"PK\x01\x02")
    data[at + 28 : at + 30], data[at + 32 : at + 34] = b"\0\0", len("acme/a.so").to_bytes(2, "little")


def before_the_start(data: bytearray) -> None:
    at = data.rindex(b"PK\x05\x06")
    data[at + 16 : at + 20] = (len(data) + 5000).to_bytes(4, "little")


@pytest.mark.parametrize("harm", [flip_payload, nameless, before_the_start])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_damaged_wheel_is_one_error(tmp_path: Path, method: int, harm: Callable[[bytearray], None]) -> None:
    data = wheel_bytes(method)
    harm(data)
    path = tmp_path / "a.whl"
    path.write_bytes(data)
    with pytest.raises(VerificationError, match=r"a\.whl: the zip file is damaged"):
        local.open_wheel(path)
