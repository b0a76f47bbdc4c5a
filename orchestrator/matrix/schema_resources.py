"""The section of matrix.yaml about processors, memory and disk of builders.

Annotations are evaluated here (no `from __future__ import annotations`): the section is read from them.
"""

import re
from typing import Annotated, Literal

from orchestrator.matrix.section import Range, Section, Text, key
from orchestrator.sizes import parse_size, size_problem

AUTO = "auto"
_MOST_JOBS = 4096
_NUMBER = re.compile(r"[0-9]{1,9}")


class BuilderSpec(Section):
    """What a builder has that is not this machine."""

    processors: Annotated[int, Range(1)] = key("Processors that its builds may use.")
    memory: Text = key("Memory that its builds may use, as in 256GB.")

    def broken_rule(self) -> str:
        """Why the memory is no size."""
        return size_problem("memory", self.memory)


class ResourcesSpec(Section):
    """How much of a builder's processors, memory and disk builds may take."""

    max_jobs: Text = key(
        "Compile jobs of a variant, given as the secret max-jobs: auto (of the builder's processors and memory), a "
        "number, or off.",
        default="off",
    )
    threads: Annotated[int, Range(1)] = key("Threads of each job (NVCC_THREADS): max_jobs is a multiple.", default=1)
    unit_memory: Text = key("Memory of one compile thread; CUTLASS kernels take 4GB to 13GB.", default="4GB")
    builders: dict[str, BuilderSpec] = key("Builders that are not this machine, by buildx's name.", default={})
    targets: list[str] | None = key("Bake targets that mount the secret max-jobs; all if absent.", default=None)
    disk: Literal["warn", "refuse", "prune"] = key(
        "What a build does whose variants took more disk before than is free now.", default="warn"
    )
    min_free: Text = key("Free disk below which no further variant is started, as in 20GB.", default="2GiB")

    def broken_rule(self) -> str:
        """What is wrong with a value."""
        jobs = self.max_jobs
        if jobs not in (AUTO, "off") and not (_NUMBER.fullmatch(jobs) and 0 < int(jobs) <= _MOST_JOBS):
            return f"max_jobs: {jobs} is invalid: expected auto, off or a number up to {_MOST_JOBS}"
        if problem := size_problem("unit_memory", self.unit_memory) or size_problem("min_free", self.min_free):
            return problem
        if not parse_size(self.unit_memory):
            return f"unit_memory: {self.unit_memory} is invalid: expected more than nothing, as in 4GB"
        return ""
