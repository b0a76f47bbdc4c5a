"""Tells when a result is too old although its content key is equal: a base image has moved, or a limit of age is over.

Live digests are compared and never mixed into a key, so that a registry that does not answer changes no key.
"""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from msgspec import Struct, field

from orchestrator.engine import beyond
from orchestrator.errors import InterruptedRunError, OrchestrateError
from orchestrator.reference import InvalidReferenceError, parse

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from orchestrator.runs.journal import Entry

_ANSWER_S = 5.0


class Freshness(Struct, kw_only=True):
    """The question how old a result is, for one run; each image is asked for once.

    Attributes:
        local: Whether the builder takes an image that the engine has before it asks a registry (the docker driver).
        offline: Whether no registry is asked (an air-gapped build).
        max_age_s: Seconds after which a result is too old; None for never.
    """

    local: bool = False
    offline: bool = False
    max_age_s: float | None = None
    _live: dict[str, str] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def stale(self, bases: Sequence[str], entry: Entry | None) -> str:
        """Return why a result is too old, "" where it is not, or where nothing is known against it.

        Args:
            bases: Images without a digest that the build starts from.
            entry: What the journal says of the result, None on a machine that did not build it.

        Raises:
            InterruptedRunError: A stop was asked for.
        """
        if self.max_age_s is not None:
            if entry is None:
                return "its age is not known on this machine (--max-age)"
            age_s = (datetime.now(UTC) - datetime.fromisoformat(entry.at)).total_seconds()
            if age_s < 0:  # a clock was set back
                return f"its age is not known: it was built at {entry.at}, which is yet to come (--max-age)"
            if age_s > self.max_age_s:
                return f"was built at {entry.at}, longer ago than --max-age allows"
        for base, before, now in self._compared(bases, entry):
            if before and now and now != before:
                return f"its base {base} moved from {before[:19]} to {now[:19]}"
        return ""

    def uncompared(self, bases: Sequence[str], entry: Entry | None) -> str:
        """Return one sentence on the bases of which nobody knows whether they moved, "" where there is none.

        Args:
            bases: As for `stale`.
            entry: As for `stale`.

        Raises:
            InterruptedRunError: A stop was asked for.
        """
        names = [base for base, before, now in self._compared(bases, entry) if not (before and now)]
        return f"not known whether these moved since it was built: {', '.join(names)}" if names else ""

    def _compared(self, bases: Sequence[str], entry: Entry | None) -> Iterator[tuple[str, str, str]]:
        """Each base, with its digest when the result was built and now, "" where that is not known."""
        recorded = {_name(name): digest for name, digest in (entry.bases if entry is not None else {}).items()}
        for base in bases:
            before = recorded.get(_name(base), "")
            yield base, before, self._digest(base) if before else ""

    def _digest(self, image: str) -> str:
        """The digest that a build would start from now, "" where nobody says."""
        with self._lock:
            if image not in self._live:
                self._live[image] = (_engine(image) if self.local else "") or ("" if self.offline else _registry(image))
            return self._live[image]


def _name(text: str) -> str:
    """A reference with everything filled in, so that two spellings of one image are equal."""
    try:
        found = parse(text)
    except InvalidReferenceError:
        return text
    return f"{found.repository}:{found.tag or 'latest'}"


def _engine(image: str) -> str:
    done = beyond.inspect_images([image])
    try:
        found: Mapping[str, Mapping[str, str] | None] = json.loads(done.stdout)[0] if done.ok else {}
        return str((found.get("Descriptor") or {}).get("digest", ""))
    except (ValueError, AttributeError, IndexError, TypeError):
        return ""


def _registry(image: str) -> str:
    from orchestrator.reference import Tag
    from orchestrator.registry.client import Registry
    from orchestrator.registry.session import Limits

    try:
        found = parse(image)
        limits = Limits(answer_s=_ANSWER_S, attempts=1)
        with Registry(found.repository, limits=limits) as registry:
            there = registry.head(found.tag or Tag("latest"))
    except InterruptedRunError:
        raise
    except OrchestrateError:
        return ""
    return str(there.digest) if there is not None else ""
