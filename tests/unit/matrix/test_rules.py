"""What must hold among the values of matrix.yaml: each rule with its place and words, names wherever they stand."""

from __future__ import annotations

import pytest

from orchestrator.errors import MatrixError
from orchestrator.matrix.schema import MOST_CELLS
from tests.unit.matrix.support import SMALL, changed, parse, problems

PLACES = {
    "variants": ("  arch_list: release\n", "  arch_list: relaese\n"),
    "override": ("    args: {max_jobs: 8}\n", "    args: {max_jobs: 8}\n    arch_list: relaese\n"),
    "cuda": ('  "13.0": {version: 13.0.2}', '  "13.0": {version: 13.0.2, arch_list: relaese}'),
    "platform": ("linux/amd64: {", "linux/amd64: {arch_list: relaese, "),
    "target": ("openai: {}", "openai: {arch_list: relaese}"),
}


@pytest.mark.parametrize("place", PLACES)
def test_an_unknown_arch_list_is_named_with_its_place(place: str) -> None:
    old, new = PLACES[place]
    text = changed(old, new)
    line = text[: text.index("relaese")].count("\n") + 1
    (problem,) = problems(text)
    assert problem.startswith(f"matrix.yaml:{line}:")
    assert "unknown arch list relaese" in problem
    assert "did you mean release?" in problem
    with pytest.raises(MatrixError):
        parse(text)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("headers: {policy", "headers: {targets: [opneai], policy", "unknown target opneai; did you mean openai?"),
        ("publish:\n", "publish:\n  require_platforms: [linux/amd46]\n", "unknown platform linux/amd46; did you mean"),
    ],
)
def test_targets_and_platforms_must_exist(old: str, new: str, words: str) -> None:
    (problem,) = problems(changed(old, new))
    assert words in problem


def told(section: str = "", *, old: str = "", new: str = "") -> list[str]:
    """The problems of the small matrix with a change and further sections, without the file's name."""
    text = changed(old, new, SMALL) if old else SMALL
    return [problem.removeprefix("matrix.yaml:") for problem in problems(text + section)]


EMPTY = "is empty: there is nothing to build"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("targets: [app]", "targets: []", f"3:34: bake.targets {EMPTY}"),
        ("targets: [app]", "targets: {}", f"3:34: bake.targets {EMPTY}"),
        ('cuda:\n  "13.0": {version: 13.0.2}', "cuda: {}", f"5:7: cuda {EMPTY}"),
        ("platforms:\n  linux/amd64:", "platforms: {}", f"7:12: platforms {EMPTY}"),
        ("{all: 8.0 9.0}", "{}", f"4:13: arch_lists {EMPTY}"),
        ("{all: 8.0 9.0}", "{all: 8.0, .a: 9.0}", "4:24: '.a' is not a valid name"),
        (
            "targets: [app]",
            "targets: [app, -x]",
            "3:25: '-x' is not a valid bake target name (letters, digits, _ and -)",
        ),
        (
            "variants:",
            "axes: {Py: {a: {}}}\nvariants:",
            "9:8: 'Py' is not a valid axis name (lowercase letters, digits and _)",
        ),
        ("variants:", "axes: {p: {}}\nvariants:", "9:11: the axis p has no values"),
        (
            "variants:",
            "axes: {cuda: {a: {}}}\nvariants:",
            "9:8: the axis name cuda is taken by the placeholders {cuda.…}",
        ),
        ("variants:", "variants:\n  args: {a-b: x}", "10:10: 'a-b' is not a valid argument name"),
        (
            "files: bake.hcl",
            "files: []",
            (
                "3:15: bake.files is empty, expected the project's own bake files; "
                "leave the key out for those that bake reads by itself"
            ),
        ),
        (
            "image: acme/app",
            "image: acme/App",
            "2:8: image is invalid, expected a repository such as ghcr.io/acme/app, without a tag, found acme/App",
        ),
        (
            "targets: [app]",
            "targets: [app], allow: [security.insecure]",
            (
                "3:49: a privilege is invalid here, expected network.host or device, found security.insecure; "
                "all others come from --allow of the command line"
            ),
        ),
        (
            "targets: [app]",
            "targets: [app], allow: [device=]",
            (
                "3:49: a privilege is invalid here, expected network.host or device, found device=; "
                "all others come from --allow of the command line"
            ),
        ),
        ("13.0.2", "13.0", "6:21: cuda.13.0.version is invalid, expected a full version, as in 13.0.2, found 13.0"),
        (
            "13.0.2",
            "12.9.1",
            (
                "6:21: CUDA release 13.0 and its version do not agree, expected 13.0.PATCH, found 12.9.1; "
                'correct the version, or name the release "12.9"'
            ),
        ),
    ],
)
def test_each_rule_of_a_shape(old: str, new: str, expected: str) -> None:
    assert expected in told(old=old, new=new)


