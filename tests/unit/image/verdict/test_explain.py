"""A verdict in words: which GPUs a library does not serve, what their users meet, and what helps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orchestrator.cuda.arch import parse_list
from orchestrator.image.verdict.explain import devices_of, shortened
from orchestrator.image.verdict.policy import Policy
from orchestrator.image.verdict.scanned import scan_source
from orchestrator.image.verdict.verify import verdict
from tests.support import fatbins

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.image.verdict.verify import Verdict

H100, B200 = "9.0 (H100, H200, GH200)", "10.0 (B200, GB200)"
RTX, SPARK = "12.0 (RTX PRO 6000 Blackwell, RTX 50, RTX PRO 5000 Blackwell)", "12.1 (GB10, DGX Spark)"
NONE = "no machine code and no PTX in any of {}"
FAILS = "fail{} with 'no kernel image is available for execution on the device'"
ALONE = f"there it {FAILS.format('s')}"
OTHERS = f"there all other kernels {FAILS.format('')}"


def judged(root: Path, profiles: list[str], archs: str, policy: Policy | None = None) -> Verdict:
    (root / "lib.so").write_bytes(fatbins.library([tags.split() for tags in profiles]))
    return verdict(scan_source(str(root)), parse_list(archs), policy or Policy())


def add(*ccs: str) -> str:
    flags = " ".join(f"-gencode arch=compute_{cc.replace('.', '')},code=sm_{cc.replace('.', '')}" for cc in ccs)
    return f"add {' '.join(ccs)} to its arch list (nvcc {flags})"


@pytest.mark.parametrize(
    ("profiles", "archs", "what", "hint"),
    [
        (["90"], "9.0 12.0", f"{RTX} is not served: {NONE.format('1 translation unit')}", f"{ALONE}; {add('12.0')}"),
        (
            ["90"], "12.0 12.1", f"{RTX} and {SPARK} are not served: {NONE.format('1 translation unit')}",
            f"{ALONE}; {add('12.0', '12.1')}",
        ),
        (
            ["90"], "10.0 12.0 12.1",
            f"{B200}, {RTX} and {SPARK} are not served: {NONE.format('1 translation unit')}",
            f"{ALONE}; {add('10.0', '12.0', '12.1')}",
        ),
        (
            ["90 p90", "90"], "9.0 12.0",
            f"{RTX} is not served: no machine code in any of 2 translation units, 1 of them only by PTX",
            f"{OTHERS}, those with PTX are compiled at first use, with a driver that knows PTX 9.0; {add('12.0')}",
        ),
        (
            ["p90"], "9.0",
            f"{H100} is not served: no machine code in any of 1 translation unit, 1 of them only by PTX",
            ("there it runs only by compiling PTX at first use, with a driver that knows PTX 9.0; --allow-ptx accepts "
            f"that; {add('9.0')}"),
        ),
        (
            ["90 120"] * 5 + ["90"], "9.0 12.0",
            f"{RTX} is not served: 1 of 6 translation units holds nothing for it, while all of them serve 9.0",
            f"{OTHERS}; {add('12.0')}",
        ),
        (
            ["100a", "100a"], "10.0 10.3",
            f"10.3 (B300, GB300) is not served: {NONE.format('2 translation units')}", f"{ALONE}; {add('10.3')}",
        ),
        (
            ["90 p90", "90 100"], "9.0 10.0 12.0 8.0",
            (f"{RTX} is not served: no machine code in any of 2 translation units, 1 of them only by PTX; "
            f"8.0 (A100, A30) is not served: {NONE.format('2 translation units')}"),
            (f"on 12.0 all other kernels {FAILS.format('')}, those with PTX are compiled at first use, with a driver "
            f"that knows PTX 9.0; on 8.0 it {FAILS.format('s')}; {add('12.0', '8.0')}"),
        ),
    ],
)  # fmt: skip
def test_what_is_missing_what_users_meet_and_what_helps(
    tmp_path: Path, profiles: list[str], archs: str, what: str, hint: str
) -> None:
    (problem,) = judged(tmp_path, profiles, archs).problems
    assert (problem.what, problem.hint) == (what, hint)


def test_a_share_below_the_policy_is_told_in_numbers(tmp_path: Path) -> None:
    (problem,) = judged(tmp_path, ["90 120", "90"], "9.0 12.0", Policy(fail_below=0.9)).problems
    assert problem.what == (
        f"{RTX} is not served: only 1 of 2 translation units serve it, 50% of what the best served device gets"
    )
    assert problem.hint == f"{OTHERS}; {add('12.0')}"


def test_units_that_hold_nothing_and_ptx_that_is_not_there_are_looked_at(tmp_path: Path) -> None:
    units = ["80 90 120"] * 5 + ["80"] * 2 + ["80 90", "80 p80"]
    found = judged(tmp_path, units, "8.0 9.0 12.0+PTX")
    assert found.ok
    said = "to the arch list of their source files"
    assert list(found.warnings) == [
        (
            f"lib.so: 2 of 9 translation units hold nothing for {H100}, {RTX}: 2 x 80; "
            + add("9.0", "12.0").replace("to its arch list", said)
        ),
        (
            f"lib.so: 1 of 9 translation units hold nothing for {RTX}: 1 x 80 90; "
            + add("12.0").replace("to its arch list", said)
        ),
        (
            "lib.so: 12.0+PTX was promised, but no translation unit of lib.so holds PTX of it: GPUs of later "
            "generations are not served by it"
        ),
    ]


def test_names_are_shortened() -> None:
    assert shortened(["a", "b", "c"]) == "a, b, c"
    assert shortened(["a", "b", "c", "d"]) == "a, b, c and 1 more"
    assert shortened(["a", "b"], most=1) == "a and 1 more"
    assert devices_of("9.9") == "9.9"
    assert devices_of("10.0") == B200
