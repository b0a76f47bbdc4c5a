"""Whether a set of wheels is complete: every requirement of every wheel is met inside it.

pip judges the markers of a foreign platform as well as its version allows; what was left out would be missed in the
build, behind the air gap. So the metadata of every wheel is read here and judged for the target.
"""

from __future__ import annotations

import zipfile
import zlib
from email.parser import HeaderParser
from typing import TYPE_CHECKING

from msgspec import Struct

from orchestrator.errors import VerificationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from packaging.requirements import Requirement

    from orchestrator.wheels.target import Target

_MOST_METADATA = 16 << 20
_NEWEST_PATCH = 99  # of a Python release, whose real one is not known before the build


class Metadata(Struct, frozen=True, kw_only=True):
    """What a wheel says: its name and version, and what it needs."""

    name: str
    version: str
    requires: tuple[str, ...]


class Unmet(Struct, frozen=True, kw_only=True):
    """A requirement that no wheel of the set meets.

    Attributes:
        requirement: What is needed, without its marker.
        by: Which wheel needs it, "" for the user's own requirements.
        found: Version that is there instead, "" for none.
    """

    requirement: str
    by: str
    found: str


def read(path: Path, name: str) -> Metadata:
    """The metadata of a wheel.

    Args:
        path: The wheel, under whatever name.
        name: Its file name.

    Raises:
        VerificationError: It is not a wheel.
    """
    stem = "-".join(name.split("-")[:2])
    member = f"{stem}.dist-info/METADATA"
    try:
        with zipfile.ZipFile(path) as archive:
            found = [one for one in archive.namelist() if one.lower() == member.lower()]
            found = found or [
                one for one in archive.namelist() if one.endswith(".dist-info/METADATA") and one.count("/") == 1
            ]
            if len(found) != 1 or archive.getinfo(found[0]).file_size > _MOST_METADATA:
                raise VerificationError(f"{name}: the wheel has no metadata that can be read")
            text = archive.read(found[0]).decode("utf-8", errors="replace")
    except (OSError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError) as error:
        raise VerificationError(f"{name}: is not a wheel: {error}") from error
    headers = HeaderParser().parsestr(text)
    return Metadata(
        name=str(headers.get("Name", "")),
        version=str(headers.get("Version", "")),
        requires=tuple(map(str, headers.get_all("Requires-Dist", []))),
    )


def unmet(wheels: Mapping[str, Metadata], asked: Iterable[Requirement], target: Target) -> tuple[Unmet, ...]:
    """The requirements that a set of wheels does not meet.

    Args:
        wheels: File name -> metadata.
        asked: The user's own requirements.
        target: Where they are installed.

    Raises:
        VerificationError: The metadata of a wheel is invalid.
    """
    return _Closure(wheels, target).check(asked)


class _Closure:
    """One check: which extras of each package are asked for, followed until nothing is new."""

    def __init__(self, wheels: Mapping[str, Metadata], target: Target) -> None:
        from packaging.utils import canonicalize_name

        self.environments = (target.environment(), target.environment(_NEWEST_PATCH))
        self.by_package = {str(canonicalize_name(one.name)): (file, one) for file, one in wheels.items()}
        self.found: dict[tuple[str, str], Unmet] = {}
        self.extras: dict[str, set[str]] = {}
        self.pending: list[str] = []

    def check(self, asked: Iterable[Requirement]) -> tuple[Unmet, ...]:
        from packaging.markers import UndefinedComparison
        from packaging.requirements import InvalidRequirement, Requirement

        for name in self.by_package:
            self._follow(name, set())
        for requirement in asked:
            self._need(requirement, by="", extras={""})
        while self.pending:
            file, one = self.by_package[self.pending[-1]]
            extras = {"", *self.extras[self.pending.pop()]}
            for text in one.requires:
                try:
                    self._need(Requirement(text), by=file, extras=extras)
                except (InvalidRequirement, UndefinedComparison) as error:
                    raise VerificationError(f"{file}: its requirement {text!r} is invalid") from error
        return tuple(self.found[key] for key in sorted(self.found))

    def _need(self, requirement: Requirement, *, by: str, extras: set[str]) -> None:
        from packaging.utils import canonicalize_name

        marker = requirement.marker
        applies = marker is None or any(
            marker.evaluate({**environment, "extra": extra}) for environment in self.environments for extra in extras
        )
        if not applies:
            return
        name = str(canonicalize_name(requirement.name))
        _, one = self.by_package.get(name, ("", None))
        version = one.version if one is not None else ""
        # a URL names one file; which version it has is the wheel's own word
        met = one is not None and (requirement.url or requirement.specifier.contains(version, prereleases=True))
        if met:
            self._follow(name, set(requirement.extras))
            return
        wanted = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
        text = f"{requirement.name}{wanted}{requirement.specifier}"
        self.found.setdefault((text, by), Unmet(requirement=text, by=by, found=version))

    def _follow(self, name: str, extras: set[str]) -> None:
        """Look at a package's requirements, again where an extra is new."""
        known = self.extras.get(name)
        if known is None or not extras <= known:
            self.extras.setdefault(name, set()).update(extras)
            self.pending.append(name)
