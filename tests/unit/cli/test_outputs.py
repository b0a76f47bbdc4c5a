"""A result never replaces a file of another kind."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from orchestrator.cli import app, outputs
from orchestrator.errors import EnvironmentLacksError, UsageError
from tests.unit.matrix.support import SMALL

KINDS = {"--report": outputs.REPORT, "--html": outputs.PAGE, "--lock": outputs.LOCK}
OWN = {
    "--report": json.dumps({"schema": 1, "variants": []}),
    "--html": "<!DOCTYPE html>\n<html></html>",
    "--lock": json.dumps({"schema": 1, "flashinfer": {}, "bundle": "sha256:0"}),
}
FOREIGN = {
    "matrix.yaml": SMALL,
    "docker-bake.json": json.dumps({"target": {}, "group": {}}),
    "docker-bake.hcl": 'target "a" {}',
    "Dockerfile": "FROM scratch\n",
    "binary": "\x00\xff",
    "deep.json": "[" * 100_000,
}


@pytest.mark.parametrize("option", KINDS)
def test_files_of_its_own_kind_are_replaced_and_others_refused(option: str, tmp_path: Path) -> None:
    kind, path = KINDS[option], tmp_path / "x.out"
    outputs.require_replaceable(path, option, kind)
    for harmless in ("", OWN[option]):
        path.write_text(harmless)
        outputs.require_replaceable(path, option, kind)
    others = {other: text for other, text in OWN.items() if other != option}
    for text in (FOREIGN | others).values():
        path.write_text(text)
        with pytest.raises(UsageError, match=f"{option} .*x.out: the file exists and is not {kind.name}"):
            outputs.require_replaceable(path, option, kind)
    with pytest.raises(UsageError, match=f"{option} {tmp_path}: is a directory") as error:
        outputs.require_replaceable(tmp_path, option, kind)
    assert error.value.hint == f"{option} {tmp_path / kind.example}"


def test_a_result_replaces_nothing_behind_a_link(tmp_path: Path) -> None:
    (tmp_path / "matrix.yaml").write_text(SMALL)
    (tmp_path / "link.json").symlink_to("matrix.yaml")
    with pytest.raises(UsageError, match="is not a build report"):
        outputs.require_replaceable(tmp_path / "link.json", "--report", outputs.REPORT)


def test_that_a_result_can_be_written_is_known_before(tmp_path: Path) -> None:
    outputs.require_writable(tmp_path / "new" / "report.json", "--report")
    assert list((tmp_path / "new").iterdir()) == []
    outputs.require_writable(Path(os.devnull), "--report")
    (tmp_path / "file").write_text("kept")
    outputs.require_writable(tmp_path / "file", "--report")
    assert (tmp_path / "file").read_text() == "kept"
    with pytest.raises(EnvironmentLacksError, match=r"--html .*file/page\.html: the directory .* cannot be written: "):
        outputs.require_writable(tmp_path / "file" / "page.html", "--html")


@pytest.mark.parametrize("name", FOREIGN)
@pytest.mark.parametrize(
    "words", ["build --report", "verify x.so --archs 9.0 --html", "headers lock --flashinfer 1 --lock"]
)
def test_commands_refuse_before_they_begin(
    words: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "matrix.yaml").write_text(SMALL)
    (tmp_path / name).write_text(FOREIGN[name])
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert app.run([*words.split(), name]) == 2
    assert "the file exists and is not" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
