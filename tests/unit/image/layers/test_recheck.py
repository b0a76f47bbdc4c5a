"""A kept scan says nothing of a file whose bytes are not those that were scanned."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from orchestrator.errors import VerificationError
from orchestrator.image.layers import recheck
from orchestrator.image.layers.parallel import Layer, scan_layers
from orchestrator.image.layers.scan import scan_layer
from orchestrator.image.layers.store import LayerStore
from orchestrator.image.sources.spool import spool
from tests.support import fatbins

if TYPE_CHECKING:
    from pathlib import Path

TAR = fatbins.layer({"usr/lib/a.so": fatbins.library([["80", "90"]])})
OTHER = fatbins.layer({"usr/lib/a.so": fatbins.library([["80", "75"]])})


def sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def kept(folder: Path, digest: str) -> LayerStore:
    store = LayerStore(folder / "store")
    store.put(digest, scan_layer(io.BytesIO(TAR), len(TAR)))
    return store


@pytest.mark.parametrize("content", [False, True])
def test_a_layer_that_is_known_must_still_have_its_digest(tmp_path: Path, content: bool) -> None:
    right, wrong = (gzip.compress(one) if content else one for one in (TAR, OTHER))
    digest = sha256(TAR)
    store = kept(tmp_path, digest)
    path = tmp_path / "layer"
    path.write_bytes(b"before" + right)
    layer = Layer(digest=digest, size=len(right), content=content, path=path, offset=6)
    (found,) = scan_layers([layer], store)
    assert found == store.get(digest)
    path.write_bytes(b"before" + wrong)
    lying = Layer(digest=digest, size=len(wrong), content=content, path=path, offset=6)
    for _ in range(2):
        with pytest.raises(VerificationError, match="does not match its digest"):
            scan_layers([lying], store)


def test_a_file_that_was_checked_is_not_hashed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = sha256(TAR)
    store = kept(tmp_path, digest)
    path = tmp_path / "layer"
    path.write_bytes(TAR)
    hashed: list[recheck.Stored] = []
    require = recheck.require

    def counted(layer: recheck.Stored) -> None:
        hashed.append(layer)
        require(layer)

    monkeypatch.setattr(recheck, "require", counted)
    layer = Layer(digest=digest, size=len(TAR), path=path)
    for _ in range(3):
        scan_layers([layer], store)
    assert len(hashed) == 1
    os.utime(path, ns=(1, 1))
    scan_layers([layer], store)
    path.rename(tmp_path / "moved")
    path.write_bytes(TAR)
    scan_layers([layer], store)
    assert len(hashed) == 3
    for _ in range(2):
        scan_layers([replace(layer, path=tmp_path / "moved", temporary=True)], store)
    assert len(hashed) == 5


@pytest.mark.parametrize("text", ["", "{", "{}", "7", '[1, null, "x"]'])
def test_damaged_notes_are_no_notes(tmp_path: Path, text: str) -> None:
    digest = sha256(TAR)
    store = kept(tmp_path, digest)
    store.put_checked(digest, "place")
    (notes,) = (tmp_path / "store").glob("*.places.json")
    notes.write_text(text)
    assert not store.is_checked(digest, "place")
    store.put_checked(digest, "place")
    assert store.is_checked(digest, "place")
    for number in range(40):
        store.put_checked(digest, str(number))
    assert not store.is_checked(digest, "place")
    assert store.is_checked(digest, "39")
    assert not store.is_checked("", "39")


def test_a_layer_that_is_hopped_over_has_no_place() -> None:
    assert recheck.place_of(Layer(digest="sha256:x", size=5)) == ""


@pytest.mark.parametrize("trusted", [False, True])
def test_a_compressed_archive_is_hashed_where_its_layers_are_known(tmp_path: Path, *, trusted: bool) -> None:
    for number, (data, right) in enumerate(((TAR, True), (OTHER, False))):
        archive = fatbins.layer({f"blobs/sha256/{sha256(TAR)[7:]}": data})
        folder = tmp_path / str(number)
        folder.mkdir()
        if right or trusted:
            assert spool(iter([archive]), folder, lambda _: True, "name", trusted=trusted)[1] == 0
            continue
        with pytest.raises(VerificationError, match=r"name: layer sha256:.* does not match its digest"):
            spool(iter([archive]), folder, lambda _: True, "name")
