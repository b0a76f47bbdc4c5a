"""`orchestrate init`: writes a first matrix.yaml from what the files of a repository say today."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.cli import kit, options
from orchestrator.cli.kit import Heading
from orchestrator.errors import EnvironmentLacksError, UsageError

if TYPE_CHECKING:
    from orchestrator.cli.common import Location


@kit.command(
    "init",
    examples=("orchestrate init", "orchestrate init --print", "orchestrate init -C ../vllm --file matrix.yaml"),
    conflicts={"--print": ("--force",)},
)
@options.location
@kit.option("--force", heading=Heading.OUTPUT, is_flag=True, help="Replace a matrix that exists.")
@kit.option("--print", "print_", heading=Heading.OUTPUT, is_flag=True, help="Print the matrix instead of writing it.")
def command(*, given: Location, force: bool, print_: bool) -> None:
    """Write a first matrix.yaml for a repository that has none.

    It is made of the bake file, Dockerfile arguments and arch lists that are found. It loads and plans as it is; its
    claims show at once where the repository contradicts itself.
    """
    from orchestrator.drift.find import find
    from orchestrator.drift.first import first_matrix
    from orchestrator.files import write_whole
    from orchestrator.matrix import load
    from orchestrator.matrix.expand import plan
    from orchestrator.ui import streams
    from orchestrator.ui.drift_view import count, skipped_lines

    root, path = given.root, given.place
    if not root.is_dir():
        raise UsageError(f"{root}: the directory was not found")
    if path.exists() and not (force or print_):
        raise UsageError(f"{path} exists already", hint="--force replaces it, --print shows the new one")
    findings = find(root)
    for line in skipped_lines(findings.skipped):
        streams.tell(line)
    text = first_matrix(root, findings.groups)
    matrix = load.parse(text.encode(), path=path, shown=str(path))
    variants = plan(matrix, fact=lambda _: "0" * 12).variants
    if print_:
        streams.say(text.rstrip("\n"))
        return
    try:
        write_whole(path, text)
    except OSError as error:
        raise EnvironmentLacksError(f"{path}: cannot be written: {error.strerror}") from error
    counts = f"{count(len(variants), 'variant')}, {count(len(matrix.spec.claims), 'claim')}"
    streams.say(f"{path}: {counts}")
    streams.tell("hint: `orchestrate plan` shows them, `orchestrate check` where the files disagree")
