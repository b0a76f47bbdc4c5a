"""The lock: every byte of a bundle, named before anything is fetched or built.

`flashinfer.lock.json` is committed beside matrix.yaml. It is sorted, stable and free of timestamps, so two machines
write the same text and a review shows what moved. The bundle digest is the sha256 of the text `SHA256SUMS` that lies in
the bundle (one line a placed file, sorted by path): a Dockerfile step can prove it with coreutils alone. One of the
placed files, `flashinfer.bundle.json`, holds everything else that the lock says, so the digest covers that too. This
module is pure: values, text and checks, no files and no network.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from orchestrator.errors import UsageError, VerificationError
from orchestrator.flashinfer import ABOUT_NAME, LOCK_NAME
from orchestrator.headers import layout as layouts
from orchestrator.headers.fields import count_of, sha256_of, text_of
from orchestrator.headers.pins import FAMILIES, Pin
from orchestrator.headers.place import Placed, written

if TYPE_CHECKING:
    from collections.abc import Iterable

SCHEMA = 1
SUMS_NAME = "SHA256SUMS"
TIERS = ("headers", "cubins")
_HEX64 = re.compile(r"[0-9a-f]{64}")
_MAX_PATH = 1024
_RESERVED = (LOCK_NAME, SUMS_NAME)


class LockedFile(Struct, frozen=True, kw_only=True):
    """One artifact: its path relative to the repository, sha256 (bare hex) and size in bytes."""

    path: str
    sha256: str
    size: int


class LockedPin(Struct, frozen=True, kw_only=True):
    """One pin and how many files of it the bundle holds (0: the tier takes nothing from it)."""

    pin: Pin
    files: int


class Lock(Struct, frozen=True, kw_only=True):
    """A bundle, completely described.

    Attributes:
        version: FlashInfer's version.
        commit: The git commit that it was built from, "" if the package does not say.
        wheel_sha256: sha256 of the flashinfer-python wheel, "" where none was read.
        layout: Generation name, `L2`.
        tier: `headers` or `cubins`.
        sm: Compute capabilities that the tier `cubins` was narrowed to, empty for all.
        pins: Every pin of that version, sorted by attr.
        files: Every artifact, sorted by path.
        missing: Artifacts outside every manifest that no source had, sorted; FlashInfer will want them at run time.
        not_covered: What a running FlashInfer may still want to download, in words.
    """

    version: str
    commit: str
    wheel_sha256: str
    layout: str
    tier: str
    sm: tuple[str, ...]
    pins: tuple[LockedPin, ...]
    files: tuple[LockedFile, ...]
    missing: tuple[str, ...]
    not_covered: tuple[str, ...]

    @property
    def headers(self) -> tuple[LockedFile, ...]:
        """The header files alone."""
        return tuple(file for file in self.files if file.path.endswith(".h"))

    @property
    def bytes(self) -> int:
        """Sum of the sizes of all files."""
        return sum(file.size for file in self.files)

    @property
    def complete(self) -> bool:
        """Whether every artifact that FlashInfer's C++ loader may ask for is in the bundle.

        Only then may an image set FLASHINFER_NO_DOWNLOAD: with a cubin missing it makes the loader hand out the
        previous kernel's bytes instead of an error (measured: 0.6.13, 0.7.2.post1; flashinfer-ai/flashinfer#4925).
        """
        return self.tier == "cubins" and not self.sm and not self.missing


def clean_path(path: str) -> str:
    """Return a relative path that is safe to create below any directory.

    Raises:
        ValueError: It is absolute, climbs out, or holds what no artifact's name has ever held.
    """
    if not path or len(path) > _MAX_PATH:
        raise ValueError("empty or longer than 1024 characters")
    if path.startswith("/") or "\\" in path or ":" in path:
        raise ValueError("absolute, or with a backslash or a colon")
    if any(ord(char) < 0x20 or ord(char) == 0x7F for char in path):
        raise ValueError("with a control character")
    if any(part in ("", ".", "..") for part in path.split("/")):
        raise ValueError("with an empty, . or .. part")
    if unicodedata.normalize("NFC", path) != path:
        raise ValueError("not in Unicode normal form C")
    return path


def collision(paths: Iterable[str]) -> tuple[str, str] | None:
    """Two of the paths that some file system would take for one (case folding), or a file that is also a directory."""
    seen: dict[str, str] = {}
    parents: dict[str, str] = {}
    for path in sorted(paths):
        folded = path.casefold()
        if folded in seen:
            return seen[folded], path
        seen[folded] = path
        parts = path.split("/")
        for end in range(1, len(parts)):
            parents.setdefault("/".join(parts[:end]).casefold(), path)
    for folded, path in seen.items():
        if folded in parents:
            return path, parents[folded]
    return None


def parse_manifest(pin: Pin, data: bytes) -> dict[str, str]:
    """`checksums.txt` as path (relative to the repository) -> sha256.

    Args:
        pin: Whose manifest it is; paths are put below its directory, because bare names collide between pins
            (flashinfer-ai/flashinfer#4200).
        data: The text, lines of 64 hex digits, white space, path.

    Raises:
        VerificationError: A line is not of that form, a path is unsafe, or one path has two digests.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(data.decode("utf-8", errors="replace").splitlines(), 1):
        if not line.strip():
            continue
        digest, _, name = line.strip().partition(" ")
        name = name.strip().removeprefix("*")
        place = f"{pin.path}/checksums.txt:{number}"
        if not _HEX64.fullmatch(digest):
            raise VerificationError(f"{place}: expected a sha256 and a path, found {line[:80]!r}")
        try:
            path = clean_path(f"{pin.path}/{name}")
        except ValueError as error:
            raise VerificationError(f"{place}: unsafe path {name!r}: {error}") from error
        if found.setdefault(path, digest) != digest:
            raise VerificationError(f"{place}: {name} has two different digests")
    return found


def tree(lock: Lock) -> tuple[Placed, ...]:
    """Return the files of the placed tree, sorted by path.

    Raises:
        VerificationError: Two files have the same place.
    """
    layout = layouts.named(lock.layout)
    bmm = next((item.pin for item in lock.pins if item.pin.attr == "TRTLLM_GEN_BMM" and item.files), None)
    by_path = {file.path: file for file in lock.files}
    entries = [
        Placed(path=path, sha256=by_path[key].sha256, size=by_path[key].size)
        for path, key in layouts.placed(layout, by_path, bmm=bmm.path if bmm else "").items()
    ]
    if layout.flat and bmm is not None:
        entries.append(written(f"{layouts.FLAT_BMM}/.artifact_hash", bmm.written))
    about = json.dumps({**_said(lock), "pins": _pins(lock)}, indent=1, ensure_ascii=False) + "\n"
    entries.append(written(ABOUT_NAME, about))
    clash = collision([entry.path for entry in entries] + list(_RESERVED))
    if clash:
        raise VerificationError(f"the bundle's files {clash[0]} and {clash[1]} have the same place")
    return tuple(sorted(entries, key=lambda entry: entry.path))


def sums(lock: Lock) -> str:
    """Return the text SHA256SUMS, as `sha256sum -c` reads it."""
    return "".join(f"{entry.sha256}  {entry.path}\n" for entry in tree(lock))


def bundle_digest(lock: Lock) -> str:
    """`sha256:…` over SHA256SUMS: every file, and through `flashinfer.bundle.json` everything that the lock says."""
    return f"sha256:{hashlib.sha256(sums(lock).encode()).hexdigest()}"


def _total(lock: Lock) -> dict[str, int]:
    return {
        "files": len(lock.files),
        "bytes": lock.bytes,
        "headers": len(lock.headers),
        "header_bytes": sum(file.size for file in lock.headers),
    }


def _said(lock: Lock) -> dict[str, Any]:
    """Return what a lock says beside its pins and files."""
    return {
        "schema": SCHEMA,
        "flashinfer": {"version": lock.version, "commit": lock.commit, "wheel_sha256": lock.wheel_sha256},
        "layout": lock.layout,
        "tier": lock.tier,
        "sm": list(lock.sm),
        "total": _total(lock),
        "missing": list(lock.missing),
        "not_covered": list(lock.not_covered),
    }


def _pins(lock: Lock) -> list[dict[str, Any]]:
    return [{"attr": p.pin.attr, "path": p.pin.written, "sha256": p.pin.sha256, "files": p.files} for p in lock.pins]


def dumps(lock: Lock) -> str:
    """Return the lock as text: sorted, one line a file, ending in a newline, the same on every machine."""
    head = {**_said(lock), "bundle": bundle_digest(lock)}
    lines = [f"  {json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}" for name, value in head.items()]
    pins = [json.dumps(pin, ensure_ascii=False) for pin in _pins(lock)]
    files = [json.dumps({"path": f.path, "sha256": f.sha256, "size": f.size}, ensure_ascii=False) for f in lock.files]
    lines.append('  "pins": [\n    ' + ",\n    ".join(pins) + "\n  ]")
    lines.append('  "files": [\n    ' + ",\n    ".join(files) + "\n  ]")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def loads(text: str, *, where: str = LOCK_NAME) -> Lock:
    """Return a lock from its text, with everything checked that can be checked without the files.

    Raises:
        VerificationError: It is not a lock, a path is unsafe, its bundle digest is not that of what it says, or it says
            what no lock can: a tier without its files, a layout that its version does not have.
    """
    try:
        raw = json.loads(text)
        if raw["schema"] != SCHEMA:
            raise VerificationError(f"{where}: the schema does not match: expected {SCHEMA}, found {raw['schema']!r}")
        lock = _from_json(raw)
        told, total = raw["bundle"], raw["total"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise VerificationError(f"{where}: not a FlashInfer lock file ({reason})", hint=_MAKE) from error
    if total != _total(lock):
        raise VerificationError(f"{where}: not a FlashInfer lock file (total is not that of its files)", hint=_MAKE)
    try:
        actual = bundle_digest(lock)
    except UsageError as error:  # a layout that does not exist is, here, a damaged file
        raise VerificationError(f"{where}: {error.message}") from error
    if told != actual:
        raise VerificationError(
            f"{where}: bundle is {told}, its content makes {actual}: the file was edited", hint=_MAKE
        )
    problem = implausible(lock)
    if problem:
        raise VerificationError(f"{where}: {problem}", hint=_MAKE)
    return lock


def implausible(lock: Lock) -> str:
    """Return what a lock says that cannot be true, in a few words; "" for a plausible one.

    An edited lock can have the right digest too. A bundle that claims every cubin and holds none makes an image set
    FLASHINFER_NO_DOWNLOAD, and FlashInfer then runs another kernel instead of an error.
    """
    cubins = sum(file.path.endswith(".cubin") for file in lock.files)
    if lock.tier not in TIERS:
        return f"tier is {lock.tier!r}, expected {' or '.join(TIERS)}"
    if (lock.tier == "cubins") != bool(cubins):
        return f"tier is {lock.tier}, and {cubins or 'no'} of its files {'is a cubin' if cubins < 2 else 'are cubins'}"
    if lock.sm and lock.tier != "cubins":
        return f"sm {', '.join(lock.sm)} narrows the tier cubins, and tier is {lock.tier}"
    if not lock.headers:
        return "no header is among its files"
    by_path = {file.path: file.sha256 for file in lock.files}
    for item in lock.pins:
        inside = sum(path.startswith(f"{item.pin.path}/") for path in by_path)
        manifest = by_path.get(f"{item.pin.path}/checksums.txt")
        if item.files and manifest != item.pin.sha256:
            return f"pin {item.pin.attr} has {item.files} files and not the checksums.txt that it names"
        if item.files + (manifest is not None) > inside:
            return f"pin {item.pin.attr} says {item.files} files, {inside} lie below {item.pin.path}"
        if lock.complete and not item.files:
            return f"tier is cubins, and pin {item.pin.attr} has no file"
    held = {item.pin.attr for item in lock.pins if item.files}
    if lacking := [family for family in FAMILIES if family not in held]:
        return f"it holds nothing of {', '.join(lacking)}"
    both = set(lock.missing) & by_path.keys()
    if both:
        return f"{min(both)} is a file and missing"
    return _other_layout(lock)


def _other_layout(lock: Lock) -> str:
    try:
        expected = layouts.of(lock.version).name
    except UsageError:  # newer than what is known: the lock was made with --layout
        return ""
    return "" if lock.layout == expected else f"layout is {lock.layout}, FlashInfer {lock.version} has {expected}"


_MAKE = "write it again: orchestrate headers lock"


def _from_json(raw: Any) -> Lock:
    files = tuple(
        LockedFile(path=clean_path(text_of(item, "path")), sha256=sha256_of(item), size=count_of(item, "size"))
        for item in raw["files"]
    )
    if len({file.path for file in files}) != len(files):
        raise ValueError("a file is listed twice")
    pins = tuple(
        LockedPin(
            pin=Pin(
                attr=text_of(item, "attr"),
                path=clean_path(text_of(item, "path").strip("/")),
                sha256=sha256_of(item),
                written=text_of(item, "path"),
            ),
            files=count_of(item, "files"),
        )
        for item in raw["pins"]
    )
    about = raw["flashinfer"]
    return Lock(
        version=text_of(about, "version"),
        commit=text_of(about, "commit"),
        wheel_sha256=text_of(about, "wheel_sha256"),
        layout=text_of(raw, "layout"),
        tier=text_of(raw, "tier"),
        sm=tuple(str(item) for item in raw["sm"]),
        pins=tuple(sorted(pins, key=lambda item: item.pin.attr)),
        files=tuple(sorted(files, key=lambda file: file.path)),
        missing=tuple(str(item) for item in raw["missing"]),
        not_covered=tuple(str(item) for item in raw["not_covered"]),
    )
