"""Proxies that count the requests of a process, and answer the k-th one wrongly or kill the process at it."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.support.faults import Fault, FaultyProxy, Seen

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass
class Trap:
    """Counts the requests of several proxies, and does something at the k-th."""

    at: int = 0
    fault: Fault | None = None
    kill: Callable[[], None] | None = None
    """Ends the publishing process with SIGKILL."""
    after: bool = False
    place: int | None = None
    """Which registry's requests count, None for both."""
    count: int = 0
    seen: Counter[int] = field(default_factory=Counter)
    """Requests of each registry."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def arm(self, at: int, *, fault: Fault | None = None, after: bool = False, place: int | None = None) -> None:
        """Wait for the k-th request from now on; 0 for none."""
        with self.lock:
            self.at, self.fault, self.after, self.place, self.count, self.kill = at, fault, after, place, 0, None
            self.seen.clear()

    def take(self, place: int) -> Fault | None:
        """Hear of a request that came in to a registry."""
        with self.lock:
            self.seen[place] += 1
            if self.place not in (None, place):
                return None
            self.count += 1
            if self.count != self.at:
                return None
            if self.fault is None and not self.after:
                self._kill()
                return Fault(reset=True)
            return self.fault

    def answered(self) -> None:
        """Hear that the registry has answered a request."""
        with self.lock:
            if self.after and self.at and self.count >= self.at:
                self._kill()

    def _kill(self) -> None:
        while self.kill is None:
            time.sleep(0.001)
        self.kill()


class TrappedProxy(FaultyProxy):
    """A proxy in front of the registry `place` that asks a trap what to do."""

    def __init__(self, upstream: str, trap: Trap, place: int, *, tls: tuple[str, Path, Path] | None = None) -> None:
        super().__init__(upstream, tls=tls)
        self.trap = trap
        self.place = place

    def take(self, method: str, path: str) -> Fault | None:
        """The trap's fault."""
        del method, path
        return self.trap.take(self.place)

    def note(self, seen: Seen) -> None:
        """Tell the trap of an answer."""
        super().note(seen)
        self.trap.answered()
