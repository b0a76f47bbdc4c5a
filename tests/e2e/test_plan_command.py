"""`orchestrate plan` as it is installed: its formats, its errors, and what becomes of pipes, disks and terminals."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.engine import call
from tests.unit.matrix.support import EXAMPLE, SMALL

COMMAND = Path(sys.executable).parent / "orchestrate"


def orchestrate(root: Path, *words: str | bytes, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(COMMAND), *words], cwd=root, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL,
        env={**os.environ, **env},
    )  # fmt: skip


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with the matrix of the design, and one directory below it."""
    root = tmp_path_factory.mktemp("project")
    (root / "matrix.yaml").write_text(EXAMPLE)
    (root / "below").mkdir()
    for line in ("init -q", "add -A", "commit -q -m one", "tag v1", "checkout -q -b a/b"):
        call("git", "-C", root, "-c", "user.name=t", "-c", "user.email=t@example.org", *line.split())
    return root


# -- formats ----------------------------------------------------------------------------------------------------------


def test_the_git_facts_are_those_of_the_checkout(project: Path) -> None:
    head = call("git", "-C", project, "rev-parse", "HEAD").stdout.strip()
    done = orchestrate(
        project, "plan", "--format", "json", "--arg", "S={git.sha}", "--arg", "K={git.short}",
        "--arg", "B={git.branch}", "--arg", "T={git.tag}", "--variant", "openai-cu130-amd64-python3-12",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    plan = json.loads(done.stdout)
    assert plan["schema"] == 1
    args = plan["variants"][0]["args"]
    assert (args["S"], args["K"], args["B"], args["T"]) == (head, head[:12], "a-b", "v1")
    assert plan["variants"][0]["tags"] == [f"ghcr.io/acme/vllm-openai:{head}-py3.12-x86_64"]


def test_changed_files_are_told_once_they_are_tracked(project: Path, tmp_path: Path) -> None:
    root = tmp_path / "copy"
    shutil.copytree(project, root)
    (root / "untracked").write_text("x")
    words = ("plan", "--format", "json", "--variant", "openai-cu130-amd64-python3-12", "--arg", "D={git.dirty}")
    one = json.loads(orchestrate(root, *words).stdout)
    assert (one["variants"][0]["args"]["D"], one["notes"]) == ("", [])
    (root / "matrix.yaml").write_text(EXAMPLE + "# changed\n")
    assert json.loads(orchestrate(root, *words).stdout)["variants"][0]["args"]["D"] == "-dirty"
    (note,) = json.loads(orchestrate(root, *words[:-2]).stdout)["notes"]
    assert note.startswith("files that git tracks differ from the commit")
    assert note in orchestrate(root, "plan").stdout


def test_git_facts_from_the_environment_win(project: Path) -> None:
    words = ("plan", "--format", "json", "--arg", "B={git.branch}")
    done = orchestrate(project, *words, ORCHESTRATE_GIT_SHA="abc", ORCHESTRATE_GIT_BRANCH="x/y")
    plan = json.loads(done.stdout)
    assert plan["variants"][0]["args"]["B"] == "x-y"
    assert plan["variants"][0]["tags"][0].endswith(":abc-py3.12-x86_64-cu129")


def test_without_a_checkout_a_git_placeholder_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "matrix.yaml").write_text(EXAMPLE)
    done = orchestrate(tmp_path, "plan")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "error: {git.sha} has no value: . is not a git checkout with a commit",
        "hint: run inside a checkout, or set ORCHESTRATE_GIT_SHA",
    ]
    (tmp_path / "matrix.yaml").write_text(SMALL)
    assert orchestrate(tmp_path, "plan").returncode == 0  # who uses no such placeholder needs no git


# A machine whose own configuration trusts every directory must not hide what git says elsewhere.
SOMEBODY_ELSES = {"GIT_TEST_ASSUME_DIFFERENT_OWNER": "1", "GIT_CONFIG_GLOBAL": "/dev/null"}


