"""Where `orchestrate` and `python -m orchestrator` begin: Ctrl-C while modules are being read ends quietly too."""

from __future__ import annotations

import gc
import sys

_INTERRUPTED = 130  # as errors.InterruptedRunError, which may not have been read yet


def main() -> None:
    """Run the command line; see `orchestrator.cli.app.main`."""
    gc.set_threshold(50_000)  # what is imported and parsed stays: looking for garbage in it took a tenth of `check`
    try:
        from orchestrator.cli.app import main as run
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    run()


if __name__ == "__main__":
    main()
