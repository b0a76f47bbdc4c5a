"""`orchestrate build` with the installed command: what comes of each variant, and how it is told."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from tests.support.project import write_project
from tests.support.toolchain import Pushed

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.engine import Registry

LITERAL = "${HOME} %{x} $$ 100% 'a' \"b\""


def test_of_two_at_once_one_fails_and_the_other_is_pushed(registry: Registry, tmp_image: str, tmp_path: Path) -> None:
    bad = "RUN echo one; echo 503 Service Unavailable; exit 9"
    project = write_project(tmp_path, tmp_image, good="RUN sleep 1; echo fine", bad=bad)
    done = project.build("--push", "--jobs", "2", env={"NO_COLOR": "1"})
    assert done.returncode == 1
    found = project.reported()
    name = tmp_image.partition("/")[2]

    assert registry.tags(name) == ["good-amd64"]
    good = found["good"]
    assert (good["status"], good["error"], good["attempts"]) == ("built", None, 1)
    assert good["digest"] == registry.digest(name, "good-amd64")
    assert f"{tmp_image}:good-amd64@{good['digest']}" in done.stdout.splitlines()

    assert (found["bad"]["status"], found["bad"]["digest"], found["bad"]["attempts"]) == ("failed", None, 1)
    step = f"[bad 1/1] {bad}"
    error = found["bad"]["error"]
    assert error | {"file": "", "line": 0} == {
        "class": "run", "message": "exit code: 9", "step": step, "file": "", "line": 0,
    }  # fmt: skip
    line = project.root.joinpath("Dockerfile").read_text().splitlines().index(bad) + 1
    assert (error["file"], error["line"]) == ("Dockerfile", line)
    log = found["bad"]["log"]
    end = [
        f"bad-cu130-amd64: failed (run) at Dockerfile:{line} {step}: exit code: 9",
        "  | one",
        "  | 503 Service Unavailable",
        f"  log: {log}",
        "1 built, 1 failed",
    ]
    assert done.stdout.splitlines()[-5:] == end
    assert "| 503 Service Unavailable" in project.root.joinpath(log).read_text()
    assert "\x1b" not in done.stdout + done.stderr


def test_the_pushed_image_is_what_the_plan_says(registry: Registry, tmp_image: str, tmp_path: Path) -> None:
    project = write_project(tmp_path, tmp_image, app="RUN echo fine")
    words = ("--image", f"{tmp_image}", "--arg", f"literal={LITERAL}")
    plan = project.run("plan", "--format", "json", *words)
    (planned,) = json.loads(plan.stdout)["variants"]
    done = project.build("--push", "--format", "json", *words)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads(project.report.read_text())
    (tag,) = planned["tags"]
    image = Pushed.read(registry, tmp_image.partition("/")[2], tag.rpartition(":")[2])
    assert image.labels.items() >= planned["labels"].items()
    assert image.labels["com.orchestrate.variant"] == planned["id"]
    assert image.labels["com.orchestrate.cuda"] == planned["cuda_version"]
    assert image.labels["com.orchestrate.matrix"] == json.loads(plan.stdout)["matrix"]["digest"]
    assert image.labels["org.opencontainers.image.ref.name"] == tag
    assert image.labels["com.acme.literal"] == "${HOME} %{x} 100%"
    assert image.labels["com.orchestrate.archs"] == " ".join(planned["archs"]["effective"])
    assert image.environment["ARCHS"] == planned["args"]["torch_cuda_arch_list"] == "8.0 9.0 11.0"
    assert image.environment["CUDA_VERSION"] == planned["args"]["CUDA_VERSION"] == "13.0.2"
    assert image.environment["LITERAL"] == planned["args"]["literal"] == LITERAL


def test_in_actions_the_log_is_a_group_and_the_summary_is_appended(engine: str, tmp_path: Path) -> None:
    project = write_project(
        tmp_path, "127.0.0.1:5000/unused", good="RUN echo fine", bad="RUN echo '::warning::x'; exit 9"
    )
    summary = tmp_path / "summary.md"
    summary.write_text("## Before\n")
    done = project.build(env={"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(summary)})
    assert done.returncode == 1
    group = re.search(r"^::group::log of bad-cu130-amd64\n::stop-commands::(\w+)\n(.*?)\n::\1::\n::endgroup::$",
                      done.stderr, re.DOTALL | re.MULTILINE)  # fmt: skip
    assert group is not None, done.stderr
    assert " | ::warning::x" in group[2]
    assert re.search(
        r"^::error file=Dockerfile,line=\d+,title=bad-cu130-amd64 failed \(run\)::.*exit code: 9$",
        done.stderr,
        re.MULTILINE,
    )
    text = summary.read_text()
    assert text.startswith("## Before\n### Build: 1 built, 1 failed\n")
    assert re.search(r"^\| `good-cu130-amd64` \| ✓ built \|", text, re.MULTILINE)
    assert "\n```\n: :warning::x\n```\n" in text  # a file that somebody prints is no command either


def test_long_steps_are_short_on_the_screen_and_whole_in_the_log(engine: str, tmp_path: Path) -> None:
    command = "echo " + " ".join(f"word{number}" for number in range(100))
    project = write_project(tmp_path, "127.0.0.1:5000/unused", app=f"RUN --mount=type=tmpfs,target=/t {command}")
    done = project.build()
    assert done.returncode == 0, done.stderr
    said = [line.removeprefix("app-cu130-amd64  ") for line in done.stderr.splitlines()]
    said = [line for line in said if not line.startswith("done in ")]  # of a step that took a second, on a busy machine
    assert [line for line in said if "word0" in line] == [f"[app 1/1] RUN {command}"[:107] + "..."]
    assert not [line for line in said if "load" in line]
    assert len(said) == len(set(said))
    log = project.log("app")
    assert log is not None
    assert f"[app 1/1] RUN --mount=type=tmpfs,target=/t {command}" in log.read_text()


def test_a_failed_instruction_leads_to_the_arguments_of_the_matrix(engine: str, tmp_path: Path) -> None:
    project = write_project(tmp_path, "127.0.0.1:5000/unused", bad="RUN echo $torch_cuda_arch_list; exit 3")
    done = project.build()
    assert done.returncode == 1
    lines = project.root.joinpath("matrix.yaml").read_text().splitlines()
    (line,) = (number for number, text in enumerate(lines, 1) if "torch_cuda_arch_list" in text)
    assert "note: the instruction uses torch_cuda_arch_list='8.0 9.0 11.0' from variants.args" in done.stdout
    assert f"matrix.yaml:{line}:" in done.stdout
