"""40 tags in two registries: our publish against `docker buildx imagetools create`, tag by tag and all at once.

    python -m benchmarks.publish [--runs 3]

Two registries of this machine (Debian's docker-registry), 20 tags in each, all of which name one index of two
platforms that is in both. Ours is the whole transaction over tags that exist: look, stage, record, move in three ranks,
read back, record. The window is what users can see: the time between the first and the last tag of a rank.
`imagetools create` moves the same 40 tags, with one call for each tag, and with one call for each registry. They take
turns, best runs count.
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.timing import best, row
from orchestrator.publish.moves import Ending, Patience
from orchestrator.publish.record import Rank, State
from orchestrator.publish.stage import stage
from orchestrator.reference import Repository
from orchestrator.registry.clients import Clients
from tests.support.engine import RegistryProcess
from tests.support.publishing import Wanted, images, publish

if TYPE_CHECKING:
    from collections.abc import Sequence

TAGS = {
    **{f"v1.{number}": Rank.VERSION for number in range(10)},
    **{f"nightly-{number}": Rank.FLOATING for number in range(9)},
    "latest": Rank.LATEST,
}


class Release:
    """A new index on every call, moved by us or by docker."""

    def __init__(self, repositories: Sequence[Repository], root: Path) -> None:
        self.repositories = tuple(repositories)
        self.root = root
        self.endings: list[Ending] = []
        self._numbers = itertools.count()

    def wanted(self) -> Wanted:
        """An index that no tag names yet."""
        with Clients() as clients:
            client = clients.of(self.repositories[0])
            found = images(client, "linux/amd64", "linux/arm64", salt=str(next(self._numbers)))
            wanted = Wanted(images=found, repositories=self.repositories, tags=TAGS)
            stage(clients, wanted.index, wanted.sources, self.repositories)
        return wanted

    def ours(self, wanted: Wanted) -> None:
        """The whole transaction."""
        with Clients() as clients:
            ending = publish(clients, wanted, self.root, patience=Patience())
        if ending is None or ending.record.state is not State.COMPLETE or len(ending.record.moves) != 40:
            raise SystemExit(f"not published: {ending}")
        self.endings.append(ending)

    def theirs(self, wanted: Wanted, *, at_once: bool) -> None:
        """The same tags with docker: a call for each, or one for each registry."""
        for repository in self.repositories:
            groups = [list(TAGS)] if at_once else [[tag] for tag in TAGS]
            for group in groups:
                words = [word for tag in group for word in ("--tag", f"{repository}:{tag}")]
                source = f"{repository}@{wanted.index.digest}"
                subprocess.run(
                    ["docker", "buildx", "imagetools", "create", *words, source], check=True, capture_output=True
                )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        registries = [RegistryProcess(root / str(number)) for number in range(2)]
        try:
            places = [Repository(host=one.registry.address, path="acme/app") for one in registries]
            release = Release(places, root)
            release.ours(release.wanted())  # the tags exist, as they do on every release but the first
            fresh = iter([release.wanted() for _ in range(3 * runs)])
            ours, single, whole = best(
                runs,
                lambda: release.ours(next(fresh)),
                lambda: release.theirs(next(fresh), at_once=False),
                lambda: release.theirs(next(fresh), at_once=True),
            )
        finally:
            for one in registries:
                one.stop()
    row("publish: 40 tags in two registries, whole transaction", ours, single, "imagetools create, tag by tag", "0.1x")
    row(
        "publish: 40 tags in two registries, whole transaction",
        ours,
        whole,
        "imagetools create, a call a registry",
        "-",
    )
    windows = min((ending.windows for ending in release.endings[1:]), key=lambda one: sum(each.seconds for each in one))
    for window in windows:
        print(
            f"  window of the {window.rank.value} tags: {window.tags} tags in {window.seconds:.3f} s  (goal under 1 s)"
        )


if __name__ == "__main__":
    main()
