"""Locator: the keys of a claim that say where in a repository a value stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import asdict

from orchestrator.drift.readers.tree import join_pointer

if TYPE_CHECKING:
    from collections.abc import Mapping


class Locator(Struct, frozen=True, kw_only=True):
    """A file, the place in it, and the dialect of the arch list there; each field is the key of a claim, "" if unused.

    `all` is `false` where only the first place of its name counts.

    A `ClaimSpec` can be made of `keys()` and a `says`.
    """

    file: str
    variable: str = ""
    target: str = ""
    arg: str = ""
    env: str = ""
    image: str = ""
    stage: str = ""
    name: str = ""
    branch: str = ""
    build_arg: str = ""
    where: str = ""
    package: str = ""
    pointer: tuple[str, ...] = ()
    dialect: str = ""
    all: str = ""

    @property
    def is_dockerfile_arg(self) -> bool:
        """Whether it is an ARG of a Dockerfile."""
        return bool(self.arg) and not self.target

    @property
    def in_bake_file(self) -> bool:
        """Whether it is a variable of a bake file, or an argument of a bake target."""
        return bool(self.variable or self.target)

    def keys(self) -> Mapping[str, str]:
        """The keys of a claim, in the order in which people write them."""
        return {
            key: join_pointer(value) if isinstance(value, tuple) else value
            for key, value in asdict(self).items()
            if value
        }
