"""Why a registry gave no answer: refused, not found, damaged, or a failure that may pass with another attempt."""

from __future__ import annotations

from orchestrator.errors import FailureClass, NetworkError, VerificationError


class DeniedError(NetworkError, failure=FailureClass.AUTH):
    """The registry refuses access with these credentials; another attempt changes nothing."""


class NotFoundError(NetworkError):
    """The registry has no such repository, manifest or blob."""


class UnavailableError(NetworkError):
    """The registry did not answer, or asked to come again later, in every attempt; a later run may succeed."""


class StatusError(NetworkError):
    """The registry answers with a status that nothing else here stands for; another attempt changes nothing.

    Args:
        message: What failed.
        status: The status.
    """

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


class ReadOnlyError(NetworkError):
    """The registry takes no writes; another attempt changes nothing."""


class DamagedAnswerError(VerificationError):
    """The registry's answer does not match its digest or size, or cannot be read."""


class TransientError(Exception):
    """An attempt failed in a way that often passes; never leaves the package.

    Args:
        reason: What happened, for the message after the last attempt.
        after_s: Seconds that the registry asks to wait, 0 where it names none.
        garbled: Whether there was an answer and it was not HTTP, or the connection was closed instead.
    """

    def __init__(self, reason: str, *, after_s: float = 0, garbled: bool = False) -> None:
        super().__init__(reason)
        self.after_s = after_s
        self.garbled = garbled
        self.what = ""  # what was asked for: whoever knows it fills it in
