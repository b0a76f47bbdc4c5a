"""`orchestrate headers …`: FlashInfer bundles, from a wheel's pins to a directory that a build can use."""

from __future__ import annotations

from orchestrator.cli.kit import Lazy, LazyGroup

_HELP = """Carry FlashInfer's headers into images that run without a network.

FlashInfer compiles some kernels on the user's machine, against TRTLLM headers that it downloads at that moment. A
bundle carries them: locked by sha256, fetched once, placed and verified inside the build.
"""

COMMANDS = {
    name: Lazy(module=f"orchestrator.cli.headers.{module}", summary=summary)
    for name, module, summary in (
        ("lock", "lock", "Write the lock file: every file of the bundle with its sha256."),
        ("fetch", "fetch", "Fetch every file of the lock into the store."),
        ("verify", "verify", "Compare every file of the bundle with the lock."),
        ("export", "export", "Write the bundle as one file, or as a directory for a build."),
        ("import", "import_", "Read a bundle from a file into the store."),
        ("serve", "serve", "Serve the bundle as a mirror that FlashInfer itself can use."),
        ("status", "status", "Show for every variant whether its image works offline."),
        ("gc", "gc", "Remove from the store what no named lock needs."),
    )
}

command = LazyGroup(
    name="headers",
    help=_HELP,
    lazy=COMMANDS,
    examples=(
        "orchestrate headers lock --flashinfer 0.6.13    write flashinfer.lock.json",
        "orchestrate headers fetch                       fetch its files into the store",
        "orchestrate headers export                      one file that crosses the air gap",
        "orchestrate headers import bundle.tar.zst       on the other side",
        "orchestrate headers status                      which images work offline, and why not",
    ),
)
