"""Our port of vLLM's architecture filter beside the real CMake function, on generated lists.

The function comes from vLLM's source distributions at test time, CMake from its wheel. One CMake process answers all
the pairs of one release.
"""

from __future__ import annotations

import random
import subprocess
import tarfile
from functools import cache
from typing import TYPE_CHECKING

import pytest

from orchestrator.cuda.arch import Arch, parse_list
from orchestrator.cuda.filters import Behaviour, effective_archs, kernel_archs, supported_archs
from orchestrator.cuda.toolkit import toolkits
from tests.support.artifacts import cmake, download

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.download

RELEASES: dict[Behaviour, str] = {"vllm-0.20": "0.20.0", "vllm-0.29": "0.29.0", "vllm-0.33": "0.33.0"}
PAIRS = 3000
Pair = tuple[tuple[Arch, ...], tuple[Arch, ...]]


@cache
def vllm(release: str, name: str) -> str:
    """A file of a vLLM source distribution."""
    archive = download(f"vllm=={release}", sdist=True)
    with tarfile.open(archive) as members:
        for member in members:  # stops at the file: the archive is 33 MB
            if member.name == f"vllm-{release}/{name}" and (stream := members.extractfile(member)):
                return stream.read().decode()
    pytest.fail(f"{archive} holds no {name}")


