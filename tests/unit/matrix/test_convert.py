"""Values of a tree as sections: every type with what it accepts, and the fault that everything else gets."""

from typing import Annotated, Any, Literal

import pytest

from orchestrator.matrix.convert import read, read_keys
from orchestrator.matrix.schema import CLAIM_LOCATORS, Attest, Bake, ClaimSpec, Sign, Target, WheelsSpec
from orchestrator.matrix.section import Range, Section, Short, key
from orchestrator.matrix.template import PLACEHOLDERS
from tests.unit.matrix.support import EXAMPLE, parse


class Inner(Section):
    """A section in a section."""

    name: str = key("A name.")
    many: list[str] = key("Texts.", default=[])


class Outer(Section):
    """One key of each kind."""

    text: str = key("Text.", default="d")
    maybe: str | None = key("Text or nothing.", default=None)
    flag: bool = key("A flag.", default=False)
    share: Annotated[float, Range(0, 1)] = key("A number.", default=0.5)
    count: Annotated[int, Range(1)] | None = key("A whole number.", default=None)
    word: Literal["min", "max", "off"] = key("A word.", default="min")
    inner: Inner | None = key("A section.", default=None)
    inners: dict[str, Annotated[Inner, Short(lambda v: {"name": v} if isinstance(v, str) else v, {})]] = key(
        "Sections, or their names.", default={}
    )


ONE_PLACE = (
    "a claim names exactly one place: one of arg, env, image, variable, pointer, name, build_arg, build_args, package, "
    "regex"
)


def faults(tree: object) -> list[tuple[str, ...]]:
    _, found = read(Outer, tree)
    return [
        (".".join(map(str, fault.path)), fault.what, fault.expected, fault.found, fault.hint) for fault in found
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("text", "3.10", "3.10"),
        ("maybe", None, None),
        ("maybe", "x", "x"),
        *(("flag", word, True) for word in ("true", "TRUE", "yes", "y", "on", "1", "t")),
        *(("flag", word, False) for word in ("false", "False", "no", "n", "off", "0", "f")),
        ("share", "0", 0.0),
        ("share", "1e-1", 0.1),
        ("share", "1", 1.0),
        ("count", "1", 1),
        ("count", None, None),
        ("word", "off", "off"),
        ("inner", {"name": "a"}, Inner(name="a", many=[])),
        ("inner", None, None),
        ("inners", {"x": "a", "y": {"name": "b"}}, {"x": Inner(name="a"), "y": Inner(name="b")}),
    ],
)  # fmt: skip
def test_what_is_accepted(name: str, given: object, value: object) -> None:
    section, found = read(Outer, {name: given})
    assert found == []
    assert section is not None
    assert getattr(section, name) == value
    assert type(getattr(section, name)) is type(value)


def test_an_absent_key_has_its_default_and_shares_it_with_nobody() -> None:
    one, two = Inner(name="a"), Inner(name="a")
    one.many.append("x")
    assert (one.many, two.many, Inner(name="a").many) == (["x"], [], [])
    section, _ = read(Outer, {})
    assert section == Outer()
    assert section is not None
    assert (section.share, section.word, section.inners) == (0.5, "min", {})


