"""A throw-away project for the installed command: matrix.yaml, a bake file, and a Dockerfile of one stage a target.

    project = write_project(tmp_path, image, good="RUN echo fine", bad="RUN exit 9")
    done = project.run("build", "--push", "--jobs", "2")

Nothing of it is fetched: the base is `FROM scratch` with a shell of this machine. What comes after the base is in no
cache, because each project is fresh.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.base import write_rootfs

if TYPE_CHECKING:
    from collections.abc import Mapping

COMMAND = Path(sys.executable).parent / "orchestrate"
MARK = "ORCHESTRATE_TEST_MARK"

MATRIX = """\
version: 1
image: {image}
bake:
  files: [docker-bake.json]
  targets: [{targets}]
arch_lists:
  release: 8.0 9.0 11.0
cuda:
  "13.0": {{version: 13.0.2}}
platforms:
  linux/amd64: {{}}
variants:
  arch_list: release
  args:
    CUDA_VERSION: "{{cuda.version}}"
    torch_cuda_arch_list: "{{archs.torch}}"
  labels:
    com.acme.literal: "${{HOME}} %{{x}} 100%"
  tags: ["{{image}}:{{target}}-{{platform.arch}}"]
cache: {{backend: "off"}}
verify:
  require: [{{glob: "*/libaxpy.so"}}]
"""

BASE = """\
FROM scratch AS base
ADD rootfs.tar /
ENV FRESH={fresh}
RUN : $FRESH
"""

STAGE = """\
FROM {base} AS {name}
ARG CUDA_VERSION
ARG torch_cuda_arch_list
ARG literal
ENV CUDA_VERSION=$CUDA_VERSION ARCHS=$torch_cuda_arch_list LITERAL=$literal
{rest}
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Project:
    """A project directory.

    Attributes:
        root: The directory of its matrix.yaml.
        report: Where `build` is told to write its report.
        mark: In the environment of every process that `run` and `start` begin.
    """

    root: Path
    report: Path
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """The environment of the command."""
        return {**os.environ, MARK: self.mark, **(extra or {})}

    def run(
        self, *words: str, env: Mapping[str, str] | None = None, timeout: float = 300
    ) -> subprocess.CompletedProcess[str]:
        """The installed command, run to its end in the project."""
        return subprocess.run(
            [str(COMMAND), *words], cwd=self.root, env=self.environment(env), capture_output=True, text=True,
            timeout=timeout, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def build(self, *words: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """`orchestrate build --report … WORDS`; whatever happens, it says no traceback."""
        done = self.run("build", "--report", str(self.report), *words, env=env)
        assert "Traceback" not in done.stdout + done.stderr
        return done

    def start(self, *words: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """`orchestrate build --report … WORDS`, started; in a session of its own, as from another terminal."""
        return subprocess.Popen(
            [str(COMMAND), "build", "--report", str(self.report), *words],
            cwd=self.root, env=self.environment(env), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip

    def reported(self) -> dict[str, dict[str, Any]]:
        """Target -> what the report says of its variant."""
        content = json.loads(self.report.read_text())
        assert content["schema"] == 1
        return {variant["target"]: variant for variant in content["variants"]}

    def log(self, target: str) -> Path | None:
        """The newest log of a target's variant, None while there is none."""
        found = sorted(self.root.glob(f".orchestrate/runs/*/{target}-cu130-amd64.log"))
        return found[-1] if found else None

    def processes(self) -> list[str]:
        """Command lines of what runs of this project's commands."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    if f"{MARK}={self.mark}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                        found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        return found


def write_project(folder: Path, image: str, **stages: str) -> Project:
    """Write a project.

    Args:
        folder: An empty directory, or one to be made.
        image: Its repository.
        stages: Target -> the instructions of its stage; `FROM x` in the first line replaces the base.
    """
    root = folder / "project"
    write_rootfs(root)
    text = BASE.format(fresh=uuid.uuid4().hex)
    for name, instructions in stages.items():
        first, _, rest = instructions.partition("\n")
        given = first.startswith("FROM ")
        base = first.removeprefix("FROM ") if given else "base"
        text += STAGE.format(base=base, name=name, rest=rest if given else instructions)
    (root / "Dockerfile").write_text(text)
    (root / ".dockerignore").write_text(".orchestrate\n")
    bake = {"target": {name: {"context": ".", "target": name} for name in stages}}
    (root / "docker-bake.json").write_text(json.dumps(bake))
    matrix = MATRIX.format(image=image, targets=", ".join(stages))
    (root / "matrix.yaml").write_text(matrix)
    return Project(root=root, report=folder / "report.json")


def wait_for_line(run: subprocess.Popen[str], project: Project, target: str, line: str, *, seconds: float = 60) -> None:
    """Wait until a line stands in a variant's log."""
    deadline = time.monotonic() + seconds
    while True:
        log = project.log(target)
        if log is not None and line in log.read_text(errors="replace"):
            return
        assert run.poll() is None, run.communicate()[0]
        assert time.monotonic() < deadline, f"no {line!r} in the log of {target}"
        time.sleep(0.05)
