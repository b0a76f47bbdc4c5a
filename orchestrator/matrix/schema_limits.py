"""The section of matrix.yaml about how long things may take.

Annotations are evaluated here (no `from __future__ import annotations`): the section is read from them.
"""

from orchestrator import durations
from orchestrator.matrix.section import Section, Text, key

OFF = "off"


class LimitsSpec(Section):
    """How long builds may take; `build --limit` replaces single ones."""

    variant: Text = key("Longest time of a variant with all its attempts, as in 6h; off for none.", default=OFF)
    step: Text = key("Longest time of one step of a build, as in 3h; off for none.", default=OFF)
    silence: Text = key(
        "How long a build may print nothing until its builder is asked whether it runs, as in 10m; off for never.",
        default="10m",
    )

    def broken_rule(self) -> str:
        """Which limit is no span of time."""
        for name in self.section_keys:
            value = getattr(self, name)
            if value != OFF and not durations.parse(value):
                return f"{name}: {value} is invalid: expected {durations.FORM}, or {OFF}"
        return ""

    def seconds(self, name: str) -> float | None:
        """A limit in seconds; None where it is off."""
        return durations.parse(getattr(self, name))
