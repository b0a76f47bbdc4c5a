"""Spans of time as text: `7d` as users write one, `3m04s` as it is shown."""

from __future__ import annotations

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}

FORM = "a number and s, m, h, d or w, as in 90s or 7d"
"""What `parse` reads, for messages."""


def parse(text: str) -> float | None:
    """Return a span such as 90s, 30m, 12h or 7d in seconds; None if it is not one."""
    number, unit = text[:-1], text[-1:]
    if not (number.isascii() and number.isdecimal() and len(number) < 8 and unit in _UNITS_S):
        return None
    return float(int(number) * _UNITS_S[unit])


def duration(seconds: float) -> str:
    """`4.2s`, `3m04s`, `2h07m`."""
    if seconds < 59.95:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(max(60, int(seconds)), 60)
    if minutes < 60:
        return f"{minutes}m{rest:02d}s"
    return f"{minutes // 60}h{minutes % 60:02d}m"
