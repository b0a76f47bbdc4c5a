"""The other spellings of an arch list: torch, FlashInfer, CMake and nvcc, written and read back.

One list has several dialects, and a reader that meets the wrong one often says nothing: FlashInfer turns `12.0+PTX`
into the target `compute_120+PTX` and fails hours later in nvcc. A renderer here either writes what its reader takes to
mean exactly the given architectures or raises DialectError; what a renderer writes, the parser beside it reads back.
The behaviours are measured on torch 2.15.0, FlashInfer 0.7.2.post1, CMake 3.25 to 4.4 and nvcc 13.0.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, cast

from orchestrator.cuda.arch import Arch, ArchSyntaxError, Suffix, from_sm, parse_list

if TYPE_CHECKING:
    from collections.abc import Iterable

_CMAKE = re.compile(r"([1-9][0-9]{1,2})([af]?)(-real|-virtual)?")


class DialectError(ValueError):
    """A dialect cannot say an architecture, or a text is not in the dialect.

    Attributes:
        dialect: "torch", "FlashInfer", "CMake" or "nvcc".
        item: The architecture or the offending item of the text.
        why: What is wrong with it, one line.
    """

    def __init__(self, *, dialect: str, item: str, why: str) -> None:
        super().__init__(f"{item!r} in {dialect}'s dialect: {why}")
        self.dialect = dialect
        self.item = item
        self.why = why


def render_matrix(archs: Iterable[Arch]) -> str:
    """The list as matrix.yaml writes it: items joined by single spaces."""
    return " ".join(str(arch) for arch in archs)


def render_torch(archs: Iterable[Arch], *, allow_family: bool = False) -> str:
    """TORCH_CUDA_ARCH_LIST: single spaces, none at the ends (torch's Python reader refuses any other space).

    Args:
        archs: The architectures, in the order to write.
        allow_family: Write `f` targets too: torch's CMake reader (2.15.0) takes them, its Python reader does not.

    Raises:
        DialectError: An `f` target, unless allowed.
    """
    items = tuple(archs)
    for arch in items:
        _refuse_family(arch, allow_family=allow_family)
    return render_matrix(items)


def parse_torch(text: str, *, allow_family: bool = False) -> tuple[Arch, ...]:
    """Read TORCH_CUDA_ARCH_LIST: spaces or semicolons, in any number, as torch's CMake reader does.

    Raises:
        ArchSyntaxError: An item is not an architecture (names are refused, `arch` says why).
        DialectError: An `f` target, unless allowed.
    """
    archs = parse_list(text)
    for arch in archs:
        _refuse_family(arch, allow_family=allow_family)
    return archs


def _refuse_family(arch: Arch, *, allow_family: bool) -> None:
    if arch.suffix == "f" and not allow_family:
        why = "torch's Python builds refuse family targets; write the architectures of the family, plain or with a"
        raise DialectError(dialect="torch", item=str(arch), why=why)


def render_flashinfer(archs: Iterable[Arch], *, drop_ptx: bool = False) -> str:
    """FLASHINFER_CUDA_ARCH_LIST: single spaces, no PTX.

    FlashInfer reads a plain 9.0, 10.x or 11.0 as 9.0a, 10.xa or 11.0a and a plain 12.x by its version and CUDA's (0.6.6
    adds no suffix at all): only items below 9.0 and items with a suffix mean the same to every release.

    Args:
        archs: The architectures, in the order to write.
        drop_ptx: Write 12.0 for 12.0+PTX. FlashInfer embeds no PTX and mangles the item.

    Raises:
        DialectError: An item with +PTX, unless dropped.
    """
    items = tuple(archs)
    for arch in items:
        if arch.ptx and not drop_ptx:
            why = "FlashInfer embeds no PTX, and takes +PTX for a part of the target's name"
            raise DialectError(dialect="FlashInfer", item=str(arch), why=why)
    return render_matrix(arch.without_ptx() for arch in items)


def parse_flashinfer(text: str) -> tuple[Arch, ...]:
    """Read FLASHINFER_CUDA_ARCH_LIST, items as written (not as FlashInfer completes them).

    Raises:
        ArchSyntaxError: An item is not an architecture.
        DialectError: A separator other than single spaces, or an item with +PTX.
    """
    archs = parse_list(text)
    if ";" in text or text != " ".join(text.split()):
        why = "items are separated by one space, with none at the ends"
        raise DialectError(dialect="FlashInfer", item=text, why=why)
    render_flashinfer(archs)
    return archs


def render_cmake(archs: Iterable[Arch]) -> str:
    """CMAKE_CUDA_ARCHITECTURES: `90a-real;120`, where an item without -real also embeds PTX."""
    return ";".join(f"{arch.sm}{arch.suffix}{'' if arch.ptx else '-real'}" for arch in archs)


def parse_cmake(text: str) -> tuple[Arch, ...]:
    """Read CMAKE_CUDA_ARCHITECTURES; `120-real;120-virtual` is `120`, and each target comes once.

    Raises:
        DialectError: Another separator than `;`, a name (native, all), or PTX without its machine code (`90-virtual`
            alone), which an arch list cannot say.
    """
    real: dict[Arch, None] = {}
    virtual: dict[Arch, None] = {}
    for item in text.split(";"):
        match = _CMAKE.fullmatch(item)
        if not match:
            why = "write numbers as in 90a-real or 120, separated by semicolons"
            raise DialectError(dialect="CMake", item=item, why=why)
        arch = _from_sm(item, match[1], match[2])
        if match[3] != "-virtual":
            real[arch] = None
        if match[3] != "-real":
            virtual[arch] = None
    return _joined(real, virtual)


def render_gencode(archs: Iterable[Arch]) -> tuple[str, ...]:
    """Nvcc's flags: one `-gencode=arch=compute_90a,code=sm_90a` for the machine code, one more for PTX.

    Raises:
        DialectError: An architecture both plain and as its family (10.0 and 10.0f): nvcc refuses the two together.
    """
    items = tuple(archs)
    flags = []
    for arch in items:
        if arch.suffix == "f" and arch.plain() in {other.without_ptx() for other in items}:
            why = f"nvcc refuses {arch.plain()} and {arch.without_ptx()} in one compilation"
            raise DialectError(dialect="nvcc", item=str(arch), why=why)
        name = f"{arch.sm}{arch.suffix}"
        flags.append(f"-gencode=arch=compute_{name},code=sm_{name}")
        if arch.ptx:
            flags.append(f"-gencode=arch=compute_{name},code=compute_{name}")
    return tuple(flags)


def _from_sm(item: str, number: str, suffix: str) -> Arch:
    try:
        return from_sm(int(number), cast("Suffix", suffix))
    except ValueError as error:
        raise DialectError(dialect="CMake", item=item, why=str(error)) from None


def _joined(real: dict[Arch, None], virtual: dict[Arch, None]) -> tuple[Arch, ...]:
    for arch in virtual:
        if arch not in real:
            why = f"PTX of {arch} without its machine code; an arch list cannot say that"
            raise DialectError(dialect="CMake", item=str(arch), why=why)
    if not real:
        raise ArchSyntaxError(item="", why="the list names no architecture", offset=0)
    return tuple(arch.with_ptx() if arch in virtual else arch for arch in real)
