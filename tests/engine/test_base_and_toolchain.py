"""scripts/base and scripts/toolchain: what the example and these tests stand on."""

from __future__ import annotations

import gzip
import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.engine import ROOT, call
from tests.support.toolchain import FULL, base, toolkit

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.download

SCRIPTS = ROOT / "scripts"


def blob(layout: Path, digest: str) -> bytes:
    data = (layout / "blobs/sha256" / digest.removeprefix("sha256:")).read_bytes()
    assert f"sha256:{hashlib.sha256(data).hexdigest()}" == digest
    return data


def test_the_base_is_an_oci_layout_whose_digests_are_right(tmp_path: Path) -> None:
    layout = base(tmp_path / "base")
    assert json.loads((layout / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    (entry,) = json.loads((layout / "index.json").read_text())["manifests"]
    manifest: dict[str, Any] = json.loads(blob(layout, entry["digest"]))
    assert entry["size"] == len(blob(layout, entry["digest"]))
    config = json.loads(blob(layout, manifest["config"]["digest"]))
    (layer,) = manifest["layers"]
    data = blob(layout, layer["digest"])
    assert layer["size"] == len(data)
    with gzip.open(layout / "blobs/sha256" / layer["digest"].removeprefix("sha256:")) as stream:
        assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}"]
    # the same root file system as a plain archive
    archive = base(tmp_path / "base.tar")
    with archive.open("rb") as tar:
        assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.file_digest(tar, 'sha256').hexdigest()}"]


@pytest.mark.parametrize("release", list(FULL))
def test_a_toolkit_is_the_release_asked_for_and_its_second_call_changes_nothing(release: str, tmp_path: Path) -> None:
    directory = toolkit(release, tmp_path / "toolkit")
    assert f"release {release}," in call(directory / "bin/nvcc", "--version").stdout
    before = {path: path.stat().st_ino for path in directory.rglob("*")}
    again = call(SCRIPTS / "toolchain", release, directory)
    assert "there already" in again.stderr
    assert {path: path.stat().st_ino for path in directory.rglob("*")} == before
    assert not [path for path in tmp_path.iterdir() if path != directory]


def test_what_somebody_else_put_there_is_left_alone(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "thesis.txt").write_text("years of work")
    for words in (("base", str(theirs)), ("toolchain", "13.0", str(theirs))):
        done = call(SCRIPTS / words[0], *words[1:], check=False)
        assert done.returncode == 2
        assert f"{theirs} is there and is no" in done.stderr
    assert (theirs / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("toolchain", "11.0", "x"), "11.0: known are 12.4 and 13.0"),
        (("toolchain", "13.0"), "DEST is missing"),
        (("toolchain", "13.0", "x", "--platform", "linux/s390x"), "unknown platform linux/s390x"),
        (("base",), "DEST is missing"),
        (("base", "x", "--platform", "linux/s390x"), "unknown platform linux/s390x"),
        (("base", "x", "--fast"), "unknown option --fast"),
        (("base", "x", "--include", "a b"), "--include needs names of Debian packages"),
    ],
)
def test_wrong_arguments_are_named(words: tuple[str, ...], said: str, tmp_path: Path) -> None:
    done = call(SCRIPTS / words[0], *words[1:], check=False)
    assert done.returncode == 2
    assert said in done.stderr


def test_no_script_names_the_host_of_a_registry() -> None:
    for path in (*SCRIPTS.rglob("*"), *(ROOT / "docker").iterdir(), ROOT / "matrix.yaml"):
        if path.is_file() and path.suffix != ".pyc":
            text = path.read_text()
            assert not [name for name in ("py" + "pi.org", "python" + "hosted", "debian" + ".org") if name in text], (
                path
            )
