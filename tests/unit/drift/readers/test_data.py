from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from orchestrator.dockerfile.spans import Found, Style, write
from orchestrator.drift.readers import data, shell, tree
from tests.support.generated import examples

PIPELINE = """\
env:
  LIST: "8.0 9.0"   # é, a comment
  PLAIN: 13.0.2
steps:
  - group: "wheels"
    steps:
      - id: arm64-cu129
        commands:
          - "docker build --build-arg LIST=\\"${LIST}\\" --build-arg JOBS=16 ."
      - id: x86-cu130
        commands:
          - |
            set -e
            docker build \\
              --build-arg JOBS=8 .
  - id: top
    run: >-
      docker build
      --build-arg JOBS='4' .
"""


def at(text: str, format_: data.Format, pointer: str) -> list[Found]:
    steps = tree.split_pointer(pointer)
    return [data.place(node) for root in data.parse(text, format_) for node in tree.select(root, steps)]


def test_yaml_by_pointer() -> None:
    (found,) = at(PIPELINE, "yaml", "/env/LIST")
    assert (found.value, found.styles) == ("8.0 9.0", (Style.YAML_DOUBLE,))
    assert PIPELINE[found.start : found.end] == "8.0 9.0"
    assert [found.value for found in at(PIPELINE, "yaml", "/steps/*/id")] == ["top"]
    assert [found.value for found in at(PIPELINE, "yaml", "/steps/0/steps/id=*cu130/id")] == ["x86-cu130"]
    assert at(PIPELINE, "yaml", "/steps/7") == []


def test_commands_inside_yaml_scalars_keep_their_places() -> None:
    roots = data.parse(PIPELINE, "yaml")
    environment = data.environment(roots)
    found = [arg for one in data.scripts(roots, (), "--build-arg") for arg in shell.build_args(one.source, environment)]
    places = [arg.found for arg in found if arg.name == "JOBS"]
    texts = [PIPELINE[place.start : place.end] for place in places if place is not None]
    assert texts == ["16", "8", "4"]
    (listed,) = [arg.found for arg in found if arg.name == "LIST"]
    assert listed is not None
    assert listed.value == "8.0 9.0"
    assert PIPELINE[listed.start : listed.end] == "${LIST}"
    assert listed.styles == (Style.DOUBLE, Style.YAML_DOUBLE)


def test_json_and_toml_by_pointer() -> None:
    text = '{"a~b": [1, {"x": "\\u00e9"}], "c/d": {"t": true}}'
    (escaped,) = at(text, "json", "/a~0b/1/x")
    assert (escaped.value, text[escaped.start : escaped.end]) == ("é", "\\u00e9")
    (flag,) = at(text, "json", "/c~1d/t")
    assert (flag.value, flag.styles) == ("true", (Style.JSON_BARE,))
    toml = '[tool.x]\n"a.b" = [1, "two"] # c\n[[t]]\nn = 1\n[[t]]\nn = \'2\'\nm = """\nlong"""\ni = {k = 3}\n'
    assert [found.value for found in at(toml, "toml", "/t/*/n")] == ["1", "2"]
    (two,) = at(toml, "toml", "/tool/x/a.b/1")
    assert toml[two.start : two.end] == "two"
    (k,) = at(toml, "toml", "/t/1/i/k")
    assert toml[k.start : k.end] == "3"
    (long,) = at(toml, "toml", "/t/1/m")
    assert long.value == "long"
    assert long.via


@pytest.mark.parametrize(
    ("format_", "text"),
    [("json", "{"), ("json", '{"a": 1,}'), ("json", "[1] x"), ("yaml", "a: [1"), ("yaml", "a: b: c"), ("toml", "a ="),
     ("json", "[" * 1000), ("yaml", "[" * 5000), ("toml", "a = " + "[" * 5000)],
)  # fmt: skip
def test_what_is_not_of_the_format_says_where(format_: data.Format, text: str) -> None:
    with pytest.raises(ValueError, match=r"not|nested"):
        data.parse(text, format_)


def test_aliases_of_aliases_end() -> None:
    bomb = "a: &a [1,1,1,1,1,1,1,1,1]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(9)
    )
    with pytest.raises(ValueError, match="too many"):
        data.parse(bomb, "yaml")


