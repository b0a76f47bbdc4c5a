"""Moves tags: rank by rank forward, and back where a registry definitely refuses.

A tag is read right before it is moved: one that names neither the old digest nor the new one was moved by somebody
else and stays as it is. A tag counts as moved once it was read back. What is passing (no answer, 429, 5xx) is tried
again; what is definitive (403, 404, a refusal, somebody else's move) turns back: every tag that was moved gets its old
digest, the last rank first. Once an immutable tag has moved there is only forward, so then the floating tags alone go
back. A tag that did not exist before cannot be taken away everywhere; it moves last in its rank, and it stays. No tag
goes back while one of a later rank stays, in whichever registry: that one would be ahead of it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from msgspec import Struct, field
from msgspec.structs import replace

from orchestrator import process
from orchestrator.errors import NetworkError, OrchestrateError
from orchestrator.publish.record import Move, Rank, Record, State
from orchestrator.registry.clients import Clients, each, every
from orchestrator.registry.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orchestrator.reference import Digest
    from orchestrator.registry.manifests import Manifest


class MovedMeanwhileError(NetworkError):
    """A tag names what neither this publish nor the state before it knows."""


class Patience(Struct, frozen=True, kw_only=True):
    """How long tags are waited for.

    Attributes:
        rounds: How often a rank is tried, and its tags read back.
        pause_s: Seconds before the second round; each further pause is twice as long.
    """

    rounds: int = 6
    pause_s: float = 0.5


class Window(Struct, frozen=True, kw_only=True):
    """How long a rank took: from the first tag that changed to the last."""

    rank: Rank
    tags: int
    seconds: float


class Ending(Struct, frozen=True, kw_only=True):
    """How a publish ended.

    Attributes:
        record: What was meant and what moved.
        windows: How long each rank took.
        failures: Why it did not go forward, a line for each tag.
        remarks: What did not go back, and why.
    """

    record: Record
    windows: tuple[Window, ...] = ()
    failures: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


class Mover(Struct, kw_only=True):
    """Moves the tags of one record.

    Attributes:
        clients: The registries.
        manifests: Digest -> manifest, of those that were read or made; the others are read from their repository.
        patience: How long tags are waited for.
    """

    clients: Clients
    manifests: Mapping[Digest, Manifest] = field(default_factory=dict)
    patience: Patience = field(default_factory=Patience)

    def forward(self, record: Record) -> Ending:
        """Move every tag to its new digest.

        Raises:
            InterruptedRunError: A stop was asked for; the record says what was meant.
        """
        windows: list[Window] = []
        for rank in Rank:
            moves = [move for move in record.moves if move.rank is rank]
            for group in ([move for move in moves if move.old], [move for move in moves if not move.old]):
                if not group:
                    continue
                failures, window = self._forward(group)
                windows.append(replace(window, rank=rank))
                if failures:
                    ending = self.back(record)
                    return replace(ending, windows=tuple(windows), failures=tuple(failures))
        return Ending(record=_ended(record, State.COMPLETE, set(record.moves)), windows=tuple(windows))

    def back(self, record: Record) -> Ending:
        """Give every tag its old digest again, as far as that is allowed.

        Raises:
            InterruptedRunError: A stop was asked for.
        """
        remarks: list[str] = []
        now = self.observed(record.moves)
        immutable = [move for move in record.moves if move.immutable and now[move] != move.old]
        unknown = False
        stays: set[Move] = set()  # the tags that name the new digest, and go on to do so
        for rank in reversed(Rank):
            moves = [move for move in record.moves if move.rank is rank and now[move] not in (move.old, None)]
            returning: list[Move] = []
            for move in moves:
                why = self._stays(move, now[move], immutable, stays)
                if why:
                    remarks.append(f"{move.name}: {why}")
                if not why:
                    returning.append(move)
                elif now[move] == move.new:
                    stays.add(move)
            failed = self._return(returning)
            remarks += [f"{move.name}: was not put back: {error.message}" for move, error in failed.items()]
            stays |= failed.keys()
            unknown = unknown or bool(failed)
        whole = not immutable and not [move for move in stays if move.old]
        state = State.MOVING if unknown else State.ROLLED_BACK if whole else State.INCOMPLETE
        return Ending(record=_ended(record, state, stays), remarks=tuple(remarks))

    def require_unmoved(self, record: Record) -> None:
        """Require that every tag names what the record says that it names: one that was read wrongly is found here.

        Raises:
            MovedMeanwhileError: One does not.
            NetworkError, DamagedAnswerError: One cannot be read.
        """
        for move, found in zip(record.moves, every(self._named, record.moves), strict=True):
            if found != move.old:
                raise MovedMeanwhileError(
                    f"{move.name}: {_mismatch(move, found)}", hint="run `orchestrate publish` again"
                )

    def observed(self, moves: Sequence[Move]) -> dict[Move, Digest | None]:
        """What each tag names now; what cannot be read counts as moved."""
        results = each(self._named, moves)
        return {
            move: move.new if isinstance(found, OrchestrateError) else found
            for move, found in zip(moves, results, strict=True)
        }

    # -- forward ----------------------------------------------------------------------------------------------------

    def _forward(self, moves: Sequence[Move]) -> tuple[list[str], Window]:
        """Move a group until every tag of it was read back; the lines of what failed."""
        times: list[float] = []
        left = list(moves)
        errors: dict[Move, OrchestrateError] = {}
        for number in range(self.patience.rounds):
            if number:
                process.pause(self.patience.pause_s * 2 ** (number - 1))
            errors = {}
            for move, error in self._tried(left, times).items():
                if not isinstance(error, UnavailableError):
                    return [f"{move.name}: {error.message}"], _window(moves, times)
                errors[move] = error
            confirmed = each(self._named, left)
            again = []
            for move, found in zip(left, confirmed, strict=True):
                if isinstance(found, OrchestrateError):
                    errors.setdefault(move, found)
                    again.append(move)
                elif found != move.new:
                    again.append(move)
            left = again
            if not left:
                return [], _window(moves, times)
        lines = [f"{move.name}: {errors[move].message if move in errors else 'was not read back'}" for move in left]
        return lines, _window(moves, times)

    def _tried(self, moves: Sequence[Move], times: list[float]) -> dict[Move, OrchestrateError]:
        def one(move: Move) -> None:
            found = self._named(move)
            if found == move.new:
                return
            if found != move.old:
                raise MovedMeanwhileError(_mismatch(move, found))
            manifest = self._manifest(move, move.new)
            times.append(time.monotonic())
            self.clients.of(move.repository).put_manifest(manifest, move.tag)
            times.append(time.monotonic())

        results = each(one, moves)
        failed = {
            move: error for move, error in zip(moves, results, strict=True) if isinstance(error, OrchestrateError)
        }
        # a definitive one is told first
        return dict(sorted(failed.items(), key=lambda item: isinstance(item[1], UnavailableError)))

    def _named(self, move: Move) -> Digest | None:
        found = self.clients.of(move.repository).head(move.tag)
        return found.digest if found is not None else None

    def _manifest(self, move: Move, digest: Digest) -> Manifest:
        known = self.manifests.get(digest)
        return known if known is not None else self.clients.of(move.repository).manifest(digest)

    # -- back -------------------------------------------------------------------------------------------------------

    def _stays(self, move: Move, found: Digest | None, immutable: Sequence[Move], stays: set[Move]) -> str:
        """Why a tag is not put back, "" where it is."""
        if found != move.new:
            return f"was moved by somebody else to {found}, and stays"
        if move.old is None:
            return "did not exist before, and stays"
        if move.rank is Rank.VERSION and immutable:
            return "stays, because an immutable tag has moved"
        ranks = list(Rank)
        later = [one.name for one in stays if ranks.index(one.rank) > ranks.index(move.rank) and one.new == move.new]
        return f"stays, because {min(later)} names the same and stays" if later else ""

    def _return(self, moves: Sequence[Move]) -> dict[Move, OrchestrateError]:
        """Put tags back; those that are not back, each with the reason."""

        def one(move: Move) -> None:
            found = self._named(move)
            if found == move.new and move.old is not None:
                self.clients.of(move.repository).put_manifest(self._manifest(move, move.old), move.tag)
                found = self._named(move)
            if found == move.new:
                raise UnavailableError("the registry still names the new digest")

        left: dict[Move, OrchestrateError] = dict.fromkeys(moves, UnavailableError("not tried"))
        failed: dict[Move, OrchestrateError] = {}
        for number in range(self.patience.rounds):
            if not left:
                break
            if number:
                process.pause(self.patience.pause_s * 2 ** (number - 1))
            results = dict(zip(left, each(one, list(left)), strict=True))
            errors = {move: error for move, error in results.items() if isinstance(error, OrchestrateError)}
            left = {move: error for move, error in errors.items() if isinstance(error, UnavailableError)}
            failed |= {move: error for move, error in errors.items() if move not in left}
        return failed | left


def _mismatch(move: Move, found: Digest | None) -> str:
    names = f"expected {move.old or 'no such tag'}, found {found or 'no such tag'}"
    return f"the digest does not match: {names}; somebody else moved it meanwhile"


def _ended(record: Record, state: State, moved: set[Move]) -> Record:
    return replace(record, state=state, moves=tuple(replace(move, moved=move in moved) for move in record.moves))


def _window(moves: Sequence[Move], times: Sequence[float]) -> Window:
    seconds = max(times) - min(times) if times else 0.0
    return Window(rank=Rank.VERSION, tags=len(moves), seconds=seconds)