@pytest.mark.parametrize("allow", ["network.host", "device", "device=nvidia.com/gpu=all"])
def test_privileges_that_a_matrix_may_give(allow: str) -> None:
    assert told(old="targets: [app]", new=f"targets: [app], allow: [{allow}]") == []


@pytest.mark.parametrize("allow", ["network.host=", "device=", "network", "ssh", "fs.read=/x", "network.hostx"])
def test_privileges_that_the_command_line_alone_gives(allow: str) -> None:
    (problem,) = told(old="targets: [app]", new=f"targets: [app], allow: [{allow}]")
    assert f"found {allow};" in problem


def test_how_many_combinations_are_too_many() -> None:
    axes = {
        name: "{" + ", ".join(f"v{at}: {{}}" for at in range(count)) + "}" for name, count in (("a", 400), ("b", 250))
    }
    text = changed("variants:", f"axes: {{a: {axes['a']}, b: {axes['b']}}}\nvariants:", SMALL)
    assert parse(text).spec.cells() == 100_000 == MOST_CELLS
    more = changed("targets: [app]", "targets: [app, web]", text)
    assert problems(more) == ["matrix.yaml:9:7: 200,000 combinations are too many, expected at most 100,000"]


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ("headers: {version: 0.6.13, targets: [app, web]}", "12:43: unknown target web; known: app"),
        ("wheels: {python: 3.12, packages: [x], targets: [web]}", "12:49: unknown target web; known: app"),
        ("compile_cache: {targets: [ap]}", "12:27: unknown target ap; did you mean app?"),
        (
            "publish: {tags: ['{image}:v'], require_platforms: [linux/amd64, linux/arm64]}",
            "12:65: unknown platform linux/arm64; did you mean linux/amd64?",
        ),
        ("overrides: [{when: {cuda: '13.1'}, args: {A: x}}]", "12:27: cuda 13.1 does not exist; did you mean 13.0?"),
        (
            "overrides: [{when: {}, args: {A: x}}]",
            "12:20: when is empty: it selects everything, expected target, cuda, platform",
        ),
        (
            "exclude: [{when: {}, why: x}]",
            "12:18: when is empty: it selects everything, expected target, cuda, platform",
        ),
        ("exclude: [{when: {os: x}, why: x}]", "12:19: unknown dimension os; known: cuda, platform, target"),
        ("exclude: [{when: {target: [app, web]}, why: x}]", "12:33: target web does not exist; known: app"),
        ("claims: [{file: f, arg: A, says: x, when: {target: web}}]", "12:52: target web does not exist; known: app"),
        (
            "claims: [{file: f, arg: A, says: x, when: {os: web}}]",
            "12:44: unknown dimension os; known: cuda, platform, target",
        ),
    ],
)
def test_each_name_that_another_section_uses(section: str, expected: str) -> None:
    assert expected in told(f"{section}\n")


def test_a_condition_of_a_claim_may_be_empty() -> None:
    assert told("claims: [{file: f, arg: A, says: x, when: {}}]\n") == []
    assert told("claims: [{file: f, arg: A, says: x}]\n") == []


