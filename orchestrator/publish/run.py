"""Does one publish: recover, check, stage, record, move, read back; and the way back of `--rollback`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct, field
from msgspec.structs import replace

from orchestrator.errors import NetworkError, UsageError
from orchestrator.matrix import git
from orchestrator.publish import candidates as found_by
from orchestrator.publish import kept, recovery
from orchestrator.publish.check import Checked, Checker
from orchestrator.publish.family import families, source
from orchestrator.publish.intent import Intent, intent
from orchestrator.publish.kept import Keeper
from orchestrator.publish.moves import Ending, Mover, Patience
from orchestrator.publish.notes import notes as release_notes
from orchestrator.publish.record import Move, State
from orchestrator.publish.sign import Cosign
from orchestrator.publish.transaction import Staged, Transaction
from orchestrator.reference import Digest, InvalidReferenceError, parse
from orchestrator.registry.clients import Clients, every
from orchestrator.registry.copy import copy_image
from orchestrator.runs.planned import planned
from orchestrator.sizes import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from orchestrator.matrix.variants import Plan
    from orchestrator.publish.candidates import Candidates
    from orchestrator.publish.family import Family
    from orchestrator.publish.notes import FamilyNotes
    from orchestrator.publish.record import Record
    from orchestrator.reference import Repository
    from orchestrator.registry.manifests import Manifest
    from orchestrator.runs.planned import Planned


class Wishes(Struct, frozen=True, kw_only=True):
    """What a publish was asked for.

    Attributes:
        chosen: Ids of the variants that the options select.
        reports: Build reports that say what was built; () asks the journal.
        from_registry: Whether the variants' tags say what was built.
        dry_run: Whether nothing is written anywhere.
        allow_older: Whether floating tags move though what they name may be newer.
        notes: Whether the images are read to say what changes for users.
        patience: How long tags are waited for.
    """

    chosen: Collection[str]
    reports: Sequence[Path] = ()
    from_registry: bool = False
    dry_run: bool = False
    allow_older: bool = False
    notes: bool = False
    patience: Patience = field(default_factory=Patience)


class Result(Struct, frozen=True, kw_only=True):
    """How a publish ended.

    Attributes:
        families: Each family with its problems.
        moves: The tags that move, or that a dry run names.
        settled: The tags that named the right digest before.
        ending: How the moves ended, None where nothing was moved.
        recovered: What earlier publishes had left open and how that ended.
        pending: Earlier publishes that a dry run leaves open.
        notes: What changes for users, where that was asked for.
    """

    families: tuple[Checked, ...] = ()
    moves: tuple[Move, ...] = ()
    settled: tuple[str, ...] = ()
    ending: Ending | None = None
    recovered: tuple[Ending, ...] = ()
    pending: tuple[Record, ...] = ()
    notes: tuple[FamilyNotes, ...] = ()

    @property
    def code(self) -> int:
        """The exit code: 6 where tags did not get where they belong, 1 where a family is refused."""
        if self.ending is not None and self.ending.record.state is not State.COMPLETE:
            return NetworkError.exit_code
        return 1 if any(one.problems for one in self.families) else 0


def publish(plan: Plan, wishes: Wishes, *, tell: Callable[[str], None], clients: Clients | None = None) -> Result:
    """Publish the families of a plan.

    Args:
        plan: The whole plan.
        wishes: What is asked for.
        tell: Hears of what goes on.
        clients: The registries; by default those that the matrix names.

    Raises:
        UsageError: The matrix publishes nothing, or a report is invalid.
        MatrixError, EnvironmentLacksError: The content keys of the plan cannot be computed.
        NetworkError, VerificationError: A registry denies access, does not answer or answers falsely, before a tag
            has moved.
        InterruptedRunError: A stop was asked for; the next publish goes on from the record.
    """
    wanted = families(plan, wishes.chosen)
    keys = planned(plan, ours=wishes.reports, tell=tell)
    named = _named_here(plan, wishes, keys)  # a wrong option ends the command before a tag moves
    with clients or Clients() as registries:
        run = _Run(plan=plan, wishes=wishes, clients=registries, tell=tell)
        recovered, pending = run.recover(wanted)
        variants = [variant for family in wanted for variant in family.members.values()]
        checker = Checker(
            plan=plan,
            planned=keys,
            candidates=named or found_by.from_registry(plan, variants, registries),
            clients=registries,
            commit=git.revision(plan.matrix.root),
            look_only=wishes.dry_run,
        )
        checked = [checker.check(family) for family in wanted]
        meant = intent(registries, checked, plan.matrix.root, allow_older=wishes.allow_older)
        said = release_notes(plan, registries, meant) if wishes.notes else ()  # before the old images lose their tags
        ending = run.move(meant) if meant.moves and not wishes.dry_run else None
        return Result(
            families=meant.families,
            moves=meant.moves,
            settled=meant.settled,
            ending=ending,
            recovered=recovered,
            pending=pending,
            notes=said,
        )


def _named_here(plan: Plan, wishes: Wishes, keys: Planned) -> Candidates | None:
    """What files of this machine name; None where the registry is asked."""
    if wishes.reports:
        return found_by.from_reports(wishes.reports)
    if wishes.from_registry:
        return None
    return found_by.from_journal(plan, {id_: one.key for id_, one in keys.inputs.items()})


class _Run(Struct, kw_only=True):
    plan: Plan
    wishes: Wishes
    clients: Clients
    tell: Callable[[str], None]

    def recover(self, wanted: Sequence[Family]) -> tuple[tuple[Ending, ...], tuple[Record, ...]]:
        """End what earlier publishes left open in the repositories of these families."""
        repositories = tuple(dict.fromkeys(one for family in wanted for one in family.repositories))
        mover = Mover(clients=self.clients, patience=self.wishes.patience)
        keeper = Keeper(self.clients, self.plan.matrix.root)
        found = recovery.unfinished(self.clients, mover, repositories)
        if self.wishes.dry_run:
            return (), tuple(one.record for one in found)
        endings = []
        for one in found:
            what = "continuing it" if one.begun else "nothing had moved"
            self.tell(f"publish {one.record.id} was interrupted: {what}")
            for repository in one.foreign:
                self.tell(f"{repository} does not hold the record of publish {one.record.id}: its tags are not touched")
            ending = recovery.finish(keeper, mover, one)
            if ending.record.state in (State.MOVING, State.ROLLING_BACK):
                raise NetworkError(
                    f"publish {one.record.id} could not be completed: {'; '.join((*ending.failures, *ending.remarks))}",
                    hint="run `orchestrate publish` again once the registry answers",
                )
            endings.append(ending)
        for record in recovery.settle_files(keeper, mover, repositories):
            self.tell(f"publish {record.id} of this machine ended {record.state.value}")
        return tuple(endings), ()

    def move(self, meant: Intent) -> Ending:
        """Stage what the families name, then move their tags."""
        transaction = Transaction(
            clients=self.clients,
            keeper=Keeper(self.clients, self.plan.matrix.root),
            patience=self.wishes.patience,
        )
        ready = [(one, one.index) for one in meant.families if one.index is not None]
        transaction.stage(
            [Staged(index=index, sources=self._sources(one), targets=one.family.repositories) for one, index in ready]
        )
        self._sign(ready)
        staged = f"{len(ready)} {'index' if len(ready) == 1 else 'indexes'}"
        self.tell(f"staged {staged}; moving {counted(len(meant.moves), 'tag')}")
        return transaction.move(meant.moves, {index.digest: index for _, index in ready}, meant.held)

    def _sign(self, ready: Sequence[tuple[Checked, Manifest]]) -> None:
        """Sign each index and each of its images once, and bring the signatures to every other repository."""
        spec = self.plan.matrix.spec.publish
        if spec is None or spec.sign is None:
            return
        cosign = Cosign(spec=spec.sign, root=self.plan.matrix.root.absolute())
        digests: dict[Repository, dict[Digest, None]] = {}
        copies: dict[tuple[Repository, Repository, Digest], None] = {}
        for checked, index in ready:
            first, *others = checked.family.repositories
            images = (image.image.digest for image in checked.images.values())
            digests.setdefault(first, {}).update(dict.fromkeys((index.digest, *images)))
            copies |= {(first, other, index.digest): None for other in others}  # with its images, each list once
        for repository, named in digests.items():
            count = cosign.sign(repository, list(named))
            self.tell(f"{repository}: {counted(count, 'digest')} signed, {len(named) - count} had a signature")
        every(lambda one: copy_image(self.clients.of(one[0]), self.clients.of(one[1]), one[2]), list(copies))

    def _sources(self, checked: Checked) -> dict[Digest, Repository]:
        """Digest of each child of an index -> the repository that it was pushed to."""
        return {
            Digest(str(entry["digest"])): source(self.plan, variant)
            for variant in checked.family.members.values()
            for entry in checked.images[variant.id].entries
        }


def rollback(named: str, *, tell: Callable[[str], None], root: Path, clients: Clients | None = None) -> Ending:
    """Give the tags of a publish their old digests again.

    Args:
        named: A file with its record, or a repository that holds it.
        tell: Hears of what is done.
        root: The directory of matrix.yaml, for the record.
        clients: The registries.

    Raises:
        UsageError: There is no such record.
        RecordError: It is invalid.
        NetworkError, VerificationError: A registry denies access, does not answer or answers falsely; a second run
            goes on.
    """
    with clients or Clients() as registries:
        record = _named(named, registries)
        tell(f"publish {record.id} of {record.started}, {record.state.value}: {counted(len(record.moves), 'tag')}")
        return recovery.roll_back(Keeper(registries, root), Mover(clients=registries), record)


def _holds(clients: Clients, repository: Repository, record: Record) -> bool:
    own = kept.pull(clients.of(repository))
    return own is not None and own.id == record.id and own.same_moves(record)


def _named(named: str, clients: Clients) -> Record:
    path = Path(named)
    if path.is_file():
        return kept.read_file(path)
    try:
        reference = parse(named)
    except InvalidReferenceError:
        reference = None
    record = kept.pull(clients.of(reference.repository)) if reference is not None else None
    if record is not None:  # the record of a repository decides about its own tags alone
        holding = [one for one in record.repositories if _holds(clients, one, record)]
        record = replace(record, moves=tuple(move for move in record.moves if move.repository in holding))
    if record is None or not record.moves:
        raise UsageError(
            f"--rollback {named}: the record was not found: expected a file or a repository that holds one",
            hint="the files are in .orchestrate/publish",
        )
    return record
