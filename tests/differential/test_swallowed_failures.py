"""What our reading says of a script whose header step fails, beside the shell that really runs it."""

from __future__ import annotations

import itertools
import json
import os
import random
import re
import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING

import pytest

from orchestrator.headers import guard
from orchestrator.headers.outcome import Shell, shell_of, swallows

if TYPE_CHECKING:
    from pathlib import Path

STEP = "flashinfer download-headers"

# X is the step that fails
FORMS = [
    "X", "X || true", "X || :", "X || exit 0", "X || exit 1", "X || exit", "X || false", "X || echo no", "X || warn",
    "X || { echo no; }", "X || { echo no; exit 3; }", "X || (exit 0)", "X || (exit 4)", "X || X", "X || ok && X",
    "X && ok", "X && ok || ok", "ok && X", "ok || X; X", "X; true", "X; ok", "X &", "X & wait", "X & ok; wait",
    "X | cat", "X | X", "X |& cat", "ok | X", "! X", "! ok || X", "(X)", "(X; ok)", "(X) || true", "(X; true) && ok",
    "{ X; }", "{ X; ok; }", "{ X; } || ok", "if X; then ok; fi", "if X; then ok; else exit 1; fi",
    "if X; then ok; else ok; fi", "if ! X; then ok; fi", "if ! X; then exit 1; fi", "if ok; then X; fi",
    "if ok; then X; ok; fi", "for i in 1 2; do X; done", "for i in 1 2; do X && break; done",
    "for i in 1 2; do X && break || ok; done", "for i in 1 2; do X || continue; done", "for i in 1; do X; ok; done",
    "while X; do ok; done", "until X; do exit 5; done", "case a in a) X ;; esac",
    "case a in (a) X; ok ;; b) ok ;; esac",
    "f() { X; }; f", "f() { X; ok; }; f", "f() { X; ok; }; f || true", "f() { X || return 0; }; f",
    "f() { X || return 2; ok; }; f", "f() { X; ok; }; f && ok", "f() { X; ok; }; if f; then ok; fi",
    "echo \"$(X)\"", "v=$(X)", "v=$(X); echo $v", "export v=$(X)", "v=`X`", "echo `X`",
    "set -e; X; ok", "set -e\nX && ok\nok", "set -e; X || ok", "set +e; X; ok", "set -e; set +e; X; ok",
    "set -e; (set +e; X; ok)", "set -e; f() { X; ok; }; f", "set -e; f() { X; ok; }; f || true",
    "set -e; if X; then ok; fi; ok", "set -e; ! X; ok", "set -e; X | cat; ok", "set -e; { X; ok; }", "set -e; (X; ok)",
    "set -eu; v=$(X); ok", "set -o errexit; X; ok", "set -e; while X; do ok; done; ok", "set -e; X & ok",
    "sh -c 'X'", "sh -c 'X; ok'", "sh -ec 'X; ok'", "sh -c 'X || true'", "sh -c 'X'; ok", "sh -e -c 'X; ok'",
    "eval 'X'", "eval 'X; ok'", "trap 'exit 0' EXIT; X", "trap 'ok' EXIT; X", "trap - EXIT; X", "exec X",
    "sh script.sh", "sh -e script.sh", ". ./script.sh", "sh script.sh || true", "./script.sh",
    "./script.sh || true", "set -e; ./script.sh; ok", "./strict.sh",
    "./strict.sh; ok", "./strict.sh || exit 3", "sh strict.sh", "command X", "env A=1 X", "A=1 X",
    "X\nok", "X\n\n# end\n", "X # || true", "echo 'X || true'; X", "X ||\n  true", "X \\\n  || true", "ok; X",
    "ok\nX\n",
    "X\ncat <<END\nexit 1\nEND\n", "set -e; cat <<END >/dev/null\nexit 0\nEND\nX; ok", "cat <<END; X\nexit 1\nEND",
    "sh <<END\nX\nok\nEND", "sh -e <<END\nX\nok\nEND", "sh <<END || true\nX\nEND", "sh <<END && ok\nX\nEND",
    "while false; do ok; done <<-'A B'\nexit 1\n\tA B\nX", "cat <<A <<B\nexit 1\nA\nexit 2\nB\nX; ok",
    "X & ok & wait $!", "X || ok & wait $!", "ok & X & wait $!", "(trap 'exit 0' EXIT; X)", "trap -- 'exit 0' EXIT; X",
    "set -e; export v=$(X); ok", "set -e; readonly v=$(X); ok", "set -e; ok $(X); ok", "exec 2>/dev/null; X; ok",
    "exec 2>/dev/null; X", "X 2>/dev/null || ok", "echo 'X; ok' | sh", "echo 'X' | sh", "cat script.sh | sh",
    "cat strict.sh | sh -e", "cat <<END | sh\nX\nok\nEND", "cat <<END | sh -e\nX\nok\nEND", "sh -s a <<END\nX\nok\nEND",
    "timeout 5 X", "timeout 5 X || :", "timeout 5 sh -c 'X; ok'", "timeout -k 2 5 sh -c 'X'", "timeout 5 ./script.sh",
    "timeout 5 ./strict.sh", "nice -n 5 sh -c 'X; ok'", "nice sh -ec 'X; ok'", "stdbuf -oL sh -c 'X; ok'",
    "setsid -w sh -c 'X; ok'", "env -u HOME sh -c 'X; ok'", "env -i PATH=\"$PATH\" sh -c 'X'",
    "command -p sh -c 'X; ok'",
    "flock /tmp sh -c 'X; ok'", "flock /tmp -c 'X; ok'", "flock /tmp X", "su root -c 'X; ok'", "su root -c 'X'",
    "echo a | xargs X", "echo a | xargs X; true", "echo a | xargs -n1 sh -c 'X; ok'", "echo a | xargs -n1 sh -c 'X'",
    "find . -maxdepth 0 -exec X \\;", "find . -maxdepth 0 -exec X {} +", "find . -maxdepth 0 -exec sh -c 'X; ok' {} +",
    "echo a | while read f; do X; ok; done", "echo a | while read f; do X || exit 1; done",
    "n=0; until X; do n=$((n+1)); [ $n -ge 2 ] && break; done", "n=0; until X || [ $n -ge 2 ]; do n=$((n+1)); done",
    "n=0; until X; do n=$((n+1)); [ $n -ge 2 ] && exit 1; done", "make -i flashinfer-headers",
    "make flashinfer-headers",
    "make -ki flashinfer-headers", "make --ignore-errors flashinfer-headers", "make -C . -i flashinfer-headers",
    "make -s -C . flashinfer-headers", "make -n flashinfer-headers", "make MAKEFLAGS=i flashinfer-headers",
    "test -d / && X", "[ -d / ] || ok; X", "X || [ -e /nowhere ]", "X; [ -e /nowhere ]",
]  # fmt: skip


