"""Pins: which artifacts one FlashInfer version downloads, read from its source text.

`flashinfer/artifacts.py` holds two tables of constants: `ArtifactPath.X`, a directory of NVIDIA's artifact server, and
`CheckSumHash.X`, the sha256 of the `checksums.txt` in it. Together with the wheel's own sha256 they make a static chain
of trust down to every file. This module reads them by parsing: importing flashinfer would need torch and a GPU, and a
table kept here would be wrong after the next release (almost every one moves a pin). It opens no connection.
"""

from __future__ import annotations

import ast
import hashlib
import re
import zipfile
from typing import TYPE_CHECKING

from msgspec import Struct

from orchestrator.errors import Problem, UsageError
from orchestrator.headers.pin_tables import assignments, class_values, other_ways

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_HEX64 = re.compile(r"[0-9a-f]{64}")
_MAX_SOURCE_BYTES = 16 * 1024 * 1024  # the largest source read here is 0.2 MB; a wheel may claim anything
FAMILIES = ("TRTLLM_GEN_BMM", "TRTLLM_GEN_FMHA", "TRTLLM_GEN_GEMM")
"""Every release from 0.6.0 to 0.7.2.post1 has them; without one of them a bundle is not whole."""

# The cuDNN kernels have no manifest: their digests stand in the C++ source (facts of 0.6.0 to 0.7.2).
_CUDNN_CALL = re.compile(r'cudnn_sdpa_cubin_path\s*\+\s*"/"\s*\+\s*"([^"]+)"\s*,\s*"([0-9a-f]{64})"')


class Pin(Struct, frozen=True, kw_only=True):
    """One directory of the artifact server and the digest of the manifest in it.

    Attributes:
        attr: The name in FlashInfer's tables, `TRTLLM_GEN_BMM`; for a nested table with its keys,
            `DSL_FMHA/x86_64/sm_100a`.
        path: The directory, relative to the repository, without a slash at either end.
        sha256: sha256 of `<path>/checksums.txt`, bare hex.
        written: The directory as FlashInfer writes it, slash included: 0.6.5 to 0.6.7 compare `.artifact_hash` with it.
    """

    attr: str
    path: str
    sha256: str
    written: str


class Loose(Struct, frozen=True, kw_only=True):
    """One artifact that no manifest lists; its digest stands in FlashInfer's source itself.

    Attributes:
        attr: The pin that it belongs to, `DEEPGEMM`.
        path: The file, relative to the repository.
        sha256: Its sha256, bare hex.
    """

    attr: str
    path: str
    sha256: str


class Pins(Struct, frozen=True, kw_only=True):
    """Everything that one FlashInfer version says about its artifacts.

    Attributes:
        version: `0.6.13`.
        commit: The git commit that the package was built from, "" if it does not say.
        wheel_sha256: sha256 of the wheel that was read (the root of trust), "" where no wheel was read.
        pins: Directories with a manifest, sorted by attr.
        dsl: Directories of the CuTe DSL libraries, one a CPU and SM, sorted by attr.
        loose: Files outside every manifest, sorted by path.
        bare: `(attr, path)` of every artifact directory that has neither manifest nor known files.
    """

    version: str
    commit: str
    wheel_sha256: str
    pins: tuple[Pin, ...]
    dsl: tuple[Pin, ...]
    loose: tuple[Loose, ...]
    bare: tuple[tuple[str, str], ...]


def read(source: Path) -> Pins:
    """Return the pins of a flashinfer-python wheel, an installed package, or an unpacked wheel or source tree.

    Args:
        source: A `.whl` file; or a directory that is the package `flashinfer`, or holds it.

    Raises:
        UsageError: There is no FlashInfer there, or its tables are not where they have been in every release so far.
    """
    if source.is_file():
        return _from_wheel(source)
    if source.is_dir():
        return _from_directory(source)
    raise UsageError(
        f"{source}: no such file or directory", hint="name a flashinfer-python wheel or a flashinfer package"
    )


def read_text(where: str, text: Callable[[str], str | None], *, version: str = "") -> Pins:
    """Return the pins of a package whose files somebody else has read (the layers of an image).

    Args:
        where: What is read, for messages.
        text: Gives a file's text by its name in the wheel (`flashinfer/artifacts.py`), None where it is not there.
        version: The version that the package's metadata says, "" for what its own source says.

    Raises:
        UsageError: As `read`.
    """
    return _parse(where, text, version=version, wheel_sha256="")


