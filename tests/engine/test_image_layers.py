"""What our merge of layers leaves, beside what a container of the same layers really sees; and one image in every form
in which an image can be had."""

from __future__ import annotations

import gzip
import json
import subprocess
import tarfile
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator import process
from orchestrator.cuda.arch import parse_list
from orchestrator.errors import VerificationError
from orchestrator.image.layers.store import LayerStore
from orchestrator.image.sources import engine
from orchestrator.image.verdict.policy import Policy
from orchestrator.image.verdict.scanned import scan_source
from orchestrator.image.verdict.verify import verdict
from tests.support import fatbins
from tests.support.engine import call, remove_images
from tests.support.layouts import Layout

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from orchestrator.image.verdict.scanned import Scanned

NOTHING = LayerStore(None)
A, B = fatbins.library([["80", "90"], ["80", "p80"]]), fatbins.library([["110"]])

# Everything that one layer can do to those below it.
LAYERS = [
    fatbins.layer({
        "usr": None, "usr/lib": None, "usr/lib/real.so.2": A, "usr/lib/real.so": ("link", "real.so.2"),
        "lib": ("link", "usr/lib"), "opt": None, "opt/over.so": A, "opt/text.so": A, "opt/gone.so": A,
        "opt/tree": None, "opt/tree/x.so": A, "opt/tree/deep": None, "opt/tree/deep/y.so": A,
        "opt/clean": None, "opt/clean/old.so": A, "opt/filed": None, "opt/filed/x.so": A,
        "opt/linked": None, "opt/linked/x.so": A, "opt/kept.so": A, "opt/twin.so": ("hard", "opt/kept.so"),
        "opt/abs.so": ("link", "/lib/real.so"), "opt/up.so": ("link", "../../../usr/lib/real.so.2"),
        "opt/loop.so": ("link", "loop.so"), "opt/base.so": A, "opt/todir.so": A, "opt/tolib": "text",
    }),
    fatbins.layer({
        "opt": None, "opt/over.so": B, "opt/text.so": "no code", "opt/.wh.gone.so": b"", "opt/.wh.tree": b"",
        "opt/clean": None, "opt/clean/.wh..wh..opq": b"", "opt/clean/new.so": B, "opt/.wh.filed": b"",
        "opt/.wh.linked": b"", "opt/linked": ("link", "clean"), "opt/.wh.kept.so": b"", "opt/.wh.missing": b"",
        "opt/pair.so": B, "opt/hard.so": ("hard", "opt/pair.so"), "opt/.wh.todir.so": b"", "opt/todir.so": None,
        "opt/todir.so/z.so": A, "opt/.wh.tolib": b"", "opt/tolib": B,
    }),
    fatbins.layer({
        "opt": None, "opt/tree": None, "opt/tree/fresh.so": B, "opt/filed": "a file now", "opt/.wh.base.so": b"",
        "opt/late.so": ("link", "tree/fresh.so"),
    }),
]  # fmt: skip


def facts(scanned: Scanned) -> dict[str, Any]:
    """What a report says of the files, without what depends on how the image was had."""
    value = verdict(scanned, parse_list("9.0 11.0"), Policy()).to_json()
    return {name: value[name] for name in ("ok", "problems", "libraries", "bytes", "cubins", "compilers")}


@pytest.fixture
def loaded(tmp_path: Path) -> Iterator[str]:
    """The made-up layers as an image of the engine."""
    name = f"t-{uuid.uuid4().hex[:12]}:1"
    said = call("docker", "load", "-i", Layout(LAYERS, name=f"docker.io/library/{name}").archive(tmp_path / "load.tar"))
    assert name.partition(":")[0] in said.stdout
    yield name
    remove_images(name.partition(":")[0])


