"""Requests: what a fetch wants, how patient it is, and the ways in which a source can answer.

The words that the fetcher and its transfers share; no I/O.
"""

from __future__ import annotations

import threading

from msgspec import Struct, field


class Wanted(Struct, frozen=True, kw_only=True):
    """One artifact.

    Attributes:
        path: Relative to the repository.
        sha256: Bare hex.
        size: Bytes, None while no lock has recorded it.
        optional: A 404 from every source is an answer, not a failure.
    """

    path: str
    sha256: str
    size: int | None = None
    optional: bool = False


class Options(Struct, frozen=True, kw_only=True):
    """How to fetch.

    Attributes:
        jobs: Downloads at the same time.
        window: Seconds after which the whole fetch stops retrying.
        connect: Seconds to wait for a connection.
        read: Seconds to wait for the next bytes.
        slowest: Bytes a second; a transfer that stays below it for `patience` is cut and counts as a failure.
        patience: Seconds before `slowest` is looked at.
        limit: Greatest size in bytes of a file whose size no lock has recorded.
        backoff: Seconds of the first pause between two rounds; it doubles, with jitter.
        backoff_most: Seconds of the longest pause, except when a server asks for a longer one (Retry-After).
    """

    jobs: int = 8
    window: float = 300.0
    connect: float = 10.0
    read: float = 20.0
    slowest: int = 1024
    patience: float = 30.0
    limit: int = 512 * 1024 * 1024
    backoff: float = 0.5
    backoff_most: float = 30.0


class Tally(Struct):
    """Counters that the threads of one fetch share."""

    guard: threading.Lock = field(default_factory=threading.Lock)
    requests: int = 0
    bytes: int = 0
    fetched: int = 0

    def add(self, *, requests: int = 0, received: int = 0, fetched: int = 0) -> None:
        """Count something."""
        with self.guard:
            self.requests += requests
            self.bytes += received
            self.fetched += fetched


class AnswerError(Exception):
    """A source did not give the file."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class RetryLaterError(AnswerError):
    """This source may give it later. `after` is what it asked for (Retry-After), in seconds."""

    def __init__(self, why: str, after: float | None = None) -> None:
        super().__init__(why)
        self.after = after


class UnreachableError(RetryLaterError):
    """No connection to this source."""


class RefusedError(AnswerError):
    """This source will not give it. `absent` says that it does not have it."""

    def __init__(self, why: str, *, absent: bool = False) -> None:
        super().__init__(why)
        self.absent = absent


class WrongBytesError(AnswerError):
    """This source gave other bytes than the digest says."""
