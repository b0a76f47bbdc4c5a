"""Two remote builders with mutual TLS, for the page of the fleet, until standard input ends.

    python -m tests.support.page_builders CERTS

CERTS gets the certificates, and then the ports in the file `ports`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.support.fleet import certificates, served

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    made = certificates(folder)
    with served("", made.server()) as one, served("", made.server()) as other:
        (folder / "ports.new").write_text(f"{one.number} {other.number}\n")
        (folder / "ports.new").rename(folder / "ports")
        sys.stdin.read()
