"""Does GPU code serve a device? The rules of NVIDIA's compatibility guides, container by container.

A fatbin container belongs to one translation unit (or one device link) and stands alone: a program of two units, one
with sm_90 and one with sm_80, runs the first kernel on an H200 and fails in the second with
cudaErrorNoKernelImageForDevice (measured, driver 580, lazy and eager loading alike). So the question is asked per
container, never of the union over a library or an image, and it is "is a device of 8.9 served?", never "is the label
sm_89 there?".

Sources: Blackwell Compatibility Guide (cubin: same major, same or higher minor; PTX: same or later); CUDA Programming
Guide 3.1.2 and 6.1.2 (no binary compatibility from or to Tegra) and its table "Family-Specific Compatibility" (the same
as what ptxas 12.9.86 and 13.5.37 accept for `.target sm_Nf`); NVCC guide 6.6.2 (linking at load time). Measured on
hardware of 9.0 (tests/gpu): native, arch, PTX, linking at load time and none; the others are documented only. This
module does not depend on how images are read.
"""

from __future__ import annotations

from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from orchestrator.cuda.arch import ArchSyntaxError, Suffix, parse_arch

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

FAMILIES = MappingProxyType(
    {
        100: frozenset({100, 103, 107}),
        103: frozenset({103, 107}),
        107: frozenset({107}),
        110: frozenset({110}),
        120: frozenset({120, 121}),
        121: frozenset({121}),
    }
)
"""SM of an `f` target: the SMs of the devices that its code runs on. 101 is 110 by its first name."""

TEGRA = frozenset({53, 62, 72, 87, 101, 110})
"""SMs of the Jetson and Drive GPUs, which share no cubins with desktop GPUs of the same major number."""

_THOR_FIRST_NAME, _THOR = 101, 110
# From CUDA 13.2 on, torch lets desktop cubins serve these two (pytorch #186285, "SBSA unification").
_RELAXED_TEGRA = frozenset({72, 87})


class How(Enum):
    """How a container serves a device; the first that applies, in this order."""

    NATIVE = "native"
    """A plain cubin of that very compute capability."""
    ARCH = "arch"
    """An `a` cubin of that very compute capability."""
    FAMILY = "family"
    """An `f` cubin whose family the device belongs to."""
    SAME_MAJOR = "same-major"
    """A plain cubin of the same major and a lower minor number, neither side Tegra."""
    PTX = "ptx"
    """PTX that the driver compiles at first use, if the driver knows its ISA."""
    RELINK = "relink"
    """Only by linking relocatable code when the program loads. An H200 does it, driver 580; whether each driver does is
    not known, so it counts as not served. That driver links objects one by one: where one of several cannot be linked,
    only the kernels of that one fail, and the whole is called NONE."""
    NONE = "none"
    """Launching a kernel of it gives cudaErrorNoKernelImageForDevice."""

    @property
    def direct(self) -> bool:
        """Machine code that runs as it is, on any driver that knows the device."""
        return self in {How.NATIVE, How.ARCH, How.FAMILY, How.SAME_MAJOR}


class Image(Struct, frozen=True):
    """One entry of a fatbin container.

    Attributes:
        kind: "sass" a cubin, "ptx", or "lto" (LTO IR, which no driver runs).
        sm: The SM number, 90 of sm_90a.
        suffix: "", "a" or "f".
        isa: PTX ISA (major, minor) of "ptx", which the driver must know; (0, 0) otherwise.
    """

    kind: Literal["sass", "ptx", "lto"]
    sm: int
    suffix: Suffix = ""
    isa: tuple[int, int] = (0, 0)


def serve(
    images: Iterable[Image],
    cc: str,
    *,
    strict_tegra: bool = True,
    relocatable: Sequence[Sequence[Image]] = (),
) -> How:
    """How one container serves a device.

    Args:
        images: The entries of one container of `.nv_fatbin`.
        cc: The device's compute capability, "8.9"; "10.1" and "11.0" are the same GPU.
        strict_tegra: False lets desktop cubins serve 7.2 and 8.7, as torch does for code built by CUDA 13.2 or later.
        relocatable: The containers of `__nv_relfatbin` behind this container, when the driver could link them again;
            asked only where the container itself serves nothing.

    Raises:
        ArchSyntaxError: `cc` is not a compute capability.
    """
    device = _device(cc)
    best = min(
        (_how(image, device, strict_tegra=strict_tegra) for image in images), key=_RANK.__getitem__, default=How.NONE
    )
    if best is How.NONE and relocatable and all(_can_link(objects, device) for objects in relocatable):
        return How.RELINK
    return best


def ptx_isa_needed(images: Iterable[Image], cc: str) -> tuple[int, int] | None:
    """The lowest PTX ISA with which a driver can compile this container for the device; None when no PTX fits.

    Args:
        images: The entries of one container.
        cc: The device's compute capability, "11.0".

    Raises:
        ArchSyntaxError: `cc` is not a compute capability.
    """
    device = _device(cc)
    return min((image.isa for image in images if image.kind == "ptx" and _compiles(image, device)), default=None)


def _device(cc: str) -> int:
    arch = parse_arch(cc)
    if arch != arch.plain():
        why = "a device is named by its compute capability alone, without suffix or +PTX"
        raise ArchSyntaxError(item=cc, why=why, offset=0)
    return _same_gpu(arch.sm)


def _how(image: Image, device: int, *, strict_tegra: bool) -> How:
    if image.kind == "lto":
        return How.NONE
    if image.kind == "ptx":
        return How.PTX if _compiles(image, device) else How.NONE
    sm = _same_gpu(image.sm)
    if image.suffix == "a":
        return How.ARCH if sm == device else How.NONE
    if image.suffix == "f":
        return How.FAMILY if _in_family(sm, device) else How.NONE
    if sm == device:
        return How.NATIVE
    return How.SAME_MAJOR if _same_major(sm, device, strict_tegra=strict_tegra) else How.NONE


def _same_major(sm: int, device: int, *, strict_tegra: bool) -> bool:
    if sm // 10 != device // 10 or sm > device or sm in TEGRA:
        return False
    return device not in TEGRA or (not strict_tegra and device in _RELAXED_TEGRA)


def _compiles(ptx: Image, device: int) -> bool:
    if ptx.suffix == "a":
        return _same_gpu(ptx.sm) == device
    if ptx.suffix == "f":
        return _in_family(_same_gpu(ptx.sm), device)
    # By number as written: PTX for sm_101 compiles for 103 too (measured, ptxas 13.0.88 and 13.5.37).
    return ptx.sm <= device


def _can_link(objects: Iterable[Image], device: int) -> bool:
    """Whether the driver could link these relocatable images for the device: PTX or a cubin made for it, no LTO IR."""
    return any(_how(image, device, strict_tegra=True) is not How.NONE for image in objects)


def _in_family(sm: int, device: int) -> bool:
    return device in FAMILIES.get(sm, frozenset({sm}))


def _same_gpu(sm: int) -> int:
    return _THOR if sm == _THOR_FIRST_NAME else sm


_RANK = MappingProxyType({how: rank for rank, how in enumerate(How)})