def test_merge_keys_and_duplicates() -> None:
    text = "base: &b {x: 1, y: 2}\nmine:\n  <<: *b\n  x: 3\n"
    assert [found.value for found in at(text, "yaml", "/mine/x")] == ["3"]
    assert [found.value for found in at(text, "yaml", "/mine/y")] == ["2"]


def test_a_pointer_begins_with_a_slash() -> None:
    with pytest.raises(ValueError, match="begins with"):
        tree.split_pointer("a/b")


scalars = st.one_of(st.text(max_size=12), st.integers(-99, 99), st.booleans(), st.none())
trees = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
)


@examples(80)
@given(trees, st.sampled_from([None, 2]), st.booleans())
def test_json_says_what_the_standard_library_says(value: object, indent: int | None, ascii_: bool) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_)
    (root,) = data.parse(text, "json")
    assert [str(node.value) for node in root.scalars()] == _leaves(value)
    for node in root.scalars():
        assert node.inner is not None
        assert json.loads(text[node.start : node.end]) == json.loads(text[node.start : node.end])


def _leaves(value: object) -> list[str]:
    if isinstance(value, list):
        return [leaf for item in value for leaf in _leaves(item)]
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in _leaves(item)]
    return [value if isinstance(value, str) else json.dumps(value)]


printable = st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"], exclude_characters="\x85\ufeff")
quotable = st.text(printable, max_size=15)


@examples(120)
@example("-", Style.YAML_PLAIN)
@example("- 8.0", Style.YAML_PLAIN)
@given(quotable, st.sampled_from([Style.YAML_PLAIN, Style.YAML_SINGLE, Style.YAML_DOUBLE]))
def test_what_is_written_into_yaml_is_read_back(value: str, style: Style) -> None:
    written = write(value, [style])
    if style is Style.YAML_PLAIN and not value:
        return
    assert written is not None
    quote = {Style.YAML_SINGLE: "'", Style.YAML_DOUBLE: '"'}.get(style, "")
    text = f"# é\nkey: {quote}{written}{quote}  # after\nother: 1\n"
    (found,) = at(text, "yaml", "/key")
    assert found.value == value


@pytest.mark.parametrize(
    ("text", "value", "spelled"),
    [
        ("k: a\n  b\n\n  c\n", "a b\nc", "a\n  b\n\n  c"),
        ("k: 'it''s\n  so'\n", "it's so", "it''s\n  so"),
        ('k: "a\\tb\\x41\\u00e9\\U0001F600\\\n  c\\"d"\n', 'a\tbA\u00e9\U0001f600c"d', ""),
        ("k: |\n  a\n   b\n\n  c\nz: 1\n", "a\n b\n\nc\n", ""),
        ("k: |- # kept\n  a\n  b\n\nz: 1\n", "a\nb", ""),
        ("k: |+\n  a\n\n\nz: 1\n", "a\n\n\n", ""),
        ("k: >\n  a\n  b\n\n  c\n    d\n  e\nz: 1\n", "a b\nc\n  d\ne\n", ""),
        ("k: >-\n  a\n  b\nz: 1\n", "a b", ""),
        ("k: |2\n    a\nz: 1\n", "  a\n", ""),  # an indentation that is given is not followed into
    ],
)
def test_each_way_of_yaml_to_write_a_text(text: str, value: str, spelled: str) -> None:
    (found,) = at(text, "yaml", "/k")
    assert found.value == value
    assert spelled in text[found.start - 1 : found.end + 1]


def test_a_word_of_a_script_is_found_in_each_way_of_writing_it() -> None:
    for scalar in (
        "|\n    docker build \\\n      --build-arg LIST=8.0 .\n", ">-\n    docker build\n    --build-arg LIST=8.0 .\n",
        '"docker build \\\n    --build-arg LIST=8.0 ."\n', "'docker build\n\n    --build-arg LIST=8.0 .'\n",
        "docker build\n    --build-arg LIST=8.0 .\n",
    ):  # fmt: skip
        text = f"steps:\n- run: {scalar}other: 1\n"
        (one,) = data.scripts(data.parse(text, "yaml"), (), "--build-arg")
        (found,) = [arg.found for arg in shell.build_args(one.source, {}) if arg.name == "LIST"]
        assert found is not None
        assert text[found.start : found.end] == "8.0", scalar
