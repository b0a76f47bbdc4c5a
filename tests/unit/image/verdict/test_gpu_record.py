"""The rules of coverage against what a GPU did: tests/gpu/recorded.json, replayed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cuda.coverage import How, Image
from orchestrator.image.code.library import FileCode
from orchestrator.image.verdict.kernels import how_served
from tests.gpu import run_on_gpu

RECORD = json.loads(Path(run_on_gpu.__file__).with_name("recorded.json").read_text())
MACHINE = RECORD["machine"]
PROGRAMS: list[dict[str, Any]] = RECORD["programs"]


def images(rows: list[Any]) -> list[Image]:
    return [Image(kind, sm, suffix, (isa[0], isa[1])) for kind, sm, suffix, isa in rows]


def tags(rows: list[Any]) -> tuple[str, ...]:
    return tuple(sorted(f"{'p' if kind == 'ptx' else ''}{sm}{suffix}" for kind, sm, suffix, _ in rows))


def test_the_record_is_of_the_programs_that_the_script_builds() -> None:
    built = [(one.name, list(one.units), one.link) for one in run_on_gpu.programs()]
    assert [(row["name"], row["nvcc"], row["link"]) for row in PROGRAMS] == built
    assert (MACHINE["gpu"], MACHINE["cc"]) == ("NVIDIA H200", "9.0")


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program["name"])
def test_what_is_predicted_is_what_the_gpu_did(program: dict[str, Any]) -> None:
    relocatable = [images(rows) for rows in program["relocatable"]]
    isa = (MACHINE["driver_ptx_isa"][0], MACHINE["driver_ptx_isa"][1])
    for container in program["containers"]:
        _, said = run_on_gpu.predict(images(container["images"]), relocatable, MACHINE["cc"], isa)
        assert said == run_on_gpu.outcome(container["kernels"])


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program["name"])
def test_verify_counts_as_served_by_machine_code_only_what_ran_without_compiling(program: dict[str, Any]) -> None:
    """The way that `verify` takes, over folded profiles: nothing that failed is counted, and no reason is mistaken."""
    profiles: dict[tuple[str, ...], int] = {}
    for container in program["containers"]:
        profile = tags(container["images"])
        profiles[profile] = profiles.get(profile, 0) + 1
    code = FileCode(size=1, profiles=profiles, relocatable={tags(rows): 1 for rows in program["relocatable"]})
    served = how_served(code, MACHINE["cc"])
    ran = sum(run_on_gpu.outcome(container["kernels"]) == run_on_gpu.RAN for container in program["containers"])
    compiled = served.get(How.PTX, 0) + served.get(How.RELINK, 0)
    direct = sum(count for how, count in served.items() if how.direct)
    assert direct <= ran <= direct + compiled
