"""linux/arm64 through QEMU is there for the time of a test, and taken away by whoever needs it last."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.emulation import registered
from tests.support.engine import ROOT, call

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.download

USER = """
from tests.support.emulation import emulated_arm64, registered
with emulated_arm64():
    print("in", flush=True)
    input()
print(registered())
"""


@pytest.fixture
def new_machine() -> Iterator[None]:
    """A kernel that emulates nothing; afterwards it does not either."""
    if os.uname().machine == "aarch64" or os.geteuid():
        pytest.skip("needs root on another machine than arm64")
    if registered():
        pytest.skip("QEMU was registered before: it is not this test's to take away")
    yield
    assert not registered()


def test_the_engine_builds_for_arm64_while_it_is_registered(new_machine: None, arm64: None) -> None:
    assert registered()
    said = ""
    for _ in range(20):  # BuildKit looks at the kernel from time to time
        said = call("docker", "buildx", "inspect", "--bootstrap", "default").stdout
        if "linux/arm64" in said:
            break
        time.sleep(1)
    assert "linux/arm64" in said


def test_the_last_of_two_users_takes_it_away(new_machine: None) -> None:
    users = [
        subprocess.Popen(
            [sys.executable, "-c", USER], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    try:
        assert [user.stdout.readline() for user in users if user.stdout] == ["in\n", "in\n"]
        assert users[0].communicate("\n", timeout=60)[0] == "True\n"
        assert registered()
        assert users[1].communicate("\n", timeout=60)[0] == "False\n"
    finally:
        for user in users:
            user.kill()
            user.wait()
