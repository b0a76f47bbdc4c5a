"""Reads what a compile cache did from the line that `run.sh` prints into a step's output.

A build writes that output, so the line is untrusted: its size is bounded, and each value has its type and range.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from orchestrator.sizes import size_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MARK = "orchestrate-compile-cache "
"""How the line begins."""

LAYER = "compile cache: no statistics, the compile step came from BuildKit's layer cache"
SILENT = "compile cache: no step printed statistics: run the compile command with /run/compile-cache/run"

_LONGEST = 65536  # characters of the line; sccache's statistics take about 1,500
_MOST = 2**53
_TEXT = 300
_SLOW = 0.5  # share of the step's time that waiting for the cache may take before it is told


class Counts(Struct, frozen=True, kw_only=True):
    """Hits and misses of one kind of object."""

    hits: int = 0
    misses: int = 0

    @property
    def all(self) -> int:
        """Hits and misses together."""
        return self.hits + self.misses

    def __add__(self, other: Counts) -> Counts:
        return Counts(hits=self.hits + other.hits, misses=self.misses + other.misses)

    def __str__(self) -> str:
        return f"{self.hits}/{self.all}"


class CompileStatistics(Struct, frozen=True, kw_only=True):
    """What the compile cache did in one build.

    Attributes:
        tool: sccache or ccache.
        on: Whether it worked; `why` says why not.
        fallbacks: Compiles that failed with the cache and succeeded without it.
        requests: Compiler calls that went through it.
        ptx, cubin: Device code, per architecture (sccache alone).
        units: Whole translation units, their host code included.
        writes, write_errors: Objects stored, and that could not be.
        refused: Reason -> calls that the tool does not cache.
        read_s, write_s: Seconds spent to read and to write the cache.
        held: Bytes in the cache before, None where unknown.
        seconds: Wall time of the compile command.
        cpu_s: Its processor time, None where unknown.
        cccl: Sources that include thrust, CUB or torch; `cccl_named` the first of them.
        fixed: CCCL's namespaces were fixed (`fixed_cccl_namespaces`).
    """

    tool: str
    on: bool
    why: str = ""
    fallbacks: int = 0
    requests: int = 0
    ptx: Counts = Counts()
    cubin: Counts = Counts()
    units: Counts = Counts()
    writes: int = 0
    write_errors: int = 0
    refused: tuple[tuple[str, int], ...] = ()
    read_s: float = 0.0
    write_s: float = 0.0
    held: int | None = None
    seconds: float = 0.0
    cpu_s: float | None = None
    cccl: int = 0
    cccl_named: str = ""
    fixed: bool = False

    @property
    def device(self) -> Counts:
        """PTX and cubins together."""
        return self.ptx + self.cubin


def read(lines: Sequence[str]) -> CompileStatistics | None:
    """Return the statistics of a build, those of its steps added up; None where no line can be read."""
    found = [one for line in lines if (one := _read(line)) is not None]
    if not found:
        return None
    total = found[0]
    for one in found[1:]:
        total = _added(total, one)
    return total


def sentence(found: CompileStatistics) -> str:
    """Return the statistics in one line: `device code: 12 of 16 from cache (PTX 4/4, cubin 8/12)`."""
    if not found.on:
        return f"not used: {found.why or 'no reason given'}"
    parts = []
    if found.device.all:
        device = found.device
        parts.append(f"device code: {device.hits} of {device.all} from cache (PTX {found.ptx}, cubin {found.cubin})")
    if found.units.all:
        parts.append(f"units: {found.units.hits} of {found.units.all} from cache")
    if not parts:
        parts.append("nothing was compiled through it")
    if found.read_s or found.write_s:
        parts.append(f"read {found.read_s:.1f} s, written {found.write_s:.1f} s")
    return ", ".join(parts)


def notes(found: CompileStatistics) -> tuple[str, ...]:
    """Return what a user should know: the cache did not work, stored nothing, reused nothing, or cost too much."""
    if not found.on:
        return ()
    said = []
    if found.fallbacks:
        said.append(f"{found.fallbacks} compiles ran without {found.tool}, which failed or lost its backend")
    stored = found.units.hits + found.device.hits + found.writes
    if not found.requests:
        said.append(
            f"no compiler call went through {found.tool}: the build must use it as its compiler launcher, as in "
            "CMAKE_CUDA_COMPILER_LAUNCHER (vllm-project/vllm#13697)"
        )
    elif not stored:
        reasons = ", ".join(f"{name} ({count})" for name, count in found.refused)
        cause = reasons or (f"{found.write_errors} writes failed" if found.write_errors else "it is read-only or full")
        said.append(f"nothing was cached: {cause}")
    elif found.held and not found.device.hits and found.device.misses:
        said.append(f"nothing was reused although the cache held {size_text(found.held)}: another toolkit or flags")
    if found.cccl and not found.fixed and found.device.misses:
        more = f" and {found.cccl - 3} more" if found.cccl > 3 else ""
        said.append(
            f"{found.cccl} sources include thrust, CUB or torch and are compiled again after every change of the list: "
            f"{found.cccl_named}{more} (compile_cache.fixed_cccl_namespaces, docs/compile-cache.md)"
        )
    if found.read_s > _SLOW * found.seconds > 0:
        said.append(f"reading the cache took {found.read_s:.0f} s of {found.seconds:.0f} s: a nearer backend is faster")
    return tuple(said)


def as_json(found: CompileStatistics) -> dict[str, Any]:
    """Return the report's form of the statistics."""
    kinds = {"ptx": found.ptx, "cubin": found.cubin, "units": found.units}
    return {
        "tool": found.tool,
        "used": found.on,
        "why": found.why,
        **{name: {"hits": one.hits, "misses": one.misses} for name, one in kinds.items()},
        "requests": found.requests,
        "writes": found.writes,
        "fallbacks": found.fallbacks,
        "read_seconds": round(found.read_s, 3),
        "write_seconds": round(found.write_s, 3),
        "seconds": round(found.seconds, 3),
        "cpu_seconds": None if found.cpu_s is None else round(found.cpu_s, 3),
    }


