"""Two CUDA kernels, saxpy and a sum, behind a shared library that ctypes loads."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

LIBRARY = Path(__file__).with_name("libaxpy.so")


class CudaError(RuntimeError):
    """The CUDA runtime said no; the message is its own."""


def _load() -> ctypes.CDLL:
    library = ctypes.CDLL(str(LIBRARY))  # its run path leads to the CUDA runtime beside it
    floats = ctypes.POINTER(ctypes.c_float)
    library.axpy_saxpy.argtypes = [ctypes.c_longlong, ctypes.c_float, floats, floats]
    library.axpy_sum.argtypes = [ctypes.c_longlong, floats, ctypes.POINTER(ctypes.c_double)]
    library.axpy_error.restype = ctypes.c_char_p
    return library


_library = _load()


def _check(status: int) -> None:
    if status:
        raise CudaError(_library.axpy_error(status).decode())


def runtime_version() -> tuple[int, int]:
    """The CUDA runtime's version, as (major, minor). Needs no GPU."""
    version = ctypes.c_int()
    _check(_library.axpy_runtime_version(ctypes.byref(version)))
    return version.value // 1000, version.value % 1000 // 10


def device_count() -> int:
    """The number of GPUs; raises CudaError where there is no driver."""
    count = ctypes.c_int()
    _check(_library.axpy_device_count(ctypes.byref(count)))
    return count.value


def saxpy(a: float, x: Sequence[float], y: Sequence[float]) -> list[float]:
    """A * x + y, element by element, on the GPU.

    Raises:
        ValueError: x and y differ in length.
        CudaError: No GPU, or none that the library holds code for.
    """
    if len(x) != len(y):
        msg = f"x has {len(x)} elements, y has {len(y)}"
        raise ValueError(msg)
    array = ctypes.c_float * len(x)
    result = array(*y)
    _check(_library.axpy_saxpy(len(x), a, array(*x), result))
    return list(result)


def total(x: Sequence[float]) -> float:
    """The sum of x, added up in double precision on the GPU."""
    result = ctypes.c_double()
    _check(_library.axpy_sum(len(x), (ctypes.c_float * len(x))(*x), ctypes.byref(result)))
    return result.value
