"""A run as the command line makes it, to send signals to: `python -m tests.engine.build_driver FOLDER TARGET…`.

Bakes the targets of FOLDER/bake.json at once, writes FOLDER/report.json and ends with the run's exit status.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

from orchestrator.runs.outcome import exit_code
from orchestrator.runs.report import VariantInfo, report, write_report
from orchestrator.runs.scheduler import build_all
from orchestrator.runs.signals import stop_on_signals
from orchestrator.ui.board import make_reporter
from tests.engine.test_build_run import job


def main(folder: Path, targets: list[str]) -> int:
    started = datetime.now(UTC)
    with stop_on_signals() as stop, make_reporter(targets) as reporter:
        outcomes = build_all(
            [job(folder, target) for target in targets],
            parallel=len(targets),
            fail_fast=False,
            reporter=reporter,
            stop=stop,
        )
        infos = [VariantInfo(id=target, target=target, cuda="13.0", platform="linux/amd64") for target in targets]
        write_report(folder / "report.json", report(infos, outcomes, started=started))
        return exit_code(outcomes, interrupted=stop.is_set())


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
