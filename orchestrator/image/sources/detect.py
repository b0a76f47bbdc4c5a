"""Which source a name means, and what it holds."""

from __future__ import annotations

import contextlib
import errno
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.errors import EnvironmentLacksError, NetworkError, UsageError
from orchestrator.image.layers.store import default_directory
from orchestrator.image.sources.base import Contents
from orchestrator.reference import InvalidReferenceError, parse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.image.layers.store import LayerStore

ENGINE = "docker-daemon:"
REGISTRY = "docker://"
_NOTHING = "{} is not an image, wheel, shared object or directory"
_IMAGES = "an image is verified from its reference, a `docker save` or OCI archive, or an OCI layout"
_BEFORE_ZIP = (b"#!", b"MZ")  # what stands before a zip archive that is a program


@contextlib.contextmanager
def open_source(name: str, store: LayerStore, *, platform: str = "", deep: bool = False) -> Iterator[Contents]:
    """The image, wheel, directory or file that a user means.

    Args:
        name: A path, or an image reference. A reference is looked for in the engine first, then in its registry;
            `docker-daemon:NAME` and `docker://NAME` (skopeo's words) name one of the two.
        store: Where scans of layers are kept; layers found there are not fetched.
        platform: Which one of several, "linux/arm64".
        deep: Open every cubin for the names of its kernels.

    Raises:
        UsageError: It is nothing that can be read.
        EnvironmentLacksError, NetworkError, VerificationError: It cannot be read.
    """
    path, which = _addressed(name)
    with contextlib.ExitStack() as stack:
        if name.startswith((ENGINE, REGISTRY)) or not path.exists():
            if _means_a_file(name):
                raise UsageError(f"{name}: no such file or directory")
            yield _image(name, store, stack, platform=platform, deep=deep)
        else:
            try:
                yield _Local(path, which, store, stack).open(platform=platform, deep=deep)
            except OSError as error:
                if error.errno in (errno.EACCES, errno.EPERM):
                    raise EnvironmentLacksError(f"{name}: {error.strerror}") from error
                raise


def _addressed(name: str) -> tuple[Path, str]:
    """A path, and which image of the layout or archive there is meant: `L:v1`, `L@sha256:…`, `L:app:1.0`, `L:@0`."""
    path = Path(name)
    if path.exists():
        return path, ""
    for at in (at for at, letter in enumerate(name) if letter in ":@" and at):
        if Path(name[:at]).exists():
            return Path(name[:at]), name[at + 1 :]
    return path, ""


def _means_a_file(name: str) -> bool:
    """Whether a name that does not exist was meant as a path: nobody wants it looked up in a registry."""
    return name.startswith(("/", "./", "../", "~")) or name.endswith((".whl", ".so", ".tar", ".gz", ".zst", ".a", ".o"))


def _image(name: str, store: LayerStore, stack: contextlib.ExitStack, *, platform: str, deep: bool) -> Contents:
    from orchestrator.engine.images import Held
    from orchestrator.image.sources import engine, registry

    reference = name.removeprefix(ENGINE).removeprefix(REGISTRY)
    try:
        parsed = parse(reference)
    except InvalidReferenceError as error:
        raise UsageError(f"{name}: no such file, and not a valid image: {error.message}", hint=error.hint) from error
    image = None if name.startswith(REGISTRY) else engine.held(reference)
    if image is not None or name.startswith(ENGINE):  # of one that it does not hold, the engine says why
        return engine.open_image(
            reference, image or Held(), store, partial(_scratch, stack), platform=platform, deep=deep
        )
    try:
        contents, connection = registry.open_image(parsed, platform=platform)
    except NetworkError as error:
        if name.startswith(REGISTRY) or error.hint:
            raise
        hint = f"no file and no image of the local engine has this name, so {reference} was looked for in its registry"
        raise NetworkError(error.message, hint=hint) from error
    stack.callback(connection.close)
    return contents


def _scratch(stack: contextlib.ExitStack) -> Path:
    """An empty directory on the disk of the cache: /tmp is memory on many machines, and layers are large."""
    parent = default_directory().parent
    parent.mkdir(parents=True, exist_ok=True)
    return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="layers-", dir=parent)))


