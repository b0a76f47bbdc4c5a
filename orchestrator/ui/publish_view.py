"""Shows a publish: families, moves, how they ended; as lines for people, as JSON for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator.publish.record import Rank, State
from orchestrator.sizes import counted
from orchestrator.ui import github

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from orchestrator.publish.check import Checked
    from orchestrator.publish.moves import Ending
    from orchestrator.publish.record import Move
    from orchestrator.publish.run import Result

SCHEMA = 1

_ENDED = {
    State.COMPLETE: "complete: every tag names the new digest",
    State.ROLLED_BACK: "rolled back: the tags name what they named before",
    State.INCOMPLETE: "incomplete: immutable tags have moved, the floating ones have not",
    State.MOVING: "interrupted: the next publish continues it",
    State.ROLLING_BACK: "not rolled back yet: the next publish continues it",
}


def lines(result: Result, *, dry_run: bool) -> Iterator[str]:
    """Yield the result, line by line."""
    for ending in result.recovered:
        yield f"publish {ending.record.id}  {_ENDED[ending.record.state]}"
    for record in result.pending:
        yield f"publish {record.id}  was interrupted: the next publish continues it first"
    for family in result.families:
        yield from _family(family)
    for rank in Rank:
        moves = [move for move in result.moves if move.rank is rank]
        if moves:
            yield f"{rank.value} tags: {'would move' if dry_run else 'moves'}"
            yield from (f"  {_move(move)}" for move in moves)
    if result.settled:
        names = "names" if len(result.settled) == 1 else "name"
        yield f"{counted(len(result.settled), 'tag')} {names} it already: {', '.join(result.settled)}"
    if result.ending is not None:
        yield from ended(result.ending)
    elif not result.moves and not any(one.problems for one in result.families):
        yield "nothing to move"


def ended(ending: Ending) -> Iterator[str]:
    """Yield how the moves ended."""
    for window in ending.windows:
        tags = counted(window.tags, "tag")
        yield f"{window.rank.value}: {tags}, {window.seconds:.3f} s between the first and the last"
    yield from (f"failed: {line}" for line in ending.failures)
    yield from (f"note: {line}" for line in ending.remarks)
    record = ending.record
    yield f"publish {record.id}  {_ENDED[record.state]}"
    if record.state is not State.COMPLETE:
        yield from (f"  names the new digest: {move.name}" for move in record.moves if move.moved)


def commands(result: Result) -> Iterator[str]:
    """Yield workflow commands for what was refused and for tags that are not where they belong."""
    for checked in result.families:
        for problem in checked.problems:
            yield github.command("error", str(problem), title=f"{checked.family.name} is not published")
    if result.ending is not None:
        yield from commands_of(result.ending)


def commands_of(ending: Ending) -> Iterator[str]:
    """Yield a workflow command for moves that did not end as they were meant to."""
    record = ending.record
    if ending.failures or record.state not in (State.COMPLETE, State.ROLLED_BACK):
        text = "\n".join((*ending.failures, *ending.remarks, _ENDED[record.state]))
        yield github.command("error", text, title=f"publish {record.id}")


def _family(checked: Checked) -> Iterator[str]:
    name = checked.family.name
    if checked.index is not None:
        yield f"{name}  {', '.join(checked.family.members)}  {checked.index.digest}"
    else:
        yield f"{name}  is not published"
    for problem in checked.problems:
        yield f"  {problem.what}"
        if problem.hint:
            yield f"    hint: {problem.hint}"
    yield from (f"  note: {note}" for note in checked.notes)


def _move(move: Move) -> str:
    fixed = ", immutable" if move.immutable else ""
    return f"{move.name}  {move.old or 'new tag'} -> {move.new}{fixed}"


def as_json(result: Result) -> dict[str, Any]:
    """Return the result as `--format json` prints it: `"schema": 1`, documented in docs/publish.md."""
    ending = result.ending
    return {
        "schema": SCHEMA,
        "state": ending.record.state.value if ending is not None else None,
        "record": ending.record.id if ending is not None else None,
        "families": [_family_json(one) for one in result.families],
        "moves": [_move_json(one) for one in (ending.record.moves if ending is not None else result.moves)],
        "settled": list(result.settled),
        "windows": _windows(ending),
        "failures": list(ending.failures) if ending is not None else [],
        "remarks": list(ending.remarks) if ending is not None else [],
        "recovered": [{"record": one.record.id, "state": one.record.state.value} for one in result.recovered],
        "pending": [one.id for one in result.pending],
    }


def _family_json(checked: Checked) -> dict[str, Any]:
    return {
        "name": checked.family.name,
        "digest": str(checked.index.digest) if checked.index is not None else None,
        "revision": checked.revision or None,
        "platforms": {
            platform: {"variant": variant.id, "digest": str(checked.images[variant.id].digest)}
            for platform, variant in checked.family.members.items()
            if variant.id in checked.images
        },
        "problems": [{"what": one.what, "hint": one.hint} for one in checked.problems],
        "notes": list(checked.notes),
    }


def _move_json(move: Move) -> dict[str, Any]:
    return {
        "tag": move.name,
        "rank": move.rank.value,
        "immutable": move.immutable,
        "old": str(move.old) if move.old is not None else None,
        "new": str(move.new),
        "moved": move.moved,
    }


def _windows(ending: Ending | None) -> Sequence[dict[str, Any]]:
    windows = ending.windows if ending is not None else ()
    return [{"rank": one.rank.value, "tags": one.tags, "seconds": round(one.seconds, 4)} for one in windows]
