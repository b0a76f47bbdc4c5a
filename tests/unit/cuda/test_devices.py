from __future__ import annotations

import pytest

from orchestrator.cuda.arch import Arch
from orchestrator.cuda.devices import UnknownDeviceError, device_names, devices, find_device


@pytest.mark.parametrize(
    ("text", "cc"),
    [
        ("11.0", "11.0"),
        ("10.1", "11.0"),  # the first name of the same GPU
        ("8.9", "8.9"),
        ("thor", "11.0"),
        ("Jetson Thor", "11.0"),
        ("orin", "8.7"),
        ("Jetson AGX Orin 64GB", "8.7"),
        ("RTX 5090", "12.0"),
        ("rtx5090", "12.0"),
        ("NVIDIA GeForce RTX 4060 Ti", "8.9"),
        ("rtx 3080 laptop gpu", "8.6"),
        ("RTX 2080", "7.5"),
        ("RTX A6000", "8.6"),
        ("RTX 6000 Ada Generation", "8.9"),
        ("RTX PRO 6000", "12.0"),
        ("NVIDIA H100 80GB HBM3", "9.0"),
        ("A100-SXM4-80GB", "8.0"),
        ("L40S", "8.9"),
        ("l4", "8.9"),
        ("DGX Spark", "12.1"),
        ("GB300", "10.3"),
        ("rubin", "10.7"),
        ("Jetson Nano", "5.3"),
        ("GeForce RTX 2050", "8.6"),
        ("NVIDIA Jetson Orin Nano Developer Kit", "8.7"),
        ("Tesla V100-SXM2-16GB", "7.0"),
        ("Tesla T4", "7.5"),
        ("Quadro RTX 6000", "7.5"),
        ("GTX 1080", "6.1"),
        ("GeForce 940M", "5.0"),
        ("NVIDIA RTX PRO 4000 Blackwell SFF Edition", "12.0"),
        ("RTX 4070 Ti SUPER", "8.9"),
        ("NVIDIA H100 NVL", "9.0"),
        ("NVIDIA GH200 480GB", "9.0"),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", "12.0"),
        ("NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition", "12.0"),
        ("RTX 50", "12.0"),
        ("RTX 5070Ti", "12.0"),
        ("hopper", "9.0"),
    ],
)
def test_a_gpu_is_found_by_the_names_people_use(text: str, cc: str) -> None:
    found = find_device(text)
    assert found.cc == cc
    assert found == found.plain()


@pytest.mark.parametrize(
    "text",
    [
        "", "banana", "RTX 6000", "Jetson", "RTX", "GTX 2080", "sm_90", "NVIDIA", "H100 or A100", "titan", "blackwell",
        "TITAN X", "GTX 1660", "Jetson TX1", "RTX 5099", "A1000", "B20", "Orin Thor", "ampere", "RTX 20",
    ],
)  # fmt: skip
def test_an_unknown_or_ambiguous_name_is_an_error(text: str) -> None:
    with pytest.raises(UnknownDeviceError, match="write its compute capability") as error:
        find_device(text)
    assert error.value.name == text
    assert "H100" in error.value.known


def test_an_ambiguous_name_comes_with_what_it_may_mean() -> None:
    with pytest.raises(UnknownDeviceError, match="ambiguous") as error:
        find_device("blackwell")
    assert error.value.candidates == ("B200 10.0", "B300 10.3", "RTX 50 12.0", "GB10 12.1")


def test_every_known_name_finds_its_own_device() -> None:
    for name in UnknownDeviceError("").known:
        if name != "TITAN X":  # two GPUs of this name
            assert name in device_names(find_device(name).cc)


def test_names_of_a_compute_capability() -> None:
    assert device_names("11.0")[0] == "Jetson Thor"
    assert device_names("10.1") == device_names("11.0")
    assert device_names("8.8") == ()
    assert find_device("9.0+PTX") == Arch(9, 0)


