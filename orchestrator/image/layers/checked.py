"""A digest that bytes must have: they count as those bytes only once they were hashed."""

from __future__ import annotations

import hashlib

from orchestrator.errors import VerificationError

_ALGORITHMS = ("sha256", "sha512")


class WrongDigestError(VerificationError):
    """Bytes are not those that their digest names."""


class Checked:
    """Bytes that pass, and the digest that they must have in the end.

    Args:
        digest: `sha256:…` or `sha512:…`; "" checks nothing.

    Raises:
        WrongDigestError: It is a digest of another kind, which cannot be checked.
    """

    __slots__ = ("_digest", "_hash")

    def __init__(self, digest: str) -> None:
        self._digest = digest
        algorithm = digest.partition(":")[0]
        if digest and algorithm not in _ALGORITHMS:
            raise WrongDigestError(f"digest {digest[:80]!r} is invalid: expected sha256:… or sha512:…")
        self._hash = hashlib.new(algorithm) if digest else None

    def update(self, data: bytes) -> None:
        """Take in some bytes."""
        if self._hash is not None:
            self._hash.update(data)

    def require(self) -> None:
        """Compare, once all bytes have passed.

        Raises:
            WrongDigestError: They have another digest.
        """
        if self._hash is None:
            return
        found = f"{self._hash.name}:{self._hash.hexdigest()}"
        if found != self._digest:
            raise WrongDigestError(f"content does not match its digest: expected {self._digest}, found {found}")


def require_digest(data: bytes, digest: str) -> None:
    """Compare bytes with the digest that names them.

    Raises:
        WrongDigestError: They have another one.
    """
    checked = Checked(digest)
    checked.update(data)
    checked.require()
