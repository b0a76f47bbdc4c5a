"""What steps fetch through the scripts, programs and CMake files that they name: which file is meant, and how deep."""

from __future__ import annotations

import pytest

from orchestrator.dockerfile.commands import commands
from orchestrator.dockerfile.stages import parse
from orchestrator.headers import followed
from orchestrator.headers.followed import Tree

CMAKE = "FetchContent_Declare(one URL x)\ninclude(a.cmake)\nFetchContent_Declare(two URL y)\n"


def tree(*copied: str, inline: dict[str, str] | None = None, **files: str) -> Tree:
    """Files of the build context; `__` is a slash and `_sh` an ending, as in `tools__get_sh`."""
    known = {name.replace("__", "/").replace("_sh", ".sh").replace("_py", ".py"): text for name, text in files.items()}
    return Tree(read=lambda path: known.get(path, ""), inline=inline or {}, copied=copied)


def fetched(step: str, known: Tree) -> list[tuple[str, str]]:
    return list(followed.accesses(commands(step), known))


@pytest.mark.parametrize(
    ("step", "file"),
    [
        ("sh get.sh", "get.sh"),
        ("./get.sh", "get.sh"),
        ("sh tools/get.sh", "tools/get.sh"),
        ("sh /src/tools/get.sh", "tools/get.sh"),  # where the step mounts the context, nobody knows
        ("sh /src/../tools//get.sh", "tools/get.sh"),
        ('sh "$HERE/tools/get.sh"', "tools/get.sh"),
        ('sh "${HERE}/tools/get.sh"', "tools/get.sh"),
        ('sh "$HERE//tools/get.sh"', "tools/get.sh"),
        ('sh "$A/$B/get.sh"', ""),
        ('sh "tools/$NAME.sh"', ""),
        ('sh "${A:-x}/get.sh"', ""),
        ("sh other/get.sh", "get.sh"),
        ("sh get.shx", ""),
        ("sh /opt/copied.sh", "deep/copied.sh"),
        ("sh not-copied.sh", ""),
        ("tools/install", "tools/install"),
        ("tools/setup-all", "tools/setup-all"),
        ("tools/build_it", "tools/build_it"),
        ("tools/bootstrap", "tools/bootstrap"),
        ("tools/rebuild", ""),
        ("tools/build.x", ""),
    ],
)
def test_which_file_a_word_names(step: str, file: str) -> None:
    files = dict.fromkeys(
        (
            "get.sh",
            "tools/get.sh",
            "deep/copied.sh",
            "tools/install",
            "tools/setup-all",
            "tools/build_it",
            "tools/bootstrap",
            "tools/rebuild",
            "tools/build.x",
            "get.shx",
        ),
        "curl x",
    )
    known = Tree(read=lambda path: files.get(path, ""), inline={}, copied=("deep/copied.sh", "x/get.sh"))
    assert fetched(step, known) == ([("curl", file)] if file else [])
    assert followed.scripts(commands(step), known) == ({file: "curl x"} if file else {})


def test_the_longest_path_counts_and_a_here_document_before_all() -> None:
    known = tree(get_sh="wget x", tools__get_sh="curl x")
    assert fetched("sh /src/tools/get.sh", known) == [("curl", "tools/get.sh")]
    assert fetched("sh /src/get.sh", known) == [("wget", "get.sh")]
    own = tree(inline={"get.sh": "git clone x", "plain": "curl y"}, get_sh="wget x")
    assert fetched("sh /run/get.sh", own) == [("git clone", "get.sh")]
    assert fetched("sh /run/plain", own) == [("curl", "plain")]
    assert fetched('sh "$X/plain"', own) == [("curl", "plain")]


def test_a_script_beside_the_one_that_names_it() -> None:
    known = tree(tools__outer_sh="sh inner.sh\nsh sub/deep.sh", tools__inner_sh="curl x", tools__sub__deep_sh="wget x")
    assert fetched("tools/outer.sh", known) == [("curl", "tools/inner.sh"), ("wget", "tools/sub/deep.sh")]
    assert list(followed.scripts(commands("tools/outer.sh"), known)) == [
        "tools/outer.sh", "tools/inner.sh", "tools/sub/deep.sh",
    ]  # fmt: skip
    assert fetched("sh inner.sh", known) == []


def test_scripts_are_read_once_and_five_deep() -> None:
    files = {f"s{at}.sh": f"sh s{at + 1}.sh; curl {at}" for at in range(9)}
    known = Tree(read=lambda path: files.get(path, ""), inline={}, copied=())
    assert fetched("sh s0.sh", known) == [("curl", f"s{at}.sh") for at in range(5)]
    assert list(followed.scripts(commands("sh s0.sh"), known)) == [f"s{at}.sh" for at in range(5)]
    circle = tree(a_sh="sh b.sh; curl x", b_sh="sh a.sh; sh b.sh; wget x")
    assert fetched("sh a.sh; sh a.sh", circle) == [("curl", "a.sh"), ("wget", "b.sh")]
    assert list(followed.scripts(commands("sh a.sh"), circle)) == ["a.sh", "b.sh"]


