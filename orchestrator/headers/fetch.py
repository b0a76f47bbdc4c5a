"""Brings wanted artifacts into the store, whatever the network does.

The caller names what is wanted by path and sha256; nothing here lists a directory or reads an HTML index. What is in
the store already costs no request. Eight threads share one connection pool; each file is fetched by one process at a
time (the store's lock, asked again after it was acquired). A transient failure is retried with jitter until the window
of the whole fetch is over, a 404 is final at once, and every byte is hashed before the store shows it.
"""

from __future__ import annotations

import random
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from orchestrator.errors import EnvironmentLacksError, NetworkError, Problem, VerificationError
from orchestrator.headers.request import (
    AnswerError,
    Options,
    RefusedError,
    RetryLaterError,
    Tally,
    UnreachableError,
    Wanted,
    WrongBytesError,
)
from orchestrator.headers.sources import HttpSource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from orchestrator.headers.sources import LocalSource, Source
    from orchestrator.headers.store import Store
    from orchestrator.headers.transfer import Downloads


class Report(Struct, frozen=True, kw_only=True):
    """What a fetch did: files and bytes that came from a source, files that were in the store, requests sent."""

    fetched: int
    bytes: int
    present: int
    requests: int
    absent: tuple[str, ...]


class Missed(Struct, frozen=True, kw_only=True):
    """One file that could not be fetched.

    Attributes:
        path: The artifact.
        what: What happened, for people.
        why: `absent` (no source has it), `wrong` (other bytes than the digest says), `late` (the window is over), or
            `refused` (a source never serves it).
    """

    path: str
    what: str
    why: Literal["absent", "wrong", "late", "refused"]


def fetch(
    wanted: Sequence[Wanted],
    sources: Sequence[Source],
    store: Store,
    *,
    options: Options | None = None,
    progress: Callable[[int, int, int], None] | None = None,
) -> Report:
    """Bring every wanted artifact into the store.

    Args:
        wanted: What is needed; equal digests are fetched once.
        sources: Tried in order for every file; one that fails to connect is tried last from then on.
        store: Where the files go.
        options: How patient to be.
        progress: Called with (files done, files in all, bytes received) after every file, from one thread at a time.

    Raises:
        NetworkError: A file could not be had before the window was over, or no source has it.
        VerificationError: What a source served was not what the digest says, and no other source had the right bytes.
    """
    options = options or Options()
    todo = {item.sha256: item for item in wanted if not store.has(item.sha256, item.size)}
    present = len({item.sha256 for item in wanted}) - len(todo)
    if not todo:
        return Report(fetched=0, bytes=0, present=present, requests=0, absent=())
    run = _Run(sources, store, options)
    failures: list[Missed] = []
    absent: list[str] = []
    with ThreadPoolExecutor(max_workers=options.jobs, thread_name_prefix="fetch") as pool:
        futures = {pool.submit(run.one, item): item for item in todo.values()}
        try:
            for done, (item, missed) in enumerate(_ended(futures, run), 1):
                if missed is not None and item.optional and missed.why == "absent":
                    absent.append(item.path)
                elif missed is not None:
                    failures.append(missed)
                    run.failed(missed)
                if progress is not None:
                    progress(done, len(todo), run.tally.bytes)
        finally:  # an interrupt must not wait for the window to end
            run.stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            run.close()
    if failures:
        raise _error(failures, store)
    return Report(
        fetched=run.tally.fetched,
        bytes=run.tally.bytes,
        present=present,
        requests=run.tally.requests,
        absent=tuple(sorted(absent)),
    )


def _ended(futures: dict[Future[Missed | None], Wanted], run: _Run) -> Iterator[tuple[Wanted, Missed | None]]:
    """The files as they end. A server that drips header bytes can hold a thread past the window: then all end here."""
    seen: set[Future[Missed | None]] = set()
    try:
        for future in as_completed(futures, timeout=run.options.window + run.options.read + run.options.connect):
            seen.add(future)
            yield futures[future], future.result()
    except TimeoutError:
        late = f"not within {run.options.window:g} s: an answer never ended"
        for future in futures.keys() - seen:
            item = futures[future]
            yield item, future.result() if future.done() else Missed(path=item.path, what=late, why="late")


def _error(failures: list[Missed], store: Store) -> NetworkError | VerificationError:
    failures.sort(key=lambda missed: missed.path)
    wrong = [missed for missed in failures if missed.why == "wrong"]
    count = len(failures)
    message = f"{count} file{'s' * (count != 1)} could not be fetched"
    shown = tuple(Problem(file=missed.path, what=missed.what) for missed in failures[:10])
    if count > len(shown):
        message += f" (the first {len(shown)} are shown)"
    hint = f"run the command again (what arrived is kept in {store.root}), or name another source with --mirror"
    if len(wrong) == count:
        hint = "name another source with --mirror: this one serves other bytes than FlashInfer pinned"
        return VerificationError(message, problems=shown, hint=hint)
    return NetworkError(message, problems=shown, hint=hint)


