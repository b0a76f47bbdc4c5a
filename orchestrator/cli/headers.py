"""`orchestrate headers …`: FlashInfer bundles, from a wheel's pins to a directory that a build can take."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.cli import common
from orchestrator.errors import DriftError, UsageError, VerificationError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from orchestrator.headers.lock import Lock
    from orchestrator.headers.request import Options
    from orchestrator.headers.sources import Source
    from orchestrator.headers.store import Store
    from orchestrator.matrix.schema import HeadersSpec

_HELP = """FlashInfer's TRTLLM headers for images that run without a network.

FlashInfer compiles these kernels on the user's machine, against headers that it downloads at that moment. A bundle
carries them: locked by sha256, fetched once, placed and proven inside the build.
"""

_EXAMPLES = {
    "lock": (
        "orchestrate headers lock --flashinfer 0.6.13",
        "orchestrate headers lock --from flashinfer_python-0.6.13-py3-none-any.whl",
        "orchestrate headers lock --check",
    ),
    "fetch": (
        "orchestrate headers fetch",
        "orchestrate headers fetch --mirror https://mirror.example/flashinfer",
        "orchestrate headers fetch --mirror flashinfer_cubin-0.6.13-py3-none-any.whl",
    ),
    "verify": (
        "orchestrate headers verify",
        "orchestrate headers verify --repair",
        "orchestrate headers verify --image ghcr.io/acme/vllm-openai:cu130",
        "orchestrate headers verify /opt/flashinfer/cubins",
    ),
    "export": (
        "orchestrate headers export",
        "orchestrate headers export -o bundle/ && docker buildx build --build-context flashinfer-headers=bundle/ …",
    ),
    "import": ("orchestrate headers import flashinfer-headers-0.6.13.tar.zst",),
    "serve": (
        "orchestrate headers serve --port 8471",
        "FLASHINFER_CUBINS_REPOSITORY=http://127.0.0.1:8471/ python my_job.py",
    ),
    "gc": ("orchestrate headers gc --lock flashinfer.lock.json --lock ../other/flashinfer.lock.json",),
    "status": (
        "orchestrate headers status",
        "orchestrate headers status --cuda 13.0 --format json",
    ),
}

LockOption = Annotated[
    Path | None, typer.Option("--lock", help="Lock file; headers.lock of the matrix by default.", metavar="FILE")
]
StoreOption = Annotated[
    Path | None,
    typer.Option("--store", envvar="ORCHESTRATE_HEADERS_STORE", help="Where the files are kept.", metavar="DIR"),
]
MirrorOption = Annotated[
    list[str] | None,
    typer.Option("--mirror", help="URL, directory or flashinfer-cubin wheel; repeatable, in order.", metavar="PLACE"),
]
JobsOption = Annotated[int, typer.Option("--jobs", "-j", min=1, max=64, help="Downloads at the same time.")]
WindowOption = Annotated[float, typer.Option("--window", min=1, help="Seconds after which retrying ends.")]
FormatOption = Annotated[common.Format, typer.Option("--format", help="How to print it.")]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Given:
    """What matrix.yaml and the options say together."""

    root: Path
    spec: HeadersSpec | None
    lock: Path
    store: Store
    mirrors: tuple[str, ...]

    def sources(self) -> tuple[Source, ...]:
        from orchestrator.headers import sources

        return sources.chain(self.mirrors)


def _given(
    file: Path, directory: Path | None, lock: Path | None, store: Path | None, mirrors: Sequence[str] | None
) -> _Given:
    from orchestrator.headers import store as stores

    path = directory / file if directory is not None else file
    root, spec = path.parent, None
    if path.exists():
        matrix = common.open_matrix(file, directory)
        root, spec = matrix.root, matrix.spec.headers
    elif file != Path("matrix.yaml"):
        raise UsageError(f"{path}: no such file")
    named = [str(root / item) if (root / item).exists() else item for item in (spec.mirrors if spec else ())]
    return _Given(
        root=root,
        spec=spec,
        lock=lock or root / (spec.lock if spec else "flashinfer.lock.json"),
        store=stores.Store(store or stores.default_root()),
        mirrors=(*(mirrors or ()), *named),
    )


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        help=_HELP,
        no_args_is_help=True,
        rich_markup_mode=None,
        epilog=common.examples(
            "orchestrate headers lock --flashinfer 0.6.13    write flashinfer.lock.json",
            "orchestrate headers fetch                       bring its files into the store",
            "orchestrate headers export                      one file that crosses the air gap",
            "orchestrate headers import bundle.tar.zst       on the other side",
            "orchestrate headers status                      which images will work offline, and why not",
        ),
    )
    app.add_typer(group, name="headers")
    for command in (_lock, _fetch, _verify, _export, _import, _serve, _status, _gc):
        name = command.__name__.removeprefix("_")
        group.command(name=name, epilog=common.examples(*_EXAMPLES[name]))(command)


def _lock(
    *,
    file: common.File = Path("matrix.yaml"),
    directory: common.Directory = None,
    lock: LockOption = None,
    store: StoreOption = None,
    mirror: MirrorOption = None,
    flashinfer: Annotated[str, typer.Option("--flashinfer", help="Version; the matrix's by default.")] = "",
    source: Annotated[
        Path | None,
        typer.Option("--from", help="flashinfer-python wheel or package; pip downloads it otherwise.", metavar="PATH"),
    ] = None,
    tier: Annotated[str, typer.Option("--tier", help="headers, or cubins for the kernels too.")] = "",
    sm: Annotated[
        list[str] | None, typer.Option("--sm", help="Compute capability (10.3) to narrow cubins to; repeatable.")
    ] = None,
    layout: Annotated[str, typer.Option("--layout", help="Generation, for a version newer than this program.")] = "",
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit 3 if the lock is stale.")] = False,
    jobs: JobsOption = 8,
    window: WindowOption = 300,
    format_: FormatOption = common.Format.TABLE,
) -> None:
    """Write the lock file: every file of the bundle with its sha256, and the bundle digest.

    The pins are read from FlashInfer's own source, by parsing. Nothing of it is imported or run.
    """
    from orchestrator.headers import bundle, inject, work
    from orchestrator.headers import lock as locks

    given = _given(file, directory, lock, store, mirror)
    wanted = flashinfer or (inject.wanted_version(given.spec, given.root) if given.spec else "")
    known = work.read_pins(source, wanted, given.store)
    if check:
        result = locks.compare(bundle.read_lock(given.lock), known, where=str(given.lock))
        if result.state != "fresh":
            raise DriftError("the FlashInfer lock is stale", problems=result.problems, hint="orchestrate headers lock")
        _say(f"{given.lock}: fresh for FlashInfer {known.version}")
        return
    chosen = tier or (given.spec.tier if given.spec else "headers")
    with _Progress("lock") as progress:
        made, report = work.make_lock(
            known, given.store, given.sources(), tier=chosen, sm=sm or (), layout_name=layout,
            options=_options(jobs, window), progress=progress,
        )  # fmt: skip
    changed = bundle.write_lock(made, given.lock)
    _say(f"{given.lock}: {'written' if changed else 'unchanged'} ({report.fetched} fetched, {report.present} present)")
    _show_lock(made, format_)


def _fetch(
    *,
    file: common.File = Path("matrix.yaml"),
    directory: common.Directory = None,
    lock: LockOption = None,
    store: StoreOption = None,
    mirror: MirrorOption = None,
    jobs: JobsOption = 8,
    window: WindowOption = 300,
    format_: FormatOption = common.Format.TABLE,
) -> None:
    """Bring every file of the lock into the store. What is there already costs no request.

    Sources are tried in order: --mirror, headers.mirrors, FLASHINFER_CUBINS_REPOSITORY or FlashInfer's own repository.
    Proxies, CA bundles and netrc come from the usual variables.
    """
    from orchestrator.headers import bundle, work

    given = _given(file, directory, lock, store, mirror)
    wanted = bundle.read_lock(given.lock)
    with _Progress("fetch") as progress:
        report = work.obtain_lock(
            wanted, given.store, given.sources(), options=_options(jobs, window), progress=progress
        )
    if format_ is common.Format.JSON:
        _json(
            {"fetched": report.fetched, "bytes": report.bytes, "present": report.present, "requests": report.requests}
        )
        return
    print(
        f"{report.fetched} files fetched, {report.bytes:,} bytes, {report.requests} requests; {report.present} present"
    )


def _verify(
    *,
    target: Annotated[
        Path | None, typer.Argument(help="A placed bundle to verify instead of the store.", metavar="[DIR]")
    ] = None,
    file: common.File = Path("matrix.yaml"),
    directory: common.Directory = None,
    lock: LockOption = None,
    store: StoreOption = None,
    mirror: MirrorOption = None,
    image: Annotated[
        str, typer.Option("--image", help="A built image to verify instead, without running it.", metavar="REF")
    ] = "",
    platform: Annotated[str, typer.Option("--platform", help="Which one of an index.", metavar="PLATFORM")] = "",
    repair: Annotated[bool, typer.Option("--repair", help="Remove damaged files and fetch them again.")] = False,
    jobs: JobsOption = 8,
    window: WindowOption = 300,
) -> None:
    """Read every file of the bundle and compare it with the lock; exit 4 if one is missing or damaged."""
    from orchestrator.errors import Problem
    from orchestrator.headers import bundle, work

    given = _given(file, directory, lock, store, mirror)
    if image:
        _verify_image(image, platform, given.lock)
        return
    wanted = bundle.read_lock(given.lock)
    if target is not None:
        problems = bundle.verify_directory(wanted, target)
        if problems:
            raise VerificationError(f"{target} does not hold the bundle of {given.lock}", problems=problems[:20])
        print(f"{len(wanted.files)} files are right in {target}")
        return
    bad = work.verify_store(wanted, given.store, repair=repair)
    if bad and repair:
        with _Progress("repair") as progress:
            work.obtain_lock(wanted, given.store, given.sources(), options=_options(jobs, window), progress=progress)
        bad_after = work.verify_store(wanted, given.store, repair=False)
        _say(f"{len(bad) - len(bad_after)} files repaired")
        bad = bad_after
    if bad:
        found = [Problem(file=path, what=f"is {what} in the store") for path, what in bad.items()]
        hint = "orchestrate headers verify --repair"
        raise VerificationError(
            f"{len(bad)} of {len(wanted.files)} files are not right", problems=found[:20], hint=hint
        )
    print(f"{len(wanted.files)} files, {wanted.bytes:,} bytes are right in {given.store.root}")


def _verify_image(image: str, platform: str, lock: Path) -> None:
    from orchestrator.headers import bundle
    from orchestrator.headers import lock as locks
    from orchestrator.image.bundle import verify_bundle

    expected = locks.bundle_digest(bundle.read_lock(lock)) if lock.exists() else ""
    carried = verify_bundle(image, platform=platform, expected=expected)
    for warning in carried.warnings:
        _say(f"warning: {warning}")
    if carried.problems or carried.lock is None:
        raise VerificationError(f"{image} does not hold its FlashInfer bundle", problems=carried.problems[:20])
    headers = len(carried.lock.headers)
    print(f"{image}: {headers} headers of FlashInfer {carried.lock.version} are right in {carried.directory}")


def _export(
    *,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The archive; a name without .tar.zst makes a directory.", metavar="FILE"),
    ] = None,
    file: common.File = Path("matrix.yaml"),
    directory: common.Directory = None,
    lock: LockOption = None,
    store: StoreOption = None,
) -> None:
    """Write the bundle as one file that crosses an air gap, or as the directory that a build takes as a context.

    Two exports of one lock are byte-identical.
    """
    from orchestrator.headers import archive, bundle, work

    given = _given(file, directory, lock, store, ())
    wanted = bundle.read_lock(given.lock)
    work.require_complete(wanted, given.store)
    target = output or Path(f"flashinfer-headers-{wanted.version}.tar.zst")
    if target.name.endswith(".tar.zst"):
        print(f"{target}: {archive.export(wanted, given.store, target):,} bytes")
    else:
        bundle.materialise(wanted, given.store, target)
        print(f"{target}: {len(wanted.files)} files")


def _import(
    *,
    source: Annotated[Path, typer.Argument(help="A file of `headers export`.", metavar="FILE")],
    file: common.File = Path("matrix.yaml"),
    directory: common.Directory = None,
    lock: LockOption = None,
    store: StoreOption = None,
    format_: FormatOption = common.Format.TABLE,
) -> None:
    """Take a bundle from a file: all of it is verified before anything of it is visible. Needs no network.

    A lock file that is there already must be the same one.
    """
    from orchestrator.headers import archive, bundle
    from orchestrator.headers import lock as locks

    given = _given(file, directory, lock, store, ())
    there = bundle.read_lock(given.lock) if given.lock.exists() else None
    expected = locks.bundle_digest(there) if there else ""
    loaded = archive.load(source, given.store, given.lock if there is None else None, expected=expected)
    _show_lock(loaded, format_)


def _serve(
    *,
    port: Annotated[int, typer.Option("--port", help="0 takes a free one.")] = 0,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    file: common.File = Path("matrix.yaml"),
    directory: common.Directory = None,
    lock: LockOption = None,
    store: StoreOption = None,
) -> None:
    """Serve the bundle as a mirror that FlashInfer itself can use, until interrupted."""
    from orchestrator.headers import bundle, serve, work

    given = _given(file, directory, lock, store, ())
    wanted = bundle.read_lock(given.lock)
    work.require_complete(wanted, given.store)
    with serve.Mirror(wanted, given.store, host=host, port=port, log=_say) as server:
        print(f"FLASHINFER_CUBINS_REPOSITORY={server.url}", flush=True)
        server.serve_forever()


def _gc(
    *,
    file: common.File = Path("matrix.yaml"),
    directory: common.Directory = None,
    lock: Annotated[
        list[Path] | None, typer.Option("--lock", help="Locks whose files stay; repeatable.", metavar="FILE")
    ] = None,
    store: StoreOption = None,
) -> None:
    """Remove what no named lock needs from the store, and what killed downloads left behind more than a day ago."""
    from orchestrator.headers import bundle

    given = _given(file, directory, None, store, ())
    kept = [bundle.read_lock(path) for path in lock or [given.lock]]
    swept = given.store.collect(item.sha256 for one in kept for item in one.files)
    print(f"{swept.files} files removed, {swept.bytes:,} bytes")


def _status(
    *,
    file: common.File = Path("matrix.yaml"),
    directory: common.Directory = None,
    cuda: common.CudaOption = None,
    platform: common.PlatformOption = None,
    target: common.TargetOption = None,
    axis: common.AxisOption = None,
    variant: common.VariantOption = None,
    store: StoreOption = None,
    format_: FormatOption = common.Format.TABLE,
) -> None:
    """Show for every variant whether its image will work offline, and why not."""
    from dataclasses import asdict

    from orchestrator.headers import status

    given = _given(file, directory, None, store, ())
    selection = common.Selection(
        file=file, directory=directory, cuda=cuda, platform=platform, target=target, axis=axis, variant=variant
    )
    rows = status.of(common.open_plan(selection), given.store)
    if format_ is common.Format.JSON:
        _json({"variants": [asdict(row) for row in rows]})
        return
    _table(("variant", "offline", "why"), [(row.variant, row.offline, "\n".join(row.why)) for row in rows])


def _options(jobs: int, window: float) -> Options:
    from orchestrator.headers.request import Options

    return Options(jobs=jobs, window=window)


def _show_lock(lock: Lock, format_: common.Format) -> None:
    from orchestrator.headers import lock as locks

    if format_ is common.Format.JSON:
        _json(json.loads(locks.dumps(lock)))
        return
    headers = lock.headers
    print(f"FlashInfer {lock.version}, layout {lock.layout}, tier {lock.tier}")
    print(f"{len(headers)} headers, {sum(file.size for file in headers):,} bytes; {len(lock.files)} files in all")
    print(f"bundle {locks.bundle_digest(lock)}")
    for line in lock.not_covered:
        print(f"not covered: {line}")


def _json(value: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps({"schema": 1, **value}, indent=2) + "\n")


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.table import Table

    from orchestrator.ui import console

    table = Table(box=None, pad_edge=False)
    for title in titles:
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.out().print(table)


class _Progress:
    """A bar on a terminal, a line now and then in a log; on standard error in either case."""

    def __init__(self, what: str) -> None:
        self.what = what
        self._bar: Any = None
        self._last = 0.0

    def __enter__(self) -> Callable[[int, int, int], None]:
        if sys.stderr.isatty():
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

            from orchestrator.ui import console

            self._bar = Progress(
                TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[size]}"),
                console=console.err(), transient=True,
            )  # fmt: skip
            self._bar.start()
        return self._report

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def _report(self, done: int, total: int, received: int) -> None:
        import time

        size = f"{received / 1e6:,.1f} MB"
        if self._bar is not None:
            if not self._bar.tasks:
                self._bar.add_task(self.what, total=total, size=size)
            self._bar.update(self._bar.tasks[0].id, completed=done, total=total, size=size)
        elif done == total or time.monotonic() - self._last > 5:  # seconds between two lines of a log
            self._last = time.monotonic()
            _say(f"{self.what}: {done} of {total} files, {size}")
