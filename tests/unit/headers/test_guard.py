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


_BLOCK = """RUN python3 <<"PYEOF"
from flashinfer.jit.cubin_loader import download_trtllm_headers
download_trtllm_headers("bmm")
PYEOF
"""


@pytest.mark.parametrize(
    "brings",
    [
        _BLOCK, "RUN flashinfer download-kernels\n", "RUN flashinfer show-config && flashinfer download-cubin\n",
        "RUN pip install flashinfer-cubin==0.6.13\n", "COPY --from=flashinfer-headers / /opt/\n",
    ],
)  # fmt: skip
def test_a_block_that_goes_away_is_noticed_also_without_a_promise(brings: str) -> None:
    text = f"FROM ubuntu AS base\nARG FLASHINFER_VERSION=0.6.6\nFROM base AS openai\n{brings}CMD x\n"

    def said(text: str) -> list[str]:
        return [one.what for one in guards.unpromised(text, ["openai"], version="0.6.6")]

    missing = "openai has FlashInfer and no step that brings its headers: it downloads them on the user's machine"
    assert missing not in said(text)
    assert missing in said(text.replace(brings, ""))
    assert said("FROM ubuntu\nRUN make\n") == []


@pytest.mark.parametrize(
    ("steps", "asked"),
    [
        ("COPY requirements/cuda.txt /tmp/r.txt\nRUN uv pip install -r /tmp/r.txt\n", "requirements/cuda.txt"),
        ("RUN --mount=type=bind,target=. pip install -r requirements/cuda.txt\n", "requirements/cuda.txt"),
        ("RUN pip install --requirement cuda.in\n", "cuda.in"),
    ],
)
def test_flashinfer_of_a_requirement_file_is_noticed(steps: str, asked: str) -> None:
    """vLLM 0.33 names FlashInfer nowhere in its Dockerfile but in the step that brings its kernels."""

    def said(more: str, content: str) -> list[str]:
        text = f"FROM ubuntu\n{steps}{more}"
        found = guards.unpromised(text, [""], read=lambda path: content if path == asked else "")
        return [one.what for one in found]

    requirement = "torch\nflashinfer-python==0.7.2 # x\n"
    assert said("RUN flashinfer download-kernels\n", requirement) == []
    assert ["downloads them on the user's machine" in one for one in said("", requirement)] == [True]
    assert said("", "torch\n# flashinfer-python\nflashinfer-cubin\n") == []


def test_headers_that_a_step_downloads_are_told_apart_from_none() -> None:
    text = f"FROM ubuntu AS base\nARG FLASHINFER_VERSION=0.6.6\n{_BLOCK}"
    promised = guards.Promised(version="0.6.6")
    kept = {problem.what for problem in guards.guard(text, promised)}
    removed = {problem.what for problem in guards.guard(text.replace(_BLOCK, ""), promised)}
    assert "the FlashInfer headers in base are downloaded by this step and not taken from flashinfer-headers" in kept
    assert "nothing in base takes the FlashInfer headers from flashinfer-headers" in removed


