"""An image, wheel, directory or file that was read: what it holds, not judged yet.

One call opens a source, has its layers scanned and lays them over each other. What was promised is not its concern.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field

from orchestrator.cuda.arch import ArchSyntaxError, parse_list
from orchestrator.errors import UsageError
from orchestrator.image.layers.merge import Files, merge
from orchestrator.image.layers.parallel import scan_layers
from orchestrator.image.layers.store import LayerStore, default_directory
from orchestrator.image.sources.detect import open_source
from orchestrator.labels import ARCHS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orchestrator.cuda.arch import Arch
    from orchestrator.image.layers.parallel import Step


class Scanned(Struct, frozen=True, kw_only=True):
    """A source that was read, not judged yet.

    Attributes:
        source: As the user called it.
        digest: `sha256:…` of the manifest, "" where there is none.
        platform: "linux/arm64", "" where unknown.
        labels: Of the image.
        environment: Of the image.
        user: Whom the image runs as: "", "1000", "1000:0", "app".
        files: What the runtime sees.
        image: Whether it is an image, and no wheel, directory or file.
        layers: Digest and stored bytes of each layer, the lowest first.
    """

    source: str
    digest: str = ""
    platform: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    files: Files = field(default_factory=lambda: Files(code={}))
    image: bool = False
    layers: tuple[tuple[str, int], ...] = ()

    @property
    def promised(self) -> tuple[Arch, ...]:
        """What the image's own labels promise, () for nothing.

        Raises:
            UsageError: The label is there and does not parse.
        """
        text = self.labels.get(ARCHS, "")
        if not text:
            return ()
        try:
            return parse_list(text)
        except ArchSyntaxError as error:
            raise UsageError(f"{self.source}: the label {ARCHS} is invalid: {error}") from error


def scan_source(
    source: str,
    *,
    platform: str = "",
    deep: bool = False,
    store: LayerStore | None = None,
    workers: int | None = None,
    progress: Callable[[Step], None] | None = None,
) -> Scanned:
    """Read an image, wheel, directory or file.

    Args:
        source: As for `sources.detect.open_source`.
        platform: Which one of several, "linux/arm64".
        deep: Open every cubin for the names of its kernels.
        store: Where scans of layers are kept; by default in the user's cache directory.
        workers: Processes at once; by default as many as there are cores.
        progress: Called from several threads while layers are read.

    Raises:
        OrchestrateError: It cannot be read; the subclass says why.
    """
    kept = store or LayerStore(default_directory())
    with open_source(source, kept, platform=platform, deep=deep) as contents:
        own = contents.files
        layers = (
            scan_layers(contents.layers, kept, deep=deep, workers=workers, progress=progress) if own is None else (own,)
        )
    return Scanned(
        source=source,
        digest=contents.digest,
        platform=contents.platform,
        labels=contents.labels,
        environment=contents.environment,
        user=contents.user,
        files=merge(layers),
        image=own is None,
        layers=tuple((layer.digest, layer.size) for layer in contents.layers),
    )
