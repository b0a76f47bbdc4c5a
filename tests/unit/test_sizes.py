"""Sizes as text: one place for memory and disks, and for files and images."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import sizes
from orchestrator.sizes import GIB


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1536, "1.5 KiB"),
        (GIB - 1, "1 GiB"),
        (5 * GIB, "5 GiB"),
        (23 * GIB + GIB // 2, "23.5 GiB"),
        (3 << 40, "3 TiB"),
        (5000 << 40, "5000 TiB"),
    ],
)
def test_memory_and_disks_are_counted_in_powers_of_1024(count: int, text: str) -> None:
    assert sizes.binary_text(count) == text


def test_files_and_images_are_counted_in_powers_of_1000() -> None:
    assert [sizes.size_text(count) for count in (0, 999, 92_600, 92_600_000, 999_960_000, 5_440_000_000)] == [
        "0 B", "999 B", "92.6 kB", "92.6 MB", "1.00 GB", "5.44 GB",
    ]  # fmt: skip


@given(st.integers(0, 10**15 - 1))
def test_no_unit_is_used_beyond_the_next_one(count: int) -> None:
    assert float(sizes.binary_text(count).split()[0]) < 1024
    assert float(sizes.size_text(count).split()[0]) <= 1000