@pytest.mark.parametrize(
    ("run", "seen"),
    [
        ("RUN flashinfer download-headers || true", "|| true"),
        ("RUN flashinfer download-headers || exit 0", "|| exit 0"),
        ("RUN set +e; flashinfer download-headers", "set +e"),
        ("RUN flashinfer download-headers; exit 0", "exit 0"),
        ("RUN flashinfer download-headers | tee /log", "| tee without pipefail"),
        ('RUN ["bash", "-c", "flashinfer download-headers || true"]', "|| true"),
        ("RUN python3 -c 'try: import flashinfer.headers\\nexcept Exception: pass'", "except Exception: pass"),
        ("RUN python3 <<E\ntry:\n  import flashinfer.headers\nexcept OSError:\n  pass\nE", "except OSError: pass"),
        ("RUN python3 <<E\nimport os; os.system('flashinfer headers')\nE", "os.system("),
        (
            "RUN python3 <<E\ntry:\n  import flashinfer.headers\nexcept OSError as e:\n  log.warning(e)\nE",
            "log.warning",
        ),
        ("RUN python3 <<E\nfrom flashinfer import headers\ntry: headers()\nfinally: exit(0)\nE", "finally: exit(0)"),
        ("RUN python3 <<E\nimport subprocess\nsubprocess.run('flashinfer-headers')\nE", "without check=True"),
        (
            'RUN ["python3", "-c", "try:\\n import flashinfer.headers\\nexcept OSError:\\n ok = 0"]',
            "except OSError: ok",
        ),
        ("RUN flashinfer download-headers; rm -rf /tmp/x", "a step that continues"),
        ("RUN flashinfer download-headers || warn", "a step that continues"),
        ("RUN if ! flashinfer download-headers; then warn no; fi", "a step that continues"),
        ("RUN (flashinfer download-headers; ls)", "a step that continues"),
        ("RUN set -e; flashinfer download-headers && ls; ls", "a step that continues"),
        ("RUN <<E\nflashinfer download-headers\nls\nE", "a step that continues"),
        ("RUN bash <<E\nflashinfer download-headers\nls\nE", "a step that continues"),
        ('RUN ["bash", "-c", "flashinfer download-headers; ls"]', "a step that continues"),
        ("RUN python3 -c 'import flashinfer.headers'; ls", "a step that continues"),
        ("RUN python3 <<E ; ls\nimport flashinfer.headers\nE", "a step that continues"),
        ("RUN f() { flashinfer download-headers; ls; }; f || exit 1", "a step that continues"),
        ('SHELL ["bash", "-ec"]\nRUN flashinfer download-headers; ls', ""),
        ("RUN set -e; flashinfer download-headers; ls", ""),
        ("RUN bash -e <<E\nflashinfer download-headers\nls\nE", ""),
        ("RUN flashinfer download-headers && ls", ""),
        ("RUN if ! flashinfer download-headers; then exit 1; fi", ""),
        ("RUN ls; flashinfer download-headers", ""),
        ("RUN mkdir -p /opt/flashinfer/headers; flashinfer download-headers", ""),
        ('RUN ["bash", "-ec", "flashinfer download-headers; ls"]', ""),
        ("RUN set -o pipefail; flashinfer download-headers | tee /log", ""),
        ("RUN flashinfer download-headers || exit 1", ""),
        ("RUN python3 <<E\ntry:\n  import flashinfer.headers\nexcept OSError:\n  raise\nE", ""),
        ("RUN python3 <<E\ntry:\n  import flashinfer.headers\nexcept OSError:\n  print()\n  raise\nE", ""),
        ("RUN python3 <<E\nimport subprocess\nsubprocess.run('flashinfer-headers', check=True)\nE", ""),
    ],
)
def test_every_way_to_swallow_a_failure_is_seen(run: str, seen: str) -> None:
    found = guards.guard(f"FROM ubuntu\n{run}\n", guards.Promised(required=False))
    swallowed = [problem.what for problem in found if "a failure passes as success" in problem.what]
    assert (swallowed != []) is bool(seen)
    assert not seen or seen in swallowed[0]


CONTEXT = {
    "tools/fetch.sh": "set -e\nflashinfer download-headers\nls\n",
    "tools/soft.sh": "flashinfer download-headers || true\n",
    "tools/goes_on.sh": "flashinfer download-headers\nls\n",
    "tools/strict.sh": "#!/usr/bin/env bash -e\nflashinfer download-headers\nls\n",
    "tools/outer.sh": 'set -e\n"$HERE/soft.sh"\n',
    "tools/bad.py": "from flashinfer import headers\ntry:\n    headers()\nexcept OSError as e:\n    print(e)\n",
    "tools/more.py": (
        "import flashinfer.headers as h\ndef version():\n    try:\n        return read()\n    except OSError:\n"
        "        return ''\nversion()\nh.get()\n"
    ),
    "tools/deep.py": (
        "from flashinfer import headers as h\ndef get():\n    h.get()\ndef main():\n    get()\n"
        "try:\n    main()\nexcept OSError:\n    log()\n"
    ),
    "tools/run.py": "import subprocess\nsubprocess.run(['flashinfer', 'download-headers'])\n",
    "tools/good.py": "from flashinfer import headers\nheaders()\n",
    "tools/other.sh": "make\n",
}


