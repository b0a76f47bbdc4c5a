"""What defeats the compile cache in a Dockerfile."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.cache.compile_dockerfile import Wanted, problems

ROOT = Path(__file__).parents[3]

GOOD = """\
FROM scratch AS compile-cache
COPY <<"MARKER" /NO_COMPILE_CACHE
none
MARKER
FROM base AS csrc
ARG CUDA_VERSION
ARG COMPILE_CACHE_ID=none
RUN --mount=type=bind,from=compile-cache,target=/run/compile-cache --mount=type=secret,id=compile-cache \\
    --mount=type=cache,id=compile-cache-${COMPILE_CACHE_ID},target=/var/cache/compile-cache \\
    /run/compile-cache/run make
FROM base AS app
ARG VERSION
COPY --from=csrc /out /
"""
MOUNT = "--mount=type=cache,id=compile-cache-${COMPILE_CACHE_ID},target=/var/cache/compile-cache"


def found(text: str, backend: str = "mount", releases: int = 2, target: str = "app") -> list[tuple[int | None, str]]:
    wanted = Wanted(target=target, backend=backend, releases=releases, moving={"VERSION"})
    return [(one.line, one.what) for one in problems(text, wanted, "Dockerfile")]


def test_the_documented_step_is_right() -> None:
    assert found(GOOD) == []
    documented = (
        (ROOT / "docs" / "compile-cache.md").read_text().split("In another Dockerfile:\n")[1].split("\n`run`")[0]
    )
    text = "".join(line.removeprefix("    ") for line in documented.splitlines(keepends=True))
    assert found(text, target="csrc") == []


def test_our_own_dockerfile_is_right() -> None:
    text = (ROOT / "docker" / "Dockerfile").read_text()
    wanted = Wanted(target="openai", backend="mount", releases=2, moving={"SETUPTOOLS_SCM_PRETEND_VERSION"})
    none = text.replace("csrc-build-${COMPILE_NETWORK}", "csrc-build-none")
    assert problems(none, wanted, "Dockerfile") == []


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("AS compile-cache", "AS other", 1, "stage compile-cache was not found"),
        ("from=compile-cache", "from=other", 1, "no RUN of app mounts compile-cache"),
        ("type=secret,id=compile-cache ", "type=secret,id=other ", 8, "does not mount the secret compile-cache"),
        (MOUNT, "", 8, "the compile step has no cache mount at /var/cache/compile-cache"),
        ("-${COMPILE_CACHE_ID},", ",", 8, "does not carry ${COMPILE_CACHE_ID} in its id"),
        ("ARG CUDA_VERSION", "ARG VERSION", 6, "ARG VERSION changes with every commit"),
        ("COPY --from=csrc /out /", "COPY --from=csrc /out /\nRUN --mount=type=cache,target=/ccache make", 14,
         "the cache mount at /ccache is shared by 2 CUDA releases"),
    ],
)  # fmt: skip
def test_each_fault_is_named_with_its_line(old: str, new: str, line: int, said: str) -> None:
    assert old in GOOD
    told = found(GOOD.replace(old, new))
    assert any(at == line and said in what for at, what in told), told


def test_a_step_without_a_network_reaches_a_mount_alone() -> None:
    text = GOOD.replace("RUN --mount", "RUN --network=none --mount", 1)
    assert found(text) == []
    assert found(text, backend="redis") == [(8, "RUN --network=none does not reach redis")]


def test_one_release_may_share_a_mount_without_id() -> None:
    text = GOOD + "RUN --mount=type=cache,target=/root/.cache/ccache make\n"
    assert found(text, releases=1) == []


def test_stages_that_are_not_built_are_not_judged() -> None:
    text = GOOD.replace(
        "FROM base AS app", "FROM csrc AS unused\nRUN --mount=type=cache,target=/ccache make\nFROM base AS app"
    )
    assert found(text) == []
