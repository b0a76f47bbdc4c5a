"""scripts/apt-source.sh: an entry for another suite, made from the machine's own entry for Debian."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support.engine import ROOT

if TYPE_CHECKING:
    from pathlib import Path

BOOKWORM = "ID=debian\nVERSION_CODENAME=bookworm\n"
SCRIPT = 'shopt -s inherit_errexit; . scripts/apt-source.sh; apt_source "$@"'
NEWER, X = "sources.list.d/orchestrate-newer.sources", "sources.list.d/x.sources"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
DEBIAN = f"Signed-By: {KEYRING}"
DEB822 = f"Types: deb\n# a mirror\nURIs: file:/mirror\nSuites: bookworm bookworm-updates\nComponents: main\n{DEBIAN}\n"
OTHER = "Types: deb\nURIs: file:/other\nSuites: bookworm\nComponents: main\nSigned-By: /etc/apt/keyrings/other.gpg\n"
OURS = f"Types: deb\nURIs: file:/mirror\nSuites: forky\nComponents: main\n{DEBIAN}\n"


def source(
    root: Path, files: dict[str, str], *words: str, os_release: str = "ID=debian\nVERSION_CODENAME=bookworm\n"
) -> str | None:
    """What the function prints on a machine with these files below /etc/apt; None where its status is 1."""
    for name, text in {"os-release": os_release, **{f"apt/{name}": text for name, text in files.items()}}.items():
        path = root / "etc" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", SCRIPT, "bash", *words],
        cwd=ROOT, env=os.environ | {"APT_SOURCE_ROOT": str(root)}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert not done.stderr
    assert done.returncode in (0, 1)
    return None if done.returncode else done.stdout


@pytest.mark.parametrize(
    "files",
    [
        {"sources.list.d/debian.sources": DEB822},
        {"sources.list.d/debian.sources": f"\n\n{OTHER}\n{DEB822}"},
        {"sources.list.d/a.sources": OTHER, "sources.list.d/debian.sources": DEB822},
        {"sources.list.d/debian.sources": f"Enabled: no\n{DEB822.replace('/mirror', '/off')}\n{DEB822}"},
        {"sources.list.d/debian.sources": f"{DEB822.replace('deb', 'deb-src', 1)}\n{DEB822}"},
        {"sources.list.d/debian.sources": f"{DEB822.replace('bookworm', 'bookworm-security')}\n{DEB822}"},
        {"sources.list.d/debian.sources": DEB822.replace("bookworm ", "stable ")},
        {NEWER: DEB822.replace("/mirror", "/off"), X: DEB822},
        {"sources.list": f"deb [signed-by={KEYRING}] file:/mirror bookworm main # own\n"},
        {"sources.list": "deb-src file:/m bookworm main\ndeb file:/x bookworm contrib\n", X: DEB822},
    ],
)  # fmt: skip
def test_the_own_entry_is_copied(tmp_path: Path, files: dict[str, str]) -> None:
    assert source(tmp_path, files, "forky") == OURS


def test_components_are_replaced_where_they_are_named(tmp_path: Path) -> None:
    found = source(tmp_path, {"sources.list.d/debian.sources": DEB822}, "trixie trixie-updates", "non-free")
    assert found == OURS.replace("forky", "trixie trixie-updates").replace("main", "non-free")
    old = {"sources.list": "deb [ arch=amd64 trusted=yes ] file:/mirror bookworm main contrib\n"}
    assert source(tmp_path / "old", old, "forky") == (
        "Types: deb\nURIs: file:/mirror\nSuites: forky\nComponents: main contrib\nTrusted: yes\n"
    )


def test_a_mirror_with_a_key_of_its_own_counts_where_there_is_no_other(tmp_path: Path) -> None:
    found = source(tmp_path, {"sources.list.d/debian.sources": OTHER}, "forky")
    assert found == OTHER.replace("bookworm", "forky")


def test_elsewhere_there_is_none(tmp_path: Path) -> None:
    files = {"sources.list.d/debian.sources": DEB822}
    assert source(tmp_path / "a", files, "forky", os_release="ID=ubuntu\nVERSION_CODENAME=noble\n") is None
    assert source(tmp_path / "b", {}, "forky") is None
    assert source(tmp_path / "c", {"sources.list.d/debian.sources": "Types: deb\nSuites: sid\n"}, "forky") is None
