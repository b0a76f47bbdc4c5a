"""`orchestrate verify`: verifies that an image, a wheel or a library holds GPU code for what was promised."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli import common, kit, options
from orchestrator.cli.kit import Heading
from orchestrator.cli.outputs import PAGE, require_replaceable, require_writable
from orchestrator.errors import Problem, UsageError, VerificationError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.cli.common import Selection
    from orchestrator.cuda.arch import Arch
    from orchestrator.image.verdict.policy import Policy
    from orchestrator.image.verdict.scanned import Scanned
    from orchestrator.image.verdict.verify import Verdict


_MOST_NAMES = 4  # libraries that the first line names
_MOST_PROBLEMS = 20  # that follow it


class VerifyFormat(StrEnum):
    """How a verdict is printed."""

    TABLE = "table"
    JSON = "json"
    SARIF = "sarif"


@kit.command(
    "verify",
    examples=(
        "orchestrate verify ghcr.io/acme/app:1.2                     what its labels promise",
        "orchestrate verify IMAGE --device thor                      does it run on mine, and how",
        'orchestrate verify app.whl --archs "9.0 10.0 11.0"          a wheel, a .so or a directory',
        "orchestrate verify IMAGE --variant openai-cu130-arm64       what matrix.yaml promises",
        "orchestrate verify --compare OLD NEW                        architectures gained and lost",
        "orchestrate verify IMAGE --html matrix.html --format json",
        "orchestrate verify IMAGE --cost                             bytes by architecture, and twice",
        "orchestrate verify IMAGE --signature                        by publish.sign of the matrix",
        "orchestrate verify IMAGE --format sarif                     for code scanning",
    ),
    conflicts={
        "--compare": (
            "--archs", "--device", "--require", "--allow-ptx", "--html", "--cost",
            "--cuda", "--target", "--axis", "--variant", "--file", "--directory",
        ),
        "--fail-on-lost": (
            "--archs", "--device", "--require", "--allow-ptx", "--html", "--cost",
            "--cuda", "--target", "--axis", "--variant", "--file", "--directory",
        ),
        "--signature": (
            "--compare", "--fail-on-lost", "--archs", "--device", "--require", "--allow-ptx", "--html", "--deep",
            "--cost", "--format", "--no-cache",
            "--cuda", "--target", "--axis", "--variant", "--platform",
        ),
        "--archs": ("--device", "--cuda", "--target", "--axis", "--variant"),
        "--device": ("--cuda", "--target", "--axis", "--variant"),
        "--cost": ("--format=sarif",),
    },
)  # fmt: skip
@kit.argument(
    "sources", nargs=-1, required=True, metavar="SOURCE",
    explanation="Image (engine first, then registry), archive, OCI layout, wheel, shared object or directory.",
)  # fmt: skip
@options.selection()
@kit.option(
    "--archs", heading=Heading.BEHAVIOUR, default="", metavar="LIST",
    help="Verify code for these architectures, as in '9.0 11.0'.", default_text="the image's labels",
)  # fmt: skip
@kit.option(
    "--device", heading=Heading.BEHAVIOUR, default="", metavar="GPU",
    help="Verify that it runs on this GPU: 11.0, thor, 'RTX 5090'.", default_text="the image's labels",
    shell_complete=options.completed("device"),
)  # fmt: skip
@kit.option("--compare", heading=Heading.BEHAVIOUR, is_flag=True, help="Compare two sources, the old one first.")
@kit.option(
    "--fail-on-lost", heading=Heading.BEHAVIOUR, is_flag=True,
    help="Compare two sources, and exit 4 if a library lost code.",
)  # fmt: skip
@kit.option(
    "--require", heading=Heading.BEHAVIOUR, multiple=True, metavar="GLOB",
    help="Judge these libraries, as in '*/app/_C*.so'.", default_text="verify.require of the matrix",
)  # fmt: skip
@kit.option("--allow-ptx", heading=Heading.BEHAVIOUR, is_flag=True, help="Accept PTX alone as enough.")
@kit.option(
    "--deep", heading=Heading.BEHAVIOUR, is_flag=True,
    help="Compare kernel by kernel inside each translation unit (slower).",
)  # fmt: skip
@kit.option(
    "--cost", heading=Heading.BEHAVIOUR, is_flag=True,
    help="Show what each architecture costs, what is there twice, and what a shorter list saves (reads as --deep).",
)  # fmt: skip
@kit.option(
    "--html", heading=Heading.OUTPUT, type=click.Path(path_type=Path), metavar="FILE",
    help="Write the table to this file as an HTML page.", default_text="none",
)  # fmt: skip
@options.formats(VerifyFormat, explanation="Print the verdict in this format.")
@kit.option(
    "--signature", heading=Heading.BEHAVIOUR, is_flag=True,
    help="Verify the cosign signature by publish.sign of the matrix, and nothing else.",
)  # fmt: skip
@kit.option("--no-cache", heading=Heading.CACHE, is_flag=True, help="Read every layer again.")
def command(
    *,
    sources: tuple[str, ...],
    given: Selection,
    archs: str,
    device: str,
    compare: bool,
    fail_on_lost: bool,
    require: tuple[str, ...],
    allow_ptx: bool,
    deep: bool,
    cost: bool,
    html: Path | None,
    format_: VerifyFormat,
    signature: bool,
    no_cache: bool,
) -> None:
    """Verify from an image's own bytes which GPUs it has code for.

    Exits 4 if code is missing for an architecture that was promised: by the image's labels, by --archs, by --device,
    or by the variant of matrix.yaml that the options select. The image is not run, and no GPU is needed.
    """
    if len(given.platform) > 1:
        raise UsageError("--platform: expected one platform, because one image has one")
    if signature:
        _verify_signatures(sources, given)
        return
    reader = _Reader(platform="".join(given.platform), deep=deep or cost, keep=not no_cache)
    if compare or fail_on_lost:
        lost = _compare(reader, sources, format_)
        if fail_on_lost and lost:
            raise VerificationError(f"{sources[1]} lost code that {sources[0]} holds", problems=lost)
        return
    if len(sources) != 1:
        raise UsageError(
            f"SOURCE: expected one source, found {len(sources)}", hint="to compare two, use --compare OLD NEW"
        )
    if html is not None:
        require_replaceable(html, "--html", PAGE)
        require_writable(html, "--html")
    promise = _explicit_promise(archs, device, given)
    scanned = reader.read(sources[0])
    judging = _Judging(
        require=require, allow_ptx=allow_ptx, whole_ptx=bool(device), html=html, format_=format_, cost=cost
    )
    _verify(scanned, promise, given, judging)


def _verify_signatures(sources: Sequence[str], given: Selection) -> None:
    from orchestrator.publish.sign import Cosign
    from orchestrator.ui import streams

    matrix = common.open_matrix(given)
    spec = matrix.spec.publish.sign if matrix.spec.publish is not None else None
    if spec is None:
        raise UsageError(
            f"--signature: publish.sign was not found in {matrix.positions.file}",
            hint="publish: {sign: {private_key: cosign.key, public_key: cosign.pub}}",
        )
    for source in sources:
        Cosign(spec=spec, root=matrix.root.absolute()).verify(source)
        streams.say(f"{source}: the signature is valid")


class _Reader:
    """Reads sources with the options of one command line."""

    def __init__(self, *, platform: str, deep: bool, keep: bool) -> None:
        self.platform = platform
        self.deep = deep
        self.keep = keep

    def read(self, source: str) -> Scanned:
        """Read one source, with progress on standard error."""
        from orchestrator.image.layers.store import LayerStore, default_directory
        from orchestrator.image.verdict.scanned import scan_source
        from orchestrator.ui.layer_progress import layers_read

        store = LayerStore(default_directory() if self.keep else None)
        with layers_read() as progress:
            return scan_source(source, platform=self.platform, deep=self.deep, store=store, progress=progress)


class _Judging:
    """How one command line judges and shows."""

    def __init__(
        self,
        *,
        require: Sequence[str],
        allow_ptx: bool,
        whole_ptx: bool,
        html: Path | None,
        format_: VerifyFormat,
        cost: bool,
    ) -> None:
        self.require = require
        self.allow_ptx = allow_ptx
        self.whole_ptx = whole_ptx  # "will it run on mine": compiled at first use is a yes
        self.html = html
        self.format = format_
        self.cost = cost


def _explicit_promise(archs: str, device: str, given: Selection) -> tuple[tuple[Arch, ...], str, Policy | None]:
    """What the command line says was promised, in whose words, and the matrix's policy where a variant was named.

    Raises:
        UsageError: Several promises, or a list, device or variant that does not exist.
    """
    from orchestrator.cuda.arch import ArchSyntaxError, parse_list
    from orchestrator.cuda.devices import UnknownDeviceError, find_device

    selecting = bool(given.cuda or given.target or given.axis or given.variant)
    if device:
        try:
            return (find_device(device),), f"--device {device}", None
        except UnknownDeviceError as error:
            hint = f"one of: {', '.join(error.candidates)}" if error.candidates else did_you_mean(device, error.known)
            raise UsageError(f"--device {device}: {error}", hint=hint) from error
    if archs:
        try:
            return parse_list(archs), "--archs", None
        except ArchSyntaxError as error:
            raise UsageError(f"--archs: {error}") from error
    if selecting:
        return _variant_promise(given)
    return (), "", None


def _variant_promise(given: Selection) -> tuple[tuple[Arch, ...], str, Policy]:
    from orchestrator.image.verdict.policy import from_spec

    plan = common.open_plan(given)
    if len(plan.variants) != 1:
        names = ", ".join(variant.id for variant in plan.variants[:6])
        raise UsageError(
            f"the options select {len(plan.variants)} variants, and one image holds one", hint=f"choose one of: {names}"
        )
    variant = plan.variants[0]
    return variant.archs.effective, f"variant {variant.id}", from_spec(plan.matrix.spec.verify)


def _verify(
    scanned: Scanned,
    promise: tuple[tuple[Arch, ...], str, Policy | None],
    given: Selection,
    judging: _Judging,
) -> None:
    from orchestrator.image.verdict.verify import verdict

    promised, promised_by, policy = promise
    if not promised:
        promised, promised_by = scanned.promised, "the image's labels"
    result = verdict(scanned, promised, _policy(scanned, policy, given, judging), promised_by=promised_by)
    _show(result, judging)
    if not promised and result.ok and not judging.cost:
        _unjudged(scanned)
    if not result.ok:
        from orchestrator.image.verdict.explain import shortened

        missing = sorted({problem.file for problem in result.problems})
        raise VerificationError(
            f"{scanned.source} does not hold what was promised: {len(result.problems)} "
            f"problem{'s' if len(result.problems) != 1 else ''} in {shortened(missing, _MOST_NAMES)}",
            problems=_first(result.problems),
        )


def _first(problems: Sequence[Problem]) -> list[Problem]:
    """The first problems, and how many more there are."""
    more = len(problems) - _MOST_PROBLEMS
    rest = [Problem(what=f"{more} more problems like these (--format json lists them)")] if more > 0 else []
    return [*problems[:_MOST_PROBLEMS], *rest]


def _unjudged(scanned: Scanned) -> None:
    """Say that nothing was judged; for an image that is an error, because a pipeline would take silence for a pass."""
    hint = "name what it must hold: --archs '9.0 10.0', --device thor, or a variant of matrix.yaml"
    if scanned.image:
        raise UsageError(
            f"{scanned.source} has no label that says what was promised, so nothing was verified", hint=hint
        )
    from orchestrator.ui import streams

    streams.tell(f"nothing was promised, so nothing was judged; {hint}")


def _policy(scanned: Scanned, policy: Policy | None, given: Selection, judging: _Judging) -> Policy:
    """The policy of the named matrix, of matrix.yaml for an image that was built from one, else the default."""
    from msgspec.structs import replace

    from orchestrator.image.verdict.policy import Policy, Requirement, from_spec
    from orchestrator.labels import VARIANT

    found = policy
    named = given.file is not None
    if found is None and (named or (scanned.labels.get(VARIANT) and given.path.is_file())):
        found = from_spec(common.open_matrix(given).spec.verify)
    found = found or Policy()
    if judging.require:
        found = replace(found, require=tuple(Requirement(glob=glob) for glob in judging.require))
    return replace(found, allow_ptx=found.allow_ptx or judging.allow_ptx, whole_ptx=judging.whole_ptx)


def _show(result: Verdict, judging: _Judging) -> None:
    from orchestrator.image.verdict.cost import cost

    costs = cost(result.scanned.files, result.ccs) if judging.cost else None
    if judging.html is not None:
        from orchestrator.files import write_whole
        from orchestrator.ui import report

        try:
            write_whole(judging.html, report.page(result, costs))
        except OSError as error:
            raise UsageError(f"--html {judging.html}: {error.strerror}") from error
    from orchestrator.ui import streams

    match judging.format:
        case VerifyFormat.JSON:
            streams.write_json(result.to_json() | ({"cost": costs.to_json()} if costs else {}))
        case VerifyFormat.SARIF:
            from orchestrator.ui import kernel_sarif

            streams.write_json(kernel_sarif.verdict_log(result))
        case VerifyFormat.TABLE:
            from orchestrator.ui import console, cost_view, kernel_table

            kernel_table.show(result, console.out())
            if costs is not None:
                cost_view.show(costs, console.out())


def _compare(reader: _Reader, sources: Sequence[str], format_: VerifyFormat) -> tuple[Problem, ...]:
    """Show what changed, also in the job summary; what the new source lost."""
    from orchestrator.image.verdict.compare import compare
    from orchestrator.ui import comparison_view, streams

    if len(sources) != 2:
        raise UsageError(f"--compare: expected two sources, the old one first, found {len(sources)}")
    result = compare(*(reader.read(source) for source in sources))
    match format_:
        case VerifyFormat.JSON:
            streams.write_json(result.to_json())
        case VerifyFormat.SARIF:
            from orchestrator.ui import kernel_sarif

            streams.write_json(kernel_sarif.comparison_log(result))
        case VerifyFormat.TABLE:
            from orchestrator.ui import console, kernel_table

            kernel_table.show_comparison(result, console.out())
    if trouble := comparison_view.append(result, env=os.environ):
        streams.tell(f"warning: {trouble}")
    return result.lost