@pytest.mark.parametrize(
    ("placeholder", "prepare", "env", "why"),
    [
        ("git.tag", "tag -d v1", {}, "no tag points at the commit that is checked out in ."),
        ("git.tag", "tag -d v1\ntag far HEAD~", {}, "no tag points at the commit that is checked out in ."),
        ("git.branch", "checkout -q --detach", {}, "the checkout in . is on no branch (detached)"),
        ("git.sha", "checkout -q --orphan new", {}, ". is not a git checkout with a commit"),
        ("git.sha", "", SOMEBODY_ELSES, "git says: detected dubious ownership in repository"),
        ("git.sha", "", {"PATH": "/nonexistent"}, "git is not installed or not on PATH"),
    ],
)
def test_a_fact_that_git_does_not_know_says_why(
    project: Path, tmp_path: Path, placeholder: str, prepare: str, env: dict[str, str], why: str
) -> None:
    root = tmp_path / "copy"
    shutil.copytree(project, root)
    commit = ["-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-q", "--allow-empty", "-m", "two"]
    for words in (commit, *(line.split() for line in prepare.splitlines())):
        call("git", "-C", root, *words)
    (root / "matrix.yaml").write_text(SMALL)
    done = orchestrate(root, "plan", "--arg", f"A={{{placeholder}}}", **env)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {{{placeholder}}} has no value: {why}")
    variable = f"ORCHESTRATE_GIT_{placeholder.removeprefix('git.').upper()}"
    assert done.stderr.splitlines()[-1] == f"hint: run inside a checkout, or set {variable}"
    assert orchestrate(root, "plan", "--arg", f"A={{{placeholder}}}", **env, **{variable: "x"}).returncode == 0


def test_github_reads_one_line(project: Path) -> None:
    done = orchestrate(project, "plan", "--format", "github", "--cuda", "13.0", "--axis", "python=3.13")
    assert done.stdout.count("\n") == 1
    include = json.loads(done.stdout)["include"]
    assert [row["variant"] for row in include] == [
        "openai-cu130-amd64-python3-13", "openai-cu130-arm64-python3-13", "openai-ubuntu2404-cu130-amd64-python3-13",
        "openai-ubuntu2404-cu130-arm64-python3-13",
    ]  # fmt: skip
    assert {row["runner"] for row in include} == {"ubuntu-24.04", "ubuntu-24.04-arm"}


def test_explain_names_file_and_command_line(project: Path) -> None:
    done = orchestrate(
        project, "plan", "--explain", "openai-cu130-arm64-python3-12", "--arg", "max_jobs=2", "-f", "matrix.yaml"
    )
    assert "  max_jobs = 2    command line" in done.stdout.splitlines()
    assert "variants.args.CUDA_VERSION (matrix.yaml:25:19)" in done.stdout
    gone = orchestrate(project, "plan", "--explain", "openai-cu129-arm64-python3-12")
    assert gone.returncode == 0
    assert gone.stdout == (
        "openai-cu129-arm64-python3-12 is not built: no GB10 support below 13.0    exclude[0] (matrix.yaml:34:5)\n"
    )
    wrong = orchestrate(project, "plan", "--explain", "openai-cu130-arm64")
    assert wrong.returncode == 2
    assert "did you mean openai-cu130-arm64-python3-1" in wrong.stderr


BAKE = """\
target "app" {
  dockerfile-inline = "FROM scratch\\nCOPY matrix.yaml /x\\nARG A\\nARG B\\nLABEL built=$${A}\\n"
}
"""