@pytest.mark.parametrize(
    ("text", "cc"),
    [
        ("thor", "11.0"), ("orin", "8.7"), ("xavier", "7.2"), ("spark", "12.1"), ("rubin", "10.7"), ("hopper", "9.0"),
        ("ada", "8.9"), ("Ada Lovelace", "8.9"), ("turing", "7.5"),
    ],
)  # fmt: skip
def test_short_names_and_generations_of_one_capability(text: str, cc: str) -> None:
    assert find_device(text).cc == cc


@pytest.mark.parametrize(
    ("text", "candidates"),
    [
        ("rtx 20", "RTX 2080 7.5, RTX 2050 8.6"),
        ("titan", "TITAN RTX 7.5, TITAN V 7.0, TITAN Xp 6.1, GTX TITAN X 5.2"),
        ("titan x", "TITAN X 6.1, GTX TITAN X 5.2"),
        ("jetson", "Jetson Thor 11.0, Jetson AGX Orin 8.7, Jetson Xavier 7.2, Jetson TX2 6.2, Jetson Nano 5.3"),
        ("rtx 6000", "RTX PRO 6000 Blackwell 12.0, RTX 6000 Ada 8.9, RTX A6000 8.6, Quadro RTX 6000 7.5"),
        ("rtx 5000", "RTX PRO 5000 Blackwell 12.0, RTX 5000 Ada 8.9, RTX A5000 8.6, Quadro RTX 5000 7.5"),
        ("rtx 4500", "RTX PRO 4500 Blackwell 12.0, RTX 4500 Ada 8.9"),
        ("rtx 4000", "RTX PRO 4000 Blackwell 12.0, RTX 4000 Ada 8.9, RTX A4000 8.6, Quadro RTX 4000 7.5"),
        ("rtx 3000", "RTX 3000 Ada 8.9, RTX A3000 8.6, Quadro RTX 3000 7.5"),
        ("rtx 2000", "RTX PRO 2000 Blackwell 12.0, RTX 2000 Ada 8.9, RTX A2000 8.6"),
        ("ampere", "A100 8.0, A10 8.6, Jetson AGX Orin 8.7"),
        ("volta", "V100 7.0, Jetson Xavier 7.2"),
        ("pascal", "P100 6.0, P40 6.1, Jetson TX2 6.2"),
        ("maxwell", "GTX 750 5.0, M40 5.2, Jetson Nano 5.3"),
    ],
)
def test_short_names_of_several_capabilities_name_them(text: str, candidates: str) -> None:
    with pytest.raises(UnknownDeviceError) as error:
        find_device(text)
    assert ", ".join(error.value.candidates) == candidates
    assert str(error.value) == f"{text!r} is ambiguous ({candidates}); write its compute capability, as in 9.0"


_ADDED = """
nvidia geforce tesla quadro graphics gpu device laptop mobile max q edition generation server workstation developer kit
module pcie nvl cnx hbm2 hbm2e hbm3 hbm3e sxm sxm2 sxm3 sxm4 sxm5 sxm6 superchip industrial series 80gb 16g
"""


@pytest.mark.parametrize("word", _ADDED.split())
def test_how_a_gpu_is_sold_says_nothing_of_its_capability(word: str) -> None:
    assert find_device(f"H100 {word.upper()}").cc == find_device(f"{word} h100").cc == "9.0"


def test_an_unknown_name_says_how_to_write_it() -> None:
    with pytest.raises(UnknownDeviceError) as error:
        find_device("H100 extra")
    assert str(error.value) == "'H100 extra' is not a known GPU; write its compute capability, as in 9.0"
    assert error.value.candidates == ()
    assert next(iter(devices())) == "5.0"
    assert devices()["9.0"] == ("H100", "H200", "GH200")
    assert {find_device(name).cc for name in ("RTX PRO 6000 Blackwell", "rtx pro 6000", "RTX Pro 6000")} == {"12.0"}
