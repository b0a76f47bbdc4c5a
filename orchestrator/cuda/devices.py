"""Which GPU has which compute capability: the names people know, for messages and for `--device`.

From NVIDIA's device pages (developer.nvidia.com/cuda-gpus and /cuda-legacy-gpus); 10.7 is on no such page yet and
has its name from torch's and vLLM's arch lists. Examples, not a catalogue: an unknown name is an error.
"""

from __future__ import annotations

import re
from types import MappingProxyType

from orchestrator.cuda.arch import Arch, ArchSyntaxError, parse_arch

_DEVICES = MappingProxyType(
    {
        "7.0": ("V100", "TITAN V"),
        "7.2": ("Jetson Xavier",),
        "7.5": ("T4", "RTX 20", "Quadro RTX"),
        "8.0": ("A100", "A30"),
        "8.6": ("A10", "A40", "A16", "A2", "RTX A6000", "RTX A5000", "RTX A4000", "RTX A2000", "RTX 30"),
        "8.7": ("Jetson AGX Orin", "Jetson Orin NX", "Jetson Orin Nano"),
        "8.9": ("L4", "L40", "L40S", "RTX 40", "RTX 6000 Ada", "RTX 4000 Ada", "RTX 2000 Ada"),
        "9.0": ("H100", "H200", "GH200"),
        "10.0": ("B200", "GB200"),
        "10.3": ("B300", "GB300"),
        "10.7": ("Rubin",),
        "11.0": ("Jetson Thor", "Jetson T5000", "Jetson T4000"),
        "12.0": ("RTX PRO 6000 Blackwell", "RTX PRO 4000 Blackwell", "RTX PRO 2000 Blackwell", "RTX 50"),
        "12.1": ("GB10", "DGX Spark"),
    }
)
_OTHER_NAMES = MappingProxyType({"10.1": "11.0"})  # CUDA 12.8 and 12.9 call Jetson Thor 10.1


class UnknownDeviceError(ValueError):
    """A text names no known GPU and is not a compute capability.

    Attributes:
        name: What was asked for.
        known: The known names, for a suggestion.
    """

    def __init__(self, name: str) -> None:
        super().__init__(f"{name!r} is not a known GPU; write its compute capability, as in 9.0")
        self.name = name
        self.known: tuple[str, ...] = tuple(device for devices in _DEVICES.values() for device in devices)


def devices() -> dict[str, tuple[str, ...]]:
    """Every known compute capability with its GPUs."""
    return {cc: device_names(cc) for cc in _DEVICES}


def device_names(cc: str) -> tuple[str, ...]:
    """The GPUs of a compute capability.

    Args:
        cc: "11.0"; "10.1" is the same GPU.

    Returns:
        Names, the best known first; empty where none is known.
    """
    return _DEVICES.get(_OTHER_NAMES.get(cc, cc), ())


def find_device(text: str) -> Arch:
    """The compute capability of a GPU.

    Args:
        text: "11.0", "thor", "Jetson Thor", "NVIDIA GeForce RTX 5090", "H100": case and blanks do not matter; a product
            line ("RTX 50") means its models.

    Returns:
        A plain architecture, under its newest name (11.0 for 10.1).

    Raises:
        UnknownDeviceError: Neither a compute capability nor a known name.
    """
    try:
        cc = parse_arch(text.strip()).cc
    except ArchSyntaxError:
        cc = _by_name(text)
    return parse_arch(_OTHER_NAMES.get(cc, cc))


def _by_name(text: str) -> str:
    """The one compute capability of the known names inside the text, else of those that the text is a part of."""
    wanted = _words(text)
    known = [(_words(name), cc) for cc, devices in _DEVICES.items() for name in devices]
    inside = {cc for words, cc in known if words <= wanted}  # "NVIDIA H100 80GB HBM3" is an H100
    around = {cc for words, cc in known if wanted and wanted <= words}  # every "Orin" is an 8.7
    found = inside or around
    if len(found) != 1:  # "RTX 6000" is one of three GPUs
        raise UnknownDeviceError(text)
    return found.pop()


def _words(text: str) -> frozenset[str]:
    """The words of a name, in small letters; a GeForce model is written as its product line, RTX 5090 as RTX 50."""
    line = re.sub(r"\brtx\s*([2-5]0)[5-9]0", r"rtx \1", text.lower())
    return frozenset(re.findall(r"[a-z0-9]+", line))
