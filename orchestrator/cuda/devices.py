"""Which GPU has which compute capability: the names people know, for messages and for `--device`.

Source: NVIDIA's device pages, developer.nvidia.com/cuda-gpus and /cuda-legacy-gpus; models that no page lists stand
here where their series has one compute capability (RTX 20, 30, 40, 50, the Ada and Blackwell workstation GPUs). 10.7 is
on neither page yet and has its name from torch's and vLLM's arch lists. A name is matched whole, never by a part of it:
an unknown or ambiguous one is an error.
"""

from __future__ import annotations

import re
from types import MappingProxyType

from orchestrator.cuda.arch import Arch, ArchSyntaxError, parse_arch

_DEVICES = MappingProxyType(
    {
        "5.0": ("GTX 750", "GTX 750 Ti", "GTX 960M", "GTX 950M", "940M", "Quadro K2200", "Quadro K1200", "Quadro K620"),
        "5.2": (
            "M40", "M60", "GTX 980", "GTX 970", "GTX 980 Ti", "GTX 960", "GTX 950", "GTX TITAN X",
            "Quadro M6000", "Quadro M5000", "Quadro M4000", "Quadro M2000",
        ),
        "5.3": ("Jetson Nano",),
        "6.0": ("P100", "Quadro GP100"),
        "6.1": (
            "P40", "P4", "GTX 1080 Ti", "GTX 1080", "GTX 1070", "GTX 1070 Ti", "GTX 1060", "GTX 1050",
            "TITAN Xp", "TITAN X", "Quadro P6000", "Quadro P5000", "Quadro P4000", "Quadro P2200", "Quadro P2000",
            "Quadro P1000", "Quadro P620", "Quadro P600", "Quadro P400",
        ),
        "6.2": ("Jetson TX2",),
        "7.0": ("V100", "TITAN V", "Quadro GV100"),
        "7.2": ("Jetson Xavier", "Jetson AGX Xavier", "Jetson Xavier NX"),
        "7.5": (
            "T4", "RTX 2080", "RTX 2080 Ti", "RTX 2080 Super", "RTX 2070", "RTX 2070 Super", "RTX 2060",
            "RTX 2060 Super", "TITAN RTX", "GTX 1650 Ti", "Quadro RTX 8000", "Quadro RTX 6000", "Quadro RTX 5000",
            "Quadro RTX 4000", "Quadro RTX 3000", "T1000", "T600", "T400",
        ),
        "8.0": ("A100", "A30"),
        "8.6": (
            "A10", "A40", "A16", "A2", "RTX A6000", "RTX A5000", "RTX A4000", "RTX A3000", "RTX A2000", "RTX 30",
            "RTX 3090 Ti", "RTX 3090", "RTX 3080 Ti", "RTX 3080", "RTX 3070 Ti", "RTX 3070",
            "RTX 3060 Ti", "RTX 3060", "RTX 3050 Ti", "RTX 3050", "RTX 2050",
        ),
        "8.7": ("Jetson AGX Orin", "Jetson Orin NX", "Jetson Orin Nano"),
        "8.9": (
            "L4", "L40", "L40S", "RTX 40", "RTX 4090", "RTX 4080 Super", "RTX 4080", "RTX 4070 Ti Super", "RTX 4070 Ti",
            "RTX 4070 Super", "RTX 4070", "RTX 4060 Ti", "RTX 4060", "RTX 4050", "RTX 6000 Ada", "RTX 5000 Ada",
            "RTX 4500 Ada", "RTX 4000 Ada", "RTX 4000 SFF Ada", "RTX 3500 Ada", "RTX 3000 Ada", "RTX 2000 Ada",
        ),
        "9.0": ("H100", "H200", "GH200"),
        "10.0": ("B200", "GB200"),
        "10.3": ("B300", "GB300"),
        "10.7": ("Rubin",),
        "11.0": ("Jetson Thor", "Jetson T5000", "Jetson T4000"),
        "12.0": (
            "RTX PRO 6000 Blackwell", "RTX 50", "RTX PRO 5000 Blackwell", "RTX PRO 4500 Blackwell",
            "RTX PRO 4000 Blackwell", "RTX PRO 4000 Blackwell SFF", "RTX PRO 2000 Blackwell", "RTX 5090", "RTX 5080",
            "RTX 5070 Ti", "RTX 5070", "RTX 5060 Ti", "RTX 5060", "RTX 5050",
        ),
        "12.1": ("GB10", "DGX Spark"),
    }
)  # fmt: skip
_SHORT = MappingProxyType(
    {
        "thor": ("Jetson Thor",),
        "orin": ("Jetson AGX Orin",),
        "xavier": ("Jetson Xavier",),
        "spark": ("DGX Spark",),
        "rtx 20": ("RTX 2080", "RTX 2050"),
        "titan": ("TITAN RTX", "TITAN V", "TITAN Xp", "GTX TITAN X"),
        "titan x": ("TITAN X", "GTX TITAN X"),
        "jetson": ("Jetson Thor", "Jetson AGX Orin", "Jetson Xavier", "Jetson TX2", "Jetson Nano"),
        "rtx 6000": ("RTX PRO 6000 Blackwell", "RTX 6000 Ada", "RTX A6000", "Quadro RTX 6000"),
        "rtx 5000": ("RTX PRO 5000 Blackwell", "RTX 5000 Ada", "RTX A5000", "Quadro RTX 5000"),
        "rtx 4500": ("RTX PRO 4500 Blackwell", "RTX 4500 Ada"),
        "rtx 4000": ("RTX PRO 4000 Blackwell", "RTX 4000 Ada", "RTX A4000", "Quadro RTX 4000"),
        "rtx 3000": ("RTX 3000 Ada", "RTX A3000", "Quadro RTX 3000"),
        "rtx 2000": ("RTX PRO 2000 Blackwell", "RTX 2000 Ada", "RTX A2000"),
        "rubin": ("Rubin",),
        "blackwell": ("B200", "B300", "RTX 50", "GB10"),
        "hopper": ("H100",),
        "ada": ("L40S",),
        "ada lovelace": ("L40S",),
        "ampere": ("A100", "A10", "Jetson AGX Orin"),
        "turing": ("T4",),
        "volta": ("V100", "Jetson Xavier"),
        "pascal": ("P100", "P40", "Jetson TX2"),
        "maxwell": ("GTX 750", "M40", "Jetson Nano"),
    }
)
"""Shorter names and generations -> the devices that they may mean."""

