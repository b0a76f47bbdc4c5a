"""A build that was given up goes on at its builder and pushes later: the tag names what was reported all the same."""

from __future__ import annotations

import json
import signal
import time
import uuid
from typing import TYPE_CHECKING

from tests.support.fleet import machine, served
from tests.support.project import wait_for_line, write_project

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.engine import Registry

# Where the layers of the engine are tells which one runs it: slow on the builder that is given up, quick on the other.
STEP = (
    "FROM scratch\nADD rootfs.tar /\nENV FRESH={fresh}\n"
    'RUN --network=none echo begin; case "$(cat /proc/mounts)" in *orchestrate-fleet*) '
    "sleep 2; echo more; sleep {seconds};; esac; echo end"
)
SECONDS = 40


def test_a_late_push_of_a_build_that_was_given_up_moves_no_tag(registry: Registry, tmp_path: Path) -> None:
    project = write_project(
        tmp_path, registry.repository("given-up"), quiet=STEP.format(seconds=SECONDS, fresh=uuid.uuid4().hex)
    )
    with machine(registry.address) as there, served(there.host) as port:
        builders = {"plain": {"driver": "remote", "endpoint": port.endpoint, "slots": 2}, "default": {}}
        matrix = project.root / "matrix.yaml"  # with these slots the variant prefers `plain`
        matrix.write_text(matrix.read_text() + f"builders: {json.dumps(builders)}\n")
        run = project.start("--push", "--limit", "silence=2s", env={"BUILDX_CONFIG": str(tmp_path / "buildx")})
        try:
            wait_for_line(run, project, "quiet", "| begin")
            began = time.monotonic()
            assert port.signal(signal.SIGSTOP)
            said, _ = run.communicate(timeout=150)
        finally:
            with run:
                run.kill()
        found = project.reported()["quiet"]
        assert (run.returncode, found["attempts"], found["builder"]) == (0, 2, "default"), said
        time.sleep(max(0, began + SECONDS + 8 - time.monotonic()))  # as long as the other one takes at most
        assert registry.digest("given-up", "quiet-amd64") == found["digest"], said
        port.signal(signal.SIGCONT)
    assert project.processes() == []
    assert any("waiting for the end of a build that was given up on builder plain" in line for line in said.split("\n"))
    assert f"quiet-amd64, which names {found['digest']} again" in said