class _Run:
    """One fetch: the clock, the connection pool, and which sources are down."""

    def __init__(self, sources: Sequence[Source], store: Store, options: Options) -> None:
        self.sources = tuple(sources)
        self.store = store
        self.options = options
        self.deadline = time.monotonic() + options.window
        self.tally = Tally()
        self.stop = threading.Event()
        self._down: set[str] = set()
        self._guard = threading.Lock()
        self._downloads: Downloads | None = None

    def close(self) -> None:
        if self._downloads is not None:
            self._downloads.pool.close()

    def downloads(self) -> Downloads:
        """Return the HTTP transfers, made with the first source that needs them."""
        from orchestrator.headers import transfer

        with self._guard:
            if self._downloads is None:
                self._downloads = transfer.Downloads(
                    pool=transfer.client(self.options),
                    store=self.store,
                    options=self.options,
                    tally=self.tally,
                    deadline=self.deadline,
                )
            return self._downloads

    def failed(self, missed: Missed) -> None:
        """Stop retrying the others once one file has used up the window or was refused."""
        if missed.why in {"late", "refused"}:
            self.stop.set()

    def one(self, item: Wanted) -> Missed | None:
        """Fetch one file; the failure as a value, so that all of them are reported together."""
        remaining = max(0.1, self.deadline - time.monotonic())
        try:
            with self.store.lock(item.sha256, timeout=remaining):
                if self.store.has(item.sha256, item.size):
                    return None
                return _File(self, item).fetch()
        except TimeoutError:
            return Missed(path=item.path, what="another process has been fetching it for the whole time", why="late")
        except OSError as error:
            raise EnvironmentLacksError(
                f"cannot write the header store {self.store.root}: {error.strerror or error}"
            ) from error

    def order(self) -> list[Source]:
        """Return the sources as they were named, those that could not be reached last."""
        with self._guard:
            return sorted(self.sources, key=lambda source: source.name in self._down)

    def attempt(self, source: Source, item: Wanted) -> None:
        """One try at one source; any failure is an AnswerError."""
        if not isinstance(source, HttpSource):
            _from_local(source, item, self)
            return
        try:
            self.downloads().fetch(source, item)
        except UnreachableError:
            with self._guard:
                self._down.add(source.name)
            raise


class _File:
    """One file's way through the sources: round after round, with a pause between two rounds."""

    def __init__(self, run: _Run, item: Wanted) -> None:
        self.run = run
        self.item = item
        self.lost: dict[str, AnswerError] = {}
        self.wrong: set[str] = set()

    def fetch(self) -> Missed | None:
        import tenacity

        options = self.run.options
        growing = tenacity.wait_exponential(multiplier=options.backoff, max=options.backoff_most)
        jitter = growing + tenacity.wait_random(0, options.backoff)

        def pause(state: tenacity.RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            asked = error.after if isinstance(error, RetryLaterError) else None
            # jitter on top of what a server asked for: eight threads must not come back in the same instant
            return jitter(state) if asked is None else asked + random.uniform(0, options.backoff)  # noqa: S311 - no secret

        def over(state: tenacity.RetryCallState) -> bool:
            return self.run.stop.is_set() or time.monotonic() + state.upcoming_sleep > self.run.deadline

        def sleep(seconds: float) -> None:
            self.run.stop.wait(seconds)

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(RetryLaterError), wait=pause, stop=over, sleep=sleep, reraise=True
        )
        try:
            if retrying(self._round):
                return None
        except RetryLaterError as reason:
            # what a mirror has answered for good comes first: the other source is often one that nobody can reach
            why = "; ".join([*self._answers(), f"not within {options.window:g} s: {reason.why}"])
            return Missed(path=self.item.path, what=why, why="late")
        why = "; ".join(self._answers())
        if all(isinstance(reason, RefusedError) and reason.absent for reason in self.lost.values()):
            return Missed(path=self.item.path, what=why or "no source is configured", why="absent")
        wrong = any(isinstance(reason, WrongBytesError) for reason in self.lost.values())
        return Missed(path=self.item.path, what=why, why="wrong" if wrong else "refused")

    def _answers(self) -> list[str]:
        return [f"{name}: {reason.why}" for name, reason in self.lost.items()]

    def _round(self) -> bool:
        """Try every source that may still have it; True when one gave it, False when none ever will."""
        later: list[RetryLaterError] = []
        for source in self.run.order():
            if source.name in self.lost:
                continue
            try:
                self.run.attempt(source, self.item)
            except RetryLaterError as reason:
                later.append(reason)
            except WrongBytesError as reason:
                # once more from the start: a proxy's damaged cache entry or a bad resume may have been the cause
                if source.name in self.wrong:
                    self.lost[source.name] = reason
                else:
                    self.wrong.add(source.name)
                    later.append(RetryLaterError(f"{source.name}: {reason.why}", after=0.0))
            except AnswerError as reason:
                self.lost[source.name] = reason
            else:
                return True
        if not later:
            return False
        asked = [reason.after for reason in later if reason.after is not None]
        raise RetryLaterError("; ".join(reason.why for reason in later), min(asked) if asked else None)


def _from_local(source: LocalSource, item: Wanted, run: _Run) -> None:
    import zipfile
    import zlib

    try:
        chunks = source.open(item.path)
        if chunks is None:
            raise RefusedError("not there", absent=True)
        limit = run.options.limit if item.size is None else item.size
        stored = run.store.add(_reading(chunks), item.sha256, limit=limit)
    except (_ReadError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        raise RefusedError(f"cannot be read: {error}") from error
    if not stored:
        raise WrongBytesError(f"its file is not the one that is pinned (sha256 {item.sha256[:12]}…)")
    run.tally.add(received=run.store.size(item.sha256), fetched=1)


class _ReadError(Exception):
    """The source's file could not be read; told apart from the store's file that could not be written."""


def _reading(chunks: Iterator[bytes]) -> Iterator[bytes]:
    try:
        yield from chunks
    except OSError as error:
        raise _ReadError(str(error)) from error
