"""Bundle: the FlashInfer headers inside a finished image, proven from its bytes without running it.

The build's own proof holds for the layer that it made. A later step may delete a header, replace it, take the right to
read it, install another FlashInfer or put a flashinfer_cubin package before it; the runtime sees the sum of all layers,
and so does this module. It knows where FlashInfer looks; how an image is read it leaves to the scan.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from orchestrator.errors import Problem, UsageError, VerificationError
from orchestrator.flashinfer import ABOUT_NAME, CUBIN_DIR, LOCK_NAME, NO_DOWNLOAD, NO_VERSION_CHECK, WORKSPACE
from orchestrator.headers import layout, pins
from orchestrator.headers import lock as locks
from orchestrator.image.layers import artifacts
from orchestrator.image.layers.links import parents, resolve
from orchestrator.image.verdict import compiler
from orchestrator.image.verdict.places import written
from orchestrator.image.verdict.scanned import scan_source
from orchestrator.image.verdict.users import account
from orchestrator.labels import FLASHINFER

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from orchestrator.headers.lock import Lock
    from orchestrator.headers.pins import Pins
    from orchestrator.headers.place import Placed
    from orchestrator.image.layers.artifacts import Artifact
    from orchestrator.image.verdict.scanned import Scanned


class Carried(Struct, frozen=True, kw_only=True):
    """What an image carries.

    Attributes:
        directory: Where FlashInfer will look, absolute.
        lock: The lock that lies there, None where none does.
        problems: Empty when every file is there and right.
        warnings: What costs something and breaks nothing.
    """

    directory: str
    lock: Lock | None
    problems: tuple[Problem, ...]
    warnings: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        """One sentence on a bundle that is whole, "" for any other."""
        if self.lock is None or self.problems:
            return ""
        count = len(self.lock.headers)
        return f"FlashInfer {self.lock.version}: {count} headers are whole and readable in {self.directory}"


def verify_bundle(source: str, *, platform: str = "", lock: Lock | None = None) -> Carried:
    """Whether an image holds a FlashInfer bundle, whole, where FlashInfer looks.

    Args:
        source: An image, as `orchestrate verify` takes it.
        platform: Which one of several, "linux/arm64".
        lock: What it must hold, None for whatever the image says itself.

    Raises:
        UsageError: It is not an image.
        OrchestrateError: It cannot be read.
    """
    return judge(_image(source, platform), given=lock)


def _image(source: str, platform: str) -> Scanned:
    scanned = scan_source(source, platform=platform)
    if not scanned.image:
        raise UsageError(f"{source} is not an image: a directory is verified with `orchestrate headers verify DIR`")
    return scanned


def _at(scanned: Scanned, path: str) -> Artifact | None:
    """The file that a path leads to, through symlinks."""
    return scanned.files.artifacts.get(resolve(path.strip("/"), scanned.files.links))


def image_pins(source: str, *, platform: str = "") -> Pins:
    """The pins of the FlashInfer that an image has installed, read from its layers.

    Args:
        source: An image, as `orchestrate verify` takes it.
        platform: Which one of several, "linux/arm64".

    Raises:
        UsageError: It has none, or two.
        OrchestrateError: It cannot be read.
    """
    return pins_of(_image(source, platform))


def pins_of(scanned: Scanned) -> Pins:
    """As `image_pins`, of an image that was read.

    Raises:
        UsageError: It has no FlashInfer, or two.
    """
    source = scanned.source
    known = scanned.files.artifacts
    found = [match for path in known if (match := artifacts.SOURCE.match(path)) and match[2].endswith("artifacts.py")]
    if len(found) != 1:
        places = ", ".join(sorted(f"/{match[1]}" for match in found))
        raise UsageError(f"{source} has {f'FlashInfer in {places}' if found else 'no FlashInfer installed'}")
    site = found[0][1]
    versions = [match[1] for path in known if path.startswith(site) and (match := artifacts.INSTALLED.search(path))]

    def text(name: str) -> str | None:
        node = _at(scanned, f"{site}/{name}")
        return None if node is None else node.text

    return pins.read_text(source, text, version=versions[0] if versions else "")


def carried(scanned: Scanned, *, expected: str = "") -> Carried | None:
    """As `judge`, for an image that is bound to hold a bundle; None for any other.

    Bound is what was given one by a build (its label says which), and what has a lock where FlashInfer looks.

    Args:
        scanned: What was read.
        expected: Bundle digest (`sha256:…`) that it must be, "" for what the image says itself.
    """
    if not (expected or scanned.labels.get(FLASHINFER)):
        directory, _ = _directory(scanned)
        if not directory or _at(scanned, f"{directory}/{LOCK_NAME}") is None:
            return None
    return judge(scanned, expected=expected)


def judge(scanned: Scanned, *, expected: str = "", given: Lock | None = None) -> Carried:
    """Judge what was read.

    Args:
        scanned: What was read of an image.
        expected: Bundle digest (`sha256:…`) that it must be, "" for what its label says, or any.
        given: The lock that it must be, None for the one inside. With it an image without a lock is judged too: the
            package flashinfer-cubin holds the headers and no lock.
    """
    source = scanned.source
    expected = expected or (locks.bundle_digest(given) if given else scanned.labels.get(FLASHINFER, ""))
    directory, problems = _directory(scanned)
    if not directory:
        return Carried(directory="", lock=None, problems=tuple(problems))
    node = _at(scanned, f"{directory}/{LOCK_NAME}")
    if node is None and given is not None and not scanned.labels.get(FLASHINFER):
        return _judged(scanned, directory, given, problems, bare=True)
    if node is None:
        what = f"no FlashInfer bundle in {directory}: {LOCK_NAME} is not there"
        return Carried(directory=directory, lock=None, problems=(*problems, Problem(file=source, what=what)))
    try:
        lock = locks.loads(node.text, where=f"{source}:{directory}/{LOCK_NAME}")
    except VerificationError as error:
        return Carried(directory=directory, lock=None, problems=(*problems, Problem(file=source, what=error.message)))
    digest = locks.bundle_digest(lock)
    if expected and digest != expected:
        problems.append(
            Problem(file=source, what="another bundle than the build was given", expected=expected, found=digest)
        )
    return _judged(scanned, directory, lock, problems, bare=False)


def _judged(scanned: Scanned, directory: str, lock: Lock, problems: list[Problem], *, bare: bool) -> Carried:
    """Judge the files of a lock in a directory; `bare` is one that holds them without a description of them."""
    entries = [entry for entry in locks.tree(lock) if not (bare and entry.path == ABOUT_NAME)]
    placed = [f"{directory}/{entry.path}" for entry in entries]
    problems += _files(scanned, directory, entries)
    user = account(scanned.files, scanned.user)
    problems += _unreadable(scanned, placed, user)
    problems += _settings(scanned, lock)
    warnings = []
    generation = layout.named(lock.layout)
    if generation.writes and not generation.flat:
        place = f"{directory}/{generation.writes}"
        found = written(scanned.files, place, user, named=scanned.user)
        problems += found.problems
        if not found.problems and not found.volatile:
            warnings.append(f"{place}: FlashInfer writes links there at run time, which a read-only root forbids")
    if lacking := compiler.missing(scanned):
        what = f"{', '.join(lacking)}: not found in the image; FlashInfer compiles these headers with it at run time"
        warnings.append(f"{what}, unless flashinfer-jit-cache is installed")
    if scanned.files.repeated:
        warnings.append(f"{scanned.files.repeated:,} bytes of FlashInfer artifacts are in two layers")
    if not problems and (private := list(_unreadable(scanned, placed, "any other"))):
        warnings.append(f"{private[0].file}: only some users can read it, and FlashInfer fails under any other")
    return Carried(directory=directory, lock=lock, problems=tuple(problems), warnings=tuple(warnings))


def _directory(scanned: Scanned) -> tuple[str, list[Problem]]:
    """Where FlashInfer looks: the variable or the package flashinfer_cubin, which wins before 0.6.16."""
    source, told = scanned.source, scanned.environment.get(CUBIN_DIR, "")
    packages = [match[1] for path in scanned.files.artifacts if (match := artifacts.PACKAGE.match(path))]
    versions = _versions(scanned)
    if packages and (not told or (versions and not _env_first(versions[0]))):
        package = f"/{packages[0]}/flashinfer_cubin/cubins"
        if told and resolve(told.strip("/"), scanned.files.links) != package.strip("/"):
            what = (
                f"FlashInfer {versions[0]} looks in {package}, because flashinfer_cubin is installed, and not in {told}"
            )
            return package, [Problem(file=source, what=what)]
        return package, []
    if not told:
        what = f"{CUBIN_DIR} is not set and flashinfer_cubin is not installed: FlashInfer looks below the user's home"
        return "", [Problem(file=source, what=what)]
    return told, []


def _versions(scanned: Scanned) -> list[str]:
    return sorted(match[1] for path in scanned.files.artifacts if (match := artifacts.INSTALLED.search(path)))


def _env_first(version: str) -> bool:
    try:
        return layout.of(version).env_first
    except UsageError:  # newer than what is known: the rule of the newest known one
        return True


def _files(scanned: Scanned, directory: str, entries: Iterable[Placed]) -> Iterable[Problem]:
    for entry in entries:
        path = f"{directory}/{entry.path}"
        node = _at(scanned, path)
        folder, _, name = path.strip("/").rpartition("/")
        literal = f"{resolve(folder, scanned.files.links)}/{name}"
        if node is None and literal in scanned.files.links:
            target = resolve(literal, scanned.files.links)
            what = f"is a link to /{target}, which is not read: expected a file" if target else "is a circular link"
            yield Problem(file=path, what=what, hint="copy the file instead of a link to it")
        elif node is None:
            yield Problem(file=path, what="is missing: a later layer removed it, or it never was there")
        elif node.sha256 != entry.sha256:
            expected, found = f"sha256 {entry.sha256[:12]}…", f"{node.sha256[:12]}…"
            yield Problem(file=path, what="was changed", expected=expected, found=found)


def _packages(scanned: Scanned) -> Iterator[Problem]:
    """FlashInfer's own check when it is imported: its packages must have one version."""
    versions = _versions(scanned)
    if len(versions) != 1 or scanned.environment.get(NO_VERSION_CHECK):
        return
    version = versions[0]
    looked_at = not (scanned.environment.get(CUBIN_DIR) and _env_first(version))
    for path in scanned.files.artifacts:
        match = artifacts.PACKAGES.search(path)
        name, found = (match[1], match[2]) if match else ("", version)
        same = found == version or (name == "flashinfer_jit_cache" and found.startswith(f"{version}+"))
        if not same and (name == "flashinfer_jit_cache" or (name == "flashinfer_cubin" and looked_at)):
            what = f"{name.replace('_', '-')} {found} beside flashinfer-python {version}: FlashInfer refuses it"
            yield Problem(file=f"/{path}", what=what, expected=version, found=found, hint="install one version of both")


