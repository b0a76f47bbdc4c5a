"""Prints the path of a download in the tests' cache, for the pages that scripts/transcripts runs.

python -m tests.support.fetched REQUIREMENT [sdist | PLATFORM]
"""

from __future__ import annotations

import sys

from tests.support.artifacts import download

if __name__ == "__main__":
    requirement, kind = [*sys.argv[1:], ""][:2]
    sys.stdout.write(f"{download(requirement, sdist=kind == 'sdist', platform=kind.removeprefix('sdist'))}\n")