def test_bake_files_run_by_hand_as_printed(tmp_path: Path, engine: str, tmp_image: str) -> None:
    text = (
        SMALL.replace("  tags:", "  args: {A: '${x} %{y}', B: '{archs.torch}'}\n  tags:") + 'cache: {backend: "off"}\n'
    )
    (tmp_path / "matrix.yaml").write_text(text)
    (tmp_path / "bake.hcl").write_text(BAKE)
    done = orchestrate(tmp_path, "plan", "--format", "bake", "--image", tmp_image)
    assert done.returncode == 0, done.stderr
    (tmp_path / "variants.json").write_text(done.stdout)
    note, *commands = done.stderr.splitlines()
    assert note == "# save the above as variants.json, then in .:"
    assert commands == ["docker buildx bake -f variants.json app-cu130-amd64"]
    words = shlex.split(commands[0])
    resolved = subprocess.run([*words, "--print"], cwd=tmp_path, capture_output=True, text=True, check=True)
    target = json.loads(resolved.stdout)["target"]["app-cu130-amd64"]
    assert target["args"] == {"A": "$${x} %%{y}", "B": "8.0 9.0"}
    assert target["platforms"] == ["linux/amd64"]
    for more in ([], ["--set", "*.output=type=image,push=true"]):
        built = subprocess.run([*words, *more], cwd=tmp_path, capture_output=True, text=True)
        assert built.returncode == 0, built.stderr
        pushed = call("docker", "buildx", "imagetools", "inspect", f"{tmp_image}:app-cu130-amd64", check=False)
        assert (pushed.returncode == 0) == bool(more)  # as printed it pushes nothing
    shown = call(
        "docker", "buildx", "imagetools", "inspect", "--format", "{{json .Image}}", f"{tmp_image}:app-cu130-amd64"
    )
    image = json.loads(shown.stdout)
    labels = (image.get("linux/amd64") or image)["config"]["Labels"]
    assert labels["built"] == "${x} %{y}"
    assert labels["com.orchestrate.archs"] == "8.0 9.0"


def test_kernels_without_a_filter_say_what_is_missing(project: Path) -> None:
    done = orchestrate(project, "plan", "--kernels")
    assert done.returncode == 2
    assert "--kernels needs `filter:` in the matrix" in done.stderr


# -- places and errors ------------------------------------------------------------------------------------------------


def test_the_matrix_is_found_from_elsewhere(project: Path, tmp_path: Path) -> None:
    here = orchestrate(project, "plan").stdout
    assert here.startswith("ghcr.io/acme/vllm-openai: 12 variants\n")
    assert orchestrate(tmp_path, "plan", "-C", str(project)).stdout == here.replace(
        "(matrix.yaml", f"({project}/matrix.yaml"
    )
    below = orchestrate(project / "below", "plan", "--file", "../matrix.yaml")
    assert below.stdout == here.replace("(matrix.yaml", "(../matrix.yaml")
    assert orchestrate(tmp_path, "plan", "-C", str(project / "below"), "-f", "../matrix.yaml").returncode == 0
    assert orchestrate(tmp_path, "plan", "-C", str(tmp_path), "-f", f"{project}/matrix.yaml").returncode == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("plan", "-C", "/nonexistent"), "error: /nonexistent/matrix.yaml: no such file"),
        (("plan", "-f", "below"), "error: below: cannot be read: Is a directory"),
        (("plan", "-f", "matrix.yaml/x"), "error: matrix.yaml/x: cannot be read: Not a directory"),
        (("plan", "-f", "x" * 5000), "cannot be read: File name too long"),
        (("plan", "--cuda", "13.1"), "error: --cuda 13.1: not in matrix.yaml; did you mean 13.0?"),
        (("plan", "--arg", "X"), "error: --arg X: expected NAME=VALUE"),
        (("plan", "--format", "yaml"), "'yaml' is not one of 'table', 'json', 'github', 'bake'"),
        (("plan", "more"), "error: Got unexpected extra argument"),
        (("plna",), "error: No such command 'plna'."),
        (("plan", "--cdua", "13.0"), "error: No such option"),
        (("plan", "--archs", "hopper"), "error: --archs: 'hopper': names mean different architectures"),
    ],
)
def test_wrong_words_end_with_two(project: Path, words: tuple[str, ...], message: str) -> None:
    done = orchestrate(project, *words)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert message in done.stderr.replace("\n", " ")
    assert "Traceback" not in done.stderr