def from_json(row: Mapping[str, Any]) -> CompileStatistics:
    """Return the statistics that `as_json` wrote, as far as they are in it.

    Raises:
        KeyError, TypeError, ValueError: It is not of that shape.
    """
    ptx, cubin, units = (
        Counts(hits=int(row[name]["hits"]), misses=int(row[name]["misses"])) for name in ("ptx", "cubin", "units")
    )
    return CompileStatistics(
        tool=str(row["tool"]),
        on=row["used"] is True,
        why=str(row["why"]),
        fallbacks=int(row["fallbacks"]),
        requests=int(row["requests"]),
        writes=int(row["writes"]),
        read_s=float(row["read_seconds"]),
        write_s=float(row["write_seconds"]),
        seconds=float(row["seconds"]),
        cpu_s=None if row["cpu_seconds"] is None else float(row["cpu_seconds"]),
        ptx=ptx,
        cubin=cubin,
        units=units,
    )


def _read(line: str) -> CompileStatistics | None:
    if not line.startswith(MARK) or len(line) > _LONGEST:
        return None
    try:
        said = json.loads(line[len(MARK) :])
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict) or said.get("version") != 1 or said.get("tool") not in {"sccache", "ccache"}:
        return None
    cpu, held = said.get("cpu"), said.get("held")
    found: dict[str, Any] = {
        "tool": said["tool"],
        "on": said.get("on") is True,
        "why": _text(said.get("why")),
        "fallbacks": _number(said.get("fallbacks")),
        "held": _number(held) if isinstance(held, int) else None,
        "seconds": float(_number(said.get("seconds"))),
        "cpu_s": _number(cpu) / 1e6 if isinstance(cpu, int) else None,
        "cccl": _number(said.get("cccl")),
        "cccl_named": _text(said.get("cccl_named")),
        "fixed": said.get("fixed") is True,
    }
    counted = _mapping(said.get("statistics"))
    more = _of_sccache(_mapping(counted.get("stats"))) if found["tool"] == "sccache" else _of_ccache(counted)
    return CompileStatistics(**found, **more)


def _of_sccache(stats: Mapping[str, Any]) -> dict[str, Any]:
    hits = _mapping(_mapping(stats.get("cache_hits")).get("counts"))
    misses = _mapping(_mapping(stats.get("cache_misses")).get("counts"))

    def counts(*names: str) -> Counts:
        return Counts(
            hits=sum(_number(hits.get(name)) for name in names), misses=sum(_number(misses.get(name)) for name in names)
        )

    refused = [(_text(name), _number(count)) for name, count in list(_mapping(stats.get("not_cached")).items())[:8]]
    return {
        "requests": _number(stats.get("compile_requests")),
        "ptx": counts("PTX"),
        "cubin": counts("CUBIN"),
        "units": counts("CUDA", "C/C++"),
        "writes": _number(stats.get("cache_writes")),
        "write_errors": _number(stats.get("cache_write_errors")),
        "refused": tuple(refused),
        "read_s": _seconds(stats.get("cache_read_hit_duration")),
        "write_s": _seconds(stats.get("cache_write_duration")),
    }


def _of_ccache(stats: Mapping[str, Any]) -> dict[str, Any]:
    hits = _number(stats.get("direct_cache_hit")) + _number(stats.get("preprocessed_cache_hit"))
    misses = _number(stats.get("cache_miss"))
    kinds = (
        "unsupported_compiler_option",
        "multiple_source_files",
        "called_for_link",
        "could_not_use_precompiled_header",
    )
    refused = tuple((name.replace("_", " "), number) for name in kinds if (number := _number(stats.get(name))))
    return {
        "requests": hits + misses + sum(number for _, number in refused),
        "units": Counts(hits=hits, misses=misses),
        "writes": _number(stats.get("local_storage_write")) or misses,
        "refused": refused,
    }


def _added(one: CompileStatistics, other: CompileStatistics) -> CompileStatistics:
    summed: dict[str, Any] = {}
    for name in CompileStatistics.__struct_fields__:
        left, right = getattr(one, name), getattr(other, name)
        match left, right:
            case bool(), bool():
                summed[name] = left and right
            case (str(), str()):
                summed[name] = left or right
            case None, _:
                summed[name] = right
            case _, None:
                summed[name] = left
            case _:
                summed[name] = left + right
    return CompileStatistics(**summed)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _number(value: object) -> int:
    return min(max(value, 0), _MOST) if isinstance(value, int) and not isinstance(value, bool) else 0


def _seconds(value: object) -> float:
    said = _mapping(value)
    return _number(said.get("secs")) + _number(said.get("nanos")) / 1e9


def _text(value: object) -> str:
    return value[:_TEXT] if isinstance(value, str) else ""