@pytest.mark.parametrize(
    ("run", "seen"),
    [
        ("tools/fetch.sh", ""),
        ("tools/fetch.sh || true", "|| true"),
        ("sh ./tools/fetch.sh; ls", "a step that continues"),
        ("tools/soft.sh", "|| true"),
        ("cd /src && bash /src/tools/goes_on.sh", "a step that continues"),
        ("tools/goes_on.sh", "a step that continues"),
        ("tools/strict.sh", ""),
        ("tools/outer.sh", "|| true"),
        ("python3 tools/bad.py", "except OSError: print(e)"),
        ("python3 tools/good.py", ""),
        ("python3 tools/more.py", ""),
        ("python3 tools/deep.py", "except OSError: log()"),
        ("python3 tools/run.py", "subprocess.run(…) without check=True"),
        ("python3 tools/good.py; ls", "a step that continues"),
        ("tools/other.sh || true", ""),
        ("tools/gone.sh || true", ""),
    ],
)
def test_scripts_of_the_build_context_are_followed(run: str, seen: str) -> None:
    promised = guards.Promised(required=False)
    found = guards.guard(f"FROM ubuntu\nRUN {run}\n", promised, read=lambda path: CONTEXT.get(path, ""))
    swallowed = [problem.what for problem in found if "a failure passes as success" in problem.what]
    assert len(swallowed) == bool(seen)
    assert all(seen in what for what in swallowed)


def test_a_script_of_the_build_context_brings_the_headers() -> None:
    text = "FROM ubuntu\nRUN pip install flashinfer-python\nRUN tools/get.sh\n"
    brings = {"tools/get.sh": "flashinfer download-cubin\n"}
    assert guards.unpromised(text, [""], read=lambda _: "")
    (one,) = guards.unpromised(text, [""], read=lambda path: brings.get(path, ""))
    assert "exits 0 after a failure" in one.what


@pytest.mark.parametrize(
    ("proof", "says"),
    [
        ("sha256sum -c SHA256SUMS", ""),
        ("sha256sum -c SHA256SUMS && rm SHA256SUMS || exit 1", ""),
        ("rm -f x || true; sha256sum -c SHA256SUMS", ""),
        ("sha256sum -c SHA256SUMS || true", "a step that continues"),
        ("sha256sum -c SHA256SUMS; ls", "a step that continues"),
        ("(sha256sum -c SHA256SUMS) || echo warn", "a step that continues"),
        ("sha256sum -c SHA256SUMS | tee log", "a step that continues"),
        ("if sha256sum -c SHA256SUMS; then echo ok; fi", "a step that continues"),
        ("sha256sum -c --ignore-missing SHA256SUMS", "are not proven"),
        ("echo sha256sum -c SHA256SUMS", "are not proven"),
    ],
)
def test_a_proof_that_goes_on_is_none_also_where_no_word_names_flashinfer(proof: str, says: str) -> None:
    text = GOOD[: GOOD.index("ENV FLASH")] + (
        f"COPY --from=flashinfer-headers / /opt/fi/\nRUN --network=none cd /opt/fi && {proof}\n"
    )
    found = [problem.what for problem in guard(text, version="0.6.13")]
    assert len(found) == bool(says)
    assert all(says in what for what in found)


DOCS = "docs/air-gapped.md has the stage that belongs here"
NO_ARG = "ARG FLASHINFER_BUNDLE_DIGEST is not declared before the proof: its cache key does not follow the bundle"
STANDS_IN = "FROM scratch AS flashinfer-headers\nRUN x\n"
CALLED = STANDS_IN.replace("flashinfer-headers", "wheelhouse")
PROOF = "RUN --network=none sha256sum --check SHA256SUMS\n"


def seen(problems: tuple[Problem, ...]) -> list[tuple[int, str, str]]:
    return [(problem.line, problem.what, problem.hint) for problem in problems]


