"""Where the wheels of a wheelhouse are installed: platform, Python and glibc, as pip's tags and markers name them."""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING

from msgspec import Struct

from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from packaging.tags import Tag

_MACHINES = {"linux/amd64": "x86_64", "linux/arm64": "aarch64"}
_OLDEST = {"x86_64": 5, "aarch64": 17}
"""The oldest glibc (2.N) that wheels of a machine name."""
_LEGACY = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
"""PEP 600: what 2.17, 2.12 and 2.5 were called before."""
_PYTHON = re.compile(r"3\.(\d{1,2})")
_GLIBC = re.compile(r"2\.(\d{1,2})")


class Target(Struct, frozen=True, kw_only=True, dict=True):
    """One place where wheels are installed.

    Attributes:
        platform: OCI platform, `linux/arm64`.
        python: CPython release, `3.12`.
        glibc: Version of the image's C library, `2.28`; wheels for this or an older one are taken.
    """

    platform: str
    python: str
    glibc: str

    def __post_init__(self) -> None:
        if self.platform not in _MACHINES:
            known = ", ".join(_MACHINES)
            raise UsageError(f"wheels: platform {self.platform} has no wheels: expected {known}")
        for name, pattern, form in (("python", _PYTHON, "3.12"), ("glibc", _GLIBC, "2.28")):
            if not pattern.fullmatch(getattr(self, name)):
                raise UsageError(f"wheels.{name}: {getattr(self, name)!r} is invalid: expected a form like {form}")

    def __str__(self) -> str:
        return f"Python {self.python} on {self.platform}"

    @property
    def machine(self) -> str:
        """The machine as wheels name it."""
        return _MACHINES[self.platform]

    @property
    def abi(self) -> str:
        """`cp312`."""
        return f"cp{self.python.replace('.', '')}"

    @property
    def platforms(self) -> tuple[str, ...]:
        """The platform tags of wheels that run there, the newest glibc first."""
        return tuple(self._platforms())

    def _platforms(self) -> Iterator[str]:
        for minor in range(int(self.glibc.partition(".")[2]), _OLDEST[self.machine] - 1, -1):
            yield f"manylinux_2_{minor}_{self.machine}"
            if minor in _LEGACY:
                yield f"{_LEGACY[minor]}_{self.machine}"
        yield f"linux_{self.machine}"

    @cached_property
    def tags(self) -> frozenset[Tag]:
        """The tags of wheels that run there."""
        from packaging import tags

        version = (3, int(self.python.partition(".")[2]))
        return frozenset(
            (
                *tags.cpython_tags(version, abis=[self.abi], platforms=self.platforms),
                *tags.compatible_tags(version, interpreter=self.abi, platforms=self.platforms),
            )
        )

    def environment(self, patch: int = 0) -> dict[str, str]:
        """The values of environment markers there.

        Args:
            patch: The patch release of Python, which nobody knows before the build.
        """
        full = f"{self.python}.{patch}"
        return {
            "implementation_name": "cpython",
            "implementation_version": full,
            "os_name": "posix",
            "platform_machine": self.machine,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": "Linux",
            "platform_version": "",
            "python_full_version": full,
            "python_version": self.python,
            "sys_platform": "linux",
        }
