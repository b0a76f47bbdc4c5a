"""What the device code of a built image weighs, where the image was read to verify it: kept with the run, for its page.

Each list has its largest entries alone; `orchestrate verify --cost` has all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import asdict

if TYPE_CHECKING:
    from orchestrator.image.verdict.verify import Verdict

_MOST = 12


class Weights(Struct, frozen=True, kw_only=True):
    """Bytes of device code in the files of an image.

    Attributes:
        archs: Tag (`90`, `p90`) -> bytes.
        libraries: Path -> bytes, the largest first.
        shorter: Compute capability, what a list without it saves, what a list of it alone saves.
        copies: Path of one copy, how many others there are, bytes that they waste.
    """

    archs: tuple[tuple[str, int], ...] = ()
    libraries: tuple[tuple[str, int], ...] = ()
    shorter: tuple[tuple[str, int, int], ...] = ()
    copies: tuple[tuple[str, int, int], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The value of `weights` in a kept run."""
        return asdict(self)


def weigh(verdict: Verdict) -> Weights:
    """Return what a verified image weighs; nothing is read again."""
    from orchestrator.image.verdict.cost import cost
    from orchestrator.image.verdict.verify import bytes_by_arch

    found = cost(verdict.scanned.files, verdict.ccs)
    return Weights(
        archs=tuple(bytes_by_arch(verdict.table).items()),
        libraries=tuple((one.path, sum(one.archs.values())) for one in found.places[:_MOST]),
        shorter=tuple((cc, found.without[cc], found.only[cc]) for cc in found.without),
        copies=tuple((one.path, len(one.others), one.wasted) for one in verdict.duplicates[:_MOST]),
    )


def from_json(row: Any) -> Weights:
    """Read what `Weights.to_json` gave.

    Raises:
        ValueError, TypeError, KeyError: It has another shape.
    """
    return Weights(
        archs=tuple((str(tag), int(size)) for tag, size in row["archs"]),
        libraries=tuple((str(path), int(size)) for path, size in row["libraries"]),
        shorter=tuple((str(cc), int(without), int(only)) for cc, without, only in row["shorter"]),
        copies=tuple((str(path), int(others), int(wasted)) for path, others, wasted in row["copies"]),
    )
