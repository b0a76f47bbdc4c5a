"""Python programs of a build: what lets them end with success although their work failed, and what they fetch."""

from __future__ import annotations

import pytest

from orchestrator.headers.python_program import fetches, parse, swallowed


def swallows(text: str, *words: str) -> str:
    module = parse(text)
    assert module is not None
    return swallowed(module, words)


def handler(body: str, kind: str = "OSError") -> str:
    return f"try:\n    x()\nexcept {kind}:\n    {body}\n"


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ("pass", "except OSError: pass"), ("raise", ""), ("raise Other", ""), ("exit(1)", ""), ("quit(2)", ""),
        ("sys.exit('no')", ""), ("os._exit(1)", ""), ("_exit(1)", ""), ("os.abort(1)", ""), ("assert False", ""),
        ("os.abort()", "except OSError: os.abort()"), ("exit()", "except OSError: exit()"),
        ("exit(0)", "except OSError: exit(0)"), ("exit(None)", "except OSError: exit(None)"),
        ("exit(False)", "except OSError: exit(False)"), ("exit(code)", ""), ("other(1)", "except OSError: other(1)"),
        ("raise SystemExit", "except OSError: raise SystemExit"), ("raise SystemExit(1)", ""),
        ("raise SystemExit(0)", "except OSError: raise SystemExit(0)"),
        ("raise SystemExit()", "except OSError: raise SystemExit()"), ("raise Other(0)", ""),
        ("if a:\n        raise", ""), ("def f(): raise", "except OSError: def f(): raise"),
        ("class C:\n        raise", "except OSError: class C: raise"), ("print(1); raise", ""),
        ("async def f(): raise", "except OSError: async def f(): raise"),
        ("x = 1\n    y = 2", "except OSError: x = 1"), ("from old import headers", ""), ("import kernels", ""),
        ("from artifact import x", ""), ("import x.cubin", "except OSError: import x.cubin"),
        ("get_cubin()", ""), ("download()", ""), ("Flashinfer.get()", ""),
        ("from . import x", "except OSError: from . import x"),
        *((f"log.{name}('no headers')", f"except OSError: log.{name}('no headers')") for name in (
            "debug", "info", "warning", "warn", "error", "exception", "write", "log",
        )),
        ("print('no headers')", "except OSError: print('no headers')"),
        *((f"headers.{name}()", f"except OSError: headers.{name}()") for name in ("debug", "write")),
        ("headers.fetch()", ""),
        (f"x = '{'y' * 90}'", f"except OSError: x = '{'y' * 39}"),
    ],
)  # fmt: skip
def test_a_handler_that_neither_raises_nor_exits_with_an_error(body: str, found: str) -> None:
    assert swallows(handler(body)) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("x()", ""),
        ("try:\n    x()\nexcept:\n    pass", "except: pass"),
        ("try:\n    x()\nexcept* OSError:\n    pass", "except OSError: pass"),
        ("for a in b:\n    try:\n        x()\n    except OSError:\n        pass\nelse:\n    raise Late", ""),
        ("while a:\n    try:\n        x()\n    except OSError:\n        pass\nelse:\n    exit(1)", ""),
        ("for a in b:\n  try:\n    x()\n  except OSError:\n    pass\nelse:\n  y()", "except OSError: pass"),
        ("for a in b:\n  if c:\n    try:\n      x()\n    except OSError:\n      pass\nelse:\n  raise", ""),
        ("try:\n    x()\nfinally:\n    y()", ""),
        ("def f():\n    try:\n        x()\n    finally:\n        return 1", "finally: return 1"),
        ("for a in b:\n    try:\n        x()\n    finally:\n        break", "finally: break"),
        ("for a in b:\n    try:\n        x()\n    finally:\n        continue", "finally: continue"),
        ("try:\n    x()\nfinally:\n    sys.exit()", "finally: sys.exit()"),
        ("try:\n    x()\nfinally:\n    sys.exit(1)", ""),
        ("with suppress(OSError):\n    x()", "with suppress(OSError)"),
        ("with contextlib.suppress(A, B):\n    x()", "with contextlib.suppress(A, B)"),
        ("async def f():\n    async with suppress(OSError):\n        x()", "with suppress(OSError)"),
        ("with open(x):\n    y()", ""), ("with suppress:\n    y()", ""),
        ("subprocess.call(['x'])", "subprocess.call(…), whose exit status is ignored"),
        *((f"{name}('x')", f"{name}(…), whose exit status is ignored") for name in (
            "call", "os.spawnl", "os.spawnv", "os.spawnlp", "os.spawnvp",
        )),
        ("a = subprocess.call(['x'])", ""),
        ("os.system('x')", "os.system(…)"), ("exit(os.system('x'))", "os.system(…)"),
        ("subprocess.run('x')", "subprocess.run(…) without check=True"), ("run('x')", ""),
        ("subprocess.run('x', check=True)", ""), ("subprocess.run('x', **more)", ""),
        ("a = subprocess.run('x')\na.check_returncode()", ""), ("a = subprocess.run('x')\na.returncode", ""),
        ("subprocess.run('x', check=False)", "subprocess.run(check=False)"),
        ("run('x', check=False)", "run(check=False)"), ("run('x', check=0)", ""),
        *((f"{name}('x')", f"{name}(…), whose exit status is ignored") for name in (
            "os.popen", "getoutput", "subprocess.getoutput", "subprocess.Popen", "Popen",
        )),
        ("Popen('x').returncode", ""), ("Popen('x').exitcode", ""),
        *((f"{name}(f)", f"{name}(…), whose failure is ignored") for name in (
            "Thread", "threading.Thread", "Process", "pool.submit", "loop.create_task", "loop.run_in_executor",
        )),
        ("pool.submit(f).result()", ""), ("pool.submit(f).exception()", ""),
        ("gather(f, return_exceptions=True)", "gather(return_exceptions=True)"),
        ("gather(f, return_exceptions=False)", ""), ("f(check=True)", ""),
        ("exec('os.system(1)')", "os.system(…)"), ("eval('os.system(1)')", "os.system(…)"), ("exec(text)", ""),
        ("exec('not python at all')", ""), ("exec()", ""),
        ("exec('exec(\"os.system(1)\")')", "os.system(…)"), ("compile('os.system(1)')", ""),
        ("exec('Popen(1)')\nreturncode", ""), ("exec('Popen(1).returncode')", ""),
        ("atexit.register(f)\nos._exit", "atexit.register(…) with os._exit"), ("atexit.register(f)", ""),
        ("other.register(f)\nos._exit", ""), ("f(os.system('x'))", "os.system(…)"),
    ],
)  # fmt: skip
def test_every_other_way(text: str, found: str) -> None:
    assert swallows(text) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (handler("pass").replace("x()", "get_headers()"), "except OSError: pass"),
        (handler("pass"), ""),
        ("import own.Headers as h\n" + handler("pass").replace("x()", "h.get()"), "except OSError: pass"),
        ("from own.headers import x\n" + handler("pass"), "except OSError: pass"),
        ("import headers.deep\n" + handler("pass").replace("x()", "headers.deep()"), "except OSError: pass"),
        ("from own import x\n" + handler("pass"), ""),
        ("def x():\n    y()\ndef y():\n    z('headers')\n" + handler("pass"), "except OSError: pass"),
        ("async def x():\n    z('headers')\n" + handler("pass"), "except OSError: pass"),
        ("os.system('get headers')", "os.system(…)"), ("os.system('get')", ""),
        ("with suppress(OSError):\n    headers()", "with suppress(OSError)"),
        ("with suppress(OSError):\n    other()", ""),
    ],
)  # fmt: skip
def test_only_what_does_the_work_counts(text: str, found: str) -> None:
    assert swallows(text, "headers") == found


