"""The command `orchestrate publish` itself, killed at a request: what it leaves, and that the next one ends it.

`ORCHESTRATE_PUBLISH_SWEEP=every` kills it at each request; by default at four.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

from orchestrator.reference import Repository, Tag
from orchestrator.registry.client import Registry as Client
from orchestrator.registry.manifests import described
from tests.support.project import COMMAND, Project
from tests.support.releases import Release, pushed, report, stand_ins, write
from tests.support.traps import Trap, TrappedProxy

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from orchestrator.reference import Digest
    from tests.support.engine import MakeRegistry

EVERY = bool(os.environ.get("ORCHESTRATE_PUBLISH_SWEEP"))


def named(places: Sequence[Repository], tags: Sequence[str]) -> dict[tuple[int, str], Digest | None]:
    """What the tags name in the registries themselves, each of them whole."""
    found: dict[tuple[int, str], Digest | None] = {}
    for number, place in enumerate(places):
        with Client(place) as client:
            for name in tags:
                there = client.head(Tag(name))
                found[number, name] = there.digest if there else None
                if there:
                    index = client.manifest(there.digest)
                    platforms = [one["platform"]["architecture"] for one in index.content["manifests"]]
                    assert [one for one in platforms if one != "unknown"] == ["amd64", "arm64"]
                    assert all(client.head(one.digest) for one in described(index))
    return found


def killed(release: Release, trap: Trap, words: Sequence[str]) -> int:
    """`orchestrate publish WORDS` with the trap set; its exit status."""
    with subprocess.Popen(
        [COMMAND, "publish", *words], cwd=release.project.root, env=release.project.environment(release.env),
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        trap.kill = process.kill
        return process.wait(120)


def test_the_command_is_killed_and_the_next_one_ends_what_it_left(
    throwaway_registry: MakeRegistry, tmp_path: Path
) -> None:
    addresses = [throwaway_registry().address for _ in range(2)]
    real = [Repository(host=address, path="acme/app") for address in addresses]
    trap = Trap()
    with ExitStack() as running:
        proxies = [running.enter_context(TrappedProxy(address, trap, place)) for place, address in enumerate(addresses)]
        first, second = (Repository(host=one.address, path="acme/app") for one in proxies)
        project = write(tmp_path, first, to=["{image}", second], tags=("{git.short}",))
        matrix = project.root / "matrix.yaml"
        text = matrix.read_text().replace("{app: {}, app-slim: {tag_suffix: -slim}}", "[app]")
        matrix.write_text(re.sub(r'  "12.9".*\n', "", text))
        release = Release(project=project, source=real[0], env={})

        def published(number: int) -> tuple[str, list[str]]:
            commit = release.commit(f"release {number}")
            digests = pushed(release, stand_ins(release, commit))
            return report(release, digests), [commit[:12], "nightly", "latest"]

        words, tags = published(0)
        trap.arm(0)
        assert "complete" in release.run("--report", words)
        total = trap.count
        assert total > 40
        assert len(set(named(real, tags).values())) == 1
        chance = random.Random(14)  # which request, no secret
        requests = range(1, total + 1) if EVERY else sorted(chance.sample(range(1, total + 1), 4))
        ends: dict[str, int] = {}
        for number, k in enumerate(requests, start=1):
            words, tags = published(number)
            before = named(real, tags)
            trap.arm(k, after=bool(number % 2))
            status = killed(release, trap, ["--report", words])
            assert status in (0, -signal.SIGKILL), (k, status)
            trap.arm(0)
            left = named(real, tags)
            moved = {key for key, digest in left.items() if digest != before[key]}
            floats = {key for key in moved if key[1] in ("nightly", "latest")}
            assert not floats or all(left[place, tags[0]] for place in (0, 1)), (k, left)
            ahead = [key for key in moved if key[1] == "latest"]
            assert not ahead or {(0, "nightly"), (1, "nightly")} <= moved, (k, left)
            machine = release
            if number % 4 < 2:  # another machine, which never saw the first one's directory
                root = tmp_path / f"machine-{number}"
                shutil.copytree(project.root, root, ignore=shutil.ignore_patterns(".orchestrate"))
                machine = replace(release, project=Project(root=root, report=project.report))
            machine.run("--report", words)
            after = named(real, tags)
            assert len(set(after.values())) == 1, (k, after)
            assert set(after.values()) != {before[0, "latest"]}
            how = f"{'killed' if status else 'ended'}, {len(moved)} of 6 tags moved"
            ends[how] = ends.get(how, 0) + 1
        print(f"\n{total} requests, {sum(ends.values())} runs of the command: {dict(sorted(ends.items()))}")
        assert any(how.startswith("killed") for how in ends)
