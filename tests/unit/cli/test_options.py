"""What every command and option must have: a help text that helps, a default that is said, examples, no dead ends."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from orchestrator.cli import app, cache, headers, lock, report, wheels
from orchestrator.cli.common import Selection
from orchestrator.cli.kit import Argument, Command, LazyGroup, Option

if TYPE_CHECKING:
    from collections.abc import Iterator


def every(group: LazyGroup, *path: str) -> Iterator[tuple[str, Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        if isinstance(found, LazyGroup):
            yield from every(found, *path, name)
        else:
            assert isinstance(found, Command)
            yield " ".join((*path, name)), found


ROOT = app.create()
assert isinstance(ROOT, LazyGroup)
COMMANDS = dict(every(ROOT))
OPTIONS = [
    (name, param) for name, command in COMMANDS.items() for param in command.params if isinstance(param, Option)
] + [("", param) for param in ROOT.params if isinstance(param, Option)]
# The verb that an option's help begins with: what it makes the program do.
_VERBS = """
Accept Allow Build Cancel Check Choose Compare Download Fetch Install Judge Keep Let List Listen Load Lock Look Print
Push Read Remove Replace Select Set Show Skip Stop Use Verify Write
"""
VERBS = frozenset(_VERBS.split())


def test_all_commands_are_there() -> None:
    assert list(app.COMMANDS) == [
        "plan", "build", "logs", "report", "check", "init", "headers", "wheels", "cache", "lock", "publish", "verify",
        "doctor", "clean", "schema", "plugin", "help",
    ]  # fmt: skip
    assert list(lock.COMMANDS) == ["bases"]
    assert list(report.COMMANDS) == ["last"]
    assert list(cache.COMMANDS) == ["ls", "explain", "prune"]
    assert list(headers.COMMANDS) == ["lock", "fetch", "verify", "export", "import", "serve", "status", "gc"]
    assert list(wheels.COMMANDS) == ["lock", "fetch", "verify"]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run([*name.split(), "--help"]) == 0
    said = capsys.readouterr().out
    assert f"Examples:\n  orchestrate {name}" in said
    file = "--file FILE" if name == "logs" else "-f, --file FILE"  # logs -f follows, as with docker and tail
    for names in (file, "-C, --directory DIR", "-v, --verbose", "-h, --help"):
        assert names in said
    for heading in {param.heading.value for of, param in OPTIONS if of == name}:
        assert f"\n{heading}:\n" in said
    for param in COMMANDS[name].params:
        assert not isinstance(param, Argument) or len(param.explanation.split()) >= 4


def test_the_list_of_commands_says_what_each_says_itself() -> None:
    told = {
        name: lazy.summary
        for name, lazy in app.COMMANDS.items()
        if name not in {"headers", "wheels", "cache", "lock", "report"}
    }
    told |= {f"headers {name}": lazy.summary for name, lazy in headers.COMMANDS.items()}
    told |= {f"wheels {name}": lazy.summary for name, lazy in wheels.COMMANDS.items()}
    told |= {f"cache {name}": lazy.summary for name, lazy in cache.COMMANDS.items()}
    told |= {f"report {name}": lazy.summary for name, lazy in report.COMMANDS.items()}
    told |= {f"lock {name}": lazy.summary for name, lazy in lock.COMMANDS.items()}
    assert told == {name: str(command.help).split("\n", 1)[0] for name, command in COMMANDS.items()}
    assert app.COMMANDS["report"].summary == str(report.command.help).split("\n", 1)[0]
    assert app.COMMANDS["lock"].summary == str(lock.command.help).split("\n", 1)[0]
    assert app.COMMANDS["cache"].summary == str(cache.command.help).split("\n", 1)[0]
    assert app.COMMANDS["wheels"].summary == str(wheels.command.help).split("\n", 1)[0]
    assert app.COMMANDS["headers"].summary == str(headers.command.help).split("\n", 1)[0]


@pytest.mark.parametrize(("name", "option"), OPTIONS, ids=lambda value: getattr(value, "name", value))
def test_no_help_text_is_a_fragment(name: str, option: Option) -> None:
    del name
    text = str(option.help)
    assert len(text.split()) >= 4, text
    assert text.split(maxsplit=1)[0].rstrip(":") in VERBS, text
    if not option.is_flag or option.secondary_opts:
        assert f"default: {option.default_text}" in option.explained()
        assert option.default_text
    assert option.multiple == ("repeatable" in option.explained())


def test_an_option_means_the_same_wherever_it_is() -> None:
    shared = ["--cuda", "--target", "--axis", "--variant", "--arg", "-f", "-C", "-v"]
    for name in shared:
        texts = {option.explained() for command, option in OPTIONS if name in option.opts and command != "logs"}
        assert len(texts) == 1, name


CONFLICTS = [
    (name, one, other)
    for name, command in COMMANDS.items()
    for one, others in command.conflicts.items()
    for other in others
]
NEEDS = [(name, one, others) for name, command in COMMANDS.items() for one, others in command.needs.items()]
# What a source or directory is called, and values that an option takes.
_VALUES = {
    "--jobs": "2",
    "--window": "9",
    "--older-than": "9",
    "--format": "json",
    "--cache": "off",
    "--format=github": "--format=github",
    "[DIR]": "somewhere",
}


def words(command: Command, name: str) -> list[str]:
    if "=" in name:
        return [name]
    param = next(one for one in command.params if name in (*one.opts, one.human_readable_name))
    if isinstance(param, Argument):
        return [_VALUES[name]]
    return [name] if isinstance(param, Option) and param.is_flag else [name, _VALUES.get(name, "x")]


def required(command: Command) -> list[str]:
    return ["source" for one in command.params if isinstance(one, Argument) and one.required]


@pytest.mark.parametrize(("name", "one", "other"), CONFLICTS, ids=" ".join)
def test_options_that_do_not_go_together_are_refused(
    name: str, one: str, other: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    command = COMMANDS[name]
    for first, second in itertools.permutations((one, other)):
        arguments = [*name.split(), *required(command), *words(command, first), *words(command, second)]
        assert app.run(arguments) == 2
        shown = capsys.readouterr()
        assert shown.out == ""
        both = f"error: {other.replace('=', ' ')} cannot be combined with {one.replace('=', ' ')}\n"
        assert shown.err == f"{both}hint: `orchestrate {name} --help` lists the options\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "one", "others"), NEEDS)
def test_options_that_mean_nothing_alone_are_refused(
    name: str, one: str, others: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    command = COMMANDS[name]
    assert app.run([*name.split(), *required(command), *words(command, one)]) == 2
    *first, last = others
    either = f"{', '.join(first)} or {last}" if first else last
    assert capsys.readouterr().err == (
        f"error: {one} has no effect without {either}\nhint: add {either}, or leave {one} out\n"
    )


def test_a_default_that_is_spelt_out_conflicts_with_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.unit.matrix.support import SMALL

    monkeypatch.setenv("ORCHESTRATE_GIT_BRANCH", "main")
    monkeypatch.setenv("ORCHESTRATE_DOCKER", str(tmp_path / "none"))
    (tmp_path / "matrix.yaml").write_text(SMALL)
    assert app.run(["plan", "-C", str(tmp_path), "--format", "table", "--explain", "app-cu130-amd64"]) == 0
    said = capsys.readouterr().out
    assert "app-cu130-amd64" in said
    assert "not checked: the docker client was not found" in said  # without one the rest is shown all the same


def test_options_are_listed_in_the_order_of_their_declaration(capsys: pytest.CaptureFixture[str]) -> None:
    app.run(["build", "--help"])
    said = capsys.readouterr().out
    names = ("--cuda", "--platform", "--target", "--axis", "--variant", "--arg", "--push", "--jobs", "--file")
    places = [said.index(f"{name} ") for name in names]
    assert places == sorted(places)


def test_the_combinations_that_were_once_ignored_are_refused() -> None:
    known = {(name, frozenset((one, other))) for name, one, other in CONFLICTS}
    for line in (
        "plan --explain --format", "plan --explain --kernels", "plan --kernels --format",
        "verify --compare --archs", "verify --compare --html", "verify --compare --device",
        "verify --compare --require",
        "verify --compare --allow-ptx", "verify --compare --variant", "verify --compare --file",
        "check --find --format=github", "check --fix --diff", "check --fix --format=github",
        "check --diff --format=github",
        "check --find --file", "init --print --force", "headers lock --check --format", "headers lock --check --tier",
        "headers lock --from-image --from", "headers lock --from-image --flashinfer", "headers verify --image [DIR]",
        "headers verify --image --repair", "headers verify [DIR] --repair",
    ):  # fmt: skip
        *name, one, other = line.split()
        assert (" ".join(name), frozenset((one, other))) in known, line


def test_select_options_arrive_as_one_value(monkeypatch: pytest.MonkeyPatch) -> None:
    got: list[Selection] = []

    def stop(given: Selection) -> None:
        got.append(given)
        raise KeyboardInterrupt

    monkeypatch.setattr("orchestrator.cli.common.open_plan", stop)
    line = (
        "plan -C d --file m.yaml --cuda 13.0 --cuda 12.9 --platform linux/arm64 --target t --axis python=3.12 "
        "--variant v --arg A=1 --archs 9.0 --image i"
    )
    assert app.run(line.split()) == 130
    assert got == [
        Selection(
            file=Path("m.yaml"), directory=Path("d"), cuda=("13.0", "12.9"), platform=("linux/arm64",), target=("t",),
            axis=("python=3.12",), variant=("v",), args=("A=1",), archs="9.0", image="i",
        )
    ]  # fmt: skip
    assert got[0].path == Path("d/m.yaml")
    assert Selection().path == Path("matrix.yaml")


TEXTS = [(name, param) for name, param in OPTIONS if name and not param.is_flag and not param.count]


@pytest.mark.parametrize(("name", "option"), TEXTS, ids=lambda one: one if isinstance(one, str) else one.opts[-1])
@pytest.mark.parametrize("value", ["", "  "])
def test_an_empty_value_is_an_error_in_every_command(
    name: str, option: Option, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--archs "$LIST"` in a pipeline, with a variable that is not set."""
    needed = ["x"] * sum(isinstance(one, Argument) and one.required for one in COMMANDS[name].params)
    assert app.run([*name.split(), *needed, option.opts[-1], value]) == 2
    assert f"{option.opts[-1]}" in capsys.readouterr().err


def test_no_option_is_documented_that_does_not_exist() -> None:
    readme = (Path(__file__).parents[3] / "README.md").read_text()
    known = {name for _, option in OPTIONS for name in (*option.opts, *option.secondary_opts)} | {"--help"}
    told = set(re.findall(r"orchestrate [^`\n|]*?(--[a-z-]+)", readme))
    assert told <= known


def test_a_flag_in_its_other_form_asks_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert app.run(["build", "--no-verify"]) == 2
    assert "matrix.yaml" in capsys.readouterr().err  # it looked for the file
