"""`orchestrate init`: writes a first matrix.yaml from what the files of a repository say today."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.cli import kit, options
from orchestrator.cli.kit import Heading
from orchestrator.errors import EnvironmentLacksError, MatrixError, UsageError

if TYPE_CHECKING:
    from orchestrator.cli.common import Location


@kit.command(
    "init",
    examples=(
        "orchestrate init",
        "orchestrate init --print",
        "orchestrate init -C ../vllm --file matrix.yaml",
        "orchestrate init --workflow --tool OWNER/REPOSITORY@SHA    (a workflow for GitHub Actions, from the matrix)",
    ),
    conflicts={"--print": ("--force",)},
    needs={"--tool": ("--workflow",)},
)
@options.location
@kit.option("--force", heading=Heading.OUTPUT, is_flag=True, help="Replace a file that exists.")
@kit.option("--print", "show", heading=Heading.OUTPUT, is_flag=True, help="Print the file instead of writing it.")
@kit.option(
    "--workflow", heading=Heading.OUTPUT, is_flag=True,
    help="Write .github/workflows/images.yml for the matrix that exists.",
)  # fmt: skip
@kit.option(
    "--tool", heading=Heading.OUTPUT, default="", metavar="OWNER/REPOSITORY@SHA",
    help="Use this commit of the repository of orchestrate in the workflow.", default_text="a placeholder",
)  # fmt: skip
def command(*, given: Location, force: bool, show: bool, workflow: bool, tool: str) -> None:
    """Write a first matrix.yaml for a repository that has none.

    The file has what the other files say: the bake file of the CUDA image and its targets, CUDA releases, arch lists,
    and a claim for each place. The first `check` shows where the repository contradicts itself. UNKNOWN marks what no
    file says; `plan` refuses it. With --workflow, writes instead the workflow that builds, verifies and publishes.
    """
    if workflow:
        _workflow(given, tool, force=force, show=show)
        return
    from orchestrator.drift.evaluate import Buildx
    from orchestrator.drift.find import find
    from orchestrator.drift.first import UNKNOWN, first_matrix
    from orchestrator.files import write_whole
    from orchestrator.matrix import load
    from orchestrator.matrix.expand import plan
    from orchestrator.sizes import counted
    from orchestrator.ui import streams
    from orchestrator.ui.drift_view import skipped_lines, unclaimed_lines

    root, path = given.root, given.place
    if not root.is_dir():
        raise UsageError(f"{root}: the directory was not found")
    if path.exists() and not (force or show):
        raise UsageError(f"{path} exists already", hint="--force replaces it, --print shows the new one")
    findings = find(root)
    for line in (*skipped_lines(findings.skipped), *unclaimed_lines(findings.mentions)):
        streams.tell(line)
    first = first_matrix(root, findings.groups, Buildx(root))
    if first.note:
        streams.tell(f"note: the bake files are read without buildx: {first.note}")
    hint = "`orchestrate plan` shows them, `orchestrate check` where the files disagree"
    if first.unknown:
        hint = f"write these values in place of {UNKNOWN} in {path}, then run `orchestrate plan`"
    for one in first.unknown:
        streams.tell(f"{path}: {UNKNOWN} is {one}")
    if show:
        streams.say(first.text.rstrip("\n"))
        return
    try:
        write_whole(path, first.text)
    except OSError as error:
        raise EnvironmentLacksError(f"{path}: cannot be written: {error.strerror}") from error
    counts = "written, to be completed"
    if not first.unknown:
        try:
            matrix = load.parse(first.text.encode(), path=path, shown=str(path))
            variants = plan(matrix, fact=lambda _: "0" * 12).variants
        except MatrixError as error:
            streams.say(f"{path}: written, to be corrected")
            raise MatrixError(
                error.message,
                problems=error.problems,
                hint="correct these lines of what was written, then run `orchestrate plan`",
            ) from error
        counts = f"{counted(len(variants), 'variant')}, {counted(len(matrix.spec.claims), 'claim')}"
    streams.say(f"{path}: {counts}")
    streams.tell(f"hint: {hint}")


def _workflow(given: Location, tool: str, *, force: bool, show: bool) -> None:
    """Write the workflow of the matrix."""
    from orchestrator.cli.common import open_matrix
    from orchestrator.files import write_whole
    from orchestrator.matrix import git
    from orchestrator.matrix.expand import plan
    from orchestrator.ui import streams, workflow

    if tool and not workflow.TOOL.fullmatch(tool):
        raise UsageError(
            f"--tool {tool}: expected OWNER/REPOSITORY@SHA, with a full commit of 40 digits",
            hint="a tag can be moved to other code: `git rev-parse TAG` gives its commit",
        )
    matrix = open_matrix(given)
    facts: set[str] = set()

    def fact(name: str) -> str:
        facts.add(name)
        return "0" * 12

    branch = git.default_branch(matrix.root) or git.branch(matrix.root) or "main"
    text = workflow.text(plan(matrix, fact=fact), tool=tool or workflow.UNKNOWN_TOOL, branch=branch, facts=facts)
    path = matrix.root / workflow.PLACE
    if show:
        streams.say(text.rstrip("\n"))
    elif path.exists() and not force:
        raise UsageError(f"{path} exists already", hint="--force replaces it, --print shows the new one")
    else:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, text)
        except OSError as error:
            raise EnvironmentLacksError(f"{path}: cannot be written: {error.strerror}") from error
        streams.say(f"{path}: written")
    if not tool:
        streams.tell(
            f"hint: write the repository of orchestrate and a commit of it in place of {workflow.UNKNOWN_TOOL}"
        )