def _unreadable(scanned: Scanned, paths: Iterable[str], user: str) -> Iterator[Problem]:
    """What keeps a user from reading files: the rights of each, and of the directories on the way to it, once."""
    files = scanned.files
    said: set[str] = set()
    for path in paths:
        literal, real = path.strip("/"), resolve(path.strip("/"), files.links)
        node = files.artifacts.get(real)
        if node is not None and not node.access.allows(user, artifacts.READ):
            yield Problem(
                file=path, what=f"user {scanned.user} of the image may not read it", hint=f"RUN chmod a+r {path}"
            )
        folders = {part for whole in (literal, real) for part in parents(whole)}
        for folder in sorted(folders & files.closed.keys() - said):
            said.add(folder)
            if not files.closed[folder].allows(user, artifacts.ENTER):
                yield Problem(
                    file=f"/{folder}",
                    what=f"user {scanned.user} of the image may not enter it",
                    hint=f"RUN chmod a+rx /{folder}",
                )


def _other_pins(scanned: Scanned, lock: Lock) -> Iterator[Problem]:
    """A lock of the right version that names other artifacts than the FlashInfer inside asks for."""
    try:
        wanted = pins_of(scanned)
    except UsageError:  # none is installed where pins are read, or in a way that is not known
        return
    locked = {item.pin.attr: (item.pin.path, item.pin.sha256) for item in lock.pins}
    for pin in wanted.pins:
        path, sha256 = locked.get(pin.attr, ("", ""))
        if (path, sha256) != (pin.path, pin.sha256):
            what = f"the installed FlashInfer asks for other artifacts of {pin.attr} than the bundle holds"
            expected, found = f"{pin.path} ({pin.sha256[:12]})", f"{path} ({sha256[:12]})" if path else "none"
            yield Problem(file=scanned.source, what=what, expected=expected, found=found)


def _settings(scanned: Scanned, lock: Lock) -> Iterable[Problem]:
    yield from _packages(scanned)
    workspace = scanned.environment.get(WORKSPACE, "")
    if workspace and (found := written(scanned.files, workspace, account(scanned.files, scanned.user))).problems:
        what = f"{WORKSPACE}: FlashInfer makes directories there when it is imported, {found.problems[0].what}"
        yield Problem(file=workspace, what=what, hint="name a directory that the user may write")
    others = [version for version in _versions(scanned) if version != lock.version]
    for version in others:
        what = "another FlashInfer is installed than the bundle was made for"
        yield Problem(file=scanned.source, what=what, expected=lock.version, found=version)
    if not others:
        yield from _other_pins(scanned, lock)
    if scanned.environment.get(NO_DOWNLOAD) and not lock.complete:
        what = f"{NO_DOWNLOAD} is set, and the bundle does not hold every cubin: FlashInfer runs another kernel"
        hint = "leave it unset, or lock the tier cubins"
        yield Problem(file=scanned.source, what=what, hint=hint)
