"""`Matrix`: a matrix.yaml that was read, as a value."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from orchestrator.errors import Place

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from orchestrator.matrix.positions import Positions
    from orchestrator.matrix.schema import MatrixFile


class Matrix(Struct, frozen=True, kw_only=True):
    """A matrix.yaml that was read, with what is needed to point into it.

    Attributes:
        path: The file.
        root: Its directory: what relative paths in it start from.
        spec: The validated values.
        positions: Line and column of each of them.
        data: The file's bytes.
    """

    path: Path
    root: Path
    spec: MatrixFile
    positions: Positions
    data: bytes

    @property
    def digest(self) -> str:
        """`sha256:…` of the file's bytes."""
        import hashlib

        return f"sha256:{hashlib.sha256(self.data).hexdigest()}"

    @property
    def bake_files(self) -> tuple[str, ...]:
        """The project's bake files: those that the file names, else those that bake reads by itself.

        Raises:
            MatrixError: The file names none, and there is none that bake reads by itself.
        """
        if self.spec.bake.files:
            return tuple(self.spec.bake.files)
        from orchestrator.engine.bake_files import NAMES, read_by_itself
        from orchestrator.matrix.positions import invalid

        found = read_by_itself(self.root)
        if not found:
            missing = self.positions.problem(
                ("bake",),
                f"a bake file was not found in {self.root}",
                expected=f"one of {', '.join(NAMES)}",
                hint="name the project's own bake files, as in files: [docker/docker-bake.hcl]",
            )
            raise invalid(self.positions.file, [missing])
        return found

    def target_places(self, names: Iterable[str]) -> dict[str, Place]:
        """Bake targets with the place where the file lists each."""
        listed = list(self.spec.bake.targets)
        above = ("bake", "targets")
        found = {}
        for name in names:
            numbered = (*above, listed.index(name))
            line, column = self.positions.at(
                numbered if numbered in self.positions.values else (*above, name), key=True
            )
            found[name] = Place(file=self.positions.file, line=line, column=column)
        return found
