"""A progress bar over the bytes of an image's layers while they are read."""

from __future__ import annotations

import contextlib
import sys
import threading
from typing import TYPE_CHECKING

from orchestrator.ui import console

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Self

    from orchestrator.image.layers.parallel import Step


@contextlib.contextmanager
def layers_read() -> Iterator[Callable[[Step], None] | None]:
    """A progress bar over the bytes of all layers, where somebody looks and a layer must be read."""
    if not sys.stderr.isatty():
        yield None
        return
    with contextlib.ExitStack() as stack:
        layers: dict[int, Step] = {}
        bars: list[_Bar] = []
        lock = threading.Lock()

        def tell(step: Step) -> None:
            with lock:
                layers[step.index] = step
                if not step.cached and not bars:  # rich takes longer to load than kept scans take to read
                    bars.append(stack.enter_context(_Bar()))
                for bar in bars:
                    bar.show(layers.values())

        yield tell


class _Bar:
    """The progress bar itself; shown while entered."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

        columns = TextColumn("reading layers"), BarColumn(), DownloadColumn()
        self._progress = Progress(*columns, console=console.err(), transient=True)
        self._task = self._progress.add_task("layers", total=0)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, steps: Iterable[Step]) -> None:
        known = list(steps)
        self._progress.update(
            self._task, total=sum(one.size for one in known), completed=sum(one.read for one in known)
        )
