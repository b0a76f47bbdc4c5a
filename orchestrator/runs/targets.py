"""The project's own bake targets as buildx resolves them, once for all variants of a plan."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from orchestrator.bake.closure import links
from orchestrator.engine import buildx
from orchestrator.engine.buildx import BakeCall
from orchestrator.engine.client import docker_command
from orchestrator.engine.doctor import Asked
from orchestrator.engine.version import buildx_version
from orchestrator.errors import MatrixError
from orchestrator.matrix import git
from orchestrator.process import Ahead
from orchestrator.runs.signals import stop_on_signals

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from orchestrator.matrix.variants import Plan
    from orchestrator.process import Stop

    Targets = Mapping[str, Mapping[str, Any]]


class Early(Struct, frozen=True, kw_only=True):
    """What is asked while the command still reads its options and loads its modules.

    Attributes:
        asked: The engine and the builder.
        targets: The targets as buildx resolves them.
        revision: The commit of the checkout, "" where there is none.
        stop: Set by a signal, from the first question on.
    """

    asked: Asked
    targets: Ahead[Targets]
    revision: Ahead[str]
    stop: Stop


@contextlib.contextmanager
def begun(plan: Plan, builder: str, asked: Asked | None = None) -> Iterator[Early]:
    """Ask docker for all that a build needs before its preflight, while something else is done.

    Args:
        plan: The plan.
        builder: Name of the builder, "" for the current one.
        asked: What was asked for that builder already; None asks.
    """
    with stop_on_signals() as stop, asked_by(plan, builder, stop, asked) as early:
        yield early


@contextlib.contextmanager
def asked_by(plan: Plan, builder: str, stop: Stop, asked: Asked | None = None) -> Iterator[Early]:
    """Ask docker, in a run that signals end already.

    Args:
        plan: The plan.
        builder: Name of the builder, "" for the current one.
        stop: Set by a signal.
        asked: What was asked for that builder already; None asks.
    """
    with (
        Ahead(lambda: resolved(plan, bake_call(plan, docker_command(), builder))) as targets,
        Ahead(lambda: git.revision(plan.matrix.root)) as revision,
        contextlib.nullcontext(asked) if asked is not None else Asked(builder) as asked_,
    ):
        yield Early(asked=asked_, targets=targets, revision=revision, stop=stop)


def bake_call(plan: Plan, docker: tuple[str, ...], builder: str = "") -> BakeCall:
    """Return how buildx is called for a plan."""
    return BakeCall(docker=docker, files=plan.matrix.bake_files, root=plan.matrix.root.absolute(), builder=builder)


def resolved(plan: Plan, call: BakeCall) -> Targets:
    """Resolve the project's own targets, once for all variants.

    Raises:
        MatrixError: buildx refuses the project's bake files, or a target was not found in them.
        EnvironmentLacksError: There is no buildx that could resolve them.
    """
    contexts = {value.text: value.text for variant in plan.variants for value in variant.contexts.values()}
    try:
        return buildx.resolve(call, plan.matrix.target_places(plan.targets()), linked=links(contexts))
    except MatrixError:
        buildx_version()  # without buildx, docker complains of the words that it does not know
        raise