BASH = [
    "cat <(X)", "cat <(X) >/dev/null; ok", "cat <(X) || exit 3", "ok > >(X)", "cat < <(X)", "cat <(ok) && X",
    "X > >(cat)",
    "X > >(cat) || ok", "cat <(ok; X)", "cat <(echo ')'; X)", "cat <(X || exit 3); ok", "set -e; cat <(X); ok",
    "while read l; do ok; done < <(X)", "{ ok; } < <(X)", "exec 3< <(X); cat <&3", "X < <(ok)", "X <(ok); ok",
    "trap 'exit 0' ERR; X", "trap 'exit 0' ERR; X; ok", "trap 'ok' ERR; X", "trap 'exit 3' ERR; X; ok",
    "trap 'exit 0' ERR; X || exit 4", "set -e; trap 'exit 0' ERR; X", "set -e; trap ok ERR; X; ok", "trap - ERR; X; ok",
    "f() { X; ok; }; trap 'exit 3' ERR; f", "set -E; f() { X; ok; }; trap 'exit 0' ERR; f; exit 4",
    "trap 'exit 0' exit; X", "set -e; v=$(X; ok); ok", "set -e; v=$(X); ok", "set -e; declare v=$(X); ok",
    "set -e; f() { local v=$(X); ok; }; f", "time -p sh -c 'X; ok'", "bash -c 'X; true'", "bash -ec 'X; true'",
]  # fmt: skip
"""Forms that dash does not have, or reads otherwise."""


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a `flashinfer` that fails, an `ok` and a `warn` that do not, and a script."""
    root = tmp_path_factory.mktemp("programs")
    for name, status in (("flashinfer", 1), ("ok", 0), ("warn", 0)):
        path = root / name
        path.write_text(f"#!/bin/sh\nexit {status}\n")
        path.chmod(0o755)
    (root / "Makefile").write_text(f"flashinfer-headers:\n\t{STEP}\n")
    for name, first in (("script.sh", ""), ("strict.sh", "#!/bin/sh -e\n")):
        (root / name).write_text(f"{first}{STEP}\nok\n")
        (root / name).chmod(0o755)
    return root


def really(programs: Path, argv: list[str], script: str) -> bool:
    """Whether the shell ends with success."""
    done = subprocess.run(
        [*argv, script], cwd=programs, capture_output=True, timeout=30, stdin=subprocess.DEVNULL,
        env={**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"},
    )  # fmt: skip
    return done.returncode == 0


def ours(programs: Path, argv: list[str], script: str) -> bool:
    scripts = {name: (programs / name).read_text() for name in ("script.sh", "strict.sh")}
    shell = shell_of(argv, scripts)
    return swallows([script], lambda words: "flashinfer" in " ".join(words) and words[0] != "echo", shell)


def read_from(root: Path, path: str) -> str:
    file = root / path
    return file.read_text() if file.is_file() else ""


def put(form: str, step: str) -> str:
    """A form with a step in the place of X."""
    return re.sub(r"\bX\b", lambda _: step, form)


# X() brings the headers, and raises
PYTHON = [
    "X()",
    "try:\n    X()\nexcept Exception:\n    pass",
    "try:\n    X()\nexcept Exception as e:\n    print(e)\n    raise",
    "try:\n    X()\nexcept OSError:\n    ok = False",
    "try:\n    X()\nexcept:\n    log.warning('no')",
    "try:\n    X()\nexcept Exception:\n    sys.exit(1)",
    "try:\n    X()\nexcept Exception:\n    sys.exit()",
    "try:\n    X()\nexcept Exception as e:\n    sys.exit(f'no {e}')",
    "try:\n    X()\nexcept Exception:\n    exit(0)",
    "try:\n    X()\nexcept Exception:\n    raise SystemExit",
    "try:\n    X()\nexcept Exception as e:\n    raise ValueError from e",
    "try:\n    X()\nfinally:\n    sys.exit(0)",
    "try:\n    X()\nfinally:\n    os._exit(0)",
    "try:\n    X()\nfinally:\n    print()",
    "def f():\n    try:\n        X()\n    finally:\n        return\nf()",
    "def f():\n    X()\nf()",
    "for _ in range(2):\n    try:\n        X()\n        break\n    except Exception:\n        continue",
    "for _ in range(2):\n    try:\n        X()\n        break\n    except OSError:\n        pass\nelse:\n    raise",
    "for i in range(2):\n    try:\n        X()\n    except Exception:\n        if i:\n            raise",
    "with contextlib.suppress(OSError):\n    X()",
    "with contextlib.ExitStack():\n    X()",
    "subprocess.run(['flashinfer'])",
    "subprocess.run(['flashinfer'], check=True)",
    "subprocess.call('flashinfer')",
    "sys.exit(subprocess.call('flashinfer'))",
    "subprocess.check_call('flashinfer')",
    "os.system('flashinfer')",
    "sys.exit(os.system('flashinfer'))",
    "subprocess.Popen('flashinfer').wait()",
    "subprocess.getoutput('flashinfer')",
    "done = subprocess.run('flashinfer')\nsys.exit(done.returncode)",
    "threading.Thread(target=X).start()",
    "pool = futures.ThreadPoolExecutor()\npool.submit(X)\npool.shutdown()",
    "pool = futures.ThreadPoolExecutor()\npool.submit(X).result()",
    "atexit.register(os._exit, 0)\nX()",
    "exec('try:\\n X()\\nexcept Exception: pass')",
    "exec('X()')",
    "try:\n    from flashinfer import gone\nexcept ImportError:\n    X()",
    "try:\n    X()\nexcept* OSError:\n    pass",
    "try:\n    X()\nexcept ValueError:\n    raise",
]
_IMPORTS = "import atexit, contextlib, logging as log, os, subprocess, sys, threading\nfrom concurrent import futures\n"


SHELLS = [["/bin/sh", "-c"], ["/bin/sh", "-ec"], ["/bin/bash", "-c"], ["/bin/bash", "-o", "pipefail", "-ec"]]


@pytest.mark.parametrize("argv", SHELLS, ids=" ".join)
def test_each_form_ends_as_the_shell_ends(programs: Path, argv: list[str]) -> None:
    wrong = []
    for form in [*FORMS, *(BASH if argv[0] == "/bin/bash" else ())]:
        if argv[0] == "/bin/sh" and "|&" in form:  # bash's own
            continue
        script = put(form, STEP)
        said, ended = ours(programs, argv, script), really(programs, argv, script)
        if said != ended:
            wrong.append((form, f"ours {said}, shell {ended}"))
    assert not wrong


@pytest.mark.parametrize("argv", SHELLS, ids=" ".join)
def test_forms_inside_each_other_end_as_the_shell_ends(programs: Path, argv: list[str]) -> None:
    """300 scripts of two or three forms: one after another, and one in the place of the other's step."""
    chosen = random.Random(20261126)
    plain = [
        form for form in FORMS if not {"'", "#", "|&", "`"} & set(form.split() + list(form)) and "exec" not in form
    ]
    # dash, against POSIX, applies `set -e` to a sourced file whose status is a condition: not compared
    plain = [form for form in plain if not any(word in form for word in ("while", "until", "./script.sh"))]
    wrong = []
    for _ in range(300):
        outer, inner = chosen.choice(plain), chosen.choice(plain)
        kind = chosen.randrange(3)
        if kind == 0:
            script = f"{outer}\n{inner}"
        elif kind == 1:
            script = put(outer, f"{{ {inner}\n}}")
        else:
            script = put(outer, f"({inner}\n)")
        script = put(script, STEP)
        checked = subprocess.run([argv[0], "-n", "-c", script], capture_output=True)
        if checked.returncode:  # the two do not go together
            continue
        said, ended = ours(programs, argv, script), really(programs, argv, script)
        # a test or a pattern may also go the other way, on another machine: ours looks at both
        open_ended = any(word in script for word in ("case", "test", "["))
        if said != ended and not (open_ended and said):
            wrong.append((script, f"ours {said}, shell {ended}"))
    assert not wrong, f"{len(wrong)}: {wrong[:6]}"