@pytest.mark.parametrize(
    "text",
    [
        "  args: {A: '{nope}'}\n",
        "  labels: {a: '{nope}'}\n",
        "  contexts: {a: '{nope}'}\n",
        "  secrets: ['id=a,src={nope}']\n",
        "overrides: [{when: {target: app}, tags: ['{image}:{nope}']}]\n",
        "overrides: [{when: {target: app}, args: {A: '{nope}'}}]\n",
        "overrides: [{when: {target: app}, labels: {A: '{nope}'}}]\n",
        "overrides: [{when: {target: app}, contexts: {A: '{nope}'}}]\n",
        "overrides: [{when: {target: app}, secrets: ['id=a,src={nope}']}]\n",
        "publish: {tags: ['{image}:{nope}']}\n",
        "publish: {tags: ['{image}:v'], floating: ['{image}:{nope}']}\n",
        "publish: {tags: ['{image}:v'], to: ['a/{nope}']}\n",
        "cache: {backend: registry, ref: 'a/{nope}:b'}\n",
        "cache: {backend: registry, pull_request_ref: 'a/{nope}:b'}\n",
        "cache: {backend: registry, read: ['a/{nope}:b']}\n",
        "wheels: {python: '{nope}', packages: [x]}\n",
        "wheels: {python: 3.12, packages: ['{nope}']}\n",
        "wheels: {python: 3.12, requirements: ['{nope}']}\n",
        "wheels: {python: 3.12, packages: [x], extra_index_urls: ['https://h/{nope}']}\n",
    ],
)
def test_placeholders_of_every_value_exist(text: str) -> None:
    (problem,) = told(text)
    place = f"12:{text.index('{nope}') + 1}"
    assert problem.startswith(f"{place}: unknown placeholder {{nope}}; known: ")
    assert problem.endswith(" (literal braces: {{nope}})")
    assert not any("unknown placeholder" in one for one in told(text.replace("{nope}", "{{nope}}")))


def test_the_second_of_two_unknown_placeholders_has_its_own_place() -> None:
    text = "  args: {A: '{nope} {image} {nope} {{nope}} {nopf}'}\n"
    columns = (text.index("{nope}") + 1, text.index("{nope} {{") + 1, text.index("{nopf}") + 1)
    assert [one.partition(": ")[0] for one in told(text)] == [f"12:{column}" for column in columns]


@pytest.mark.parametrize("name", ["platform", "platform.arch", "variant.id", "variant.tag", "archs.torch", "arch_list"])
@pytest.mark.parametrize("field", ["tags: ['{image}:T']", "tags: ['{image}:v'], floating: ['{image}:T']",
                                   "tags: ['{image}:v'], to: ['a/T']"])  # fmt: skip
def test_what_differs_between_the_platforms_of_an_index(name: str, field: str) -> None:
    found = told(f"publish: {{{field.replace('T', f'{{{name}}}')}}}\n")
    said = f"{{{name}}} differs between the platforms of one index; leave it out: one index holds all platforms"
    assert [one for one in found if one.endswith(said)] != []
    assert all(one.startswith("12:") for one in found)


def test_rules_of_arch_lists() -> None:
    def rules(kind: str, arch: str, archs: str = "8.0 9.0+PTX") -> list[str]:
        return told(old="{all: 8.0 9.0}", new=f"{{all: {{archs: {archs}, {kind}: [{{arch: '{arch}', why: W}}]}}}}")

    assert rules("require", "9.0") == rules("forbid", "8.6") == rules("require", "8.0", "8.0") == []
    assert rules("require", "8.6") == ["4:27: arch list all must hold 8.6 (line 4: W)"]
    assert rules("forbid", "9.0") == ["4:27: arch list all must never hold 9.0 (line 4: W)"]
    assert rules("forbid", "9.0a") == []
    (problem,) = rules("require", "x")
    assert problem.startswith("4:57: 'x': write an architecture")