@pytest.mark.parametrize(
    ("tree", "fault"),
    [
        ("x", ("", "the file is invalid", "a mapping", "x", "")),
        ({"text": None}, ("text", "text is invalid", "text", "nothing", "")),
        ({"text": ["a"]}, ("text", "text is invalid", "text", "a list", "")),
        ({"maybe": {}}, ("maybe", "maybe is invalid", "text", "a mapping", "")),
        ({"flag": "maybe"}, ("flag", "flag is invalid", "true or false", "maybe", "")),
        ({"flag": None}, ("flag", "flag is invalid", "true or false", "nothing", "")),
        ({"share": "x" * 99}, ("share", "share is invalid", "a number", "x" * 57 + "…", "")),
        ({"share": "1.01"}, ("share", "share is invalid", "a number from 0 to 1", "1.01", "")),
        ({"share": "-0.1"}, ("share", "share is invalid", "a number from 0 to 1", "-0.1", "")),
        ({"share": "nan"}, ("share", "share is invalid", "a number from 0 to 1", "nan", "")),
        ({"share": []}, ("share", "share is invalid", "a number", "a list", "")),
        ({"count": "0"}, ("count", "count is invalid", "a whole number of 1 or more", "0", "")),
        ({"count": "1.5"}, ("count", "count is invalid", "a whole number", "1.5", "")),
        ({"word": "mox"}, ("word", "word is invalid", "min, max or off", "mox", "")),
        ({"word": ["min"]}, ("word", "word is invalid", "min, max or off", "a list", "")),
        ({"inner": "x"}, ("inner", "inner is invalid", "a mapping", "x", "")),
        ({"inner": {}}, ("inner", "inner.name is missing", "", "", "")),
        ({"inner": {"name": "a", "many": [None]}}, ("inner.many.0", "inner.many.0 is invalid", "text", "nothing", "")),
        ({"inner": {"name": "a", "many": "b"}}, ("inner.many", "inner.many is invalid", "a list", "b", "")),
        ({"inners": ["a"]}, ("inners", "inners is invalid", "a mapping", "a list", "")),
        ({"inners": {"x": {"name": "a", "b": ""}}}, ("inners.x.b", "unknown key b", "", "", "known: many, name")),
        ({"shrae": "1"}, ("shrae", "unknown key shrae", "", "", "did you mean share?")),
    ],
)  # fmt: skip
def test_what_is_a_fault(tree: object, fault: tuple[str, ...]) -> None:
    assert faults(tree) == [fault]


def test_all_faults_in_one_run() -> None:
    found = faults({"text": [], "inner": {"many": {}, "x": "1"}, "inners": {"a": None, "b": {}}, "nope": "1"})
    assert sorted(path for path, *_ in found) == sorted(
        ["text", "inner", "inner.many", "inner.x", "inners.a", "inners.b", "nope"]
    )


def test_an_unknown_key_does_not_cost_the_section_but_a_wrong_value_does() -> None:
    section, found = read(Outer, {"nope": "1", "inner": {"name": "a", "x": "1"}})
    assert (section, len(found)) == (Outer(inner=Inner(name="a")), 2)
    assert read(Outer, {"text": "a", "inner": {"name": []}})[0] is None
    assert read_keys(Outer, {"text": "a", "inner": {"name": []}, "nope": "1"}) == {"text": "a"}


@pytest.mark.parametrize(
    ("claim", "rule"),
    [
        ({"arg": "A", "says": "x"}, ""),
        ({"pointer": "/a", "build_arg": "A", "says": "x"}, ""),
        ({"says": "x"}, ONE_PLACE),
        ({"arg": "A", "env": "B", "says": "x"}, f"{ONE_PLACE}, found arg, env"),
        ({"env": "A", "target": "t", "says": "x"}, "target goes with arg, not with env"),
        ({"arg": "A", "branch": "b", "says": "x"}, "branch goes with name, not with arg"),
        ({"arg": "A", "where": "b", "says": "x"}, "where goes with build_arg or build_args, not with arg"),
        ({"variable": "A", "stage": "b", "says": "x"}, "stage goes with arg or env or image, not with variable"),
        ({"arg": "A", "stage": "b", "target": "t", "says": "x"}, "stage is of a Dockerfile, target of a bake file"),
        ({"build_args": "declared", "says": "x"}, "build_args: declared takes no says"),
        ({"build_args": "declared"}, ""),
        ({"arg": "A"}, "says is missing: what the place must say"),
    ],
)  # fmt: skip
def test_the_rules_among_the_keys_of_a_claim(claim: dict[str, str], rule: str) -> None:
    section, found = read(ClaimSpec, {"file": "f", **claim})
    assert [fault.what for fault in found] == ([f"the file: {rule}"] if rule else [])
    assert (section is None) == bool(rule)


def test_a_rule_waits_until_the_keys_are_right() -> None:
    """A misspelt locator is one fault, not two."""
    _, found = read(ClaimSpec, {"file": "f", "agr": "A", "says": "x"})
    assert [(fault.what, fault.hint) for fault in found] == [("unknown key agr", "did you mean arg?")]


def test_sections_are_values() -> None:
    assert Inner(name="a") == Inner(name="a") != Inner(name="b")
    assert Inner(name="a") != Outer()
    assert repr(Inner(name="a")) == "Inner(name='a', many=[])"
    with pytest.raises(AttributeError, match=r"Inner\.name is immutable"):
        Inner(name="a").name = "b"  # type: ignore[misc]  # what is refused
    wrong: Any = {"nome": "a"}
    with pytest.raises(TypeError, match="Inner has no key nome"):
        Inner(**wrong)
    with pytest.raises(TypeError, match=r"Inner\.name is missing"):
        Inner()  # type: ignore[call-arg]  # what is refused


