"""Around a run: the place of its report, logs that are not there, what it tidies."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import time
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from orchestrator.bake import outline, preflight, privileges
from orchestrator.bake.arrived import Outline, Outlines
from orchestrator.bake.file import Extras, Output
from orchestrator.engine import buildx
from orchestrator.engine.builders import Builder
from orchestrator.engine.doctor import Asked
from orchestrator.errors import EnvironmentLacksError, MatrixError, NetworkError, OrchestrateError
from orchestrator.matrix import git, load
from orchestrator.matrix.expand import plan as expand
from orchestrator.process import Ahead, Stop
from orchestrator.registry.errors import DeniedError
from orchestrator.runs import access, disk_room, header_bundle, jobs, reporter, run, step
from orchestrator.runs.journal import Journal
from orchestrator.runs.outcome import Outcome, Status
from orchestrator.runs.preflight import Checked
from orchestrator.runs.run import run_name
from orchestrator.runs.signals import interrupting
from orchestrator.runs.targets import Early, bake_call
from orchestrator.runs.wishes import Wishes
from tests.unit.runs.support import DIGEST, Silent

MATRIX = """\
version: 1
image: registry.lan/app
bake: {files: [docker-bake.json], targets: [app]}
arch_lists: {release: 9.0}
cuda: {"13.0": {version: 13.0.2}}
platforms: {linux/amd64: {}}
variants: {arch_list: release, args: {CUDA_VERSION: "{cuda.version}"}, tags: ["{image}:x"]}
cache: {backend: "off"}
"""
TARGET: dict[str, Any] = {"context": ".", "dockerfile": "Dockerfile", "args": {"A": "1"}}
OUTLINE = Outline(args={"CUDA_VERSION": "13.0.2"})

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from orchestrator.matrix.variants import Plan
    from orchestrator.runs.job import Job


def planned(root: Path) -> Plan:
    if not (root / "Dockerfile").exists():
        (root / "Dockerfile").write_text("FROM scratch\nARG CUDA_VERSION\n")
    return expand(load.parse(MATRIX.encode(), path=root / "matrix.yaml", shown="matrix.yaml"))


@pytest.fixture
def resolved(monkeypatch: pytest.MonkeyPatch) -> dict[str, Mapping[str, Any]]:
    """What buildx would say of the variant; a test changes it."""
    targets: dict[str, Mapping[str, Any]] = {"app": TARGET}
    monkeypatch.setattr(buildx, "resolve", lambda *_, **__: targets)
    monkeypatch.setattr(git.Checkout, "fact", lambda _, name: "0" * 40 if name == "git.sha" else "")
    monkeypatch.setattr(outline, "outlines", lambda _bake, asked, _memory: dict.fromkeys(asked, OUTLINE))
    monkeypatch.setattr(access, "push_errors", lambda _repositories: {})
    return targets


def key(root: Path, **options: Any) -> str:
    return only_job(root, **options).key


def only_job(root: Path, **options: Any) -> Job:
    plan = planned(root)
    context = step.Context(call=bake_call(plan, ("docker",)), name="r", **options)
    (job,) = jobs.prepare(plan, context).jobs
    return job


def test_a_key_stands_for_all_that_goes_in(tmp_path: Path, resolved: dict[str, Mapping[str, Any]]) -> None:
    report = tmp_path / "report.json"
    first = key(tmp_path, report=report)
    report.write_text("{}")
    assert key(tmp_path, report=report) == first != ""
    assert key(tmp_path, report=report, output=Output(push=True)) == first

    resolved["app"] = {**TARGET, "args": {"A": "2"}}  # inherited from a bake file that may lie anywhere
    assert key(tmp_path, report=report) != first

    outside = tmp_path.with_name(f"{tmp_path.name}.Dockerfile")
    outside.write_text("FROM scratch\n")
    resolved["app"] = {**TARGET, "dockerfile": str(outside)}
    before = key(tmp_path, report=report)
    outside.write_text("FROM scratch\nENV A=1\n")
    assert key(tmp_path, report=report) != before


def test_what_cannot_be_seen_has_no_key(tmp_path: Path, resolved: dict[str, Mapping[str, Any]]) -> None:
    for unseen in ({"context": "https://github.com/a/b.git"}, {"dockerfile": "none"}):
        resolved["app"] = {**TARGET, **unseen}
        assert key(tmp_path) == ""


def test_a_state_directory_that_cannot_be_made(tmp_path: Path, resolved: dict[str, Mapping[str, Any]]) -> None:
    assert resolved
    (tmp_path / ".orchestrate").write_text("")
    with pytest.raises(EnvironmentLacksError, match=r"\.orchestrate.*cannot be written"):
        key(tmp_path)


def test_a_preflight_that_fails_is_in_the_log(tmp_path: Path, resolved: dict[str, Mapping[str, Any]]) -> None:
    resolved["app"] = {**TARGET, "dockerfile": "none"}
    job = only_job(tmp_path)
    with pytest.raises(MatrixError) as error:
        job.prepare()
    assert job.log is not None
    assert job.log.read_text() == f"=== app-cu130-amd64: preflight failed\n{error.value}\n"


def test_a_run_directory_that_vanished_comes_back(tmp_path: Path, resolved: dict[str, Mapping[str, Any]]) -> None:
    assert resolved
    job = only_job(tmp_path)
    run = tmp_path / ".orchestrate" / "runs" / "r"
    run.rmdir()
    job.prepare()
    assert [path.name for path in run.iterdir()] == ["app-cu130-amd64.json"]
    assert (run.stat().st_mode & 0o777, (run / "app-cu130-amd64.json").stat().st_mode & 0o777) == (0o700, 0o600)


def test_a_run_directory_that_cannot_come_back(tmp_path: Path, resolved: dict[str, Mapping[str, Any]]) -> None:
    assert resolved
    job = only_job(tmp_path)
    run = tmp_path / ".orchestrate" / "runs" / "r"
    run.rmdir()
    run.write_text("a file")
    with pytest.raises(EnvironmentLacksError, match="cannot be written: File exists"):
        job.prepare()


def test_nothing_of_the_state_is_for_others(tmp_path: Path, resolved: dict[str, Mapping[str, Any]]) -> None:
    state = tmp_path / ".orchestrate"
    state.mkdir(mode=0o755)  # of an earlier version
    resolved["app"] = {**TARGET, "dockerfile": "none"}
    job = only_job(tmp_path)
    with pytest.raises(MatrixError):
        job.prepare()
    Journal(state / "journal.jsonl").add(Outcome(id="a", status=Status.BUILT), key="k")
    Outlines(state / "outlines.json").put_all({"k": Outline()})
    modes = {path.name: path.stat().st_mode & 0o777 for path in [state, *state.rglob("*")]}
    assert modes == {
        ".orchestrate": 0o700,
        ".gitignore": 0o600,
        "runs": 0o700,
        "r": 0o700,
        "app-cu130-amd64.log": 0o600,
        "journal.jsonl": 0o600,
        "outlines.json": 0o600,
    }


def test_a_platform_that_the_builder_lacks_fails_its_variant_after_the_arguments(
    tmp_path: Path, resolved: dict[str, Mapping[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert resolved
    arm = Builder(name="b", driver="docker", platforms=("linux/arm64",), running=True)
    (tmp_path / "Dockerfile").write_text("FROM scratch\nARG CUDA_VERSION\nRUN build\n")
    with pytest.raises(EnvironmentLacksError, match="cannot build linux/amd64"):
        only_job(tmp_path, builder=arm).prepare()
    assert only_job(tmp_path, builder=replace(arm, platforms=("linux/amd64",))).prepare().target == "app-cu130-amd64"
    with monkeypatch.context() as patched:
        patched.setattr(outline, "outlines", lambda _bake, asked, _memory: dict.fromkeys(asked, Outline()))
        with pytest.raises(preflight.NotArrivedError):
            only_job(tmp_path, builder=arm).prepare()
    # No step runs on the platform: no machine or emulation of the kind is needed.
    cross = "FROM --platform=$BUILDPLATFORM a AS b\nARG CUDA_VERSION\nRUN x\nFROM scratch\nCOPY --from=b / /\n"
    (tmp_path / "Dockerfile").write_text(cross)
    assert only_job(tmp_path, builder=arm).prepare().target == "app-cu130-amd64"


def test_onbuild_of_a_base_image_is_asked_for_before_an_argument_is_refused(
    tmp_path: Path, resolved: dict[str, Mapping[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert resolved
    (tmp_path / "Dockerfile").write_text("FROM base:1\n")
    plan = planned(tmp_path)
    context = step.Context(call=bake_call(plan, ("docker",)), name="r")
    with_bases: Outline | str = OUTLINE
    asked: list[bool] = []

    def answer(_bake: object, questions: Mapping[str, Any], *_: object) -> Mapping[str, Outline | str]:
        bases = "FROM base:1" in questions["app-cu130-amd64"]["dockerfile-inline"]
        asked.append(bases)
        return dict.fromkeys(questions, with_bases if bases else Outline())

    monkeypatch.setattr(outline, "outlines", answer)
    assert jobs.prepare(plan, context).checked["app-cu130-amd64"].error is None
    assert asked == [False, True]
    with_bases = Outline()
    assert isinstance(jobs.prepare(plan, context).checked["app-cu130-amd64"].error, preflight.NotArrivedError)
    with_bases = "buildx cannot outline it: no route"
    error = jobs.prepare(plan, context).checked["app-cu130-amd64"].error
    assert error is not None
    assert error.hint.endswith(
        "ONBUILD of a base image declares it was not checked: buildx cannot outline it: no route"
    )
    asked.clear()
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    assert jobs.prepare(plan, context).checked["app-cu130-amd64"].error is not None
    assert asked == [False]  # there is no image to ask


def test_the_env_of_a_base_image_is_asked_for_where_it_counts(
    tmp_path: Path, resolved: dict[str, Mapping[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert resolved
    head = "FROM base:1 AS b\nARG CUDA_VERSION\n"
    (tmp_path / "Dockerfile").write_text(head + "FROM b\nRUN build $CUDA_VERSION\n")
    plan = planned(tmp_path)
    context = step.Context(call=bake_call(plan, ("docker",)), name="r")
    env: Outline | str = ""
    asked: list[bool] = []

    def answer(_bake: object, questions: Mapping[str, Any], *_: object) -> Mapping[str, Outline | str]:
        asked.append("FROM base:1" in questions["app-cu130-amd64"]["dockerfile-inline"])
        return dict.fromkeys(questions, env if asked[-1] else OUTLINE)

    def checked() -> Checked:
        return jobs.prepare(plan, context).checked["app-cu130-amd64"]

    monkeypatch.setattr(outline, "outlines", answer)
    env = Outline(args={**OUTLINE.args, "orchestrate_env_0_CUDA_VERSION": "=12.4.0"})
    error = checked().error
    assert isinstance(error, preflight.NotArrivedError)
    assert "ENV CUDA_VERSION of the image of FROM at line 1" in str(error)
    assert asked == [False, True]
    env = OUTLINE
    assert (checked().error, checked().notes) == (None, ())
    env = "no route"
    said = "not checked whether an ENV of a base replaces the value of CUDA_VERSION: no route"
    assert (checked().error, checked().notes) == (None, (said,))
    asked.clear()
    (tmp_path / "Dockerfile").write_text(head + "RUN build $CUDA_VERSION\n")
    assert (checked().error, checked().notes) == (None, ())
    assert asked == [False, False]  # the ARG is the later one


def test_push_access_is_asked_before_a_variant_is_built(
    tmp_path: Path, resolved: dict[str, Mapping[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert resolved
    plan = planned(tmp_path)
    asked: list[str] = []
    answer: dict[str, OrchestrateError] = {}

    def errors(repositories: Iterable[str]) -> dict[str, OrchestrateError]:
        asked.extend(repositories)
        return answer

    def checked(*, push: bool) -> Checked:
        context = step.Context(call=bake_call(plan, ("docker",)), name="r", output=Output(push=push))
        return jobs.prepare(plan, context).checked["app-cu130-amd64"]

    monkeypatch.setattr(access, "push_errors", errors)
    assert checked(push=False).error is None
    assert asked == []
    assert checked(push=True).error is None
    assert asked == ["registry.lan/app"]
    answer["registry.lan/app"] = DeniedError("access is denied", hint="docker login registry.lan")
    denied = checked(push=True).error
    assert denied is not None
    assert (denied.failure, denied.exit_code, denied.hint) == ("auth", 6, "docker login registry.lan")
    answer["registry.lan/app"] = NetworkError("no answer")  # it may answer when the build is done
    found = checked(push=True)
    assert found.error is None
    assert found.notes[-1] == "not checked whether images can be pushed: no answer"


def test_missing_inputs_are_found_before_a_variant_is_built(
    tmp_path: Path, resolved: dict[str, Mapping[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NOT_SET", raising=False)
    (tmp_path / "Dockerfile").write_text(
        "FROM scratch\nARG CUDA_VERSION\nCOPY --from=more / /\nRUN --mount=type=secret,id=t $CUDA_VERSION\n"
    )
    monkeypatch.setattr(
        outline,
        "outlines",
        lambda _bake, asked, _memory: dict.fromkeys(asked, replace(OUTLINE, secrets=["t", "u", "v"])),
    )
    resolved["app"] = {
        **TARGET,
        "contexts": {"more": "nowhere", "image": "docker-image://x", "git": "https://x/y.git#main"},
        "secret": [{"id": "t", "env": "NOT_SET"}, {"id": "u", "src": "none.txt"}, {"id": "v", "src": "Dockerfile"}],
    }
    plan = planned(tmp_path)
    context = step.Context(call=bake_call(plan, ("docker",)), name="r")
    error = jobs.prepare(plan, context).checked["app-cu130-amd64"].error
    assert isinstance(error, MatrixError)
    assert [problem.what.partition(": ")[2] for problem in error.problems] == [
        "the named context more of target app was not found: nowhere",
        "the secret t of target app was not found: environment variable NOT_SET is not set",
        "the secret u of target app was not found: none.txt",
    ]
    ours = {"app-cu130-amd64": Extras(env={"NOT_SET": "by the run itself"})}
    assert error.message == "app-cu130-amd64: 3 inputs were not found on this machine"
    error = jobs.prepare(plan, replace(context, extras=ours)).checked["app-cu130-amd64"].error
    assert isinstance(error, MatrixError)
    assert error.message == "app-cu130-amd64: 2 inputs were not found on this machine"
    assert not any("NOT_SET" in problem.what for problem in error.problems)
    (tmp_path / "none.txt").write_text("x")
    error = jobs.prepare(plan, replace(context, extras=ours)).checked["app-cu130-amd64"].error
    assert isinstance(error, MatrixError)
    assert error.message == "app-cu130-amd64: 1 input was not found on this machine"


def test_a_privilege_that_is_not_allowed_is_refused_before_a_variant_is_built(
    tmp_path: Path, resolved: dict[str, Mapping[str, Any]]
) -> None:
    resolved["app"] = {**TARGET, "ssh": [{"id": "default"}]}
    plan = planned(tmp_path)
    error = (
        jobs.prepare(plan, step.Context(call=bake_call(plan, ("docker",)), name="r")).checked["app-cu130-amd64"].error
    )
    assert isinstance(error, privileges.NotAllowedError)
    assert error.message == "app-cu130-amd64: 1 privilege is asked for and not allowed"


@pytest.mark.parametrize("agent", [None, "nowhere", "agent"])
def test_an_agent_that_is_missing_is_found_before_a_variant_is_built(
    tmp_path: Path, resolved: dict[str, Mapping[str, Any]], monkeypatch: pytest.MonkeyPatch, agent: str | None
) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    (tmp_path / "agent").write_text("")
    if agent is not None:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / agent))
    resolved["app"] = {**TARGET, "ssh": [{"id": "default"}]}
    plan = planned(tmp_path)
    allowed = privileges.parse(["ssh"], tmp_path)
    context = step.Context(call=bake_call(plan, ("docker",)), name="r", allowed=allowed)
    error = jobs.prepare(plan, context).checked["app-cu130-amd64"].error
    if agent == "agent":
        assert error is None
        return
    assert isinstance(error, EnvironmentLacksError)
    found = "SSH_AUTH_SOCK is not set" if agent is None else f"{tmp_path / agent} does not exist"
    assert error.message == (f"app-cu130-amd64: the SSH agent that target app forwards was not found: {found}")
    assert "ssh-add" in error.hint


def test_notes_of_preflight_are_told_once_for_all_their_variants() -> None:
    found = {id_: Checked(notes=("n",)) for id_ in "abc"} | {"d": Checked()}
    assert run.noted(found) == {"n": ["a", "b", "c"]}


def test_an_archive_appears_whole_or_not_at_all(tmp_path: Path, resolved: dict[str, Mapping[str, Any]]) -> None:
    assert resolved
    out = tmp_path / "out"
    out.mkdir()
    archive, part = out / "app-cu130-amd64.tar", out / "app-cu130-amd64.tar.part"
    archive.write_text("of an earlier run")
    job = only_job(tmp_path, output=Output(directory=out))
    assert job.after is not None
    assert job.discard is not None
    part.write_text("half")
    job.discard()
    assert (archive.read_text(), part.exists()) == ("of an earlier run", False)
    job.discard()  # bake never began
    part.write_text("whole")
    outcome = job.after(Outcome(id=job.id, status=Status.BUILT, digest=DIGEST), stop=Stop(), reporter=Silent())
    assert (archive.read_text(), part.exists(), outcome.size) == ("whole", False, 5)

    journal = Journal(tmp_path / "journal.jsonl")
    journal.add(outcome, key="k")
    entry = Journal(tmp_path / "journal.jsonl").built(job.id, "k")
    assert entry is not None
    assert (entry.size, entry.sha256) == (5, hashlib.sha256(b"whole").hexdigest())
    assert entry.mtime_ns == archive.stat().st_mtime_ns


@pytest.mark.usefixtures("hangup")
def test_ctrl_c_during_the_fetch_of_headers_writes_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetching(*_: Any, **__: Any) -> Any:
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(header_bundle, "header_extras", fetching)
    screen = reporter.Screen(reporter=lambda _: nullcontext(Silent()), warn=pytest.fail, tell=pytest.fail)
    early = Early(
        asked=Asked(), targets=Ahead(dict), revision=Ahead(str), stop=Stop()
    )  # nothing is asked before the headers are there
    result = run.build(planned(tmp_path), Wishes(report=tmp_path / "report.json"), screen, early=early)
    assert result.code == 130
    (variant,) = json.loads((tmp_path / "report.json").read_text())["variants"]
    assert (variant["status"], variant["error"]["class"], variant["attempts"]) == ("cancelled", "interrupted", 0)


def test_a_disk_without_room_is_refused_and_a_small_one_warned_of() -> None:
    warned: list[str] = []
    disk_room.require_room(None, [0], parallel=1, warn=warned.append)
    disk_room.require_room(50 << 30, [30 << 30], parallel=1, warn=warned.append)
    assert warned == []
    disk_room.require_room(50 << 30, [30 << 30, 40 << 30], parallel=2, warn=warned.append)
    assert ["took 70 GiB" in line for line in warned] == [True]
    with pytest.raises(EnvironmentLacksError, match="expected at least 2 GiB") as caught:
        disk_room.require_room(1 << 30, [], parallel=1, warn=warned.append)
    assert "`orchestrate cache prune --min-free 20GiB --yes`" in caught.value.hint


def test_a_log_that_was_never_begun_is_not_named(tmp_path: Path) -> None:
    outcome = Outcome(id="a", status=Status.CANCELLED, log=tmp_path / "a.log")
    assert run.without_missing_log(outcome) == replace(outcome, log=None)
    (tmp_path / "a.log").write_text("")
    assert run.without_missing_log(outcome) == outcome


@pytest.mark.parametrize(
    ("there", "named"),
    [
        ([], "20261127T120000"),
        (["20261127T115959-9"], "20261127T120000"),
        (["20261127T120000-9"], "20261127T120001"),  # in one second the process ids are in no order
        (["20261127T120007-9", "20261127T115959-8"], "20261127T120008"),  # it waited, or the clock was set back
        (["20261127T235959-9"], "20261128T000000"),
        (["zzz", "20269999T999999-1"], "20261127T120000"),
    ],
)
def test_a_run_is_named_behind_all_before_it(tmp_path: Path, there: list[str], named: str) -> None:
    for name in there:
        (tmp_path / "runs" / name).mkdir(parents=True)
    name = run_name(tmp_path / "runs", datetime(2026, 11, 27, 12, tzinfo=UTC))
    assert name == f"{named}-{os.getpid()}"


def test_old_runs_are_tidied(tmp_path: Path) -> None:
    for number in range(25):
        folder = tmp_path / f"2026{number:02d}"
        folder.mkdir()
        (folder / "a.log").write_text("")
        if number != 1:
            os.utime(folder, (1, time.time() - 30 * 86400))
    run.tidy(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["202601", *(f"2026{n:02d}" for n in range(5, 25))]


@pytest.mark.usefixtures("hangup")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_before_the_first_variant_every_signal_is_an_interruption(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), interrupting():
        signal.raise_signal(number)
    assert signal.getsignal(number) is before


def test_what_was_told_to_be_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interrupting():
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
