"""Bundle: the FlashInfer headers inside a finished image, proven from its bytes without running it.

The build's own proof holds for the layer that it made. A later step may delete a header, replace it, install another
FlashInfer or put a flashinfer_cubin package before it; the runtime sees the sum of all layers, and so does this module.
It reads layers forward and knows where FlashInfer looks; how an image is opened it leaves to the sources.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

from orchestrator.errors import Problem, UsageError, VerificationError
from orchestrator.headers import layout, pins
from orchestrator.headers import lock as locks
from orchestrator.image.forward import CutOffError, Forward
from orchestrator.image.layers import resolve
from orchestrator.image.sources.detect import open_source
from orchestrator.image.store import LayerStore
from orchestrator.image.tar import Type, members
from orchestrator.image.unpack import DamagedLayerError, unpacked

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from orchestrator.headers.lock import Lock
    from orchestrator.headers.pins import Pins
    from orchestrator.image.parallel import Layer
    from orchestrator.image.tar import Member

CUBIN_DIR = "FLASHINFER_CUBIN_DIR"
NO_DOWNLOAD = "FLASHINFER_NO_DOWNLOAD"
_ARTIFACT = re.compile(r"(?:^|/)[0-9a-f]{40}/.+|(?:^|/)trtllmGen_bmm_export/.+")
_TEXT = re.compile(rf"(?:^|/)(?:{re.escape(locks.SUMS_NAME)}|{re.escape(locks.DEFAULT_NAME)})$")
_SOURCE = re.compile(
    r"^(.+)/(flashinfer/(?:artifacts\.py|deep_gemm\.py|_build_meta\.py|data/csrc/cudnn_sdpa_kernel_launcher\.cu))$"
)
_PACKAGE = re.compile(r"^(.+)/flashinfer_cubin/__init__\.py$")
_INSTALLED = re.compile(r"/flashinfer_python-([^/]+)\.dist-info/METADATA$")
_TEXT_LIMIT = 64 * 1024 * 1024
_CHUNK = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """One file that matters: sha256 (bare hex), size in bytes, and the text of a few."""

    sha256: str
    size: int
    text: str = ""


@dataclass(kw_only=True, slots=True)
class View:
    """What the runtime sees, as far as FlashInfer is concerned. Paths have no leading slash.

    Attributes:
        environment: Of the image's configuration.
        files: Path -> file.
        links: Path -> target of every symlink, as written.
        repeated: Bytes of artifacts that a later layer holds once more: they are in the image twice.
    """

    environment: Mapping[str, str]
    files: dict[str, Node] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    repeated: int = 0

    def remove(self, path: str) -> None:
        """Take away what lies at a path and below it."""
        for name in [name for name in self.files if name == path or name.startswith(f"{path}/")]:
            del self.files[name]
        for name in [name for name in self.links if name == path or name.startswith(f"{path}/")]:
            del self.links[name]

    def at(self, path: str) -> Node | None:
        """The file that a path leads to, through symlinks."""
        return self.files.get(resolve(path.strip("/"), self.links))


@dataclass(frozen=True, kw_only=True, slots=True)
class Carried:
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


def verify_bundle(source: str, *, platform: str = "", expected: str = "") -> Carried:
    """Whether an image holds a FlashInfer bundle, whole, where FlashInfer looks.

    Args:
        source: An image, as `orchestrate verify` takes it.
        platform: Which one of several, "linux/arm64".
        expected: Bundle digest (`sha256:…`) that it must be, "" for whatever the image says itself.

    Raises:
        OrchestrateError: The image cannot be read.
    """
    return judge(read_view(source, platform=platform), source, expected=expected)


def read_view(source: str, *, platform: str = "") -> View:
    """Read all layers of an image, the lowest first.

    Raises:
        UsageError: It is no image.
        OrchestrateError: It cannot be read.
    """
    with open_source(source, LayerStore(None), platform=platform) as contents:
        if contents.files is not None:
            raise UsageError(f"{source} is no image: a directory is verified with `orchestrate headers verify DIR`")
        view = View(environment=contents.environment)
        for layer in contents.layers:
            try:
                _add_layer(view, layer)
            except CutOffError as error:
                raise DamagedLayerError(f"{source}: a layer is cut off: {error}") from error
    return view


def _add_layer(view: View, layer: Layer) -> None:
    if layer.path is not None:
        with layer.path.open("rb") as stream:
            stream.seek(layer.offset)
            _read(view, unpacked(_Window(stream, layer.size), layer.size))
    elif layer.feed is not None:
        with tempfile.TemporaryFile() as spool:
            layer.feed(spool)
            spool.seek(0)
            _read(view, unpacked(spool, layer.size))


class _Window:
    """The next bytes of a stream, and no more: in an archive the next blob begins behind a layer."""

    def __init__(self, stream: IO[bytes], size: int) -> None:
        self._stream = stream
        self._left = size

    def read(self, count: int, /) -> bytes:
        data = self._stream.read(min(count, self._left))
        self._left -= len(data)
        return data


def _read(view: View, chunks: Iterator[bytes]) -> None:
    reader = Forward(chunks)
    added: set[str] = set()
    for member in members(reader):
        _add(view, member, reader, added)
    for _ in chunks:  # to the end: only then has the checksum of the compression been looked at
        pass


def _add(view: View, member: Member, reader: Forward, added: set[str]) -> None:
    folder, _, name = member.path.rpartition("/")
    if name == ".wh..wh..opq":
        for path in [p for p in (*view.files, *view.links) if p.startswith(f"{folder}/") and p not in added]:
            view.files.pop(path, None)
            view.links.pop(path, None)
        return
    if name.startswith(".wh."):
        view.remove(f"{folder}/{name[4:]}" if folder else name[4:])
        return
    if member.type is Type.DIRECTORY:
        view.links.pop(member.path, None)
        return
    before = view.files.pop(member.path, None)
    view.links.pop(member.path, None)
    if any(name.startswith(f"{member.path}/") for name in view.files):  # a file where a directory was
        view.remove(member.path)
    if member.type is Type.SYMLINK:
        view.links[member.path] = member.target
    elif member.type is Type.HARD_LINK:
        target = view.files.get(member.target)
        if target is not None:
            view.files[member.path] = target
    elif member.type is Type.FILE and _wanted(member.path):
        view.files[member.path] = _node(member, reader)
        if before is not None and member.path not in added:
            view.repeated += before.size
    added.add(member.path)


def _wanted(path: str) -> bool:
    return any(pattern.search(path) for pattern in (_ARTIFACT, _TEXT, _SOURCE, _PACKAGE, _INSTALLED))


def _node(member: Member, reader: Forward) -> Node:
    digest, kept, left = hashlib.sha256(), [], member.size
    keep = member.size <= _TEXT_LIMIT and any(pattern.search(member.path) for pattern in (_TEXT, _SOURCE))
    while left:
        chunk = reader.exactly(min(left, _CHUNK))
        left -= len(chunk)
        digest.update(chunk)
        if keep:
            kept.append(chunk)
    text = b"".join(kept).decode("utf-8", errors="replace")
    return Node(sha256=digest.hexdigest(), size=member.size, text=text)


def image_pins(source: str, *, platform: str = "") -> Pins:
    """The pins of the FlashInfer that an image has installed, read from its layers.

    Args:
        source: An image, as `orchestrate verify` takes it.
        platform: Which one of several, "linux/arm64".

    Raises:
        UsageError: It has none, or two.
        OrchestrateError: It cannot be read.
    """
    view = read_view(source, platform=platform)
    found = [match for path in view.files if (match := _SOURCE.match(path)) and match[2].endswith("artifacts.py")]
    if len(found) != 1:
        places = ", ".join(sorted(f"/{match[1]}" for match in found))
        raise UsageError(f"{source} has {f'FlashInfer in {places}' if found else 'no FlashInfer installed'}")
    site = found[0][1]
    versions = [match[1] for path in view.files if path.startswith(site) and (match := _INSTALLED.search(f"/{path}"))]

    def text(name: str) -> str | None:
        node = view.at(f"{site}/{name}")
        return None if node is None else node.text

    return pins.read_text(source, text, version=versions[0] if versions else "")


def judge(view: View, source: str, *, expected: str = "") -> Carried:
    """Judge what was read.

    Args:
        view: The image.
        source: Its name in messages.
        expected: Bundle digest that it must be, "" for any.
    """
    directory, problems = _directory(view, source)
    if not directory:
        return Carried(directory="", lock=None, problems=tuple(problems))
    node = view.at(f"{directory}/{locks.DEFAULT_NAME}")
    if node is None:
        what = f"no FlashInfer bundle in {directory}: {locks.DEFAULT_NAME} is not there"
        return Carried(directory=directory, lock=None, problems=(*problems, Problem(file=source, what=what)))
    try:
        lock = locks.loads(node.text, where=f"{source}:{directory}/{locks.DEFAULT_NAME}")
    except VerificationError as error:
        return Carried(directory=directory, lock=None, problems=(*problems, Problem(file=source, what=error.message)))
    digest = locks.bundle_digest(lock)
    if expected and digest != expected:
        problems.append(
            Problem(file=source, what="another bundle than the build was given", expected=expected, found=digest)
        )
    problems += _files(view, directory, lock)
    problems += _settings(view, source, lock)
    warnings = []
    if view.repeated:
        warnings.append(f"{view.repeated:,} bytes of FlashInfer artifacts are in two layers")
    return Carried(directory=directory, lock=lock, problems=tuple(problems), warnings=tuple(warnings))


def _directory(view: View, source: str) -> tuple[str, list[Problem]]:
    """Where FlashInfer looks: the variable or the package flashinfer_cubin, which wins before 0.6.16."""
    told = view.environment.get(CUBIN_DIR, "")
    packages = [match[1] for path in view.files if (match := _PACKAGE.match(path))]
    versions = _versions(view)
    if packages and (not told or (versions and not _env_first(versions[0]))):
        package = f"/{packages[0]}/flashinfer_cubin/cubins"
        if told and resolve(told.strip("/"), view.links) != package.strip("/"):
            what = (
                f"FlashInfer {versions[0]} looks in {package}, because flashinfer_cubin is installed, and not in {told}"
            )
            return package, [Problem(file=source, what=what)]
        return package, []
    if not told:
        what = f"{CUBIN_DIR} is not set and flashinfer_cubin is not installed: FlashInfer looks below the user's home"
        return "", [Problem(file=source, what=what)]
    return told, []


def _versions(view: View) -> list[str]:
    return sorted(match[1] for path in view.files if (match := _INSTALLED.search(f"/{path}")))


def _env_first(version: str) -> bool:
    try:
        return layout.of(version).env_first
    except UsageError:  # newer than what is known: the rule of the newest known one
        return True


def _files(view: View, directory: str, lock: Lock) -> Iterable[Problem]:
    for entry in locks.tree(lock):
        path = f"{directory}/{entry.path}"
        node = view.at(path)
        if node is None:
            yield Problem(file=path, what="is missing: a later layer removed it, or it never was there")
        elif node.sha256 != entry.sha256:
            expected, found = f"sha256 {entry.sha256[:12]}…", f"{node.sha256[:12]}…"
            yield Problem(file=path, what="was changed", expected=expected, found=found)


def _settings(view: View, source: str, lock: Lock) -> Iterable[Problem]:
    for version in _versions(view):
        if version != lock.version:
            what = "another FlashInfer is installed than the bundle was made for"
            yield Problem(file=source, what=what, expected=lock.version, found=version)
    if view.environment.get(NO_DOWNLOAD) and not lock.complete:
        what = f"{NO_DOWNLOAD} is set, and the bundle does not hold every cubin: FlashInfer would run another kernel"
        yield Problem(file=source, what=what, hint="leave it unset, or lock the tier cubins")