def test_faults_say_whether_they_point_at_the_key() -> None:
    _, found = read(Outer, {"nope": "1", "inner": {}, "text": [], "inners": {" a": {"name": "x"}}, "share": "2"})
    assert [(fault.what, fault.at_key) for fault in found] == [
        ("unknown key nope", True),
        ("text is invalid", False),
        ("share is invalid", False),
        ("inner.name is missing", True),
        ('inners: the name " a" is invalid', True),
    ]
    assert [fault.path for fault in found] == [("nope",), ("text",), ("share",), ("inner",), ("inners", " a")]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("", '""'),
        (" a", '" a"'),
        ("a ", '"a "'),
        ("a\nb", "a\nb"),
        ("a\x07b", "a\x07b"),
        ("a b", ""),
        ("é", ""),
        ("a", ""),
    ],
)
def test_names_of_a_mapping(name: str, shown: str) -> None:
    section, found = read(Outer, {"inners": {name: {"name": "x"}}})
    assert section is not None, "a name that is wrong does not cost the section"
    assert [(fault.what, fault.expected) for fault in found] == (
        [(f"inners: the name {shown} is invalid",
          "text without spaces around it and without control characters")] if shown else []
    )  # fmt: skip


def test_texts_that_stand_twice() -> None:
    assert faults({"inner": {"name": "a", "many": ["x", "y", "x", "y", "x"]}}) == [
        (f"inner.many.{at}", f"inner.many.{at} repeats inner.many.{first}", "", found, "remove one")
        for at, first, found in ((2, 0, "x"), (3, 1, "y"), (4, 0, "x"))
    ]
    assert faults({"inner": {"name": "a", "many": ["x", "X", "x "]}}) == []


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("x" * 60, "x" * 60), ("x" * 61, "x" * 57 + "…"), ("", '""'), ("  ", '"  "'), (" x", '" x"'), ("x ", '"x "'),
        ("x" * 56 + "    y", "x" * 56 + " …"),
    ],
)  # fmt: skip
def test_how_a_value_is_shown(text: str, shown: str) -> None:
    (fault,) = faults({"word": text})
    assert fault[3] == shown


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("text", " ", "text that is not empty and holds no NUL"),
        ("text", "a\0", "text that is not empty and holds no NUL"),
        ("maybe", "", "text that is not empty and holds no NUL"),
        ("flag", "", "true or false"),
        ("flag", "2", "true or false"),
        ("flag", "yess", "true or false"),
        ("count", "", "a whole number"),
        ("count", "1e3", "a whole number"),
        ("count", "-1", "a whole number of 1 or more"),
        ("share", "inf", "a number from 0 to 1"),
        ("share", "", "a number"),
        ("word", "", "min, max or off"),
        ("word", None, "min, max or off"),
    ],
)
def test_what_is_expected_of_each_kind(name: str, given: object, expected: str) -> None:
    assert [fault[2] for fault in faults({name: given})] == [expected]


@pytest.mark.parametrize(("words", "said"), [(("a",), "a"), (("a", "b"), "a or b"), (("a", "b", "c"), "a, b or c")])
def test_how_alternatives_are_told(words: tuple[str, ...], said: str) -> None:
    from orchestrator.matrix.convert import _alternatives

    assert _alternatives(words) == said


def test_a_text_whose_default_is_empty_may_be_empty() -> None:
    class Suffix(Section):
        """A section."""

        suffix: str = key("A suffix.", default="")
        other: str = key("Another.", default="x")

    section, found = read(Suffix, {"suffix": ""})
    assert (section, found) == (Suffix(suffix=""), [])
    section, found = read(Suffix, {"suffix": " ", "other": ""})
    assert [fault.path for fault in found] == [("suffix",), ("other",)]


