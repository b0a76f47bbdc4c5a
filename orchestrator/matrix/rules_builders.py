"""What must hold among the builders of matrix.yaml beyond their types."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.matrix import names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.errors import Problem
    from orchestrator.matrix.positions import KeyPath, Positions
    from orchestrator.matrix.schema import MatrixFile


def builder_problems(spec: MatrixFile, at: Positions) -> Iterator[Problem]:
    """Every problem of the section `builders`."""
    yield from _names(spec, at)
    endpoints: dict[str, str] = {}
    for name, entry in spec.builders.items():
        first = endpoints.setdefault(entry.endpoint, name) if entry.endpoint else name
        if first != name and entry.driver == spec.builders[first].driver == "remote":
            yield at.problem(
                ("builders", name, "endpoint"), f"builders {first} and {name} are one daemon", found=entry.endpoint,
                hint=f"give {first} more slots instead",
            )  # fmt: skip
        for index, platform in enumerate(entry.platforms):
            if not names.is_platform(platform):
                listed: KeyPath = ("builders", name, "platforms", index)
                place = listed if listed in at.values else listed[:-1]
                yield at.problem(
                    place, f"platform {platform!r} is invalid", hint=names.platform_meant(platform),
                    expected="OS/ARCHITECTURE of the OCI image specification",
                )  # fmt: skip
    if spec.builders and all(entry.platforms for entry in spec.builders.values()):
        taken = {platform for entry in spec.builders.values() for platform in entry.platforms}
        for platform in spec.platforms:
            if platform not in taken:
                yield at.problem(
                    ("platforms", platform), f"no builder takes variants of {platform}", key=True,
                    hint="add it to platforms of a builder, or leave platforms out",
                )  # fmt: skip


def _names(spec: MatrixFile, at: Positions) -> Iterator[Problem]:
    for name in spec.builders:
        if not names.BUILDER.fullmatch(name):
            yield at.problem(
                ("builders", name), f"{name!r} is not a valid builder name", key=True,
                expected="lowercase letters, digits, . _ and -",
            )  # fmt: skip
        if name in spec.resources.builders:
            yield at.problem(
                ("resources", "builders", name), f"builder {name} is declared twice", key=True,
                hint=f"keep processors and memory in builders.{name}",
            )  # fmt: skip
