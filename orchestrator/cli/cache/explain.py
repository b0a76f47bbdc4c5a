"""`orchestrate cache explain`: says why the last build of a variant was not taken from the cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.cli import common, kit, options
from orchestrator.errors import UsageError, did_you_mean
from orchestrator.ui import streams
from orchestrator.untrusted import clean

if TYPE_CHECKING:
    from orchestrator.cli.common import Location


@kit.command("explain", examples=("orchestrate cache explain app-cu130-amd64",))
@kit.argument("variant", metavar="ID", explanation="The variant, as plan lists it.")
@options.location
def command(*, given: Location, variant: str) -> None:
    """Say why a variant's steps were not taken from the cache.

    Names the first step that ran and every input that changed since the success before: arguments, files of the
    contexts, lines of the Dockerfile, base images. What steps fetch by themselves is in none of them.
    """
    from orchestrator.matrix.expand import plan
    from orchestrator.runs.journal import Journal
    from orchestrator.state import require_own

    matrix = common.open_matrix(given)
    names = [one.id for one in plan(matrix).variants]
    if variant not in names:
        raise UsageError(f"{variant}: the variant was not found", hint=did_you_mean(variant, names))
    journal = Journal(require_own(matrix.root) / "journal.jsonl")
    entry = journal.last(variant)
    if entry is None:
        streams.say(f"{variant}: never built here, or its journal is gone")
        return
    streams.say(f"{variant}, built at {entry.at}: {entry.cache or 'nothing was recorded'}")
    steps = entry.steps
    if steps.total:
        saved = journal.slowest(variant) - entry.seconds
        less = f", {saved:.1f} s less than the slowest one here" if steps.cached and saved >= 1 else ""
        streams.say(
            f"  {steps.cached} of {steps.total} steps came from the cache; the build took {entry.seconds:.1f} s{less}"
        )
    for ref, state in entry.sources.items():
        streams.say(f"  cache {clean(ref)}: {clean(state)}")
    if len(entry.changes) > 1:
        streams.say("  changed since the success before, the likeliest cause first:")
        for line in entry.changes:
            streams.say(f"    {line}")