@pytest.mark.parametrize(
    ("text", "promised", "expected"),
    [
        (
            "FROM x\nRUN y\n",
            {},
            [
                (
                    1,
                    (
                        "stage flashinfer-headers was not found: docker pulls a forgotten context from "
                        "docker.io/library/flashinfer-headers"
                    ),
                    DOCS,
                ),
                (1, "nothing in 0 takes the FlashInfer headers from flashinfer-headers", DOCS),
            ],
        ),
        (
            "FROM scratch AS flashinfer-headers\nENV A=b\nFROM x AS y\nCOPY --from=flashinfer-headers / /\n" + PROOF,
            {},
            [
                (
                    1,
                    "stage flashinfer-headers is empty: with a warm cache a build without the bundle passes",
                    f"put a marker file into it; {DOCS}",
                ),
                (
                    5,
                    NO_ARG,
                    DOCS,
                ),
            ],
        ),
        (
            STANDS_IN + "FROM x AS y\nRUN z\n",
            {"targets": ("y",)},
            [
                (3, "nothing in y takes the FlashInfer headers from flashinfer-headers", DOCS),
            ],
        ),
        (
            STANDS_IN + "FROM x AS y\nRUN flashinfer download-kernels\n",
            {"targets": ("y",)},
            [
                (
                    4,
                    "the FlashInfer headers in y are downloaded by this step and not taken from flashinfer-headers",
                    DOCS,
                ),
            ],
        ),
        (
            STANDS_IN + "FROM x AS y\n",
            {"targets": ("y", "z")},
            [
                (1, "stage z was not found", ""),
                (3, "nothing in y takes the FlashInfer headers from flashinfer-headers", DOCS),
            ],
        ),
        (
            STANDS_IN
            + "FROM x AS y\nCOPY --from=flashinfer-headers / /\nCOPY --from=FlashInfer-Headers / /a\nRUN ls\n",
            {},
            [
                (5, "the FlashInfer headers in y are not proven: no RUN --network=none with sha256sum --check", DOCS),
            ],
        ),
        (STANDS_IN + "FROM x AS y\nARG FLASHINFER_BUNDLE_DIGEST\nCOPY --from=flashinfer-headers / /\n" + PROOF, {}, []),
        (
            STANDS_IN + "FROM x AS y\nARG FLASHINFER_BUNDLE_DIGEST\n" + PROOF + "COPY --from=flashinfer-headers / /\n",
            {},
            [
                (6, "the FlashInfer headers in y are not proven: no RUN --network=none with sha256sum --check", DOCS),
            ],
        ),
        (
            STANDS_IN + "FROM x AS y\nCOPY --from=flashinfer-headers / /\n" + PROOF + "ARG FLASHINFER_BUNDLE_DIGEST\n",
            {},
            [
                (
                    5,
                    NO_ARG,
                    DOCS,
                ),
            ],
        ),
        (
            STANDS_IN
            + "FROM x AS y\nARG FLASHINFER_BUNDLE_DIGEST\nRUN pip install a\nCOPY --from=flashinfer-headers / /\n"
            + PROOF
            + "RUN py_install b\nRUN apt_install c\nRUN flashinfer install-cubin-wheel\nRUN ls\n",
            {},
            [
                (
                    line,
                    "packages are installed after the FlashInfer headers in y: they may move or replace them",
                    "receive the bundle after the last package install",
                )
                for line in (8, 9, 10)
            ],
        ),
        (
            "FROM scratch AS b\nADD x /\nFROM x\nARG D\nCOPY --from=b / /\n" + PROOF,
            {"context": "b", "digest_arg": "D"},
            [],
        ),
        (
            "FROM scratch AS b\nADD x /\nFROM x\nARG D\nCOPY --from=b / /\n" + PROOF,
            {"context": "b"},
            [
                (
                    6,
                    NO_ARG,
                    DOCS,
                ),
            ],
        ),
    ],
)
def test_what_is_said_where_and_what_helps(
    text: str, promised: dict[str, Any], expected: list[tuple[int, str, str]]
) -> None:
    assert seen(guard(text, **promised)) == expected
    assert guard(text, required=False, **promised) == ()


