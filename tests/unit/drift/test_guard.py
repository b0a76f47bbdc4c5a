"""The Dockerfiles that should carry FlashInfer's headers are a part of every report of a check."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator import process
from orchestrator.cli import app
from orchestrator.drift import evaluate, fix
from orchestrator.drift.check import check
from orchestrator.drift.evaluate import Buildx
from orchestrator.drift.guard import PLACE, WHEELS_PLACE
from orchestrator.errors import EnvironmentLacksError
from tests.unit.drift.matrices import BASE, matrix
from tests.unit.headers.test_guard import GOOD

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from orchestrator.drift.report import Disagreement

HEADERS = BASE + 'headers: {version: "0.6.13"}\n'
TAKEN = "nothing in runtime takes the FlashInfer headers from flashinfer-headers"
LOST = GOOD[: GOOD.index("FROM runtime AS final")]


@pytest.fixture(autouse=True)
def _bake_file(tmp_path: Path) -> None:
    """Targets of which nothing is here: what they declare is not known, and no file of theirs is missing."""
    text = 'target "app" { context = "https://git.invalid/x.git" }\ntarget "app-big" { inherits = ["app"] }\n'
    (tmp_path / "docker-bake.hcl").write_text(text)


class Resolved(Buildx):
    """buildx, with its answer about targets (or its failure) given here."""

    failure: Exception | None = None

    def __init__(self, root: Path, **targets: Mapping[str, Any]) -> None:
        super().__init__(root)
        self.answer = targets

    def targets(self, files: Sequence[str], names: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
        if self.failure is not None:
            raise self.failure
        assert (files, names) == (("docker-bake.hcl",), ("app", "app-big"))
        return self.answer


class Missing(Resolved):
    failure = EnvironmentLacksError("there is no docker client")


def guarded(root: Path, target: Mapping[str, Any], *, base: str = HEADERS) -> Sequence[Disagreement]:
    report = check(matrix("", root=root, base=base), buildx=Resolved(root, app=target))
    assert all(one.place == PLACE and one.claim is None and one.edit is None for one in report.disagreements)
    return report.disagreements


def test_a_stage_that_vanished_is_drift(tmp_path: Path) -> None:
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker/Dockerfile").write_text(LOST)
    (one,) = guarded(tmp_path, {"dockerfile": "docker/Dockerfile", "context": "."})
    assert str(one) == f"docker/Dockerfile:{one.line}: {PLACE}: {TAKEN}"
    assert LOST.splitlines()[one.line - 1].startswith("FROM ${BASE} AS runtime")
    assert "docs/air-gapped.md" in one.hint
    (tmp_path / "docker/Dockerfile").write_text(GOOD)
    assert guarded(tmp_path, {"dockerfile": "docker/Dockerfile", "context": "."}) == ()


def test_without_a_promise_nothing_is_asked(tmp_path: Path) -> None:
    for headers in ("", "headers: {policy: 'off'}\n"):
        report = check(matrix("", root=tmp_path, base=BASE + headers), buildx=Missing(tmp_path))
        assert (report.clean, report.skipped) == (True, ())


def test_only_the_targets_that_carry_the_headers_must_take_them(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    base = BASE + 'headers: {version: "0.6.13", targets: [app-big]}\n'
    assert guarded(tmp_path, {}, base=base) == ()
    (tmp_path / "Dockerfile").write_text("FROM scratch\nRUN flashinfer download-cubin\n")  # does harm in any target
    (one,) = guarded(tmp_path, {}, base=base)
    assert one.line == 2


def test_the_stage_of_the_target_counts(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(GOOD)
    (one,) = guarded(tmp_path, {"target": "runtime"})
    assert TAKEN in str(one)


def test_an_inline_dockerfile_is_in_the_bake_file(tmp_path: Path) -> None:
    (one,) = guarded(tmp_path, {"dockerfile-inline": LOST})
    assert (one.file, one.line) == ("docker-bake.hcl", 1)
    assert "dockerfile-inline of target app, line" in str(one)


def test_a_dockerfile_that_is_not_there_is_drift(tmp_path: Path) -> None:
    (one,) = guarded(tmp_path, {"context": "sub"})
    assert one.file == "sub/Dockerfile"
    assert "target app in docker-bake.hcl" in one.hint


def test_a_remote_context_is_not_read(tmp_path: Path) -> None:
    assert guarded(tmp_path, {"context": "https://example.com/x.git"}) == ()


def test_a_version_that_contradicts_is_drift_until_it_is_fixed(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(GOOD)
    (tmp_path / "cuda.txt").write_text("flashinfer-python==0.6.12\n")
    base = BASE + 'headers: {version: "0.6.13", version_from: cuda.txt}\n'
    (one,) = guarded(tmp_path, {}, base=base)
    assert (one.file, one.line) == ("cuda.txt", 1)
    claims = '  - {file: cuda.txt, package: flashinfer-python, says: "{headers.version}"}\n'
    fixed = fix.fix(matrix(claims, root=tmp_path, base=base), buildx=Resolved(tmp_path, app={}))
    assert len(fixed.before.disagreements) == 2
    assert fixed.after.clean
    assert fixed.texts == {"cuda.txt": "flashinfer-python==0.6.13\n"}


def test_what_cannot_be_asked_is_said(tmp_path: Path) -> None:
    loaded = matrix("", root=tmp_path, base=HEADERS)
    assert check(loaded, buildx=Missing(tmp_path)).skipped == (f"{PLACE}: there is no docker client",)
    assert check(loaded).skipped == (f"{PLACE}: buildx is not asked",)


HARM = "RUN flashinfer download-cubin\n"


def noted(root: Path, buildx: Buildx) -> list[str]:
    report = check(matrix("", root=root), buildx=buildx)
    assert all(one.place.startswith("argument ") for one in report.disagreements)
    return [note.partition(": flashinfer")[0] for note in report.notes]


def test_without_a_promise_buildx_is_asked_only_where_the_bake_file_computes(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\n" + HARM)
    (tmp_path / "other").write_text("FROM scratch\n\n" + HARM)
    plain = 'target "app" {}\ntarget "app-big" { dockerfile = "other" }\n'
    (tmp_path / "docker-bake.hcl").write_text(plain)
    assert noted(tmp_path, Missing(tmp_path)) == ["Dockerfile:2", "other:3"]
    for computed in (plain.replace('"other"', 'join("", ["other"])'), plain + "}", "#"):
        (tmp_path / "docker-bake.hcl").write_text(computed)
        assert noted(tmp_path, Missing(tmp_path)) == []
        assert noted(tmp_path, Resolved(tmp_path, app={"dockerfile": "other"})) == ["other:3"]


def test_two_targets_of_one_dockerfile_get_one_note(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(
        "FROM scratch AS a\n" + HARM + "FROM scratch AS b\nARG FLASHINFER_VERSION=0.6\n"
    )
    (tmp_path / "docker-bake.hcl").write_text('target "app" { target = "a" }\ntarget "app-big" { target = "b" }\n')
    found = noted(tmp_path, Missing(tmp_path))
    assert found[0] == "Dockerfile:2"
    assert [one[:16] for one in found[1:]] == ["Dockerfile:4: b "]


# -- the same problem and the same exit code in every form ------------------------------------------------------------


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    claim = 'claims:\n  - {file: b.sh, name: A, says: "{cuda[13.0].version}"}\n'
    (tmp_path / "matrix.yaml").write_text(HEADERS + claim)
    (tmp_path / "b.sh").write_text("A=13.0.1\n")
    (tmp_path / "Dockerfile").write_text(LOST)
    monkeypatch.setattr(evaluate, "Buildx", lambda root: Resolved(root, app={}))
    return tmp_path


@pytest.mark.parametrize(
    "words",
    [(), ("--format", "json"), ("--format", "github"), ("--diff",), ("--diff", "--format", "json"), ("--fix",),
     ("--fix", "--format", "json")],
)  # fmt: skip
def test_every_form_shows_it_and_exits_with_3(
    tree: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    assert app.run(["check", "-C", str(tree), *words]) == 3
    out = capsys.readouterr().out
    assert TAKEN in out
    if "json" in words:
        found = json.loads(out)["disagreements"]
        assert [one["claim"] for one in found] == ([None] if "--fix" in words else [None, 0])
        assert found[0]["hint"]
    fixed = "--fix" in words
    assert (tree / "b.sh").read_text() == ("A=13.0.2\n" if fixed else "A=13.0.1\n")
    assert app.run(["check", "-C", str(tree)]) == 3  # what only people can repair stays


def test_what_was_not_checked_is_on_standard_error(
    tree: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate, "Buildx", Missing)
    (tree / "b.sh").write_text("A=13.0.2\n")
    assert app.run(["check", "-C", str(tree), "--format", "json"]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["skipped"] == [f"{PLACE}: there is no docker client"]
    assert "not checked: FlashInfer headers: there is no docker client" in shown.err


def test_the_docker_command_that_the_user_chose_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = tmp_path / "my-docker"
    chosen.write_text("#!/bin/sh\n")
    chosen.chmod(0o755)
    monkeypatch.setenv("ORCHESTRATE_DOCKER", str(chosen))
    asked: list[list[str]] = []

    def answer(argv: Sequence[str], **_: object) -> process.Completed:
        asked.append(list(argv))
        app = {"args": {"A": "8.0 9.0"}, "dockerfile-inline": "FROM scratch"}
        target = {"app": app, "orchestrate-0": app, "orchestrate-1": app}  # what buildx is asked for, under our names
        return process.Completed(argv=tuple(argv), returncode=0, stdout=json.dumps({"target": target}), stderr="")

    monkeypatch.setattr(process, "run", answer)
    (tmp_path / "docker-bake.hcl").write_text('target "app" { args = { A = join(" ", ["8.0", "9.0"]) } }\n')
    claims = "  - {file: docker-bake.hcl, target: app, arg: A, says: '8.0 9.0'}\n"
    report = check(matrix(claims, root=tmp_path, base=HEADERS), buildx=Buildx(tmp_path))
    assert "arg A of target app" not in {one.place for one in report.disagreements}  # it agrees
    assert PLACE in {one.place for one in report.disagreements}
    assert len(asked) == 2
    assert all(str(chosen) in argv and "docker" not in argv for argv in asked)


COMPILED = BASE + "compile_cache: {}\n"


def test_a_dockerfile_that_does_not_use_the_compile_cache_is_drift(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch AS compile-cache\nFROM scratch AS app\n")
    report = check(matrix("", root=tmp_path, base=COMPILED), buildx=Resolved(tmp_path, app={"target": "app"}))
    (one,) = report.disagreements
    assert str(one) == "Dockerfile:1: compile cache: no RUN of app mounts compile-cache"
    report = check(matrix("", root=tmp_path, base=COMPILED), buildx=Missing(tmp_path))
    assert report.skipped == ("compile cache: there is no docker client",)


def test_a_cache_mount_on_runners_that_are_thrown_away(tmp_path: Path) -> None:
    hosted = COMPILED.replace("{arch_list: x86}", "{arch_list: x86, runner: ubuntu-24.04}").replace(
        "linux/arm64: {}", "linux/arm64: {runner: ubuntu-24.04-arm}"
    )
    (one,) = check(matrix("", root=tmp_path, base=hosted)).disagreements
    assert "a cache mount is empty on every run of a GitHub-hosted runner (ubuntu-24.04)" in str(one)
    for changed in (
        hosted.replace("runner: ubuntu-24.04-arm", "runner: ours"),
        hosted.replace("compile_cache: {}", "compile_cache: {backend: gha}"),
    ):
        assert check(matrix("", root=tmp_path, base=changed)).clean


WHEELS = BASE + "wheels: {python: 3.12, packages: [numpy]}\n"
INSTALLS = (
    "FROM scratch AS wheelhouse\nCOPY <<E /MISSING\nE\nFROM debian AS app\nARG WHEELHOUSE_DIGEST\n"
    "RUN --mount=type=bind,from=wheelhouse,target=/w pip install numpy\n"
)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("", "", ""),
        (
            "COPY <<E /MISSING\nE\n",
            "",
            "stage wheelhouse is empty: with a warm cache a build without the bundle passes",
        ),
        ("FROM scratch AS wheelhouse\nCOPY <<E /MISSING\nE\n", "", "stage wheelhouse was not found"),
        ("--mount=type=bind,from=wheelhouse,target=/w ", "", "no step of app takes packages from wheelhouse"),
        ("ARG WHEELHOUSE_DIGEST\n", "", "ARG WHEELHOUSE_DIGEST is not declared before this step"),
    ],
)
def test_a_wheelhouse_that_a_dockerfile_does_not_take_is_drift(tmp_path: Path, old: str, new: str, said: str) -> None:
    (tmp_path / "Dockerfile").write_text(INSTALLS.replace(old, new) if old else INSTALLS)
    report = check(matrix("", root=tmp_path, base=WHEELS), buildx=Resolved(tmp_path, app={"target": "app"}))
    found = [one for one in report.disagreements if one.place == WHEELS_PLACE]
    assert found == list(report.disagreements)
    assert [said in str(one) for one in found] == ([True] if said else [])
    report = check(matrix("", root=tmp_path, base=WHEELS), buildx=Missing(tmp_path))
    assert report.skipped == ("wheelhouse: there is no docker client",)
    off = WHEELS.replace("{python", "{policy: 'off', python")
    assert check(matrix("", root=tmp_path, base=off), buildx=Missing(tmp_path)).skipped == ()
