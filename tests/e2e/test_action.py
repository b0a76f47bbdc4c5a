"""action.yml as a runner would run it, from another repository: inputs, environment, outputs, on the real engine."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.support.actions import Result, Runner
from tests.support.base import write_rootfs

if TYPE_CHECKING:
    from tests.support.engine import Registry

ROOT = Path(__file__).parents[2]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))

MATRIX = """\
version: 1
image: IMAGE
bake: {files: [small.hcl], targets: [small]}
arch_lists: {release: 9.0 11.0}
cuda: {"12.9": {version: 12.9.1}, "13.0": {version: 13.0.2}}
platforms: {linux/amd64: {runner: ubuntu-24.04}}
variants: {arch_list: release, args: {archs: "{archs.torch}"}, tags: ["{image}:{cuda}"]}
cache: {backend: "off"}
claims: [{file: small.hcl, variable: ARCHS, says: "{arch_lists.release}"}]
"""
BAKE = 'variable "ARCHS" {\n  default = "9.0 11.0"\n}\ntarget "small" {\n  context = "small"\n}\n'
DOCKERFILE = "FROM scratch\nADD rootfs.tar /\nARG archs\nRUN echo archs are ${archs}\n"
Act = Callable[..., Result]


@pytest.fixture(scope="module")
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """RUNNER_TEMP: the tool is installed into it once."""
    return tmp_path_factory.mktemp("runner")


@pytest.fixture(scope="module")
def action(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The action as a runner downloads it: what git tracks, and nothing that lies beside it."""
    folder = tmp_path_factory.mktemp("action")
    names = subprocess.run(
        ["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True
    )
    for name in filter(None, names.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture
def project(tmp_path: Path, engine: str, tmp_image: str) -> Path:
    """Another repository, which knows nothing of this one but the action."""
    (tmp_path / "matrix.yaml").write_text(MATRIX.replace("IMAGE", tmp_image), encoding="utf-8")
    (tmp_path / "small.hcl").write_text(BAKE, encoding="utf-8")
    write_rootfs(tmp_path / "small")
    (tmp_path / "small/Dockerfile").write_text(DOCKERFILE, encoding="utf-8")
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    return tmp_path


@pytest.fixture
def act(project: Path, temporary: Path, action: Path) -> Act:
    """Runs the action in that repository, with the values that a workflow would give."""

    def run(folder: Path = action, **given: Any) -> Result:
        summary = temporary / "github_step_summary"
        summary.unlink(missing_ok=True)
        runner = Runner(workspace=project, temporary=temporary, github={"event_name": "push"})
        return runner.composite(folder, given)

    return run


def test_a_plan_gives_the_jobs_of_a_matrix(act: Act, temporary: Path) -> None:
    done = act(command="plan", cuda="13")
    assert not done.failed, done.log
    rows = json.loads(done.outputs["matrix"])["include"]
    assert [(row["variant"], row["cuda"], row["archs"]) for row in rows] == [("small-cu130-amd64", "13.0", "9.0 11.0")]
    assert "small-cu130-amd64" in (temporary / "github_step_summary").read_text(encoding="utf-8")


def findings(done: Result) -> list[tuple[str, str]]:
    """Rule and file of each finding that is uploaded."""
    log = json.loads(Path(done.outputs["sarif"]).read_text(encoding="utf-8"))
    return [
        (one["ruleId"], one["locations"][0]["physicalLocation"]["artifactLocation"]["uri"])
        for one in log["runs"][0]["results"]
    ]


def test_what_is_wrong_with_a_plan_can_be_uploaded(act: Act, project: Path) -> None:
    done = act(command="plan", args="--preflight --no-push --allow network.host")
    assert not done.failed, done.log
    assert json.loads(done.outputs["matrix"])["include"]
    assert findings(done) == []
    (project / "small/Dockerfile").write_text("FROM scratch\nADD rootfs.tar /\n", encoding="utf-8")
    done = act(command="plan", args="--preflight --no-push")
    assert done.failed
    assert set(findings(done)) == {("orchestrate/arrived", "matrix.yaml")}
    (project / "matrix.yaml").write_text(MATRIX + "more: 1\n", encoding="utf-8")
    done = act(command="plan")
    assert done.failed
    assert set(findings(done)) == {("orchestrate/matrix", "matrix.yaml")}
    assert not act(command="plan", args="--no-such").outputs["sarif"]


def test_a_build_pushes_and_gives_digests_tags_and_report(
    act: Act, project: Path, tmp_image: str, registry: Registry
) -> None:
    done = act(cuda="13.0", push="true", report="out/report.json", args="--jobs 1")
    assert not done.failed, done.log
    name = tmp_image.partition("/")[2]
    assert json.loads(done.outputs["digests"]) == {"small-cu130-amd64": registry.digest(name, "13.0")}
    assert json.loads(done.outputs["tags"]) == [f"{tmp_image}:13.0"]
    assert done.outputs["report"] == "out/report.json"
    report = json.loads((project / "out/report.json").read_text(encoding="utf-8"))
    assert [row["status"] for row in report["variants"]] == ["built"]


def test_nothing_is_pushed_unless_it_is_asked_for(act: Act, tmp_image: str, registry: Registry) -> None:
    done = act(variant="small-cu129-amd64")
    assert not done.failed, done.log
    assert registry.tags(tmp_image.partition("/")[2]) == []
    assert json.loads(done.outputs["digests"]).keys() <= {"small-cu129-amd64"}


def test_a_failing_build_fails_the_step_and_still_gives_its_report(act: Act, project: Path) -> None:
    (project / "small/Dockerfile").write_text(DOCKERFILE + "RUN exit 7\n", encoding="utf-8")
    done = act(cuda="13.0")
    assert done.failed
    assert json.loads(done.outputs["digests"]) == {}
    assert json.loads((project / done.outputs["report"]).read_text())["variants"][0]["status"] == "failed"


def test_another_commit_in_the_same_job_is_another_tool(
    act: Act, action: Path, temporary: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other") / "action"
    shutil.copytree(action, other)
    (other / "orchestrator/__init__.py").write_text('"""Another one."""\n\n__version__ = "9.9.9"\n', encoding="utf-8")
    said = []
    for folder in (action, other):
        done = act(folder, command="plan")
        assert not done.failed, done.log
        program = temporary / "build-orchestrator/bin/orchestrate"
        said.append(subprocess.run([program, "--version"], check=True, capture_output=True, text=True).stdout)
    assert ["9.9.9" in one for one in said] == [False, True]


def test_a_report_that_this_build_did_not_write_gives_no_outputs(act: Act, project: Path) -> None:
    stale = {"variants": [{"id": "old", "digest": "sha256:0", "status": "built", "tags": ["old:1"]}]}
    (project / "orchestrate-report.json").write_text(json.dumps(stale), encoding="utf-8")
    done = act(cuda="9.9")
    assert done.failed
    assert not any(done.outputs.values()), done.outputs
    done = act(report="matrix.yaml")
    assert done.failed
    assert "Traceback" not in done.log
    assert not any(done.outputs.values()), done.outputs


def test_a_matrix_of_another_name_and_a_builder(act: Act, project: Path) -> None:
    (project / "matrix.yaml").rename(project / "other.yaml")
    assert act(command="plan").failed
    done = act(
        command="plan",
        matrix="other.yaml",
        target="small",
        platform="linux/amd64",
        builder="no-such",
        args="--preflight",
    )
    assert done.failed
    assert "no-such" in done.log


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"command": "check", "cuda": "13.0"}, "cuda: check takes none"),
        ({"command": "check", "builder": "x"}, "builder: check takes none"),
        ({"command": "plan", "push": "true"}, "push: plan does not push"),
        ({"push": "yes"}, "push: 'yes' is invalid"),
        ({"command": "--version"}, "command: '--version' is invalid"),
        ({"args": "'open"}, "args: No closing quotation"),
    ],
)
def test_an_input_that_would_be_ignored_is_refused(act: Act, given: dict[str, str], said: str) -> None:
    done = act(**given)
    assert done.failed
    assert f"::error::{said}" in done.log


