"""Lock files beside matrix.yaml, read and written whole; what is in them, lock.py says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.errors import EnvironmentLacksError, UsageError, VerificationError
from orchestrator.files import write_whole

if TYPE_CHECKING:
    from pathlib import Path


def read(path: Path, what: str, make: str) -> str:
    """Return the text of a lock file.

    Args:
        path: The file.
        what: What it is, for the error where it is missing.
        make: The command that makes it.

    Raises:
        UsageError: It is not there.
        VerificationError: It cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UsageError(f"{path}: no {what}", hint=f"write it: {make}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise VerificationError(f"{path}: cannot be read ({error})") from error


def write(path: Path, text: str) -> bool:
    """Replace a lock file; False if it already said the same.

    Raises:
        EnvironmentLacksError: It cannot be written.
    """
    try:
        if path.is_file() and path.read_bytes() == text.encode():
            return False
        write_whole(path, text)
    except OSError as error:
        raise EnvironmentLacksError(f"cannot write {path}: {error.strerror or error}") from error
    return True
