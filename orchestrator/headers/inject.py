"""What a build gets of a bundle: a named context, and the arguments of the step that verifies it.

docs/air-gapped.md describes the stage that receives it. The context replaces a stage of the same name that holds a
marker file; with an empty stage a warm cache hides a missing bundle (measured with Docker 28.5).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field

from orchestrator.errors import DriftError, Problem, VerificationError
from orchestrator.flashinfer import NO_DOWNLOAD
from orchestrator.headers import bundle, manifests, resolve
from orchestrator.headers import lock as locks
from orchestrator.headers.tidy import folder_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from orchestrator.headers.lock import Lock
    from orchestrator.headers.store import Store
    from orchestrator.matrix.schema import HeadersSpec


class Injection(Struct, frozen=True, kw_only=True):
    """What the bake file of a variant that carries the bundle gains.

    Attributes:
        context_name: The named context, which is also the name of the fallback stage.
        context_dir: The materialised bundle; bake must be allowed to read it (`--allow=fs.read=…`).
        args: Build arguments: the bundle digest, and FLASHINFER_NO_DOWNLOAD=1 where the bundle covers every cubin.
        digest: `sha256:…` of the bundle, for labels and reports.
    """

    context_name: str
    context_dir: Path
    digest: str
    args: dict[str, str] = field(default_factory=dict)


def check_lock(spec: HeadersSpec, directory: Path, version: str) -> Lock:
    """Return the lock of matrix.yaml's `headers`, for the version and tier that it names.

    Args:
        spec: The section.
        directory: Of matrix.yaml.
        version: The FlashInfer version that the build installs, "" where the matrix does not say.

    Raises:
        UsageError: There is no lock file.
        VerificationError: It is damaged.
        DriftError: It was made for another version or another tier.
    """
    path = directory / spec.lock
    lock = bundle.read_lock(path)
    problems = []
    if version and version != lock.version:
        what = "it was made for another FlashInfer"
        problems.append(Problem(file=str(path), what=what, expected=version, found=lock.version))
    if spec.tier != lock.tier:
        problems.append(
            Problem(file=str(path), what="it was made for another tier", expected=spec.tier, found=lock.tier)
        )
    if problems:
        raise DriftError("the FlashInfer lock is stale", problems=problems, hint="orchestrate headers lock")
    return lock


def injection(
    spec: HeadersSpec,
    store: Store,
    *,
    directory: Path,
    version: Callable[[], str],
    obtain: Callable[[Lock], None] | None = None,
) -> Injection | None:
    """Return the bundle of matrix.yaml's `headers`, materialised and verified.

    Args:
        spec: The section.
        store: Holds the bundle's files.
        directory: Of matrix.yaml.
        version: Says which FlashInfer the build installs, "" where the matrix does not; asked only if there is a lock.
        obtain: Brings a lock's missing files into the store; None forbids it (an air-gapped build).

    Returns:
        None where the policy is `off`, or `optional` and there is no lock.

    Raises:
        UsageError, VerificationError, DriftError: As `check_lock`; or a file is missing that may not be fetched.
        NetworkError: A file could not be fetched.
    """
    if spec.policy == "off" or (spec.policy == "optional" and not (directory / spec.lock).exists()):
        return None
    lock = check_lock(spec, directory, version())
    missing = [item.path for item in resolve.wanted_of(lock) if not store.has(item.sha256, item.size)]
    if missing and obtain is not None:
        obtain(lock)
    elif missing:
        raise VerificationError(
            f"{len(missing)} of {len(lock.files)} files of the FlashInfer bundle are not in the store {store.root}",
            hint="orchestrate headers fetch (with a network), or orchestrate headers import BUNDLE.tar.zst",
        )
    manifests.require(lock, store)
    digest = locks.bundle_digest(lock)
    folder = folder_of(lock, store)
    bundle.ensure(lock, store, folder)
    args = {spec.digest_arg: digest}
    if lock.complete:
        args[NO_DOWNLOAD] = "1"
    return Injection(context_name=spec.context, context_dir=folder, digest=digest, args=args)
