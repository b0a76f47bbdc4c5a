"""What of this machine works for builds: `diagnose` for people, `require_engine` for a build that is about to start."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from msgspec import Struct

from orchestrator import process
from orchestrator.engine import beyond, builders, machine
from orchestrator.engine.info import answered, parse_info
from orchestrator.engine.machine import Check
from orchestrator.engine.version import COMFORT, buildx_version
from orchestrator.errors import EnvironmentLacksError
from orchestrator.redact import redact

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Self

    from orchestrator.engine.builders import Builder
    from orchestrator.engine.info import EngineInfo
    from orchestrator.engine.version import Version

_BUILDER_HINT = "`docker buildx create --use --driver docker-container`"
_STORE_HINT = (
    'set {"features": {"containerd-snapshotter": true}} in /etc/docker/daemon.json and restart the engine, or '
    "`docker buildx create --use --driver docker-container`"
)


class Engine(Struct, frozen=True, kw_only=True):
    """What a build uses of the machine that it runs on.

    Attributes:
        info: The engine; None where none answers and the builder is elsewhere.
        builder: The builder.
    """

    info: EngineInfo | None
    builder: Builder

    @property
    def disk(self) -> Path | None:
        """Where the layers of a build are kept on this machine; None for a builder elsewhere."""
        return None if self.info is None or self.builder.elsewhere else machine.engine_disk(self.info)


class Need(Struct, frozen=True, kw_only=True):
    """What a build will ask of the machine.

    Attributes:
        platforms: Platforms that will be built.
        jobs: Parallel compile jobs in all (nvcc processes times their threads), None if unknown.
        cache: Cache backend that will be written, "" for none.
        builder: Name of the builder, "" for the current one.
    """

    platforms: tuple[str, ...] = ()
    jobs: int | None = None
    cache: str = "registry"
    builder: str = ""


class Asked:
    """What docker is asked before a build: its engine with the client's plugins, and the builder. Two processes.

    A context manager: the answers come while something else is done, and leaving it ends what has no answer yet.

    Args:
        builder: Name of the builder, "" for the current one.
    """

    def __init__(self, builder: str = "") -> None:
        self._info = process.Ahead(beyond.system_info)
        self._found = process.Ahead(lambda: builders.in_use(builder))
        self._both = contextlib.ExitStack()

    def __enter__(self) -> Self:
        for one in (self._info, self._found):
            self._both.enter_context(one)
        return self

    def __exit__(self, *error: object) -> None:
        self._both.close()

    def info(self) -> EngineInfo:
        """Return what the engine says of itself.

        Raises:
            EnvironmentLacksError, InterruptedRunError: As for `info.answered`.
        """
        answer = answered(self._info.result)
        return parse_info(answer.stdout, answer.stderr)

    def version(self) -> Version:
        """Return the version of buildx.

        Raises:
            EnvironmentLacksError, InterruptedRunError: As for `version.buildx_version`.
        """
        try:
            text = self._info.result().stdout
        except EnvironmentLacksError:  # an engine that does not answer
            text = ""
        return buildx_version(text)

    def builder(self, info: EngineInfo | None) -> Builder:
        """Return the builder.

        Args:
            info: The engine, None where none answers.

        Raises:
            EnvironmentLacksError, InterruptedRunError: As for `builders.in_use` and `builders.selected`.
        """
        store = info is not None and info.containerd_store
        return builders.selected(self._found.result(), containerd_store=store)


def diagnose(need: Need) -> tuple[Check, ...]:
    """Look at everything, in an order in which the repair of one failure may repair the next. Raises nothing.

    Args:
        need: What will be asked of the machine.
    """
    checks: list[Check] = []
    with Asked(need.builder) as asked:
        info, engine_check = _info(asked)
        found, version_check = _version(asked)
        builder, builder_check = _builder(asked, info) if found is not None else (None, None)
    if info is None and builder is not None and builder.elsewhere:
        what = f"{engine_check.detail}; builder {builder.name} works without it, --load and verify do not"
        engine_check = Check(name=engine_check.name, status="warn", detail=what, hint=engine_check.hint)
    checks += [engine_check, version_check]
    if builder_check is not None and (info is not None or builder is not None):
        checks.append(builder_check)
    if builder is not None:
        checks += [check_cache(builder, need.cache), *check_platforms(builder, need.platforms, here=False)]
        checks += _nodes(builder)
    if builder is not None and builder.elsewhere:
        what = f"not checked: builder {builder.name} is not on this engine's machine"
        checks += [Check(name=name, status="ok", detail=what) for name in ("disk", "memory", "processors")]
    elif info is not None:
        checks += [
            machine.check_disk(machine.free_bytes(machine.engine_disk(info))),
            machine.check_memory(info.memory, need.jobs),
            machine.check_processors(info.cpus, need.jobs),
        ]
    return tuple(checks)


def require_engine(*, platforms: Sequence[str] = (), builder: str = "", asked: Asked | None = None) -> Engine:
    """Return the engine and builder of a build; called before anything else is done.

    Args:
        platforms: Platforms that will be built.
        builder: Name of the builder, "" for the current one.
        asked: What was asked for that builder already; None asks.

    Raises:
        EnvironmentLacksError: Something of it is missing, with a hint.
        InterruptedRunError: A stop was asked for.
    """
    if asked is None:
        with Asked(builder) as now:
            return require_engine(platforms=platforms, asked=now)
    try:
        info: EngineInfo | None = asked.info()
    except EnvironmentLacksError as error:
        info, chosen = None, _without_engine(asked, error)
        asked.version()
    else:
        asked.version()
        chosen = asked.builder(info)
    for check in check_platforms(chosen, platforms, here=True):
        if check.status == "fail":
            raise EnvironmentLacksError(check.detail, hint=check.hint)
    return Engine(info=info, builder=chosen)


def _info(asked: Asked) -> tuple[EngineInfo | None, Check]:
    try:
        info = asked.info()
    except EnvironmentLacksError as error:
        return None, _failed("engine", error)
    store = "containerd image store" if info.containerd_store else "classic image store"
    return info, Check(name="engine", status="ok", detail=f"{info.version}, {info.platform}, {store}")


def _version(asked: Asked) -> tuple[Version | None, Check]:
    try:
        found = asked.version()
    except EnvironmentLacksError as error:
        return None, _failed("buildx", error)
    return found, check_version(found)


def check_version(found: Version) -> Check:
    """Judge a buildx that is not too old: from `COMFORT` on nothing essential is missing."""
    if found < COMFORT:
        return Check(
            name="buildx",
            status="warn",
            detail=f"{found}; below {COMFORT} internal errors and exhausted resources look like build failures",
            hint=f"install buildx {COMFORT.major}.{COMFORT.minor} or newer",
        )
    return Check(name="buildx", status="ok", detail=str(found))


def _without_engine(asked: Asked, error: EnvironmentLacksError) -> Builder:
    """The builder of a build where no engine answers; the error for one that needs the engine."""
    try:
        chosen = asked.builder(None)
    except EnvironmentLacksError:
        raise error from None
    if chosen.driver in builders.LOCAL_DRIVERS:
        raise error
    return chosen


def _builder(asked: Asked, info: EngineInfo | None) -> tuple[Builder | None, Check]:
    try:
        builder = asked.builder(info)
    except EnvironmentLacksError as error:
        return None, _failed("builder", error)
    state = "" if builder.running or builder.elsewhere else ", starts with its first build"
    where = f" at {', '.join(node.endpoint for node in builder.nodes)}" if builder.elsewhere else ""
    detail = f"{builder.name}, driver {builder.driver}{redact(where)}{state}"
    return builder, Check(name="builder", status="ok", detail=detail)


def _nodes(builder: Builder) -> list[Check]:
    """A warning for each machine of the builder that does not answer while others do."""
    hint = f"start it, or `docker buildx create --leave --name {builder.name} --node NAME`"
    return [Check(name="node", status="warn", detail=line, hint=hint) for line in builders.silent_nodes(builder)]


def check_cache(builder: Builder, backend: str) -> Check:
    """Judge whether the builder can write a cache of the backend ("" and "off" for none); a build goes on without."""
    if backend in ("", "off") or builder.exports_cache(backend):
        return Check(
            name="cache export", status="ok", detail=backend if backend not in ("", "off") else "not asked for"
        )
    return Check(
        name="cache export",
        status="warn",
        detail=f"builder {builder.name} (driver {builder.driver}) cannot export a {backend} cache: builds write none",
        hint=_BUILDER_HINT if builder.full else _STORE_HINT,
    )


def check_platforms(builder: Builder, wanted: Sequence[str], *, here: bool) -> list[Check]:
    """Judge whether the builder builds the platforms.

    Args:
        builder: The builder.
        wanted: Platforms ("linux/arm64"); with none, the check lists what the builder builds.
        here: Whether all of them will be built on this machine; else a missing one is a warning.
    """
    missing = [platform for platform in wanted if not builder.builds(platform)]
    if missing:
        can = short(builder.platforms)
        return [
            Check(
                name="platforms",
                status="fail" if here else "warn",
                detail=f"builder {builder.name} cannot build {', '.join(missing)} (it builds {can})",
                hint="select others with --platform, build on a machine of that kind, or install QEMU's handlers "
                "(an image whose RUN steps use $BUILDPLATFORM alone needs none)",
            )
        ]
    return [Check(name="platforms", status="ok", detail=", ".join(wanted) or short(builder.platforms))]


def short(platforms: Sequence[str]) -> str:
    """Join the platforms, without micro-architectures whose plain form is listed."""
    plain = [name for name in platforms if name.rpartition("/")[0] not in platforms]
    return ", ".join(plain) or "unknown until it starts"


def _failed(name: str, error: EnvironmentLacksError) -> Check:
    return Check(name=name, status="fail", detail=error.message, hint=error.hint)
