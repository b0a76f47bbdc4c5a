"""Which repositories hold the layer caches of a plan, and which digests the records of earlier runs name."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from orchestrator.bake.ladder import Kind, Names, Scope
from orchestrator.cache import exported
from orchestrator.errors import UsageError
from orchestrator.reference import parse
from orchestrator.state import STATE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from orchestrator.matrix.variants import Plan
    from orchestrator.reference import Repository

_RECORDS = ("*.json", "*.jsonl", "publish/**/*.json*", "runs/*/*.json")


def cache_repositories(plan: Plan) -> dict[Repository, frozenset[str]]:
    """Return the repositories of the plan's layer caches, each with the tags that scopes are added to.

    Raises:
        UsageError: The plan keeps its layer caches elsewhere.
    """
    backend = plan.matrix.spec.cache.backend
    if backend != "registry":
        raise UsageError(
            f"cache.backend is {backend}: expected registry, the one whose references this command knows",
            hint="`orchestrate cache prune --keep 60GB` prunes the builder and local directories",
        )
    found: dict[Repository, set[str]] = {}
    for variant in plan.variants:
        names = Names(ref=variant.cache_ref, pull_request=variant.cache_pull_request)
        own = parse(variant.cache_ref)
        found.setdefault(own.repository, set()).add(str(own.tag or ""))
        pulls = parse(names.of(Scope(kind=Kind.PULL_REQUEST, name="1")))
        base = str(parse(variant.cache_pull_request).tag or "") if variant.cache_pull_request else str(own.tag or "")
        found.setdefault(pulls.repository, set()).add(base)
    return {repository: frozenset(tags - {""}) for repository, tags in found.items()}


def record_texts(root: Path) -> Iterator[str]:
    """Yield the journal and the records of the state directory, as they are; torn ones as well.

    Raises:
        OSError: One cannot be read: what it names is unknown, so nothing may be removed.
    """
    for pattern in _RECORDS:
        for path in sorted((root / STATE).glob(pattern)):
            if (
                path.is_file() and path.name != exported.NAME
            ):  # what was exported may go, unless something else names it
                text = path.read_text(encoding="utf-8", errors="replace")
                yield _without_exports(text) if path.name.endswith(".metadata.json") else text


def _without_exports(text: str) -> str:
    """What BuildKit says of a build, without the caches that it exported."""
    try:
        found = json.loads(text)
        for target in found.values():
            target.pop("cache.manifest", None)
    except (ValueError, AttributeError, RecursionError):
        return text
    return json.dumps(found)
