"""Files of FlashInfer in an image: which of them a scan notes, and what of each.

The scan of a layer notes them beside the device code, so that one pass over an image proves both. It must import next
to nothing, because every reader of a layer loads it, and it judges nothing: see `bundle`.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from msgspec import Struct

from orchestrator.flashinfer import ABOUT_NAME, LOCK_NAME

MAX_TEXT = 16 << 20
"""Bytes of a text that is kept: a lock of over 50,000 files."""

READ, WRITE, ENTER = 4, 2, 1

USERS, GROUPS = "etc/passwd", "etc/group"
"""What the name of an image's user stands for."""
MAX_ACCOUNTS = 1 << 20

_ARTIFACT = re.compile(r"(?:^|/)(?:[0-9a-f]{40}/.+|trtllmGen_bmm_export/.+|trtllmGen_(?:bmm|gemm)_export\.lock$)")
_TEXT = re.compile(rf"(?:^|/){re.escape(LOCK_NAME)}$")
SOURCE = re.compile(
    r"^(.+)/(flashinfer/(?:artifacts\.py|deep_gemm\.py|_build_meta\.py|data/csrc/cudnn_sdpa_kernel_launcher\.cu))$"
)
"""Sources of an installed FlashInfer that hold its pins: site directory, name below it."""
PACKAGE = re.compile(r"^(.+)/flashinfer_cubin/__init__\.py$")
INSTALLED = re.compile(r"(?:^|/)flashinfer_python-([^/]+)\.dist-info/METADATA$")
PACKAGES = re.compile(r"(?:^|/)(flashinfer_(?:python|cubin|jit_cache))-([^/]+)\.dist-info/METADATA$")
"""Metadata of FlashInfer's packages: name, version."""
_ABOUT = re.compile(rf"(?:^|/){re.escape(ABOUT_NAME)}$")
_OTHERS = (_TEXT, _ABOUT, SOURCE, PACKAGE, PACKAGES)


class Access(NamedTuple):
    """Who may do what with a file or directory: permission bits, owner, group."""

    mode: int
    uid: int
    gid: int

    def allows(self, user: str, want: int) -> bool:
        """Whether a user of the image may READ or WRITE a file, or ENTER or WRITE a directory.

        Args:
            user: "" or ids of a user and groups, "1000:0,20"; `verdict.users` makes them from names. A name that is
                left is neither the owner nor in the group.
            want: READ, WRITE, ENTER, or several of them.
        """
        uid, _, gids = user.partition(":")
        if uid in ("", "0", "root"):
            return True
        if uid == str(self.uid):
            return self.mode >> 6 & want == want
        if str(self.gid) in gids.split(","):
            return self.mode >> 3 & want == want
        return self.mode & want == want


class Artifact(Struct, frozen=True, kw_only=True):
    """One file.

    Attributes:
        sha256: Bare hex.
        size: Bytes.
        access: Who may read it.
        text: Content of a lock and of the sources that hold pins, "" for all others.
    """

    sha256: str
    size: int
    access: Access
    text: str = ""

    def to_json(self) -> list[Any]:
        """A value for `json.dumps`; `from_json` reads it."""
        return [self.sha256, self.size, list(self.access), self.text]

    @classmethod
    def from_json(cls, data: list[Any]) -> Artifact:
        """What `to_json` wrote."""
        sha256, size, access, text = data
        return cls(sha256=sha256, size=size, access=Access(*access), text=text)


def wanted(path: str) -> bool:
    """Whether a scan notes the file at this path."""
    if _ARTIFACT.search(path) or path in (USERS, GROUPS):
        return True
    return "flashinfer" in path and any(pattern.search(path) for pattern in _OTHERS)


def is_text(path: str, size: int) -> bool:
    """Whether its content is kept.

    Args:
        path: In the image.
        size: Bytes.
    """
    if path in (USERS, GROUPS):
        return size <= MAX_ACCOUNTS
    return size <= MAX_TEXT and (_TEXT.search(path) is not None or SOURCE.search(path) is not None)
