"""The GPUs that a list of architectures promises to serve."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.cuda.arch import Arch
from orchestrator.cuda.coverage import FAMILIES
from orchestrator.cuda.devices import device_names

if TYPE_CHECKING:
    from collections.abc import Iterable


def promised_ccs(promised: Iterable[Arch]) -> tuple[str, ...]:
    """The compute capabilities that a promise names; that of a family (`10.0f`) means every known member."""
    ccs: list[str] = []
    for arch in promised:
        ccs.append(arch.cc)
        members = FAMILIES.get(arch.sm, frozenset()) if arch.suffix == "f" else frozenset()
        others = (Arch(sm // 10, sm % 10).cc for sm in sorted(members))
        ccs += [cc for cc in others if device_names(cc)]
    return tuple(dict.fromkeys(ccs))


def among(cc: str, ccs: Iterable[str]) -> bool:
    """Whether a device is among some; 10.1 and 11.0 are one GPU."""
    return cc in ccs or (cc in ("10.1", "11.0") and bool({"10.1", "11.0"} & set(ccs)))
