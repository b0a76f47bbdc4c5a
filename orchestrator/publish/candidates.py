"""What was built, as the journal, the reports of several machines, or the registry itself say: variant -> digest."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from orchestrator.errors import EnvironmentLacksError, UsageError
from orchestrator.publish.family import source
from orchestrator.reference import Digest, InvalidReferenceError, parse
from orchestrator.registry.clients import Clients, every
from orchestrator.runs.journal import Journal
from orchestrator.runs.outcome import Status
from orchestrator.runs.report import SCHEMA
from orchestrator.state import require_own

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from orchestrator.matrix.variants import Plan, Variant

_MAX_REPORT = 64 << 20  # bytes: a report of 1,000 variants has under 10 MB


class Candidates(Struct, frozen=True, kw_only=True):
    """What was built.

    Attributes:
        origin: Where that stands, for messages: "the journal".
        digests: Variant id -> the digests that are named for it, each with where it is named.
        reasons: Variant id -> why it has no digest.
    """

    origin: str
    digests: Mapping[str, Mapping[Digest, str]]
    reasons: Mapping[str, str]


def from_journal(plan: Plan, keys: Mapping[str, str]) -> Candidates:
    """Return what this machine built last from each variant's inputs, else what it built last.

    Raises:
        EnvironmentLacksError: The state directory leads out of the project.
        UsageError: The journal names an invalid digest.
    """
    journal = Journal(require_own(plan.matrix.root) / "journal.jsonl")
    digests: dict[str, dict[Digest, str]] = {}
    reasons: dict[str, str] = {}
    for variant in plan.variants:
        entry = journal.built(variant.id, keys.get(variant.id, "")) or journal.last(variant.id)
        if entry is None:
            reasons[variant.id] = "this machine has not built it; try --report FILE or --from-registry"
        elif entry.digest is None:
            reasons[variant.id] = f"its build of {entry.at} gave no digest (build it with --push)"
        else:
            digests[variant.id] = _one(entry.digest, "the journal")
    return Candidates(origin="the journal", digests=digests, reasons=reasons)


def from_reports(paths: Sequence[Path]) -> Candidates:
    """Return what the build reports of several machines name.

    Raises:
        UsageError: One is not a build report.
        EnvironmentLacksError: One cannot be read.
    """
    digests: dict[str, dict[Digest, str]] = {}
    reasons: dict[str, str] = {}
    for path in paths:
        for row in _rows(path):
            name, status, digest = str(row.get("id")), row.get("status"), row.get("digest")
            if status in (Status.BUILT, Status.SKIPPED) and isinstance(digest, str):
                digests.setdefault(name, {}).update(_one(digest, str(path)))
                reasons.pop(name, None)
            elif name not in digests:
                reasons[name] = f"{path} says {str(status)[:20]}"
    return Candidates(origin="the reports", digests=digests, reasons=reasons)


def from_registry(plan: Plan, variants: Sequence[Variant], clients: Clients) -> Candidates:
    """Return what the variants' own tags name.

    Raises:
        NetworkError, DamagedAnswerError: A registry denies access or does not answer.
    """
    digests: dict[str, dict[Digest, str]] = {}
    reasons: dict[str, str] = {}

    def named(variant: Variant) -> tuple[str, Digest | None]:
        tag = parse(variant.tags[0].text).tag
        found = clients.of(source(plan, variant)).head(tag) if tag is not None else None
        return variant.id, found.digest if found is not None else None

    for name, digest in every(named, [variant for variant in variants if variant.tags]):
        if digest is not None:
            digests[name] = {digest: "the registry"}
    for variant in variants:
        tag = variant.tags[0].text if variant.tags else ""
        if variant.id not in digests:
            reasons[variant.id] = f"{tag} was not found" if tag else "it has no tag to find it by"
    return Candidates(origin="the registry", digests=digests, reasons=reasons)


def _one(digest: str, where: str) -> dict[Digest, str]:
    try:
        return {Digest(digest): where}
    except InvalidReferenceError as error:
        raise UsageError(f"{where}: {error.message}") from error


def _rows(path: Path) -> list[Mapping[str, Any]]:
    try:
        with path.open("rb") as stream:
            data = stream.read(_MAX_REPORT + 1)
    except OSError as error:
        raise EnvironmentLacksError(f"--report {path}: the report cannot be read: {error.strerror}") from error
    try:
        content: Any = json.loads(data)
        rows = content["variants"] if content["schema"] == SCHEMA else None
    except (ValueError, KeyError, TypeError, RecursionError):
        rows = None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise UsageError(
            f"--report {path}: the build report is invalid: expected schema {SCHEMA} with variants",
            hint="`orchestrate build --push --report FILE` writes one",
        )
    return list(rows)
