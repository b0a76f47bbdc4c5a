from __future__ import annotations

import pytest
from hypothesis import given

from orchestrator.cuda.arch import Arch, parse_arch
from orchestrator.cuda.toolkit import (
    Toolkit,
    UnknownToolkitError,
    first_toolkit,
    last_toolkit,
    other_name,
    toolkit_for,
    toolkits,
    toolkits_with,
)
from tests.support.ptx import newest_ptx
from tests.unit.cuda.strategies import real_archs


@pytest.mark.parametrize(
    ("version", "name"),
    [("13.0.2", "13.0"), ("13.0", "13.0"), ("12.9.1", "12.9"), ("11.8.0", "11.8"), ("13.5.37.1", "13.5")],
)
def test_a_version_names_its_toolkit(version: str, name: str) -> None:
    assert toolkit_for(version).name == name


@pytest.mark.parametrize("version", ["14.0.0", "12.7.1", "11.7", "13.6", "13.10"])
def test_an_unknown_release_is_never_guessed(version: str) -> None:
    with pytest.raises(UnknownToolkitError, match=r"known releases: 11\.8, 12\.0, .*, 13\.5$") as error:
        toolkit_for(version)
    assert error.value.version == version


@pytest.mark.parametrize("version", ["", "13", "cu130", "v13.0", "13.0-devel", "13.0.", "13..0", " 13.0", "١٣.0"])
def test_what_is_no_version_is_refused(version: str) -> None:
    with pytest.raises(UnknownToolkitError, match=r"write major\.minor.*known releases"):
        toolkit_for(version)


def test_a_toolkit_outside_the_table_cannot_be_made() -> None:
    with pytest.raises(UnknownToolkitError, match=r"'14\.0'"):
        Toolkit(14, 0)


@pytest.mark.parametrize(
    ("arch", "first", "last"),
    [
        ("3.5", "11.8", "11.8"),
        ("5.0", "11.8", "12.9"),
        ("7.0", "11.8", "12.9"),
        ("7.2", "11.8", "12.9"),
        ("7.5", "11.8", "13.5"),
        ("8.7", "11.8", "13.5"),
        ("8.8", "13.0", "13.5"),
        ("9.0", "11.8", "13.5"),
        ("9.0a", "12.0", "13.5"),
        ("10.0", "12.8", "13.5"),
        ("10.0a", "12.8", "13.5"),
        ("10.0f", "12.9", "13.5"),
        ("10.1", "12.8", "12.9"),
        ("10.1f", "12.9", "12.9"),
        ("10.3", "12.9", "13.5"),
        ("10.7", "13.4", "13.5"),
        ("11.0", "13.0", "13.5"),
        ("12.0", "12.8", "13.5"),
        ("12.1", "12.9", "13.5"),
        ("12.1f", "12.9", "13.5"),
    ],
)
def test_first_and_last_toolkit(arch: str, first: str, last: str) -> None:
    found = parse_arch(arch)
    assert (str(first_toolkit(found)), str(last_toolkit(found))) == (first, last)


@pytest.mark.parametrize("arch", ["9.9", "9.0f", "8.0a", "7.5f", "3.0"])
def test_what_no_toolkit_compiles(arch: str) -> None:
    assert first_toolkit(parse_arch(arch)) is None
    assert last_toolkit(parse_arch(arch)) is None


@given(real_archs)
def test_releases_that_compile_an_architecture_have_no_gap(arch: Arch) -> None:
    found = toolkits_with(arch)
    everything = toolkits()
    if found:
        start = everything.index(found[0])
        assert found == everything[start : start + len(found)]


def test_every_suffixed_target_has_its_plain_one() -> None:
    for toolkit in toolkits():
        assert {(sm, "") for sm, _ in toolkit.targets} <= toolkit.targets


def test_newer_toolkits_write_newer_ptx() -> None:
    isas = [newest_ptx(toolkit) for toolkit in toolkits()]
    assert isas == sorted(isas)
    assert newest_ptx(toolkit_for("13.0")) == (9, 0)


def test_the_two_names_of_thor() -> None:
    assert other_name(parse_arch("10.1a+PTX")) == parse_arch("11.0a+PTX")
    assert other_name(parse_arch("11.0f")) == parse_arch("10.1f")
    assert other_name(parse_arch("10.0")) is None
    for toolkit in toolkits():
        assert not (toolkit.supports(parse_arch("10.1")) and toolkit.supports(parse_arch("11.0")))
