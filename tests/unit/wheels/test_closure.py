"""Whether a set of wheels is complete for its target."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement

from orchestrator.errors import VerificationError
from orchestrator.wheels import closure
from tests.unit.wheels import samples

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from orchestrator.wheels.target import Target


def unmet(
    tmp_path: Path, wheels: Mapping[str, tuple[str, ...]], *asked: str, target: Target = samples.AMD64
) -> list[tuple[str, str]]:
    known = {}
    for name, requires in wheels.items():
        file = f"{name}-py3-none-any.whl"
        known[file] = closure.read(samples.wheel(tmp_path, file, *requires), file)
    found = closure.unmet(known, [Requirement(text) for text in asked], target)
    return [(one.requirement, one.found) for one in found]


def test_a_wheel_whose_bytes_do_not_unpack_is_refused(tmp_path: Path) -> None:
    path = samples.wheel(tmp_path, "a-1-py3-none-any.whl")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a-1.dist-info/METADATA", "Name: a\nVersion: 1\n" * 20)
        start = archive.filelist[0].header_offset + 30 + len("a-1.dist-info/METADATA")
    data = bytearray(path.read_bytes())
    data[start : start + 4] = b"\xff" * 4
    path.write_bytes(data)
    with pytest.raises(VerificationError, match=r"a-1-py3-none-any.whl: is not a wheel: Error -3"):
        closure.read(path, path.name)


def test_a_marker_that_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VerificationError, match=r"its requirement .* is invalid"):
        unmet(tmp_path, {"a-1": ("b; os_name ~= 'x'",)})


@pytest.mark.parametrize(
    ("wheels", "asked", "expected"),
    [
        ({"a-1": ("b>=2",), "b-2": ()}, ("a",), []),
        ({"a-1": ("b>=2",), "b-1": ()}, ("a",), [("b>=2", "1")]),
        ({"a-1": ("b",)}, ("a",), [("b", "")]),
        ({"a-1": ()}, ("a", "c"), [("c", "")]),
        ({"a-1": ("B.c_d",), "b_c_d-1": ()}, (), []),
        ({"a-1": ("b; platform_machine == 'aarch64'",)}, (), []),
        ({"a-1": ("b; platform_machine == 'x86_64'",)}, (), [("b", "")]),
        ({"a-1": ("b; sys_platform == 'win32'",)}, (), []),
        ({"a-1": ("b; python_version < '3.12'",)}, (), []),
        # the patch release is not known before the build: what either one needs is there
        ({"a-1": ("b; python_full_version < '3.12.3'",)}, (), [("b", "")]),
        ({"a-1": ("b; python_full_version >= '3.12.3'",)}, (), [("b", "")]),
        ({"a-1": ("b; extra == 'x'",)}, ("a",), []),
        ({"a-1": ("b; extra == 'x'",)}, ("a[x]",), [("b", "")]),
        ({"a-1": ("b[y]",), "b-1": ("c; extra == 'y'",)}, (), [("c", "")]),
        ({"a-1": ("b[x]",), "b-1": ("b[y]; extra == 'x'", "c; extra == 'y'")}, (), [("c", "")]),
        ({"a-1": ("a[x]", "b; extra == 'x'"), "b-1": ()}, (), []),
        ({"a-1": ("b<3",), "b-2rc1": ()}, (), []),
        ({"a-1": ("b @ https://e.test/b-9-py3-none-any.whl",), "b-9": ()}, (), []),
        ({"torch-2.9.0+cu130": (), "a-1": ("torch==2.9.0",)}, (), []),
    ],
)
def test_what_is_missing(
    tmp_path: Path, wheels: dict[str, tuple[str, ...]], asked: tuple[str, ...], expected: list[tuple[str, str]]
) -> None:
    assert unmet(tmp_path, wheels, *asked) == expected


def test_each_target_has_its_own(tmp_path: Path) -> None:
    wheels = {"a-1": ("b; platform_machine == 'aarch64'",)}
    assert unmet(tmp_path, wheels, target=samples.ARM64) == [("b", "")]
    assert unmet(tmp_path, wheels) == []


def test_what_is_no_wheel(tmp_path: Path) -> None:
    path = tmp_path / "a-1-py3-none-any.whl"
    path.write_bytes(b"<html>")
    with pytest.raises(VerificationError, match="is not a wheel"):
        closure.read(path, path.name)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/__init__.py", "")
    with pytest.raises(VerificationError, match="no metadata"):
        closure.read(path, path.name)
    with pytest.raises(VerificationError, match="is invalid"):
        unmet(tmp_path, {"b-1": ("not a requirement !",)})


@pytest.mark.parametrize(
    ("members", "found"),
    [
        (["a-1.dist-info/METADATA"], True), (["A-1.dist-info/METADATA"], True), (["other.dist-info/METADATA"], True),
        (["x/other.dist-info/METADATA"], False), (["b.dist-info/METADATA", "c.dist-info/METADATA"], False),
        (["a-1.dist-info/METADATA", "x/b.dist-info/METADATA"], True), (["METADATA"], False), ([], False),
    ],
)  # fmt: skip
def test_the_metadata_of_a_wheel_is_its_own(tmp_path: Path, members: list[str], *, found: bool) -> None:
    path = tmp_path / "a-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for number, member in enumerate(members):
            archive.writestr(member, f"Name: a\nVersion: {number}\nRequires-Dist: b\nRequires-Dist: c\n")
    if found:
        read = closure.read(path, path.name)
        assert (read.name, read.version, read.requires) == ("a", "0", ("b", "c"))
        return
    with pytest.raises(VerificationError, match="the wheel has no metadata that can be read"):
        closure.read(path, path.name)
