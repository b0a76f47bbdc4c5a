"""What of this machine works for us, what does not, and the cure for each: `diagnose`, and `require` for builds.

Knows engine, buildx, builder, disk, memory and one registry; where the numbers come from (a matrix, an option) is the
caller's. A check never raises: an answer that does not come is a finding.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from orchestrator import process
from orchestrator.engine import builders, client
from orchestrator.engine.client import COMFORT, GIB
from orchestrator.errors import EnvironmentLacksError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.engine.builders import Builder
    from orchestrator.engine.client import Buildx, EngineInfo

Status = Literal["ok", "warn", "fail"]

# Large CUDA translation units (CUTLASS, FlashAttention) take 2 to 4 GB each in nvcc and its tools; one job a core has
# killed machines of 32 GB (vllm-project/vllm#8448, #1782; ai-dynamo/nixl#2123 advises 2 to 3 jobs).
MEMORY_OF_A_JOB = 2 * GIB
MEMORY_OF_A_LARGE_JOB = 4 * GIB

WARN_FREE = 20 * GIB
FAIL_FREE = 5 * GIB

_STORE_CURE = (
    'set {"features": {"containerd-snapshotter": true}} in /etc/docker/daemon.json and restart the engine, or '
    "`docker buildx create --use --driver docker-container`"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One finding.

    Attributes:
        name: What was looked at, one word or two.
        status: ok, warn (works, but not as well as it could) or fail (a build cannot work).
        detail: What was found, one line.
        cure: What to do, "" where nothing is to be done.
    """

    name: str
    status: Status
    detail: str
    cure: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Engine:
    """Everything that a build must know of the machine that it runs on."""

    info: EngineInfo
    buildx: Buildx
    builder: Builder


@dataclass(frozen=True, kw_only=True, slots=True)
class Need:
    """What is going to be asked of the machine.

    Attributes:
        platforms: Platforms that will be built.
        image: An image reference whose registry will be used, "" for none.
        jobs: Parallel compile jobs in all (nvcc processes times their threads), None if unknown.
        cache: Cache backend that will be written, "" for none.
        warn_free: Bytes; less free disk than this is worth a word.
        fail_free: Bytes; less than this and a build cannot work.
    """

    platforms: tuple[str, ...] = ()
    image: str = ""
    jobs: int | None = None
    cache: str = "registry"
    warn_free: int = WARN_FREE
    fail_free: int = FAIL_FREE


def diagnose(need: Need | None = None) -> tuple[Check, ...]:
    """Look at everything, in an order in which a cure for the first failure may cure the next.

    Args:
        need: What will be asked of the machine; by default nothing particular.
    """
    need = need or Need()
    checks: list[Check] = []
    with ThreadPoolExecutor(max_workers=3) as pool:
        info_job, buildx_job = pool.submit(_info), pool.submit(_buildx)
        registry_job = pool.submit(check_registry, need.image) if need.image else None
        info, engine_check = info_job.result()
        checks += [engine_check, buildx_job.result()[1]]
        if info is not None and buildx_job.result()[0] is not None:
            checks += _builder_checks(info, need)
        if info is not None:
            checks += [check_disk(client.free_bytes(info), need), check_memory(info.memory, need.jobs)]
        if registry_job is not None:
            checks.append(registry_job.result())
    return tuple(checks)


def require_engine(*, platforms: Sequence[str] = (), cache: str = "", builder: str = "") -> Engine:
    """The engine, buildx and builder that a build will use; what a build calls before anything else.

    Args:
        platforms: Platforms that will be built.
        cache: Cache backend that will be written, "" for none.
        builder: Name of the builder, "" for the current one.

    Raises:
        EnvironmentLacksError: Something of it is missing, with the cure.
    """
    with ThreadPoolExecutor(max_workers=2) as pool:
        buildx_job = pool.submit(process.carried(client.buildx))
        info = client.engine_info()
        found = buildx_job.result()
    chosen = builders.selected(containerd_store=info.containerd_store, name=builder)
    for check in (*check_platforms(chosen, platforms, here=True), check_cache(chosen, cache)):
        if check.status == "fail":
            raise EnvironmentLacksError(check.detail, hint=check.cure)
    return Engine(info=info, buildx=found, builder=chosen)


def _info() -> tuple[EngineInfo | None, Check]:
    try:
        info = client.engine_info()
    except EnvironmentLacksError as error:
        return None, _failed("engine", error)
    store = "containerd image store" if info.containerd_store else "classic image store"
    return info, Check(name="engine", status="ok", detail=f"{info.version}, {info.platform}, {store}")


def _buildx() -> tuple[Buildx | None, Check]:
    try:
        found = client.buildx()
    except EnvironmentLacksError as error:
        return None, _failed("buildx", error)
    return found, check_buildx(found)


def check_buildx(found: Buildx) -> Check:
    """Judge a buildx that is not too old: from `COMFORT` on nothing essential is missing."""
    if found.version < COMFORT:
        return Check(
            name="buildx",
            status="warn",
            detail=f"{found.version}; {found.lacking('exit-codes')}",
            cure=f"install buildx {COMFORT.major}.{COMFORT.minor} or newer",
        )
    return Check(name="buildx", status="ok", detail=str(found.version))


def _builder_checks(info: EngineInfo, need: Need) -> list[Check]:
    try:
        builder = builders.selected(containerd_store=info.containerd_store)
    except EnvironmentLacksError as error:
        return [_failed("builder", error)]
    state = "" if builder.running else ", starts with its first build"
    described = Check(name="builder", status="ok", detail=f"{builder.name}, driver {builder.driver}{state}")
    return [described, check_cache(builder, need.cache), *check_platforms(builder, need.platforms, here=False)]


