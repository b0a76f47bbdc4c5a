"""What this project knows about CUDA beside the tools' own words: ptxas and nvcc from NVIDIA's wheels, and FlashInfer.

The wheels (300 MB) are downloaded once. A release that adds a target makes these tests fail, and should.
"""

from __future__ import annotations

import json
import os
import platform
import random
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING

import pytest

from orchestrator.cuda.arch import Arch, from_sm, parse_list
from orchestrator.cuda.coverage import How, Image, serve
from orchestrator.cuda.dialects import (
    DialectError,
    parse_flashinfer,
    render_flashinfer,
    render_gencode,
)
from orchestrator.cuda.toolkit import toolkit_for, toolkits
from tests.support.artifacts import download, unpacked
from tests.support.gencode import parse_gencode
from tests.support.ptx import newest_ptx

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.download

TOOLKITS = {  # the first and last release of each row of the table, as far as 300 MB go
    "11.8": "nvidia-cuda-nvcc-cu11==11.8.89",
    "12.0": "nvidia-cuda-nvcc-cu12==12.0.140",
    "12.8": "nvidia-cuda-nvcc-cu12==12.8.93",
    "12.9": "nvidia-cuda-nvcc-cu12==12.9.86",
    "13.0": "nvidia-cuda-nvcc==13.0.88",
    "13.3": "nvidia-cuda-nvcc==13.3.73",
    "13.4": "nvidia-cuda-nvcc==13.4.92",
    "13.5": "nvidia-cuda-nvcc==13.5.37",
}
NEWEST = "13.5"


@cache
def tools(cuda: str) -> Path:
    """The directory with a release's ptxas, and nvcc from 13.0 on."""
    folders = ("nvidia/cuda_nvcc/bin/", "nvidia/cu13/bin/")
    root = unpacked(download(TOOLKITS[cuda]), *folders)
    (found,) = [root / folder for folder in folders if (root / folder).is_dir()]
    return found


def assembles(cuda: str, *, target: str, gpu: str, isa: str, folder: Path) -> bool:
    """Whether ptxas compiles an empty PTX module of a target for a GPU."""
    source = folder / f"{target}-{isa}-{gpu}.ptx"
    source.write_text(f".version {isa}\n.target {target}\n.address_size 64\n")
    argv = [str(tools(cuda) / "ptxas"), f"-arch={gpu}", str(source), "-o", str(source.with_suffix(".cubin"))]
    return subprocess.run(argv, capture_output=True, timeout=60).returncode == 0


@pytest.mark.parametrize("cuda", TOOLKITS)
def test_a_toolkits_targets_are_those_that_its_ptxas_allows(cuda: str) -> None:
    said = subprocess.run([tools(cuda) / "ptxas", "--help"], capture_output=True, text=True, timeout=60).stdout
    gpu_name = said[said.index("--gpu-name") : said.index("--help  ")]
    targets = {(int(number), suffix) for number, suffix in re.findall(r"'sm_([0-9]+)([a-z]*)'", gpu_name)}
    assert targets == toolkit_for(cuda).targets


@pytest.mark.parametrize("cuda", TOOLKITS)
def test_a_toolkits_newest_ptx_isa_is_the_last_that_its_ptxas_reads(cuda: str, tmp_path: Path) -> None:
    major, minor = newest_ptx(toolkit_for(cuda))
    assert assembles(cuda, target="sm_80", gpu="sm_80", isa=f"{major}.{minor}", folder=tmp_path)
    for later in (f"{major}.{minor + 1}", f"{major + 1}.0"):
        assert not assembles(cuda, target="sm_80", gpu="sm_80", isa=later, folder=tmp_path)


def test_ptx_serves_the_devices_that_ptxas_compiles_it_for(tmp_path: Path) -> None:
    """Every kind of PTX that any release wrote against every device of the newest: the PTX rule and the families."""
    newest = toolkit_for(NEWEST)
    isa = ".".join(map(str, newest_ptx(newest)))
    devices = sorted(sm for sm, suffix in newest.targets if not suffix)
    targets = sorted({from_target(target) for toolkit in toolkits() for target in toolkit.targets if target[0] >= 50})

    def judged(case: tuple[Arch, int]) -> tuple[str, bool, bool]:
        ptx, device = case
        gpu = f"sm_{device}{'a' if ptx.suffix == 'a' and (device, 'a') in newest.targets else ''}"
        theirs = assembles(NEWEST, target=ptx.target, gpu=gpu, isa=isa, folder=tmp_path)
        ours = serve([Image("ptx", ptx.sm, ptx.suffix)], from_sm(device).cc) is How.PTX
        return f"PTX of {ptx} on {gpu}", theirs, ours

    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(judged, [(ptx, device) for ptx in targets for device in devices]))
    assert not [answer for answer in answers if answer[1] != answer[2]]
    assert len(answers) > 400
    assert {theirs for _, theirs, _ in answers} == {True, False}


def from_target(target: tuple[int, str]) -> Arch:
    (arch,) = parse_gencode([f"-gencode=arch=compute_{target[0]}{target[1]},code=sm_{target[0]}{target[1]}"])
    return arch


