"""A Dockerfile that loses its headers, or hides that it lost them, is found; this repository's own is in order."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.headers import guard as guards

if TYPE_CHECKING:
    from orchestrator.errors import Problem

ROOT = Path(__file__).resolve().parents[3]
GOOD = """\
ARG BASE=debian
FROM scratch AS flashinfer-headers
COPY <<"MARKER" /MISSING
not given
MARKER
FROM scratch AS helpers
COPY <<"SHELL" /prove.sh
# || true would be bad here
set -eu
cd /run/flashinfer-headers
sha256sum --check --strict SHA256SUMS || { echo "damaged" >&2; exit 1; }
SHELL
FROM ${BASE} AS runtime
RUN pip install flashinfer-python==0.6.13
FROM runtime AS final
ARG FLASHINFER_BUNDLE_DIGEST
ENV FLASHINFER_CUBIN_DIR=/opt/flashinfer/cubins
RUN --network=none --mount=type=bind,from=flashinfer-headers,target=/run/flashinfer-headers \\
    --mount=type=bind,from=helpers,target=/run/helpers \\
    sh /run/helpers/prove.sh
"""
TAKE = "RUN --network=none --mount=type=bind,from=flashinfer-headers"


def guard(text: str, name: str = "Dockerfile", **promised: Any) -> tuple[Problem, ...]:
    return guards.guard(text, guards.Promised(**promised), name=name)


def test_a_dockerfile_in_order_has_no_problem() -> None:
    assert guard(GOOD, version="0.6.13") == ()
    copied = GOOD.replace(GOOD[GOOD.index(TAKE) :], (
        "COPY --from=flashinfer-headers / /opt/flashinfer/cubins/\n"
        "RUN --network=none cd /opt/flashinfer/cubins && sha256sum -c SHA256SUMS\n"
    ))  # fmt: skip
    assert guard(copied) == ()


def test_this_repositorys_own_dockerfile_is_in_order() -> None:
    text = (ROOT / "docker" / "Dockerfile").read_text()
    assert guard(text, version="0.6.13", targets=("openai", "runtime-headers")) == ()


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (GOOD[GOOD.index(TAKE) :], "", "nothing in final takes the FlashInfer headers"),
        (TAKE, "RUN --mount=type=bind,from=flashinfer-headers", "are not proven"),
        ("sha256sum --check", "ls", "are not proven"),
        ("sh /run/helpers/prove.sh", "cp -r /run/flashinfer-headers /opt", "are not proven"),
        ('COPY <<"MARKER" /MISSING\nnot given\nMARKER\n', "", "is empty: with a warm cache"),
        ('FROM scratch AS flashinfer-headers\nCOPY <<"MARKER" /MISSING\nnot given\nMARKER\n', "", "docker.io/library/"),
        ("ARG FLASHINFER_BUNDLE_DIGEST\n", "", "ARG FLASHINFER_BUNDLE_DIGEST is not declared"),
        ("sh /run/helpers/prove.sh", "sh /run/helpers/prove.sh || true", "'|| true' around"),
        ("sh /run/helpers/prove.sh", "sh /run/helpers/prove.sh; true", "'; true' around"),
        ("set -eu", "set +e", "'set +e' around"),
        ('{ echo "damaged" >&2; exit 1; }', "echo damaged", "'|| echo' around"),
        ("sh /run/helpers/prove.sh\n", "sh /run/helpers/prove.sh\nRUN pip install vllm\n", "installed after"),
        ("sh /run/helpers/prove.sh\n", "sh /run/helpers/prove.sh\nRUN apt-get -q install -y gcc\n", "installed after"),
        ("ENV FLASHINFER_CUBIN_DIR", "ENV FLASHINFER_NO_DOWNLOAD=1 FLASHINFER_CUBIN_DIR", "runs another one"),
        (
            "RUN pip install flashinfer-python",
            "RUN flashinfer download-cubin && pip install flashinfer-python",
            "exits 0",
        ),
        ("RUN pip install flashinfer-python", "RUN python3 -m flashinfer --download-cubin && pip install x", "exits 0"),
    ],
)
def test_what_is_lost_or_hidden_is_found(old: str, new: str, says: str) -> None:
    assert old in GOOD
    problems = guard(GOOD.replace(old, new, 1), name="docker/Dockerfile", version="0.6.13")
    assert any(says in problem.what for problem in problems), problems
    assert {problem.file for problem in problems} == {"docker/Dockerfile"}
    assert all(problem.line > 0 and problem.hint for problem in problems)


HISTORICAL = """\
FROM base AS vllm-base
RUN python3 <<'PY'
from flashinfer.jit.cubin_loader import download_trtllm_headers
download_trtllm_headers('bmm')
PY
"""


@pytest.mark.parametrize(
    ("version", "found"), [("0.6.6", False), ("0.6.7", False), ("0.6.7.post1", True), ("0.7.0", True), ("", True)]
)
def test_vllms_old_block_is_right_for_old_versions_alone(version: str, *, found: bool) -> None:
    problems = guard(HISTORICAL, version=version, required=False)
    assert any("download_trtllm_headers" in problem.what for problem in problems) is found


def test_harm_is_found_without_a_headers_section_and_the_rest_is_not_asked_for() -> None:
    assert guard("FROM debian\nRUN true\n", required=False) == ()
    assert len(guard("FROM debian\nRUN true\n")) == 2
    (problem,) = guard("FROM debian\nRUN flashinfer download-cubin\n", required=False)
    assert problem.line == 2


def test_a_word_in_a_comment_is_no_step() -> None:
    text = "FROM debian\n# RUN flashinfer download-cubin\nRUN <<EOF\n# flashinfer download-cubin || true\ntrue\nEOF\n"
    assert guard(text, required=False) == ()


@pytest.mark.parametrize("line", ['RUN python3 -c "print(1 << 20)"', "RUN cat <<<foo", "RUN [ $((1<<20)) -gt 0 ]"])
@pytest.mark.parametrize("start", ["", "\ufeff", "# escape=`\n"])
def test_no_line_hides_what_follows_it(start: str, line: str) -> None:
    text = f"{start}FROM scratch AS first\n{line}\n{GOOD.replace(chr(92) + chr(10), '')}"
    assert guard(text, version="0.6.13") == ()
    (problem,) = guard(text + "RUN\tpip install vllm\n")
    assert "installed after" in problem.what
    (problem,) = guard(f"{start}FROM debian\n{line}\nRUN flashinfer download-cubin\n", required=False)
    assert "exits 0" in problem.what


@pytest.mark.parametrize(
    ("run", "harm"),
    [
        ("flashinfer-headers.sh || true", True),
        ("flashinfer-headers.sh || exit 0", True),
        ("flashinfer-headers.sh ||\\\n  :", True),
        ("flashinfer-headers.sh || (echo no; exit 1)", False),
        ("flashinfer-headers.sh || { echo no >&2; return 2; }; ls", False),
        ("flashinfer-headers.sh || { echo no; }", True),
        ("echo 'flashinfer headers || true'", False),
        ("flashinfer-headers.sh # || true", False),
        ("sh -c 'flashinfer-headers.sh || true'", True),
        ("set +e; flashinfer-headers.sh", True),
    ],
)
def test_what_turns_a_failure_into_success(run: str, *, harm: bool) -> None:
    found = guard(f"FROM debian\nRUN {run}\n", required=False)
    assert any("passes as success" in problem.what for problem in found) is harm


def test_the_stage_that_is_shipped_counts() -> None:
    text = GOOD + "FROM runtime AS other\nRUN true\n"
    assert guard(text, targets=("final",)) == ()
    (problem,) = guard(text, targets=("final", "other"))
    assert "nothing in other takes" in problem.what
    assert "stage nowhere was not found" in guard(text, targets=("nowhere",))[0].what


@pytest.mark.parametrize(
    "text", ["", "\n\n", "RUN", "FROM", "FROM  \\", "COPY <<EOF /x\nnever ends", "\\\n\\\n", "# syntax="]
)
def test_any_text_can_be_read(text: str) -> None:
    guard(text)
