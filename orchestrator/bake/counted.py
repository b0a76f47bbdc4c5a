"""Which vertexes of a build are one step of a Dockerfile.

While builds run beside each other BuildKit merges equal vertexes, and reports the other build's vertex to both: one
step then stands under two digests, and under the name that it has in the other build's Dockerfile. A build is told of
every step of a stage that it needs before the first one runs, so a stage of which steps are missing is another
build's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from orchestrator.bake.events import StepKind, step_place

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.bake.events import StepPlace

_Vertex = TypeVar("_Vertex")


class Counted(Generic[_Vertex]):
    """The vertexes of a build that run instructions of a Dockerfile, by the step that they are."""

    def __init__(self) -> None:
        self._vertexes: dict[StepPlace, list[_Vertex]] = {}
        self._announced: dict[tuple[str, int], set[int]] = {}
        self._same: dict[tuple[str, int, str], list[_Vertex]] = {}
        self._by_command: dict[str, list[_Vertex]] = {}
        self._sorted = True  # whether the two hold every vertex

    def add(self, name: str, kind: StepKind, vertex: _Vertex) -> None:
        """Take a vertex; one that is no step of a Dockerfile, or a base image, is not counted.

        Args:
            name: As BuildKit names it: `[stage 2/5] RUN make`.
            kind: What it does.
            vertex: What `steps` hands out again.
        """
        if (place := step_place(name)) is None:
            return
        self._announced.setdefault((place.stage, place.of), set()).add(place.number)
        self._sorted = self._sorted and self._lacks(place)  # steps of stages that are complete come first
        # A base image is resolved, not run: whether BuildKit calls it cached depends on the kind of builder.
        if kind is StepKind.BASE:
            return
        self._vertexes.setdefault(place, []).append(vertex)
        if self._sorted:  # asked for at each event: hundreds of builds are not sorted anew for each vertex
            self._sort(place, [vertex])

    def steps(self) -> list[list[_Vertex]]:
        """The vertexes of each step."""
        if not self._sorted:
            self._same, self._by_command, self._sorted = {}, {}, True
            for place, vertexes in sorted(self._vertexes.items(), key=lambda item: self._lacks(item[0])):
                self._sort(place, vertexes)
        return list(self._same.values())

    def _sort(self, place: StepPlace, vertexes: Sequence[_Vertex]) -> None:
        """Put vertexes to those of their step."""
        key = (place.stage, place.number, place.command)
        found = self._same.get(key)
        if found is None and self._lacks(place):
            found = self._by_command.get(place.command)
        if found is None:
            found = self._same[key] = []
        self._by_command.setdefault(place.command, found)
        found.extend(vertexes)

    def _lacks(self, place: StepPlace) -> bool:
        return len(self._announced[place.stage, place.of]) < place.of
