"""`orchestrate verify` on files and directories: promises, formats, exit codes. No image, no process."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from orchestrator.cli import app
from tests.support import fatbins
from tests.unit.matrix.support import SMALL

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "k.so").write_bytes(fatbins.library([["80"], ["90"]]))
    return "k.so"


def test_what_was_promised_is_held_or_named(library: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["verify", library, "--archs", "8.0 9.0"]) == 0
    assert app.run(["verify", library, "--archs", "8.0 9.0 10.0"]) == 4
    told = capsys.readouterr()
    assert "k.so does not hold what was promised: 1 problem in k.so" in told.err
    assert app.run(["verify", library, "--archs", "8.0 9.0", "--require", "other.so"]) == 4
    assert "other.so" in capsys.readouterr().err


def test_the_result_for_scripts(library: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["verify", library, "--archs", "9.0", "--format", "json", "--html", "new/page.html"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["schema"] == 1
    assert content["ok"] is True
    assert (tmp_path / "new/page.html").read_text().lower().startswith("<!doctype html")


def test_where_nothing_is_promised_nothing_is_judged(library: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["verify", library]) == 0
    assert "nothing was promised, so nothing was judged; name what it must hold: --archs" in capsys.readouterr().err


def test_a_device_stands_for_its_architecture(library: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["verify", library, "--device", "H100"]) == 0
    assert app.run(["verify", library, "--device", "thor"]) == 4
    capsys.readouterr()
    assert app.run(["verify", library, "--device", "H1000"]) == 2
    assert "--device H1000" in capsys.readouterr().err


@pytest.mark.parametrize("empty", ["", " "])
def test_an_empty_source_is_not_the_directory_one_stands_in(
    library: str, empty: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """`verify "$IMAGE" --archs …` with an unset variable passed by what a checkout holds."""
    assert app.run(["verify", ".", "--archs", "8.0 9.0"]) == 0, library
    assert app.run(["verify", empty, "--archs", "8.0 9.0"]) == 2
    assert "SOURCE: the value is empty" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["k.so", "--archs", "9.x"], "--archs: "),
        (["k.so", "k.so"], "SOURCE: expected one source, found 2"),
        (["gone.so", "--archs", "9.0"], "gone.so"),
        (["k.so", "--archs", "9.0", "--platform", "linux/amd64", "--platform", "linux/arm64"], "expected one platform"),
        (["k.so", "--archs", "9.0", "--html", "matrix.yaml"], "the file exists and is not an HTML page"),
    ],
)
def test_arguments_that_are_wrong(
    library: str, tmp_path: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert library
    (tmp_path / "matrix.yaml").write_text(SMALL)
    assert app.run(["verify", *words]) == 2
    assert said in capsys.readouterr().err


def test_a_variant_of_the_matrix_promises(library: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "matrix.yaml").write_text(SMALL)
    assert app.run(["verify", library, "--variant", "app-cu130-amd64", "--format", "json"]) == 0
    assert "variant app-cu130-amd64" in capsys.readouterr().out
    text = SMALL.replace("8.0 9.0", "8.0 9.0 10.0")
    (tmp_path / "matrix.yaml").write_text(text)
    assert app.run(["verify", library, "--cuda", "13.0"]) == 4
    (tmp_path / "matrix.yaml").write_text(text.replace("  linux/amd64:\n", "  linux/amd64:\n  linux/arm64:\n"))
    capsys.readouterr()
    assert app.run(["verify", library, "--cuda", "13.0"]) == 2
    told = capsys.readouterr().err
    assert "the options select 2 variants, and one image holds one" in told
    assert "hint: choose one of: app-cu130-amd64, app-cu130-arm64" in told


def test_the_policy_of_a_named_matrix_counts(library: str, tmp_path: Path) -> None:
    (tmp_path / "strict.yaml").write_text(SMALL + "verify: {require: [{glob: needed.so}]}\n")
    assert app.run(["verify", library, "--archs", "9.0"]) == 0
    assert app.run(["verify", library, "--archs", "9.0", "-f", "strict.yaml"]) == 4


def test_two_builds_are_compared(library: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "new.so").write_bytes(fatbins.library([["80"]]))
    for folder, name in (("a", library), ("b", "new.so")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "k.so").write_bytes((tmp_path / name).read_bytes())
    assert app.run(["verify", "--compare", "a", "b"]) == 0
    assert app.run(["verify", "--compare", "--fail-on-lost", "b", "a"]) == 0
    capsys.readouterr()
    assert app.run(["verify", "--compare", "--fail-on-lost", "a", "b"]) == 4
    assert "b lost code that a holds" in capsys.readouterr().err


def test_scans_are_kept_unless_nobody_wants_them(library: str, tmp_path: Path) -> None:
    (tmp_path / "wheel").mkdir()
    (tmp_path / "wheel" / "k.so").write_bytes((tmp_path / library).read_bytes())
    assert app.run(["verify", "wheel", "--archs", "9.0", "--no-cache"]) == 0
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        ("k.so k.so", "SOURCE: expected one source, found 2", "to compare two, use --compare OLD NEW"),
        ("--compare k.so", "--compare: expected two sources, the old one first, found 1", ""),
        ("k.so --archs 9.0 --platform a/b --platform c/d",
         "--platform: expected one platform, because one image has one", ""),
        ("k.so --device volta",
         "--device volta: 'volta' is ambiguous (V100 7.0, Jetson Xavier 7.2); write its compute capability, as in 9.0",
         "one of: V100 7.0, Jetson Xavier 7.2"),
        ("k.so --device H1000", "--device H1000: 'H1000' is not a known GPU; write its compute capability, as in 9.0",
         "did you mean H100?"),
        ("--signature k.so", "--signature: publish.sign was not found in matrix.yaml",
         "publish: {sign: {private_key: cosign.key, public_key: cosign.pub}}"),
    ],
)  # fmt: skip
def test_why_arguments_are_refused(
    library: str, tmp_path: Path, words: str, message: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert library in words
    (tmp_path / "matrix.yaml").write_text(SMALL)
    assert app.run(["verify", *words.split()]) == 2
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", f"error: {message}\n" + (f"hint: {hint}\n" if hint else ""))


def test_every_format_and_what_a_library_costs(library: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["verify", library, "--cost"]) == 0
    shown = capsys.readouterr()
    assert (library in shown.out, "nothing was promised" in shown.err) == (True, False)
    assert app.run(["verify", library, "--archs", "9.0", "--cost", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["cost"]
    assert app.run(["verify", library, "--archs", "9.0", "--format", "json"]) == 0
    assert "cost" not in json.loads(capsys.readouterr().out)
    assert app.run(["verify", library, "--archs", "10.0", "--format", "sarif"]) == 4
    assert json.loads(capsys.readouterr().out)["runs"][0]["results"]
    for format_ in ("json", "sarif", "table"):
        assert app.run(["verify", "--compare", library, library, "--format", format_]) == 0
        out = capsys.readouterr().out
        assert (json.loads(out) if format_ != "table" else out) != {}
