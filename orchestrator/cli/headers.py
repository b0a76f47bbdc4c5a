"""`orchestrate headers …`: FlashInfer bundles, from a wheel's pins to a directory that a build can take."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli import common
from orchestrator.cli import header_options as shared
from orchestrator.errors import DriftError, VerificationError
from orchestrator.ui.transfers import TransferProgress

if TYPE_CHECKING:
    from orchestrator.headers.pins import Pins

_HELP = """FlashInfer's TRTLLM headers for images that run without a network.

FlashInfer compiles these kernels on the user's machine, against headers that it downloads at that moment. A bundle
carries them: locked by sha256, fetched once, placed and proven inside the build.
"""

_EXAMPLES = {
    "lock": (
        "orchestrate headers lock --flashinfer 0.6.13",
        "orchestrate headers lock --from flashinfer_python-0.6.13-py3-none-any.whl",
        "orchestrate headers lock --check",
        "orchestrate headers lock --check --from-image ghcr.io/acme/vllm-openai:cu130",
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
    lock: shared.LockOption = None,
    store: shared.StoreOption = None,
    mirror: shared.MirrorOption = None,
    flashinfer: Annotated[str, typer.Option("--flashinfer", help="Version; the matrix's by default.")] = "",
    source: Annotated[
        Path | None,
        typer.Option("--from", help="flashinfer-python wheel or package; pip downloads it otherwise.", metavar="PATH"),
    ] = None,
    image: Annotated[
        str, typer.Option("--from-image", help="Image that has FlashInfer installed; it is not run.", metavar="REF")
    ] = "",
    tier: Annotated[str, typer.Option("--tier", help="headers, or cubins for the kernels too.")] = "",
    sm: Annotated[
        list[str] | None, typer.Option("--sm", help="Compute capability (10.3) to narrow cubins to; repeatable.")
    ] = None,
    layout: Annotated[str, typer.Option("--layout", help="Generation, for a version newer than this program.")] = "",
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit 3 if the lock is stale.")] = False,
    jobs: shared.JobsOption = 8,
    window: shared.WindowOption = 300,
    format_: shared.FormatOption = common.Format.TABLE,
) -> None:
    """Write the lock file: every file of the bundle with its sha256, and the bundle digest.

    The pins are read from FlashInfer's own source, by parsing. Nothing of it is imported or run.
    """
    from orchestrator.headers import bundle, inject, staleness, work

    given = shared.given(file, directory, lock, store, mirror)
    wanted = flashinfer or (inject.wanted_version(given.spec, given.root) if given.spec else "")
    known = _image_pins(image) if image else work.read_pins(source, wanted, given.store)
    if check:
        result = staleness.compare(bundle.read_lock(given.lock), known, where=str(given.lock))
        if result.state != "fresh":
            raise DriftError("the FlashInfer lock is stale", problems=result.problems, hint="orchestrate headers lock")
        shared.say(f"{given.lock}: fresh for FlashInfer {known.version}")
        return
    chosen = tier or (given.spec.tier if given.spec else "headers")
    with TransferProgress("lock") as progress:
        made, report = work.make_lock(
            known, given.store, given.sources(), tier=chosen, sm=sm or (), layout_name=layout,
            options=shared.options(jobs, window), progress=progress,
        )  # fmt: skip
    changed = bundle.write_lock(made, given.lock)
    shared.say(
        f"{given.lock}: {'written' if changed else 'unchanged'} ({report.fetched} fetched, {report.present} present)"
    )
    shared.show_lock(made, format_)


def _image_pins(image: str) -> Pins:
    from orchestrator.image.verdict.bundle import image_pins

    return image_pins(image)


def _fetch(
    *,
    file: common.File = Path("matrix.yaml"),
    directory: common.Directory = None,
    lock: shared.LockOption = None,
    store: shared.StoreOption = None,
    mirror: shared.MirrorOption = None,
    jobs: shared.JobsOption = 8,
    window: shared.WindowOption = 300,
    format_: shared.FormatOption = common.Format.TABLE,
) -> None:
    """Bring every file of the lock into the store. What is there already costs no request.

    Sources are tried in order: --mirror, headers.mirrors, FLASHINFER_CUBINS_REPOSITORY or FlashInfer's own repository.
    Proxies, CA bundles and netrc come from the usual variables.
    """
    from orchestrator.headers import bundle, work

    given = shared.given(file, directory, lock, store, mirror)
    wanted = bundle.read_lock(given.lock)
    with TransferProgress("fetch") as progress:
        report = work.obtain_lock(
            wanted, given.store, given.sources(), options=shared.options(jobs, window), progress=progress
        )
    if format_ is common.Format.JSON:
        shared.write_json(
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
    lock: shared.LockOption = None,
    store: shared.StoreOption = None,
    mirror: shared.MirrorOption = None,
    image: Annotated[
        str, typer.Option("--image", help="A built image to verify instead, without running it.", metavar="REF")
    ] = "",
    platform: Annotated[str, typer.Option("--platform", help="Which one of an index.", metavar="PLATFORM")] = "",
    repair: Annotated[bool, typer.Option("--repair", help="Remove damaged files and fetch them again.")] = False,
    jobs: shared.JobsOption = 8,
    window: shared.WindowOption = 300,
) -> None:
    """Read every file of the bundle and compare it with the lock; exit 4 if one is missing or damaged."""
    from orchestrator.errors import Problem
    from orchestrator.headers import bundle, work

    given = shared.given(file, directory, lock, store, mirror)
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
        with TransferProgress("repair") as progress:
            work.obtain_lock(
                wanted, given.store, given.sources(), options=shared.options(jobs, window), progress=progress
            )
        bad_after = work.verify_store(wanted, given.store, repair=False)
        shared.say(f"{len(bad) - len(bad_after)} files repaired")
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
    from orchestrator.image.verdict.bundle import verify_bundle

    expected = locks.bundle_digest(bundle.read_lock(lock)) if lock.exists() else ""
    carried = verify_bundle(image, platform=platform, expected=expected)
    for warning in carried.warnings:
        shared.say(f"warning: {warning}")
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
    lock: shared.LockOption = None,
    store: shared.StoreOption = None,
) -> None:
    """Write the bundle as one file that crosses an air gap, or as the directory that a build takes as a context.

    Two exports of one lock are byte-identical.
    """
    from orchestrator.headers import archive, bundle, work

    given = shared.given(file, directory, lock, store, ())
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
    lock: shared.LockOption = None,
    store: shared.StoreOption = None,
    format_: shared.FormatOption = common.Format.TABLE,
) -> None:
    """Take a bundle from a file: all of it is verified before anything of it is visible. Needs no network.

    A lock file that is there already must be the same one.
    """
    from orchestrator.headers import archive, bundle
    from orchestrator.headers import lock as locks

    given = shared.given(file, directory, lock, store, ())
    there = bundle.read_lock(given.lock) if given.lock.exists() else None
    expected = locks.bundle_digest(there) if there else ""
    loaded = archive.load(source, given.store, given.lock if there is None else None, expected=expected)
    shared.show_lock(loaded, format_)


def _serve(
    *,
    port: Annotated[int, typer.Option("--port", help="0 takes a free one.")] = 0,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    file: common.File = Path("matrix.yaml"),
    directory: common.Directory = None,
    lock: shared.LockOption = None,
    store: shared.StoreOption = None,
) -> None:
    """Serve the bundle as a mirror that FlashInfer itself can use, until interrupted."""
    from orchestrator.headers import bundle, serve, work

    given = shared.given(file, directory, lock, store, ())
    wanted = bundle.read_lock(given.lock)
    work.require_complete(wanted, given.store)
    with serve.Mirror(wanted, given.store, host=host, port=port, log=shared.say) as server:
        print(f"FLASHINFER_CUBINS_REPOSITORY={server.url}", flush=True)
        server.serve_forever()


def _gc(
    *,
    file: common.File = Path("matrix.yaml"),
    directory: common.Directory = None,
    lock: Annotated[
        list[Path] | None, typer.Option("--lock", help="Locks whose files stay; repeatable.", metavar="FILE")
    ] = None,
    store: shared.StoreOption = None,
) -> None:
    """Remove what no named lock needs from the store, and what killed downloads left behind more than a day ago."""
    from orchestrator.headers import bundle

    given = shared.given(file, directory, None, store, ())
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
    store: shared.StoreOption = None,
    format_: shared.FormatOption = common.Format.TABLE,
) -> None:
    """Show for every variant whether its image will work offline, and why not."""
    from dataclasses import asdict

    from orchestrator.headers import status

    given = shared.given(file, directory, None, store, ())
    selection = common.Selection(
        file=file, directory=directory, cuda=cuda, platform=platform, target=target, axis=axis, variant=variant
    )
    rows = status.of(common.open_plan(selection), given.store)
    if format_ is common.Format.JSON:
        shared.write_json({"variants": [asdict(row) for row in rows]})
        return
    shared.show_table(("variant", "offline", "why"), [(row.variant, row.offline, "\n".join(row.why)) for row in rows])
