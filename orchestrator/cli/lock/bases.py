"""`orchestrate lock bases`: writes the digest of each base image, or says what moved since."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.cli import common, kit, options
from orchestrator.cli.kit import Heading
from orchestrator.errors import DriftError, Problem, UsageError
from orchestrator.sizes import counted

if TYPE_CHECKING:
    from orchestrator.cli.common import Location


@kit.command("bases", examples=("orchestrate lock bases", "orchestrate lock bases --check"))
@options.location
@kit.option(
    "--check", heading=Heading.BEHAVIOUR, is_flag=True,
    help="Compare the lock with the registries, and write nothing; exit 3 if a base moved.",
)  # fmt: skip
def command(*, given: Location, check: bool) -> None:
    """Lock the base images of every variant by digest.

    Builds then start from these digests, even after the tags move. The lock is bases.lock.json beside the matrix.
    """
    from orchestrator.publish import bases
    from orchestrator.registry.clients import Clients
    from orchestrator.runs import base_lock
    from orchestrator.ui import streams

    plan = common.open_plan(common.Selection(file=given.file, directory=given.directory))
    root = plan.matrix.root
    before = base_lock.read(root) if check else None
    if check and before is None:
        raise UsageError(f"--check: {base_lock.LOCK} was not found in {root}", hint="orchestrate lock bases")
    found = bases.find(plan, tell=streams.tell)
    for id_, why in found.unknown.items():
        streams.tell(f"warning: {id_}: its bases are not known: {why}")
    for name in found.own:
        streams.tell(
            f"warning: {name} is an image of this project: a release that is built on the last one carries it along"
        )
    with Clients() as clients:
        now = bases.lock(found, clients)
    if check:
        moved = bases.compare(before or (), now)
        if moved:
            problems = [
                Problem(what=f"{one.name} {one.what}", hint=f"affected: {', '.join(one.variants) or 'no variant'}")
                for one in moved
            ]
            raise DriftError(f"{base_lock.LOCK}: {len(moved)} base images do not match", problems=problems)
        streams.say(f"{len(now)} base images are as they were locked")
        return
    base_lock.write(root, now)
    for one in now:
        streams.say(f"{one.name}  {one.digest}  {', '.join(one.platforms)}  {counted(len(one.variants), 'variant')}")
    streams.tell(f"{len(now)} base images locked in {root / base_lock.LOCK}")
