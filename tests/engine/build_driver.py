"""A run as the command line makes it, to send signals to: `python -m tests.engine.build_driver FOLDER TARGET…`.

Bakes the targets of FOLDER/bake.json at once, writes FOLDER/report.json and ends with the run's exit status.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

from msgspec.structs import replace

from orchestrator.matrix import load
from orchestrator.matrix.expand import plan
from orchestrator.runs.outcome import exit_code
from orchestrator.runs.report import report, write_report
from orchestrator.runs.scheduler import build_all
from orchestrator.runs.signals import stop_on_signals
from orchestrator.runs.wishes import Limits
from orchestrator.ui.board import make_reporter
from tests.engine.test_build_run import job

MATRIX = """\
version: 1
image: registry.lan/app
bake: {{files: [bake.json], targets: [{targets}]}}
arch_lists: {{release: 9.0}}
cuda: {{"13.0": {{version: 13.0.2}}}}
platforms: {{linux/amd64: {{}}}}
variants: {{arch_list: release, tags: ["{{image}}:{{target}}"]}}
"""


def main(folder: Path, targets: list[str]) -> int:
    started = datetime.now(UTC)
    with stop_on_signals() as stop, make_reporter(targets) as reporter:
        outcomes = build_all(
            [job(folder, target) for target in targets],
            reporter=reporter,
            stop=stop,
            limits=Limits(parallel=len(targets)),
        )
        text = MATRIX.format(targets=", ".join(targets)).encode()
        variants = plan(load.parse(text, path=folder / "matrix.yaml", shown="matrix.yaml")).variants
        named = [replace(variant, id=variant.target) for variant in variants]
        write_report(folder / "report.json", report(named, outcomes, started=started))
        return exit_code(outcomes, interrupted=stop.is_set())


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