@pytest.mark.parametrize(
    ("kind", "tree", "rule"),
    [
        (Attest, {"sbom": "true", "generator": "x"}, ""),
        (Attest, {"sbom": "false", "generator": "x"}, "generator goes with sbom: true"),
        (Attest, {"generator": "x"}, "generator goes with sbom: true"),
        (Attest, {}, ""),
        (Sign, {"private_key": "a", "public_key": "b"}, ""),
        (Sign, {}, "sign needs private_key and public_key, or keyless: true"),
        (Sign, {"private_key": "a"}, "sign needs private_key and public_key, or keyless: true"),
        (Sign, {"public_key": "a"}, "sign needs private_key and public_key, or keyless: true"),
        (Sign, {"keyless": "true", "identity": "a", "issuer": "b"}, ""),
        (Sign, {"keyless": "true", "identity": "a"}, "keyless goes with identity and issuer, and without keys"),
        (Sign, {"keyless": "true", "issuer": "a"}, "keyless goes with identity and issuer, and without keys"),
        (Sign, {"keyless": "true", "identity": "a", "issuer": "b", "public_key": "c"},
         "keyless goes with identity and issuer, and without keys"),
        (Sign, {"keyless": "true", "identity": "a", "issuer": "b", "private_key": "c"},
         "keyless goes with identity and issuer, and without keys"),
        (WheelsSpec, {"python": "3.12"}, "nothing is asked for: expected requirements (files) or packages"),
        (WheelsSpec, {"python": "3.12", "packages": ["x"]}, ""),
        (WheelsSpec, {"python": "3.12", "requirements": ["x"]}, ""),
    ],
)  # fmt: skip
def test_the_rules_among_the_keys_of_a_section(kind: type[Section], tree: dict[str, Any], rule: str) -> None:
    section, found = read(kind, tree)
    assert [fault.what for fault in found] == ([f"the file: {rule}"] if rule else [])
    assert (section is None) is bool(rule)


PLACES = [name for name in CLAIM_LOCATORS if name not in ("pointer", "build_args")]


@pytest.mark.parametrize("locator", CLAIM_LOCATORS)
def test_which_keys_of_a_claim_go_together(locator: str) -> None:
    value = "declared" if locator == "build_args" else "x"
    says = {} if locator == "build_args" else {"says": "y"}
    assert read(ClaimSpec, {"file": "f", locator: value, **says})[1] == []
    together = {
        "stage": {"arg", "env", "image"}, "target": {"arg"}, "branch": {"name"}, "where": {"build_arg", "build_args"},
        "pointer": {"build_arg", "build_args", "name"},
    }  # fmt: skip
    for companion, locators in together.items():
        if companion != locator:
            found = read(ClaimSpec, {"file": "f", locator: value, companion: "z", **says})[1]
            assert (found == []) is (locator in locators), companion
    for other in PLACES:
        if other != locator and not (locator == "pointer" and other in together["pointer"]):
            (fault,) = read(ClaimSpec, {"file": "f", locator: value, other: "z", **says})[1]
            assert fault.what.endswith(f", found {', '.join(one for one in CLAIM_LOCATORS if one in (locator, other))}")


@pytest.mark.parametrize(
    ("section", "given", "value"),
    [
        ("targets", ["a", "b"], {"a": Target(), "b": Target()}),
        ("targets", {"a": None, "b": {"tag_suffix": "-b"}}, {"a": Target(), "b": Target(tag_suffix="-b")}),
    ],
)
def test_short_forms_of_targets(section: str, given: object, value: object) -> None:
    read_as, found = read(Bake, {section: given})
    assert found == []
    assert getattr(read_as, section) == value


@pytest.mark.parametrize("given", [["a", "a"], ["a", None], ["a", {}], "a", [["a"]]])
def test_what_is_no_list_of_targets(given: object) -> None:
    read_as, found = read(Bake, {"targets": given})
    assert (read_as, found != []) == (None, True)


def test_placeholders_and_cells_of_a_matrix() -> None:
    spec = parse(EXAMPLE).spec
    assert spec.dimensions() == {
        "target": ["openai", "openai-ubuntu2404"], "cuda": ["12.9", "13.0"], "platform": ["linux/amd64", "linux/arm64"],
        "python": ["3.12", "3.13"],
    }  # fmt: skip
    assert spec.cells() == 16
    assert spec.placeholders() == {*PLACEHOLDERS, "python"}
    more = parse(EXAMPLE.replace('"3.12": {}', '"3.12": {abi: cp312}')).spec
    assert more.placeholders() - spec.placeholders() == {"python.abi"}
