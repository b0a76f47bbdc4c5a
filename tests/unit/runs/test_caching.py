"""Which layer caches a builder writes, and why one is left out."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from orchestrator.bake.file import Extras
from orchestrator.bake.ladder import Standing
from orchestrator.engine.builders import Builder
from orchestrator.runs.caching import fitting, reasons
from tests.unit.matrix.support import SMALL, planned

OLD = Builder(name="default", driver="docker", platforms=(), running=True)
WHY = "builder default (driver docker) cannot export a {} cache"


def ignored(_: str) -> None:
    """What is said is not looked at here."""


def with_cache(backend: str) -> str:
    more = {"local": ", dir: c", "s3": ", options: {bucket: b, region: r}"}.get(backend, "")
    return f"{SMALL}cache: {{backend: {backend}{more}}}\n"


@pytest.mark.parametrize("backend", ["registry", "local", "gha", "s3"])
def test_a_cache_that_the_builder_cannot_write_is_left_out_with_a_reason(backend: str) -> None:
    plan = planned(with_cache(backend))
    warned: list[str] = []
    found = fitting(plan, {"a": Extras(), "b": Extras(args={"x": "1"})}, OLD, warn=warned.append)
    why = WHY.format(backend)
    assert warned == [f"the cache is not written: {why}"]
    assert {name: one.cache.unwritten for name, one in found.items()} == {"a": why, "b": why}
    assert {one.cache.unread for one in found.values()} == {why if backend == "s3" else ""}
    assert found["b"].args == {"x": "1"}


def test_reasons_that_were_there_before_stay() -> None:
    plan = planned(with_cache("s3"))
    extras = {"a": Extras(cache=Standing(unread="r", unwritten="w")), "b": Extras()}
    found = fitting(plan, extras, OLD, warn=ignored)
    assert (found["a"].cache.unread, found["a"].cache.unwritten) == ("r", "w")


def test_nothing_is_said_where_the_cache_is_written_or_nobody_writes_one() -> None:
    warned: list[str] = []
    extras = {"a": Extras()}
    for plan, builder, given in (
        (planned(with_cache("registry")), replace(OLD, containerd_store=True), extras),
        (planned(with_cache("off")), OLD, extras),
        (planned(with_cache("registry")), OLD, {"a": Extras(cache=Standing(unwritten="a fork"))}),
    ):
        assert fitting(plan, given, builder, warn=warned.append) == given
    assert warned == []


def test_each_reason_is_told_once() -> None:
    extras = {
        "a": Extras(cache=Standing(unread="no login", unwritten="no login")),
        "b": Extras(cache=Standing(unread="no login")),
        "c": Extras(cache=Standing(unwritten="a fork")),
        "d": Extras(),
    }
    assert reasons(extras, "registry") == [
        "the cache is not used: no login", "the cache is read and not written: a fork",
    ]  # fmt: skip
    assert reasons(extras, "off") == []
    assert reasons({}, "registry") == []