def nvcc_makes(flags: tuple[str, ...], folder: Path) -> set[Arch]:
    """The images that nvcc would pack, from the fatbinary command that it prints; none if it refuses the flags."""
    (folder / "kernel.cu").touch()
    compiler = folder / "gcc"  # nvcc asks the host compiler who it is, and with --dryrun nothing more
    who = {"x86_64": "__NV_X86_64__", "aarch64": "__NV_AARCH64__"}[platform.machine()]
    lines = ["__NV_CPLUSPLUS 201703L", "__NV_GNUC__ 12", "__NV_GNUC_MINOR__ 2", "__NV_LINUX__", who]
    compiler.write_text("#!/bin/sh\n" + "".join(f"echo '{line}'\n" for line in lines))
    compiler.chmod(0o755)
    nvcc, source = str(tools(NEWEST) / "nvcc"), str(folder / "kernel.cu")
    argv = [nvcc, "--dryrun", "-ccbin", str(compiler), "-fatbin", *flags, source]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    if "same GPU code" in done.stderr:
        return set()
    assert done.returncode == 0, done.stderr[-500:]
    images = re.findall(r"--image3=kind=(elf|ptx),sm=([0-9]+)([af]?),", done.stderr)
    made = {from_target((int(number), suffix)) for kind, number, suffix in images if kind == "elf"}
    ptx = {from_target((int(number), suffix)) for kind, number, suffix in images if kind == "ptx"}
    assert ptx <= made
    return {arch.with_ptx() if arch in ptx else arch for arch in made}


def test_nvcc_makes_what_the_gencode_flags_are_meant_to_say(tmp_path: Path) -> None:
    made = random.Random(13)
    targets = sorted(from_target(target) for target in toolkit_for(NEWEST).targets)
    for _ in range(25):
        chosen = made.sample(targets, made.randint(1, 6))
        archs = tuple(arch.with_ptx() if made.random() < 0.3 else arch for arch in chosen)
        try:
            flags = render_gencode(archs)
        except DialectError:  # plain beside its family
            flags = tuple(flag for arch in archs for flag in render_gencode([arch]))
            assert nvcc_makes(flags, tmp_path) == set()
        else:
            assert nvcc_makes(flags, tmp_path) == set(archs)


@pytest.mark.parametrize(
    "flags",
    [
        ("-gencode", "arch=compute_80,code=sm_80"),
        ("-gencode=arch=compute_90,code=[sm_90,compute_90]",),
        ("-gencode=arch=compute_90,code=sm_90a",),
        ("-gencode=arch=compute_100f,code=sm_103",),
        ("-gencode=arch=compute_100f,code=sm_103a",),
        ("-gencode=arch=compute_120f,code=[sm_120,sm_121,compute_120f]",),
        ("--generate-code=arch=compute_80,code=sm_80", "-gencode=arch=compute_80,code=compute_80"),
    ],
)
def test_gencode_flags_are_read_as_nvcc_reads_them(flags: tuple[str, ...], tmp_path: Path) -> None:
    assert set(parse_gencode(flags)) == nvcc_makes(flags, tmp_path)


FLASHINFER = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
from compilation_context import CompilationContext
answers = []
for text in json.load(sys.stdin):
    os.environ["FLASHINFER_CUDA_ARCH_LIST"] = text
    try:
        flags = CompilationContext().get_nvcc_flags_list()
        answers.append([flag for flag in flags if "gencode" in flag])
    except ValueError as error:
        answers.append(str(error))
print(json.dumps(answers))
"""


def flashinfer_reads(release: str, texts: list[str], folder: Path) -> list[list[str] | str]:
    """The nvcc flags that FlashInfer's own loader makes of each list, or the text of its ValueError."""
    wheel = unpacked(download(f"flashinfer-python=={release}"), "flashinfer/compilation_context.py")
    (folder / "torch.py").touch()  # imported by the loader, asked only where no list is given
    done = subprocess.run(
        [sys.executable, "-c", FLASHINFER, wheel / "flashinfer"],
        input=json.dumps(texts),
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(folder)},
        timeout=60,
    )
    assert done.returncode == 0, done.stderr[-500:]
    answers: list[list[str] | str] = json.loads(done.stdout)
    return answers


@pytest.mark.parametrize("release", ["0.6.6", "0.6.13"])
def test_flashinfer_reads_what_is_written_for_it(release: str, tmp_path: Path) -> None:
    made = random.Random(6)
    targets = sorted(from_target(target) for target in toolkit_for(NEWEST).targets)
    # A plain item from 9.0 on means another target to each release: lists for FlashInfer carry the suffix.
    exact = [arch for arch in targets if arch.suffix or arch.major < 9]
    lists = [tuple(made.sample(exact, made.randint(1, 7))) for _ in range(200)]
    answers = flashinfer_reads(release, [render_flashinfer(archs) for archs in lists], tmp_path)
    for archs, flags in zip(lists, answers, strict=True):
        assert isinstance(flags, list)
        assert set(parse_gencode(flags)) == set(archs)


def test_lists_that_flashinfer_misreads_are_refused(tmp_path: Path) -> None:
    refused = ["9.0a  10.0f", " 9.0a", "9.0a ", "9.0a;10.0f", "9.0a\t10.0f", "90a", "sm_90"]
    mangled = ["12.0f+PTX"]
    answers = flashinfer_reads("0.6.13", refused + mangled, tmp_path)
    assert [isinstance(answer, str) for answer in answers[: len(refused)]] == [True] * len(refused)
    for text in refused + mangled:
        with pytest.raises(ValueError, match=r".") as error:
            parse_flashinfer(text)
        assert error.value.args
    with pytest.raises(DialectError):
        render_flashinfer(parse_list(mangled[0]))
