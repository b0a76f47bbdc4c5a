"""Reads nvcc's -gencode flags back, to compare what we write for nvcc with what nvcc and FlashInfer make of it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, cast

from orchestrator.cuda.arch import Arch, Suffix, from_sm

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_GENCODE = re.compile(r"arch=compute_([1-9][0-9]{1,2})([af]?),code=(?:\[([^\]]*)\]|([^\[\],]+))")
_CODE = re.compile(r"(sm|compute)_([1-9][0-9]{1,2})([af]?)")


def parse_gencode(flags: Sequence[str]) -> tuple[Arch, ...]:
    """The architectures of nvcc's -gencode flags, each target once; other flags are skipped.

    A suffix of `arch=` holds for `code=` as well: compute_100f with code=sm_103 makes sm_103f (measured, nvcc 13.0).

    Args:
        flags: `-gencode=…`, `--generate-code=…`, or either in two elements.
    """
    real: dict[Arch, None] = {}
    virtual: dict[Arch, None] = {}
    for value in _values(flags):
        match = _GENCODE.fullmatch(value)
        assert match, value
        for code in (match[3] or match[4]).split(","):
            made = _CODE.fullmatch(code)
            assert made, value
            arch = from_sm(int(made[2]), cast("Suffix", made[3] or match[2]))
            (real if made[1] == "sm" else virtual)[arch] = None
    assert set(virtual) <= set(real)
    return tuple(arch.with_ptx() if arch in virtual else arch for arch in real)


def _values(flags: Sequence[str]) -> Iterable[str]:
    words = iter(flags)
    for word in words:
        option, equals, value = word.partition("=")
        if option in {"-gencode", "--generate-code"}:
            yield value if equals else next(words, "")
