"""Fewer messages between the processes of pytest-xdist: of seven thousand short tests they were an eighth of the time.

A worker sends six for each test: that it begins, one report each of its set-up, its call and its end, that it is
through, and what to do next. The controller shows nothing of the first, nor of a set-up or an end that passed at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest

_SHOWN_S = 0.005
"""From how many seconds on `--durations` lists a set-up or an end (its own default)."""


def is_news(name: str, data: dict[str, Any]) -> bool:
    """Whether the controller does anything with a message.

    Args:
        name: What it is about.
        data: Its content; of a report, what pytest made of it for the journey.
    """
    if name in {"logstart", "logfinish"}:
        return False
    if name != "testreport":
        return True
    report = data["data"]
    silent = not report["sections"] and not report["user_properties"] and report["duration"] < _SHOWN_S
    return report["when"] == "call" or report["outcome"] != "passed" or not silent


def spare_messages(config: pytest.Config) -> None:
    """Send only news from now on, where this process is a worker."""
    if not hasattr(config, "workerinput"):
        return
    (worker,) = (one for one in config.pluginmanager.get_plugins() if type(one).__name__ == "WorkerInteractor")
    send = worker.sendevent

    def send_news(name: str, **data: Any) -> None:
        if is_news(name, data):
            send(name, **data)

    worker.sendevent = send_news
