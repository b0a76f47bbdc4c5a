"""Turns SIGINT, SIGTERM and SIGHUP into a stop, so that a run ends in order and still writes its report."""

from __future__ import annotations

import contextlib
import signal
import threading
from typing import TYPE_CHECKING

from orchestrator.process import Stop

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def interrupting() -> Iterator[None]:
    """Within it, SIGINT, SIGTERM and SIGHUP raise KeyboardInterrupt in the main thread."""

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, on_signal)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """Yield a stop that the first signal sets and the second makes immediate.

    A signal that the process was started to ignore (SIGHUP under nohup) stays ignored. Outside the main thread Python
    allows no handlers: the stop is then never set by a signal. The earlier handlers are restored at the end.
    """
    stop = Stop()
    asked = False

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            stop.immediate = True
            return
        asked = True
        stop.set()

    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, on_signal)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