@pytest.fixture
def exported(loaded: str, tmp_path: Path) -> Iterator[Path]:
    """The file system that a container of the image sees, as a tar archive."""
    container = call("docker", "create", loaded, "/none").stdout.strip()
    path = tmp_path / "export.tar"
    try:
        with path.open("wb") as out:
            subprocess.run(["docker", "export", container], stdout=out, check=True, stdin=subprocess.DEVNULL)
        yield path
    finally:
        call("docker", "rm", "-f", container)


def test_the_report_is_what_the_runtime_sees(loaded: str, exported: Path, tmp_path: Path) -> None:
    with tarfile.open(exported) as archive:
        seen = {
            member.name: {A: "A", B: "B"}[content]
            for member in archive
            if (stream := archive.extractfile(member) if member.isfile() or member.islnk() else None)
            and (content := stream.read()) in (A, B)
        }
    assert {"opt/hard.so", "opt/twin.so", "opt/clean/new.so", "opt/todir.so/z.so", "opt/tolib"} <= set(seen)
    assert not {"opt/gone.so", "opt/tree/x.so", "opt/clean/old.so", "opt/base.so", "opt/linked/x.so"} & set(seen)

    ours = scan_source(f"docker-daemon:{loaded}", store=NOTHING)
    tags = {"80 90 p80": "A", "110": "B"}
    assert {path: tags[" ".join(sorted(code.images))] for path, code in ours.files.code.items()} == seen

    root = tmp_path / "root"
    root.mkdir()
    call("tar", "-xf", exported, "-C", root)
    assert {alias: resolved(root, alias) for alias in ours.files.aliases} == dict(ours.files.aliases)
    assert {"opt/abs.so", "opt/up.so", "lib/real.so", "opt/late.so", "opt/linked/new.so"} <= set(ours.files.aliases)
    assert "opt/loop.so" not in ours.files.aliases
    assert facts(scan_source(str(root))) == facts(ours)
    assert facts(scan_source(str(exported), store=NOTHING)) == facts(ours)


def resolved(root: Path, path: str) -> str:
    """Where the kernel itself says that a path leads, for a process with this root."""
    code = "import os, sys; os.chroot(sys.argv[1]); os.chdir('/'); print(os.path.realpath('/' + sys.argv[2])[1:])"
    return call("python3", "-c", code, root, path).stdout.strip()


def test_one_image_in_every_form(loaded: str, registry: object, tmp_image: str, tmp_path: Path) -> None:
    forms: dict[str, str] = {"engine": f"docker-daemon:{loaded}"}
    call("docker", "save", "-o", tmp_path / "save.tar", loaded)
    forms["docker save"] = str(tmp_path / "save.tar")
    (tmp_path / "save.tar.gz").write_bytes(gzip.compress((tmp_path / "save.tar").read_bytes(), 1))
    forms["docker save | gzip"] = str(tmp_path / "save.tar.gz")
    for packing in ("gzip", "zstd", ""):
        layout = Layout(LAYERS, packing=packing)
        forms[f"archive {packing}"] = str(layout.archive(tmp_path / f"{packing}.tar"))
        forms[f"directory {packing}"] = str(layout.directory(tmp_path / f"d{packing}"))
    (tmp_path / "Dockerfile").write_text(f"FROM {loaded}\n")
    for packing in ("gzip", "zstd", "uncompressed"):
        out = tmp_path / f"bx-{packing}.tar"
        words = f"type=oci,dest={out},compression={packing},force-compression=true"
        call("docker", "buildx", "build", "--output", words, "--provenance=mode=min", tmp_path)
        forms[f"buildx {packing}"] = str(out)
    call("docker", "tag", loaded, f"{tmp_image}:1")
    call("docker", "push", "-q", f"{tmp_image}:1")
    forms["registry"] = f"docker://{tmp_image}:1"

    found = {name: facts(scan_source(source, store=NOTHING, workers=2)) for name, source in forms.items()}
    expected = found["engine"]
    assert expected["libraries"]
    assert {name for name, value in found.items() if value != expected} == set()