@pytest.mark.parametrize(
    ("step", "version", "what"),
    [
        ("RUN flashinfer download-cubin", "", "flashinfer download-cubin as a build step: it exits 0 after a failure"),
        ("RUN python -m flashinfer --download-cubin", "",
         "flashinfer download-cubin as a build step: it exits 0 after a failure"),
        ("RUN python -c 'download_trtllm_headers()' flashinfer", "0.6.8",
         "download_trtllm_headers is not in FlashInfer 0.6.8: the import fails"),
        ("RUN python -c 'download_trtllm_headers()' flashinfer", "",
         "download_trtllm_headers is not in FlashInfer from 0.6.7.post1 on: the import fails"),
        ("ENV FLASHINFER_NO_DOWNLOAD=1", "",
         "FLASHINFER_NO_DOWNLOAD is set for every bundle: with a cubin missing, FlashInfer runs another one"),
        ("RUN flashinfer download-headers || true", "",
         "'|| true' around the FlashInfer headers: a failure passes as success"),
        ("RUN flashinfer download-headers; ls", "",
         "'a step that continues' around the FlashInfer headers: a failure passes as success"),
    ],
)  # fmt: skip
def test_steps_that_do_harm_are_told_by_their_line(step: str, version: str, what: str) -> None:
    hint = "set it from an argument that orchestrate gives for a complete bundle" if "NO_DOWNLOAD" in step else DOCS
    text = f"FROM x\nRUN true\n{step}\n"
    assert seen(guard(text, required=False, version=version)) == [(3, what, hint)]
    told = guards.unpromised(text, [""], version=version, name="D")
    assert [(one.file, *row) for one, row in zip(told, seen(told), strict=True)] == [("D", 3, what, hint)]


@pytest.mark.parametrize(
    ("env", "always"),
    [
        ("FLASHINFER_NO_DOWNLOAD=1", True),
        ('FLASHINFER_NO_DOWNLOAD="1"', True),
        ("FLASHINFER_NO_DOWNLOAD=$A", False),
        ("FLASHINFER_NO_DOWNLOAD='${A}'", False),
        ("FLASHINFER_NO_DOWNLOAD=", False),
        ('FLASHINFER_NO_DOWNLOAD=""', False),
        ("FLASHINFER_NO_DOWNLOAD 1", True),
        ("FLASHINFER_NO_DOWNLOAD $A", False),
        ("A=b FLASHINFER_NO_DOWNLOAD=1", True),
        ("FLASHINFER_NO_DOWNLOADS=1", False),
        ("A=FLASHINFER_NO_DOWNLOAD", False),
    ],
)
def test_a_variable_that_no_argument_takes_away(env: str, always: bool) -> None:
    assert bool(guard(f"FROM x\nENV {env}\n", required=False)) is always


@pytest.mark.parametrize(
    ("step", "installed"),
    [
        ("ARG FLASHINFER_VERSION=0.6", True), ("ENV flashinfer_version=0.6", True), ("ARG VERSION=flashinfer", False),
        ("RUN pip install FlashInfer-python", True), ("RUN uv pip install flashinfer_python", True),
        ("RUN pip install torch", False), ("RUN echo flashinfer", False), ("COPY cuda.txt /", True),
        ("COPY a.txt cuda.txt /", True), ("COPY --from=x cuda.txt /", False), ("COPY x cuda.txt", False),
        ("COPY cuda.md /", False), ("ADD cuda.in /", True), ("RUN pip install -r cuda.txt", True),
        ("RUN pip install --requirements cuda.in", True), ("RUN pip install -c cuda.txt", False),
        ("RUN cat -r cuda.txt", False),
    ],
)  # fmt: skip
def test_what_brings_flashinfer(step: str, installed: bool) -> None:
    def read(path: str) -> str:
        return "x\n  FlashInfer_Python==1\n" if path.startswith("cuda.") else "# flashinfer-python\n"

    found = guards.unpromised(f"FROM x AS y\nRUN z\n{step}\n", ["y"], read=read)
    what = "y has FlashInfer and no step that brings its headers: it downloads them on the user's machine"
    hint = "add headers: to matrix.yaml (docs/air-gapped.md), or headers: {policy: off} to accept that"
    assert seen(found) == ([(3, what, hint)] if installed else [])