def run(script: str, folder: Path) -> list[str]:
    """What a CMake script writes with the function `answer`, one line each."""
    (folder / "script.cmake").write_text(
        'cmake_minimum_required(VERSION 3.26)\nset(ANSWERS "")\nmacro(answer)\n  string(APPEND ANSWERS "${ARGV}\\n")\n'
        f'endmacro()\n{script}\nfile(WRITE "{folder}/answers" "${{ANSWERS}}")\n'
    )
    done = subprocess.run([cmake(), "-P", folder / "script.cmake"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    return (folder / "answers").read_text().splitlines()


def listed(archs: tuple[Arch, ...]) -> str:
    return ";".join(map(str, archs))


def pairs(seed: int) -> list[Pair]:
    """Lists as builds have them and lists as nobody would write them, half each."""
    made = random.Random(seed)
    ccs = parse_list("7.0 7.2 7.5 8.0 8.6 8.7 8.8 8.9 9.0 10.0 10.1 10.3 10.7 11.0 12.0 12.1")
    kernels = [
        "9.0a", "10.0f;11.0f", "10.0f;10.7f;11.0f", "10.0a;10.1a;10.3a", "12.0f", "12.0a;12.1a", "8.0+PTX",
        "8.0+PTX;9.0+PTX;12.0f", "8.9;12.0;12.1", "7.5;8.0+PTX", "9.0a;10.0f;11.0f;12.0f", "8.0;8.6;8.9;9.0a;10.0f",
        "9.0a;10.0f;10.1f;10.3f;10.7f;11.0f;12.0f;12.1f", "7.5;8.0;8.6;8.7;8.9;9.0;10.0;11.0;12.0",
        "7.5;8.0;8.7;8.9+PTX",
    ]  # fmt: skip

    def item(*, ptx: bool) -> Arch:
        cc = made.choice(ccs)
        return Arch(cc.major, cc.minor, made.choice(("", "", "a", "f")), ptx=ptx and made.random() < 0.25)

    def wild(*, ptx: bool) -> tuple[Arch, ...]:
        return tuple(item(ptx=ptx) for _ in range(made.randint(0, 8)))

    def usual() -> tuple[Arch, ...]:
        chosen = {item(ptx=False) if made.random() < 0.2 else made.choice(ccs) for _ in range(made.randint(1, 9))}
        return tuple(sorted(chosen))

    usual_pairs = [(parse_list(made.choice(kernels)), usual()) for _ in range(PAIRS // 2)]
    return usual_pairs + [(wild(ptx=True), wild(ptx=False)) for _ in range(PAIRS - PAIRS // 2)]


@pytest.mark.parametrize("behaviour", RELEASES)
def test_the_port_answers_as_vllms_own_function(behaviour: Behaviour, tmp_path: Path) -> None:
    (tmp_path / "utils.cmake").write_text(vllm(RELEASES[behaviour], "cmake/utils.cmake"))
    generated = pairs(seed=20)
    calls = [
        f'cuda_archs_loose_intersection(OUT "{listed(sources)}" "{listed(targets)}")\nanswer("${{OUT}}")'
        for sources, targets in generated
    ]
    answers = run("\n".join([f'include("{tmp_path}/utils.cmake")', *calls]), tmp_path)
    assert len(answers) == PAIRS
    ours = [listed(kernel_archs(sources, targets, behaviour)) for sources, targets in generated]
    different = [
        f"{listed(sources)} | {listed(targets)}: vLLM {theirs!r}, we {mine!r}"
        for (sources, targets), theirs, mine in zip(generated, answers, ours, strict=True)
        if theirs != mine
    ]
    assert not different, f"{len(different)} of {PAIRS}, first: {different[:5]}"
    assert len(set(answers)) > PAIRS // 10  # the pairs do ask different things


def test_the_three_behaviours_differ() -> None:
    generated = pairs(seed=20)
    answers = [[kernel_archs(*pair, behaviour) for pair in generated] for behaviour in RELEASES]
    for first, second in ((0, 1), (1, 2), (0, 2)):
        assert sum(one != other for one, other in zip(answers[first], answers[second], strict=True)) > PAIRS // 100


@pytest.mark.parametrize("behaviour", RELEASES)
def test_the_supported_architectures_are_vllms_own(behaviour: Behaviour, tmp_path: Path) -> None:
    lines = vllm(RELEASES[behaviour], "CMakeLists.txt").splitlines()
    inside = next(number for number, line in enumerate(lines) if "set(CUDA_SUPPORTED_ARCHS" in line)
    first = max(number for number in range(inside) if lines[number].startswith("if("))
    last = next(number for number in range(inside, len(lines)) if lines[number].startswith("endif("))
    block = "\n".join(lines[first : last + 1])
    asked = [
        f'set(CMAKE_CUDA_COMPILER_VERSION "{cuda}.99")\n{block}\nanswer("${{CUDA_SUPPORTED_ARCHS}}")'
        for cuda in toolkits()
    ]
    answers = run("\n".join(asked), tmp_path)
    assert answers == [listed(supported_archs(cuda, behaviour)) for cuda in toolkits()]


@pytest.mark.parametrize("behaviour", RELEASES)
def test_the_whole_first_filter_is_vllms_own(behaviour: Behaviour, tmp_path: Path) -> None:
    """From nvcc flags, as torch writes them, to CUDA_ARCHS: the reading of the flags included."""
    (tmp_path / "utils.cmake").write_text(vllm(RELEASES[behaviour], "cmake/utils.cmake"))
    made = random.Random(21)
    asked, ours = [f'include("{tmp_path}/utils.cmake")'], []
    for _, targets in pairs(seed=22)[: PAIRS // 10]:
        requested = tuple(arch.with_ptx() if made.random() < 0.2 else arch for arch in targets)
        cuda = made.choice(toolkits())
        flags = []
        for arch in requested:
            number = f"{arch.sm}{arch.suffix}"
            flags.append(f"-gencode;arch=compute_{number},code=sm_{number}")
            flags += [f"-gencode;arch=compute_{number},code=compute_{number}"] if arch.ptx else []
        asked.append(
            f'set(FLAGS "{" ".join(flag.replace(";", " ") for flag in flags)}")\n'
            'string(REGEX MATCHALL "-gencode arch=[^ ]+" FLAGS "${FLAGS}")\n'
            'extract_unique_cuda_archs_ascending(ARCHS "${FLAGS}")\n'
            f'cuda_archs_loose_intersection(OUT "{listed(supported_archs(cuda, behaviour))}" "${{ARCHS}}")\n'
            'answer("${OUT}")'
        )
        ours.append(listed(effective_archs(requested, cuda, behaviour)))
    assert run("\n".join(asked), tmp_path) == ours