def check_cache(builder: Builder, backend: str) -> Check:
    """Whether the builder can write a cache of the backend ("" asks for none)."""
    if backend in ("", "off") or builder.exports_cache(backend):
        return Check(
            name="cache export", status="ok", detail=backend if backend not in ("", "off") else "not asked for"
        )
    return Check(
        name="cache export",
        status="fail",
        detail=f"builder {builder.name} (docker driver, classic image store) cannot export a {backend} cache",
        cure=_STORE_CURE,
    )


def check_platforms(builder: Builder, wanted: Sequence[str], *, here: bool) -> list[Check]:
    """Whether the builder builds the platforms.

    Args:
        builder: The builder.
        wanted: Platforms ("linux/arm64"); none asks for what there is.
        here: Whether all of them will be built on this machine; else a missing one is only worth a word.
    """
    missing = [platform for platform in wanted if not builder.builds(platform)]
    if missing:
        can = _short(builder.platforms)
        return [
            Check(
                name="platforms",
                status="fail" if here else "warn",
                detail=f"builder {builder.name} cannot build {', '.join(missing)} (it builds {can})",
                cure="choose with --platform, build it on a machine of its own kind, or install QEMU's binfmt handlers",
            )
        ]
    return [Check(name="platforms", status="ok", detail=", ".join(wanted) or _short(builder.platforms))]


def _short(platforms: Sequence[str]) -> str:
    """The platforms without micro-architectures that stand beside their plain form."""
    plain = [name for name in platforms if name.rpartition("/")[0] not in platforms]
    return ", ".join(plain) or "unknown until it starts"


def check_disk(free: int | None, need: Need) -> Check:
    """Judge the bytes free at the engine's data directory; None is an engine on another machine."""
    if free is None:
        return Check(name="disk", status="ok", detail="not checked: the engine's disk is not this machine's")
    status: Status = "ok"
    if free < need.warn_free:
        status = "fail" if free < need.fail_free else "warn"
    cure = (
        f"free {need.warn_free // GIB} GiB: `docker buildx du` shows what fills it, "
        "`docker buildx prune --filter type!=exec.cachemount` frees it and keeps ccache"
    )
    return Check(name="disk", status=status, detail=f"{gib(free)} free", cure="" if status == "ok" else cure)


def check_memory(memory: int, jobs: int | None) -> Check:
    """Judge memory against parallel compile jobs; 0 bytes is an engine that did not say."""
    if not memory:
        return Check(name="memory", status="ok", detail="not checked: the engine does not say")
    comfortable = max(1, memory // MEMORY_OF_A_LARGE_JOB)
    if jobs is None:
        return Check(name="memory", status="ok", detail=f"{gib(memory)}, enough for {comfortable} large compile jobs")
    need = f"{jobs} compile job{'s' if jobs != 1 else ''} may take {gib(jobs * MEMORY_OF_A_JOB)} to "
    need += gib(jobs * MEMORY_OF_A_LARGE_JOB)
    if jobs * MEMORY_OF_A_JOB <= memory:
        return Check(name="memory", status="ok", detail=f"{gib(memory)}; {need}")
    return Check(
        name="memory",
        status="warn",
        detail=f"{gib(memory)}; {need}: the kernel may kill compilers",
        cure=f"lower max_jobs or --jobs until their product is about {comfortable}",
    )


def gib(amount: int) -> str:
    """Bytes as "23.5 GiB"; whole numbers without a fraction."""
    return f"{amount / GIB:.1f}".removesuffix(".0") + " GiB"


def check_registry(image: str) -> Check:
    """Whether the registry of an image reference answers; that it asks for a login is an answer.

    Args:
        image: An image reference or repository ("ghcr.io/acme/vllm-openai", "127.0.0.1:5000/axpy").
    """
    import httpx

    host = registry_host(image)
    scheme = "http" if is_loopback(host) else "https"
    try:
        # A proxy from the environment leads to everywhere but this machine.
        answer = httpx.get(f"{scheme}://{host}/v2/", timeout=10, follow_redirects=True, trust_env=not is_loopback(host))
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        reason = str(error) or type(error).__name__
        cure = (
            "start it (scripts/engine up)" if is_loopback(host) else "see the network, the proxy and the image's name"
        )
        # A word and no failure: images that are not pushed need no registry.
        return Check(name="registry", status="warn", detail=f"{host} does not answer: {reason}", cure=cure)
    if answer.status_code in (200, 401, 403):
        login = "" if answer.status_code == 200 else ", asks for a login (docker login)"
        return Check(name="registry", status="ok", detail=f"{host} answers{login}")
    return Check(
        name="registry",
        status="warn",
        detail=f"{host} answers with status {answer.status_code}",
        cure="see whether this is a registry at all, and whether it is well",
    )


def registry_host(image: str) -> str:
    """The registry of an image reference: the first part if it looks like a host, else Docker Hub's."""
    first, slash, _ = image.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return "registry-1.docker.io" if first in ("docker.io", "index.docker.io") else first
    return "registry-1.docker.io"


def is_loopback(host: str) -> bool:
    """Whether a registry is of this machine, which docker talks to in plain HTTP."""
    name = re.sub(r":\d+$", "", host)
    return name in ("localhost", "[::1]") or name.startswith("127.")


def _failed(name: str, error: EnvironmentLacksError) -> Check:
    return Check(name=name, status="fail", detail=error.message, cure=error.hint)
