"""Every pair of options of a command works or is refused: no option is ignored beside another one.

READS says, apart from the commands themselves, which options each way of calling a command looks at. A pair that no way
looks at together must be refused before anything is done, and every other pair must not be.
"""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING

import click
import pytest

from orchestrator.cli import app
from orchestrator.cli.kit import Argument, Command, Option
from tests.support.generated import stride
from tests.unit.cli.test_options import COMMANDS, words

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PLACE = "--file --directory "
SELECT = f"{PLACE}--cuda --platform --target --axis --variant "
ALL = f"{SELECT}--arg --archs --image "
READS = {
    "plan": {
        "": f"{ALL}--format",
        "--format=bake": f"{ALL}--format --cache",
        "--explain": f"{ALL}--cache",
        "--kernels": f"{SELECT}--archs",
        "--preflight": f"{ALL}--no-push --builder --allow --cache --format",
        "--status": f"{ALL}--builder --format --verify",
        "--diff": f"{ALL}--format",
        "--network-report": f"{ALL}--format",
    },
    "build": {
        way: f"{ALL}--report --format --progress --jobs --limit --fail-fast --adapt --only-failed --cache --allow "
        f"--builder --air-gapped --registry {more}"
        for way, more in {
            "": "--resume --max-age",
            "--push": "--verify --resume --max-age",
            "--push --changed": "--verify --max-age",
            "--load": "--verify --resume --max-age",
            "--output": "--verify --resume --max-age",
        }.items()
    },
    "check": {
        "": f"{PLACE}--format",
        "--fix": PLACE,
        "--diff": PLACE,
        "--fix --format=json": PLACE,
        "--diff --format=json": PLACE,
        "--find": "--directory",
        "--find --format=json": "--directory",
    },
    "verify": {
        way: f"{which}--require --allow-ptx --deep --no-cache {how}"
        for by, which in {"": SELECT, "--archs": f"{PLACE}--platform ", "--device": f"{PLACE}--platform "}.items()
        for way, how in {by: "--html --format", f"{by} --cost".strip(): "--html --format=json"}.items()
    }
    | {
        "--compare": "--fail-on-lost --platform --deep --no-cache --format",
        "--fail-on-lost": "--platform --deep --no-cache --format",
        "--signature": PLACE,
    },
    "cache ls": {"": f"{SELECT}--image --builder --format"},
    "cache explain": {"": PLACE},
    "cache prune": {
        "": f"{SELECT}--image --closed-pr --older-than --yes",
        "--keep": f"{PLACE}--image --builder --yes --min-free",
        "--min-free": f"{PLACE}--image --builder --yes",
    },
    "publish": {
        "": f"{ALL}--from-registry --dry-run --allow-older --format",
        "--report": f"{ALL}--dry-run --allow-older --format",
        "--notes": f"{ALL}--from-registry --dry-run --allow-older",
        "--report --notes": f"{ALL}--dry-run --allow-older",
        "--rollback": PLACE,
    },
    "doctor": {"": f"{SELECT}--image --jobs --builder --format"},
    "logs": {"": f"{PLACE}--follow"},
    "report last": {"": f"{PLACE}--html"},
    "clean": {"": f"{PLACE}--stores --yes"},
    "lock bases": {"": f"{PLACE}--check"},
    "init": {
        "": f"{PLACE}--force",
        "--print": PLACE,
        "--workflow": f"{PLACE}--force --tool",
        "--workflow --print": f"{PLACE}--tool",
    },
}
VALUES = {
    "--format": "json", "--cache": "off", "--jobs": "2", "--older-than": "9", "--progress": "plain", "--axis": "a=b",
    "--arg": "A=b", "--max-age": "2h", "--limit": "step=3h", "--keep": "1GB", "--min-free": "1GB", "--archs": "9.0",
}  # fmt: skip


def options(name: str) -> list[str]:
    """The long names of a command's options, but those that every command has."""
    found = [one.opts[-1] for one in COMMANDS[name].params if isinstance(one, Option)]
    return [one for one in found if one != "--verbose"]


def typed(name: str, option: str) -> list[str]:
    return [option, VALUES[option]] if option in VALUES else words(COMMANDS[name], option)


def ways(name: str, pair: tuple[str, str]) -> Iterator[list[str]]:
    """The ways of calling a command that look at both options."""
    for way, reads in READS[name].items():
        mode = way.split()
        known = {one.partition("=")[0] for one in (*mode, *reads.split())}
        values = {one for one in (*mode, *reads.split()) if one.startswith("--format=")}
        if {*pair} <= known and ("--format" not in pair or "--format=json" in values or not values):
            yield mode


class Reached(BaseException):
    """The command was about to run."""


@pytest.fixture
def _not_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    invoke = click.Command.invoke

    def stop(command: click.Command, ctx: click.Context) -> object:
        if isinstance(command, Command):
            raise Reached
        return invoke(command, ctx)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(click.Command, "invoke", stop)


def reached(arguments: list[str]) -> bool:
    try:
        assert app.run(arguments) == 2
    except Reached:
        return True
    return False


@pytest.mark.usefixtures("_not_run")
@pytest.mark.parametrize("name", READS)
def test_every_pair_of_options_works_or_is_refused(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    sources = ["source" for one in COMMANDS[name].params if isinstance(one, Argument) and one.required]
    wrong = []
    for pair in itertools.islice(itertools.combinations(options(name), 2), 0, None, stride(1)):
        start = [*name.split(), *sources]
        modes = list(ways(name, pair))
        if not modes:
            if reached([*start, *typed(name, pair[0]), *typed(name, pair[1])]):
                wrong.append(f"{' '.join(pair)} is accepted, though nothing looks at both")
            elif not re.search("cannot be combined with|has no effect without", capsys.readouterr().err):
                wrong.append(f"{' '.join(pair)} is refused for another reason")
            continue
        for mode in modes:
            given = [*(one for one in mode if one.partition("=")[0] not in pair), *pair]
            if "--max-age" in given and not {"--resume", "--changed"} & {*given}:
                given.append("--resume")
            if "--registry" in given:
                given.append("--air-gapped")
            if not reached([*start, *(word for one in dict.fromkeys(given) for word in typed(name, one))]):
                wrong.append(f"{' '.join(given)} is refused: {capsys.readouterr().err.splitlines()[0]}")
    assert wrong == []


def test_the_table_names_options_that_exist() -> None:
    for name, found in READS.items():
        told = {one.partition("=")[0] for way, reads in found.items() for one in f"{way} {reads}".split()}
        assert told == {*options(name)}, name
