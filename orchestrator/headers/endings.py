"""How parts of a shell script end before their last command."""

from __future__ import annotations


class ExitError(Exception):
    """The shell ends."""

    def __init__(self, status: int) -> None:
        self.status = status


class ReturnError(ExitError):
    """A function ends."""


class BreakError(Exception):
    """A loop ends, or (`again`) goes on with its next round."""

    def __init__(self, *, again: bool) -> None:
        self.again = again


class EndlessError(Exception):
    """A loop never ends, or there is too much to follow: no success."""
