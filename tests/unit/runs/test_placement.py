"""Which builder a variant goes to."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.runs.placement import choose, preferred

NAMES = st.sets(st.text("abcdef", min_size=1, max_size=4), min_size=1, max_size=5)


@given(NAMES, st.text(max_size=8))
def test_every_builder_is_in_the_order_once_whatever_order_they_come_in(names: set[str], variant: str) -> None:
    slots = dict.fromkeys(sorted(names), 1)
    found = preferred(variant, slots)
    assert sorted(found) == sorted(names)
    assert found == preferred(variant, dict(reversed(slots.items())))


@given(NAMES, st.text(max_size=8))
def test_a_builder_that_goes_moves_its_own_variants_alone(names: set[str], variant: str) -> None:
    whole = preferred(variant, dict.fromkeys(names, 1))
    for gone in names:
        rest = preferred(variant, dict.fromkeys(names - {gone}, 1))
        assert rest == tuple(name for name in whole if name != gone)


def test_slots_weigh() -> None:
    first = Counter(preferred(f"v{number}", {"large": 3, "small": 1})[0] for number in range(2000))
    assert 0.7 < first["large"] / 2000 < 0.8


def test_the_last_builder_leads_if_it_is_still_there() -> None:
    slots = {"a": 1, "b": 1, "c": 1}
    usual = preferred("v", slots)
    assert preferred("v", slots, last=usual[2]) == (usual[2], *usual[:2])
    assert preferred("v", slots, last="gone") == usual


def test_a_preferred_builder_first_and_no_slot_left_idle() -> None:
    assert choose([("a", "b"), ("b", "a")], {"b"}) == (1, "b")
    assert choose([("a", "b"), ("a",)], {"b"}) == (0, "b")
    assert choose([("a",), ()], {"b"}) is None
    assert choose([("a",)], set()) is None
    assert choose([], {"a"}) is None
