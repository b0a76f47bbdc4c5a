"""Architectures made up by hypothesis."""

from __future__ import annotations

from typing import get_args

from hypothesis import strategies as st

from orchestrator.cuda.arch import Arch, Suffix
from orchestrator.cuda.toolkit import toolkits

KNOWN_SMS = sorted({sm for toolkit in toolkits() for sm, _ in toolkit.targets})

suffixes: st.SearchStrategy[Suffix] = st.sampled_from(get_args(Suffix))
archs = st.builds(Arch, st.integers(1, 99), st.integers(0, 9), suffixes, ptx=st.booleans())
real_archs = st.builds(
    lambda sm, suffix, ptx: Arch(sm // 10, sm % 10, suffix, ptx=ptx),
    st.sampled_from(KNOWN_SMS),
    suffixes,
    st.booleans(),
)
"""Compute capabilities that exist, with suffixes that may not."""
arch_lists = st.lists(archs, min_size=1, max_size=8, unique_by=lambda arch: (arch.sm, arch.suffix)).map(tuple)
"""Lists that name each target once."""
