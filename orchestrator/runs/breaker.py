"""Keeps the variants of one run from hammering a registry that is down: one tries, the others wait for its result.

Ten variants that each make three attempts ask a registry thirty times that has said "busy" to the first of them.
"""

from __future__ import annotations

import re
import threading
import time
from typing import TYPE_CHECKING

from msgspec import Struct

from orchestrator.reference import InvalidReferenceError, parse

if TYPE_CHECKING:
    from orchestrator.bake.progress import Failure
    from orchestrator.process import Stop

_URL = re.compile(r"\bhttps?://([^/\s\"'@]+)/")
_PUSH = re.compile(r"^failed to push ([^\s:]+(?::\d+)?/[^\s:@]+)")
_PULL = re.compile(r"(?:^\[internal\] load metadata for |\] FROM )(\S+)")
_POLL_S = 0.1
_FORGOTTEN_S = 60.0


def host(failure: Failure) -> str:
    """Return which host a failure of the network is about, "" where its words do not tell."""
    found = _URL.search(failure.message)
    if found is not None:
        return found[1].lower()
    named = _PUSH.match(failure.message) or _PULL.search(failure.step)
    try:
        return parse(named[1]).repository.host if named is not None else ""
    except InvalidReferenceError:
        return ""


class Breaker:
    """What the variants of one run know of hosts that failed.

    Each variant makes its first attempt. While a host is down, one variant makes further attempts (the first that
    asks); the others are held until that one got through, or gave up, after which nobody makes a further attempt there
    for a minute.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._trying: dict[str, str] = {}
        self._given_up: dict[str, _GivenUp] = {}

    def refuses(self, variant: str, name: str, *, stop: Stop) -> str:
        """Wait until a variant may try a host again.

        Args:
            variant: The variant.
            name: The host that its last attempt failed at.
            stop: Ends the waiting.

        Returns:
            Why it shall not, "" if it may.
        """
        while not stop.is_set():
            with self._lock:
                given_up = self._given_up.get(name)
                if given_up is not None and time.monotonic() - given_up.at < _FORGOTTEN_S:
                    return f"not tried again: {name} was down in all attempts of {given_up.variant}"
                if self._trying.setdefault(name, variant) == variant:
                    return ""
            stop.wait(_POLL_S)
        return ""  # the caller looks at the stop itself

    def ended(self, variant: str, name: str) -> None:
        """An attempt of a variant ended, with a failure at a host, or elsewhere or well: "" then."""
        with self._lock:
            self._release(variant, but=name)

    def left(self, variant: str, name: str) -> None:
        """A variant makes no further attempt; `name` is the host that its last one failed at, "" if at none."""
        with self._lock:
            if name and self._trying.get(name) == variant:
                self._given_up[name] = _GivenUp(variant=variant, at=time.monotonic())
            self._release(variant)

    def _release(self, variant: str, *, but: str = "") -> None:
        for name in [name for name, trier in self._trying.items() if trier == variant and name != but]:
            del self._trying[name]


class _GivenUp(Struct, frozen=True, kw_only=True):
    variant: str
    at: float