_OTHER_NAMES = MappingProxyType({"10.1": "11.0"})  # CUDA 12.8 and 12.9 call Jetson Thor 10.1
_MAKERS = frozenset({"nvidia", "geforce", "tesla", "quadro", "graphics", "gpu", "device"})
_SOLD_AS = frozenset(
    {
        "laptop", "mobile", "max", "q", "edition", "generation", "server", "workstation", "developer", "kit", "module",
        "pcie", "nvl", "cnx", "hbm2", "hbm2e", "hbm3", "hbm3e", "sxm", "sxm2", "sxm3", "sxm4", "sxm5", "sxm6",
        "superchip", "industrial", "series",
    }
)  # fmt: skip
"""How one GPU is sold and built in: words that no compute capability depends on."""


class UnknownDeviceError(ValueError):
    """A text names no known GPU, or several, and is not a compute capability.

    Attributes:
        name: What was asked for.
        known: The known names, for a suggestion.
        candidates: What an ambiguous name may mean, with compute capabilities; empty for an unknown name.
    """

    def __init__(self, name: str, candidates: tuple[str, ...] = ()) -> None:
        what = f"is ambiguous ({', '.join(candidates)})" if candidates else "is not a known GPU"
        super().__init__(f"{name!r} {what}; write its compute capability, as in 9.0")
        self.name = name
        self.candidates = candidates
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
        text: "11.0", "thor", "Jetson Thor", "NVIDIA GeForce RTX 5090", "H100": case and spaces do not matter, and
            neither do maker, memory and form ("NVIDIA H100 80GB HBM3"); a product line ("RTX 50") means its models.

    Returns:
        A plain architecture, under its newest name (11.0 for 10.1).

    Raises:
        UnknownDeviceError: Neither a compute capability nor a known name, or a name of several.
    """
    try:
        cc = parse_arch(text.strip()).cc
    except ArchSyntaxError:
        cc = _by_name(text)
    return parse_arch(_OTHER_NAMES.get(cc, cc))


def _by_name(text: str) -> str:
    of = {name: cc for cc, devices in _DEVICES.items() for name in devices}
    # With its maker first: "Quadro RTX 6000" is one GPU, "RTX 6000" is one of four. Short names win over whole ones.
    for drop in (_SOLD_AS, _SOLD_AS | _MAKERS):
        wanted = _plain(text, drop)
        meant = _SHORT.get(wanted) or tuple(name for name in of if wanted and _plain(name, drop) == wanted)
        if len({of[name] for name in meant}) == 1:
            return of[meant[0]]
        if meant:
            raise UnknownDeviceError(text, tuple(f"{name} {of[name]}" for name in meant))
    raise UnknownDeviceError(text)


def _plain(text: str, drop: frozenset[str]) -> str:
    """A name as it is compared: lowercase letters, single spaces, without memory sizes and the words in `drop`."""
    spaced = re.sub(r"\b(rtx|gtx)(?=\d)", r"\1 ", re.sub(r"(?<=\d)(ti|super)\b", r" \1", text.lower()))
    words = re.findall(r"[a-z0-9]+", spaced)
    kept = [word for word in words if word not in drop and not re.fullmatch(r"\d+gb?", word)]
    if kept[:2] == ["rtx", "pro"] and "blackwell" not in kept:  # NVIDIA's page says Blackwell, sellers often do not
        kept.append("blackwell")
    return " ".join(kept)
