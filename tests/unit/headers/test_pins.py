"""Pins are read from text alone."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import UsageError
from orchestrator.headers import pins
from tests.support.generated import examples
from tests.unit.headers import samples

if TYPE_CHECKING:
    from pathlib import Path


def test_a_wheel_gives_version_commit_digest_and_every_kind_of_pin(tmp_path: Path) -> None:
    path = samples.wheel(tmp_path / "flashinfer_python-0.6.13-py3-none-any.whl")
    found = pins.read(path)
    assert (found.version, found.commit) == ("0.6.13", "9" * 40)
    assert found.wheel_sha256 == samples.sha(path.read_bytes())
    assert [pin.attr for pin in found.pins] == ["DEEPGEMM", "TRTLLM_GEN_BMM", "TRTLLM_GEN_FMHA", "TRTLLM_GEN_GEMM"]
    assert {pin.attr: pin.path for pin in found.pins}["TRTLLM_GEN_BMM"] == samples.BMM
    assert found.pins[1].written == f"{samples.BMM}/"
    assert [(pin.attr, pin.path) for pin in found.dsl] == [("DSL_FMHA/x86_64/sm_100a", f"{samples.DSL}/x86_64/sm_100a")]
    assert [(item.attr, item.path) for item in found.loose] == [("DEEPGEMM", f"{samples.DEEP}/kernel_map.json")]
    assert found.bare == (("SOMETHING_NEW", "e" * 40 + "/new"),)


@pytest.mark.parametrize("inside", ["", "flashinfer"])
def test_an_installed_package_or_its_parent_gives_the_same(tmp_path: Path, inside: str) -> None:
    root = samples.tree(tmp_path / "site-packages")
    found = pins.read(root / inside)
    assert found.version == "0.6.13"
    assert found.wheel_sha256 == ""
    assert len(found.pins) == 4


def test_a_checkout_says_its_version_in_version_txt(tmp_path: Path) -> None:
    files = {name: text for name, text in samples.source().items() if "dist-info" not in name and "meta" not in name}
    assert pins.read(samples.tree(tmp_path, {**files, "version.txt": "0.6.14rc1\n"})).version == "0.6.14rc1"


def test_pins_before_0_6_5_have_no_slash_and_mean_the_same(tmp_path: Path) -> None:
    old = pins.read(samples.wheel(tmp_path / "old.whl", samples.source(slash="")))
    new = pins.read(samples.wheel(tmp_path / "new.whl"))
    assert [pin.path for pin in old.pins] == [pin.path for pin in new.pins]
    assert {pin.written[-1] for pin in new.pins} == {"/"}


def test_names_that_nobody_knew_are_read_too(tmp_path: Path) -> None:
    files = samples.source()
    text = files["flashinfer/artifacts.py"]
    text = text.replace("class CheckSumHash:", f'class CheckSumHash:\n    SOMETHING_NEW = "{"2" * 64}"')
    found = pins.read(samples.wheel(tmp_path / "x.whl", {**files, "flashinfer/artifacts.py": text}))
    assert "SOMETHING_NEW" in [pin.attr for pin in found.pins]
    assert found.bare == ()


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("class ArtifactPath", "class Elsewhere", "no class ArtifactPath"),
        (samples.BMM + "/", "/etc/passwd/../x", "plain relative path"),
        (samples.BMM + "/", "", "plain relative path"),
        (samples.BMM + "/", "a;b c/", "plain relative path"),
        ('"' + "1" * 64, '"' + "1" * 63, "64 hex digits"),
        ("@dataclass", "@@", "is not Python"),
    ],
)
def test_what_is_not_as_it_has_been_is_an_error(tmp_path: Path, old: str, new: str, says: str) -> None:
    files = samples.source()
    broken = files["flashinfer/artifacts.py"].replace(old, new, 1)
    with pytest.raises(UsageError, match=says):
        pins.read(samples.wheel(tmp_path / "x.whl", {**files, "flashinfer/artifacts.py": broken}))


@pytest.mark.parametrize("what", ["missing", "no zip", "another wheel", "empty directory", "huge"])
def test_what_is_no_flashinfer_is_an_error(tmp_path: Path, what: str) -> None:
    path = tmp_path / "x.whl"
    if what == "no zip":
        path.write_bytes(b"PK\x03\x04 and then nothing")
    elif what == "another wheel":
        samples.wheel(path, {"flashinfer_cubin/__init__.py": ""})
    elif what == "empty directory":
        path.mkdir()
    elif what == "huge":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("flashinfer/artifacts.py", b"#" * (pins._MAX_SOURCE_BYTES + 1))
    with pytest.raises(UsageError):
        pins.read(path)


@examples(30)
@given(st.text(max_size=100))
def test_no_text_makes_a_traceback(text: str) -> None:
    def files(name: str) -> str | None:
        return text if name == "flashinfer/artifacts.py" else None

    with pytest.raises(UsageError, match=r"x: flashinfer/artifacts\.py"):
        pins._parse("x", files, version="", wheel_sha256="")


def _changed(tmp_path: Path, *pairs: tuple[str, str]) -> Path:
    files = samples.source()
    for old, new in pairs:
        assert old in files["flashinfer/artifacts.py"]
        files["flashinfer/artifacts.py"] = files["flashinfer/artifacts.py"].replace(old, new)
    return samples.tree(tmp_path, files)


_GEMM = f'TRTLLM_GEN_GEMM = "{samples.GEMM}/"'


@pytest.mark.parametrize(
    ("before", "value"),
    [
        (f'_P = "{samples.GEMM}/"', "_P"),
        (f'_P: str = "{samples.GEMM}"', '_P + "/"'),
        (f'_A, _P = 1, 2\n_P = "{samples.GEMM[:40]}"', f'f"{{_P}}{samples.GEMM[40:]}/"'),
    ],
)
def test_a_pin_behind_a_name_is_read(tmp_path: Path, before: str, value: str) -> None:
    source = _changed(tmp_path, (_GEMM, f"TRTLLM_GEN_GEMM = {value}"), ("import torch_is_never_imported", before))
    assert {pin.attr: pin.path for pin in pins.read(source).pins}["TRTLLM_GEN_GEMM"] == samples.GEMM


@pytest.mark.parametrize(
    ("new", "says"),
    [
        ("TRTLLM_GEN_GEMM = pin('gemm')", "ArtifactPath.TRTLLM_GEN_GEMM, expected a text that can be read"),
        (f"if X:\n        {_GEMM}", "ArtifactPath.TRTLLM_GEN_GEMM, expected a text that can be read"),
        ("", "CheckSumHash.TRTLLM_GEN_GEMM, expected a directory ArtifactPath.TRTLLM_GEN_GEMM"),
        ("GEMM_RENAMED = TRTLLM_GEN_BMM", "ArtifactPath.TRTLLM_GEN_GEMM, expected a pin"),
    ],
)
def test_a_pin_that_cannot_be_read_is_an_error(tmp_path: Path, new: str, says: str) -> None:
    with pytest.raises(UsageError, match=r"pins that cannot be read") as caught:
        pins.read(_changed(tmp_path, (_GEMM, new)))
    assert any(says in str(problem) for problem in caught.value.problems), caught.value.problems


@pytest.mark.parametrize(
    ("inside", "after"),
    [
        ('A, B = "x/y", "x/z"', ""),
        ('A = B = "x/y"', ""),
        ('TRTLLM_GEN_GEMM += "v2/"', ""),
        ('locals()["A"] = "x/y"', ""),
        ("vars().update(A='x/y')", ""),
        ("del TRTLLM_GEN_GEMM", ""),
        ("import a as A", ""),
        ("", 'ArtifactPath.TRTLLM_GEN_GEMM = "x/y"'),
        ("", 'setattr(ArtifactPath, "A", "x/y")'),
        ("", 'if new:\n    class ArtifactPath:\n        A = "x/y"'),
        ("", "try:\n    ArtifactPath = other()\nexcept OSError:\n    pass"),
        ("", 'class Base:\n    A = "x/y"\nclass ArtifactPath(Base):\n    B = "x/z"'),
        ("", 'class ArtifactPath(metaclass=Meta):\n    B = "x/z"'),
    ],
)
def test_a_table_that_is_filled_in_another_way_is_an_error(tmp_path: Path, inside: str, after: str) -> None:
    files = samples.source()
    text = files["flashinfer/artifacts.py"].replace("class CheckSumHash:", f"    {inside}\nclass CheckSumHash:")
    with pytest.raises(UsageError, match="pins that cannot be read") as caught:
        pins.read(samples.wheel(tmp_path / "x.whl", {**files, "flashinfer/artifacts.py": f"{text}\n{after}\n"}))
    assert caught.value.problems[0].expected == "NAME = TEXT"


def test_a_digest_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    digest = samples.sha(samples.artifacts()[f"{samples.DEEP}/checksums.txt"])
    with pytest.raises(UsageError) as caught:
        pins.read(_changed(tmp_path, (f'DEEPGEMM: str = "{digest}"', "DEEPGEMM: str = read('deep')")))
    assert "CheckSumHash.DEEPGEMM, expected a sha256 that can be read" in str(caught.value.problems[0])
