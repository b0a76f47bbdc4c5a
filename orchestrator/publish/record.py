"""The record of a publish: which tags move from which digest to which, written down before the first of them moves.

It lies in the state directory and, as an artifact, in every repository; one that is read from a registry is untrusted.
"""

from __future__ import annotations

import json
import re
import uuid
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from orchestrator.errors import VerificationError
from orchestrator.reference import Digest, InvalidReferenceError, Repository, Tag, repository

if TYPE_CHECKING:
    from collections.abc import Iterable

SCHEMA = 1
MAX_RECORD = 8 << 20
"""Bytes of a record that is read."""

_ID = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{12}")


class Rank(StrEnum):
    """When a tag moves: a rank begins when every tag of the one before has been read back."""

    VERSION = "version"
    FLOATING = "floating"
    LATEST = "latest"


class State(StrEnum):
    """How far a publish is."""

    MOVING = "moving"
    COMPLETE = "complete"
    ROLLED_BACK = "rolled-back"
    INCOMPLETE = "incomplete"
    ROLLING_BACK = "rolling-back"


class RecordError(VerificationError):
    """A record is invalid."""


class Move(Struct, frozen=True, kw_only=True):
    """One tag of one repository.

    Attributes:
        repository, tag: Which.
        rank: When it moves.
        immutable: Whether it never moves again once it names something.
        old: What it named before, None where it did not exist.
        new: What it is to name.
        moved: Whether it named `new` when the record was written last.
    """

    repository: Repository
    tag: Tag
    rank: Rank
    immutable: bool
    old: Digest | None
    new: Digest
    moved: bool = False

    @property
    def name(self) -> str:
        """The full name of the tag."""
        return f"{self.repository}:{self.tag}"


class Record(Struct, frozen=True, kw_only=True):
    """A publish.

    Attributes:
        id: Names it.
        started: When, ISO 8601 in UTC.
        state: How far it is.
        moves: The tags, in the order of the plan.
    """

    id: str
    started: str
    state: State
    moves: tuple[Move, ...]

    @property
    def repositories(self) -> tuple[Repository, ...]:
        """Every repository, once."""
        return tuple(dict.fromkeys(move.repository for move in self.moves))

    def same_moves(self, other: Record) -> bool:
        """Whether both mean the same moves, however far each is."""
        return [replace(move, moved=False) for move in self.moves] == [
            replace(move, moved=False) for move in other.moves
        ]


def begin(moves: Iterable[Move]) -> Record:
    """Make the record of a publish that begins now."""
    now = datetime.now(UTC)
    return Record(
        id=f"{now:%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:12]}",
        started=now.isoformat(timespec="seconds"),
        state=State.MOVING,
        moves=tuple(moves),
    )


def write(record: Record) -> bytes:
    """Return the record as JSON."""
    content = {
        "schema": SCHEMA,
        "id": record.id,
        "started": record.started,
        "state": record.state.value,
        "moves": [
            {
                "repository": str(move.repository),
                "tag": str(move.tag),
                "rank": move.rank.value,
                "immutable": move.immutable,
                "old": str(move.old) if move.old is not None else None,
                "new": str(move.new),
                "moved": move.moved,
            }
            for move in record.moves
        ],
    }
    return (json.dumps(content, indent=1) + "\n").encode()


def read(data: bytes, where: str) -> Record:
    """Read a record.

    Args:
        data: Its JSON.
        where: Where it comes from, for messages.

    Raises:
        RecordError: It is invalid.
    """
    try:
        content: Any = json.loads(data)
        if content["schema"] != SCHEMA:
            raise ValueError(f"schema {content['schema']!r}"[:100])  # noqa: TRY301  # one way out of here
        record = Record(
            id=_matching(_ID, content["id"]),
            started=_started(content["started"]),
            state=State(content["state"]),
            moves=tuple(_move(one) for one in content["moves"]),
        )
        if len({move.name for move in record.moves}) != len(record.moves):
            raise ValueError("a tag in it twice")  # noqa: TRY301  # one way out of here
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, InvalidReferenceError) as error:
        found = str(error)[:200]
        raise RecordError(
            f"{where}: the record of a publish is invalid: expected schema {SCHEMA}, found {found}"
        ) from error
    return record


def _move(row: Any) -> Move:
    return Move(
        repository=repository(_text(row["repository"])),
        tag=Tag(_text(row["tag"])),
        rank=Rank(row["rank"]),
        immutable=_flag(row["immutable"]),
        old=None if row["old"] is None else Digest(_text(row["old"])),
        new=Digest(_text(row["new"])),
        moved=_flag(row["moved"]),
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("a value that is not text")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError("a value that is not true or false")
    return value


def _matching(pattern: re.Pattern[str], value: Any) -> str:
    if not pattern.fullmatch(_text(value)):
        raise ValueError("an invalid id")
    return str(value)


def _started(value: Any) -> str:
    return datetime.fromisoformat(_text(value)).isoformat(timespec="seconds")