def test_an_input_is_never_shell(act: Act, project: Path) -> None:
    done = act(command="plan", cuda="$(touch hit)", args="`touch hit` ; touch hit")
    assert done.failed
    assert not (project / "hit").exists()


def test_another_system_is_named(project: Path, temporary: Path) -> None:
    done = subprocess.run(
        [ROOT / "scripts/action"], env={"PATH": "/usr/bin:/bin", "RUNNER_OS": "Windows", "RUNNER_TEMP": str(temporary)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (
        5, "::error::this action runs on Linux: use a runner such as ubuntu-24.04, not Windows\n",
    )  # fmt: skip


ENV = [name for step in ACTION["runs"]["steps"] for name in step.get("env", {})]


@pytest.mark.parametrize("name", ENV)
def test_every_line_of_env_has_an_effect(name: str, act: Act, action: Path, tmp_path: Path) -> None:
    """Without the line the input arrives nowhere, which changes what this call prints or leaves."""
    folder = tmp_path / "action"
    folder.mkdir()
    (folder / "scripts").symlink_to(action / "scripts")
    text = (ROOT / "action.yml").read_text(encoding="utf-8")
    lines = text.splitlines(keepends=True)
    without = [line for line in lines if not line.strip().startswith(f"{name}:")]
    assert len(without) == len(lines) - 1
    calls: dict[str, dict[str, str]] = {
        "PYTHON": {"command": "plan"},
        "INPUT_COMMAND": {"command": "plan"},
        "INPUT_CUDA": {"command": "plan", "cuda": "13.0"},
        "INPUT_PLATFORM": {"command": "plan", "platform": "linux/none"},
        "INPUT_TARGET": {"command": "plan", "target": "none"},
        "INPUT_VARIANT": {"command": "plan", "variant": "*-cu130-*"},
        "INPUT_MATRIX": {"command": "plan", "matrix": "none.yaml"},
        "INPUT_BUILDER": {"command": "check", "builder": "none"},
        "INPUT_PUSH": {"command": "plan", "push": "true"},
        "INPUT_REPORT": {"variant": "*-cu130-*", "report": "matrix.yaml"},
        "INPUT_ARGS": {"command": "plan", "args": "--cuda 13.0"},
    }
    results = []
    for version in (text, "".join(without)):
        (folder / "action.yml").write_text(version, encoding="utf-8")
        done = act(folder, **calls[name])
        results.append((done.failed, done.outputs, done.log))
    assert results[0] != results[1]