def _from_wheel(wheel: Path) -> Pins:
    try:
        with wheel.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        with zipfile.ZipFile(wheel) as archive:

            def text(name: str) -> str | None:
                try:
                    info = archive.getinfo(name)
                except KeyError:
                    return None
                return _decode(name, archive.read(info) if info.file_size <= _MAX_SOURCE_BYTES else None)

            metadata = next((n for n in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", n)), "")
            declared = _metadata_version(text(metadata) or "") if metadata else ""
            return _parse(str(wheel), text, version=declared, wheel_sha256=digest)
    except (zipfile.BadZipFile, OSError, NotImplementedError) as error:
        raise UsageError(f"{wheel}: not a readable wheel ({error})") from error


def _from_directory(folder: Path) -> Pins:
    package = folder if (folder / "artifacts.py").is_file() else folder / "flashinfer"
    root = package.parent

    def text(name: str) -> str | None:
        path = root / name.replace("flashinfer/", f"{package.name}/", 1)
        if not path.is_file():
            return None
        return _decode(name, path.read_bytes() if path.stat().st_size <= _MAX_SOURCE_BYTES else None)

    declared = ""
    for metadata in sorted(root.glob("flashinfer_python-*.dist-info/METADATA")):
        declared = _metadata_version(metadata.read_text(encoding="utf-8", errors="replace"))
    if not declared and (root / "version.txt").is_file():  # a checkout of the repository
        declared = (root / "version.txt").read_text(encoding="utf-8", errors="replace").strip()
    return _parse(str(folder), text, version=declared, wheel_sha256="")


def _decode(name: str, data: bytes | None) -> str:
    if data is None:
        raise UsageError(f"{name} is larger than {_MAX_SOURCE_BYTES} bytes: this is not FlashInfer's own file")
    return data.decode("utf-8", errors="replace")


def _metadata_version(text: str) -> str:
    found = re.search(r"^Version:\s*(\S+)", text, re.MULTILINE)
    return found.group(1) if found else ""


def _parse(where: str, text: Callable[[str], str | None], *, version: str, wheel_sha256: str) -> Pins:
    source = text("flashinfer/artifacts.py")
    if source is None:
        raise UsageError(
            f"{where}: flashinfer/artifacts.py is not in it",
            hint="name a flashinfer-python wheel (not flashinfer-cubin) or an installed flashinfer package",
        )
    module = _tree(where, "flashinfer/artifacts.py", source)
    paths, paths_unread = class_values(module, "ArtifactPath")
    sums, sums_unread = class_values(module, "CheckSumHash")
    if not (paths or paths_unread) or not (sums or sums_unread):
        raise UsageError(
            f"{where}: flashinfer/artifacts.py has no class ArtifactPath or CheckSumHash with constants",
            hint="lock another version, or report this one: it keeps its pins elsewhere",
        )
    if other := [Problem(file=where, what=table, expected="NAME = TEXT", found=text[:120])
                 for table, text in other_ways(module)]:  # fmt: skip
        raise UsageError(f"{where}: {_UNREADABLE}", problems=other, hint=_ANOTHER_WAY)
    _require_read(where, paths, paths_unread, sums, sums_unread)
    directories = {name: _clean(where, name, value) for name, value in paths.items() if isinstance(value, str)}
    pins = tuple(
        Pin(attr=name, path=path, sha256=_digest(where, name, sums[name]), written=str(paths[name]))
        for name, path in sorted(directories.items())
        if isinstance(sums.get(name), str)
    )
    dsl = tuple(sorted(_nested(where, directories, sums), key=lambda pin: pin.attr))
    loose = tuple(sorted(_loose(where, directories, text), key=lambda item: item.path))
    told = {pin.attr for pin in pins} | {pin.attr.split("/")[0] for pin in dsl} | {item.attr for item in loose}
    meta = text("flashinfer/_build_meta.py") or ""
    return Pins(
        version=version or _assigned(meta, "__version__"),
        commit=_assigned(meta, "__git_commit__") or _assigned(meta, "__git_version__"),
        wheel_sha256=wheel_sha256,
        pins=pins,
        dsl=dsl,
        loose=loose,
        bare=tuple((name, path) for name, path in sorted(directories.items()) if name not in told),
    )


def _tree(where: str, name: str, source: str) -> ast.Module:
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError) as error:
        raise UsageError(f"{where}: {name} is not Python ({error})") from error


def _require_read(
    where: str,
    paths: dict[str, object],
    paths_unread: dict[str, str],
    sums: dict[str, object],
    sums_unread: dict[str, str],
) -> None:
    """Raise where a pin of a table cannot be read: a lock without it looks whole and is not."""
    problems = []

    def refused(table: str, attr: str, found: str, expected: str) -> None:
        problems.append(Problem(file=where, what=f"{table}.{attr}", expected=expected, found=found[:120]))

    for attr, text in paths_unread.items():
        if attr in sums or attr in sums_unread or f"{attr}_CHECKSUMS" in {*sums, *sums_unread}:
            refused("ArtifactPath", attr, text, "a text that can be read without running it")
    for attr, text in sums_unread.items():
        if {attr, attr.removesuffix("_CHECKSUMS")} & {*paths, *paths_unread}:
            refused("CheckSumHash", attr, text, "a sha256 that can be read without running it")
    for attr, value in sums.items():
        base = attr.removesuffix("_CHECKSUMS")
        digest = _HEX64.fullmatch(value) if isinstance(value, str) else isinstance(value, dict) and base != attr
        if digest and base not in paths_unread and not isinstance(paths.get(base), str):
            refused("CheckSumHash", attr, "none", f"a directory ArtifactPath.{base} for this digest")
    for attr in FAMILIES:
        if attr not in {*paths, *paths_unread} or attr not in {*sums, *sums_unread}:
            refused("ArtifactPath" if attr not in {*paths, *paths_unread} else "CheckSumHash", attr, "none", "a pin")
    if problems:
        raise UsageError(f"{where}: {_UNREADABLE}", problems=problems, hint=_ANOTHER_WAY)


_UNREADABLE = "flashinfer/artifacts.py has pins that cannot be read: their headers cannot be locked"
_ANOTHER_WAY = (
    "this FlashInfer keeps its pins in another way than every release so far; lock another version, or report it"
)


def _nested(where: str, directories: dict[str, str], sums: dict[str, object]) -> Iterator[Pin]:
    """`X_CHECKSUMS = {cpu: {sm: digest}}` belongs to `ArtifactPath.X`."""
    for name, table in sums.items():
        base = name.removesuffix("_CHECKSUMS")
        if not isinstance(table, dict) or base not in directories:
            continue
        for cpu, row in table.items():
            for sm, digest in row.items() if isinstance(row, dict) else ():
                path = _clean(where, name, f"{directories[base]}/{cpu}/{sm}")
                yield Pin(attr=f"{base}/{cpu}/{sm}", path=path, sha256=_digest(where, name, digest), written=f"{path}/")


def _loose(where: str, directories: dict[str, str], text: Callable[[str], str | None]) -> Iterator[Loose]:
    source = text("flashinfer/deep_gemm.py")
    if source is not None:
        for node in ast.walk(_tree(where, "flashinfer/deep_gemm.py", source)):
            for name, value in assignments(node.body) if isinstance(node, ast.ClassDef) else ():
                suffix = name.removeprefix("KERNEL_MAP_HASH") if name.startswith("KERNEL_MAP_HASH") else None
                attr = f"DEEPGEMM{suffix}"
                if suffix is not None and attr in directories and isinstance(value, ast.Constant):
                    digest = _digest(where, name, value.value)
                    yield Loose(attr=attr, path=f"{directories[attr]}/kernel_map.json", sha256=digest)
    launcher = text("flashinfer/data/csrc/cudnn_sdpa_kernel_launcher.cu") or text("csrc/cudnn_sdpa_kernel_launcher.cu")
    if launcher is not None and "CUDNN_SDPA" in directories:
        for name, digest in dict(_CUDNN_CALL.findall(launcher)).items():
            path = _clean(where, name, f"{directories['CUDNN_SDPA']}/{name}")
            yield Loose(attr="CUDNN_SDPA", path=path, sha256=digest)


def _assigned(source: str, name: str) -> str:
    found = re.search(rf"^{name}\s*=\s*[\"']([^\"']+)[\"']", source, re.MULTILINE)
    return found.group(1) if found else ""


def _digest(where: str, name: str, value: object) -> str:
    if isinstance(value, str) and _HEX64.fullmatch(value):
        return value
    raise UsageError(f"{where}: {name} is {value!r}, expected a sha256 of 64 hex digits")


def _clean(where: str, name: str, value: str) -> str:
    """Return a pin's path without the slashes that releases before 0.6.5 lack and later ones have."""
    path = value.strip("/")
    if not path or not re.fullmatch(r"[A-Za-z0-9._/+-]+", path) or any(p in ("", ".", "..") for p in path.split("/")):
        raise UsageError(f"{where}: {name} is {value!r}, expected a plain relative path")
    return path