class _Local:
    """What lies at a path.

    Args:
        path: A file or directory.
        which: Of the images there, "" for the only one.
        store: Where scans of layers are kept.
        stack: Holds what must stay open while the contents are read.
    """

    def __init__(self, path: Path, which: str, store: LayerStore, stack: contextlib.ExitStack) -> None:
        self._path = path
        self._which = which
        self._store = store
        self._stack = stack

    def open(self, *, platform: str, deep: bool) -> Contents:
        """Its contents."""
        path = self._path
        if path.is_dir() and ((path / "oci-layout").is_file() or (path / "index.json").is_file()):
            from orchestrator.image.sources import oci

            return oci.open_layout(oci.directory_files(path), str(path), platform=platform, which=self._which)
        head = b""
        if not path.is_dir():
            with path.open("rb") as stream:
                head = stream.read(512)
        if head[257:262] == b"ustar":
            return self._archive(platform)
        if head.startswith((b"\x1f\x8b", b"\x28\xb5\x2f\xfd")):
            return self._packed_archive(platform=platform, deep=deep)
        return self._without_layers(head, deep=deep)

    def _without_layers(self, head: bytes, *, deep: bool) -> Contents:
        from orchestrator.image.sources import local  # loads the scanner, which kept scans do not need

        path = self._path
        if self._which:
            raise UsageError(f"{path}: {self._which} names one image of several, and this is not an archive of images")
        if path.is_dir():
            return local.open_directory(path, deep=deep)
        if head.startswith(b"PK") or (head.startswith(_BEFORE_ZIP) and local.is_zip(path)):
            return local.open_wheel(path, deep=deep)
        if head.startswith((b"\x7fELF", b"!<arch>\n", b"\x50\xed\x55\xba")) or path.suffix == ".ptx":
            return local.open_file(path, deep=deep)
        if (other := self._packed(deep=deep)) is not None:
            return other
        raise UsageError(_NOTHING.format(path), hint=_IMAGES)

    def _packed(self, *, deep: bool) -> Contents | None:
        """A packed library or archive, or a file of which it is known why it is not opened; None for any other."""
        from orchestrator.image.sources import local

        contents = local.open_file(self._path, deep=deep)
        return contents if contents.files is not None and contents.files.code else None

    def _archive(self, platform: str) -> Contents:
        """An archive of an image; a tar file without manifests is one file system (`docker export`)."""
        from orchestrator.image.layers.parallel import Layer
        from orchestrator.image.sources import oci

        files = oci.archive_files(self._path)
        if "index.json" in files or "manifest.json" in files:
            return oci.open_layout(files, str(self._path), platform=platform, which=self._which)
        layer = Layer(digest="", size=self._path.stat().st_size, path=self._path)
        return Contents(name=str(self._path), layers=(layer,))

    def _packed_archive(self, *, platform: str, deep: bool) -> Contents:
        """A compressed archive: `docker save IMAGE | gzip`, or a compressed file system."""
        from orchestrator.image.layers.parallel import Layer
        from orchestrator.image.layers.tar import DamagedArchiveError
        from orchestrator.image.layers.unpack import unpacked
        from orchestrator.image.sources import oci
        from orchestrator.image.sources.spool import spool

        path = self._path
        size = path.stat().st_size
        if not _begins_tar(path, size) and (other := self._packed(deep=deep)) is not None:
            return other
        try:
            image = _looks_like_image(path, size)
        except DamagedArchiveError as error:
            if not _begins_tar(path, size):  # an archive of before ustar has no mark
                raise UsageError(_NOTHING.format(path), hint=_IMAGES) from error
            raise
        if not image:
            return Contents(name=str(path), layers=(Layer(digest="", size=size, path=path),))
        stream = self._stack.enter_context(path.open("rb"))

        def known(digest: str) -> bool:
            return self._store.has(digest, deep=deep)

        files, _ = spool(unpacked(stream, size), _scratch(self._stack), known, str(path))
        return oci.open_layout(files, str(path), platform=platform, which=self._which)


def _begins_tar(path: Path, size: int) -> bool:
    from orchestrator.image.layers.unpack import unpacked

    with path.open("rb") as stream:
        return next(unpacked(stream, size), b"")[257:262] == b"ustar"


def _looks_like_image(path: Path, size: int) -> bool:
    """By the first names: an image's archive begins with blobs or manifests, a file system with its directories."""
    from orchestrator.image.code.forward import CutOffError, Forward
    from orchestrator.image.layers.tar import members
    from orchestrator.image.layers.unpack import unpacked

    with path.open("rb") as stream, contextlib.suppress(CutOffError):  # whoever reads all of it says so
        for count, member in enumerate(members(Forward(unpacked(stream, size)))):
            if member.path.startswith("blobs/") or member.path in ("index.json", "manifest.json", "oci-layout"):
                return True
            if member.path.endswith("/layer.tar"):
                return True
            if count > 3:
                break
    return False