@pytest.mark.parametrize(
    ("step", "brings"),
    [
        ("RUN flashinfer download-kernels", True), ("RUN flashinfer install-cubin-wheel", True),
        ("RUN pip install flashinfer-cubin", True), ("RUN pip install flashinfer_cubin==1", True),
        ("RUN echo flashinfer-cubin", False), ("RUN python -c download_trtllm_headers", True),
        ("RUN python <<E\n# download_trtllm_headers\nE", False), ("RUN flashinfer show-config", False),
        ("COPY --from=FLASHINFER-HEADERS / /", True), ("COPY --from=other / /", False),
    ],
)  # fmt: skip
def test_what_brings_its_headers(step: str, brings: bool) -> None:
    text = f"FROM x AS y\nRUN pip install flashinfer-python\n{step}\n"
    found = guards.unpromised(text, ["y"], version="0.6.6")
    assert ("no step that brings its headers" in " ".join(one.what for one in found)) is not brings


def test_problems_of_several_targets_are_told_once_and_in_order() -> None:
    text = "FROM x AS a\nRUN flashinfer download-headers || true\nFROM a AS b\nRUN pip install flashinfer-python\n"
    assert [row[0] for row in seen(guards.unpromised(text, ["b", "b"]))] == [2, 4]
    assert [row[0] for row in seen(guard(text, targets=("b", "a")))] == [1, 1, 2, 3]


@pytest.mark.parametrize(
    ("text", "target", "expected"),
    [
        (CALLED + "FROM x AS y\nARG W\nRUN --mount=type=bind,from=WheelHouse,target=/w pip install a\n", "y", []),
        (
            CALLED + "FROM x AS y\nRUN --mount=type=bind,from=wheelhouse,target=/w pip install a\nARG W\n",
            "",
            [
                (
                    4,
                    (
                        "ARG W is not declared before this step: its cache key does not follow the wheelhouse, and "
                        "nothing proves it"
                    ),
                    DOCS,
                ),
            ],
        ),
        (
            CALLED + "FROM x AS y\nRUN pip install a\n",
            "y",
            [
                (3, "no step of y takes packages from wheelhouse: its installs ask an index", DOCS),
            ],
        ),
        (
            CALLED + "FROM x\nRUN pip install a\n",
            "",
            [
                (3, "no step of 1 takes packages from wheelhouse: its installs ask an index", DOCS),
            ],
        ),
        (CALLED, "z", [(1, "no step of z takes packages from wheelhouse: its installs ask an index", DOCS)]),
        (
            "FROM x AS y\nARG W\nRUN --mount=type=bind,from=wheelhouse,target=/w pip install a\n",
            "y",
            [
                (
                    1,
                    (
                        "stage wheelhouse was not found: docker pulls a forgotten context from "
                        "docker.io/library/wheelhouse"
                    ),
                    DOCS,
                ),
            ],
        ),
        (
            "FROM scratch AS wheelhouse\nFROM x AS y\nARG W\nCOPY --from=wheelhouse / /\n",
            "y",
            [
                (
                    1,
                    "stage wheelhouse is empty: with a warm cache a build without the bundle passes",
                    f"put a marker file into it; {DOCS}",
                ),
            ],
        ),
        (CALLED + "FROM x AS y\nARG W\nCOPY --from=wheelhouse / /\nFROM y AS z\nCOPY --from=wheelhouse / /\n", "z", []),
    ],
)
def test_a_stage_that_installs_from_a_wheelhouse(text: str, target: str, expected: list[tuple[int, str, str]]) -> None:
    found = guards.wheelhouse(text, target, context="wheelhouse", digest_arg="W", name="D")
    assert seen(found) == expected
    assert {problem.file for problem in found} <= {"D"}
