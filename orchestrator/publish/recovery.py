"""Ends what an earlier publish, of this machine or another, began and did not end.

The record of a repository decides about its own tags alone: who can write to one registry must not be able to move
tags in another one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from orchestrator.errors import VerificationError
from orchestrator.publish import kept
from orchestrator.publish.record import State
from orchestrator.registry.clients import Clients, every

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from orchestrator.publish.kept import Keeper
    from orchestrator.publish.moves import Ending, Mover
    from orchestrator.publish.record import Record
    from orchestrator.reference import Repository

OPEN = (State.MOVING, State.INCOMPLETE, State.ROLLING_BACK)
"""The states of a publish that a later one goes on with."""


class Unfinished(Struct, frozen=True, kw_only=True):
    """A publish that was not ended.

    Attributes:
        record: Its record, with the moves in the repositories that hold it and that are asked for.
        foreign: Repositories of the record that are not touched: they do not hold it, or nobody asked for them.
        begun: Whether the record stands in every one of its repositories, or a tag of it has moved.
    """

    record: Record
    foreign: tuple[Repository, ...]
    begun: bool


def unfinished(clients: Clients, mover: Mover, repositories: Sequence[Repository]) -> tuple[Unfinished, ...]:
    """Return what was begun in these repositories and not ended.

    Raises:
        NetworkError, DamagedAnswerError: A repository cannot be read.
        RecordError: A record is invalid.
        VerificationError: Two repositories hold different records of one publish.
    """
    found = dict(zip(repositories, every(lambda one: kept.pull(clients.of(one)), repositories), strict=True))
    by_id: dict[str, list[Repository]] = {}
    for repository, record in found.items():
        if record is not None and record.state in OPEN:
            by_id.setdefault(record.id, []).append(repository)
    return tuple(_unfinished(mover, [(one, found[one]) for one in holders]) for holders in by_id.values())


def _unfinished(mover: Mover, held: Sequence[tuple[Repository, Record | None]]) -> Unfinished:
    records = [record for _, record in held if record is not None]
    holders = {repository for repository, _ in held}
    first = records[0]
    if not all(first.same_moves(other) for other in records):
        names = ", ".join(str(repository) for repository in holders)
        raise VerificationError(
            f"the records of publish {first.id} do not match between {names}",
            hint="look at both, and remove the tag orchestrate-publish from the repository that is wrong",
        )
    record = replace(first, moves=tuple(move for move in first.moves if move.repository in holders))
    foreign = tuple(one for one in first.repositories if one not in holders)
    begun = not foreign or any(name == move.new for move, name in mover.observed(record.moves).items())
    return Unfinished(record=record, foreign=foreign, begun=begun)


def finish(keeper: Keeper, mover: Mover, found: Unfinished) -> Ending:
    """Move the tags of an unfinished publish forward, or back where a registry refuses; its record says how it ended.

    Raises:
        NetworkError, DamagedAnswerError: The record cannot be written.
        InterruptedRunError: A stop was asked for.
    """
    if found.record.state is State.ROLLING_BACK:
        return roll_back(keeper, mover, found.record)
    ending = mover.forward(found.record) if found.begun else mover.back(found.record)
    keeper.save(ending.record)
    return ending


def roll_back(keeper: Keeper, mover: Mover, record: Record) -> Ending:
    """Give the tags of a publish their old digests again; the next run finishes one that is killed.

    Raises:
        EnvironmentLacksError, NetworkError, VerificationError: The record cannot be written.
        InterruptedRunError: A stop was asked for.
    """
    keeper.save(replace(record, state=State.ROLLING_BACK))
    ending = mover.back(record)
    # what stays (an immutable tag) was decided by whoever asked: no later publish moves the others forward again
    state = State.ROLLING_BACK if ending.record.state is State.MOVING else State.ROLLED_BACK
    ending = replace(ending, record=replace(ending.record, state=state))
    keeper.save(ending.record)
    return ending


def settle_files(keeper: Keeper, mover: Mover, repositories: Sequence[Repository]) -> Iterator[Record]:
    """Say in this machine's own records how they ended, from what the tags name; the registries know no more of them.

    Args:
        keeper: Has the records.
        mover: Reads the tags.
        repositories: Those that are asked for; a record with another one is left as it is.
    """
    for record in keeper.pending_files():
        if not set(record.repositories) <= set(repositories):
            continue
        now = mover.observed(record.moves)
        moved = {move for move in record.moves if now[move] == move.new}
        state = State.COMPLETE if len(moved) == len(record.moves) else State.INCOMPLETE if moved else State.ROLLED_BACK
        ended = replace(record, state=state, moves=tuple(replace(move, moved=move in moved) for move in record.moves))
        keeper.save_file(ended)
        yield ended