def test_own_accesses_come_before_those_of_scripts() -> None:
    known = tree(a_sh="wget x")
    assert fetched("sh a.sh; curl y; git fetch", known) == [("curl", ""), ("git fetch", ""), ("wget", "a.sh")]


def test_python_is_read_as_python_wherever_it_stands() -> None:
    program = "import requests\nrequests.get(x)\n"
    known = tree(get_py=program, bad_py="requests.get(", tools__run_sh="python3 get.py")
    assert fetched("python3 get.py", known) == [("requests.get", "get.py")]
    assert fetched("python3 bad.py", known) == []
    assert fetched("tools/run.sh", known) == [("requests.get", "get.py")]
    assert fetched("python3 -c 'import requests; requests.get(x)'", known) == [("requests.get", "")]
    inside = tree(run_py="import subprocess\nsubprocess.run(['git', 'clone', 'x'])\nsubprocess.run(['ls'])\n")
    assert fetched("python3 run.py", inside) == [("git clone", "run.py")]
    assert followed.scripts(commands("python3 get.py"), tree(get_py="import os\n# sh a.sh", a_sh="x")) == {
        "get.py": "import os\n# sh a.sh"
    }


def test_a_function_of_a_script_counts_where_the_step_calls_it() -> None:
    known = tree(env_sh="get() { curl x; }\nwget y\n")
    assert fetched(". ./env.sh", known) == [("wget", "env.sh")]
    assert fetched(". ./env.sh; get", known) == [("curl", "env.sh"), ("wget", "env.sh")]


VALUED = [
    "-p",
    "--python",
    "-r",
    "--requirement",
    "--requirements",
    "-c",
    "--constraint",
    "--constraints",
    "-b",
    "--build-constraint",
    "--build-constraints",
    "-t",
    "--target",
    "--prefix",
    "--root",
    "-w",
    "--wheel-dir",
    "-f",
    "--find-links",
    "-i",
    "--index-url",
    "--extra-index-url",
    "--index",
    "--default-index",
    "--cache-dir",
    "-o",
    "--out-dir",
    "--outdir",
    "-d",
    "--dest",
    "--dist-dir",
    "--log",
    "--src",
    "--report",
    "--override",
    "--overrides",
    "--excludes",
    "--cert",
    "--client-cert",
    "--config-file",
    "--torch-backend",
]


@pytest.mark.parametrize("option", VALUED)
def test_the_value_of_an_option_is_no_project(option: str) -> None:
    assert not followed._configures(("pip", "install", option, "/x", "torch"))
    assert followed._configures(("pip", "install", option, "/x", "/src"))


@pytest.mark.parametrize(
    ("words", "configures"),
    [
        ("cmake -S .", True),
        ("/usr/bin/cmake", True),
        ("ccmake .", False),
        ("python setup.py x", True),
        ("pip install .", True),
        ("pip3.12 install ./src", True),
        ("pip install /src", True),
        ("pip install src", False),
        ("pip install ./a.whl", False),
        ("pip install -r ./a.txt", False),
        ("pip install ./a.txt", False),
        ("pip install ./a.in", False),
        ("pip install ./a.tar.gz", True),
        ("pip download .", False),
        ("uv pip install .", True),
        ("uv build", True),
        ("uv sync", False),
        ("poetry build", True),
        ("hatch build", True),
        ("maturin build", True),
        ("hatch run a b build", False),
        ("python3 -m build", True),
        ("python3.12 -m pip wheel x", True),
        ("python -m x bdist_wheel", True),
        ("python -m x y wheel", False),
        ("pip wheel x", True),
        ("apt install .", False),
        ("make build", False),
        ("pip", False),
    ],
)
def test_what_configures_the_project_of_the_context(words: str, configures: bool) -> None:
    assert followed._configures(tuple(words.split())) is configures
    known = Tree(read=lambda path: CMAKE if path == "CMakeLists.txt" else "", inline={}, copied=())
    told = [one for one in fetched(words, known) if one[0].startswith("cmake ")]
    assert told == ([("cmake FetchContent: one, two", "CMakeLists.txt")] if configures else [])


def test_sources_are_told_by_the_file_that_declares_them() -> None:
    files = {"CMakeLists.txt": CMAKE, "a.cmake": "FetchContent_Declare(one URL x)\nFetchContent_Declare(one URL y)\n"}
    known = Tree(read=lambda path: files.get(path, ""), inline={}, copied=())
    assert fetched("curl z; cmake .", known) == [
        ("curl", ""), ("cmake FetchContent: one, two", "CMakeLists.txt"), ("cmake FetchContent: one", "a.cmake"),
    ]  # fmt: skip
    assert not followed._configures(())


def test_what_a_dockerfile_copies() -> None:
    file = parse(
        "FROM x AS one\nCOPY a ./b /dst/\nADD ./c/d.sh /\nCOPY --from=other e /\nRUN cp f /\nFROM one\nCOPY . .\n"
    )
    assert followed.copied(file) == ("a", "b", "c/d.sh", ".")