def test_a_second_image_that_shares_layers_reads_only_its_own(tmp_path: Path) -> None:
    store = LayerStore(tmp_path / "store")
    first = Layout(LAYERS[:2]).archive(tmp_path / "1.tar")
    second = Layout(LAYERS).archive(tmp_path / "2.tar")
    cached: list[bool] = []

    def tell(step: Any) -> None:
        if step.done:
            cached.append(step.cached)

    scan_source(str(first), store=store, progress=tell)
    assert cached == [False, False]
    cached.clear()
    found = scan_source(str(second), store=store, progress=tell)
    assert sorted(cached) == [False, True, True]
    assert facts(found) == facts(scan_source(str(second), store=NOTHING))


def test_the_engine_is_asked_only_for_layers_that_are_new(loaded: str, tmp_path: Path) -> None:
    store = LayerStore(tmp_path / "store")
    first = scan_source(f"docker-daemon:{loaded}", store=store)
    for path in (tmp_path / "store").iterdir():  # what is kept is believed, not read again
        value = json.loads(path.read_text())
        value["code"] = {}
        path.write_text(json.dumps(value))
    assert first.files.code
    assert scan_source(f"docker-daemon:{loaded}", store=store).files.code == {}


def test_an_image_that_is_known_is_not_saved_again(
    loaded: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LayerStore(tmp_path / "store")
    first = scan_source(loaded, store=store)
    saved: list[str] = []
    save = engine._saved

    def watched(reference: str, *words: Any, **more: Any) -> Any:
        saved.append(reference)
        return save(reference, *words, **more)

    monkeypatch.setattr(engine, "_saved", watched)
    assert scan_source(loaded, store=store) == first
    assert saved == []
    for path in (tmp_path / "store").glob("sha256-*"):
        path.unlink()
        assert scan_source(loaded, store=store) == first, "one layer is read again"
        assert saved.pop() == loaded
    for path in (tmp_path / "store").glob("image-*"):
        path.write_text('{"layers": 3}')
    assert scan_source(loaded, store=store) == first
    assert saved == [loaded]
    assert scan_source(loaded, store=NOTHING) == first
    assert saved == [loaded, loaded]


def test_many_small_layers_share_a_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image of 1,501 layers took 271 s when each had a process of its own."""
    layers = [fatbins.layer({f"opt/{number}.so": A if number % 2 else B}) for number in range(300)]
    path = Layout(layers, packing="gzip").archive(tmp_path / "many.tar")
    started: list[Any] = []
    spawn = process.spawn

    def watched(argv: Any, **more: Any) -> Any:
        started.append(argv)
        return spawn(argv, **more)

    monkeypatch.setattr(process, "spawn", watched)
    found = scan_source(str(path), store=NOTHING, workers=2)
    assert len(started) == 2
    assert {path: sorted(code.images) for path, code in found.files.code.items()} == {
        f"opt/{number}.so": ["80", "90", "p80"] if number % 2 else ["110"] for number in range(300)
    }


def test_one_damaged_layer_of_many_is_named(tmp_path: Path) -> None:
    layers = [fatbins.layer({f"opt/{number}.so": A}) for number in range(40)]
    layers[17] = layers[17][:600]
    path = Layout(layers).archive(tmp_path / "many.tar")
    with pytest.raises(VerificationError, match=r"layer sha256:[0-9a-f]{12}: the layer is cut off"):
        scan_source(str(path), store=NOTHING, workers=2)


def test_many_small_layers_from_a_registry(registry: object, tmp_image: str, tmp_path: Path) -> None:
    layers = [fatbins.layer({f"opt/{number}.so": A}) for number in range(40)]
    Layout(layers, packing="gzip", name=f"{tmp_image}:1").archive(tmp_path / "many.tar")
    call("docker", "load", "-i", tmp_path / "many.tar")
    call("docker", "push", "-q", f"{tmp_image}:1")
    found = scan_source(f"docker://{tmp_image}:1", store=NOTHING, workers=2)
    assert len(found.files.code) == 40
