"""Which certificates a registry is trusted by, and shown: those of the system, and docker's `certs.d`.

Source: docker's documentation, "Verify repository client with certificates": `/etc/docker/certs.d/HOST:PORT/` holds the
certificates of CAs, `*.crt`, and pairs `NAME.cert` and `NAME.key` that identify the client; a rootless engine reads the
same below `~/.config/docker`. As with docker, a registry on this machine needs none, since plain HTTP is trusted there.
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path

from orchestrator.errors import EnvironmentLacksError
from orchestrator.reference import is_loopback

SYSTEM = Path("/etc/docker/certs.d")


def directory(host: str) -> Path | None:
    """Where docker keeps the certificates for a registry, None where it has none.

    Args:
        host: With its port, as in an image's name: `registry.acme.com:5000`.
    """
    if not host or "/" in host or host.startswith("."):
        return None
    own = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "docker" / "certs.d"
    return next((place / host for place in (own, SYSTEM) if (place / host).is_dir()), None)


def context(host: str) -> ssl.SSLContext:
    """How a connection to a host is made.

    Args:
        host: With its port.

    Raises:
        EnvironmentLacksError: A certificate or key that docker has for it cannot be used.
    """
    from httpx import create_ssl_context

    made = create_ssl_context()
    place = directory(host)
    authorities = sorted(place.glob("*.crt")) if place else []
    for path in authorities:
        try:
            made.load_verify_locations(cafile=path)
        except (OSError, ssl.SSLError) as error:
            raise _unusable(path, error) from error
    for path in sorted(place.glob("*.cert")) if place else []:
        key = path.with_suffix(".key")
        if not key.is_file():
            raise EnvironmentLacksError(
                f"{key}: the key was not found: expected one for the client's certificate {path.name}",
                hint="the certificate of a CA is named *.crt, that of the client *.cert with a *.key",
            )
        try:
            made.load_cert_chain(path, key)
        except (OSError, ssl.SSLError) as error:
            raise _unusable(path, error) from error
    if is_loopback(host) and not authorities:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    return made


def _unusable(path: Path, error: Exception) -> EnvironmentLacksError:
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
    return EnvironmentLacksError(
        f"{path}: the certificate cannot be used: expected PEM that this user may read, found {reason}",
        hint=f"openssl x509 -noout -text -in {path}",
    )
