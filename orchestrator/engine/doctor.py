"""What of this machine works for builds: `diagnose` for people, `require_engine` for a build that is about to start."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator import process
from orchestrator.engine import builders, machine
from orchestrator.engine.info import engine_info
from orchestrator.engine.machine import Check
from orchestrator.engine.version import COMFORT, buildx_version
from orchestrator.errors import EnvironmentLacksError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.engine.builders import Builder
    from orchestrator.engine.info import EngineInfo
    from orchestrator.engine.version import Version

_STORE_HINT = (
    'set {"features": {"containerd-snapshotter": true}} in /etc/docker/daemon.json and restart the engine, or '
    "`docker buildx create --use --driver docker-container`"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Engine:
    """What a build uses of the machine that it runs on."""

    info: EngineInfo
    builder: Builder


@dataclass(frozen=True, kw_only=True, slots=True)
class Need:
    """What a build will ask of the machine.

    Attributes:
        platforms: Platforms that will be built.
        jobs: Parallel compile jobs in all (nvcc processes times their threads), None if unknown.
        cache: Cache backend that will be written, "" for none.
    """

    platforms: tuple[str, ...] = ()
    jobs: int | None = None
    cache: str = "registry"


def diagnose(need: Need) -> tuple[Check, ...]:
    """Look at everything, in an order in which mending the first failure may mend the next. Raises nothing.

    Args:
        need: What will be asked of the machine.
    """
    checks: list[Check] = []
    with ThreadPoolExecutor(max_workers=1) as pool:
        version_job = pool.submit(_version)
        info, engine_check = _info()
        found, version_check = version_job.result()
    checks += [engine_check, version_check]
    if info is not None and found is not None:
        checks += _builder_checks(info, need)
    if info is not None:
        checks += [
            machine.check_disk(machine.free_bytes(machine.engine_disk(info))),
            machine.check_memory(info.memory, need.jobs),
            machine.check_processors(info.cpus, need.jobs),
        ]
    return tuple(checks)


def require_engine(*, platforms: Sequence[str] = (), cache: str = "", builder: str = "") -> Engine:
    """Return the engine and builder of a build; called before anything else is done.

    Args:
        platforms: Platforms that will be built.
        cache: Cache backend that will be written, "" for none.
        builder: Name of the builder, "" for the current one.

    Raises:
        EnvironmentLacksError: Something of it is missing, with a hint.
    """
    with ThreadPoolExecutor(max_workers=1) as pool:
        version_job = pool.submit(process.carried(buildx_version))
        info = engine_info()
        version_job.result()
    chosen = builders.selected(containerd_store=info.containerd_store, name=builder)
    for check in (*check_platforms(chosen, platforms, here=True), check_cache(chosen, cache)):
        if check.status == "fail":
            raise EnvironmentLacksError(check.detail, hint=check.hint)
    return Engine(info=info, builder=chosen)


def _info() -> tuple[EngineInfo | None, Check]:
    try:
        info = engine_info()
    except EnvironmentLacksError as error:
        return None, _failed("engine", error)
    store = "containerd image store" if info.containerd_store else "classic image store"
    return info, Check(name="engine", status="ok", detail=f"{info.version}, {info.platform}, {store}")


def _version() -> tuple[Version | None, Check]:
    try:
        found = buildx_version()
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


def _builder_checks(info: EngineInfo, need: Need) -> list[Check]:
    try:
        builder = builders.selected(containerd_store=info.containerd_store)
    except EnvironmentLacksError as error:
        return [_failed("builder", error)]
    state = "" if builder.running else ", starts with its first build"
    described = Check(name="builder", status="ok", detail=f"{builder.name}, driver {builder.driver}{state}")
    return [described, check_cache(builder, need.cache), *check_platforms(builder, need.platforms, here=False)]


def check_cache(builder: Builder, backend: str) -> Check:
    """Judge whether the builder can write a cache of the backend ("" and "off" for none)."""
    if backend in ("", "off") or builder.exports_cache(backend):
        return Check(
            name="cache export", status="ok", detail=backend if backend not in ("", "off") else "not asked for"
        )
    return Check(
        name="cache export",
        status="fail",
        detail=f"builder {builder.name} (docker driver, classic image store) cannot export a {backend} cache",
        hint=_STORE_HINT,
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
        can = _short(builder.platforms)
        return [
            Check(
                name="platforms",
                status="fail" if here else "warn",
                detail=f"builder {builder.name} cannot build {', '.join(missing)} (it builds {can})",
                hint="select others with --platform, build on a machine of that kind, or install QEMU's handlers",
            )
        ]
    return [Check(name="platforms", status="ok", detail=", ".join(wanted) or _short(builder.platforms))]


def _short(platforms: Sequence[str]) -> str:
    """Join the platforms, without micro-architectures whose plain form is listed."""
    plain = [name for name in platforms if name.rpartition("/")[0] not in platforms]
    return ", ".join(plain) or "unknown until it starts"


def _failed(name: str, error: EnvironmentLacksError) -> Check:
    return Check(name=name, status="fail", detail=error.message, hint=error.hint)
