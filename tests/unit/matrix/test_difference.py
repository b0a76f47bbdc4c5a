"""What `plan --diff` compares: every value of a variant that a change of the file can change."""

from __future__ import annotations

import pytest

from orchestrator.matrix.difference import Changed, difference
from orchestrator.matrix.selectors import Selector, matching
from tests.unit.matrix.support import SMALL, planned

PLAN = planned(SMALL)


def after(*edits: tuple[str, str]) -> str:
    text = SMALL
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    return text


def test_a_plan_is_the_same_as_itself() -> None:
    found = difference(PLAN, planned(SMALL))
    assert (found.added, found.removed, found.changed, found.same) == ((), (), (), len(PLAN.variants))


def test_without_a_matrix_before_everything_is_new() -> None:
    found = difference(None, PLAN)
    assert (found.added, found.removed, found.changed, found.same) == (PLAN.variants, (), (), 0)


def test_what_another_plan_has_not_is_selected_as_nothing() -> None:
    assert matching(PLAN, Selector(cuda=["1.0"])).variants == ()
    assert matching(PLAN, Selector(axes={"none": ["1"]})).variants == ()
    assert matching(PLAN, Selector()) is PLAN


def words(one: Changed) -> list[str]:
    lists = [f"{each.what} +{','.join(each.gained)} -{','.join(each.lost)}" for each in one.lists]
    return lists + [f"{edit.what}: {edit.before} -> {edit.after}" for edit in one.edits]


@pytest.mark.parametrize(
    ("edit", "found"),
    [
        (("8.0 9.0", "9.0 11.0"), ["archs +11.0 -8.0"]),
        (('"{image}:{variant.id}"', '"{image}:new"'), ["tags +acme/app:new -acme/app:app-cu130-amd64"]),
        (("13.0.2", "13.0.1"), ["CUDA: 13.0.2 -> 13.0.1"]),
        (("linux/amd64:", "linux/amd64: {runner: [big, gpu]}"), ["runner:  -> big gpu"]),
        (("variants:\n", "variants:\n  args: {jobs: 8}\n"), ["argument jobs: None -> 8"]),
        (("variants:\n", "variants:\n  labels: {a: b}\n"), ["label a: None -> b"]),
        (("variants:\n", "variants:\n  contexts: {a: b}\n"), ["context a: None -> b"]),
        (("variants:\n", 'variants:\n  secrets: ["id=a,env=B"]\n'), ["secrets +id=a,env=B -"]),
        (("variants:\n", 'publish: {tags: ["{image}:1"]}\nvariants:\n'), ["index tags +acme/app:1 -"]),
        (
            ("variants:\n", 'publish: {tags: ["{image}:1"], floating: ["{image}:x"]}\nvariants:\n'),
            ["index tags +acme/app:1 -", "floating tags +acme/app:x -"],
        ),
        (("variants:\n", 'cache: {backend: registry, ref: "{image}:c"}\nvariants:\n'), ["cache"]),
        (("variants:\n", "compile_cache: {}\nvariants:\n"), ["compile cache: False -> True"]),
        (("variants:\n", "headers: {version: 0.6.13}\nvariants:\n"), ["FlashInfer headers: False -> True"]),
    ],
)
def test_each_value_of_a_variant_is_compared(edit: tuple[str, str], found: list[str]) -> None:
    done = difference(PLAN, planned(after(edit)))
    (changed,) = done.changed
    said = words(changed)
    assert (done.added, done.removed, done.same) == ((), (), 0)
    assert said == found or (found == ["cache"] and said[0].startswith("cache: "))
    back = difference(planned(after(edit)), PLAN)
    assert [one.id for one in back.changed] == [changed.id]


def test_rows_come_and_go_with_their_reason() -> None:
    more = after(("  linux/amd64:\n", "  linux/amd64:\n  linux/arm64:\n"))
    found = difference(PLAN, planned(more))
    assert ([one.id for one in found.added], found.same) == (["app-cu130-arm64"], 1)
    gone = difference(planned(more), PLAN).removed
    assert [(one.id, one.why) for one in gone] == [("app-cu130-arm64", "")]
    excluded = f"{more}exclude: [{{when: {{platform: linux/arm64}}, why: no machine}}]\n"
    gone = difference(planned(more), planned(excluded)).removed
    assert [(one.id, one.why) for one in gone] == [("app-cu130-arm64", "no machine")]
