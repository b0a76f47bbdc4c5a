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
    # os.path: where the engine alone may look, as in an /etc/docker of mode 0700, Path.is_dir() is an error
    return next((place / host for place in (own, SYSTEM) if os.path.isdir(place / host)), None)  # noqa: PTH112


def context(host: str) -> ssl.SSLContext:
    """How a connection to a host is made.

    Args:
        host: With its port.

    Raises:
        EnvironmentLacksError: A certificate or key that docker has for it cannot be used, or those of the system.
    """
    from httpx import create_ssl_context

    try:
        made = create_ssl_context()
    except (OSError, ssl.SSLError) as error:
        named = os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR") or "certificates of the system"
        raise _unusable(Path(named), error) from error
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
            made.load_cert_chain(path, key, password="")  # OpenSSL would ask for one on the terminal
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
