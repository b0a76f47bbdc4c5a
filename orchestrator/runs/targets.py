"""The project's own bake targets as buildx resolves them, once for all variants of a plan."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.bake.closure import links
from orchestrator.engine import buildx
from orchestrator.engine.buildx import BakeCall
from orchestrator.engine.client import docker_command
from orchestrator.engine.doctor import Asked
from orchestrator.process import Ahead
from orchestrator.runs.signals import stop_on_signals

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from orchestrator.matrix.variants import Plan
    from orchestrator.process import Stop

    Targets = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Early:
    """What is asked while the command still reads its options and loads its modules.

    Attributes:
        asked: The engine and the builder.
        targets: The targets as buildx resolves them.
        stop: Set by a signal, from the first question on.
    """

    asked: Asked
    targets: Ahead[Targets]
    stop: Stop


@contextlib.contextmanager
def begun(plan: Plan, builder: str) -> Iterator[Early]:
    """Ask docker for all that a build needs before its preflight, while something else is done.

    Args:
        plan: The plan.
        builder: Name of the builder, "" for the current one.
    """
    with stop_on_signals() as stop, asked_by(plan, builder, stop) as early:
        yield early


@contextlib.contextmanager
def asked_by(plan: Plan, builder: str, stop: Stop) -> Iterator[Early]:
    """Ask docker, in a run that signals end already.

    Args:
        plan: The plan.
        builder: Name of the builder, "" for the current one.
        stop: Set by a signal.
    """
    with (
        Ahead(lambda: resolved(plan, bake_call(plan, docker_command(), builder))) as targets,
        Asked(builder) as asked,
    ):
        yield Early(asked=asked, targets=targets, stop=stop)


def bake_call(plan: Plan, docker: tuple[str, ...], builder: str = "") -> BakeCall:
    """Return how buildx is called for a plan."""
    return BakeCall(docker=docker, files=plan.matrix.bake_files, root=plan.matrix.root.absolute(), builder=builder)


def resolved(plan: Plan, call: BakeCall) -> Targets:
    """Resolve the project's own targets, once for all variants.

    Raises:
        MatrixError: buildx refuses the project's bake files, or a target was not found in them.
    """
    contexts = {value.text: value.text for variant in plan.variants for value in variant.contexts.values()}
    return buildx.resolve(call, plan.matrix.target_places(plan.targets()), linked=links(contexts))
