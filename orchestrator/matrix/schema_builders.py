"""The section of matrix.yaml about the builders that share the variants of a run.

Annotations are evaluated here (no `from __future__ import annotations`): the sections are read from them.
"""

from typing import Annotated, Literal

from orchestrator.matrix.section import Range, Section, Text, TextList, key
from orchestrator.sizes import size_problem

_OF_REMOTE = ("tcp://", "unix://", "docker-container://", "podman-container://", "kube-pod://", "ssh://")


class GcSpec(Section):
    """How much disk the layer cache of a builder may take, in the terms of buildkitd."""

    reserved: Text = key("Disk that the layer cache keeps in any case, as in 20GB.", default="")
    max_used: Text = key("Most disk that the layer cache takes, as in 200GB.", default="")
    min_free: Text = key("Free disk that the layer cache leaves, as in 50GB.", default="")

    def broken_rule(self) -> str:
        """Which value is no size, or that there is none."""
        given = {name: getattr(self, name) for name in self.section_keys if getattr(self, name)}
        if not given:
            return f"gc is empty: expected {', '.join(self.section_keys)}"
        return next(filter(None, (size_problem(f"gc.{name}", text) for name, text in given.items())), "")


class FleetBuilder(Section):
    """One builder of buildx: named where it exists, created where it is absent and a driver is given."""

    driver: Literal["docker-container", "remote", "kubernetes", "cloud"] | None = key(
        "Driver to create the builder with if it does not exist; without one, it must exist.",
        default=None,
    )
    endpoint: Text = key(
        "tcp://HOST:PORT or unix:///PATH of remote, a docker context of docker-container, ORG/NAME of cloud.",
        default="",
    )
    platforms: TextList = key("Platforms whose variants it takes; all that it builds if absent.", default=[])
    slots: Annotated[int, Range(1)] = key("Variants that it builds at once.", default=1)
    processors: Annotated[int, Range(1)] | None = key("Processors that its builds may use.", default=None)
    memory: Text = key("Memory that its builds may use, as in 256GB.", default="")
    disk: Text = key("Disk that its builds may use, as in 1TB.", default="")
    options: dict[str, Text] = key(
        "Driver options, as in {cacert: certs/ca.pem}; files are relative to matrix.yaml.", default={}
    )
    config: Text = key("Configuration of its buildkitd (TOML), relative to matrix.yaml.", default="")
    gc: GcSpec | None = key("Disk that its layer cache may take, in place of config.", default=None)

    def broken_rule(self) -> str:
        """What is wrong with the combination of keys."""
        for name in ("memory", "disk"):
            if problem := size_problem(name, getattr(self, name)) if getattr(self, name) else "":
                return problem
        if self.driver is None:
            given = [name for name in ("endpoint", "options", "config", "gc") if getattr(self, name)]
            return f"{given[0]} goes with driver: a builder without one must exist already" if given else ""
        return self._of_driver(self.driver)

    def _of_driver(self, driver: str) -> str:
        if driver == "remote" and not self.endpoint.startswith(_OF_REMOTE):
            found = f", found {self.endpoint}" if self.endpoint else ""
            return f"a remote builder has an endpoint: expected tcp://HOST:PORT or unix:///PATH{found}"
        if driver == "cloud" and self.endpoint.count("/") != 1:
            return "a cloud builder has an endpoint: expected ORG/NAME"
        if driver in ("remote", "cloud") and (self.config or self.gc):
            return f"config and gc do not match driver {driver}: its buildkitd is configured where it runs"
        return "gc goes into the file of config, where there is one" if self.config and self.gc else ""
