"""What is wrong with the endpoint of a remote builder; buildx waits 20 s and says "context deadline exceeded"."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

_TIMEOUT = 3.0
# An HTTP/2 client begins with this (RFC 9113, 3.4) and an empty SETTINGS frame; a gRPC server answers with its own.
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
_SETTINGS = 4
_TLS_ALERT = b"\x15\x03"
_FILES = ("cacert", "cert", "key")


def fault(endpoint: str, options: Mapping[str, str] | None = None, *, timeout_s: float = _TIMEOUT) -> str:
    """Return what is wrong with an endpoint, "" where nothing is, or where its kind cannot be looked at.

    Args:
        endpoint: `tcp://HOST:PORT` or `unix:///PATH`; others cannot be looked at.
        options: Driver options of buildx: cacert, cert, key, servername.
        timeout_s: Seconds for the connection, and for its answer.
    """
    import socket

    options = options or {}
    try:
        place = urlsplit(endpoint)
        host, port = place.hostname or "", place.port
    except ValueError:
        return "is not a valid address: expected tcp://HOST:PORT"
    if place.scheme not in {"tcp", "unix"} or (place.scheme == "tcp" and port is None):
        return ""
    for name in _FILES:
        if options.get(name) and not Path(options[name]).is_file():
            return f"{name} {options[name]} was not found"
    try:
        if place.scheme == "unix":
            raw = _unix(place.path, timeout_s)
        else:
            raw = socket.create_connection((host, port), timeout=timeout_s)
    except ConnectionRefusedError:
        return "nothing listens there (connection refused)"
    except TimeoutError:
        return f"no connection within {timeout_s:g} s"
    except socket.gaierror:
        return f"the host {host} was not found"
    except OSError as error:
        return f"no connection: {error.strerror or error}"
    with raw:
        return _answer(raw, options, options.get("servername") or host, timeout_s)


def _unix(path: str, timeout_s: float) -> socket.socket:
    import socket

    raw = socket.socket(socket.AF_UNIX)
    try:
        raw.settimeout(timeout_s)
        raw.connect(path)
    except BaseException:
        raw.close()
        raise
    return raw


def _answer(raw: socket.socket, options: Mapping[str, str], name: str, timeout_s: float) -> str:
    import ssl

    secure = any(options.get(option) for option in _FILES)
    try:
        with contextlib.ExitStack() as stack:
            connection = raw
            if secure:
                context = ssl.create_default_context(cafile=options.get("cacert"))
                context.set_alpn_protocols(["h2"])
                if options.get("cert") and options.get("key"):
                    context.load_cert_chain(options["cert"], options["key"])
                connection = stack.enter_context(context.wrap_socket(raw, server_hostname=name))
            connection.sendall(_PREFACE)
            begin = connection.recv(16)
    except ssl.SSLCertVerificationError as error:
        return f"its certificate is not valid: {error.verify_message}"
    except ssl.SSLError as error:
        reason = (error.reason or str(error)).replace("_", " ").lower()
        return "does not speak TLS" if "wrong version" in reason or "record layer" in reason else f"TLS: {reason}"
    except TimeoutError:
        return f"accepts the connection and does not answer within {timeout_s:g} s"
    except ConnectionError:
        begin = b""
    except OSError as error:
        return f"no answer: {error.strerror or error}"
    if not begin:
        return "closes the connection" if secure else "closes the connection; it may expect TLS (cacert, cert, key)"
    if begin.startswith(_TLS_ALERT):
        return "expects TLS: create the builder with --driver-opt cacert=…,cert=…,key=…"
    if len(begin) > 3 and begin[3] == _SETTINGS:
        return ""
    return "is not a BuildKit: it does not answer in HTTP/2"