def test_a_word_that_is_no_utf8(project: Path) -> None:
    done = orchestrate(project, "plan", "--arg", b"X=\xff")
    assert (done.returncode, done.stderr) == (2, "error: X=\\udcff: the argument is not valid UTF-8\n")


def test_all_problems_of_a_file_and_their_annotations(tmp_path: Path) -> None:
    (tmp_path / "matrix.yaml").write_text(
        SMALL.replace("8.0 9.0", "8.0 sm_90").replace("version: 13.0.2", "version: 99")
    )
    done = orchestrate(tmp_path, "plan", GITHUB_ACTIONS="true")
    assert done.returncode == 2
    assert done.stderr.startswith("error: matrix.yaml: 2 problems\nmatrix.yaml:4:23: arch list all: 'sm_90'")
    assert done.stdout == ""
    assert [line.split("::")[1] for line in done.stderr.splitlines() if line.startswith("::")] == [
        "error file=matrix.yaml,line=4,col=23",
        "error file=matrix.yaml,line=6,col=21",
    ]


def test_without_words_the_help_is_shown(project: Path) -> None:
    done = orchestrate(project)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Exit codes:" in done.stdout
    assert "\n  orchestrate plan  " in done.stdout


def test_the_schema_is_the_committed_one(project: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    assert orchestrate(project, "schema").stdout == (root / "matrix.schema.json").read_text()
    names = orchestrate(project, "schema", "--placeholders").stdout
    assert re.search(r"^\{archs\.torch\} +effective archs", names, re.MULTILINE)


# -- pipes, disks, terminals ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", ["plan", "plan --format json", "plan --format bake", "schema", "--help"])
def test_a_reader_that_goes_away_is_no_error(project: Path, words: str) -> None:
    script = f'set -o pipefail; {COMMAND} {words} | true; echo "${{PIPESTATUS[0]}}"'
    (project / "docker").mkdir(exist_ok=True)
    (project / "docker" / "docker-bake.hcl").write_text(
        "".join(f'target "{name}" {{}}\n' for name in ("openai", "openai-ubuntu2404"))
    )
    for _ in range(2):
        done = subprocess.run(["bash", "-c", script], cwd=project, capture_output=True, text=True, timeout=60)
        assert done.stdout == "0\n"
        assert "Traceback" not in done.stderr
        assert "Exception" not in done.stderr


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize(("words", "code"), [("plan", 0), ("--help", 0), ("plan -f none.yaml", 2)])
def test_streams_that_the_caller_closed(project: Path, words: str, code: int, closed: str) -> None:
    """Python has no object for them; and the next file that is opened takes their number."""
    script = f"{COMMAND} {words} {closed}"
    done = subprocess.run(["bash", "-c", script], cwd=project, capture_output=True, text=True, timeout=60)
    assert (done.returncode, "Traceback" in done.stderr) == (code, False)
    assert bool(done.stdout) == (closed == "2>&-" and code == 0)


@pytest.mark.parametrize("words", ["plan", "plan --format json", "--help"])
def test_a_full_disk_is_told(project: Path, words: str) -> None:
    done = subprocess.run(
        ["bash", "-c", f"{COMMAND} {words} > /dev/full"], cwd=project, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (5, "error: No space left on device\n")


@pytest.mark.parametrize(
    "words", [("plan", "--format", "json"), ("plan", "--explain", "app-cu130-amd64"), ("plan",)], ids=" ".join
)
def test_a_terminal_without_the_characters(tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "matrix.yaml").write_text(SMALL.replace("  tags:", "  args: {A: grün → 🎉}\n  tags:"))
    done = orchestrate(tmp_path, *words, PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert done.returncode == 0, done.stderr
    if "json" in words:
        assert json.loads(done.stdout)["variants"][0]["args"]["A"] == "grün → 🎉"
    if "--explain" in words:
        assert "A = gr\\xfcn \\u2192 \\U0001f389" in done.stdout


def test_colours_are_for_terminals(project: Path) -> None:
    words = ("plan", "--explain", "openai-cu130-amd64-python3-12")
    assert "\x1b" not in orchestrate(project, *words, TERM="xterm").stdout
    assert "\x1b[1m" in orchestrate(project, *words, FORCE_COLOR="1", TERM="xterm").stdout
    assert "\x1b[3" not in orchestrate(project, *words, FORCE_COLOR="1", NO_COLOR="1", TERM="xterm").stdout


def test_a_plan_of_thousands_ends_soon_and_in_order(tmp_path: Path) -> None:
    from tests.unit.matrix.test_variants import large

    (tmp_path / "matrix.yaml").write_text(large(5000))
    done = orchestrate(tmp_path, "plan", "--format", "json")
    assert [v["axes"]["n"] for v in json.loads(done.stdout)["variants"]] == [f"v{n}" for n in range(5000)]


# -- against another commit -------------------------------------------------------------------------------------------


def test_a_plan_is_compared_with_another_commit(project: Path, tmp_path: Path) -> None:
    root = tmp_path / "copy"
    shutil.copytree(project, root)
    text = EXAMPLE.replace("8.9 9.0 10.0 11.0 12.0+PTX", "8.9 9.0 11.0 12.0+PTX", 1).replace(
        "max_jobs: 8", "max_jobs: 4"
    )
    (root / "matrix.yaml").write_text(text)
    summary = tmp_path / "summary.md"
    done = orchestrate(root / "below", "plan", "--diff", "v1", "--target", "openai", GITHUB_STEP_SUMMARY=str(summary))
    assert done.returncode == 0, done.stderr
    head = call("git", "-C", root, "rev-parse", "HEAD").stdout[:12]
    lines = done.stdout.splitlines()
    assert lines[0] == f"6 changed, 0 the same against v1 ({head})"
    assert "    argument max_jobs: 8 -> 4" in lines
    assert "    archs: -10.0" in lines
    assert summary.read_text().startswith("### Plan: 6 changed, 0 the same against `v1`")
    read = json.loads(orchestrate(root, "plan", "--diff", head, "--format", "json", "--platform", "linux/arm64").stdout)
    assert [edit["what"] for edit in read["changed"][0]["values"]] == ["argument max_jobs"]
    assert read["base"]["ref"] == head


def test_a_commit_without_the_matrix_and_one_that_is_not_there(project: Path, tmp_path: Path) -> None:
    root = tmp_path / "copy"
    shutil.copytree(project, root)
    (root / "other.yaml").write_text(EXAMPLE)
    done = orchestrate(root, "plan", "--file", "other.yaml", "--diff", "HEAD", "--cuda", "13.0")
    assert (done.returncode, done.stderr) == (0, "HEAD has no other.yaml: every variant is new\n")
    assert done.stdout.startswith("8 added, 0 the same against HEAD")
    for ref in ("none", "--output=hit", "v1:matrix.yaml"):
        done = orchestrate(root, "plan", f"--diff={ref}")
        assert done.returncode == 2, done.stdout
        assert done.stderr.startswith(f"error: {ref}: a commit of that name was not found in the checkout of")
    assert not (root / "hit").exists()
    (root / "matrix.yaml").write_text("version: 1\n")
    git = ("git", "-C", root, "-c", "user.name=t", "-c", "user.email=t@example.org")
    call(*git, "commit", "-qam", "broken")
    (root / "matrix.yaml").write_text(EXAMPLE)
    done = orchestrate(root, "plan", "--diff", "HEAD")
    assert done.returncode == 2
    assert "HEAD:matrix.yaml" in done.stderr
    assert "cannot be combined with --diff" in orchestrate(root, "plan", "--diff", "HEAD", "--status").stderr
    assert "expected table or json" in orchestrate(root, "plan", "--diff", "HEAD", "--format", "bake").stderr
