"""Places that an override file replaces, and arch lists of branches for other releases."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orchestrator.drift.branches import of_other_releases, without
from orchestrator.drift.find import Group
from orchestrator.drift.replaced import Replaced, replaced
from orchestrator.drift.sights import Kind, Sight, Subject
from tests.unit.drift.test_contradict import archs, script

if TYPE_CHECKING:
    from pathlib import Path

VARIABLE = 'variable "V" { default = "8.0 9.0" }\n'


def test_a_later_bake_file_of_the_directory_replaces_a_value(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for name, text in {
        "docker-bake.hcl": VARIABLE,
        "docker-bake.override.json": '{"target": {"t": {"args": {"A": "1"}}}}',
        "docker-bake.override.hcl": 'variable "W" { default = "1" }\ntarget "t" { args = { A = "2" } }\n',
        "mine.hcl": VARIABLE,
        "a/docker-bake.json": "{}",
        "a/docker-bake.hcl": VARIABLE,
        "a/docker-bake.override.hcl": "variable {",
    }.items():
        (tmp_path / name).write_text(text)
    places = {
        "arg": archs("docker-bake.hcl:1", "8.0", target="t", arg="A"),
        "other arg": archs("docker-bake.hcl:1", "8.0", target="t", arg="B"),
        "other target": archs("docker-bake.hcl:1", "8.0", target="u", arg="A"),
        "variable": archs("docker-bake.hcl:1", "8.0", variable="W"),
        "other variable": archs("docker-bake.hcl:1", "8.0", variable="V"),
        "of json": archs("docker-bake.override.json:1", "8.0", target="t", arg="A"),
        "last": archs("docker-bake.override.hcl:1", "8.0", target="t", arg="A"),
        "not merged": archs("mine.hcl:1", "8.0", variable="W"),
        "no bake file": archs("docker-bake.hcl:1", "8.0", name="W"),
        "deep": archs("a/docker-bake.json:1", "8.0", variable="V"),
        "unreadable": archs("a/docker-bake.hcl:1", "8.0", variable="V"),
    }
    last = "docker-bake.override.hcl"
    assert replaced(tmp_path, list(places.values())) == [
        Replaced(sight=places["arg"], by=last),
        Replaced(sight=places["variable"], by=last),
        Replaced(sight=places["of json"], by=last),
        Replaced(sight=places["deep"], by="a/docker-bake.hcl"),
    ]


def group(*sights: Sight, kind: Kind = Kind.ARCH_LIST) -> Group:
    values: dict[str, tuple[Sight, ...]] = {}
    for sight in sights:
        values[sight.value] = (*values.get(sight.value, ()), sight)
    return Group(subject=Subject(kind=kind), values=values)


@pytest.mark.parametrize(
    ("branch", "value", "other"),
    [
        ("12.8*", "8.0 10.1", True), ("12.8.1", "8.0 10.1", True), ("12.8*", "8.0 9.0", False),
        ("12.4*", "8.0 10.0", False),
        ("12.4*|12.8*", "8.0 10.0", False), ("*", "8.0 10.0", False), ("x12.8", "8.0 10.0", True),
        ("112.8", "8.0 10.0", False),
        ("", "8.0 10.0", False), ("arm", "8.0 10.0", False),
    ],
)  # fmt: skip
def test_a_branch_for_a_release_that_is_not_built(branch: str, value: str, other: bool) -> None:
    one = script("b.sh:1", value, branch=branch)
    assert of_other_releases([group(one)], ["12.4"]) == ([one] if other else [])
    assert of_other_releases([group(one, kind=Kind.CUDA)], ["12.4"]) == []


@pytest.mark.parametrize("rest", ["*", "else"])
def test_the_rest_beside_a_branch_that_names_a_release(rest: str) -> None:
    named, other = script("b.sh:1", "8.0 9.0", branch="12.4*"), script("b.sh:2", "8.0 10.0", branch=rest)
    elsewhere = script("c.sh:2", "8.0 10.0", branch=rest)
    another = script("b.sh:2", "8.0 10.0", branch=rest, name="OTHER_ARCHS")
    assert of_other_releases([group(named, other, elsewhere, another)], ["12.4"]) == [other]
    assert of_other_releases([group(named, other)], ["12.4", "12.8"]) == []


def test_groups_without_some_places() -> None:
    one, two, three = script("a.sh:1", "8.0"), script("b.sh:1", "8.0"), script("c.sh:1", "9.0")
    (left,) = without([group(one, two, three), group(three)], [one, three])
    assert left.values == {"8.0": (two,)}
    assert [len(found.values) for found in without([group(one, two), group(three)], [])] == [1, 1]
