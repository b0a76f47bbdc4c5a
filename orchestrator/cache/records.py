"""Keeps what went into a variant that was built, to compare the next build with.

One file for each set of inputs and one for each list of files, named by content: ten variants that share a context keep
one list. They are outside of the journal, which stays a line for each build.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import zlib
from typing import TYPE_CHECKING, Any

from msgspec.structs import asdict

from orchestrator import files
from orchestrator.cache.contents import Entry, Kind, Listing
from orchestrator.cache.keys import Inputs, Member

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

_SCHEMA = 1
_LARGEST = 256 << 20  # bytes of a record when it is unpacked


class Records:
    """Inputs of builds by content.

    Args:
        folder: Where they are kept; it need not exist.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, inputs: Inputs) -> str:
        """Keep what went into a build; return its name, "" where it is not known or cannot be written."""
        if inputs.unknown:
            return ""
        try:
            files.make_private(self._folder)
            lists = [[*place, self._write(_rows(listing))] for place, listing in inputs.listings.items()]
            members = {name: asdict(member) for name, member in inputs.members.items()}
            return self._write({"schema": _SCHEMA, "members": members, "lists": lists})
        except OSError:
            return ""

    def load(self, name: str) -> Inputs | None:
        """Return what was kept under a name; None where it is gone or damaged."""
        try:
            found = self._read(name)
            if found["schema"] != _SCHEMA:
                return None
            members = {
                key: Member(
                    **{**member, "dockerfile": tuple((int(line), str(text)) for line, text in member["dockerfile"])}
                )
                for key, member in found["members"].items()
            }
            listings = {(member, context): _listing(self._read(one)) for member, context, one in found["lists"]}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, zlib.error):
            return None
        return Inputs(members=members, listings=listings)

    def tidy(self, names: Collection[str]) -> None:
        """Remove everything but the records of these names and their lists."""
        kept = set(names)
        for name in names:
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError, zlib.error):
                kept |= {one for _, _, one in self._read(name)["lists"]}
        with contextlib.suppress(OSError):
            for path in self._folder.iterdir():
                if path.name not in kept:
                    path.unlink(missing_ok=True)

    def _write(self, content: dict[str, Any]) -> str:
        data = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
        name = hashlib.sha256(data).hexdigest()
        if not (self._folder / name).exists():
            files.write_whole(self._folder / name, zlib.compress(data, 1), mode=files.PRIVATE)
        return name

    def _read(self, name: str) -> dict[str, Any]:
        if not name.isalnum():
            raise ValueError(name)
        unpack = zlib.decompressobj()
        data = unpack.decompress((self._folder / name).read_bytes(), _LARGEST)
        if hashlib.sha256(data).hexdigest() != name:
            raise ValueError(name)
        found: dict[str, Any] = json.loads(data)
        return found


def _rows(listing: Listing) -> dict[str, Any]:
    rows = [[entry.path, entry.kind.value, entry.mode, entry.content] for entry in listing.entries]
    return {
        "entries": rows,
        "git": listing.git,
        "state": listing.state,
        "by": listing.ignored_by,
        "rules": listing.rules,
    }


def _listing(found: dict[str, Any]) -> Listing:
    return Listing(
        entries=tuple(Entry(path, Kind(kind), mode, content) for path, kind, mode, content in found["entries"]),
        git=found["git"],
        state=found["state"],
        ignored_by=found["by"],
        rules=found["rules"],
    )
