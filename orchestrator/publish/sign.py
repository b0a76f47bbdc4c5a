"""Signs what is published with cosign, each digest once and before any tag names it, and verifies signatures.

cosign 3 asks its own servers for a signing configuration; without a transparency log it is given an empty one, so that
nothing but the registry is reached (measured with 3.1.1). A signature is a manifest attached to the digest, under the
tag `sha256-<digest>` where the registry has no referrers API.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from orchestrator import process
from orchestrator.errors import EnvironmentLacksError, FailureClass, OrchestrateError, UsageError, VerificationError
from orchestrator.redact import redact
from orchestrator.untrusted import clean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.matrix.schema import Sign
    from orchestrator.reference import Digest, Repository

_TIMEOUT = 300.0
_NO_SERVERS = {
    "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
    "rekorTlogConfig": {},
    "tsaConfig": {},
}


class SigningError(OrchestrateError, failure=FailureClass.ENVIRONMENT):
    """cosign did not sign."""


class Cosign(Struct, frozen=True, kw_only=True):
    """Calls cosign for one project.

    Attributes:
        spec: The section `publish.sign` of the matrix.
        root: The directory of the matrix, which paths of keys start from.
    """

    spec: Sign
    root: Path

    def sign(self, repository: Repository, digests: Sequence[Digest]) -> int:
        """Sign digests of a repository, except those that have a valid signature; return how many were signed.

        Raises:
            UsageError: A key was not found.
            EnvironmentLacksError: There is no cosign.
            SigningError: It did not sign.
            VerificationError: What it signed cannot be verified.
            InterruptedRunError: A stop was asked for.
        """
        missing = [digest for digest in digests if self._verified(f"{repository}@{digest}") != ""]
        if not missing:
            return 0
        with tempfile.TemporaryDirectory() as name:
            words = ["sign", "--yes", *self._key(self.spec.private_key)]
            if not self.spec.transparency_log:
                config = Path(name, "signing-config.json")
                config.write_text(json.dumps(_NO_SERVERS), encoding="utf-8")
                words += ["--signing-config", str(config)]
            for digest in missing:
                done = self._cosign(*words, f"{repository}@{digest}")
                if not done.ok:
                    raise SigningError(f"{repository}@{digest} was not signed: {_said(done)}")
        for digest in missing:
            self.verify(f"{repository}@{digest}")
        return len(missing)

    def verify(self, image: str) -> None:
        """Require a valid signature.

        Args:
            image: A reference; with a tag, of what it names now.

        Raises:
            VerificationError: There is none.
            UsageError, EnvironmentLacksError, InterruptedRunError: As for `sign`.
        """
        said = self._verified(image)
        if said:
            raise VerificationError(
                f"{image}: the signature is not valid: {said}", hint="sign it with `orchestrate publish`, publish.sign"
            )

    def _verified(self, image: str) -> str:
        """Why there is no valid signature, "" where there is one."""
        words = ["verify", *self._key(self.spec.public_key)]
        if self.spec.keyless:
            words += [
                "--certificate-identity",
                self.spec.identity or "",
                "--certificate-oidc-issuer",
                self.spec.issuer or "",
            ]
        if not self.spec.transparency_log:
            words += ["--insecure-ignore-tlog=true"]
        done = self._cosign(*words, image)
        return "" if done.ok else _said(done)

    def _key(self, key: str | None) -> list[str]:
        if self.spec.keyless or key is None:
            return []
        if "://" in key:  # env://NAME, or a key management service
            return ["--key", key]
        path = self.root / key
        if not path.is_file():
            raise UsageError(f"publish.sign: the key {key} was not found", hint="`cosign generate-key-pair` makes one")
        return ["--key", str(path)]

    def _cosign(self, *words: str) -> process.Completed:
        try:
            return process.run(("cosign", *words), timeout=_TIMEOUT, cwd=self.root)
        except EnvironmentLacksError as error:
            raise EnvironmentLacksError(
                error.message, hint="install cosign 3 (Debian: cosign), or remove publish.sign"
            ) from error


def _said(done: process.Completed) -> str:
    """What cosign gives as its reason."""
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip() and not line.startswith("WARNING")]
    reason = next((line for line in reversed(lines) if line.startswith("Error:")), lines[-1] if lines else "no reason")
    return redact(clean(reason.removeprefix("Error:").strip()))[:300]
