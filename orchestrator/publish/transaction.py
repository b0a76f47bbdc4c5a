"""One publish as such: stage, record, move, read back, and say how it ended; the same for one tag and for forty."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from orchestrator.errors import InterruptedRunError, OrchestrateError
from orchestrator.publish.moves import Ending, Mover, Patience
from orchestrator.publish.record import begin
from orchestrator.publish.stage import stage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orchestrator.publish.kept import Keeper
    from orchestrator.publish.record import Move
    from orchestrator.reference import Digest, Repository
    from orchestrator.registry.clients import Clients
    from orchestrator.registry.manifests import Descriptor, Manifest


class Staged(Struct, frozen=True, kw_only=True):
    """An index that is to be in several repositories.

    Attributes:
        index: The index.
        sources: Digest of each child -> where it is.
        targets: Where the index goes.
    """

    index: Manifest
    sources: Mapping[Digest, Repository]
    targets: Sequence[Repository]


class Transaction(Struct, frozen=True, kw_only=True):
    """Moves tags to indexes, all or nothing.

    Attributes:
        clients: The registries.
        keeper: Keeps the record.
        patience: How long tags are waited for.
    """

    clients: Clients
    keeper: Keeper
    patience: Patience

    def stage(self, staged: Sequence[Staged]) -> None:
        """Bring every index and what it reaches to every repository; no tag moves.

        Raises:
            NetworkError, VerificationError: A registry denies access, refuses, does not answer, or answers falsely.
        """
        for one in staged:
            stage(self.clients, one.index, one.sources, one.targets)

    def move(
        self,
        moves: Sequence[Move],
        indexes: Mapping[Digest, Manifest],
        held: Mapping[Repository, Sequence[Descriptor]],
    ) -> Ending:
        """Write the record everywhere, move the tags, and write down how it ended.

        Args:
            moves: The tags; everything that they are to name is staged.
            indexes: Digest -> index of the moves.
            held: Repository -> what its record keeps: old and new digests.

        Raises:
            EnvironmentLacksError, NetworkError, VerificationError: The record cannot be written; no tag has moved.
            InterruptedRunError: A stop was asked for; the next publish goes on from the record.
        """
        record = begin(moves)
        mover = Mover(clients=self.clients, manifests=indexes, patience=self.patience)
        mover.require_unmoved(record)
        self.keeper.save(record, held)
        ending = mover.forward(record)
        try:
            self.keeper.save(ending.record)
        except InterruptedRunError:
            raise
        except OrchestrateError as error:  # the tags are where they are: the next publish reads them
            return replace(ending, remarks=(*ending.remarks, f"the record could not be closed: {error.message}"))
        return ending