@pytest.mark.parametrize("text", ["a b", "\0", "(" * 500, "def"])
def test_what_is_no_python_has_no_tree(text: str) -> None:
    assert parse(text) is None


CALLS = (
    "urllib.request.urlopen urllib.request.urlretrieve urlopen urlretrieve requests.get httpx.get httpx.stream "
    "hf_hub_download snapshot_download huggingface_hub.hf_hub_download huggingface_hub.snapshot_download"
)
STARTS = (
    "subprocess.run run subprocess.call call os.spawnl os.spawnv os.spawnlp os.spawnvp os.popen getoutput "
    "subprocess.getoutput subprocess.Popen Popen subprocess.check_call subprocess.check_output os.system check_call "
    "check_output"
)


def fetched(text: str) -> list[tuple[str, tuple[str, ...]]]:
    module = parse(text)
    assert module is not None
    return [(name, command.words if command is not None else ()) for name, command in fetches(module)]


@pytest.mark.parametrize("name", CALLS.split())
def test_calls_that_download(name: str) -> None:
    assert fetched(f"{name}(a)") == [(name, ())]
    assert fetched(f"{name}x(a)") == []


@pytest.mark.parametrize("name", STARTS.split())
def test_calls_that_start_a_command(name: str) -> None:
    assert fetched(f"{name}('pip install  x')") == [("", ("pip", "install", "x"))]
    assert fetched(f"{name}(['pip', x, 'y', 1])") == [("", ("pip", "$", "y", "$"))]
    assert fetched(f"{name}(('pip',))") == [("", ("pip",))]
    assert [fetched(f"{name}({given})") for given in ("", "''", "1", "x")] == [[], [], [], []]


def test_setuptools_rust_builds_with_cargo() -> None:
    for text in ("import setuptools_rust", "import a, setuptools_rust.x", "from setuptools_rust import y"):
        assert fetched(text) == [("", ("cargo", "build"))]
    assert fetched("from a import setuptools_rust") == [("", ("cargo", "build"))]
    assert fetched("from . import a") == fetched("import setuptools") == []
