"""What the shared options mean."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cli import common
from orchestrator.cli.cache.shared import whole_plan
from orchestrator.cli.common import Location, Selection
from orchestrator.errors import UsageError
from tests.unit.matrix.support import EXAMPLE, SMALL


def test_the_matrix_above_in_the_checkout_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = tmp_path / "checkout" / "a" / "b"
    inner.mkdir(parents=True)
    (tmp_path / "matrix.yaml").write_text(SMALL)
    assert common.above(inner) is None  # no checkout
    (tmp_path / "checkout" / ".git").mkdir()
    assert common.above(inner) is None  # outside of it
    outer = tmp_path / "checkout" / "matrix.yaml"
    outer.write_text(SMALL)
    assert common.above(inner) == outer
    nearer = tmp_path / "checkout" / "a" / "matrix.yaml"
    nearer.write_text(SMALL)
    assert Location(directory=inner).path == nearer
    assert common.above(nearer.parent) is None
    assert Location(directory=nearer.parent).path == nearer
    assert Location(directory=inner, file=Path("x.yaml")).path == inner / "x.yaml"
    assert Location(directory=inner).place == inner / "matrix.yaml"
    assert Location().root == Path()
    monkeypatch.chdir(inner)
    assert common.open_matrix(Location()).positions.file == "../matrix.yaml"
    assert common.open_matrix(Location(file=outer)).positions.file == str(outer)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    real = Path.stat
    monkeypatch.setattr(common, "_owner", lambda path: 7 if path == nearer else real(path).st_uid)
    assert common.above(inner) == outer  # the nearer one is another user's


@pytest.mark.parametrize(
    ("text", "found"), [("90s", 90), ("30m", 1800), ("12h", 43200), ("7d", 604800), ("2w", 1209600)]
)
def test_a_span_in_seconds(text: str, found: float) -> None:
    assert common.seconds("--max-age", text) == found


@pytest.mark.parametrize("text", ["", "7", "d", "1.5h", "-1s", "7 d", "12345678s", "7y"])
def test_a_span_that_is_none(text: str) -> None:
    with pytest.raises(UsageError) as error:
        common.seconds("--max-age", text)
    form = "a number and s, m, h, d or w, as in 90s or 7d"
    assert str(error.value) == f"--max-age {text}: the span is invalid: expected {form}"


def test_a_size_in_bytes() -> None:
    assert common.size("--keep", "60GB") == 60_000_000_000
    assert common.size("--keep", "1GiB") == 1 << 30
    with pytest.raises(UsageError) as error:
        common.size("--keep", "much")
    assert str(error.value).startswith("--keep much: ")
    assert error.value.__cause__ is not None


def test_a_selection_keeps_what_its_options_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"SHA": "0" * 40, "BRANCH": "main", "TAG": "", "DIRTY": "0"}.items():
        monkeypatch.setenv(f"ORCHESTRATE_GIT_{name}", value)
    (tmp_path / "matrix.yaml").write_text(EXAMPLE)
    options: dict[str, Any] = {
        "cuda": ("13.0",), "platform": ("linux/amd64",), "target": ("openai",), "axis": ("python=3.12",),
        "variant": ("*python3-12",),
    }  # fmt: skip
    every = len(common.open_plan(Selection(directory=tmp_path)).variants)
    for name, chosen in options.items():
        given = Selection(directory=tmp_path, **{name: chosen})
        assert 0 < len(common.open_plan(given).variants) < every, name
        assert len(whole_plan(given).variants) == every
    given = Selection(directory=tmp_path, **options)
    assert len(common.open_plan(given).variants) == 1
    plan = common.open_plan(Selection(directory=tmp_path, archs="9.0", image="r.test/x", cuda=("13.0",)))
    assert {str(arch) for variant in plan.variants for arch in variant.archs.effective} == {"9.0"}
    assert plan.image == "r.test/x"
    assert len(whole_plan(Selection(directory=tmp_path, image="r.test/x", cuda=("13.0",))).variants) == every
