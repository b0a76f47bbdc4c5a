"""Which places contradict each other, from places alone."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from orchestrator.drift.contradict import contradictions, main_dockerfile_list, main_list
from orchestrator.drift.locator import Locator
from orchestrator.drift.loose import Mention
from orchestrator.drift.sights import Kind, Sight, Subject

LIST = "TORCH_CUDA_ARCH_LIST"
FOUR, THREE, TWO = "8.0 9.0 10.0 12.0", "8.0 9.0 10.0", "8.0 9.0"
OPENAI = ("openai", LIST)


def archs(at: str, value: str, *, name: str = LIST, **fields: Any) -> Sight:
    """A list at `file:line`; what is no field of a place is one of its locator."""
    file, _, line = at.partition(":")
    where = {key: fields.pop(key) for key in list(fields) if key in Locator.__struct_fields__}
    locator = Locator(file=file, **where)
    return Sight(
        subject=Subject(kind=Kind.ARCH_LIST), name=name, value=value, line=int(line or 1), locator=locator, **fields
    )


def script(at: str, value: str, **fields: Any) -> Sight:
    """An assignment of a shell script."""
    found = archs(at, value, **fields)
    return replace(found, locator=replace(found.locator, name=found.name))


def cuda(at: str, value: str, *, name: str = "CUDA_VERSION", **fields: Any) -> Sight:
    """A CUDA version at `file:line`."""
    found = archs(at, value, name=name, **fields)
    release = ".".join(value.split(".")[:2])
    return replace(found, subject=Subject(kind=Kind.CUDA, name=release))


def wrong(*sights: Sight, mentions: tuple[Mention, ...] = ()) -> list[tuple[str, str, tuple[str, ...]]]:
    return [
        (f"{one.sight.file}:{one.sight.line}", f"{one.file}:{one.line} {one.value}", one.words)
        for one in contradictions(sights, mentions)
    ]


DOCKERFILE = archs("Dockerfile:3", FOUR, arg=LIST)
WORDS = ("missing 12.0 (RTX 50, RTX PRO 6000 Blackwell)",)
AGAINST = (f"Dockerfile:3 {FOUR}", WORDS)


@pytest.mark.parametrize(
    "place",
    [
        archs("Dockerfile:9", THREE, arg=LIST),
        archs("Dockerfile:9", THREE, env=LIST),
        archs("Dockerfile:9", THREE, image="x"),
        archs("bake.hcl:2", THREE, variable=LIST),
        archs("bake.hcl:2", TWO, target="openai", arg=LIST),
        archs("compose.yaml:2", THREE, mapping=("services", "a", "build", "args")),
        archs("b.sh:2", THREE, build_arg=LIST),
        archs("b.sh:2", THREE, build_arg=LIST, dockerfile="Dockerfile"),
        archs("b.sh:2", THREE, name=LIST.lower(), build_arg=LIST),
        script("s/b.bash:2", THREE),
    ],
    ids=lambda one: f"{one.file} {one.locator.keys()}",
)
def test_what_is_for_the_image_of_the_dockerfile_must_agree_with_it(place: Sight) -> None:
    (found,) = wrong(DOCKERFILE, place)
    assert found[:2] == (f"{place.file}:{place.line}", f"Dockerfile:3 {FOUR}")


@pytest.mark.parametrize(
    "place",
    [
        archs("Dockerfile:9", FOUR, arg=LIST),
        archs("Dockerfile:9", "12.0 10.0 9.0 8.0", arg=LIST),
        archs("Dockerfile:9", THREE, arg=LIST, name="OTHER_ARCHS"),
        archs("Dockerfile.x:9", THREE, env=LIST),
        archs("Dockerfile.x:9", THREE, arg=LIST),
        archs("Dockerfile:9", THREE, arg=LIST, branch="arm"),
        archs("Dockerfile:9", THREE, arg=LIST, conditional=True),
        archs("Dockerfile:9", THREE, arg=LIST, dialect="flashinfer"),
        archs("bake.hcl:2", THREE, target="jetson", arg=LIST),
        archs("compose.yaml:2", THREE, mapping=("build", "env")),
        archs("data.yaml:2", THREE, mapping=("build", "args")),
        archs("b.sh:2", TWO, build_arg=LIST),
        archs("b.sh:2", THREE, build_arg=LIST, dockerfile="other"),
        archs("b.sh:2", THREE, build_arg=LIST, command="docker build --platform linux/arm64"),
        archs("b-gb200.sh:2", THREE, build_arg=LIST),
        archs("ci.yml:2", THREE),
        script("b.py:2", THREE),
        script("b.sh:2", TWO),
        script("b.sh:2", THREE, within=("steps", "id=a")),
        script("b-thor.sh:2", THREE),
    ],
    ids=lambda one: f"{one.file} {one.locator.keys()}",
)
def test_what_agrees_or_is_for_something_else_is_right(place: Sight) -> None:
    assert wrong(DOCKERFILE, place) == []


def test_a_list_of_a_script_that_has_a_name_of_its_own_elsewhere_is_right() -> None:
    assert wrong(DOCKERFILE, script("b.sh:2", THREE)) == [("b.sh:2", *AGAINST)]
    assert wrong(DOCKERFILE, script("b.sh:2", THREE), script("c.sh:1", THREE, name="ARCHS_X86")) == []
    branched = script("c.sh:1", THREE, name="ARCHS_X86", branch="x")
    assert wrong(DOCKERFILE, script("b.sh:2", THREE), branched) == [("b.sh:2", *AGAINST)]


def test_the_place_that_others_are_measured_by() -> None:
    longer, other = archs("Dockerfile.rocm:1", TWO, arg=LIST), archs("D:1", TWO, arg="X", name="X_ARCHS")
    assert main_dockerfile_list([longer, other, DOCKERFILE]) is DOCKERFILE
    assert main_dockerfile_list([other]) is other
    assert main_dockerfile_list([archs("D:1", TWO, arg=LIST, conditional=True), archs("D:1", TWO, env=LIST)]) is None
    first, second = archs("D:1", TWO, arg=LIST), archs("D:2", TWO, arg=LIST)
    assert main_list([second, first]) is first
    baked = archs("docker-bake.hcl:4", THREE, variable="V", name="V", arguments=(OPENAI,))
    composed = archs("compose.yaml:1", TWO, mapping=("a", "build", "args"), arguments=(OPENAI,))
    assert main_list([composed, baked]) is baked
    assert main_list([composed]) is composed
    assert main_list([archs("docker-bake.hcl:4", THREE, variable="V", arguments=(("t", "OTHER"),))]) is None
    another = archs("b.hcl:9", TWO, variable="W", arguments=(OPENAI,))
    assert main_list([baked, another]) is None
    same = archs("b.hcl:9", THREE, variable="W", arguments=(OPENAI,))
    assert main_list([baked, same]) is same


def test_an_argument_has_one_value_in_bake_and_compose_files() -> None:
    baked = cuda("a/docker-bake.hcl:1", "13.0.2", variable="CUDA", arguments=(("app", "CUDA"),))
    mapping = ("services", "app", "build", "args")
    fields: dict[str, Any] = {"mapping": mapping, "arguments": (("app", "CUDA"),)}
    assert wrong(baked, cuda("a/compose.yaml:5", "12.9.1", **fields)) == [
        ("a/compose.yaml:5", "a/docker-bake.hcl:1 13.0.2", ("names 12.9.1",))
    ]
    assert wrong(baked, cuda("a/compose.yaml:5", "13.0", **fields)) == []
    assert wrong(baked, cuda("b/compose.yaml:5", "12.9.1", **fields)) == []
    assert wrong(baked, cuda("a/compose.yaml:5", "12.9.1", mapping=mapping, arguments=(("other", "CUDA"),))) == []
    later = cuda("a/docker-bake.override.hcl:1", "12.9.1", variable="CUDA", arguments=(("app", "CUDA"),))
    assert wrong(baked, later, cuda("a/compose.yaml:5", "12.9.1", **fields)) == []
    lists = archs("docker-bake.hcl:1", THREE, variable="L", name="L", arguments=(OPENAI,))
    given = archs("compose.yaml:2", FOUR, mapping=mapping, arguments=(OPENAI,))
    assert wrong(lists, given) == [
        ("compose.yaml:2", f"docker-bake.hcl:1 {THREE}", ("adds 12.0 (RTX 50, RTX PRO 6000 Blackwell)",))
    ]


def test_versions_of_one_release_agree_with_the_dockerfile_or_the_most() -> None:
    default = cuda("Dockerfile:1", "13.0.3", arg="CUDA_VERSION")
    places = [cuda("a.sh:1", "13.0.2"), cuda("b.sh:1", "13.0.2"), cuda("c.sh:1", "13.0"), cuda("d.sh:1", "12.9.1")]
    patch = ("another patch of 13.0",)
    assert wrong(default, *places) == [(f"{one}.sh:1", "Dockerfile:1 13.0.3", patch) for one in "ab"]
    assert wrong(cuda("z.sh:1", "13.0.3"), *places) == [("z.sh:1", "a.sh:1 13.0.2", patch)]
    other = cuda("Dockerfile:1", "13.0.3", arg="X", name="X_CUDA_VERSION")
    assert wrong(other, *places) == [("Dockerfile:1", "a.sh:1 13.0.2", patch)]
    shorter = cuda("D:7", "13.0.2", arg="CUDA_VERSION")
    assert wrong(default, shorter) == [("Dockerfile:1", "D:7 13.0.2", patch)]


def test_a_line_that_no_reader_understands_counts_where_all_others_agree() -> None:
    def mention(value: str, *, prose: bool = False, is_cuda: bool = True) -> Mention:
        return Mention(file="x.py", line=4, value=value, cuda=is_cuda, prose=prose)

    one = cuda("a.sh:1", "13.0.2")
    assert wrong(one, mentions=(mention("13.0.2"), mention("13.0.3"))) == [
        ("a.sh:1", "x.py:4 13.0.3", ("another patch of 13.0",))
    ]
    for other in (mention("13.0.3", prose=True), mention("13.0.3", is_cuda=False), mention("13.0"), mention("12.9.1")):
        assert wrong(one, mentions=(other,)) == []
    default = cuda("Dockerfile:1", "13.0.2", arg="CUDA_VERSION")
    assert wrong(default, mentions=(mention("13.0.3"),)) == []


def test_a_variable_of_pipelines_is_one_for_each_release() -> None:
    def step(at: str, value: str, key: str, **fields: Any) -> Sight:
        return archs(at, value, name="ARCHS", mapping=(key,), **fields)

    release = [cuda("ci.yml:1", "13.0.2", mapping=("a",)), cuda("p.yml:1", "13.0.2", mapping=("b",))]
    more = [cuda("q.yml:1", "13.0.2", mapping=("c",))]
    one, two = step("ci.yml:2", FOUR, "a"), step("p.yml:2", THREE, "b")
    assert wrong(*release, one, two) == [("p.yml:2", f"ci.yml:2 {FOUR}", WORDS)]
    three = step("q.yml:2", THREE, "c")
    assert wrong(*release, *more, one, two, three) == [
        ("ci.yml:2", f"p.yml:2 {THREE}", ("adds 12.0 (RTX 50, RTX PRO 6000 Blackwell)",))
    ]
    assert wrong(*release, one, step("p.yml:2", TWO, "b")) == []
    assert wrong(*release, one, step("p.yml:2", THREE, "b", command="orin")) == []
    assert wrong(*release, one, step("p.yml:2", THREE, "b", build_arg="ARCHS")) == []
    assert wrong(release[0], one, two) == []
    assert wrong(*release, cuda("p.yml:3", "12.9.1", mapping=("b",)), one, two) == []
