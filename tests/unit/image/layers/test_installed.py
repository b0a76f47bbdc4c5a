"""What a RECORD says, and what the RECORD files of the layers of an image say together."""

from __future__ import annotations

import io
import json

import pytest

from orchestrator.image.layers import scan
from orchestrator.image.layers.installed import distribution, is_record
from orchestrator.image.layers.merge import LayerScan, merge
from orchestrator.image.layers.scan import scan_layer
from orchestrator.image.verdict.policy import default_required
from tests.support import fatbins

RECORD = "site/Acme_Kernels-1.0.dist-info/RECORD"


@pytest.mark.parametrize(
    ("path", "is_one"),
    [
        (RECORD, True), ("a-1.dist-info/RECORD", True), ("a-1.dist-info/RECORD.jws", False), ("a/RECORD", False),
        ("x/a-1.dist-info/METADATA", False), ("a-1.egg-info/RECORD", False),
    ],
)  # fmt: skip
def test_what_is_a_record(path: str, is_one: bool) -> None:
    assert is_record(path, 10) is is_one
    assert not is_record(path, 1 << 40)


def test_a_record_is_a_table_with_commas() -> None:
    text = b'acme/a.so,sha256=x,3\r\n"acme/b,c.so.1",,\nacme/x.py,,\n\nother.py,,\nacme-1.dist-info/RECORD,,\n'
    found = distribution(RECORD, text)
    assert (found.name, found.version, str(found)) == ("acme-kernels", "1.0", "acme-kernels 1.0")
    assert found.files == ("acme/a.so", "acme/b,c.so.1")
    assert found.folders == ("acme", "acme-1.dist-info")


@pytest.mark.parametrize(
    "text", [b"", b"\0", b"\xff\xfe,,\n", b'"' * 9, b'"' + b"x" * 200_000 + b'",,\n', b"a/b\0.so,,\n"]
)
def test_a_broken_record_says_nothing_wrong(text: bytes) -> None:
    assert [one for one in distribution(RECORD, text).files if "\0" in one] == []


def scanned(*members: tuple[str, bytes | str]) -> LayerScan:
    data = fatbins.layer(dict(members))
    found = scan_layer(io.BytesIO(data), len(data))
    assert LayerScan.from_json(json.loads(json.dumps(found.to_json()))) == found
    return found


def test_the_records_of_a_layer_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "MAX_RECORD", 20)
    text = "a/x.so,,\n" * 2
    found = scanned(("s/a-1.dist-info/RECORD", text), ("s/b-1.dist-info/RECORD", text))
    assert list(found.records) == ["s/a-1.dist-info/RECORD"]
    assert found.records["s/a-1.dist-info/RECORD"].files == ("a/x.so",)


@pytest.mark.parametrize("order", [1, -1])
def test_a_file_that_two_list_is_others_only_if_both_are(order: int) -> None:
    """What an own package put over a file of PyTorch's is judged, whichever RECORD lies where."""
    library = fatbins.library([["80"]])
    paths = ["site-packages/torch/lib/a.so", "site-packages/torch/lib/b.so"]
    records = [
        ("site-packages/torch-2.dist-info/RECORD", "torch/lib/a.so,,\ntorch/lib/b.so,,\n"),
        ("site-packages/acme-1.dist-info/RECORD", "torch/lib/a.so,,\n"),
    ]
    found = merge([scanned(*records[::order], *((path, library) for path in paths))]).installed
    assert default_required(paths, found) == ("site-packages/torch/lib/a.so",)


def test_an_upgrade_in_a_higher_layer_takes_the_old_record_away() -> None:
    lower = scanned(("site/a-1.dist-info/RECORD", "a/old.so,,\n"), ("site/a/old.so", fatbins.library([["80"]])))
    upper = scanned(
        ("site/.wh.a-1.dist-info", b""), ("site/a-2.dist-info/RECORD", "a/new.so,,\n"),
        ("site/a/new.so", fatbins.library([["80"]])),
    )  # fmt: skip
    before, after = merge([lower]).installed, merge([lower, upper]).installed
    assert str(before.owner("site/a/old.so")) == "a 1"
    assert after.owner("site/a/old.so") is None
    assert str(after.owner("site/a/new.so")) == "a 2"
    assert after.recorded("site/a/old.so")
    assert not after.recorded("site/b/x.so")
    assert not after.recorded("opt/a/x.so")
