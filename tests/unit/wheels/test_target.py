"""Tags and markers of a target."""

from __future__ import annotations

import pytest

from orchestrator.errors import UsageError
from orchestrator.wheels.lock import runs_on
from orchestrator.wheels.target import Target
from tests.unit.wheels.samples import AMD64, ARM64


@pytest.mark.parametrize(
    ("name", "amd64", "arm64"),
    [
        ("a-1-py3-none-any.whl", True, True),
        ("a-1-py2.py3-none-any.whl", True, True),
        ("a-1-cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", True, False),
        ("a-1-cp312-cp312-manylinux2014_aarch64.whl", False, True),
        ("a-1-cp38-abi3-manylinux_2_28_x86_64.whl", True, False),
        ("a-1-cp313-abi3-manylinux_2_28_x86_64.whl", False, False),
        ("a-1-cp311-cp311-manylinux_2_28_x86_64.whl", False, False),
        ("a-1-cp312-cp312-manylinux_2_34_x86_64.whl", False, False),
        ("a-1-cp312-cp312-manylinux1_x86_64.whl", True, False),
        ("a-1-cp312-cp312-linux_x86_64.whl", True, False),
        ("a-1-cp312-cp312-musllinux_1_2_x86_64.whl", False, False),
        ("a-1-cp312-cp312-win_amd64.whl", False, False),
        ("a-1-cp312-none-manylinux_2_28_aarch64.whl", False, True),
    ],
)
def test_which_wheels_run_there(name: str, amd64: bool, arm64: bool) -> None:
    assert (runs_on(name, AMD64), runs_on(name, ARM64)) == (amd64, arm64)


def test_a_newer_c_library_takes_newer_wheels() -> None:
    newer = Target(platform="linux/amd64", python="3.12", glibc="2.35")
    assert runs_on("a-1-cp312-cp312-manylinux_2_34_x86_64.whl", newer)
    assert newer.platforms[0] == "manylinux_2_35_x86_64"
    assert newer.platforms[-3:] == ("manylinux_2_5_x86_64", "manylinux1_x86_64", "linux_x86_64")
    assert ARM64.platforms[-3:] == ("manylinux_2_17_aarch64", "manylinux2014_aarch64", "linux_aarch64")


def test_markers_are_those_of_the_target() -> None:
    found = ARM64.environment(7)
    assert (found["platform_machine"], found["python_version"], found["python_full_version"]) == (
        "aarch64",
        "3.12",
        "3.12.7",
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("platform", "linux/s390x"),
        ("python", "3"),
        ("python", "312"),
        ("python", "3.12.1"),
        ("glibc", "2"),
        ("glibc", ""),
    ],
)
def test_what_is_no_target(field: str, value: str) -> None:
    with pytest.raises(UsageError, match=f"wheels.*{field}|{field}.*wheels"):
        Target(**{"platform": "linux/amd64", "python": "3.12", "glibc": "2.28", field: value})
