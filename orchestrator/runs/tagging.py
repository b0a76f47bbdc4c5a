"""Points the tags of a variant at the digest that was pushed and verified, and removes the tag that held it."""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING

from msgspec import Struct

from orchestrator.bake.events import StepKind
from orchestrator.bake.progress import Failure, one_line
from orchestrator.engine import beyond, buildx, images
from orchestrator.engine.client import DockerFailedError
from orchestrator.errors import FailureClass, InterruptedRunError, OrchestrateError
from orchestrator.reference import parse
from orchestrator.runs.outcome import ErrorInfo
from orchestrator.runs.retry import Judgement, RetryPolicy, attempts, judge

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orchestrator import process
    from orchestrator.process import Stop
    from orchestrator.runs.reporter import Reporter


class Tagging(Struct, frozen=True, kw_only=True):
    """How tags are set.

    Attributes:
        retry: How often and how soon a tag is tried again.
    """

    retry: RetryPolicy

    def release(self, reference: str) -> str:
        """Remove a tag that held an image until it had its own, from the registry and from the engine that built it.

        Args:
            reference: With the tag.

        Returns:
            Why it is still there, "" if it is gone.

        Raises:
            InterruptedRunError: A stop was asked for.
        """
        from orchestrator.registry.client import Registry
        from orchestrator.registry.removal import remove_tag

        with contextlib.suppress(DockerFailedError):  # the engine has none
            images.forget(reference)
        found = parse(reference)
        try:
            with Registry(found.repository) as registry:
                if found.tag is not None:
                    remove_tag(registry, found.tag)
        except InterruptedRunError:
            raise
        except OrchestrateError as error:
            return f"the tag {reference} stays, because the registry does not delete it: {error.message}"
        return ""

    def set(
        self, variant: str, tags: Mapping[str, Sequence[str]], digest: str, *, stop: Stop, reporter: Reporter
    ) -> ErrorInfo | None:
        """Set tags: a carbon copy of the index, so that the digest stays the same.

        Args:
            variant: The variant's id, for the reporter.
            tags: Repository -> its tags.
            digest: What they are to name, `sha256:…`.
            stop: Ends the waiting between two attempts.
            reporter: Hears of an attempt that failed before the next one is waited for.

        Returns:
            Why the first one that failed could not be set, None if all were.

        Raises:
            InterruptedRunError: A stop was asked for.
        """

        def waiting(number: int, seconds: float, done: process.Completed) -> None:
            reporter.waiting(variant, number, self.retry.attempts, seconds, f"tag: {_reason(done)}")

        for repository, names in tags.items():
            done = attempts(
                partial(_copied, f"{repository}@{digest}", names),
                again=lambda done: not done.ok and _judge(done).again,
                policy=self.retry,
                stop=stop,
                before_wait=waiting,
            )
            if not done.ok:
                message = f"its tags could not be set: {_reason(done)}"
                return ErrorInfo(failure=_judge(done).failure, message=message, step=f"tag {', '.join(names)}")
        return None


def _copied(source: str, tags: Sequence[str], _attempt: int) -> process.Completed:
    return beyond.copy_to_tags(source, tags)


def _judge(done: process.Completed) -> Judgement:
    """Judge a registry's answer as that of a push."""
    failure = Failure(step="tag", kind=StepKind.EXPORT, message=_reason(done), returncode=done.returncode)
    return judge(failure, unknown=FailureClass.NETWORK)


def _reason(done: process.Completed) -> str:
    return one_line(buildx.last_error(done.stderr))