def test_the_guard_misses_none_of_them(programs: Path) -> None:
    """As RUN steps, in the shell form, the JSON form and as a here-document."""
    missed = []
    for form, kind in itertools.product(FORMS, ("shell", "json", "document")):
        if "|&" in form:
            continue
        script = put(form, STEP)
        if not really(programs, ["/bin/sh", "-c"], script):
            continue
        if kind == "json":
            quoted = script.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
            run = f'RUN ["/bin/sh", "-c", "{quoted}"]'
        elif kind == "document":
            run = f"RUN <<EOF\n{script}\nEOF"
        else:
            run = "RUN " + script.replace("\\\n", " ").replace("\n\n# end\n", "").replace("\n", "; ").replace(
                "||;", "||"
            )
            if not really(programs, ["/bin/sh", "-c"], run[4:]):
                continue
        found = guard.guard(f"FROM debian\n{run}\n", guard.Promised(required=False), read=partial(read_from, programs))
        if not any("passes as success" in problem.what for problem in found):
            missed.append((kind, form))
    assert not missed


@pytest.mark.parametrize("form", PYTHON)
def test_a_python_program_is_judged_as_it_ends(programs: Path, form: str) -> None:
    """As a here-document, `-c` and the JSON form of a step; `fetch_flashinfer_headers` raises."""
    name = "fetch_flashinfer_headers"
    (programs / f"{name}.py").write_text(f"def {name}():\n    raise OSError\n")
    script = f"{_IMPORTS}from {name} import {name}\n{put(form, name)}\n"
    goes_on = really(programs, [sys.executable, "-c"], script)
    for run in (f"python3 <<EOF\n{script}EOF", json.dumps(["python3", "-c", script])):
        found = guard.guard(f"FROM debian\nRUN {run}\n", guard.Promised(required=False))
        assert any("passes as success" in problem.what for problem in found) is goes_on, (run, found)


def test_the_default_shell_stops_at_no_failure() -> None:
    assert not Shell().errexit
    assert shell_of(["/bin/bash", "-o", "pipefail", "-c"], {}) == Shell(pipefail=True, bash=True)
    assert shell_of(["/bin/bash", "-euxo", "pipefail", "-c"], {}) == Shell(errexit=True, pipefail=True, bash=True)
    assert shell_of(["cmd", "/S", "/C"], {}) == Shell()
